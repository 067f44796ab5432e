//! Stage 0: one host, one target, and no header that only we may set.

use doorward_core::policy::path::check_path;
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
    // `post` is POST to some applications and nothing to conditions, which read a method as it was sent (RFC 9110 section 9.1).
    let has_small_letter = parts.method.as_str().bytes().any(|byte| byte.is_ascii_lowercase());
    let refused = matches!(parts.method, Method::CONNECT | Method::TRACE) || has_small_letter;
    if refused || parts.method.as_str().len() > METHOD_LIMIT {
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
                || is_for_programs(name.as_str())
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

/// Statements about the way that a request took, and from whom: only ours are sent on, because an application may trust them. That
/// proxies are trusted before us changes nothing: their word is in our own `X-Forwarded-For`. `X-Original-URL` and its like name
/// another target than the one that was decided on.
fn is_forwarding(name: &str) -> bool {
    #[rustfmt::skip]
    const NAMES: [&str; 14] = [
        "forwarded", "forwarded-for", "via", "x-forwarded", "x-real-ip", "x-remote-ip", "x-remote-addr", "x-client-ip", "client-ip",
        "x-cluster-client-ip", "true-client-ip", "cf-connecting-ip", "fastly-client-ip", "x-rewrite-url",
    ];
    NAMES.iter().any(|known| folds_to(name, known))
        || ["x-forwarded-", "x-original-", "x-envoy-"].iter().any(|prefix| folds_to_prefix(name, prefix))
}

/// `Proxy`: to a program behind CGI it is `HTTP_PROXY`, where the program then sends its own requests (CVE-2016-5385). No standard has
/// such a field.
fn is_for_programs(name: &str) -> bool {
    folds_to(name, "proxy")
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
    fn what_only_we_may_say_is_removed_in_every_spelling() {
        let mut headers = HeaderMap::new();
        #[rustfmt::skip]
        let sent = [
            ("x-goog-iap-jwt-assertion", "forged"), ("x-goog-iap-jwt-assertion", "again"),
            ("x_goog_authenticated-user_email", "forged"), ("x-appengine-user-id", "forged"),
            ("ingress_authorization", "forged"), ("x.goog.authenticated.user.email", "forged"), ("content_length", "9"), ("x-forwarded-for", "1.2.3.4"), ("x_forwarded_host", "evil"),
            ("forwarded", "for=1"), ("via", "1.1 x"), ("x-real-ip", "1.2.3.4"), ("x_real_ip", "1.2.3.4"), ("true-client-ip", "1.2.3.4"),
            ("cf-connecting-ip", "1.2.3.4"), ("x-client-ip", "1.2.3.4"), ("x-original-url", "/admin"), ("x-rewrite-url", "/admin"), ("connection", "close, x-drop-me"), ("x-drop-me", "1"),
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
