//! Header names that Doorward sets, strips or reads, and the parsing of bearer credentials (RFC 6750 section 2.1).

use http::{HeaderName, HeaderValue};

/// The signed statement of who is calling, sent to the application.
pub const IAP_JWT_ASSERTION: HeaderName = HeaderName::from_static("x-goog-iap-jwt-assertion");
/// `accounts.google.com:EMAIL`, unsigned.
pub const AUTHENTICATED_USER_EMAIL: HeaderName = HeaderName::from_static("x-goog-authenticated-user-email");
/// `accounts.google.com:NUMERIC_ID`, unsigned.
pub const AUTHENTICATED_USER_ID: HeaderName = HeaderName::from_static("x-goog-authenticated-user-id");
/// `true` on every response that the proxy makes itself, never on a response of the application.
pub const IAP_GENERATED_RESPONSE: HeaderName = HeaderName::from_static("x-goog-iap-generated-response");
/// A code of the documented list of reasons, on every refusal. Ours, unknown to Google.
pub const DOORWARD_REASON: HeaderName = HeaderName::from_static("x-doorward-reason");
/// One sentence that says what the caller should do, on every refusal. Ours.
pub const DOORWARD_FIX: HeaderName = HeaderName::from_static("x-doorward-fix");
/// The id under which the decision is recorded, on every refusal. Ours.
pub const DOORWARD_DECISION_ID: HeaderName = HeaderName::from_static("x-doorward-decision-id");

/// How every cookie of our own pages and sign-in begins. The proxy never sends one on to an application: cookies do not know
/// ports, so a browser gives them to every server of the same host name. See [`is_own_cookie`].
pub const OWN_COOKIE_PREFIX: &str = "doorward_";
/// What stands before a cookie's name over https: a browser takes it then only from the host itself, for all its paths (RFC 6265bis
/// section 4.1.3.2).
pub const HOST_COOKIE_PREFIX: &str = "__Host-";
/// The cookie of our own pages.
pub const CONSOLE_COOKIE: &str = "doorward_console";
/// The cookie of a person who is signed in at our sign-in pages; over https with [`HOST_COOKIE_PREFIX`].
pub const SIGN_IN_COOKIE: &str = "doorward_sign_in";

/// `iss` of the signed header, whoever runs the proxy: backends compare it.
///
/// Spec: <https://cloud.google.com/iap/docs/signed-headers-howto>
pub const ASSERTION_ISSUER: &str = "https://cloud.google.com/iap";

/// The namespace that Google puts before e-mail and id in the identity headers and in `sub`.
pub const GOOGLE_IDENTITY_PREFIX: &str = "accounts.google.com:";

/// Whether a backend may read a field of this name as one that starts with `prefix` (lower case, words joined by `-`).
///
/// Case does not count, and neither does the byte between words: CGI, WSGI and the header maps of many languages turn
/// every byte that is no letter and no digit into `_`, so `X_Goog.Iap-Jwt~Assertion` reaches an application under the name
/// that it trusts.
pub fn folds_to_prefix(name: &str, prefix: &str) -> bool {
    name.len() >= prefix.len()
        && name.bytes().zip(prefix.bytes()).all(|(have, want)| {
            let have = if have.is_ascii_alphanumeric() { have.to_ascii_lowercase() } else { b'-' };
            have == want
        })
}

/// Whether a backend may read a field of this name as `canonical`. See [`folds_to_prefix`].
pub fn folds_to(name: &str, canonical: &str) -> bool {
    name.len() == canonical.len() && folds_to_prefix(name, canonical)
}

/// Says whether a request header of this name may only be set by the proxy, whoever sends it, in every spelling that a
/// backend may fold to it.
///
/// Spec: <https://cloud.google.com/iap/docs/identity-howto>, "x-goog-* headers are removed".
pub fn is_reserved(name: &str) -> bool {
    const PREFIXES: [&str; 2] = ["x-goog-", "x-appengine-"];
    const NAMES: [&str; 2] = ["ingress-authorization", "x-serverless-authorization"];
    PREFIXES.iter().any(|prefix| folds_to_prefix(name, prefix)) || NAMES.iter().any(|it| folds_to(name, it))
}

