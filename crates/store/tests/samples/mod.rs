//! One of everything that a store keeps.

use doorward_core::account::{ServiceAccount, ServiceAccountKey, UniqueId, User};
use doorward_core::audit::{AuditEvent, Decision, Outcome, Reason, TokenEvent};
use doorward_core::clock::Timestamp;
use doorward_core::grant::{AccessGrant, TokenHash};
use doorward_core::keys::{KeyPurpose, StoredKey};
use doorward_core::member::Member;
use doorward_core::policy::{Binding, Role};
use doorward_core::resource::{Application, ClientId};
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
    }
}

pub(crate) fn user(unique_id: &str, email: &str) -> User {
    User { unique_id: id(unique_id), email: email.parse().unwrap(), disabled: false }
}

pub(crate) fn application(name: &str, service_id: &str, client_id: &str) -> Application {
    Application { name: name.to_owned(), service_id: service_id.to_owned(), client_id: ClientId(client_id.to_owned()) }
}

pub(crate) fn bindings(members: &[&str]) -> Vec<Binding> {
    let members = members.iter().map(|member| member.parse::<Member>().unwrap()).collect();
    vec![Binding { role: Role::HttpsResourceAccessor, members }]
}

pub(crate) fn key(key_id: &str, purpose: KeyPurpose, created: i64) -> StoredKey {
    StoredKey { id: key_id.to_owned(), purpose, secret: vec![0, 255, b'\'', 7], created: at(created) }
}

pub(crate) fn hash(secret: &str) -> TokenHash {
    TokenHash::of(secret)
}

pub(crate) fn grant(subject: &str, expires: i64) -> AccessGrant {
    let scopes = Scopes::parse("openid https://www.googleapis.com/auth/cloud-platform").unwrap();
    AccessGrant { subject: id(subject), scopes, expires: at(expires) }
}

pub(crate) fn allowed(event_id: &str) -> AuditEvent {
    decision(
        event_id,
        Outcome::Allowed {
            binding_resource: "projects/123".into(),
            role: Role::HttpsResourceAccessor.name().into(),
            member: "user:alice@example.com".into(),
        },
    )
}

pub(crate) fn refused(event_id: &str) -> AuditEvent {
    decision(event_id, Outcome::Refused { reason: Reason::ExpiredToken, detail: "exp was 1700000000".into() })
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
    })
}

pub(crate) fn token_event(event_id: &str) -> AuditEvent {
    AuditEvent::Token(TokenEvent {
        id: event_id.to_owned(),
        time: at(1_700_000_000),
        account: Some("robot@dev-project.iam.gserviceaccount.com".into()),
        issued: None,
        audience: None,
        refused: Some("the assertion was used before".into()),
    })
}
