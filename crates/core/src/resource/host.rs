//! Where an application is reached from outside: hosts, origins, path prefixes.

use std::fmt;

/// A host as it is compared: lower case, without a trailing dot, with the port if one was given.
///
/// `Foo.Example.` and `foo.example` are one host, so that no spelling escapes a rule for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host(String);

/// A text that is not one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a host")]
pub struct HostError;

impl Host {
    /// Reads the value of a `Host` field or an authority: `name`, `name:port`, `1.2.3.4:port` or `[v6]:port`. User
    /// information, lists, paths, spaces, an empty or out-of-range port and bytes beyond ASCII are refused.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let (name, port) = match text.rfind(':') {
            Some(colon) if !text[colon..].contains(']') => (&text[..colon], Some(&text[colon + 1..])),
            _ => (text, None),
        };
        if let Some(port) = port {
            let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
            if !digits || port.parse::<u16>().is_err() {
                return Err(HostError);
            }
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        let bracketed = name.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        let good = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !name.is_empty()
                    && name.len() <= 253
                    && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
                    && !name.starts_with('.')
                    && !name.ends_with('.')
                    && !name.contains("..")
            }
        };
        if !good {
            return Err(HostError);
        }
        let name = name.to_ascii_lowercase();
        Ok(Host(port.map_or(name.clone(), |port| format!("{name}:{port}"))))
    }

    /// The host with its port.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host without its port.
    pub fn name(&self) -> &str {
        match self.0.rfind(':') {
            Some(colon) if !self.0[colon..].contains(']') => &self.0[..colon],
            _ => &self.0,
        }
    }
}

/// How an application is spoken to by those outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// In lower case, without the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port that a URL of this scheme leaves out.
    fn default_port(self) -> &'static str {
        match self {
            Scheme::Http => ":80",
            Scheme::Https => ":443",
        }
    }
}

/// A configured public origin of an application: scheme, host and port (RFC 6454). Never taken from a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Its host, with the port if it is not the scheme's own.
    pub host: Host,
}

impl Origin {
    /// An origin; the scheme's own port is left out.
    pub fn new(scheme: Scheme, host: &Host) -> Self {
        let name = host.0.strip_suffix(scheme.default_port()).unwrap_or(&host.0);
        Origin { scheme, host: Host(name.to_owned()) }
    }

    /// Every `Host` by which a request may name it: without a port, also the one with the scheme's own.
    pub fn hosts(&self) -> impl Iterator<Item = Host> + use<> {
        let bare = self.host.name() == self.host.0;
        let spelled_out = bare.then(|| Host(format!("{}{}", self.host.0, self.scheme.default_port())));
        std::iter::once(self.host.clone()).chain(spelled_out)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.host)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The beginning of paths that belong to an application: whole segments, compared byte for byte.
///
/// `/a` holds `/a`, `/a/` and `/a/b`, and not `/ab`. The prefix `/` holds everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathPrefix(String);

/// A text that is not a [`PathPrefix`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a path prefix starts with '/', and has no empty and no dot segment, and only A-Z a-z 0-9 . _ ~ ! $ & ' ( ) * + , = : @ -"
)]
pub struct PathPrefixError;

impl PathPrefix {
    /// Everything.
    pub fn root() -> Self {
        PathPrefix("/".to_owned())
    }

    /// The prefix, without a slash at its end, or `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a path lies under it.
    pub fn holds(&self, path: &str) -> bool {
        match path.strip_prefix(self.0.trim_end_matches('/')) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }
}

impl std::str::FromStr for PathPrefix {
    type Err = PathPrefixError;

    /// A slash at the end is left out. What could be written in two ways (`%`, `;`, `//`, dot segments) is refused.
    fn from_str(text: &str) -> Result<Self, PathPrefixError> {
        let inside = text.strip_prefix('/').ok_or(PathPrefixError)?;
        let inside = inside.strip_suffix('/').unwrap_or(inside);
        if inside.is_empty() {
            return if text == "/" { Ok(Self::root()) } else { Err(PathPrefixError) };
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._~!$&'()*+,=:@-".contains(&b);
        let segment = |it: &str| !it.is_empty() && it != "." && it != ".." && it.bytes().all(plain);
        if text.len() > 1024 || !inside.split('/').all(segment) {
            return Err(PathPrefixError);
        }
        Ok(PathPrefix(format!("/{inside}")))
    }
}

/// One place at which an application is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// Scheme, host and port.
    pub origin: Origin,
    /// Which paths there.
    pub prefix: PathPrefix,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_spelling_and_a_broken_one_has_none() {
        #[rustfmt::skip]
        let cases = [
            ("App.Example.com",       Some("app.example.com")),
            ("app.example.com.",      Some("app.example.com")),
            ("app.example.com.:8080", Some("app.example.com:8080")),
            ("127.0.0.1:8080",        Some("127.0.0.1:8080")),
            ("[::1]:8080",            Some("[::1]:8080")),
            ("[::1]",                 Some("[::1]")),
            ("",                      None),
            (".",                     None),
            ("a..b",                  None),
            ("a.example:",            None),
            ("a.example:0",           None),
            ("a.example:080",         None),
            ("a.example:65536",       None),
            ("a.example:80:80",       None),
            ("user@a.example",        None),
            ("a.example/path",        None),
            ("a.example, b.example",  None),
            ("a example",             None),
            ("[::1",                  None),
            ("::1",                   None),
            ("caf\u{e9}.fr",          None),
        ];
        for (text, expected) in cases {
            assert_eq!(Host::parse(text).ok().map(|host| host.0).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_prefix_holds_whole_segments() {
        #[rustfmt::skip]
        let cases = [
            // (prefix, as it is kept, what it holds, what it does not)
            ("/",        Some("/"),   &["/", "/a", "//", ""][..],     &[][..]),
            ("/a",       Some("/a"),  &["/a", "/a/", "/a/b", "/a//"], &["/", "/ab", "/A", "/b/a", "a", ""]),
            ("/a/b/",    Some("/a/b"), &["/a/b", "/a/b/c"],           &["/a", "/a/bc", "/a//b"]),
            ("",         None, &[], &[]),
            ("a",        None, &[], &[]),
            ("//",       None, &[], &[]),
            ("/a//b",    None, &[], &[]),
            ("/a/../b",  None, &[], &[]),
            ("/a;p",     None, &[], &[]),
            ("/%61",     None, &[], &[]),
            ("/a?b",     None, &[], &[]),
            ("/caf\u{e9}", None, &[], &[]),
        ];
        for (text, kept, holds, not) in cases {
            let prefix = text.parse::<PathPrefix>().ok();
            assert_eq!(prefix.as_ref().map(PathPrefix::as_str), kept, "{text:?}");
            let Some(prefix) = prefix else { continue };
            holds.iter().for_each(|path| assert!(prefix.holds(path), "{text} {path}"));
            not.iter().for_each(|path| assert!(!prefix.holds(path), "{text} {path}"));
        }
    }
}
