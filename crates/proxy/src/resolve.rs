//! Stage 1: which application is asked for.

use std::sync::Arc;

use doorward_core::snapshot::{ProtectedResource, Snapshot};

use crate::record::Trace;
use crate::refusal::Refusal;
use crate::sanitize::Sanitized;

/// Finds the application by the one canonical host. Comes before authentication, because a credential is good only for a
/// resource: the audience must be that resource's client id.
pub(crate) fn resolve(
    snapshot: &Snapshot,
    request: &Sanitized,
    trace: &mut Trace,
) -> Result<Arc<ProtectedResource>, Refusal> {
    let resource = snapshot.resource_at(&request.host).cloned().ok_or(Refusal::NoSuchResource)?;
    trace.resource = Some(resource.name.clone());
    Ok(resource)
}
