//! Stage 0: one host, one target, and no header that only we may set.

use doorward_core::resource::Host;
use doorward_wire::headers::{folds_to, folds_to_prefix, is_own_cookie, is_reserved};
use http::header::{self, HeaderMap, HeaderName};
use http::{Method, Request, Version};
use hyper::body::Incoming;

use crate::authorize::Asked;
use crate::record::Trace;
use crate::refusal::{Malformed, Refusal};

/// The longest method that is forwarded and recorded. The longest registered one has 17 letters.
pub(crate) const METHOD_LIMIT: usize = 32;

/// The name that a client asked for in its TLS handshake (RFC 6066 section 3). The listener puts it into the request's
/// extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerName(pub String);

impl Sanitized {
    /// What conditions read of it.
    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked { host: &self.host, method: &self.method, path: self.target.path(), headers: &self.headers }
    }
}

impl ServerName {
    /// Whether a request on a connection, with these extensions, may be for this host. A certificate was chosen and trusted for
    /// one name: a request for another one on the same connection was misdirected (RFC 9110 section 7.4).
    pub fn admits(extensions: &http::Extensions, host: &Host) -> bool {
        extensions.get::<ServerName>().is_none_or(|ServerName(name)| name.eq_ignore_ascii_case(host.name()))
    }
}

/// A request of which nothing is left that a caller could use to speak in our name.
pub(crate) struct Sanitized {
    /// The one host: for routing, policy, audience, and upstream.
    pub(crate) host: Host,
    pub(crate) method: Method,
    /// Path and query, byte for byte as sent.
    pub(crate) target: http::uri::PathAndQuery,
    /// What may go to the application. Credentials are still here: authentication takes them.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Incoming,
    /// The body has no length that is known before its end.
    pub(crate) chunked: bool,
    /// The caller's side of the WebSocket that was asked for.
    pub(crate) upgrade: Option<hyper::upgrade::OnUpgrade>,
}

pub(crate) fn sanitize(mut request: Request<Incoming>, trace: &mut Trace) -> Result<Sanitized, Refusal> {
    let upgrade = requested_upgrade(&mut request);
    let (mut parts, body) = request.into_parts();
    if matches!(parts.method, Method::CONNECT | Method::TRACE) || parts.method.as_str().len() > METHOD_LIMIT {
        return Err(Malformed::Method.into());
    }
    check_framing(&parts.headers)?;
    let chunked = parts.headers.contains_key(header::TRANSFER_ENCODING);
    let host = one_host(&parts.uri, &parts.headers, parts.version)?;
    if !ServerName::admits(&parts.extensions, &host) {
        return Err(Refusal::NoSuchResource);
    }
    let target = parts.uri.path_and_query().cloned().ok_or(Malformed::Path("the target has no path"))?;
    check_path(target.path()).map_err(Malformed::Path)?;
    trace.stripped = strip(&mut parts.headers);
    Ok(Sanitized { host, method: parts.method, target, headers: parts.headers, body, chunked, upgrade })
}

/// Transfer codings other than plain `chunked` are refused: an upstream that reads one differently reads another request.
fn check_framing(headers: &HeaderMap) -> Result<(), Malformed> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Malformed::TransferEncoding),
    }
}

/// The one host of a request. An absolute-form target must name the same host as the `Host` field: two readers that prefer
/// different ones would see two applications.
fn one_host(uri: &http::Uri, headers: &HeaderMap, version: Version) -> Result<Host, Malformed> {
    let mut fields = headers.get_all(header::HOST).iter();
    let (field, None) = (fields.next().ok_or(Malformed::Host)?, fields.next()) else { return Err(Malformed::Host) };
    let host = Host::parse(field.to_str().map_err(|_| Malformed::Host)?).map_err(|_| Malformed::Host)?;
    if let Some(authority) = uri.authority() {
        let same = Host::parse(authority.as_str()).is_ok_and(|named| named == host);
        let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        if !same || !scheme || version < Version::HTTP_11 {
            return Err(Malformed::Host);
        }
    }
    Ok(host)
}

/// Refuses a path in which two readers may see different segments. What passes goes upstream byte for byte.
///
/// Spec: <https://cloud.google.com/chrome-enterprise-premium/docs/hostname-and-path-conditions> (`..;` is 400); the rest is
/// ours: an application decodes once more than we do, or not at all, and neither may change what was asked for.
pub(crate) fn check_path(path: &str) -> Result<(), &'static str> {
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
    path.split('/').try_for_each(check_segment)
}

