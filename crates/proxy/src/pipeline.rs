//! One proxied request, from its head to its record: seven stages, seven lines, and one way back.

use std::net::SocketAddr;
use std::sync::Arc;

use doorward_core::audit::AuditSink;
use doorward_core::clock::Clock;
use doorward_core::entropy::Entropy;
use doorward_core::freshness::Freshness;
use doorward_core::outbound::IssuerKeys;
use doorward_core::snapshot::{Snapshot, SnapshotCell};
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;

use crate::api_urls::ApiUrls;
use crate::assert::{Assertions, assert};
use crate::authenticate::{Authenticator, Basis, BroughtKeys, Undecided, authenticate};
use crate::authorize::authorize;
use crate::body::ProxyBody;
use crate::describe::describe;
use crate::forward::{Pool, forward};
use crate::outages::Outages;
use crate::record::{Trace, ensure_recordable};
use crate::refusal::{Refusal, Reply};
use crate::resolve::resolve;
use crate::sanitize::sanitize;

/// What the data plane is told once, at start.
pub struct Config {
    /// `iss` of the ID tokens that are accepted.
    pub issuer: String,
    /// The API, as people and programs outside reach it: where they sign in, where sign-in comes back to, and the issuer
    /// identifier (RFC 8414) of the server whose tokens the applications take.
    pub api: ApiUrls,
    /// Whom somebody asks who was refused: an address, or a few words. Without it, the brand's address.
    pub contact: Option<String>,
}

/// What the data plane reads, and where it writes.
pub struct Inputs {
    /// What is in force.
    pub snapshots: Arc<SnapshotCell>,
    /// When that was last compared with the store.
    pub freshness: Arc<Freshness>,
    /// The record of decisions.
    pub audit: Arc<dyn AuditSink>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The keys of the trusted issuers.
    pub issuer_keys: Arc<dyn IssuerKeys>,
}

/// What all workers share: read-mostly state, and caches that are not locked as a whole.
pub struct Shared {
    pub(crate) config: Config,
    pub(crate) snapshots: Arc<SnapshotCell>,
    pub(crate) freshness: Arc<Freshness>,
    pub(crate) audit: Arc<dyn AuditSink>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) authenticator: Authenticator,
    pub(crate) assertions: Assertions,
    pub(crate) outages: Outages,
}

impl Shared {
    /// Puts together what every worker needs.
    pub fn new(config: Config, inputs: Inputs) -> Self {
        let Inputs { snapshots, freshness, audit, clock, entropy, issuer_keys } = inputs;
        let authenticator = Authenticator::new(config.issuer.clone(), issuer_keys);
        let (assertions, outages) = (Assertions::new(), Outages::default());
        Shared { config, snapshots, freshness, audit, clock, entropy, authenticator, assertions, outages }
    }

