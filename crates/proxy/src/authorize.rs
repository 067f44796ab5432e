//! Stage 3: may this caller reach this resource? The only place that makes a [`Permit`].

use std::sync::Arc;

use doorward_core::policy::{Granted, Principal};
use doorward_core::snapshot::Snapshot;

use crate::authenticate::{Authenticated, Caller};
use crate::record::Trace;
use crate::refusal::Refusal;
use crate::resolve::Site;

/// Proof that a policy admits a caller to a resource. Forwarding needs one and uses it up; nothing else makes one.
pub(crate) struct Permit<'a> {
    caller: Option<Arc<Caller>>,
    site: Site<'a>,
}

impl<'a> Permit<'a> {
    /// Who was let in; `None` where the policy admits everyone and nobody was proven.
    pub(crate) fn caller(&self) -> Option<&Arc<Caller>> {
        self.caller.as_ref()
    }

    /// To what.
    pub(crate) fn site(&self) -> &Site<'a> {
        &self.site
    }
}

/// Decides. The policy is read on every request, so a change is in force for the next one.
pub(crate) fn authorize<'a>(
    authenticated: Authenticated,
    site: Site<'a>,
    snapshot: &Snapshot,
    trace: &mut Trace,
) -> Result<Permit<'a>, Refusal> {
    let principal = match &authenticated {
        Authenticated::Caller(caller) => caller.principal(),
        Authenticated::Nobody { .. } => Principal::Anonymous,
    };
    match (site.resource.grants.admits(principal), authenticated) {
        (Some(granted), authenticated) => {
            trace.allowed_by(granted, &snapshot.project);
            let caller = match authenticated {
                Authenticated::Caller(caller) => Some(caller),
                Authenticated::Nobody { .. } => None,
            };
            Ok(Permit { caller, site })
        }
        (None, Authenticated::Caller(caller)) => Err(Refusal::AccessDenied { caller, resource: site.resource }),
        (None, Authenticated::Nobody { invalid_proxy_authorization }) => {
            let Site { resource, origin } = site;
            Err(Refusal::SignInRequired { resource, origin: origin.clone(), invalid_proxy_authorization })
        }
    }
}

impl Trace {
    fn allowed_by(&mut self, granted: &Granted, project: &doorward_core::resource::Project) {
        self.outcome = Some(doorward_core::audit::Outcome::Allowed {
            binding_resource: granted.resource.name(project),
            role: granted.role.name().to_owned(),
            member: granted.member.to_string(),
        });
    }
}
