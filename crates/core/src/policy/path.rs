//! The forms in which hosts and paths are compared with conditions.
//!
//! A host loses its trailing dot, is in lower case, and in ASCII (punycode). A path loses its parameters (`;` up to the next
//! `/`), and then its dot segments are resolved. A path that this changes is evaluated twice, as it was sent and as it is here:
//! see [`Condition::holds`](super::condition::Condition::holds). What two readers could take apart in two ways (a segment that
//! begins with `..;`, encoded slashes and dots) is refused with 400 before any policy is asked: see [`check_path`].
//!
//! That is Google's rule, and leaves a path many spellings: `//admin` and `/%61dmin` are `/admin` to many applications. So one that is
//! not in the plainest spelling is evaluated in that one as well, and decoded: see [`RequestPath`].
//!
//! Spec: <https://cloud.google.com/chrome-enterprise-premium/docs/hostname-and-path-conditions>

use std::borrow::Cow;

use idna::AsciiDenyList;

/// The path of a request, as it was sent and in the other forms in which it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPath<'a> {
    raw: &'a str,
    /// Those that differ; most paths have none.
    others: Option<Box<Others>>,
}

/// Each if it is another one than those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Others {
    normal: Option<String>,
    plain: Option<String>,
    decoded: Option<String>,
}