    /// Refuses while it is not known whether what is in force still holds.
    fn ensure_fresh(&self, trace: &Trace) -> Result<(), Refusal> {
        if self.freshness.is_fresh(trace.now()) { Ok(()) } else { Err(Refusal::StaleGrants) }
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
        let mut snapshot = shared.snapshots.current();
        let mut trace = Trace::begin(&self.shared, &request, client);
        // `Content-Length` beside `Transfer-Encoding` is gone before we see a request, and with it the sign that the sender
        // and we may disagree where it ends. So a request framed by Transfer-Encoding is the last of its connection
        // (RFC 9112 section 6.1), and whatever was smuggled behind it is never read.
        let last_of_connection = request.headers().contains_key(http::header::TRANSFER_ENCODING);
        let answered = self.stages(request, &mut snapshot, &mut trace).await;
        let reply = Reply { config: &shared.config, snapshot: &snapshot, entropy: &*shared.entropy };
        let mut response = answered.unwrap_or_else(|refusal| refusal.into_response(&mut trace, &reply));
        let recorded = trace.record(response.status()).await;
        if recorded.is_err() {
            // Fail closed: no answer is given for a decision that is not recorded.
            response = Refusal::CannotRecord.into_response(&mut trace, &reply);
        }
        if last_of_connection {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// The stages. Those that decide, 1 to 4, see one snapshot and one time; `snapshot` is in the end the one that they saw.
    async fn stages(
        &self,
        request: Request<Incoming>,
        snapshot: &mut Arc<Snapshot>,
        trace: &mut Trace,
    ) -> Result<Response<ProxyBody>, Refusal> {
        let shared = &*self.shared;
        let mut request = sanitize(request, trace)?;
        let mut brought = BroughtKeys::default();
        loop {
            shared.ensure_fresh(trace)?;
            let site = resolve(snapshot, &mut request, trace)?;
            // What the proxy answers itself leaves here, before anybody is asked who they are.
            if let Some(own) = describe(&site, &request.method, request.target.path(), &shared.config, trace) {
                return Ok(own);
            }
            let basis = Basis { snapshot, now: trace.now(), brought: &brought };
            let authenticated = match authenticate(&shared.authenticator, &request, &site, basis, trace) {
                Ok(authenticated) => authenticated,
                Err(Undecided::Refused(refusal)) => return Err(refusal),
                Err(Undecided::Missing(keys)) => {
                    shared.authenticator.bring(keys, &mut brought).await;
                    // That took seconds, in which a binding may have been revoked: nothing is decided by what was true before.
                    *snapshot = shared.snapshots.current();
                    trace.begin_again();
                    continue;
                }
            };
            let permit = authorize(authenticated, site, snapshot, request.asked(), trace)?;
            let identity = assert(&shared.assertions, &permit, snapshot, trace)?;
            ensure_recordable(&*shared.audit)?;
            // The seventh stage, the record, is made by `handle`, because a refusal at any stage is recorded too.
            return forward(shared, &self.pool, request, permit, identity, trace).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use async_trait::async_trait;
    use doorward_core::audit::{AuditEvent, Outcome, Reason, RecordedEvents};
    use doorward_core::clock::{ManualClock, Timestamp};
    use doorward_core::entropy::{SeededEntropy, generate_private_key};
    use doorward_core::issuer::{OwnNames, TrustedIssuer, TrustedIssuers};
    use doorward_core::outbound::{FixedIssuerKeys, IssuerKeysError, KeySource};
    use doorward_wire::jose::{Algorithm, SigningKey, VerifyingKeys};
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use serde_json::json;

    use super::*;
    use crate::testing::{self, NOW, TestWorld, entry};

    const SET: &str = "principalSet://doorward/trustedIssuers/corp/*";
    const BOB: &str = "principal://doorward/trustedIssuers/corp/subject/bob";

    /// Keys that are never at hand, and arrive when something else has happened.
    struct LateKeys {
        keys: FixedIssuerKeys,
        meanwhile: Box<dyn Fn() + Send + Sync>,
    }

    #[async_trait]
    impl IssuerKeys for LateKeys {
        fn at_hand(&self, _: &KeySource, _: &str) -> Option<Arc<VerifyingKeys>> {
            None
        }

        async fn keys(&self, source: &KeySource, kid: &str) -> Result<Arc<VerifyingKeys>, IssuerKeysError> {
            tokio::task::yield_now().await;
            (self.meanwhile)();
            self.keys.keys(source, kid).await
        }
    }

    fn listed(id: &str) -> TrustedIssuers {
        let own = OwnNames { issuers: &[], project_id: "test-project" };
        let entry = TrustedIssuer { issuer: "https://corp.test".to_owned(), ..entry(id, &[]) };
        TrustedIssuers::new([entry], own).unwrap()
    }

    /// The world in which these members are admitted, and the issuer is trusted under this id.
    fn world(version: u64, members: &[&str], id: &str) -> Snapshot {
        let world = TestWorld::new(members).trusting(listed(id));
        let mut snapshot = Arc::into_inner(world.snapshot).unwrap();
        snapshot.version = version;
        snapshot
    }

    /// Sends one request through a proxy on a connection of its own. Gives the status and the reason.
    async fn ask(proxy: &Proxy, token: &str) -> (u16, Option<String>) {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let service = service_fn(async |request: Request<Incoming>| {
            Ok::<_, Infallible>(proxy.handle(request, SocketAddr::from(([192, 0, 2, 1], 5000))).await)
        });
        let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client)).await.unwrap();
        let request = Request::get("/secret")
            .header("host", "app.test")
            .header("authorization", format!("Bearer {token}"))
            .body(ProxyBody::empty())
            .unwrap();
        let answered = async {
            let head = sender.send_request(request).await.unwrap().into_parts().0;
            drop(sender);
            let reason = head.headers.get("x-doorward-reason").map(|reason| reason.to_str().unwrap().to_owned());
            (head.status.as_u16(), reason)
        };
        // The connection ends with the request, in whatever way.
        let (_, _, answered) = tokio::join!(served, connection, answered);
        answered
    }

    /// What is true in the end: who is admitted, under which id the issuer is trusted, and how many seconds later it is.
    type Meanwhile = (&'static [&'static str], &'static str, u64);
    /// Who is admitted before, and what is true in the end => the answer, and how often keys were waited for.
    type Case = (&'static [&'static str], Meanwhile, (u16, Option<&'static str>), u64);

    #[tokio::test]
    async fn what_changed_while_a_request_waited_for_keys_decides_and_not_what_was_true_before() {
        let der = generate_private_key(Algorithm::Es256).unwrap();
        let key = SigningKey::from_pkcs8("k", Algorithm::Es256, &der).unwrap();
        let claims = json!({"iss": "https://corp.test", "aud": "for-corp", "sub": "bob", "iat": NOW, "exp": NOW + 5});
        let token = key.sign(claims.as_object().unwrap()).unwrap();
        let good = Arc::new(VerifyingKeys::from_jwks(&[key.public_jwk()]).unwrap());
        let admitted = (502, Some("upstream_failed"));
        #[rustfmt::skip]
        let cases: [Case; 7] = [
            (&[SET],         (&[SET], "corp", 0),   admitted,                        1),
            (&[SET],         (&[BOB], "corp", 0),   admitted,                        1),
            (&[SET],         (&[],    "corp", 0),   (403, Some("permission_denied")),   1),
            (&[],            (&[SET], "corp", 0),   admitted,                        1),
            (&[SET],         (&[SET], "corp", 34),  admitted,                        1),
            (&[SET],         (&[SET], "corp", 35),  (401, Some("expired_token")),    1),
            // Under another id it is another entry, whose callers have other names; and its keys are waited for once more.
            (&[SET],         (&[SET], "else", 0),   (401, Some("wrong_audience")),   2),
        ];
        for (before, meanwhile, expected, waits) in cases {
            let (after, id, seconds) = meanwhile;
            let now = Timestamp::from_seconds(NOW);
            let clock = Arc::new(ManualClock::at(now));
            let snapshots = Arc::new(SnapshotCell::new(world(1, before, "corp")));
            let (cell, hands) = (snapshots.clone(), clock.clone());
            let keys = Arc::new(LateKeys {
                keys: FixedIssuerKeys::default(),
                meanwhile: Box::new(move || {
                    cell.publish(world(2, after, id));
                    hands.set(now + Duration::from_secs(seconds));
                }),
            });
            keys.keys.publish("trustedIssuers/corp", Ok(good.clone()));
            keys.keys.publish("trustedIssuers/else", Ok(good.clone()));
            let audit = Arc::new(RecordedEvents::default());
            let entropy = Arc::new(SeededEntropy::default());
            let freshness = testing::freshness();
            let issuer_keys = keys.clone();
            let inputs = Inputs { snapshots, freshness, audit: audit.clone(), clock, entropy, issuer_keys };
            let shared = Shared::new(testing::config(), inputs);
            let (status, reason) = ask(&Proxy::new(Arc::new(shared)), &token).await;
            assert_eq!((status, reason.as_deref()), expected, "{before:?} {meanwhile:?}");
            assert_eq!(keys.keys.fetches(), waits, "{before:?} {meanwhile:?}");
            let recorded = audit.events();
            let [AuditEvent::Decision(decision)] = &recorded[..] else { panic!("{recorded:?}") };
            assert_eq!(decision.time, now, "when it arrived");
            match (&decision.outcome, expected) {
                (Outcome::Refused { reason: Reason::UpstreamFailed, .. }, (502, _)) => {}
                (Outcome::Refused { reason: Reason::PermissionDenied, .. }, (403, _)) => {}
                (Outcome::Refused { .. }, (401, _)) => assert_eq!(decision.caller, None, "{before:?} {meanwhile:?}"),
                (outcome, _) => panic!("{before:?} {meanwhile:?} {outcome:?}"),
            }
        }
    }
}
