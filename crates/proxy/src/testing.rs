//! A small world for the tests of the stages: one application at two origins, programs with their keys, and a person.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use doorward_core::account::{ServiceAccount, UniqueId, User};
use doorward_core::audit::RecordedEvents;
use doorward_core::clock::{ManualClock, Timestamp};
use doorward_core::entropy::{SeededEntropy, SystemEntropy, generate_private_key};
use doorward_core::issuer::{ForeignCaller, IssuerId, TrustedIssuer, TrustedIssuers};
use doorward_core::keys::{KeyPurpose, KeyRing, StoredKey};
use doorward_core::member::{Email, Member};
use doorward_core::outbound::FixedIssuerKeys;
use doorward_core::policy::{Binding, Policy, PolicyEtag, Role};
use doorward_core::resource::{Application, ClientId, Host, Origin, Project, Scheme};
use doorward_core::settings::Settings;
use doorward_core::snapshot::{AccountKind, KnownKey, Snapshot, SnapshotCell, SnapshotSource};
use doorward_wire::jose::{Algorithm, SigningKey, TOKEN_LIMIT, Unverified, VerifyingKey, encode_base64url};
use http::Request;
use serde_json::{Map, Value};

use crate::api_urls::ApiUrls;
use crate::authenticate::{AccountCaller, Basis, BroughtKeys, Caller, EmailClaim, TokenError, Unproven};
use crate::body::ProxyBody;
use crate::pipeline::{Config, Shared};
use crate::record::Trace;
use crate::resolve::Site;

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const CLIENT_ID: &str = "123-x.apps.googleusercontent.com";
pub(crate) const ISSUER: &str = "https://accounts.google.com";

/// A client that the application's settings list.
pub(crate) const PROGRAMMATIC_CLIENT: &str = "123-desktop.apps.googleusercontent.com";

/// The keys of service accounts: key id, and the number of the account. `1009` is an account that was deleted.
const ACCOUNT_KEYS: [(&str, &str); 5] = [
    ("robot-key", "1001"),
    ("other-key", "1003"),
    ("retired-key", "1002"),
    ("gone-key", "1009"),
    ("person-key", "2001"),
];

/// Two private keys: the robot's, and one that serves all others. Made once, because making one takes long.
static PRIVATE_KEYS: LazyLock<[Vec<u8>; 2]> =
    LazyLock::new(|| [(); 2].map(|()| generate_private_key(Algorithm::Rs256).unwrap()));

fn account_key(kid: &str) -> SigningKey {
    let secret = &PRIVATE_KEYS[usize::from(kid != "robot-key")];
    SigningKey::from_pkcs8(kid, Algorithm::Rs256, secret).unwrap()
}

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
        let origin = |scheme, host| Origin::new(scheme, &Host::parse(host).unwrap());
        let origins = vec![origin(Scheme::Http, "app.test"), origin(Scheme::Https, "alias.test:8443")];
        let name = application.resource().name(&project);
        let settings = Settings { programmatic_clients: Some(vec![ClientId(PROGRAMMATIC_CLIENT.into())]) };
        let known_key = |(kid, account): (&str, &str)| {
            let key = VerifyingKey::from_jwk(&account_key(kid).public_jwk()).unwrap();
            (kid.to_owned(), Arc::new(KnownKey { account: UniqueId(account.into()), key }))
        };
        let world = SnapshotSource {
            policies: HashMap::from([(name.clone(), policy)]),
            settings: HashMap::from([(name, settings)]),
            applications: vec![(application, origins)],
            account_keys: ACCOUNT_KEYS.into_iter().map(known_key).collect(),
            project,
            keys: Arc::new(KeyRing::new(&keys).unwrap()),
            service_accounts: vec![
                program("1001", "robot@p.iam.gserviceaccount.com"),
                program("1002", "retired@p.iam.gserviceaccount.com"),
                program("1003", "other@p.iam.gserviceaccount.com"),
            ],
            users: vec![User {
                unique_id: UniqueId("2001".into()),
                email: "alice@example.com".parse().unwrap(),
                disabled: false,
            }],
            pools: Vec::new(),
            providers: Vec::new(),
            trusted_issuers: Default::default(),
        };
        TestWorld { snapshot: Arc::new(Snapshot::new(1, world)), id_token_key }
    }

    /// The same, where these issuers are trusted.
    pub(crate) fn trusting(mut self, issuers: TrustedIssuers) -> Self {
        Arc::get_mut(&mut self.snapshot).unwrap().trusted_issuers = Arc::new(issuers);
        self
    }

    /// What a verdict rests on here at this time, for a request that has waited for no keys.
    pub(crate) fn basis(&self, now: i64) -> Basis<'_> {
        static NONE: BroughtKeys = BroughtKeys::new();
        Basis { snapshot: &self.snapshot, now: Timestamp::from_seconds(now), brought: &NONE }
    }

    /// The application at `http://app.test`.
    pub(crate) fn site(&self) -> Site<'_> {
        self.site_at("app.test")
    }

    /// The application as the owner of a `Host` field.
    pub(crate) fn site_at(&self, host: &str) -> Site<'_> {
        let host = Host::parse(host).unwrap();
        let (origin, resource) = self.snapshot.served_at(&host).unwrap();
        Site { resource: resource.clone(), origin }
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
        Caller::Account(AccountCaller { kind, unique_id, email, note: None })
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
        self.snapshot.keys.sign(purpose, claims.as_object().unwrap(), Timestamp::from_seconds(NOW)).unwrap()
    }

    /// A JWT that a service account's key of this id signed.
    pub(crate) fn self_sign(&self, kid: &str, claims: &Value) -> String {
        account_key(kid).sign(claims.as_object().unwrap()).unwrap()
    }
}

