//! Stage 1: which application is asked for.

use std::sync::Arc;

use doorward_core::resource::Origin;
use doorward_core::snapshot::{ProtectedResource, Snapshot};

use crate::record::Trace;
use crate::refusal::Refusal;
use crate::sanitize::Sanitized;

/// An application, at one of the places where it is served.
pub(crate) struct Site<'a> {
    pub(crate) resource: Arc<ProtectedResource>,
    /// As it is configured: scheme and port are never taken from a request.
    pub(crate) origin: &'a Origin,
}

/// Finds the application by the one canonical host. Comes before authentication, because a credential is good only for a
/// resource: the audience must be that resource's client id, or a URL at its origin.
pub(crate) fn resolve<'a>(snapshot: &'a Snapshot, request: &Sanitized, trace: &mut Trace) -> Result<Site<'a>, Refusal> {
    let (origin, resource) = snapshot.served_at(&request.host).ok_or(Refusal::NoSuchResource)?;
    trace.resource = Some(resource.name.clone());
    Ok(Site { resource: resource.clone(), origin })
}