/// Says whether a cookie, `NAME=VALUE` or what else stands between two semicolons, is one of ours or of Google's IAP: a
/// credential for the proxy and not for the application.
///
/// So is every name that a backend may read as one of these: in another case (cookies of ASP.NET), with another byte between the
/// words (PHP writes `_` for `.`), or percent-encoded (PHP before 7.4.11, CVE-2020-7070).
pub fn is_own_cookie(cookie: &[u8]) -> bool {
    // Lower case, words joined by `-`: `__Host-doorward_` and its like as they are compared.
    const BARE: [&[u8]; 3] = [b"doorward-", b"gcp-iap-", b"gcp-iaap-"];
    const BEFORE: [&[u8]; 3] = [b"", b"--host-", b"--secure-"];
    let blank = cookie.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == b'=').count();
    let name = cookie[blank..].split(|byte| *byte == b'=').next().unwrap_or_default();
    BEFORE.iter().any(|before| {
        BARE.iter().any(|bare| {
            let mut read = FoldedBytes(name);
            before.iter().chain(*bare).all(|want| read.next() == Some(*want))
        })
    })
}

/// The bytes of a name as they are compared: percent-encodings decoded, letters in lower case, all but letters and digits as `-`.
struct FoldedBytes<'a>(&'a [u8]);

impl Iterator for FoldedBytes<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = match self.0 {
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |byte: u8| (byte & 0xf) + if byte.is_ascii_alphabetic() { 9 } else { 0 };
                (digit(*high) << 4 | digit(*low), rest)
            }
            [byte, rest @ ..] => (*byte, rest),
            [] => return None,
        };
        self.0 = rest;
        Some(if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' })
    }
}

/// What a credential header holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Bearer<'a> {
    /// Another scheme, such as `Basic`: a credential for the application, not for us.
    OtherScheme,
    /// `Bearer` with nothing after it.
    Empty,
    /// One token. Its characters are those that RFC 6750 allows (`b64token`).
    Token(&'a str),
    /// `Bearer` followed by something that is not one token.
    Malformed,
}

/// Reads a bearer credential. The scheme's case does not count (RFC 9110 section 11.1).
pub fn bearer(value: &HeaderValue) -> Bearer<'_> {
    const SCHEME: &[u8] = b"bearer";
    let bytes = value.as_bytes().trim_ascii();
    let Some((scheme, rest)) = bytes.split_at_checked(SCHEME.len()) else { return Bearer::OtherScheme };
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Bearer::OtherScheme;
    }
    match rest {
        [] => Bearer::Empty,
        [b' ' | b'\t', ..] => match rest.trim_ascii() {
            [] => Bearer::Empty,
            token if is_b64token(token) => std::str::from_utf8(token).map_or(Bearer::Malformed, Bearer::Token),
            _ => Bearer::Malformed,
        },
        _ => Bearer::OtherScheme,
    }
}

