//! Origins: scheme, host and port, compared in one spelling (RFC 6454 section 4).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use http::Uri;

/// A scheme, a host and a port: what a credential is for.
///
/// Upper case and the default port do not count: `HTTPS://App.example.com:443` is `https://app.example.com`.
///
/// ```
/// use doorward_client::Origin;
///
/// let origin: Origin = "HTTPS://App.example.com:443/".parse()?;
/// assert_eq!(origin.to_string(), "https://app.example.com");
/// assert!("https://app.example.com/orders".parse::<Origin>().is_err(), "a path is not part of an origin");
/// # Ok::<(), doorward_client::OriginError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    tls: bool,
    host: Host,
    port: u16,
}

/// An address in numbers has many spellings, and is compared as the number.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Host {
    V4(Ipv4Addr),
    V6(Ipv6Addr),
    Name(String),
}

/// Why a text is no origin, or none that may get a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Not `http://HOST[:PORT]` or `https://HOST[:PORT]`.
    #[error(
        "{0:?} is no origin: write https://HOST or https://HOST:PORT, without a path, and an international name as xn--…"
    )]
    Malformed(String),
    /// Plain http to a host that is not this machine.
    #[error(
        "{0} would get the token in the clear: use https, or allow it explicitly if the network itself is encrypted"
    )]
    Insecure(Origin),
}

impl Origin {
    /// The origin of a request's address; `None` for one without scheme or host, or with a user name in it.
    pub fn of(uri: &Uri) -> Option<Self> {
        let tls = match uri.scheme_str()? {
            scheme if scheme.eq_ignore_ascii_case("https") => true,
            scheme if scheme.eq_ignore_ascii_case("http") => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') {
            return None;
        }
        let port = match (authority.port_u16(), tls) {
            (Some(port), _) => port,
            // A port that is none, such as `:x` or `:`, is not the default one.
            (None, _) if authority.as_str().len() != authority.host().len() => return None,
            (None, true) => 443,
            (None, false) => 80,
        };
        Some(Origin { tls, host: host(authority.host())?, port })
    }

    /// Whether requests go over TLS.
    pub fn is_https(&self) -> bool {
        self.tls
    }

    /// Whether the host is this machine: `localhost`, `127.0.0.0/8` or `::1`.
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::V4(address) => address.is_loopback(),
            Host::V6(address) => address.is_loopback(),
            Host::Name(name) => name == "localhost",
        }
    }

    /// The host as it is connected to: without brackets.
    pub(crate) fn host(&self) -> String {
        match &self.host {
            Host::V4(address) => address.to_string(),
            Host::V6(address) => address.to_string(),
            Host::Name(name) => name.clone(),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The origin, if it is fit for credentials.
    pub(crate) fn secure(self) -> Result<Self, OriginError> {
        if self.tls || self.is_loopback() { Ok(self) } else { Err(OriginError::Insecure(self)) }
    }
}

fn host(text: &str) -> Option<Host> {
    if let Some(inner) = text.strip_prefix('[') {
        return inner.strip_suffix(']')?.parse().ok().map(Host::V6);
    }
    match text.parse() {
        Ok(address) => Some(Host::V4(address)),
        Err(_) if text.is_empty() => None,
        Err(_) => Some(Host::Name(text.to_ascii_lowercase())),
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let malformed = || OriginError::Malformed(without_secrets(text));
        let uri: Uri = text.parse().map_err(|_| malformed())?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() || text.contains('#') {
            return Err(malformed());
        }
        Origin::of(&uri).ok_or_else(malformed)
    }
}

/// An address as an error may show it: neither a user's name and password nor a query.
pub(crate) fn without_secrets(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    match text.rsplit_once('@') {
        Some((before, after)) => {
            let scheme = before.split_once("://").map_or(String::new(), |(scheme, _)| format!("{scheme}://"));
            format!("{scheme}…@{after}")
        }
        None => text.to_owned(),
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tls { "https://" } else { "http://" })?;
        match &self.host {
            Host::V4(address) => write!(f, "{address}")?,
            Host::V6(address) => write!(f, "[{address}]")?,
            Host::Name(name) => f.write_str(name)?,
        }
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => Ok(()),
            (_, port) => write!(f, ":{port}"),
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_spelling() {
        #[rustfmt::skip]
        let cases = [
            ("https://app.example.com",        Some("https://app.example.com")),
            ("HTTPS://APP.example.com:443/",   Some("https://app.example.com")),
            ("http://app.example.com:80",      Some("http://app.example.com")),
            ("http://app.example.com:443",     Some("http://app.example.com:443")),
            ("https://app.example.com:8443",   Some("https://app.example.com:8443")),
            ("http://[0:0:0:0:0:0:0:1]:8080",  Some("http://[::1]:8080")),
            ("http://127.0.0.1:8080",          Some("http://127.0.0.1:8080")),
            ("https://app.example.com./",      Some("https://app.example.com.")),
            ("https://app.example.com/x",      None),
            ("https://app.example.com/?x",     None),
            ("https://app.example.com/#x",     None),
            ("https://me@app.example.com",     None),
            ("https://app.example.com:",       None),
            ("https://app.example.com:99999",  None),
            ("https://app.example.com:+443",   Some("https://app.example.com")),
            ("https://XN--Caf-DMA.example",    Some("https://xn--caf-dma.example")),
            ("https://café.example",           None),
            ("https://app.example.com\\@x",    None),
            ("https://[::1",                   None),
            ("https://[fe80::1%25eth0]",       None),
            ("wss://app.example.com",          None),
            ("app.example.com",                None),
            ("/orders",                        None),
            ("",                               None),
        ];
        for (text, expected) in cases {
            let read = text.parse::<Origin>().map(|origin| origin.to_string()).ok();
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn an_error_quotes_no_secret_of_an_address() {
        #[rustfmt::skip]
        let cases = [
            ("https://me:s3cret@app.example.com",     "https://…@app.example.com"),
            ("me:s3cret@app.example.com",             "…@app.example.com"),
            ("https://app.example.com/?key=s3cret",   "https://app.example.com/"),
            ("https://app.example.com/#s3cret@x",     "https://app.example.com/"),
        ];
        for (text, shown) in cases {
            assert_eq!(text.parse::<Origin>(), Err(OriginError::Malformed(shown.to_owned())));
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_alone() {
        #[rustfmt::skip]
        let cases = [
            ("https://app.example.com",         true),
            ("http://localhost:8080",           true),
            ("http://127.9.9.9",                true),
            ("http://[::1]",                    true),
            ("http://app.example.com",          false),
            ("http://localhost.example.com",    false),
            ("http://127.0.0.1.example.com",    false),
            ("http://10.0.0.1",                 false),
            ("http://[fe80::1]",                false),
            ("http://[::ffff:10.0.0.1]",        false),
            ("http://0.0.0.0",                  false),
            ("http://2130706433",               false),
            ("http://127.1",                    false),
        ];
        for (text, secure) in cases {
            assert_eq!(text.parse::<Origin>().unwrap().secure().is_ok(), secure, "{text}");
        }
    }
}
