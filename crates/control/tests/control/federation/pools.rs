use std::sync::Arc;

use doorward_control::workload_identity::WorkloadIdentity;
use doorward_core::federation::{Pool, Provider};
use doorward_core::outbound::Reach;
use doorward_core::store::Added;
use doorward_wire::google_api::{Policy, WorkloadIdentityPool, WorkloadIdentityPoolProvider};
use serde_json::{Value, json};

use super::{ELSEWHERE, Federation, Key, PROVIDER, key_document, pools, provider, provider_with};
use crate::robots::with;
use crate::{Stack, cause};

const POOL_NAME: &str = "projects/123/locations/global/workloadIdentityPools/ci-pool";

fn pool(value: Value) -> WorkloadIdentityPool {
    serde_json::from_value(value).unwrap()
}

fn shown<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap()
}

#[tokio::test]
async fn pools_and_providers_are_shown_as_google_shows_them() {
    let federation = Federation::empty().await;
    let (pools, admin) = (&federation.pools, &federation.stack.admin);
    let given = pool(json!({"name": "x", "state": "y", "displayName": "CI", "description": "Pipelines"}));
    let made = pools.create_pool(admin, "dev-project", "ci-pool", given).await.unwrap();
    let expected = json!({"name": POOL_NAME, "state": "ACTIVE", "displayName": "CI", "description": "Pipelines"});
    assert_eq!(shown(&made), expected);
    assert_eq!(shown(&pools.pool(admin, "123", "ci-pool").await.unwrap()), expected);
    assert_eq!(shown(&pools.pools(admin, "123").await.unwrap()), json!([expected]));

    let of_pool = ("ci-pool", "ci-runner");
    let made = pools.create_provider(admin, "123", of_pool, provider_with(&json!({}))).await.unwrap();
    let expected = with(provider(), &json!({"name": PROVIDER, "state": "ACTIVE"}));
    assert_eq!(shown(&made), expected);
    assert_eq!(shown(&pools.provider(admin, "123", of_pool).await.unwrap()), expected);
    assert_eq!(shown(&pools.providers(admin, "123", "ci-pool").await.unwrap()), json!([expected]));

    let again = pools.create_provider(admin, "123", of_pool, provider_with(&json!({}))).await.unwrap_err();
    assert_eq!(again.to_string(), format!("{PROVIDER} exists"));
    let again = pools.create_pool(admin, "123", "ci-pool", pool(json!({}))).await.unwrap_err();
    assert_eq!(again.to_string(), format!("{POOL_NAME} exists"));

    let gone = pools.delete_provider(admin, "123", of_pool).await.unwrap();
    assert_eq!(shown(&gone), with(expected, &json!({"state": "DELETED"})));
    assert_eq!(pools.delete_pool(admin, "123", "ci-pool").await.unwrap().state, "DELETED");
    assert_eq!(shown(&pools.pools(admin, "123").await.unwrap()), json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_two_instances_change_of_a_pool_at_once_is_there_afterwards() {
    let federation = Federation::empty().await;
    let (stack, first) = (&federation.stack, &federation.pools);
    let other = stack.other().await;
    let (changes, own) = (stack.changes_at(&other), vec![]);
    let second = WorkloadIdentity::new(stack.store.clone(), other, changes, stack.entropy.clone(), own, Reach::Public);
    for round in 0..30 {
        let id = &format!("pool-{round}");
        federation.create_pool(id).await;
        let update = async |at: &WorkloadIdentity, given: Value, mask: &str| {
            at.update_pool(&stack.admin, "123", id, pool(given), Some(mask)).await.unwrap()
        };
        tokio::join!(
            update(first, json!({"disabled": true}), "disabled"),
            update(&second, json!({"displayName": "Name"}), "displayName"),
            update(&second, json!({"description": "Text"}), "description"),
        );
        let left = first.pool(&stack.admin, "123", id).await.unwrap();
        let found = (left.disabled, &*left.display_name, &*left.description);
        assert_eq!(found, (true, "Name", "Text"), "round {round}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_what_has_no_name_is_not_made() {
    let federation = Federation::new().await;
    let (it, admin) = (&federation.pools, &federation.stack.admin);
    federation.create_pool("empty-pool").await;
    let given = || provider_with(&json!({}));
    #[rustfmt::skip]
    let outcomes = [
        it.pool(admin, "other", "ci-pool").await.err(),
        it.pool(admin, "-", "ci-pool").await.err(),
        it.pool(admin, "123", "no-pool").await.err(),
        it.pools(admin, "other").await.err(),
        it.create_pool(admin, "other", "new-pool", pool(json!({}))).await.err(),
        it.update_pool(admin, "123", "no-pool", pool(json!({})), None).await.err(),
        it.delete_pool(admin, "123", "no-pool").await.err(),
        it.provider(admin, "123", ("empty-pool", "ci-runner")).await.err(),
        it.provider(admin, "123", ("ci-pool", "nobody")).await.err(),
        it.providers(admin, "123", "no-pool").await.err(),
        it.create_provider(admin, "123", ("no-pool", "ci-runner"), given()).await.err(),
        it.update_provider(admin, "123", ("ci-pool", "nobody"), given(), None).await.err(),
        it.delete_provider(admin, "123", ("empty-pool", "ci-runner")).await.err(),
    ];
    for (row, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(cause(&outcome.unwrap()), "NotFound", "row {row}");
    }
    for id in ["", "abc", "gcp-pool", "Pool", "a_pool", "päule", &"a".repeat(33), "ci/pool"] {
        let made = it.create_pool(admin, "123", id, pool(json!({}))).await;
        assert_eq!(cause(&made.unwrap_err()), "Id", "{id}");
        let made = it.create_provider(admin, "123", ("empty-pool", id), given()).await;
        assert_eq!(cause(&made.unwrap_err()), "Id", "{id}");
    }
    let texts = [
        (json!({"displayName": "d".repeat(32)}), "ok"),
        (json!({"displayName": "é".repeat(32), "description": "é".repeat(256)}), "ok"),
        (json!({"displayName": "d".repeat(33)}), "TextTooLong"),
        (json!({"description": "d".repeat(257)}), "TextTooLong"),
        (json!({"displayName": "a\u{1b}[1m"}), "Text"),
    ];
    for (row, (given, expected)) in texts.into_iter().enumerate() {
        let made = it.create_pool(admin, "123", &format!("pool-{row}"), pool(given)).await;
        assert_eq!(made.map_or_else(|error| cause(&error), |_| "ok".to_owned()), expected, "row {row}");
    }
}

#[tokio::test]
async fn a_provider_that_could_not_be_trusted_or_understood_is_not_made() {
    let federation = Federation::empty().await;
    federation.create_pool("ci-pool").await;
    let issuer = |issuer: &str| json!({"oidc": {"issuerUri": issuer}});
    let local = |issuer: &str| json!({"oidc": {"issuerUri": issuer, "insecureLoopback": true}});
    let audiences = |list: Vec<String>| json!({"oidc": {"issuerUri": ELSEWHERE, "allowedAudiences": list}});
    let keys = |document: &str| json!({"oidc": {"issuerUri": ELSEWHERE, "jwksJson": document}});
    let mapping = |mapping: Value| json!({"attributeMapping": mapping});
    let key = Key::es256("k1");
    let document = key_document(&[&key]);
    let unnamed = json!({"keys": [with(document["keys"][0].clone(), &json!({"kid": null}))]});
    let for_encryption = json!({"keys": [with(document["keys"][0].clone(), &json!({"use": "enc"}))]});
    let beside = json!({"keys": [{"kty": "oct", "kid": "x"}, document["keys"][0]]});
    let padded = format!("{document}{}", " ".repeat(64 * 1024));
    #[rustfmt::skip]
    let cases = [
        (json!({}),                                             "ok",            "ok"),
        (json!({"displayName": "d".repeat(33)}),                "TextTooLong",   "TextTooLong"),
        (json!({"description": "d".repeat(257)}),               "TextTooLong",   "TextTooLong"),
        (json!({"oidc": null}),                                 "NoIssuer",      "NoIssuer"),
        (issuer(""),                                            "NoIssuer",      "NoIssuer"),
        (json!({"oidc": null, "aws": {"accountId": "1"}}),      "NotServed",     "NotServed"),
        (json!({"saml": {}}),                                   "NotServed",     "NotServed"),
        (json!({"x509": {}}),                                   "NotServed",     "NotServed"),
        (issuer("https://a.example/path/"),                     "ok",            "ok"),
        (issuer("https://a.example:8443"),                      "ok",            "ok"),
        (issuer("http://a.example"),                            "Issuer",        "Issuer"),
        (issuer("http://127.0.0.1:9000"),                       "Issuer",        "Issuer"),
        (issuer("ftp://a.example"),                             "Issuer",        "Issuer"),
        (issuer("a.example"),                                   "Issuer",        "Issuer"),
        (issuer("https://"),                                    "Issuer",        "Issuer"),
        (issuer("https:///a"),                                  "Issuer",        "Issuer"),
        (issuer("https://a.example?x=y"),                       "Issuer",        "Issuer"),
        (issuer("https://a.example#x"),                         "Issuer",        "Issuer"),
        (issuer("https://user@a.example"),                      "Issuer",        "Issuer"),
        (issuer("https://a.example/ö"),                         "Issuer",        "Issuer"),
        (issuer("https://a.example "),                          "Issuer",        "Issuer"),
        (issuer(&format!("https://a.example/{}", "p".repeat(2000))), "Issuer",   "Issuer"),
        (local("http://127.0.0.1:9000"),                        "ok",            "LoopbackForbidden"),
        (local("http://127.9.9.9"),                             "ok",            "LoopbackForbidden"),
        (local("http://localhost:9000/x"),                      "ok",            "LoopbackForbidden"),
        (local("http://[::1]:9000"),                            "ok",            "LoopbackForbidden"),
        (local("https://a.example"),                            "ok",            "LoopbackForbidden"),
        (local("http://a.example"),                             "Issuer",        "LoopbackForbidden"),
        (local("http://127.0.0.1.evil.example"),                "Issuer",        "LoopbackForbidden"),
        (local("http://localhost.evil.example"),                "Issuer",        "LoopbackForbidden"),
        (local("http://10.0.0.1"),                              "Issuer",        "LoopbackForbidden"),
        (local("http://0.0.0.0"),                               "Issuer",        "LoopbackForbidden"),
        (issuer("https://accounts.google.com"),                 "OwnIssuer",     "OwnIssuer"),
        (issuer("https://accounts.google.com/"),                "OwnIssuer",     "OwnIssuer"),
        (issuer("https://Accounts.Google.com"),                 "OwnIssuer",     "OwnIssuer"),
        (issuer("accounts.google.com"),                         "OwnIssuer",     "OwnIssuer"),
        (local("http://127.0.0.1:8081"),                        "OwnIssuer",     "LoopbackForbidden"),
        (audiences(vec!["a".repeat(256); 10]),                  "ok",            "ok"),
        (audiences(vec!["a".repeat(257)]),                      "Audiences",     "Audiences"),
        (audiences(vec![String::new()]),                        "Audiences",     "Audiences"),
        (audiences(vec!["a".to_owned(); 11]),                   "Audiences",     "Audiences"),
        (keys(&document.to_string()),                           "ok",            "ok"),
        (keys(&beside.to_string()),                             "ok",            "ok"),
        (keys(""),                                              "ok",            "ok"),
        (keys("{\"keys\": []}"),                                "KeyDocument",   "KeyDocument"),
        (keys("{}"),                                            "KeyDocument",   "KeyDocument"),
        (keys("keys"),                                          "KeyDocument",   "KeyDocument"),
        (keys(&unnamed.to_string()),                            "KeyDocument",   "KeyDocument"),
        (keys(&for_encryption.to_string()),                     "KeyDocument",   "KeyDocument"),
        (keys(&padded),                                         "KeyDocument",   "KeyDocument"),
        (mapping(json!(null)),                                  "Mapping",       "Mapping"),
        (mapping(json!({"attribute.a": "assertion.a"})),        "Mapping",       "Mapping"),
        (mapping(json!({"google.subject": "assertion.sub", "attribute.A": "'x'"})), "Mapping", "Mapping"),
        (mapping(json!({"google.subject": "assertion.sub +"})), "Mapping",       "Mapping"),
        (mapping(json!({"google.subject": "request.sub"})),     "Mapping",       "Mapping"),
        (json!({"attributeCondition": "assertion.a =="}),       "Mapping",       "Mapping"),
        (json!({"attributeCondition": "'not a bool'"}),         "Mapping",       "Mapping"),
        (json!({"attributeCondition": ""}),                     "ok",            "ok"),
    ];
    let strict = pools(&federation.stack, Reach::Public);
    let admin = &federation.stack.admin;
    for (changes, loose_outcome, strict_outcome) in cases {
        let shown: String = changes.to_string().chars().take(100).collect();
        for (service, expected) in [(&federation.pools, loose_outcome), (&strict, strict_outcome)] {
            let named = ("ci-pool", "provider");
            let made = service.create_provider(admin, "123", named, provider_with(&changes)).await;
            if made.is_ok() {
                service.delete_provider(admin, "123", named).await.unwrap();
            }
            assert_eq!(made.map_or_else(|error| cause(&error), |_| "ok".to_owned()), expected, "{shown}");
        }
    }
    let broken = provider_with(&json!({"attributeMapping": {"google.subject": "assertion.sub", "attribute.x": "1 +"}}));
    let told = federation.pools.create_provider(admin, "123", ("ci-pool", "broken"), broken).await.unwrap_err();
    let told = told.to_string();
    assert!(told.starts_with("attribute.x: ") && told.contains("at column "), "{told}");
}

#[tokio::test]
async fn a_mask_says_what_is_changed_and_without_one_what_is_set() {
    #[rustfmt::skip]
    let cases = [
        (Some("displayName"),        json!({"displayName": "New", "disabled": true}), json!({"displayName": "New"})),
        (Some("display_name"),       json!({"displayName": ""}),                      json!({"displayName": null})),
        (Some("description,disabled"), json!({"disabled": true}),                     json!({"disabled": true})),
        (Some("attributeCondition"), json!({}),                                       json!({"attributeCondition": null})),
        (Some("attribute_mapping"),  json!({"attributeMapping": {"google.subject": "assertion.jti"}}),
                                     json!({"attributeMapping": {"google.subject": "assertion.jti"}})),
        (Some("oidc.issuerUri"),     json!({"oidc": {"issuerUri": "https://b.example", "allowedAudiences": ["x"]}}),
                                     json!({"oidc": {"issuerUri": "https://b.example"}})),
        (Some("oidc.allowed_audiences, description"), json!({"oidc": {"allowedAudiences": ["x"]}}),
                                     json!({"oidc": {"issuerUri": ELSEWHERE, "allowedAudiences": ["x"]}})),
        (Some("oidc"),               json!({"oidc": {"issuerUri": "https://b.example", "allowedAudiences": ["x"]}}),
                                     json!({"oidc": {"issuerUri": "https://b.example", "allowedAudiences": ["x"]}})),
        (None,                       json!({"displayName": "New"}),                   json!({"displayName": "New"})),
        (None,                       json!({}),                                       json!({})),
        (Some(""),                   json!({"disabled": true}),                       json!({"disabled": true})),
        (None,                       json!({"oidc": {"allowedAudiences": ["x"]}}),
                                     json!({"oidc": {"issuerUri": ELSEWHERE, "allowedAudiences": ["x"]}})),
    ];
    for (mask, change, expected) in cases {
        let federation = Federation::new().await;
        let (it, admin) = (&federation.pools, &federation.stack.admin);
        let given: WorkloadIdentityPoolProvider = serde_json::from_value(change.clone()).unwrap();
        let named = ("ci-pool", "ci-runner");
        let changed = it.update_provider(admin, "123", named, given, mask).await.unwrap();
        let before = with(provider(), &json!({"name": PROVIDER, "state": "ACTIVE"}));
        assert_eq!(shown(&changed), with(before, &expected), "{mask:?} {change}");
        assert_eq!(shown(&it.provider(admin, "123", named).await.unwrap()), shown(&changed));
    }
    let federation = Federation::new().await;
    let (it, admin) = (&federation.pools, &federation.stack.admin);
    let named = ("ci-pool", "ci-runner");
    #[rustfmt::skip]
    let refused = [
        (Some("name"),            json!({}),                             "Mask"),
        (Some("oidc.x"),          json!({}),                             "Mask"),
        (Some("displayName,"),    json!({}),                             "Mask"),
        (Some("*"),               json!({}),                             "NoIssuer"),
        (Some("oidc"),            json!({}),                             "NoIssuer"),
        (Some("attributeMapping"), json!({}),                            "Mapping"),
        (Some("displayName"),     json!({"aws": {}}),                    "NotServed"),
        (None,                    json!({"oidc": {"issuerUri": "x"}}),   "Issuer"),
    ];
    for (mask, change, expected) in refused {
        let given: WorkloadIdentityPoolProvider = serde_json::from_value(change).unwrap();
        let outcome = it.update_provider(admin, "123", named, given, mask).await;
        assert_eq!(cause(&outcome.unwrap_err()), expected, "{mask:?}");
    }
    #[rustfmt::skip]
    let of_pools = [
        (Some("disabled"),    json!({"disabled": true}),                     json!({"disabled": true})),
        (None,                json!({"displayName": "New"}),                 json!({"displayName": "New", "disabled": true})),
        (Some("*"),           json!({"description": "All"}),                 json!({"description": "All"})),
        (Some("displayName"), json!({"displayName": "N", "disabled": true}), json!({"displayName": "N", "description": "All"})),
    ];
    for (mask, change, expected) in of_pools {
        let changed = it.update_pool(admin, "123", "ci-pool", pool(change), mask).await.unwrap();
        let expected = with(expected, &json!({"name": POOL_NAME, "state": "ACTIVE"}));
        assert_eq!(shown(&changed), expected, "{mask:?}");
    }
    let outcome = it.update_pool(admin, "123", "ci-pool", pool(json!({})), Some("oidc")).await;
    assert_eq!(cause(&outcome.unwrap_err()), "Mask");
}

#[tokio::test]
async fn two_who_change_different_fields_at_once_both_succeed() {
    let federation = Federation::new().await;
    let (it, admin) = (&federation.pools, &federation.stack.admin);
    let named = ("ci-pool", "ci-runner");
    let change = |value: Value| serde_json::from_value::<WorkloadIdentityPoolProvider>(value).unwrap();
    let name = it.update_provider(admin, "123", named, change(json!({"displayName": "New"})), None);
    let text = it.update_provider(admin, "123", named, change(json!({"description": "Text"})), None);
    let (name, text) = tokio::join!(name, text);
    name.unwrap();
    text.unwrap();
    let after = it.provider(admin, "123", named).await.unwrap();
    assert_eq!((after.display_name.as_str(), after.description.as_str()), ("New", "Text"));
}

#[tokio::test]
async fn providers_that_are_made_are_in_force_when_the_answer_is_given() {
    let stack = Stack::new().await;
    let it = pools(&stack, Reach::Public);
    let provider = || stack.publisher.cell().current().provider(PROVIDER).is_some();
    it.create_pool(&stack.admin, "123", "ci-pool", pool(json!({}))).await.unwrap();
    it.create_provider(&stack.admin, "123", ("ci-pool", "ci-runner"), provider_with(&json!({}))).await.unwrap();
    assert!(provider());
    it.delete_pool(&stack.admin, "123", "ci-pool").await.unwrap();
    assert!(!provider());
}

#[tokio::test]
async fn a_project_has_a_hundred_pools_and_two_hundred_providers_at_most() {
    let federation = Federation::new().await;
    let (it, admin, store) = (&federation.pools, &federation.stack.admin, &federation.stack.store);
    let [first] = &store.providers().await.unwrap()[..] else { panic!("one provider") };
    for n in 1..200 {
        let id = format!("of-store-{n}").parse().unwrap();
        assert_eq!(store.add_provider(&Provider { id, ..first.clone() }).await.unwrap(), Added::Yes);
    }
    let of_pool = |id: &str| Pool {
        id: id.parse().unwrap(),
        display_name: String::new(),
        description: String::new(),
        disabled: false,
    };
    for n in 1..100 {
        assert_eq!(store.add_pool(&of_pool(&format!("of-store-{n}"))).await.unwrap(), Added::Yes);
    }
    let pools = it.create_pool(admin, "123", "one-more", pool(json!({}))).await.unwrap_err();
    assert_eq!((cause(&pools).as_str(), pools.to_string().as_str()), ("TooMany", "a project has at most 100 pools"));
    let given = provider_with(&json!({}));
    let providers = it.create_provider(admin, "123", ("of-store-1", "one-more"), given).await.unwrap_err();
    assert_eq!(providers.to_string(), "a project has at most 200 providers");

    it.delete_provider(admin, "123", ("ci-pool", "ci-runner")).await.unwrap();
    let given = provider_with(&json!({}));
    it.create_provider(admin, "123", ("of-store-1", "one-more"), given).await.unwrap();
    it.delete_pool(admin, "123", "of-store-1").await.unwrap();
    it.create_pool(admin, "123", "one-more", pool(json!({}))).await.unwrap();
}

#[tokio::test]
async fn a_mapping_is_compiled_when_its_text_changes_and_not_with_every_change_of_something_else() {
    let federation = Federation::new().await;
    federation.create_provider("other", &json!({})).await;
    let (stack, other) = (&federation.stack, PROVIDER.replace("ci-runner", "other"));
    let compiled = |name: &str| stack.publisher.cell().current().provider(name).unwrap().mapping.clone();
    let (first, second) = (compiled(PROVIDER), compiled(&other));
    stack.set_policy("projects/123", Policy::default()).await.unwrap();
    federation.update_provider(json!({"description": "Text"}), "description").await;
    assert!(Arc::ptr_eq(&first, &compiled(PROVIDER)) && Arc::ptr_eq(&second, &compiled(&other)));

    #[rustfmt::skip]
    let changes = [
        ("attributeCondition", json!({"attributeCondition": "true"})),
        ("attributeMapping",   json!({"attributeMapping": {"google.subject": "assertion.jti"}})),
    ];
    for (mask, change) in changes {
        let before = compiled(PROVIDER);
        federation.update_provider(change, mask).await;
        assert!(compiled(PROVIDER) != before, "{mask}");
        assert!(Arc::ptr_eq(&second, &compiled(&other)), "{mask}");
    }
}