fn check_segment(segment: &str) -> Result<(), &'static str> {
    let decoded = segment.replace("%2e", ".").replace("%2E", ".").replace("%3b", ";").replace("%3B", ";");
    if decoded.starts_with("..;") {
        return Err("the path has a segment that starts with `..;`");
    }
    let name = decoded.split(';').next().unwrap_or_default();
    if matches!(name, "." | "..") && !segment.starts_with(name) {
        return Err("the path has an encoded dot segment");
    }
    Ok(())
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

/// Removes what only we may say, whoever said it, and what ends at each hop (RFC 9110 section 7.6.1). Gives the number of
/// identity headers that a caller tried to set.
///
/// Fields that `Connection` names go before ours are added, so that naming one of ours there cannot drop it.
fn strip(headers: &mut HeaderMap) -> u32 {
    let named = named_by_connection(headers);
    let mut identity = 0;
    let doomed: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            let reserved = is_reserved(name.as_str());
            identity += u32::from(reserved);
            reserved
                || is_hop_by_hop(name.as_str())
                || is_forwarding(name.as_str())
                || is_second_length(name.as_str())
                || named.contains(name)
        })
        // The credentials are read, and Proxy-Authorization dropped, by the next stages.
        .filter(|name| ![header::PROXY_AUTHORIZATION, header::AUTHORIZATION].contains(name))
        .cloned()
        .collect();
    for name in doomed {
        headers.remove(name);
    }
    identity
}

/// Removes every field that an application may read as one of these names, which only its settings may set. Gives the number of
/// names that a caller tried.
///
/// Names are lower case, and may have any byte of a token: `x_dept` and `x-dept` are one to an application behind CGI.
pub(crate) fn strip_propagated<'n>(headers: &mut HeaderMap, names: impl Iterator<Item = &'n str>) -> u32 {
    let mut removed = 0;
    for name in names {
        // Most applications have no such names, and most callers send none.
        let doomed: Vec<HeaderName> = headers.keys().filter(|sent| reads_as(sent.as_str(), name)).cloned().collect();
        for sent in doomed {
            headers.remove(sent);
            removed += 1;
        }
    }
    removed
}

/// Whether two names are one to who turns every byte that is no letter and no digit into `_`: [`folds_to`] for a name that need not
/// be in the folded form itself.
fn reads_as(sent: &str, name: &str) -> bool {
    let folded = |byte: u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
    sent.len() == name.len() && sent.bytes().map(folded).eq(name.bytes().map(folded))
}

/// The fields that `Connection` declares to end at this hop (RFC 9110 section 7.6.1).
pub(crate) fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect()
}

fn is_hop_by_hop(name: &str) -> bool {
    const HOP_BY_HOP: [&str; 11] = [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        // Met here already: hyper answers 100 when the body is first read.
        "expect",
        "http2-settings",
    ];
    HOP_BY_HOP.iter().any(|hop| folds_to(name, hop))
}

/// Statements about the way that a request took: only ours are sent on, because an application may trust them.
fn is_forwarding(name: &str) -> bool {
    folds_to(name, "forwarded") || folds_to(name, "via") || folds_to_prefix(name, "x-forwarded-")
}

/// `Content_Length` and the like: to some backends a length, and another one than the body's.
fn is_second_length(name: &str) -> bool {
    folds_to(name, "content-length") && name != "content-length"
}

fn requested_upgrade(request: &mut Request<Incoming>) -> Option<hyper::upgrade::OnUpgrade> {
    let names_upgrade = request.headers().get_all(header::CONNECTION).iter().any(|value| {
        value.to_str().is_ok_and(|value| value.split(',').any(|name| name.trim().eq_ignore_ascii_case("upgrade")))
    });
    let one_websocket = is_websocket(request.headers());
    (names_upgrade && one_websocket && request.method() == Method::GET).then(|| hyper::upgrade::on(request))
}

/// Whether `Upgrade` is WebSocket and nothing else. Any other protocol, h2c above all, would let a caller send whole requests
/// to the application that no stage here has seen.
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    let mut fields = headers.get_all(header::UPGRADE).iter();
    let one = fields.next().is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
    one && fields.next().is_none()
}

