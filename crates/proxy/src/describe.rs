//! What an application says of itself to programs without a credential: whose tokens it takes (RFC 9728).
//!
//! Leaves the pipeline after stage 1. It is public, as every 401 names it, says nothing of callers or policies, and nothing
//! reaches the application.

use doorward_core::audit::Outcome;
use doorward_core::resource::{PathPrefix, Route};
use doorward_wire::headers::IAP_GENERATED_RESPONSE;
use doorward_wire::oauth::{PROTECTED_RESOURCE_PATH, ProtectedResourceMetadata};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Response};

use crate::body::ProxyBody;
use crate::pipeline::Config;
use crate::record::Trace;
use crate::resolve::Site;

/// In the record: no binding let this in, and no policy was asked.
const NOTE: &str = "Google's IAP would ask for a credential here: the proxy itself answered with the public description of \
                    the application (RFC 9728), no policy was asked, and nothing was forwarded";

/// The address of an application's description. The prefix of one that is served below one comes last.
///
/// Spec: RFC 9728 section 3.1
pub(crate) fn description_url(place: &Route) -> String {
    format!("{}{PROTECTED_RESOURCE_PATH}{}", place.origin, below_root(&place.prefix))
}

/// The prefix of which a description may be asked for, if there is an application.
pub(crate) fn described_prefix<'p>(method: &Method, path: &'p str) -> Option<&'p str> {
    let prefix = path.strip_prefix(PROTECTED_RESOURCE_PATH).filter(|rest| rest.starts_with('/'))?;
    matches!(*method, Method::GET | Method::HEAD).then_some(prefix)
}

fn below_root(prefix: &PathPrefix) -> &str {
    prefix.as_str().trim_end_matches('/')
}

/// The description of the application, for a `GET` or `HEAD` of exactly its address; `None` for every other request, which goes
/// on through the stages.
pub(crate) fn describe(
    site: &Site<'_>,
    method: &Method,
    path: &str,
    config: &Config,
    trace: &mut Trace,
) -> Option<Response<ProxyBody>> {
    let asked_for = path.strip_prefix(PROTECTED_RESOURCE_PATH) == Some(below_root(site.prefix));
    if !asked_for || !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    // Serialising strings to memory cannot fail; if it did, the stages would ask for a credential.
    let body = serde_json::to_vec(&description(site, config)).ok()?;
    let none = String::new;
    trace.outcome = Some(Outcome::Allowed { binding_resource: none(), role: none(), member: none(), condition: None });
    trace.note = Some(NOTE.into());
    Some(answer(body, trace.is_head))
}

fn description(site: &Site<'_>, config: &Config) -> ProtectedResourceMetadata {
    ProtectedResourceMetadata {
        resource: format!("{}{}", site.origin, below_root(site.prefix)),
        authorization_servers: vec![config.api.beside(site.origin).to_owned()],
        scopes_supported: vec!["openid".to_owned(), "email".to_owned()],
        bearer_methods_supported: vec!["header".to_owned()],
        resource_name: site.resource.application.name.to_string(),
        audience: site.resource.application.client_id.0.clone(),
    }
}

fn answer(body: Vec<u8>, is_head: bool) -> Response<ProxyBody> {
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(if is_head { ProxyBody::empty() } else { ProxyBody::text(body) });
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, length);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(IAP_GENERATED_RESPONSE, HeaderValue::from_static("true"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CLIENT_ID, TestWorld, own_text, shared, trace};
    use serde_json::{Value, json};

    #[test]
    fn an_application_describes_itself_at_one_address_and_leaves_every_other_request_alone() {
        let world = TestWorld::new(&[]);
        let shared = shared(&world);
        #[rustfmt::skip]
        let cases = [
            ("GET",     "/.well-known/oauth-protected-resource",   true),
            ("HEAD",    "/.well-known/oauth-protected-resource",   true),
            ("POST",    "/.well-known/oauth-protected-resource",   false),
            ("OPTIONS", "/.well-known/oauth-protected-resource",   false),
            ("GET",     "/.well-known/oauth-protected-resource/",  false),
            ("GET",     "/.well-known/oauth-protected-resource/a", false),
            ("GET",     "/.well-known/OAuth-Protected-Resource",   false),
            ("GET",     "//.well-known/oauth-protected-resource",  false),
            ("GET",     "/a/../.well-known/oauth-protected-resource", false),
            ("GET",     "/.well-known/oauth-protected-resource;a", false),
            ("GET",     "/",                                       false),
        ];
        for (method, path, described) in cases {
            let mut trace = trace(&shared, method);
            let method = method.parse().unwrap();
            let answer = describe(&world.site(), &method, path, &shared.config, &mut trace);
            assert_eq!(answer.is_some(), described, "{method} {path}");
            assert_eq!(trace.note.take().is_some_and(|note| note.contains("nothing was forwarded")), described);
            let binding = trace.outcome.take().map(|outcome| match outcome {
                Outcome::Allowed { binding_resource, role, member, condition: None } => {
                    [binding_resource, role, member].concat()
                }
                other => panic!("{other:?}"),
            });
            assert_eq!(binding, described.then(String::new), "no binding let it in");
        }
    }

    #[test]
    fn a_description_names_the_origin_at_which_it_was_asked_for_and_the_api_of_the_same_scheme() {
        let world = TestWorld::new(&[]);
        let shared = shared(&world);
        for (host, origin, api) in [
            ("app.test", "http://app.test", "http://api.test"),
            ("APP.test.:80", "http://app.test", "http://api.test"),
            ("alias.test:8443", "https://alias.test:8443", "https://api.test:8444"),
        ] {
            let expected = json!({
                "resource": origin,
                "authorization_servers": [api],
                "scopes_supported": ["openid", "email"],
                "bearer_methods_supported": ["header"],
                "resource_name": "app",
                "audience": CLIENT_ID,
            });
            let ask = |method: Method| {
                let mut trace = trace(&shared, method.as_str());
                let site = world.site_at(host);
                describe(&site, &method, PROTECTED_RESOURCE_PATH, &shared.config, &mut trace).unwrap()
            };
            let (full, head) = (ask(Method::GET), ask(Method::HEAD));
            assert_eq!(full.status(), 200);
            assert_eq!(full.headers(), head.headers(), "HEAD says what GET would");
            let text = own_text(full.body());
            let header = |name: &str| full.headers()[name].to_str().unwrap().to_owned();
            assert_eq!(header("content-type"), "application/json");
            assert_eq!(header("cache-control"), "no-store");
            assert_eq!(header("x-goog-iap-generated-response"), "true");
            assert_eq!(header("content-length"), text.len().to_string());
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
            assert_eq!(own_text(head.body()), "");
        }
    }
}
