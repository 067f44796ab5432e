//! The one form in which hosts and paths are compared with conditions.
//!
//! A host loses its trailing dot, is in lower case, and in ASCII (punycode). A path loses its parameters (`;` up to the next
//! `/`), and then its dot segments are resolved. A path that this changes is evaluated twice, as it was sent and as it is here:
//! see [`Condition::holds`](super::condition::Condition::holds). What two readers could take apart in two ways (a segment that
//! begins with `..;`, encoded slashes and dots) never gets here: the proxy refuses it with 400 (`doorward-proxy`, `sanitize.rs`).
//!
//! Spec: <https://cloud.google.com/chrome-enterprise-premium/docs/hostname-and-path-conditions>

use std::borrow::Cow;

use idna::AsciiDenyList;

/// The path of a request, as it was sent and as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPath<'a> {
    raw: &'a str,
    /// If it differs.
    normal: Option<String>,
}

impl<'a> RequestPath<'a> {
    /// Normalises a path, without the query. Allocates only if the path is not normal.
    pub fn new(raw: &'a str) -> RequestPath<'a> {
        let normal = match normal_path(raw) {
            Cow::Borrowed(_) => None,
            Cow::Owned(normal) => Some(normal),
        };
        RequestPath { raw, normal }
    }

    /// As it was sent, byte for byte.
    pub fn raw(&self) -> &str {
        self.raw
    }

    /// The normal form, if it is another one than what was sent.
    pub fn normal(&self) -> Option<&str> {
        self.normal.as_deref()
    }
}

/// The normal form of a path. Normalising it again changes nothing. Percent-encodings and empty segments stay as they are.
pub fn normal_path(raw: &str) -> Cow<'_, str> {
    let is_normal = !raw.contains(';') && raw.split('/').skip(1).all(|segment| !matches!(segment, "." | ".."));
    if is_normal {
        return Cow::Borrowed(raw);
    }
    let last = raw.matches('/').count();
    let mut kept: Vec<&str> = Vec::new();
    for (nth, segment) in raw.split('/').enumerate() {
        let name = segment.split(';').next().unwrap_or_default();
        match name {
            // What is before the first slash is no segment.
            _ if nth == 0 => kept.push(name),
            "." => {}
            ".." if kept.len() > 1 => {
                kept.pop();
            }
            ".." => {}
            name => kept.push(name),
        }
        // `/a/.` is the directory `/a/` (RFC 3986 section 5.2.4).
        if nth == last && nth > 0 && matches!(name, "." | "..") {
            kept.push("");
        }
    }
    Cow::Owned(kept.join("/"))
}

/// The normal form of a host name or address, without a port; `None` for what is no host. Normalising it again changes nothing.
///
/// Requests come with ASCII only (see [`Host`](crate::resource::Host)); people write `café.fr` when they ask what would happen.
pub fn normal_host(text: &str) -> Option<Cow<'_, str>> {
    if let Some(inner) = text.strip_prefix('[') {
        let address = inner.strip_suffix(']')?;
        address.parse::<std::net::Ipv6Addr>().ok()?;
        return Some(match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(text.to_ascii_lowercase()),
            false => Cow::Borrowed(text),
        });
    }
    let ascii = idna::domain_to_ascii_cow(text.as_bytes(), AsciiDenyList::URL).ok()?;
    let host = match ascii {
        Cow::Borrowed(host) => Cow::Borrowed(host.strip_suffix('.').unwrap_or(host)),
        Cow::Owned(mut host) => {
            if host.ends_with('.') {
                host.pop();
            }
            Cow::Owned(host)
        }
    };
    let labels = host.split('.').all(|label| !label.is_empty() && label.len() <= 63);
    (labels && host.len() <= 253).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_compared_without_parameters_and_dot_segments() {
        // The first seven are Google's examples.
        #[rustfmt::skip]
        let cases = [
            ("/internal;x/admin",       "/internal/admin"),
            ("/a/../b",                 "/b"),
            ("/bar;p1/baz;baz;p2",      "/bar/baz"),
            ("/bar/..",                 "/"),
            ("/internal;some_param/admin", "/internal/admin"),
            ("/a/./b",                  "/a/b"),
            ("/",                       "/"),
            ("/denied;p=1/../../ok",    "/ok"),
            ("/a/.",                    "/a/"),
            ("/a/b/..",                 "/a/"),
            ("/..",                     "/"),
            ("/../../a",                "/a"),
            ("/a/.;x/b",                "/a/b"),
            ("/a//../b",                "/a/b"),
            ("/a//b",                   "/a//b"),
            ("/a/...",                  "/a/..."),
            ("/;",                      "/"),
            ("/a;",                     "/a"),
            ("/a%3Bb/%2e",              "/a%3Bb/%2e"),
            ("*",                       "*"),
            ("",                        ""),
            ("../a",                    "../a"),
        ];
        for (raw, expected) in cases {
            assert_eq!(normal_path(raw), expected, "{raw}");
            let path = RequestPath::new(raw);
            assert_eq!((path.raw(), path.normal()), (raw, Some(expected).filter(|normal| *normal != raw)), "{raw}");
        }
    }

    #[test]
    fn a_host_is_compared_in_lower_case_and_punycode() {
        #[rustfmt::skip]
        let cases = [
            ("FOO.com",         Some("foo.com")),
            ("café.fr",         Some("xn--caf-dma.fr")),
            ("CAFÉ.fr.",        Some("xn--caf-dma.fr")),
            ("xn--caf-dma.fr",  Some("xn--caf-dma.fr")),
            ("foo.com.",        Some("foo.com")),
            ("foo。com",         Some("foo.com")),
            ("my_app.test",     Some("my_app.test")),
            ("10.0.0.1",        Some("10.0.0.1")),
            ("[::AB]",          Some("[::ab]")),
            ("foo.com..",       None),
            ("foo..com",        None),
            (".",               None),
            ("",                None),
            ("foo.com:443",     None),
            ("a b",             None),
            ("a/b",             None),
            ("u@a",             None),
            ("[::1",            None),
            ("xn--\u{e9}.fr",   None),
        ];
        for (text, expected) in cases {
            assert_eq!(normal_host(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn normalising_twice_is_normalising_once() {
        const PARTS: [&str; 16] =
            ["/", ".", "..", ";", "a", "B", "é", "ß", "。", "xn--", "-", "%2e", "..;", "//", "İ", "\u{ad}"];
        let mut state = 0x5eed_0006_u64;
        let mut roll = |sides: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 16) as usize % sides
        };
        for _ in 0..20_000 {
            let text: String = (0..1 + roll(9)).map(|_| PARTS[roll(PARTS.len())]).collect();
            let path = normal_path(&text).into_owned();
            assert_eq!(normal_path(&path), path, "{text:?}");
            let absolute = normal_path(&format!("/{text}")).into_owned();
            let left = absolute.split('/').any(|segment| matches!(segment, "." | "..")) || absolute.contains(';');
            assert!(absolute.starts_with('/') && !left, "{text:?} gives {absolute:?}");
            if let Some(host) = normal_host(&text.replace('/', "")) {
                assert_eq!(normal_host(&host).as_deref(), Some(&*host), "{text:?}");
            }
        }
    }
}
