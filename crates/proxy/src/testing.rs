//! A small world for the tests of the stages: one application, a program, a person, and a disabled program.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use doorward_core::account::{ServiceAccount, UniqueId, User};
use doorward_core::audit::RecordedEvents;
use doorward_core::clock::{ManualClock, Timestamp};
use doorward_core::entropy::{SeededEntropy, SystemEntropy};
use doorward_core::keys::{KeyPurpose, KeyRing, StoredKey};
use doorward_core::policy::{Binding, Policy, PolicyEtag, Role};
use doorward_core::resource::{Application, ClientId, Host, Project};
use doorward_core::snapshot::{AccountKind, ProtectedResource, Snapshot, SnapshotCell, SnapshotSource};
use doorward_wire::jose::{Algorithm, Unverified, encode_base64url};
use http::Request;
use serde_json::{Map, Value};

use crate::authenticate::{Caller, EmailClaim};
use crate::pipeline::{Config, Shared};
use crate::record::Trace;

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const CLIENT_ID: &str = "123-x.apps.googleusercontent.com";
pub(crate) const ISSUER: &str = "https://accounts.google.com";

pub(crate) struct TestWorld {
    pub(crate) snapshot: Arc<Snapshot>,
    id_token_key: StoredKey,
}

impl TestWorld {
    /// The application admits these members.
    pub(crate) fn new(members: &[&str]) -> Self {
        Self::with_disabled(members, "1002")
    }

    /// The same, with the account of this number disabled.
    pub(crate) fn with_disabled(members: &[&str], disabled: &str) -> Self {
        let created = Timestamp::from_seconds(NOW - 1000);
        let keys = KeyPurpose::ALL.map(|purpose| StoredKey::generate(purpose, &SystemEntropy, created).unwrap());
        let id_token_key = keys.iter().find(|key| key.purpose == KeyPurpose::IdToken).unwrap().clone();
        let application =
            Application { name: "app".into(), service_id: "777".into(), client_id: ClientId(CLIENT_ID.into()) };
        let project = Project { id: "test-project".into(), number: "123".into() };
        let members = members.iter().map(|member| member.parse().unwrap()).collect();
        let bindings = vec![Binding { role: Role::HttpsResourceAccessor, members }];
        let policy = Policy { bindings, etag: PolicyEtag(1) };
        let program = |id: &str, email: &str| ServiceAccount {
            unique_id: UniqueId(id.into()),
            email: email.parse().unwrap(),
            display_name: String::new(),
            description: String::new(),
            disabled: id == disabled,
        };
        let world = SnapshotSource {
            policies: HashMap::from([(application.resource().name(&project), policy)]),
            applications: vec![(application, vec![Host::parse("app.test").unwrap()])],
            project,
            keys: Arc::new(KeyRing::new(&keys).unwrap()),
            service_accounts: vec![
                program("1001", "robot@p.iam.gserviceaccount.com"),
                program("1002", "retired@p.iam.gserviceaccount.com"),
            ],
            users: vec![User {
                unique_id: UniqueId("2001".into()),
                email: "alice@example.com".parse().unwrap(),
                disabled: false,
            }],
        };
        TestWorld { snapshot: Arc::new(Snapshot::new(1, world)), id_token_key }
    }

    pub(crate) fn resource(&self) -> Arc<ProtectedResource> {
        self.snapshot.resource_at(&Host::parse("app.test").unwrap()).unwrap().clone()
    }

    pub(crate) fn robot(&self) -> Caller {
        self.caller("1001", AccountKind::ServiceAccount)
    }

    pub(crate) fn alice(&self) -> Caller {
        self.caller("2001", AccountKind::User)
    }

    fn caller(&self, id: &str, kind: AccountKind) -> Caller {
        let unique_id = UniqueId(id.into());
        let email = self.snapshot.account(&unique_id).unwrap().email.clone();
        Caller { kind, unique_id, email, note: None }
    }

    /// A token with any header and payload, signed by our own ID-token key: what is refused is the header, not the signature.
    pub(crate) fn sign_raw(&self, header: &str, payload: &str) -> String {
        use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
        let key = RsaKeyPair::from_pkcs8(&self.id_token_key.secret).unwrap();
        let input = format!("{}.{}", encode_base64url(header.as_bytes()), encode_base64url(payload.as_bytes()));
        let mut signature = vec![0; key.public_modulus_len()];
        let random = aws_lc_rs::rand::SystemRandom::new();
        key.sign(&RSA_PKCS1_SHA256, &random, input.as_bytes(), &mut signature).unwrap();
        format!("{input}.{}", encode_base64url(&signature))
    }

    /// A token of our own key for this purpose, with these claims.
    pub(crate) fn sign(&self, purpose: KeyPurpose, claims: &Value) -> String {
        self.snapshot.keys.sign(purpose, claims.as_object().unwrap()).unwrap()
    }
}

pub(crate) fn shared(world: &TestWorld) -> Arc<Shared> {
    let config = Config {
        issuer: ISSUER.into(),
        email_claim: EmailClaim::Optional,
        public_scheme: "http",
        accounts_base: "http://api.test/accounts.google.com".into(),
        iap_base: "http://api.test/iap.googleapis.com".into(),
        upstreams: HashMap::new(),
    };
    let snapshots = Arc::new(SnapshotCell::new(Snapshot::new(
        0,
        SnapshotSource {
            project: world.snapshot.project.clone(),
            keys: world.snapshot.keys.clone(),
            applications: vec![],
            policies: HashMap::new(),
            service_accounts: vec![],
            users: vec![],
        },
    )));
    Arc::new(Shared::new(
        config,
        snapshots,
        Arc::new(RecordedEvents::default()),
        Arc::new(ManualClock::at(Timestamp::from_seconds(NOW))),
        Arc::new(SeededEntropy::default()),
    ))
}

pub(crate) fn trace(shared: &Arc<Shared>) -> Trace {
    let request = Request::builder().uri("/").header("host", "app.test").body(()).unwrap();
    Trace::begin(shared, &request, SocketAddr::from(([192, 0, 2, 1], 5000)))
}

/// The claims of a token of ours, verified.
pub(crate) fn claims_of(snapshot: &Snapshot, purpose: KeyPurpose, token: &str) -> Map<String, Value> {
    let unverified = Unverified::parse(token, 16_000, &[Algorithm::Rs256, Algorithm::Es256]).unwrap();
    let now = Timestamp::from_seconds(NOW);
    let key = snapshot.keys.verifying(purpose, unverified.kid().unwrap(), now).unwrap();
    unverified.verify(key).unwrap().as_object().clone()
}
