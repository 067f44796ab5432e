//! The sockets of `dev`: taking them, how they are seen from outside, and what is spoken on them.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use doorward_core::resource::{Host, Origin, Scheme};
use tokio_rustls::TlsAcceptor;

use super::names::{METADATA_ADDRESS, OWN_NAME};
use super::{Options, StartError};
use crate::listen::{self, Listener};

/// An option and its address, for the application, the second application, and the API.
type Addresses = [(&'static str, SocketAddr); 3];

/// One listener for each worker, and one for the API.
struct Surface {
    app: Vec<TcpListener>,
    other_app: Vec<TcpListener>,
    api: TcpListener,
}

/// Every socket, taken.
pub(super) struct Sockets {
    plain: Surface,
    tls: Option<Surface>,
    metadata: TcpListener,
    /// The API has the ports of its schemes, and a name.
    named: bool,
}

/// Every socket, with what is spoken on it.
pub(super) struct Listeners {
    /// Of the applications, for each worker.
    pub(super) workers: Vec<Vec<Listener>>,
    /// Of the API.
    pub(super) api: Vec<Listener>,
    /// Of the metadata server.
    pub(super) metadata: TcpListener,
}

/// The sockets of a world to which Google's names lead: the ports that their URLs mean, and those of the applications.
///
/// They belong to the network namespace of the thread that bound them, whichever thread serves them.
pub struct NamedSockets(pub(super) Sockets);

impl NamedSockets {
    /// Takes them, in the network namespace of this thread.
    ///
    /// # Errors
    /// [`StartError::ListenNamed`] if one is taken, or may not be.
    pub fn bind() -> Result<Self, StartError> {
        let bind = |ports: [u16; 3]| {
            Surface::bind(ports.map(|port| ("", SocketAddr::from(([127, 0, 0, 1], port))))).map_err(|error| match error
            {
                StartError::Listen { option: _, address, cause } => StartError::ListenNamed { address, cause },
                other => other,
            })
        };
        let metadata = SocketAddr::from((METADATA_ADDRESS, 80));
        Ok(NamedSockets(Sockets {
            plain: bind([8080, 8082, 80])?,
            tls: Some(bind([8443, 8445, 443])?),
            metadata: listen::bind(metadata).map_err(|cause| StartError::ListenNamed { address: metadata, cause })?,
            named: true,
        }))
    }
}

impl Sockets {
    pub(super) fn bind(options: &Options) -> Result<Self, StartError> {
        let metadata = options.metadata_listen;
        Ok(Sockets {
            plain: Surface::bind(options.plain())?,
            tls: options.over_tls().map(Surface::bind).transpose()?,
            metadata: listen::bind(metadata).map_err(failed("--metadata-listen", metadata))?,
            named: false,
        })
    }

    /// How they are reached.
    pub(super) fn seen(&self) -> Result<Seen, StartError> {
        let see = |surface: &Surface, scheme| {
            let mut seen = surface.seen(scheme)?;
            if self.named {
                seen.api.rename(scheme, OWN_NAME);
            }
            Ok::<_, StartError>(seen)
        };
        Ok(Seen {
            plain: see(&self.plain, Scheme::Http)?,
            tls: self.tls.as_ref().map(|surface| see(surface, Scheme::Https)).transpose()?,
            metadata: self.metadata.local_addr().map_err(StartError::Worker)?,
        })
    }

    /// Whether Google's names lead to them.
    pub(super) fn named(&self) -> bool {
        self.named
    }

    /// The addresses at which TLS is spoken; `None` if it is not.
    pub(super) fn tls_addresses(&self) -> Option<Vec<IpAddr>> {
        let Surface { app, other_app, api } = self.tls.as_ref()?;
        let listeners = app.iter().chain(other_app).chain([api]);
        Some(listeners.filter_map(|listener| Some(listener.local_addr().ok()?.ip())).collect())
    }

    /// Speaks TLS with `acceptor` where it is to be spoken.
    pub(super) fn listen(self, acceptor: Option<&TlsAcceptor>) -> Listeners {
        let Surface { app, other_app, api } = self.plain;
        let pairs = app.into_iter().zip(other_app);
        let mut workers: Vec<Vec<Listener>> =
            pairs.map(|(app, other)| vec![Listener::plain(app), Listener::plain(other)]).collect();
        let mut apis = vec![Listener::plain(api)];
        if let (Some(Surface { app, other_app, api }), Some(acceptor)) = (self.tls, acceptor) {
            let over_tls = |socket| Listener::tls(socket, acceptor.clone());
            apis.push(over_tls(api));
            for (worker, (app, other)) in workers.iter_mut().zip(app.into_iter().zip(other_app)) {
                worker.extend([over_tls(app), over_tls(other)]);
            }
        }
        Listeners { workers, api: apis, metadata: self.metadata }
    }
}

impl Surface {
    fn bind(addresses: Addresses) -> Result<Self, StartError> {
        let [(app_option, app), (other_option, other), (api_option, api)] = addresses;
        let workers = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        Ok(Surface {
            app: listen::bind_shared(app, workers).map_err(failed(app_option, app))?,
            other_app: listen::bind_shared(other, workers).map_err(failed(other_option, other))?,
            api: listen::bind(api).map_err(failed(api_option, api))?,
        })
    }

    fn seen(&self, scheme: Scheme) -> Result<SeenSurface, StartError> {
        Ok(SeenSurface {
            app: SeenListener::at(&self.app, scheme)?,
            other_app: SeenListener::at(&self.other_app, scheme)?,
            api: SeenListener::at(std::slice::from_ref(&self.api), scheme)?,
        })
    }
}

/// An address of an option that cannot be listened at.
pub(super) fn failed(option: &'static str, address: SocketAddr) -> impl Fn(io::Error) -> StartError {
    move |cause| StartError::Listen { option, address, cause }
}

impl Options {
    fn plain(&self) -> Addresses {
        [
            ("--app-listen", self.app_listen),
            ("--other-app-listen", self.other_app_listen),
            ("--api-listen", self.api_listen),
        ]
    }

    fn over_tls(&self) -> Option<Addresses> {
        self.tls.map(|tls| {
            [("--app-tls-listen", tls.app), ("--other-app-tls-listen", tls.other_app), ("--api-tls-listen", tls.api)]
        })
    }

    /// Every option that may name another machine's address, if that is allowed.
    pub(super) fn listeners(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        self.plain().into_iter().chain(self.over_tls().into_iter().flatten())
    }
}

/// How everything is reached.
pub(super) struct Seen {
    pub(super) plain: SeenSurface,
    pub(super) tls: Option<SeenSurface>,
    pub(super) metadata: SocketAddr,
}

/// How the listeners of one scheme are reached.
pub(super) struct SeenSurface {
    pub(super) app: SeenListener,
    pub(super) other_app: SeenListener,
    pub(super) api: SeenListener,
}

impl Seen {
    /// One of the surfaces' listeners, plain and over TLS.
    pub(super) fn both(&self, of: fn(&SeenSurface) -> &SeenListener) -> (&SeenListener, Option<&SeenListener>) {
        (of(&self.plain), self.tls.as_ref().map(of))
    }

    /// Every origin at which one of them is reached.
    pub(super) fn origins(&self, of: fn(&SeenSurface) -> &SeenListener) -> Vec<Origin> {
        let (plain, tls) = self.both(of);
        plain.origins.iter().chain(tls.into_iter().flat_map(|seen| &seen.origins)).cloned().collect()
    }
}

/// How a listener is reached.
pub(super) struct SeenListener {
    /// Without a trailing slash, with a host that every resolver knows where there is one.
    pub(super) url: String,
    /// The host in it.
    pub(super) host: String,
    /// Every origin that is ours there.
    origins: Vec<Origin>,
}

impl SeenListener {
    fn at(listeners: &[TcpListener], scheme: Scheme) -> Result<Self, StartError> {
        let address = listeners.first().map(TcpListener::local_addr).ok_or(io::ErrorKind::NotFound);
        let address = address.map_err(io::Error::from).and_then(|address| address).map_err(StartError::Worker)?;
        let port = address.port();
        let own = match address.ip() {
            ip if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            ip => ip,
        };
        let host = SocketAddr::new(own, port).to_string();
        let mut names = vec![host.clone()];
        // A name that a web page cannot rebind: only this machine's own.
        if address.ip().is_unspecified() || address.ip().is_loopback() {
            names.extend([format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}")]);
        }
        let mut origins: Vec<Origin> = Vec::new();
        for host in names.iter().filter_map(|name| Host::parse(name).ok()) {
            let origin = Origin::new(scheme, &host);
            if !origins.contains(&origin) {
                origins.push(origin);
            }
        }
        Ok(SeenListener { url: format!("{}://{host}", scheme.as_str()), host, origins })
    }

    /// Leads by a name, at the scheme's own port, besides.
    fn rename(&mut self, scheme: Scheme, name: &str) {
        self.url = format!("{}://{name}", scheme.as_str());
        self.host = name.to_owned();
        self.origins.extend(Host::parse(name).map(|host| Origin::new(scheme, &host)));
    }
}
