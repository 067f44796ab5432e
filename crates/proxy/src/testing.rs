//! A small world for the tests of the stages: one application at two origins, programs with their keys, and a person.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use doorward_core::account::{ServiceAccount, UniqueId, User};
use doorward_core::audit::RecordedEvents;
use doorward_core::clock::{ManualClock, Timestamp};
use doorward_core::entropy::{SeededEntropy, SystemEntropy, generate_private_key};
use doorward_core::freshness::Freshness;
use doorward_core::issuer::{ForeignCaller, IssuerId, TrustedIssuer, TrustedIssuers};
use doorward_core::keys::{KeyPurpose, KeyRing, StoredKey};
use doorward_core::member::{Email, Member};
use doorward_core::outbound::FixedIssuerKeys;
use doorward_core::policy::condition::{HeaderAllowList, Schema};
use doorward_core::policy::{Binding, ConditionText, Etag, Policy};
use doorward_core::resource::{Application, ClientId, Host, Origin, PathPrefix, Project, Route, Scheme, ServiceKind};
use doorward_core::settings::{Defaults, EmailClaim, Settings};
use doorward_core::snapshot::{AccountKind, Fixed, KnownKey, Snapshot, SnapshotCell, Update};
use doorward_wire::jose::{Algorithm, SigningKey, TOKEN_LIMIT, Unverified, VerifyingKey, encode_base64url};
use http::header::{AUTHORIZATION, HeaderMap};
use http::{Method, Request};
use serde_json::{Map, Value, json};

use crate::api_urls::ApiUrls;
use crate::authenticate::{AccountCaller, Authenticated, Basis, BroughtKeys, Caller, Proven, TokenError, Unproven};
use crate::authorize::{Asked, Permit, authorize};
use crate::body::ProxyBody;
use crate::pipeline::{Config, Inputs, Shared};
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

/// The application, at its two origins, which runs nowhere.
pub(crate) fn application() -> Application {
    let route =
        |scheme, host| Route { origin: Origin::new(scheme, &Host::parse(host).unwrap()), prefix: PathPrefix::root() };
    Application {
        name: "app".parse().unwrap(),
        service_id: "777".into(),
        kind: ServiceKind::BackendService { region: None },
        client_id: ClientId(CLIENT_ID.into()),
        iap_enabled: true,
        routes: vec![route(Scheme::Http, "app.test"), route(Scheme::Https, "alias.test:8443")],
        upstreams: Vec::new(),
        description: String::new(),
        labels: BTreeMap::new(),
        etag: Etag::UNWRITTEN,
    }
}

/// The role that lets in, for these members, under a condition if there is one.
pub(crate) fn binding(members: &[&str], condition: Option<&str>) -> Binding {
    let text = |expression: &str| ConditionText {
        expression: expression.to_owned(),
        title: format!("when {expression}"),
        ..ConditionText::default()
    };
    Binding {
        role: "roles/iap.httpsResourceAccessor".parse().unwrap(),
        members: members.iter().map(|member| member.parse().unwrap()).collect(),
        condition: condition.map(text),
    }
}

/// The policy of the application: these bindings.
pub(crate) fn policy(bindings: Vec<Binding>) -> Update {
    Update::Policy(application().service(), Policy { bindings, etag: Etag(1) })
}

/// The settings of the application.
pub(crate) fn settings(settings: Settings) -> Update {
    Update::Settings(application().service(), Some(settings))
}

