//! Reading the URL of a document.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use doorward_core::outbound::FetchError;
use http::Uri;
use rustls::pki_types::ServerName;

/// The longest URL, in bytes.
const URL_LIMIT: usize = 2048;

/// What is fetched. Read by our own rules and once, so that what is resolved, connected to, compared with the certificate and sent
/// as `Host` is the same.
#[derive(Debug, PartialEq)]
pub(super) struct Target {
    pub(super) https: bool,
    pub(super) host: Host,
    pub(super) port: u16,
    /// The value of `Host`: the port only if it stands in the URL.
    pub(super) authority: String,
    /// The path and the query.
    pub(super) path: Uri,
}

/// A host, as it stands in a URL.
#[derive(Debug, PartialEq)]
pub(super) enum Host {
    /// A name, in lower case.
    Name(String),
    /// An address: dotted decimal, or IPv6 in brackets.
    Address(IpAddr),
}

impl Target {
    /// Reads an absolute URL of RFC 3986 that has no user information and no fragment.
    ///
    /// # Errors
    /// [`FetchError::Scheme`] if it is neither `http` nor `https`, and [`FetchError::Url`] for all else. Whether `http` may be is not
    /// judged here.
    pub(super) fn parse(url: &str) -> Result<Self, FetchError> {
        let (scheme, rest) = url.split_once("://").ok_or(FetchError::Url)?;
        if url.len() > URL_LIMIT || !rest.bytes().all(is_of_urls) {
            return Err(FetchError::Url);
        }
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(FetchError::Scheme),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = split_port(authority).ok_or(FetchError::Url)?;
        let host = Host::parse(host).ok_or(FetchError::Url)?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Target {
            https,
            host,
            port: port.unwrap_or(if https { 443 } else { 80 }),
            authority: authority.to_ascii_lowercase(),
            path: path.parse().map_err(|_| FetchError::Url)?,
        })
    }

    /// What the certificate must name.
    pub(super) fn server_name(&self) -> Option<ServerName<'static>> {
        match &self.host {
            Host::Name(name) => ServerName::try_from(name.clone()).ok(),
            Host::Address(address) => Some(ServerName::from(*address)),
        }
    }
}

impl Host {
    fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
            return Some(Host::Address(address.into()));
        }
        let name = text.to_ascii_lowercase();
        let is_label = |label: &str| {
            let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            inner && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
        };
        if name.len() > 253 || !name.split('.').all(is_label) {
            return None;
        }
        // What ends in a number is an address to some readers: 2130706433, 0x7f.1, 127.1 (WHATWG URL, "ends in a number"). Here it is
        // one if it is four decimal numbers without needless zeros, and else nothing.
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_number = last.bytes().all(|b| b.is_ascii_digit())
            || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        if is_number {
            return name.parse::<Ipv4Addr>().ok().map(|address| Host::Address(address.into()));
        }
        Some(Host::Name(name))
    }
}

/// The characters of RFC 3986, but for `#`, which begins a fragment. `@` may stand in a path; in a host it is no label.
fn is_of_urls(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(&byte)
}

fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let colon = authority.rfind(':').filter(|colon| !authority[*colon..].contains(']'));
    let Some(colon) = colon else { return Some((authority, None)) };
    let (host, port) = (&authority[..colon], &authority[colon + 1..]);
    let is_canonical = port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
    let port = port.parse().ok().filter(|_| is_canonical)?;
    Some((host, Some(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_in_one_way() {
        let name = |name: &str| Host::Name(name.to_owned());
        let address = |address: &str| Host::Address(address.parse().unwrap());
        // URL => https, host, port, Host field, path and query
        #[rustfmt::skip]
        let cases = [
            ("https://issuer.test",              true,  name("issuer.test"),   443,   "issuer.test",       "/"),
            ("HTTPS://Issuer.TEST:8443/A%2f?b@", true,  name("issuer.test"),   8443,  "issuer.test:8443",  "/A%2f?b@"),
            ("https://issuer.test?q=1",          true,  name("issuer.test"),   443,   "issuer.test",       "/?q=1"),
            ("http://localhost:65535/",          false, name("localhost"),     65535, "localhost:65535",   "/"),
            ("https://a_b.x--y.test/",           true,  name("a_b.x--y.test"), 443,   "a_b.x--y.test",     "/"),
            ("https://127.0.0.1/",               true,  address("127.0.0.1"),  443,   "127.0.0.1",         "/"),
            ("https://[::1]:1/",                 true,  address("::1"),        1,     "[::1]:1",           "/"),
            ("https://[::ffff:7f00:1]/",         true,  address("::ffff:127.0.0.1"), 443, "[::ffff:7f00:1]", "/"),
            ("https://1.0x7g/",                  true,  name("1.0x7g"),        443,   "1.0x7g",            "/"),
        ];
        for (url, https, host, port, authority, path) in cases {
            let expected = Target { https, host, port, authority: authority.into(), path: path.parse().unwrap() };
            assert_eq!(Target::parse(url).unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn what_two_readers_may_read_differently_is_no_url() {
        use FetchError::{Scheme, Url};
        let long_label = format!("https://{}.test/", "a".repeat(64));
        let long_name = format!("https://{}test/", "a.".repeat(125));
        let long_url = format!("https://issuer.test/{}", "a".repeat(2048));
        #[rustfmt::skip]
        let cases = [
            ("", Url),                             ("issuer.test/x", Url),               ("//issuer.test/", Url),
            ("https:issuer.test", Url),            ("https:/issuer.test", Url),          ("https://", Url),
            ("https:///x", Url),                   ("ftp://issuer.test/", Scheme),       ("file:///etc/passwd", Scheme),
            ("gopher://issuer.test/", Scheme),     (" https://issuer.test/", Scheme),    ("://issuer.test/", Scheme),
            ("https://u@issuer.test/", Url),       ("https://u:p@issuer.test/", Url),    ("https://@issuer.test/", Url),
            ("https://a.test@b.test:1/", Url),     ("https://a.test:1@b.test/", Url),    ("https://issuer.test/#x", Url),
            ("https://issuer.test#@b.test/", Url), ("https://a.test\\@b.test/", Url),    ("https://issuer.test/\\", Url),
            ("https://issuer.test/a b", Url),      ("https://issuer.test/\r\nx: y", Url), ("https://issuer.test/\0", Url),
            ("https://issuer.test/é", Url),        ("https://ıssuer.test/", Url),        ("https://%6c.test/", Url),
            ("https://issuer.test:/", Url),        ("https://issuer.test:0/", Url),      ("https://issuer.test:65536/", Url),
            ("https://issuer.test:0443/", Url),    ("https://issuer.test:+443/", Url),   ("https://issuer.test:1:2/", Url),
            ("https://issuer.test:x/", Url),       ("https://issuer..test/", Url),       ("https://.issuer.test/", Url),
            ("https://issuer.test./", Url),        ("https://-a.test/", Url),            ("https://a-.test/", Url),
            ("https://2130706433/", Url),          ("https://0x7f000001/", Url),         ("https://0x7f.0.0.1/", Url),
            ("https://017700000001/", Url),        ("https://0177.0.0.1/", Url),         ("https://127.1/", Url),
            ("https://127.0.0.01/", Url),          ("https://127.0.0.1.5/", Url),        ("https://127.0.0.256/", Url),
            ("https://127.0.0.0x1/", Url),         ("https://a.0x/", Url),               ("https://127.0.0.1./", Url),
            ("https://::1/", Url),                 ("https://[::1/", Url),               ("https://[::1]x/", Url),
            ("https://[::1%25lo]/", Url),          ("https://[127.0.0.1]/", Url),        ("https://[]/", Url),
            (&long_label, Url),                    (&long_name, Url),                    (&long_url, Url),
        ];
        for (url, expected) in cases {
            assert_eq!(Target::parse(url), Err(expected), "{url:?}");
        }
    }
}
