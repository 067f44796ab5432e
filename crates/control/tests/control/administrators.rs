use std::sync::Arc;
use std::time::Duration;

use doorward_control::administrators::Administrators;
use doorward_core::account::UniqueId;
use doorward_core::clock::{ManualClock, Timestamp};
use doorward_core::grant::{AccessGrant, TokenHash};
use doorward_core::store::Store;
use doorward_store::SqliteStore;
use doorward_wire::oauth::Scopes;

use crate::{START, cause};

#[tokio::test]
async fn only_the_bearer_of_the_administration_token_is_an_administrator() {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::in_memory().await.unwrap());
    let now = Timestamp::from_seconds(START);
    let clock = Arc::new(ManualClock::at(now));
    let grant = AccessGrant {
        subject: UniqueId("123456789012345678901".to_owned()),
        scopes: Scopes::parse("https://www.googleapis.com/auth/cloud-platform").unwrap(),
        expires: now + Duration::from_secs(10),
    };
    store.add_access_token(&TokenHash::of("doorward_at_x"), &grant, now).await.unwrap();
    let administrators = Administrators::new(TokenHash::of("doorward_admin_x"), store, clock.clone());
    let outcome = async |bearer| match administrators.authenticate(bearer).await {
        Ok(_) => "Administrator".to_owned(),
        Err(error) => cause(&error),
    };
    let hash = TokenHash::of("doorward_admin_x").0;
    #[rustfmt::skip]
    let cases = [
        (Some("doorward_admin_x"),  "Administrator"),
        (Some("doorward_at_x"),     "Forbidden"),
        (Some("doorward_admin_y"),  "Invalid"),
        (Some("doorward_admin_x "), "Invalid"),
        (Some(hash.as_str()),       "Invalid"),
        (Some(""),                  "Invalid"),
        (None,                      "Missing"),
    ];
    for (bearer, expected) in cases {
        assert_eq!(outcome(bearer).await, expected, "{bearer:?}");
    }
    clock.advance(Duration::from_secs(10));
    assert_eq!(outcome(Some("doorward_at_x")).await, "Invalid", "an access token that has ended proves nobody");
}
