//! A browser in front of our sign-in pages: its cookies, and what a page carries from its showing to its sending.
//!
//! A form is believed only if it was shown to this browser: what it carries is sealed under a cookie that this browser alone has, and
//! the browser says that a page of ours sent it. So no other site can sign somebody in as somebody else, allow something in their name,
//! or sign them out.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use doorward_control::sign_in::Visitor;
use doorward_core::audit::TokenMethod;
use doorward_core::clock::Timestamp;
use doorward_core::entropy::random_base64url;
use doorward_core::keys::{KeyPurpose, SIGN_IN_FLOW_TTL};
use doorward_core::session::SIGN_IN_SESSION_TTL;
use doorward_wire::headers::{HOST_COOKIE_PREFIX, SIGN_IN_COOKIE};
use doorward_wire::oauth::{AuthorizeRequest, Parameters};
use http::header::{CACHE_CONTROL, COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use super::sdk_cloud_google_com::CODE_PAGES;
use super::{Body, Reached, Services};
use crate::errors::browser::{BrowserFailure, FormRefusal};
use crate::errors::google_api::ApiFailure;

/// The cookie to which a browser's sign-in pages are bound.
const FLOW_COOKIE: &str = "doorward_flow";
/// Random bytes in it.
const FLOW_COOKIE_BYTES: usize = 32;
/// The same as characters of base64url.
const FLOW_COOKIE_LENGTH: usize = 43;

/// What a page of ours is for, and where its person goes next. Each form takes the kinds that belong to it and no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Flow {
    /// Signing in, then back to a client.
    Client {
        /// What the client asked for. It is judged again when it is answered.
        request: Box<AuthorizeRequest>,
        /// The `iss` of the answer.
        issuer: String,
        /// The client's name for people.
        client_name: String,
    },
    /// Signing in, then letting a device in.
    Device {
        /// The code as it was typed.
        user_code: String,
    },
    /// Typing the code that a device shows.
    DeviceCode,
    /// Deciding about a device.
    DeviceDecision {
        /// The code in its one spelling.
        user_code: String,
        /// Who decides.
        subject: String,
    },
    /// Signing in, then seeing why a decision was as it was.
    Decision {
        /// The decision.
        id: String,
    },
    /// Signing out.
    SignOut,
}

impl Flow {
    /// The client's name for people, if it is for a client.
    pub(super) fn client_name(&self) -> Option<&str> {
        match self {
            Flow::Client { client_name, .. } => Some(client_name),
            Flow::Device { .. }
            | Flow::DeviceCode
            | Flow::DeviceDecision { .. }
            | Flow::Decision { .. }
            | Flow::SignOut => None,
        }
    }

    /// For what a person signs in, if it is not for a client.
    pub(super) fn purpose(&self) -> &'static str {
        match self {
            Flow::Device { .. } => "to let a device in",
            Flow::Decision { .. } => "to see why a request was let in or refused",
            Flow::Client { .. } | Flow::DeviceCode | Flow::DeviceDecision { .. } | Flow::SignOut => "",
        }
    }

    /// Where the answer to a form of this flow may lead, beside our own origin.
    pub(super) fn form_target(&self) -> Option<String> {
        match self {
            Flow::Client { request, .. } => form_target(request.redirect_uri.as_deref()?),
            Flow::Device { .. }
            | Flow::DeviceCode
            | Flow::DeviceDecision { .. }
            | Flow::Decision { .. }
            | Flow::SignOut => None,
        }
    }
}

/// What is sealed.
#[derive(Serialize, Deserialize)]
struct Sealed<F> {
    shown: Timestamp,
    flow: F,
}

/// A flow as a page carries it.
pub(super) struct Carried {
    /// For the form.
    pub(super) text: String,
    /// For the browser, if it has no cookie yet.
    cookie: Option<HeaderValue>,
}

impl Carried {
    /// The page, with the cookie to which its form is bound.
    pub(super) fn with(self, mut page: Response) -> Response {
        if let Some(cookie) = self.cookie {
            page.headers_mut().append(SET_COOKIE, cookie);
        }
        page
    }
}

/// A browser: how it reached us, and what it sent.
pub(super) struct Browser {
    pub(super) reached: Reached,
    session: Option<String>,
    binding: Option<String>,
    from_our_page: bool,
}

impl<S: Sync> FromRequestParts<S> for Browser {
    type Rejection = ApiFailure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiFailure> {
        let reached = parts.extensions.get::<Reached>().cloned().ok_or_else(ApiFailure::not_routed)?;
        let cookie = |name| single_cookie(&parts.headers, &cookie_name(&reached, name)).map(str::to_owned);
        Ok(Browser {
            session: cookie(SIGN_IN_COOKIE),
            binding: cookie(FLOW_COOKIE).filter(|value| is_binding(value)),
            from_our_page: is_from(&parts.headers, &reached.origin),
            reached,
        })
    }
}

