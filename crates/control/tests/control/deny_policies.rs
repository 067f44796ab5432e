use doorward_wire::google_api::iam_deny::Policy;
use serde_json::{Value, json};

use crate::{Stack, cause};

const PROJECT: &str = "cloudresourcemanager.googleapis.com%2Fprojects%2F123";
const APP: &str = "projects/123/iap_web/compute/services/app";

fn policy(value: Value) -> Policy {
    serde_json::from_value(value).unwrap()
}

fn denying(principal: &str, permission: &str) -> Value {
    json!({"rules": [{"denyRule": {"deniedPrincipals": [principal], "deniedPermissions": [permission]}}]})
}

const ACCESS: &str = "iap.googleapis.com/webServiceVersions.accessViaIAP";

#[tokio::test]
async fn a_deny_policy_is_in_force_until_it_is_removed_and_wins_over_every_binding() {
    let stack = Stack::new().await;
    let admitting =
        json!({"bindings": [{"role": "roles/iap.httpsResourceAccessor", "members": ["user:ann@example.com"]}]});
    stack.set_policy(APP, serde_json::from_value(admitting).unwrap()).await.unwrap();
    let given = policy(json!({"displayName": "No Ann", "rules": denying("user:ann@example.com", ACCESS)["rules"]}));
    let made = stack.deny.create(&stack.admin, PROJECT, "no-ann", given).await.unwrap();
    assert!(!stack.admits("ann@example.com"));
    let name = format!("policies/{PROJECT}/denypolicies/no-ann");
    let expected = json!({
        "name": name, "uid": made.uid, "kind": "DenyPolicy", "displayName": "No Ann", "etag": made.etag,
        "createTime": "2027-01-15T08:00:00Z", "updateTime": "2027-01-15T08:00:00Z",
        "rules": [{"denyRule": {
            "deniedPrincipals": ["principal://goog/subject/ann@example.com"], "deniedPermissions": [ACCESS],
        }}],
    });
    assert_eq!(serde_json::to_value(&made).unwrap(), expected);
    assert_eq!(stack.deny.get(&stack.admin, &name).await.unwrap(), made);
    let listed = stack.deny.list(&stack.admin, PROJECT).await.unwrap();
    assert_eq!(listed, [Policy { rules: vec![], ..made.clone() }]);

    let etag = json!({"etag": made.etag, "rules": denying("user:bob@example.com", ACCESS)["rules"]});
    let changed = stack.deny.update(&stack.admin, &name, policy(etag.clone())).await.unwrap();
    assert!(stack.admits("ann@example.com"));
    assert_eq!((&changed.uid, changed.display_name.as_str()), (&made.uid, ""));
    assert_eq!(cause(&stack.deny.update(&stack.admin, &name, policy(etag)).await.unwrap_err()), "Conflict");
    let stale = stack.deny.delete(&stack.admin, &name, Some(&made.etag)).await.unwrap_err();
    assert_eq!(cause(&stale), "Conflict");
    let gone = stack.deny.delete(&stack.admin, &name, Some(&changed.etag)).await.unwrap();
    assert_eq!(gone.delete_time, "2027-01-15T08:00:00Z");
    assert_eq!(cause(&stack.deny.get(&stack.admin, &name).await.unwrap_err()), "NotFound");
}

#[tokio::test]
async fn a_deny_policy_that_cannot_be_meant_is_refused() {
    let stack = Stack::new().await;
    let ann = "user:ann@example.com";
    stack.deny.create(&stack.admin, PROJECT, "taken", policy(denying(ann, ACCESS))).await.unwrap();
    let (organization, elsewhere) = (
        "cloudresourcemanager.googleapis.com%2Forganizations%2F1",
        "cloudresourcemanager.googleapis.com%2Fprojects%2F9",
    );
    let conditional = |expression: &str| json!({"rules": [{"denyRule": {"deniedPrincipals": [ann], "deniedPermissions": [ACCESS], "denialCondition": {"expression": expression}}}]});
    #[rustfmt::skip]
    let cases = [
        (PROJECT,      "free",  denying(ann, ACCESS),                                          "ok"),
        (organization, "free",  denying("principalSet://goog/public:all", ACCESS),             "ok"),
        (PROJECT,      "cond",  conditional("request.path == '/admin'"),                       "ok"),
        (PROJECT,      "taken", denying(ann, ACCESS),                                          "AlreadyExists"),
        (elsewhere,    "free",  denying(ann, ACCESS),                                          "Policy"),
        ("projects/1", "free",  denying(ann, ACCESS),                                          "Policy"),
        (PROJECT,      "No",    denying(ann, ACCESS),                                          "Policy"),
        (PROJECT,      "bad",   conditional("request.nothing == 'x'"),                         "Policy"),
        (PROJECT,      "bad",   json!({"rules": [{"denyRule": {"deniedPrincipals": [ann]}}]}), "Policy"),
        (PROJECT,      "bad",   json!({"rules": [{"description": "none"}]}),                   "NoRule"),
        (PROJECT,      "bad",   json!({"annotations": {"a": "b"}}),                            "Annotations"),
        (PROJECT,      "bad",   json!({"displayName": "x".repeat(64)}),                        "TextTooLong"),
        (PROJECT,      "bad",   denying("principalSet://goog/cloudIdentityCustomerId/C1", ACCESS), "Principal"),
        (PROJECT,      "bad",   denying("ann", ACCESS),                                        "Principal"),
        (PROJECT,      "bad",   denying("principalSet://goog/group/g@x.com", ACCESS),          "UnknownPrincipal"),
        (PROJECT,      "bad",   denying(ann, "iap.webServiceVersions.accessViaIAP"),           "Permission"),
        (PROJECT,      "bad",   denying(ann, "iap.googleapis.com/nothing.get"),                "Permission"),
    ];
    for (at, id, given, expected) in cases {
        let outcome = stack.deny.create(&stack.admin, at, id, policy(given.clone())).await;
        assert_eq!(outcome.map_or_else(|error| cause(&error), |_| "ok".to_owned()), expected, "{at} {id} {given}");
    }
}
