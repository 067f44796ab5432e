//! One of everything that a store keeps.

use doorward_core::account::{ManagedKey, PasswordHash, ServiceAccount, ServiceAccountKey, UniqueId, User};
use doorward_core::audit::{
    AdminEvent, AdminKind, AuditEvent, Decision, Outcome, Reason, TokenEvent, TokenMethod, TokenReason,
};
use doorward_core::client::{ClientKind, OAuthClient};
use doorward_core::clock::Timestamp;
use doorward_core::grant::{AccessGrant, Challenge, CodeGrant, DeviceGrant, GrantId, PersonGrant, Subject, TokenHash};
use doorward_core::keys::{KeyPurpose, StoredKey};
use doorward_core::member::Member;
use doorward_core::policy::{Binding, DenyPolicy, DenyPolicyName, DenyRule, Etag, RoleName};
use doorward_core::resource::{Application, ClientId, Host, Origin, Resource, Route, Scheme, ServiceKind};
use doorward_core::session::{SignInSession, SignedIn};
use doorward_core::settings::Settings;
use doorward_core::store::PolicyWrite;
use doorward_wire::jose::Jwk;
use doorward_wire::oauth::Scopes;

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

pub(crate) fn id(text: &str) -> UniqueId {
    UniqueId(text.to_owned())
}

/// The account `name`, whose number is `unique_id`.
pub(crate) fn account(unique_id: &str, name: &str) -> ServiceAccount {
    ServiceAccount {
        unique_id: id(unique_id),
        email: format!("{name}@dev-project.iam.gserviceaccount.com").parse().unwrap(),
        display_name: format!("The \"{name}\" of Zoë'; --"),
        description: String::new(),
        disabled: false,
    }
}

pub(crate) fn account_key(key_id: &str, account: &str, created: i64) -> ServiceAccountKey {
    ServiceAccountKey {
        id: key_id.to_owned(),
        account: id(account),
        public: Jwk::rsa(key_id, "sXchDaQebHnPiGvyDOAT4saGEUetSyo9MKLOoWFsueri23bOdgWp4".into(), "AQAB".into()),
        // Not a whole second.
        created: Timestamp::from_micros(created * 1_000_000 + 1),
        managed: false,
        disabled: false,
    }
}

pub(crate) fn managed_key(key_id: &str, account: &str, created: i64) -> ManagedKey {
    let key = ServiceAccountKey { managed: true, ..account_key(key_id, account, created) };
    ManagedKey { key, secret: vec![48, 0, 255, b'\''] }
}

pub(crate) fn user(unique_id: &str, email: &str) -> User {
    User { unique_id: id(unique_id), email: email.parse().unwrap(), disabled: false }
}

pub(crate) fn password(text: &str) -> PasswordHash {
    PasswordHash(format!("$argon2id$v=19$m=19456,t=2,p=1${text}"))
}

pub(crate) fn client_id(text: &str) -> ClientId {
    ClientId(text.to_owned())
}

/// A web client with a secret.
pub(crate) fn client(client: &str) -> OAuthClient {
    OAuthClient {
        id: client_id(client),
        project: "123".into(),
        display_name: format!("The \"{client}\" of Zoë'; --"),
        kind: ClientKind::Web { redirect_uris: vec!["https://app.example.com/'".into()] },
        secret: Some(hash("secret")),
        created: Timestamp::from_micros(1_000_001),
    }
}

pub(crate) fn session(subjects: &[&str], expires: i64) -> SignInSession {
    let signed_in = |subject: &&str| SignedIn { subject: id(subject), auth_time: Timestamp::from_micros(5_000_001) };
    SignInSession {
        accounts: subjects.iter().map(signed_in).collect(),
        expires: at(expires),
        loopback_only: subjects.is_empty(),
    }
}

pub(crate) fn settings(clients: &[&str]) -> Settings {
    Settings {
        programmatic_clients: Some(clients.iter().map(|client| client_id(client)).collect()),
        ..Settings::default()
    }
}

/// A global backend service that is reached nowhere.
pub(crate) fn application(name: &str, service_id: &str, client: &str) -> Application {
    Application {
        name: name.parse().unwrap(),
        service_id: service_id.to_owned(),
        kind: ServiceKind::BackendService { region: None },
        client_id: client_id(client),
        iap_enabled: true,
        routes: vec![],
        upstreams: vec![],
        description: String::new(),
        labels: [].into(),
        etag: Etag(1),
    }
}

/// A place such as `https://app.example.com/prefix`.
pub(crate) fn route(url: &str) -> Route {
    let (scheme, rest) = url.split_once("://").unwrap();
    let scheme = if scheme == "http" { Scheme::Http } else { Scheme::Https };
    let (host, path) = rest.split_once('/').unwrap();
    Route { origin: Origin::new(scheme, &Host::parse(host).unwrap()), prefix: format!("/{path}").parse().unwrap() }
}

pub(crate) fn bindings(members: &[&str]) -> Vec<Binding> {
    let members = members.iter().map(|member| member.parse::<Member>().unwrap()).collect();
    vec![Binding { role: RoleName::https_resource_accessor(), members, condition: None }]
}

/// The state of a policy that was replaced.
pub(crate) fn written(write: PolicyWrite) -> Etag {
    match write {
        PolicyWrite::Written(etag) => etag,
        PolicyWrite::Conflict | PolicyWrite::Missing(_) => panic!("{write:?}"),
    }
}

pub(crate) fn key(key_id: &str, purpose: KeyPurpose, created: i64) -> StoredKey {
    StoredKey {
        id: key_id.to_owned(),
        purpose,
        secret: vec![0, 255, b'\'', 7],
        created: at(created),
        signs_from: at(created + 900),
    }
}

