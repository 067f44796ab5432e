//! Stage 3: may this caller reach this resource? The only place that makes a [`Permit`].

use std::borrow::Cow;
use std::sync::Arc;

use doorward_core::audit::Outcome;
use doorward_core::policy::condition::Budget;
use doorward_core::policy::path::RequestPath;
use doorward_core::policy::request::{HeaderFields, HttpRequest, RequestContext};
use doorward_core::policy::{Granted, Permission, Principal, Question, Verdict};
use doorward_core::resource::{Host, Project};
use doorward_core::snapshot::{ProtectedResource, Snapshot};
use http::header::{HeaderMap, HeaderName};
use http::{HeaderValue, Method};

use crate::authenticate::{Authenticated, Proven};
use crate::denied::{Denial, DeniedRule, split_page};
use crate::record::Trace;
use crate::refusal::Refusal;
use crate::resolve::Site;

/// Proof that a policy admits a caller to a resource. Forwarding needs one and uses it up; nothing else makes one.
pub(crate) struct Permit<'a> {
    caller: Option<(Arc<Proven>, HeaderName)>,
    access_levels: Vec<String>,
    /// What deciding left of the work that one request may cause.
    budget: Budget,
    site: Site<'a>,
}

impl<'a> Permit<'a> {
    /// Who was let in; `None` where the policy admits everyone and nobody was proven.
    pub(crate) fn caller(&self) -> Option<&Proven> {
        self.caller.as_ref().map(|(proven, _)| &**proven)
    }

    /// The field with the credential by which they were let in.
    pub(crate) fn credential_field(&self) -> Option<&HeaderName> {
        self.caller.as_ref().map(|(_, field)| field)
    }

    /// The access levels that were met, in the order of their names.
    pub(crate) fn access_levels(&self) -> &[String] {
        &self.access_levels
    }

    /// What is left for other evaluations.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// To what.
    pub(crate) fn site(&self) -> &Site<'a> {
        &self.site
    }
}

/// What conditions read of a request.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) host: &'a Host,
    pub(crate) method: &'a Method,
    /// Byte for byte as it was sent.
    pub(crate) path: &'a str,
    /// Without those that only we may set.
    pub(crate) headers: &'a HeaderMap,
}

/// Header fields as conditions read them.
struct Fields<'a>(&'a HeaderMap);

impl HeaderFields for Fields<'_> {
    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        let mut fields = self.0.get_all(name).iter().map(HeaderValue::to_str);
        let first = fields.next()?.ok()?;
        // What is no text in one of several fields is none at all: else a field of a caller could hide another.
        let rest: Vec<&str> = fields.collect::<Result<_, _>>().ok()?;
        Some(match rest.is_empty() {
            true => Cow::Borrowed(first),
            false => Cow::Owned([&[first], &rest[..]].concat().join(", ")),
        })
    }
}

/// Decides. The policy is read on every request, so a change is in force for the next one.
pub(crate) fn authorize<'a>(
    authenticated: Authenticated,
    site: Site<'a>,
    snapshot: &Snapshot,
    asked: Asked<'_>,
    trace: &mut Trace,
) -> Result<Permit<'a>, Refusal> {
    let proven = match &authenticated {
        Authenticated::Caller { proven, .. } => Some(&**proven),
        Authenticated::Nobody { .. } => None,
    };
    let fields = Fields(asked.headers);
    let context = context(proven, &site.resource, snapshot, asked, &fields, trace);
    let verdict = snapshot.decide(&site.resource.lineage, &question(proven, &context));
    // All are evaluated, whatever the policy read: the application is told them, and the record needs them to decide again.
    let met = context.access_levels().unwrap_or_default();
    let access_levels: Vec<String> = met.into_iter().map(str::to_owned).collect();
    trace.access_levels.clone_from(&access_levels);
    let budget = context.into_budget();
    if budget.is_spent() {
        trace.add_note("the conditions take too much work: what was left of them is not known".to_owned());
    }
    let rule = match verdict {
        Verdict::Allowed(granted) => {
            trace.allowed_by(&granted, &snapshot.project);
            let caller = match authenticated {
                Authenticated::Caller { proven, by } => Some((proven, by)),
                Authenticated::Nobody { .. } => None,
            };
            return Ok(Permit { caller, access_levels, budget, site });
        }
        Verdict::Denied(denied) => Some(DeniedRule {
            policy: denied.node.name.to_string(),
            rule: denied.rule,
            member: denied.member.to_string(),
            unevaluated: denied.unevaluated,
        }),
        Verdict::NotGranted => None,
    };
    match authenticated {
        Authenticated::Caller { proven, .. } => {
            let page = open_page(&proven, &site.resource, snapshot, asked, trace);
            let Site { resource, origin, .. } = site;
            Err(Refusal::AccessDenied(Box::new(Denial {
                proven,
                resource,
                origin: origin.clone(),
                method: asked.method.clone(),
                path: asked.path.to_owned(),
                rule,
                page,
            })))
        }
        // Also where a rule denies everybody: it may except whoever signs in.
        Authenticated::Nobody { invalid_proxy_authorization } => {
            let place = site.route();
            Err(Refusal::SignInRequired { resource: site.resource, place, invalid_proxy_authorization })
        }
    }
}