/// Whether all bytes are characters of `b64token` (RFC 6750 section 2.1). Every request's token is looked at whole, so there
/// is no early end and no branch: the compiler then compares many bytes at once.
fn is_b64token(token: &[u8]) -> bool {
    token.iter().fold(true, |good, byte| {
        let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        let digit = byte.wrapping_sub(b'0') < 10;
        let mark = (*byte == b'-') | (*byte == b'.') | (*byte == b'_') | (*byte == b'~');
        let base64 = (*byte == b'+') | (*byte == b'/') | (*byte == b'=');
        good & (letter | digit | mark | base64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_are_recognised_in_every_spelling_that_a_backend_folds() {
        #[rustfmt::skip]
        let cases = [
            ("x-goog-iap-jwt-assertion",        true),
            ("X_GOOG_IAP_JWT_ASSERTION",        true),
            ("x-goog_authenticated-user_email", true),
            ("X-Goog-Anything-At-All",          true),
            ("x-appengine-user-email",          true),
            ("X_AppEngine_User_Is_Admin",       true),
            ("ingress-authorization",           true),
            ("Ingress_Authorization",           true),
            ("x.goog.iap.jwt.assertion",        true),
            ("x~goog!iap^jwt|assertion",        true),
            ("x-goog-x",                        true),
            ("x_serverless_authorization",      true),
            ("ingress-authorization-hint",      false),
            ("x-google-thing",                  false),
            ("x-goog",                          false),
            ("authorization",                   false),
            ("x-forwarded-for",                 false),
        ];
        for (name, reserved) in cases {
            assert_eq!(is_reserved(name), reserved, "{name}");
        }
    }

    #[test]
    fn our_cookies_are_recognised_in_every_spelling_that_a_backend_reads() {
        #[rustfmt::skip]
        let cases = [
            ("doorward_sign_in=x",              true),
            ("doorward_console=x",              true),
            ("doorward_of_a_later_release=x",   true),
            ("doorward_sign_in",                true),
            ("__Host-doorward_sign_in=x",       true),
            ("__Secure-doorward_sign_in=x",     true),
            (" \tdoorward_sign_in=x",           true),
            ("=doorward_sign_in=x",             true),
            ("Doorward_Sign_In=x",              true),
            ("__HOST-DOORWARD_SIGN_IN=x",       true),
            ("doorward.sign.in=x",              true),
            ("doorward[sign_in=x",              true),
            ("..Host-doorward_sign_in=x",       true),
            ("%64oorward_sign_in=x",            true),
            ("doorward%5fsign_in=x",            true),
            ("doorward%5Fsign_in=x",            true),
            ("%5f%5fHost%2Ddoorward_sign_in=x", true),
            ("GCP_IAP_UID=5",                   true),
            ("GCP_IAAP_AUTH_TOKEN_1F=5",        true),
            ("__Host-GCP_IAP_AUTH_TOKEN_1F=x",  true),
            ("gcp_iap_xsrf_nonce_abc=1",        true),
            ("doorward=x",                      false),
            ("doorwardsign_in=x",               false),
            ("my_doorward_sign_in=x",           false),
            ("a=doorward_sign_in=x",            false),
            ("notGCP_IAP_UID=1",                false),
            ("__Host-session=x",                false),
            ("%6=x",                            false),
            ("",                                false),
        ];
        for (cookie, ours) in cases {
            assert_eq!(is_own_cookie(cookie.as_bytes()), ours, "{cookie}");
        }
        for name in [CONSOLE_COOKIE, SIGN_IN_COOKIE] {
            assert!(name.starts_with(OWN_COOKIE_PREFIX));
            assert!(is_own_cookie(name.as_bytes()) && is_own_cookie(format!("{HOST_COOKIE_PREFIX}{name}").as_bytes()));
        }
    }

    #[test]
    fn only_one_well_formed_token_is_a_bearer_credential() {
        #[rustfmt::skip]
        let cases = [
            ("Bearer a.b.c",             Bearer::Token("a.b.c")),
            ("bEARER   a.b.c ",          Bearer::Token("a.b.c")),
            ("Bearer",                   Bearer::Empty),
            ("Bearer ",                  Bearer::Empty),
            ("Basic dXNlcjpwdw==",       Bearer::OtherScheme),
            ("Token a.b.c",              Bearer::OtherScheme),
            ("Bearera.b.c",              Bearer::OtherScheme),
            ("a.b.c",                    Bearer::OtherScheme),
            ("Bearer a.b.c, Bearer d",   Bearer::Malformed),
            ("Bearer a.b.c d.e.f",       Bearer::Malformed),
            ("Bearer \"a.b.c\"",         Bearer::Malformed),
        ];
        for (text, expected) in cases {
            assert_eq!(bearer(&HeaderValue::from_static(text)), expected, "{text:?}");
        }
        assert_eq!(bearer(&HeaderValue::from_bytes(b"Bearer a.\xff.c").unwrap()), Bearer::Malformed);
        for byte in 0..=u8::MAX {
            let listed = byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
            assert_eq!(is_b64token(&[byte]), listed, "{byte}");
        }
    }
}
