//! One proxied request, from its head to its record: seven stages, seven lines.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use doorward_core::audit::AuditSink;
use doorward_core::clock::Clock;
use doorward_core::entropy::Entropy;
use doorward_core::outbound::IssuerKeys;
use doorward_core::snapshot::{Snapshot, SnapshotCell};
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;

use crate::api_urls::ApiUrls;
use crate::assert::{Assertions, assert};
use crate::authenticate::{Authenticator, EmailClaim, authenticate};
use crate::authorize::authorize;
use crate::body::ProxyBody;
use crate::describe::describe;
use crate::forward::{Pool, Upstream, forward};
use crate::record::{Trace, ensure_recordable};
use crate::refusal::Refusal;
use crate::resolve::resolve;
use crate::sanitize::sanitize;
use crate::sign_in::SignIn;

/// What the data plane is told once, at start.
pub struct Config {
    /// `iss` of the ID tokens that are accepted.
    pub issuer: String,
    /// What becomes of an ID token without `email`.
    pub email_claim: EmailClaim,
    /// The API, as people and programs outside reach it: where they sign in, where sign-in comes back to, and the issuer
    /// identifier (RFC 8414) of the server whose tokens the applications take.
    pub api: ApiUrls,
    /// Where each application is, by its name.
    pub upstreams: HashMap<String, Arc<Upstream>>,
}

/// What all workers share: read-mostly state, and caches that are not locked as a whole.
pub struct Shared {
    pub(crate) config: Config,
    pub(crate) snapshots: Arc<SnapshotCell>,
    pub(crate) audit: Arc<dyn AuditSink>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) authenticator: Authenticator,
    pub(crate) assertions: Assertions,
}

impl Shared {
    /// Puts together what every worker needs. `issuer_keys` are those of the trusted issuers.
    pub fn new(
        config: Config,
        snapshots: Arc<SnapshotCell>,
        audit: Arc<dyn AuditSink>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        issuer_keys: Arc<dyn IssuerKeys>,
    ) -> Self {
        let authenticator = Authenticator::new(config.issuer.clone(), config.email_claim, issuer_keys);
        Shared { config, snapshots, audit, clock, entropy, authenticator, assertions: Assertions::new() }
    }
}

/// The data plane of one worker: shared state, and connections to the applications of its own.
pub struct Proxy {
    shared: Arc<Shared>,
    pool: Arc<Pool>,
}

impl Proxy {
    /// A worker's proxy.
    pub fn new(shared: Arc<Shared>) -> Self {
        Proxy { shared, pool: Arc::new(Pool::default()) }
    }

    /// Answers one request. Never fails: a refusal is an answer.
    pub async fn handle(&self, request: Request<Incoming>, client: SocketAddr) -> Response<ProxyBody> {
        let shared = &*self.shared;
        let snapshot = shared.snapshots.current();
        let mut trace = Trace::begin(&self.shared, &request, client);
        // `Content-Length` beside `Transfer-Encoding` is gone before we see a request, and with it the sign that the sender
        // and we may disagree where it ends. So a request framed by Transfer-Encoding is the last of its connection
        // (RFC 9112 section 6.1), and whatever was smuggled behind it is never read.
        let last_of_connection = request.headers().contains_key(http::header::TRANSFER_ENCODING);
        let answered = self.stages(request, &snapshot, &mut trace).await;
        let sign_in = SignIn { config: &shared.config, keys: &snapshot.keys, entropy: &*shared.entropy };
        let mut response = answered.unwrap_or_else(|refusal| refusal.into_response(&mut trace, &sign_in));
        let recorded = trace.record(response.status()).await;
        if recorded.is_err() {
            // Fail closed: no answer is given for a decision that is not recorded.
            response = Refusal::CannotRecord.into_response(&mut trace, &sign_in);
        }
        if last_of_connection {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn stages(
        &self,
        request: Request<Incoming>,
        snapshot: &Arc<Snapshot>,
        trace: &mut Trace,
    ) -> Result<Response<ProxyBody>, Refusal> {
        let shared = &*self.shared;
        let request = sanitize(request, trace)?;
        let site = resolve(snapshot, &request, trace)?;
        // What the proxy answers itself leaves here, before anybody is asked who they are.
        if let Some(own) = describe(&site, &request.method, request.target.path(), &shared.config, trace) {
            return Ok(own);
        }
        let caller = authenticate(&shared.authenticator, &request, &site, snapshot, trace).await?;
        let permit = authorize(caller, site, snapshot, trace)?;
        let identity = assert(&shared.assertions, &permit, snapshot, trace)?;
        ensure_recordable(&*shared.audit)?;
        forward(shared, &self.pool, request, permit, identity, trace).await
        // The seventh stage, the record, is made by `handle`, because a refusal at any stage is recorded too.
    }
}
