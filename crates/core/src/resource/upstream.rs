//! Where applications run, and where none does.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::{Host, Scheme};

/// Where an application runs: a scheme, a host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamAddress {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// A name in lower case, or an address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Why an address is not one of an application. Does not repeat it: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// Not `http://HOST[:PORT]` or `https://HOST[:PORT]`.
    #[error("not an address of the form http://HOST:PORT or https://HOST:PORT")]
    Malformed,
    /// It has a user or a password. They would be shown to everybody who may see the application.
    #[error("an address of an application has no user and no password")]
    Credentials,
    /// It has a path, a query or a fragment. Targets go to the application byte for byte: there is nothing to put before or after
    /// them.
    #[error("an address of an application ends after the port: it has no path, query or fragment")]
    Path,
    /// Link-local, or where clouds hand out the credentials of the machine: whoever may name an upstream could ask for those.
    #[error("no application is at a link-local address or at the metadata server of a cloud")]
    Forbidden,
}

/// The names of the metadata servers of clouds.
const METADATA_NAMES: [&str; 6] = [
    "instance-data",
    "instance-data.ec2.internal",
    "metadata",
    "metadata.azure.internal",
    "metadata.goog",
    "metadata.google.internal",
];

/// Their addresses that are not link-local: of Alibaba, Azure and Oracle.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];

/// Those of Amazon and Google.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// Whether no application may be at an address: it is link-local, or the metadata server of a cloud. Private addresses and those of this
/// machine are where applications usually are.
pub fn is_forbidden_upstream(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local() || METADATA_V4.contains(&address),
        IpAddr::V6(address) => {
            let translated = match address.octets() {
                // A translator (RFC 6052 section 2.1) leads to the address of IPv4 at the end.
                [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => {
                    is_forbidden_upstream(Ipv4Addr::new(a, b, c, d).into())
                }
                _ => false,
            };
            translated || address.is_unicast_link_local() || METADATA_V6.contains(&address)
        }
    }
}

/// A URL with `…` where it has a user or a password, or what could be one.
pub fn without_credentials(url: &str) -> Cow<'_, str> {
    let Some(at) = url.rfind('@') else { return Cow::Borrowed(url) };
    let start = url[..at].find("://").map_or(0, |colon| colon + 3);
    Cow::Owned(format!("{}…{}", &url[..start], &url[at..]))
}

impl FromStr for UpstreamAddress {
    type Err = UpstreamError;

    fn from_str(text: &str) -> Result<Self, UpstreamError> {
        use UpstreamError as E;
        let (scheme, rest) = text.split_once("://").ok_or(E::Malformed)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(E::Malformed),
        };
        if rest.contains('@') {
            return Err(E::Credentials);
        }
        let (authority, after) = rest.find(['/', '?', '#']).map_or((rest, ""), |end| rest.split_at(end));
        let host = Host::parse(authority).map_err(|_| E::Malformed)?;
        if !matches!(after, "" | "/") {
            return Err(E::Path);
        }
        let name = host.name();
        let port = match host.as_str()[name.len()..].strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| E::Malformed)?,
            None if scheme == Scheme::Https => 443,
            None => 80,
        };
        let host = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        match host.parse::<IpAddr>() {
            Ok(address) if is_forbidden_upstream(address) => return Err(E::Forbidden),
            Ok(_) => {}
            // `0xa9fea9fe`, `2852039166` and `169.254.43518` are addresses to a resolver, and names to whoever reads them here.
            Err(_) if ends_in_a_number(&host) => return Err(E::Malformed),
            Err(_) if METADATA_NAMES.contains(&host.as_str()) => return Err(E::Forbidden),
            Err(_) => {}
        }
        Ok(UpstreamAddress { scheme, host, port })
    }
}

