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

/// The namespace that Google puts before e-mail and id in the identity headers and in `sub`.
pub const GOOGLE_IDENTITY_PREFIX: &str = "accounts.google.com:";

/// Says whether a request header of this name may only be set by the proxy, whoever sends it.
///
/// `_` counts as `-` and case does not count, because backends (CGI, WSGI, many languages' header maps) fold both:
/// `X_Goog_Iap_Jwt_Assertion` would otherwise reach the application under the name that it trusts.
///
/// Spec: <https://cloud.google.com/iap/docs/identity-howto>, "x-goog-* headers are removed".
pub fn is_reserved(name: &str) -> bool {
    const PREFIXES: [&str; 2] = ["x-goog-", "x-appengine-"];
    const NAMES: [&str; 2] = ["ingress-authorization", "x-serverless-authorization"];
    let folded = |prefix: &str| {
        name.len() >= prefix.len()
            && name.bytes().zip(prefix.bytes()).all(|(have, want)| {
                let have = if have == b'_' { b'-' } else { have.to_ascii_lowercase() };
                have == want
            })
    };
    PREFIXES.iter().any(|prefix| folded(prefix))
        || NAMES.iter().any(|reserved| reserved.len() == name.len() && folded(reserved))
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
        [b' ' | b'\t', ..] => match std::str::from_utf8(rest.trim_ascii()) {
            Ok("") => Bearer::Empty,
            Ok(token) if token.bytes().all(is_b64token) => Bearer::Token(token),
            Ok(_) | Err(_) => Bearer::Malformed,
        },
        _ => Bearer::OtherScheme,
    }
}

fn is_b64token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
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
    }
}