/// The policy of the application that admits these members.
pub(crate) fn granting(members: &[&str]) -> Update {
    policy(vec![binding(members, None)])
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
        let program = |(id, email): (&str, &str)| ServiceAccount {
            unique_id: UniqueId(id.into()),
            email: email.parse().unwrap(),
            display_name: String::new(),
            description: String::new(),
            disabled: id == disabled,
        };
        let programs = [
            ("1001", "robot@p.iam.gserviceaccount.com"),
            ("1002", "retired@p.iam.gserviceaccount.com"),
            ("1003", "other@p.iam.gserviceaccount.com"),
        ];
        let alice =
            User { unique_id: UniqueId("2001".into()), email: "alice@example.com".parse().unwrap(), disabled: false };
        let known_key = |(kid, account): (&str, &str)| {
            let key = VerifyingKey::from_jwk(&account_key(kid).public_jwk()).unwrap();
            Update::AccountKey(kid.to_owned(), Some(Arc::new(KnownKey { account: UniqueId(account.into()), key })))
        };
        let application = application();
        let programmatic_clients = Some(vec![ClientId(PROGRAMMATIC_CLIENT.into())]);
        let fixed = Fixed {
            project: Project { id: "test-project".into(), number: "123".into(), ancestors: vec![] },
            schema: Arc::new(Schema::policy(HeaderAllowList::default())),
            defaults: Defaults { email_claim: EmailClaim::Optional, forward_credential: true },
            keys: Arc::new(KeyRing::new(&keys).unwrap()),
            trusted_issuers: Default::default(),
        };
        let updates = [
            granting(members),
            settings(Settings { programmatic_clients, ..Settings::default() }),
            Update::Application(application.service_id.clone(), Some(application)),
            Update::User(alice.unique_id.clone(), Some(alice)),
        ];
        let programs = programs.map(program).map(|it| Update::ServiceAccount(it.unique_id.clone(), Some(it)));
        let updates = updates.into_iter().chain(programs).chain(ACCOUNT_KEYS.map(known_key));
        TestWorld { snapshot: Arc::new(Snapshot::empty(fixed).with(1, updates)), id_token_key }
    }

    /// The same after some changes.
    pub(crate) fn changed(&self, updates: impl IntoIterator<Item = Update>) -> Self {
        let snapshot = self.snapshot.with(self.snapshot.version + 1, updates);
        TestWorld { snapshot: Arc::new(snapshot), id_token_key: self.id_token_key.clone() }
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
        let (origin, resource) = self.snapshot.served_at(&host, "/").unwrap();
        Site::new(resource, origin, "/").unwrap()
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
        groups_claim: None,
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

/// The caller, as if a token without a word besides had proven them.
pub(crate) fn proven(caller: Caller) -> Authenticated {
    proven_by(caller, json!({}))
}

/// The caller, with what their token says besides.
pub(crate) fn proven_by(caller: Caller, claims: Value) -> Authenticated {
    let key = account_key("robot-key");
    let token = key.sign(claims.as_object().unwrap()).unwrap();
    let public = VerifyingKey::from_jwk(&key.public_jwk()).unwrap();
    let claims = Unverified::parse(&token, TOKEN_LIMIT, &[Algorithm::Rs256]).unwrap().verify(&public).unwrap();
    Authenticated::Caller { proven: Arc::new(Proven::new(caller, claims)), by: AUTHORIZATION }
}

/// The permit for a plain request at the first origin.
pub(crate) fn permit<'a>(world: &'a TestWorld, authenticated: Authenticated, trace: &mut Trace) -> Permit<'a> {
    let (host, headers) = (Host::parse("app.test").unwrap(), HeaderMap::new());
    let asked = Asked { host: &host, method: &Method::GET, path: "/page", headers: &headers };
    authorize(authenticated, world.site(), &world.snapshot, asked, trace).unwrap()
}

pub(crate) fn config() -> Config {
    Config {
        issuer: ISSUER.into(),
        api: ApiUrls { http: "http://api.test".into(), https: Some("https://api.test:8444".into()) },
        contact: None,
    }
}

/// The store was read now, and may be read for ten minutes.
pub(crate) fn freshness() -> Arc<Freshness> {
    Arc::new(Freshness::new(Timestamp::from_seconds(NOW), Duration::from_secs(600)))
}

pub(crate) fn shared(world: &TestWorld) -> Arc<Shared> {
    let inputs = Inputs {
        snapshots: Arc::new(SnapshotCell::new(Snapshot::clone(&world.snapshot))),
        freshness: freshness(),
        audit: Arc::new(RecordedEvents::default()),
        clock: Arc::new(ManualClock::at(Timestamp::from_seconds(NOW))),
        entropy: Arc::new(SeededEntropy::default()),
        issuer_keys: Arc::new(FixedIssuerKeys::default()),
    };
    Arc::new(Shared::new(config(), inputs))
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