impl Browser {
    pub(super) fn visitor(&self) -> Visitor<'_> {
        Visitor { cookie: self.session.as_deref(), peer: self.reached.connection.peer }
    }

    /// Seals a flow for this browser and no other.
    pub(super) fn carry(&self, services: &Services, flow: &Flow) -> Result<Carried, FormRefusal> {
        let (binding, cookie) = match &self.binding {
            // A cookie that is there is kept: pages in other windows hang on it.
            Some(binding) => (binding.clone(), None),
            None => {
                let binding = random_base64url(&*services.entropy, FLOW_COOKIE_BYTES)?;
                let cookie = self.set_cookie(FLOW_COOKIE, &binding, None);
                (binding, cookie)
            }
        };
        let now = services.clock.now();
        // Serialising texts to memory cannot fail.
        let sealed = serde_json::to_vec(&Sealed { shown: now, flow }).unwrap_or_default();
        let text = services.snapshots.current().keys.seal(KeyPurpose::SignInFlow, &binding, &sealed, now)?;
        Ok(Carried { text, cookie })
    }

    /// Reads a form that was sent, and the flow that it carries. A refusal is recorded.
    pub(super) async fn receive(
        &self,
        services: &Services,
        method: TokenMethod,
        body: Body,
    ) -> Result<(Flow, Parameters), BrowserFailure> {
        match self.open(services, &body?) {
            Ok(received) => Ok(received),
            Err(error) => Err(services.refuse(method, self.reached.connection.peer.address, error).await.into()),
        }
    }

    fn open(&self, services: &Services, body: &[u8]) -> Result<(Flow, Parameters), FormRefusal> {
        if !self.from_our_page {
            return Err(FormRefusal::CrossSite);
        }
        let mut form = Parameters::parse(body)?;
        let text = form.require("flow")?;
        let now = services.clock.now();
        let opened = self.binding.as_deref().and_then(|binding| {
            let snapshot = services.snapshots.current();
            let plain = snapshot.keys.open(KeyPurpose::SignInFlow, binding, &text, now)?;
            serde_json::from_slice::<Sealed<Flow>>(&plain).ok()
        });
        match opened {
            Some(Sealed { shown, flow }) if shown <= now && now.since(shown) < SIGN_IN_FLOW_TTL => Ok((flow, form)),
            Some(_) | None => Err(FormRefusal::UnknownFlow),
        }
    }

    /// The refusal of a form that carries the flow of another one.
    pub(super) async fn refuse_flow(&self, services: &Services, method: TokenMethod) -> BrowserFailure {
        services.refuse(method, self.reached.connection.peer.address, FormRefusal::UnknownFlow).await.into()
    }

    /// The cookie of a session that has just begun.
    pub(super) fn signed_in(&self, session: &str) -> Option<HeaderValue> {
        self.set_cookie(SIGN_IN_COOKIE, session, Some(SIGN_IN_SESSION_TTL.as_secs()))
    }

    /// Takes the cookie of a session away.
    pub(super) fn signed_out(&self) -> Option<HeaderValue> {
        self.set_cookie(SIGN_IN_COOKIE, "", Some(0))
    }

    /// The answer of the authorization endpoint. Where this browser reached us by a path, Google's own pages that show a code are
    /// ours at a path too, on the origin at which it is: it may not know our address for Google's names.
    pub(super) fn redirect(&self, status: StatusCode, location: &str) -> Response {
        let ours = CODE_PAGES.iter().find_map(|page| {
            let rest = location.strip_prefix("https://sdk.cloud.google.com")?.strip_prefix(page)?;
            let here = !self.reached.by_name && rest.starts_with('?');
            here.then(|| format!("{}/sdk.cloud.google.com{page}{rest}", self.reached.origin))
        });
        let Ok(location) = HeaderValue::from_str(ours.as_deref().unwrap_or(location)) else {
            tracing::error!("an answer to a client is no address");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        (status, [(LOCATION, location), (CACHE_CONTROL, HeaderValue::from_static("no-store"))]).into_response()
    }

    fn set_cookie(&self, name: &str, value: &str, max_age: Option<u64>) -> Option<HeaderValue> {
        let name = cookie_name(&self.reached, name);
        let life = max_age.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
        let secure = if self.reached.connection.tls { "; Secure" } else { "" };
        // Lax: a person who follows a program's link to our pages is known, and a form of another site's page is not theirs.
        HeaderValue::from_str(&format!("{name}={value}; Path=/{life}; HttpOnly; SameSite=Lax{secure}")).ok()
    }
}

/// Over TLS, a name that only this very host can set (RFC 6265bis section 4.1.3.2).
fn cookie_name(reached: &Reached, name: &str) -> String {
    format!("{}{name}", if reached.connection.tls { HOST_COOKIE_PREFIX } else { "" })
}

