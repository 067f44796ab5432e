//! Stage 3: may this caller reach this resource? The only place that makes a [`Permit`].

use std::sync::Arc;

use doorward_core::policy::{Granted, Principal};
use doorward_core::snapshot::{AccountKind, ProtectedResource, Snapshot};

use crate::authenticate::{Authenticated, Caller};
use crate::record::Trace;
use crate::refusal::Refusal;

/// Proof that a policy admits a caller to a resource. Forwarding needs one and uses it up; nothing else makes one.
pub(crate) struct Permit {
    caller: Option<Arc<Caller>>,
    resource: Arc<ProtectedResource>,
}

impl Permit {
    /// Who was let in; `None` where the policy admits everyone and nobody was proven.
    pub(crate) fn caller(&self) -> Option<&Arc<Caller>> {
        self.caller.as_ref()
    }

    /// To what.
    pub(crate) fn resource(&self) -> &ProtectedResource {
        &self.resource
    }
}

/// Decides. The policy is read on every request, so a change is in force for the next one.
pub(crate) fn authorize(
    authenticated: Authenticated,
    resource: Arc<ProtectedResource>,
    snapshot: &Snapshot,
    trace: &mut Trace,
) -> Result<Permit, Refusal> {
    let principal = match &authenticated {
        Authenticated::Caller(caller) => match caller.kind {
            AccountKind::User => Principal::User(&caller.email),
            AccountKind::ServiceAccount => Principal::ServiceAccount(&caller.email),
        },
        Authenticated::Nobody { .. } => Principal::Anonymous,
    };
    match (resource.grants.admits(principal), authenticated) {
        (Some(granted), authenticated) => {
            trace.allowed_by(granted, &snapshot.project);
            let caller = match authenticated {
                Authenticated::Caller(caller) => Some(caller),
                Authenticated::Nobody { .. } => None,
            };
            Ok(Permit { caller, resource })
        }
        (None, Authenticated::Caller(caller)) => Err(Refusal::AccessDenied { caller, resource }),
        (None, Authenticated::Nobody { invalid_proxy_authorization }) => {
            Err(Refusal::SignInRequired { resource, invalid_proxy_authorization })
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