impl<'a> RequestPath<'a> {
    /// Finds the forms of a path, without the query. Allocates only if the path is not plain.
    pub fn new(raw: &'a str) -> RequestPath<'a> {
        if is_plain(raw) {
            return RequestPath { raw, others: None };
        }
        let normal = normal_path(raw);
        let plain = merged(&normal_path(&respelled(&normal)));
        let decoded = merged(&decoded(&normal));
        let differs = |form: &str, before: &[&str]| (!before.contains(&form)).then(|| form.to_owned());
        let others = Others {
            normal: differs(&normal, &[raw]),
            plain: differs(&plain, &[raw, &normal]),
            decoded: differs(&decoded, &[raw, &normal, &plain]),
        };
        RequestPath { raw, others: Some(Box::new(others)) }
    }

    /// As it was sent, byte for byte.
    pub fn raw(&self) -> &str {
        self.raw
    }

    /// The normal form, if it is another one than what was sent.
    pub fn normal(&self) -> Option<&str> {
        self.others.as_ref().and_then(|others| others.normal.as_deref())
    }

    /// The normal form in the plainest spelling, if that is another one than those above: without empty segments, every byte as a
    /// browser writes it (in capitals where it must be encoded, and not encoded otherwise), and what comes to light by that (`%3B`)
    /// normalised again. Spellings that mean the same have one.
    ///
    /// Spec: <https://url.spec.whatwg.org/#path-percent-encode-set>
    pub fn plain(&self) -> Option<&str> {
        self.others.as_ref().and_then(|others| others.plain.as_deref())
    }

    /// The normal form decoded once and without empty segments, if that is another one than those above: only a path with bytes that
    /// cannot be sent as they are has one. What is no UTF-8 is replaced.
    pub fn decoded(&self) -> Option<&str> {
        self.others.as_ref().and_then(|others| others.decoded.as_deref())
    }
}

/// Whether a byte stands in a path as it is: what browsers do not encode.
fn stands_as_it_is(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && !b"\"#%<>?\\^`{}".contains(&byte)
}

/// Whether all forms of a path are the path: every reader reads it alike.
pub(crate) fn is_plain(raw: &str) -> bool {
    let bytes = raw.as_bytes();
    let plain = |byte: &u8| stands_as_it_is(*byte) && *byte != b';';
    bytes.iter().all(plain)
        && !bytes.windows(2).any(|pair| pair == b"//")
        && !raw.split('/').skip(1).any(|segment| matches!(segment, "." | ".."))
}

/// A path whose bytes are encoded where they must be, and nowhere else.
fn respelled(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for (byte, encoded) in bytes_of(path) {
        match byte {
            // A slash that was encoded is none between segments. No request has one.
            b'/' if encoded => out.push_str("%2F"),
            byte if stands_as_it_is(byte) => out.push(char::from(byte)),
            byte => {
                let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or_default().to_ascii_uppercase();
                out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    out
}

/// A path decoded once.
fn decoded(path: &str) -> String {
    let bytes: Vec<u8> = bytes_of(path).map(|(byte, _)| byte).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The bytes that a path means, and whether each was encoded. A `%` without two digits is itself.
fn bytes_of(path: &str) -> impl Iterator<Item = (u8, bool)> {
    let mut rest = path.as_bytes();
    std::iter::from_fn(move || {
        let (first, after) = rest.split_first()?;
        let pair = if *first == b'%' { hex_pair(after) } else { None };
        rest = pair.map_or(after, |(_, after)| after);
        Some(pair.map_or((*first, false), |(byte, _)| (byte, true)))
    })
}

/// A path without empty segments, but for the last.
fn merged(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for letter in path.chars() {
        if letter != '/' || !out.ends_with('/') {
            out.push(letter);
        }
    }
    out
}

/// A path as lenient servers read it: decoded once, without parameters, dot segments and empty segments. Some take the dot segments out
/// first, some the empty ones, and where both are that gives two paths. [`check_path`] refuses those.
pub fn lenient_readings(path: &str) -> [String; 2] {
    let decoded = decoded(path);
    [merged(&normal_path(&decoded)), merged(&normal_path(&merged(&without_parameters(&decoded))))]
}

fn without_parameters(path: &str) -> String {
    path.split('/').map(|segment| segment.split(';').next().unwrap_or_default()).collect::<Vec<_>>().join("/")
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

/// Refuses a path in which two readers may see different segments: with 400, whoever asks. What passes goes upstream byte for byte.
///
/// # Errors
/// What is wrong with it, in a few words.
///
/// Spec: <https://cloud.google.com/chrome-enterprise-premium/docs/hostname-and-path-conditions> (`..;` is 400); the rest is
/// ours: an application decodes once more than we do, or not at all, and neither may change what was asked for.
pub fn check_path(path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        return Err("the target is not a path");
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        match byte {
            b'\\' => return Err("the path has a backslash"),
            0..=0x20 | 0x7f.. => return Err("the path has a control byte or a byte beyond ASCII"),
            b'%' => {
                let (byte, after) = hex_pair(rest).ok_or("the path has a broken percent-encoding")?;
                rest = after;
                match byte {
                    b'/' => return Err("the path has an encoded slash"),
                    b'\\' => return Err("the path has an encoded backslash"),
                    0..=0x1f | 0x7f => return Err("the path has an encoded control byte"),
                    byte => decoded.push(byte),
                }
            }
            byte => decoded.push(*byte),
        }
    }
    if decoded.iter().enumerate().any(|(at, byte)| *byte == b'%' && hex_pair(&decoded[at + 1..]).is_some()) {
        return Err("the path is encoded twice");
    }
    if has_overlong(&decoded) {
        return Err("the path has an overlong encoding");
    }
    let mut empty_before = false;
    for (nth, segment) in path.split('/').enumerate() {
        let name = check_segment(segment)?;
        // `/a//../b` is `/a/b` to who takes out dot segments first, and `/b` to who takes out the empty one first.
        if empty_before && matches!(&*name, "." | "..") {
            return Err("the path has an empty segment before a dot segment");
        }
        // What is before the first slash is no segment.
        empty_before |= nth > 0 && name.is_empty();
    }
    Ok(())
}

/// Gives the segment's name, without parameters.
fn check_segment(segment: &str) -> Result<String, &'static str> {
    let decoded = segment.replace("%2e", ".").replace("%2E", ".").replace("%3b", ";").replace("%3B", ";");
    if decoded.starts_with("..;") {
        return Err("the path has a segment that starts with `..;`");
    }
    let name = decoded.split(';').next().unwrap_or_default();
    if matches!(name, "." | "..") && !segment.starts_with(name) {
        return Err("the path has an encoded dot segment");
    }
    Ok(name.to_owned())
}

fn hex_pair(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let ([high, low], rest) = bytes.split_first_chunk::<2>()?;
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some((digit(high)? << 4 | digit(low)?, rest))
}

/// Whether UTF-8 of more bytes than needed occurs: `%c0%af` is a slash to a careless decoder. Bytes from `f5` on occur in no
/// UTF-8, only in longer spellings of old (RFC 3629 section 3).
fn has_overlong(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| matches!(byte, 0xc0 | 0xc1 | 0xf5..))
        || bytes.windows(2).any(|pair| matches!(pair, [0xe0, 0x80..=0x9f] | [0xf0, 0x80..=0x8f]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_passes_only_if_every_reader_sees_the_same_segments() {
        #[rustfmt::skip]
        let cases = [
            ("/",                    true),
            ("/a/b;c=1/d",           true),
            ("/a/../b",              true),
            ("/a/./b",               true),
            ("/a//b",                true),
            ("//a",                  true),
            ("/a/../b//c/",          true),
            ("/a/..//b",             true),
            ("/a//../b",             false),
            ("//../b",               false),
            ("/a//b/./c",            false),
            ("/a//b/.;x/c",          false),
            ("/a/;x/../b",           false),
            ("/a/%3bx/../b",         false),
            ("/a//b/..",             false),
            ("/100%25",              true),
            ("/caf%C3%A9",           true),
            ("/a%20b",               true),
            ("/a%3Bb",               true),
            ("/a.%2e",               true),
            ("/%2e%2ea",             true),
            ("/x/..;/y",             false),
            ("/..;bar/",             false),
            ("/bar/..;",             false),
            ("/%2e%2e;/x",           false),
            ("/..%3b/x",             false),
            ("/..%3Bx",              false),
            ("/a/%2e%2e/b",          false),
            ("/a/.%2E/b",            false),
            ("/a/%2e/b",             false),
            ("/a/%2e;x/b",           false),
            ("/a%2fb",               false),
            ("/a%2Fb",               false),
            ("/a%5cb",               false),
            ("/a\\b",                false),
            ("/a%00",                false),
            ("/a%0d%0ab",            false),
            ("/a%7f",                false),
            ("/a%252fb",             false),
            ("/a%25%32%66",          false),
            ("/a%2525",              false),
            ("/a%c0%af",             false),
            ("/a%e0%80%af",          false),
            ("/a%f0%80%80%af",       false),
            ("/a%f8%80%80%80%af",    false),
            ("/a%fc%80%80%80%80%af", false),
            ("/a%zz",                false),
            ("/a%2",                 false),
            ("/caf\u{e9}",           false),
            ("*",                    false),
        ];
        for (path, passes) in cases {
            assert_eq!(check_path(path).is_ok(), passes, "{path}: {:?}", check_path(path));
        }
    }

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
    fn all_spellings_of_a_path_have_one_plain_form() {
        // As sent => plain form, decoded form; `None` where it is one of those before.
        #[rustfmt::skip]
        let cases = [
            ("/admin",             None,                None),
            ("/a/b/c.d_e~f",       None,                None),
            ("/a|b[0]@c:d!$&'()*", None,                None),
            ("/",                  None,                None),
            ("//admin",            Some("/admin"),      None),
            ("///admin//x/",       Some("/admin/x/"),   None),
            ("/%61dmin",           Some("/admin"),      None),
            ("/%61dmin//;x",       Some("/admin/"),     None),
            ("/x/..//admin",       Some("/admin"),      None),
            ("/admin%3Bx",         Some("/admin"),      Some("/admin;x")),
            ("/.%3Bx/admin",       Some("/admin"),      Some("/.;x/admin")),
            ("/%40admin",          Some("/@admin"),     None),
            ("/caf%C3%A9",         None,                Some("/caf\u{e9}")),
            ("/caf%c3%a9",         Some("/caf%C3%A9"),  Some("/caf\u{e9}")),
            ("/my%20docs",         None,                Some("/my docs")),
            ("/a%7bid%7D",         Some("/a%7Bid%7D"),  Some("/a{id}")),
            ("/a{id}",             Some("/a%7Bid%7D"),  None),
            ("/100%25",            None,                Some("/100%")),
            ("/a%ff",              Some("/a%FF"),       Some("/a\u{fffd}")),
            ("/a;x",               None,                None),
        ];
        for (raw, plain, decoded) in cases {
            let path = RequestPath::new(raw);
            assert_eq!((path.plain(), path.decoded()), (plain, decoded), "{raw}");
            assert_eq!(path.others.is_none(), [plain, decoded, path.normal()] == [None; 3], "{raw}");
        }
    }

    #[test]
    fn lenient_readers_differ_where_an_empty_segment_comes_before_a_dot_segment() {
        #[rustfmt::skip]
        let cases = [
            ("/pub/x",           ["/pub/x", "/pub/x"]),
            ("//pub//x",         ["/pub/x", "/pub/x"]),
            ("/pub/../adm",      ["/adm", "/adm"]),
            ("/%70ub;a/x",       ["/pub/x", "/pub/x"]),
            ("/pub//../adm",     ["/pub/adm", "/adm"]),
            ("/pub/;x/../adm",   ["/pub/adm", "/adm"]),
        ];
        for (path, expected) in cases {
            assert_eq!(lenient_readings(path), expected, "{path}");
            assert!(expected[0] == expected[1] || check_path(path).is_err(), "{path}");
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
            let sent = format!("/{text}");
            if check_path(&sent).is_ok() {
                let [dots_first, empty_first] = lenient_readings(&sent);
                assert_eq!(dots_first, empty_first, "{sent:?}");
                let path = RequestPath::new(&sent);
                let plain = path.plain().or(path.normal()).unwrap_or(&sent);
                assert_eq!(RequestPath::new(plain).plain(), None, "{sent:?} gives {plain:?}");
            }
            let absolute = normal_path(&sent).into_owned();
            let left = absolute.split('/').any(|segment| matches!(segment, "." | "..")) || absolute.contains(';');
            assert!(absolute.starts_with('/') && !left, "{text:?} gives {absolute:?}");
            if let Some(host) = normal_host(&text.replace('/', "")) {
                assert_eq!(normal_host(&host).as_deref(), Some(&*host), "{text:?}");
            }
        }
    }
}