/// An entry of this id, at `https://ID.test`, for tokens with the audience `for-ID`.
pub(crate) fn entry(id: &str, email_domains: &[&str]) -> TrustedIssuer {
    TrustedIssuer {
        id: id.parse::<IssuerId>().unwrap(),
        issuer: format!("https://{id}.test"),
        audiences: vec![format!("for-{id}")],
        email_domains: email_domains.iter().map(|domain| (*domain).to_owned()).collect(),
        google: false,
        insecure_loopback: false,
        jwks: None,
    }
}

/// A caller whom the issuer of this entry vouches for.
pub(crate) fn foreign(id: &str, subject: &str, email: Option<&str>) -> Caller {
    let principal = format!("principal://doorward/trustedIssuers/{id}/subject/{subject}");
    let email: Option<Email> = email.map(|email| email.parse().unwrap());
    let members = [principal.parse().unwrap()].into_iter().chain(email.clone().map(Member::User)).collect();
    Caller::Foreign(ForeignCaller { issuer: Arc::new(entry(id, &[])), subject: subject.to_owned(), email, members })
}

/// The result of what never has to wait.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("it waits"),
    }
}

/// The verdict on a token whose keys are there.
pub(crate) fn judged<T>(verified: Result<T, Unproven>) -> Result<T, TokenError> {
    verified.map_err(|unproven| match unproven {
        Unproven::Token(error) => error,
        unknown @ (Unproven::Missing(_) | Unproven::Keys { .. }) => panic!("{unknown:?}"),
    })
}

pub(crate) fn config() -> Config {
    Config {
        issuer: ISSUER.into(),
        email_claim: EmailClaim::Optional,
        api: ApiUrls { http: "http://api.test".into(), https: Some("https://api.test:8444".into()) },
        upstreams: HashMap::new(),
    }
}

pub(crate) fn shared(world: &TestWorld) -> Arc<Shared> {
    let snapshots = Arc::new(SnapshotCell::new(Snapshot::new(
        0,
        SnapshotSource {
            project: world.snapshot.project.clone(),
            keys: world.snapshot.keys.clone(),
            applications: vec![],
            policies: HashMap::new(),
            settings: HashMap::new(),
            account_keys: HashMap::new(),
            service_accounts: vec![],
            users: vec![],
            pools: Vec::new(),
            providers: Vec::new(),
            trusted_issuers: Default::default(),
        },
    )));
    Arc::new(Shared::new(
        config(),
        snapshots,
        Arc::new(RecordedEvents::default()),
        Arc::new(ManualClock::at(Timestamp::from_seconds(NOW))),
        Arc::new(SeededEntropy::default()),
        Arc::new(FixedIssuerKeys::default()),
    ))
}

/// The trace of a request for `/page?q=1` that says of its host what no stage may believe.
pub(crate) fn trace(shared: &Arc<Shared>, method: &str) -> Trace {
    let request = Request::builder()
        .method(method)
        .uri("/page?q=1")
        .header("host", "APP.test:80")
        .header("x-forwarded-host", "evil.test")
        .header("x-forwarded-proto", "https")
        .body(())
        .unwrap();
    Trace::begin(shared, &request, SocketAddr::from(([192, 0, 2, 1], 5000)))
}

/// The text of an answer that the proxy made itself.
pub(crate) fn own_text(body: &ProxyBody) -> String {
    match body {
        ProxyBody::Own(text) => String::from_utf8(text.clone().unwrap_or_default().to_vec()).unwrap(),
        ProxyBody::Application(_) => panic!("an answer of the application"),
    }
}

/// The claims of a token of ours, verified.
pub(crate) fn claims_of(snapshot: &Snapshot, purpose: KeyPurpose, token: &str) -> Map<String, Value> {
    let unverified = Unverified::parse(token, TOKEN_LIMIT, &[Algorithm::Rs256, Algorithm::Es256]).unwrap();
    let now = Timestamp::from_seconds(NOW);
    let key = snapshot.keys.verifying(purpose, unverified.kid().unwrap(), now).unwrap();
    unverified.verify(key).unwrap().as_object().clone()
}
