//! How listeners are reached from outside.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use doorward_core::resource::{Host, Origin, Scheme};

use super::StartError;

/// How a listener is reached.
pub(super) struct Seen {
    /// Without a trailing slash, with a host that every resolver knows where there is one.
    pub(super) url: String,
    /// The host in it.
    pub(super) host: String,
    /// Every origin that is ours there.
    pub(super) origins: Vec<Origin>,
}

impl Seen {
    pub(super) fn at(listeners: &[TcpListener], scheme: Scheme) -> Result<Self, StartError> {
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
        Ok(Seen { url: format!("{}://{host}", scheme.as_str()), host, origins })
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = Host> {
        self.origins.iter().map(|origin| origin.host.clone())
    }
}
