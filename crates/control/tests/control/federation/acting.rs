//! What identities from elsewhere may do: act as the accounts that let them.

use std::time::Duration;

use doorward_wire::google_api::WorkloadIdentityPool;
use doorward_wire::iam_credentials::GenerateIdTokenRequest;
use serde_json::json;

use super::{Federation, POOL};
use crate::iam_credentials::WORKLOAD_USER;
use crate::{APP_CLIENT, PEER, cause};

const TARGET: &str = "projects/-/serviceAccounts/target1@dev-project.iam.gserviceaccount.com";

impl Federation {
    /// What came of asking for an ID token of the target with this bearer.
    async fn act(&self, bearer: &str) -> String {
        let caller = match self.stack.callers().account(Some(bearer), "iamcredentials.googleapis.com").await {
            Ok(caller) => caller,
            Err(error) => return cause(&error),
        };
        let request = GenerateIdTokenRequest { audience: APP_CLIENT.to_owned(), ..Default::default() };
        match self.stack.credentials.generate_id_token(&caller, TARGET, request, PEER).await {
            Ok(_) => "ok".to_owned(),
            Err(error) => cause(&error),
        }
    }
}

#[tokio::test]
async fn an_identity_acts_as_the_accounts_whose_policies_name_it_or_a_set_of_which_it_is_one() {
    let federation = Federation::new().await;
    let target = federation.stack.create_account("target1").await;
    let token = federation.federated(&json!({"sub": "runner"})).await;
    let of = |kind: &str, rest: &str| format!("{kind}:{POOL}/{rest}");
    #[rustfmt::skip]
    let cases = [
        (of("principal", "subject/runner"),                     "ok"),
        (of("principalSet", "group/ops"),                       "ok"),
        (of("principalSet", "attribute.repository/octo/app"),   "ok"),
        (of("principalSet", "*"),                               "ok"),
        (of("principal", "subject/Runner"),                     "Denied"),
        (of("principal", "subject/runner2"),                    "Denied"),
        (of("principalSet", "group/admin"),                     "Denied"),
        (of("principalSet", "attribute.repository/octo"),       "Denied"),
        (of("principalSet", "attribute.repo/octo/app"),         "Denied"),
        (of("principalSet", "*").replace("ci-pool", "ci-pool2"), "Denied"),
        (of("principal", "subject/runner").replace("123", "124"), "Denied"),
        ("principal://doorward/trustedIssuers/ci-pool/subject/runner".to_owned(), "Denied"),
        ("user:runner@example.com".to_owned(),                  "Denied"),
        ("allAuthenticatedUsers".to_owned(),                    "Denied"),
    ];
    for (member, expected) in cases {
        for on in [Some(&target.unique_id), None] {
            federation.stack.let_act(on, WORKLOAD_USER, &[&member]).await;
            assert_eq!(federation.act(&token).await, expected, "{member}");
            federation.stack.let_act(on, WORKLOAD_USER, &[]).await;
        }
    }
    federation.stack.let_act(None, WORKLOAD_USER, &[&of("principal", "subject/runner")]).await;
    assert_eq!(federation.act(&token).await, "ok");
    let event = federation.stack.last_event();
    assert_eq!(event.chain, [of("principal", "subject/runner")]);
}

#[tokio::test]
async fn a_federated_token_is_good_for_its_scopes_its_time_and_nothing_but_iam() {
    let federation = Federation::new().await;
    federation.stack.create_account("target1").await;
    let everybody = format!("principalSet:{POOL}/*");
    federation.stack.let_act(None, WORKLOAD_USER, &[&everybody]).await;
    let mut narrow = super::request(federation.key.token(&super::claims()));
    narrow.scope = Some("openid email".to_owned());
    let narrow = federation.redeem(narrow).await.unwrap().token;
    assert_eq!(federation.act(&narrow).await, "InsufficientScope");
    assert_eq!(federation.stack.last_reason(), "insufficient_scope");

    let token = federation.federated(&json!({})).await;
    assert_eq!(federation.act(&token).await, "ok");
    let told = federation.stack.tokens.user_info(Some(&token), PEER).await;
    assert_eq!(cause(&told.err().unwrap()), "Invalid");
    let stack = &federation.stack;
    let admin = stack.callers().admin(Some(&token), "iam.googleapis.com", PEER, None).await.unwrap();
    assert_eq!(admin.member(), format!("principal:{POOL}/subject/repo:octo/app:ref:refs/heads/main"));
    let outcome = stack.policies.get(&admin, "projects/123", 3).await;
    assert_eq!(cause(&outcome.unwrap_err()), "Forbidden", "it holds nothing else");
    federation.stack.clock.advance(Duration::from_secs(3599));
    assert_eq!(federation.act(&token).await, "ok");
    federation.stack.clock.advance(Duration::from_secs(1));
    assert_eq!(federation.act(&token).await, "Invalid");
}

