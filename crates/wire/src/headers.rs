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

/// The cookie of our own pages. The proxy never sends it on to an application: cookies do not know ports, so a browser
/// gives it to every server of the same host name.
pub const CONSOLE_COOKIE: &str = "doorward_console";

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