/// Removes our cookies from what the application gets: they are credentials of ours, for the proxy and for our own pages.
pub(crate) fn strip_cookies(headers: &mut HeaderMap) {
    let has_ours = |field: &http::HeaderValue| field.as_bytes().split(|byte| *byte == b';').any(is_own_cookie);
    // Most requests carry none, and their field stays as it is.
    if !headers.get_all(header::COOKIE).iter().any(has_ours) {
        return;
    }
    let fields: Vec<http::HeaderValue> = headers.get_all(header::COOKIE).iter().cloned().collect();
    headers.remove(header::COOKIE);
    for field in fields {
        let kept = field.as_bytes().split(|byte| *byte == b';').filter(|cookie| !is_own_cookie(cookie));
        let kept = kept.map(<[u8]>::trim_ascii).collect::<Vec<_>>().join(&b"; "[..]);
        // Parts of a field that was valid are valid.
        if let Ok(kept) = http::HeaderValue::from_bytes(&kept)
            && !kept.is_empty()
        {
            headers.append(header::COOKIE, kept);
        }
    }
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
    fn what_only_we_may_say_is_removed_in_every_spelling() {
        let mut headers = HeaderMap::new();
        #[rustfmt::skip]
        let sent = [
            ("x-goog-iap-jwt-assertion", "forged"), ("x-goog-iap-jwt-assertion", "again"),
            ("x_goog_authenticated-user_email", "forged"), ("x-appengine-user-id", "forged"),
            ("ingress_authorization", "forged"), ("x.goog.authenticated.user.email", "forged"), ("content_length", "9"), ("x-forwarded-for", "1.2.3.4"), ("x_forwarded_host", "evil"),
            ("forwarded", "for=1"), ("via", "1.1 x"), ("connection", "close, x-drop-me"), ("x-drop-me", "1"),
            ("proxy_authorization", "Bearer x"), ("te", "trailers"), ("keep-alive", "1"), ("expect", "100-continue"),
            ("authorization", "Basic x"), ("proxy-authorization", "Bearer y"), ("x-kept", "1"), ("host", "a"),
        ];
        for (name, value) in sent {
            headers.append(HeaderName::from_static(name), http::HeaderValue::from_static(value));
        }
        assert_eq!(strip(&mut headers), 5);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["authorization", "host", "proxy-authorization", "x-kept"]);
    }

    #[test]
    fn a_name_that_only_the_settings_may_set_is_removed_in_every_spelling_that_a_backend_folds() {
        // (the setting's name, what a caller sends) => removed
        #[rustfmt::skip]
        let cases = [
            ("x-dept",        "x-dept",      true),
            ("x-dept",        "x_dept",      true),
            ("x-dept",        "x.dept",      true),
            ("x-dept",        "x~dept",      true),
            ("x_dept",        "x_dept",      true),
            ("x_dept",        "x-dept",      true),
            ("x_dept",        "x!dept",      true),
            ("user.email|id", "user-email_id", true),
            ("x-dept",        "x-depth",     false),
            ("x-dept",        "x-dep",       false),
            ("x-dept",        "xdept",       false),
            ("x-dept",        "y-dept",      false),
        ];
        for (name, sent, removed) in cases {
            let mut headers = HeaderMap::new();
            headers.append(HeaderName::from_static("x-kept"), http::HeaderValue::from_static("1"));
            for value in ["forged", "again"] {
                headers.append(HeaderName::from_bytes(sent.as_bytes()).unwrap(), http::HeaderValue::from_static(value));
            }
            assert_eq!(strip_propagated(&mut headers, [name].into_iter()), u32::from(removed), "{name} {sent}");
            assert_eq!(headers.len(), if removed { 1 } else { 3 }, "{name} {sent}");
        }
    }

    #[test]
    fn our_cookies_stay_here_and_all_others_go_on() {
        #[rustfmt::skip]
        let cases = [
            ("a=1; b=2",                                         Some("a=1; b=2")),
            ("a=1; GCP_IAP_UID=5; b=2",                          Some("a=1; b=2")),
            ("__Host-GCP_IAP_AUTH_TOKEN_1F=x; a=1",              Some("a=1")),
            ("GCP_IAP_XSRF_NONCE_abc=1",                         None),
            ("doorward_console=x; a=1",                          Some("a=1")),
            ("a=\u{e9}; doorward_console=x; b=2",               Some("a=\u{e9}; b=2")),
            ("doorward_sign_in=x",                               None),
            ("a=1; __Host-doorward_sign_in=x",                   Some("a=1")),
            ("a=1;doorward_sign_in=x;b=2",                       Some("a=1; b=2")),
            ("Doorward.Sign_In=x; a=1; %64oorward_sign_in=y",    Some("a=1")),
            ("a=doorward_sign_in=x",                             Some("a=doorward_sign_in=x")),
            ("notGCP_IAP_UID=1",                                 Some("notGCP_IAP_UID=1")),
        ];
        for (sent, kept) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, http::HeaderValue::from_bytes(sent.as_bytes()).unwrap());
            strip_cookies(&mut headers);
            assert_eq!(headers.get(header::COOKIE).map(|v| v.as_bytes()), kept.map(str::as_bytes), "{sent}");
        }
    }
}
