//! Where a person without a credential is sent, and what is remembered of where they wanted to go.

use std::time::Duration;

use aws_lc_rs::digest;
use doorward_core::clock::Timestamp;
use doorward_core::entropy::{Entropy, random_base64url};
use doorward_core::keys::{KeyPurpose, KeyRing, SIGN_IN_STATE_TTL};
use doorward_core::resource::Origin;
use doorward_core::snapshot::ProtectedResource;
use doorward_wire::jose::encode_base64url;
use doorward_wire::time::http_date;
use http::header::{ACCEPT, HeaderMap};
use http::{HeaderValue, Method};
use serde::{Deserialize, Serialize};

use crate::pipeline::Config;

/// What a redirect to sign-in is made with.
pub(crate) struct SignIn<'a> {
    pub(crate) config: &'a Config,
    pub(crate) keys: &'a KeyRing,
    pub(crate) entropy: &'a dyn Entropy,
}

/// A redirect: `Location`, and the cookie that binds it to this browser.
pub(crate) struct Redirect {
    pub(crate) location: HeaderValue,
    pub(crate) nonce_cookie: HeaderValue,
}

/// What `state` holds, sealed: only we can read or make one, and only for this client id.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct State<'a> {
    /// The page that was asked for.
    origin_uri: &'a str,
    /// Its fellow is in the cookie's name: an answer in another browser is no answer (login CSRF).
    nonce: &'a str,
    /// PKCE (RFC 7636): the secret half of `code_challenge`.
    code_verifier: &'a str,
    /// Seconds since the Unix epoch; good for ten minutes.
    issued: i64,
}

impl SignIn<'_> {
    /// The redirect for a request to `origin_uri`, a page at `origin`, with the parameters of Google's in Google's order.
    ///
    /// `None` if it could not be sealed; the caller is then refused without one.
    pub(crate) fn redirect(
        &self,
        resource: &ProtectedResource,
        origin: &Origin,
        origin_uri: &str,
        now: Timestamp,
    ) -> Option<Redirect> {
        let api = self.config.api.beside(origin);
        let nonce = random_base64url(self.entropy, 16).ok()?;
        let code_verifier = random_base64url(self.entropy, 32).ok()?;
        let state = State { origin_uri, nonce: &nonce, code_verifier: &code_verifier, issued: now.seconds() };
        let client_id = &resource.application.client_id.0;
        let sealed = self.keys.seal(KeyPurpose::SignInState, client_id, &serde_json::to_vec(&state).ok()?, now).ok()?;
        let challenge = encode_base64url(digest::digest(&digest::SHA256, code_verifier.as_bytes()).as_ref());
        let redirect_uri = format!("{api}/iap.googleapis.com/v1/oauth/clientIds/{client_id}:handleRedirect");
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", client_id)
            .append_pair("response_type", "code")
            .append_pair("scope", "openid email")
            .append_pair("redirect_uri", &redirect_uri)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .append_pair("cred_ref", "true")
            .append_pair("state", &sealed)
            .finish();
        let location = format!("{api}/accounts.google.com/o/oauth2/v2/auth?{query}");
        let expires = http_date((now + cookie_life()).seconds());
        let cookie = format!("GCP_IAP_XSRF_NONCE_{nonce}=1; expires={expires}; path=/; Secure; HttpOnly");
        Some(Redirect {
            location: HeaderValue::from_str(&location).ok()?,
            nonce_cookie: HeaderValue::from_str(&cookie).ok()?,
        })
    }
}

fn cookie_life() -> Duration {
    SIGN_IN_STATE_TTL
}

/// Whether a request without a credential comes from somebody who can follow a redirect to a page: a safe method, no mark
/// of a script, and an `Accept` that is missing or takes HTML or anything.
///
/// Spec: <https://cloud.google.com/iap/docs/sessions-howto> and its FAQ.
pub(crate) fn wants_page(method: &Method, headers: &HeaderMap) -> bool {
    let by_script =
        headers.get("x-requested-with").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"XMLHttpRequest"));
    let mut ranges = headers
        .get_all(ACCEPT)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|range| range.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii());
    let html = !headers.contains_key(ACCEPT)
        || ranges.any(|range| range == b"*/*" || range.eq_ignore_ascii_case(b"text/html"));
    matches!(*method, Method::GET | Method::HEAD) && !by_script && html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_can_show_a_page_is_redirected_to_one() {
        #[rustfmt::skip]
        let cases = [
            ("GET",     None,                                      None,                   true),
            ("HEAD",    Some("*/*"),                               None,                   true),
            ("GET",     Some("text/html,application/xhtml+xml"),   None,                   true),
            ("GET",     Some("application/json, text/html;q=0.9"), None,                   true),
            ("GET",     Some("application/json"),                  None,                   false),
            ("GET",     Some("*/*"),                               Some("XMLHttpRequest"), false),
            ("POST",    Some("*/*"),                               None,                   false),
            ("DELETE",  None,                                      None,                   false),
            ("OPTIONS", Some("text/html"),                         None,                   false),
        ];
        for (method, accept, requested_with, page) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in [("accept", accept), ("x-requested-with", requested_with)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            assert_eq!(wants_page(&method.parse().unwrap(), &headers), page, "{method} {accept:?} {requested_with:?}");
        }
    }
}