pub(crate) fn hash(secret: &str) -> TokenHash {
    TokenHash::of(secret)
}

pub(crate) fn grant(subject: &str, expires: i64) -> AccessGrant {
    AccessGrant { subject: Subject::Account(id(subject)), scopes: scopes(), expires: at(expires), person_grant: None }
}

pub(crate) fn scopes() -> Scopes {
    Scopes::parse("openid https://www.googleapis.com/auth/cloud-platform").unwrap()
}

/// What the person `2` allowed to a client.
pub(crate) fn person_grant(grant: &str, client: &str) -> PersonGrant {
    PersonGrant {
        id: GrantId(grant.to_owned()),
        client: client_id(client),
        subject: id("2"),
        scopes: scopes(),
        audience: Some(client_id("audience")),
        nonce: Some("n'".into()),
        offline: true,
        cred_ref: false,
        auth_time: Timestamp::from_micros(1_000_001),
        created: Timestamp::from_micros(2_000_002),
    }
}

/// An access token's grant that was issued from [`person_grant`].
pub(crate) fn access(grant: &PersonGrant, expires: i64) -> AccessGrant {
    let person_grant = Some((grant.id.clone(), grant.client.clone()));
    AccessGrant {
        subject: Subject::Account(grant.subject.clone()),
        scopes: scopes(),
        expires: at(expires),
        person_grant,
    }
}

pub(crate) fn code_grant(grant: &PersonGrant, expires: i64) -> CodeGrant {
    CodeGrant {
        grant: grant.clone(),
        redirect_uri: "http://127.0.0.1:4711/?a='".into(),
        challenge: Some(Challenge::S256("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".into())),
        expires: at(expires),
    }
}

pub(crate) fn device_grant(client: &str, expires: i64) -> DeviceGrant {
    DeviceGrant { client: client_id(client), scopes: scopes(), expires: at(expires) }
}

pub(crate) fn allowed(event_id: &str) -> AuditEvent {
    decision(
        event_id,
        Outcome::Allowed {
            binding_resource: "projects/123".into(),
            role: "roles/iap.httpsResourceAccessor".into(),
            member: "user:alice@example.com".into(),
            condition: None,
        },
    )
}

pub(crate) fn refused(event_id: &str) -> AuditEvent {
    decision(
        event_id,
        Outcome::Refused { reason: Reason::ExpiredToken, detail: "exp was 1700000000".into(), denied_by: None },
    )
}

fn decision(event_id: &str, outcome: Outcome) -> AuditEvent {
    AuditEvent::Decision(Decision {
        id: event_id.to_owned(),
        time: Timestamp::from_micros(1_700_000_000_123_456),
        resource: Some("projects/123/iap_web/compute/services/777".into()),
        caller: Some("user:alice@example.com".into()),
        outcome,
        note: None,
        method: "GET".into(),
        host: "127.0.0.1:8080".into(),
        path: "/a/'; DROP TABLE audit_event; --".into(),
        status: 200,
        latency_micros: 417,
        client: "127.0.0.1:51234".into(),
        ..Decision::default()
    })
}

pub(crate) fn token_event(event_id: &str) -> AuditEvent {
    AuditEvent::Token(TokenEvent {
        account: Some("robot@dev-project.iam.gserviceaccount.com".into()),
        client: Some("123-x.apps.googleusercontent.com".into()),
        chain: vec!["user:alice@example.com".into()],
        refused: Some("the assertion was used before".into()),
        reason: Some(TokenReason::ReplayedAssertion),
        ..TokenEvent::new(event_id.to_owned(), at(1_700_000_000), TokenMethod::JwtBearer, None)
    })
}

/// A rule that denies reading the project.
pub(crate) fn rule(denied: &[&str], exceptions: &[&str]) -> DenyRule {
    let members = |texts: &[&str]| texts.iter().map(|text| text.parse::<Member>().unwrap()).collect();
    DenyRule {
        description: "n'o".into(),
        denied_principals: members(denied),
        exception_principals: members(exceptions),
        denied_permissions: vec!["cloudresourcemanager.googleapis.com/projects.get".parse().unwrap()],
        exception_permissions: vec!["iap.googleapis.com/*.*".parse().unwrap()],
        condition: None,
    }
}

/// A deny policy of the project.
pub(crate) fn deny_policy(policy: &str, rules: &[DenyRule]) -> DenyPolicy {
    DenyPolicy {
        name: DenyPolicyName { attachment: Resource::Project, id: policy.to_owned() },
        uid: "u-1".into(),
        display_name: "No'body".into(),
        rules: rules.to_vec(),
        created: Timestamp::from_micros(1_000_001),
        updated: Timestamp::from_micros(2_000_002),
        etag: Etag::UNWRITTEN,
    }
}

/// A call of an administrative method at this time, with numbers that are hard to write.
pub(crate) fn admin(event_id: &str, seconds: i64) -> AuditEvent {
    AuditEvent::Admin(Box::new(AdminEvent {
        id: event_id.to_owned(),
        time: at(seconds),
        service: "iap.googleapis.com".into(),
        method: "google.cloud.iap.v1.IdentityAwareProxyAdminService.SetIamPolicy".into(),
        kind: AdminKind::Write,
        resource: "projects/123".into(),
        caller: None,
        peer: None,
        user_agent: None,
        permissions: vec![],
        before: Some(
            serde_json::json!({ "b": 0.1, "a": 1.234_567_890_123_456_7e-7, "c": u64::MAX, "d": "\u{0}\u{eb}" }),
        ),
        after: None,
        code: 0,
        message: String::new(),
    }))
}
