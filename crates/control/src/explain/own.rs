//! What somebody may know of a decision about themselves: that and no more, whatever they may do.

use doorward_core::audit::{AuditEvent, Decision, Outcome};
use doorward_core::clock::Timestamp;
use doorward_core::store::StoreError;

use super::Explanations;
use crate::admin::Admin;

/// A decision as whoever it is about knows it: they sent the request and got the answer. Nothing of policies is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnDecision {
    /// Its id.
    pub id: String,
    /// When the request arrived.
    pub time: Timestamp,
    /// Who asked, as their credential said: the member without its kind.
    pub caller: String,
    /// The method.
    pub method: String,
    /// The address without the query.
    pub url: String,
    /// They were let in.
    pub allowed: bool,
    /// The brand's address for such questions.
    pub support_email: Option<String>,
}

impl Explanations {
    /// A decision about somebody themselves. `None` if there is no such decision, and if it is about somebody else: they do not learn
    /// which.
    pub async fn own(&self, admin: &Admin, id: &str) -> Result<Option<OwnDecision>, StoreError> {
        let Some(decision) = self.recorded(id).await? else { return Ok(None) };
        // The operator has no decisions, and may see all.
        let is_own = admin.api_caller().is_some_and(|caller| Some(caller.member()) == decision.caller);
        Ok(is_own.then(|| self.seen_by_caller(decision)))
    }

    fn seen_by_caller(&self, decision: Decision) -> OwnDecision {
        let member = decision.caller.unwrap_or_default();
        let of_ours = member.strip_prefix("user:").or_else(|| member.strip_prefix("serviceAccount:"));
        let scheme = decision.scheme.as_deref().unwrap_or("https");
        OwnDecision {
            id: decision.id,
            time: decision.time,
            caller: of_ours.unwrap_or(&member).to_owned(),
            method: decision.method,
            url: format!("{scheme}://{}{}", decision.host, decision.path),
            allowed: match decision.outcome {
                Outcome::Allowed { .. } => true,
                Outcome::Refused { .. } => false,
            },
            support_email: self.publisher.cell().current().support_email.as_ref().map(ToString::to_string),
        }
    }

    /// The decision of an id. It is written shortly after its answer, and somebody may follow the link there at once.
    pub(super) async fn recorded(&self, id: &str) -> Result<Option<Decision>, StoreError> {
        // Also where it is there already: how long the answer takes tells nobody that.
        self.changes.settle().await;
        Ok(match self.store.event(id).await?.map(|stored| stored.event) {
            Some(AuditEvent::Decision(decision)) => Some(decision),
            Some(AuditEvent::Token(_) | AuditEvent::Admin(_)) | None => None,
        })
    }
}