/// Spec: <https://url.spec.whatwg.org/#ends-in-a-number-checker>
fn ends_in_a_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let digits = |text: &str, is: fn(&u8) -> bool| text.as_bytes().iter().all(is);
    digits(last, u8::is_ascii_digit) || last.strip_prefix("0x").is_some_and(|last| digits(last, u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_has_an_address_and_nothing_more() {
        use UpstreamError as E;
        #[rustfmt::skip]
        let cases = [
            ("http://localhost:3000",              Ok(("localhost", 3000, Scheme::Http))),
            ("http://127.0.0.1",                   Ok(("127.0.0.1", 80, Scheme::Http))),
            ("http://[::1]:9/",                    Ok(("::1", 9, Scheme::Http))),
            ("https://App.Internal.",              Ok(("app.internal", 443, Scheme::Https))),
            ("HTTPS://app_1",                      Ok(("app_1", 443, Scheme::Https))),
            ("http://10.0.0.1:8080",               Ok(("10.0.0.1", 8080, Scheme::Http))),
            ("http://192.168.1.1",                 Ok(("192.168.1.1", 80, Scheme::Http))),
            ("http://[fd00::1]",                   Ok(("fd00::1", 80, Scheme::Http))),
            ("http://metadata.example.com",        Ok(("metadata.example.com", 80, Scheme::Http))),
            ("http://0x.example",                  Ok(("0x.example", 80, Scheme::Http))),
            ("localhost:3000",                     Err(E::Malformed)),
            ("http://",                            Err(E::Malformed)),
            ("http://localhost:0",                 Err(E::Malformed)),
            ("http://localhost:99999",             Err(E::Malformed)),
            ("ftp://localhost",                    Err(E::Malformed)),
            ("",                                   Err(E::Malformed)),
            ("http://user@localhost",              Err(E::Credentials)),
            ("http://u:p/w@localhost",             Err(E::Credentials)),
            ("http://localhost:3000/app",          Err(E::Path)),
            ("http://localhost:3000/?a",           Err(E::Path)),
            ("http://localhost?a",                 Err(E::Path)),
            ("http://localhost#a",                 Err(E::Path)),
            ("http://169.254.169.254",             Err(E::Forbidden)),
            ("http://169.254.0.1:8080",            Err(E::Forbidden)),
            ("http://168.63.129.16",               Err(E::Forbidden)),
            ("http://[fe80::1]",                   Err(E::Forbidden)),
            ("http://[febf::1]",                   Err(E::Forbidden)),
            ("http://[::ffff:169.254.169.254]",    Err(E::Forbidden)),
            ("http://[64:ff9b::a9fe:a9fe]",        Err(E::Forbidden)),
            ("http://[fd00:ec2::254]",             Err(E::Forbidden)),
            ("http://[fd00:0ec2:0::0254]:80",      Err(E::Forbidden)),
            ("http://[fd20:ce::254]",              Err(E::Forbidden)),
            ("http://metadata.google.internal",    Err(E::Forbidden)),
            ("http://Metadata.Google.Internal.:80", Err(E::Forbidden)),
            ("http://metadata",                    Err(E::Forbidden)),
            ("http://0xa9fea9fe",                  Err(E::Malformed)),
            ("http://2852039166",                  Err(E::Malformed)),
            ("http://0251.0376.0251.0376",         Err(E::Malformed)),
            ("http://169.254.43518",               Err(E::Malformed)),
            ("http://169.254.169.0xfe",            Err(E::Malformed)),
        ];
        for (text, expected) in cases {
            let read = text.parse::<UpstreamAddress>();
            let read = read.as_ref().map(|read| (read.host.as_str(), read.port, read.scheme)).map_err(|error| *error);
            assert_eq!(read, expected, "{text}");
        }
    }

    #[test]
    fn what_is_repeated_of_an_address_is_no_secret() {
        #[rustfmt::skip]
        let cases = [
            ("http://localhost/a",        "http://localhost/a"),
            ("http://u:secret@localhost", "http://…@localhost"),
            ("http://u:se/cr@et@host/a",  "http://…@host/a"),
            ("u:secret@localhost",        "…@localhost"),
            ("u@x://y",                   "…@x://y"),
        ];
        for (url, expected) in cases {
            assert_eq!(without_credentials(url), expected, "{url}");
        }
    }
}