#[tokio::test]
async fn whatever_ends_a_provider_ends_what_was_issued_by_it() {
    type Ending = (&'static str, bool);
    let endings: [Ending; 7] = [
        ("provider disabled", false),
        ("pool disabled", false),
        ("condition changed", true),
        ("mapping changed", true),
        ("provider deleted", false),
        ("pool deleted", false),
        ("provider deleted and made again", true),
    ];
    for (ending, issues_again) in endings {
        let federation = Federation::new().await;
        let (pools, admin) = (&federation.pools, &federation.stack.admin);
        federation.stack.create_account("target1").await;
        let everybody = format!("principalSet:{POOL}/*");
        federation.stack.let_act(None, WORKLOAD_USER, &[&everybody]).await;
        let token = federation.federated(&json!({})).await;
        assert_eq!(federation.act(&token).await, "ok", "{ending}");
        let named = ("ci-pool", "ci-runner");
        match ending {
            "provider disabled" => federation.update_provider(json!({"disabled": true}), "disabled").await,
            "pool disabled" => {
                let disabled = WorkloadIdentityPool { disabled: true, ..Default::default() };
                pools.update_pool(admin, "123", "ci-pool", disabled, None).await.unwrap();
            }
            "condition changed" => {
                let condition = json!({"attributeCondition": "assertion.repository == 'octo/app'"});
                federation.update_provider(condition, "attributeCondition").await;
            }
            "mapping changed" => {
                let mapping = json!({"attributeMapping": {"google.subject": "assertion.repository"}});
                federation.update_provider(mapping, "attributeMapping").await;
            }
            "pool deleted" => drop(pools.delete_pool(admin, "123", "ci-pool").await.unwrap()),
            _ => {
                pools.delete_provider(admin, "123", named).await.unwrap();
                if issues_again {
                    federation.create_provider("ci-runner", &json!({})).await;
                }
            }
        }
        assert_eq!(federation.act(&token).await, "Invalid", "{ending}");
        let outcome = federation.outcome(federation.key.token(&super::claims())).await;
        let expected = if issues_again { ("ok", "") } else { ("UnknownProvider", "unknown_provider") };
        assert_eq!((outcome.0.as_str(), outcome.1), expected, "{ending}");
    }
}

#[tokio::test]
async fn a_pool_that_is_enabled_again_has_its_tokens_again_and_a_provider_has_not() {
    let federation = Federation::new().await;
    let (pools, admin) = (&federation.pools, &federation.stack.admin);
    federation.stack.create_account("target1").await;
    federation.stack.let_act(None, WORKLOAD_USER, &[&format!("principalSet:{POOL}/*")]).await;
    let token = federation.federated(&json!({})).await;
    for (disabled, expected) in [(true, "Invalid"), (false, "ok")] {
        let change = WorkloadIdentityPool { disabled, ..Default::default() };
        pools.update_pool(admin, "123", "ci-pool", change, Some("disabled")).await.unwrap();
        assert_eq!(federation.act(&token).await, expected, "pool disabled: {disabled}");
    }
    for disabled in [true, false] {
        federation.update_provider(json!({"disabled": disabled}), "disabled").await;
        assert_eq!(federation.act(&token).await, "Invalid", "provider disabled: {disabled}");
    }
}