/// The request as conditions see it. Allocates nothing, but for a path that is not normal.
fn context<'c>(
    proven: Option<&'c Proven>,
    resource: &'c ProtectedResource,
    snapshot: &'c Snapshot,
    asked: Asked<'c>,
    fields: &'c Fields<'c>,
    trace: &Trace,
) -> RequestContext<'c> {
    let mut context = RequestContext::new(trace.now()).with_access_levels(&snapshot.access_levels);
    context.http = Some(HttpRequest {
        host: asked.host,
        path: RequestPath::new(asked.path),
        method: asked.method.as_str(),
        headers: Some(fields),
    });
    context.source_ip = trace.source_ip();
    context.principal = proven.map(|proven| &proven.caller as _);
    context.claims = proven.map(|proven| proven.claims.as_object());
    context.strength = proven.and_then(|proven| proven.strength);
    context.resource = Some(resource.attributes());
    context
}

fn question<'c>(proven: Option<&'c Proven>, context: &'c RequestContext<'c>) -> Question<'c> {
    let principal = proven.map_or(Principal::Anonymous, |proven| proven.caller.principal());
    Question { principal, permission: Permission::AccessViaIap, context }
}

/// The page of the operator's to which a browser is sent that was refused. None if that page is an application here that
/// refuses it too: it would be sent there again and again.
///
/// Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/IapSettings> (`AccessDeniedPageSettings`)
fn open_page(
    proven: &Proven,
    resource: &ProtectedResource,
    snapshot: &Snapshot,
    asked: Asked<'_>,
    trace: &Trace,
) -> Option<String> {
    let page = resource.settings.access_denied_page.value.as_deref().filter(|_| trace.follows_to_page())?;
    let (host, path) = split_page(page)?;
    let Ok((_, there)) = snapshot.served_at(&host, path) else { return Some(page.to_owned()) };
    let asked = Asked { host: &host, method: &Method::GET, path, headers: asked.headers };
    let fields = Fields(asked.headers);
    let context = context(Some(proven), there, snapshot, asked, &fields, trace);
    let verdict = snapshot.decide(&there.lineage, &question(Some(proven), &context));
    (verdict.is_allowed() && there.application.iap_enabled).then(|| page.to_owned())
}

impl Trace {
    fn allowed_by(&mut self, granted: &Granted<'_>, project: &Project) {
        let found = granted.found();
        self.outcome = Some(Outcome::Allowed {
            binding_resource: granted.node.name.to_string(),
            role: found.binding.role.shown(project),
            member: granted.member.to_string(),
            condition: found.condition.as_ref().map(|condition| condition.text.title.clone()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_whole_or_not_at_all() {
        #[rustfmt::skip]
        let cases: [(&[&[u8]], Option<&str>); 6] = [
            (&[],                    None),
            (&[b"a"],                Some("a")),
            (&[b"a, b", b"c"],       Some("a, b, c")),
            (&[b""],                 Some("")),
            (&[b"\xff"],             None),
            (&[b"a", b"\xff", b"c"], None),
        ];
        for (values, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("accept", HeaderValue::from_bytes(value).unwrap());
            }
            assert_eq!(Fields(&headers).value("accept").as_deref(), expected, "{values:?}");
        }
    }
}