/// The value of a cookie that was sent once. A second one of that name makes it none: another application on the same host name, or a
/// sibling domain, may have set either.
pub(crate) fn single_cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|field| field.to_str().ok());
    let mut ours = cookies
        .flat_map(|field| field.split(';'))
        .filter_map(|cookie| cookie.trim().strip_prefix(name)?.strip_prefix('='));
    match (ours.next(), ours.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

fn is_binding(value: &str) -> bool {
    let base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    value.len() == FLOW_COOKIE_LENGTH && value.bytes().all(base64url)
}

/// Whether the browser says that a page of `origin` sent this request. What it does not say counts for it: programs say nothing, and
/// a browser whose page hides its origin says `null`.
///
/// Spec: <https://fetch.spec.whatwg.org/#origin-header>, <https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header>
fn is_from(headers: &HeaderMap, origin: &str) -> bool {
    let every = |name: &str, good: &dyn Fn(&[u8]) -> bool| headers.get_all(name).iter().all(|it| good(it.as_bytes()));
    every(ORIGIN.as_str(), &|value| value == origin.as_bytes())
        && every("sec-fetch-site", &|value| value == b"same-origin" || value == b"none")
}

/// For `form-action`: where the answer to a form may lead, beside our own origin. Browsers hold this against the redirect after a form
/// too, so the client's address must be among them; only its origin is named, or its scheme where there is none that the policy
/// could write.
fn form_target(redirect_uri: &str) -> Option<String> {
    let (scheme, rest) = redirect_uri.split_once(':')?;
    let letters = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    if !letters || !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return None;
    }
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Some(format!("{scheme}:"));
    }
    let authority = rest.strip_prefix("//")?.split(['/', '?']).next()?;
    let host = doorward_core::resource::Host::parse(authority).ok()?;
    // A host in brackets cannot be written in a policy (Content Security Policy Level 3, section 2.3.1).
    Some(if host.as_str().starts_with('[') { format!("{scheme}:") } else { format!("{scheme}://{host}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_cookie_counts_if_there_is_one_of_its_name() {
        #[rustfmt::skip]
        let cases: [(&[&str], Option<&str>); 8] = [
            (&["doorward_flow=a"],                        Some("a")),
            (&["x=1; doorward_flow=a; y=2"],              Some("a")),
            (&["x=doorward_flow=a"],                      None),
            (&["doorward_flowx=a"],                       None),
            (&["doorward_flow=a; doorward_flow=b"],       None),
            (&["doorward_flow=a", "doorward_flow=a"],     None),
            (&["__Host-doorward_flow=a"],                 None),
            (&[],                                         None),
        ];
        for (sent, expected) in cases {
            let mut headers = HeaderMap::new();
            for field in sent {
                headers.append(COOKIE, HeaderValue::from_str(field).unwrap());
            }
            assert_eq!(single_cookie(&headers, FLOW_COOKIE), expected, "{sent:?}");
        }
    }

    #[test]
    fn a_form_is_taken_from_our_own_page_only() {
        #[rustfmt::skip]
        let cases: [(&[(&str, &str)], bool); 9] = [
            (&[],                                                                         true),
            (&[("origin", "http://localhost:8081")],                                      true),
            (&[("origin", "http://localhost:8081"), ("sec-fetch-site", "same-origin")],   true),
            (&[("sec-fetch-site", "none")],                                               true),
            (&[("origin", "null")],                                                       false),
            (&[("origin", "https://localhost:8081")],                                     false),
            (&[("origin", "http://localhost:8080")],                                      false),
            (&[("origin", "http://localhost:8081"), ("sec-fetch-site", "same-site")],     false),
            (&[("origin", "http://localhost:8081"), ("origin", "http://evil.test")],      false),
        ];
        for (sent, expected) in cases {
            assert_eq!(is_from(&headers(sent), "http://localhost:8081"), expected, "{sent:?}");
        }
    }

    #[test]
    fn a_policy_names_the_origin_of_the_answer_and_nothing_that_it_could_be_widened_by() {
        #[rustfmt::skip]
        let cases = [
            ("http://localhost:8085/",                Some("http://localhost:8085")),
            ("http://127.0.0.1:1?x=1",                Some("http://127.0.0.1:1")),
            ("http://[::1]:8085/back",                Some("http:")),
            ("https://app.example/back?x=1",          Some("https://app.example")),
            ("com.example.app:/back",                 Some("com.example.app:")),
            ("com.example.app://back/x",              Some("com.example.app:")),
            ("https://app.example;script-src */",     None),
            ("https://*.example/",                    None),
            ("https://app.example 'unsafe-inline'/",  None),
            ("x y:/",                                 None),
            ("*:/",                                   None),
            ("'self':/",                              None),
            ("/back",                                 None),
            ("",                                      None),
        ];
        for (uri, expected) in cases {
            assert_eq!(form_target(uri).as_deref(), expected, "{uri}");
        }
    }
}
