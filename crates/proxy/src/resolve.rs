//! Stage 1: which application is asked for.

use std::sync::Arc;

use doorward_core::resource::{Origin, PathPrefix, Route};
use doorward_core::snapshot::{NotServed, ProtectedResource, Snapshot};

use crate::describe::described_prefix;
use crate::record::Trace;
use crate::refusal::{Malformed, Refusal};
use crate::sanitize::{Sanitized, strip_propagated};

/// An application, at one of the places where it is served.
pub(crate) struct Site<'a> {
    pub(crate) resource: Arc<ProtectedResource>,
    /// As it is configured: scheme and port are never taken from a request.
    pub(crate) origin: &'a Origin,
    /// Which paths there are its own.
    pub(crate) prefix: &'a PathPrefix,
}

impl<'a> Site<'a> {
    /// The application at one of its origins, for a path there. `None` if it is not served there.
    pub(crate) fn new(resource: &'a Arc<ProtectedResource>, origin: &'a Origin, path: &str) -> Option<Self> {
        let routes = resource.application.routes.iter();
        let here = routes.filter(|route| route.origin == *origin && route.prefix.holds(path));
        let prefix = &here.max_by_key(|route| route.prefix.as_str().len())?.prefix;
        Some(Site { resource: resource.clone(), origin, prefix })
    }

    /// The place by itself.
    pub(crate) fn route(&self) -> Box<Route> {
        Box::new(Route { origin: self.origin.clone(), prefix: self.prefix.clone() })
    }
}

/// Finds the application by the one canonical host and the longest path prefix, and takes out of the request what only this
/// application's settings may set. Comes before authentication, because a credential is good only for a resource: the audience
/// must be that resource's client id, or a URL at its origin.
pub(crate) fn resolve<'a>(
    snapshot: &'a Snapshot,
    request: &mut Sanitized,
    trace: &mut Trace,
) -> Result<Site<'a>, Refusal> {
    let path = request.target.path();
    let at = |path: &str| match snapshot.served_at(&request.host, path) {
        Ok((origin, resource)) => Site::new(resource, origin, path).ok_or(Refusal::NoSuchResource),
        Err(NotServed::NoSuchPlace) => Err(Refusal::NoSuchResource),
        Err(NotServed::AmbiguousPath) => Err(Refusal::Malformed(Malformed::Application)),
    };
    // The description of an application below a prefix has an address outside of it.
    let described = described_prefix(&request.method, path)
        .and_then(|prefix| at(prefix).ok().filter(|site| site.prefix.as_str() == prefix && prefix != "/"));
    let site = match described {
        Some(site) => site,
        None => at(path)?,
    };
    let Site { resource, origin, .. } = &site;
    trace.resource = Some((resource.clone(), origin.scheme));
    if !resource.application.iap_enabled {
        // We never pass a request through unchecked, as Google does: then nobody is let in, and the application says nothing of
        // itself.
        return Err(Refusal::IapDisabled { application: resource.application.name.as_str().to_owned() });
    }
    trace.stripped += strip_propagated(&mut request.headers, resource.settings.propagated_header_names());
    Ok(site)
}
