use doorward_control::access_levels::AccessLevelService;
use doorward_wire::doorward_api::AccessLevelResource;
use serde_json::{Value, json};

use crate::{Stack, cause};

fn level(name: &str, rest: Value) -> AccessLevelResource {
    let mut whole = json!({"name": format!("accessPolicies/123/accessLevels/{name}"), "title": "T"});
    whole.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    serde_json::from_value(whole).unwrap()
}

fn ranges(range: &str) -> Value {
    json!({"basic": {"ipSubnetworks": [range]}})
}

#[tokio::test]
async fn levels_are_made_changed_and_removed_as_long_as_they_fit_together() {
    let stack = Stack::new().await;
    let office = level("office", ranges("192.0.2.0/24"));
    assert_eq!(stack.levels.create(&stack.admin, office.clone()).await.unwrap(), office);
    let expression = json!({"custom": {"expr": {"expression": "request.auth.strength >= 2"}}});
    let strong = level("strong", expression);
    assert_eq!(stack.levels.create(&stack.admin, strong.clone()).await.unwrap(), strong);
    let both = level("both", json!({"basic": {"requiredAccessLevels": [office.name, strong.name]}}));
    stack.levels.create(&stack.admin, both.clone()).await.unwrap();
    let known = || stack.publisher.cell().current().access_levels.levels().len();
    assert_eq!(known(), 3);
    let listed = stack.levels.list(&stack.admin).await.unwrap().access_levels;
    assert_eq!(listed, [both.clone(), office.clone(), strong.clone()]);

    assert_eq!(cause(&stack.levels.delete(&stack.admin, &office.name).await.unwrap_err()), "InUse");
    let circle = level("office", json!({"basic": {"requiredAccessLevels": [both.name]}}));
    assert_eq!(cause(&stack.levels.update(&stack.admin, circle).await.unwrap_err()), "Level");
    let moved = level("office", ranges("198.51.100.0/24"));
    stack.levels.update(&stack.admin, moved.clone()).await.unwrap();
    assert_eq!(stack.levels.get(&stack.admin, &office.name).await.unwrap(), moved);
    stack.levels.delete(&stack.admin, &both.name).await.unwrap();
    stack.levels.delete(&stack.admin, &office.name).await.unwrap();
    assert_eq!(known(), 1);
    assert_eq!(cause(&stack.levels.delete(&stack.admin, &office.name).await.unwrap_err()), "NotFound");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_two_instances_write_at_once_fits_together() {
    let stack = Stack::new().await;
    let other = stack.other().await;
    let changes = stack.changes_at(&other);
    let second = AccessLevelService::new(stack.store.clone(), other, changes);
    for round in 0..30 {
        let base = level(&format!("base{round}"), ranges("192.0.2.0/24"));
        let above = level(&format!("above{round}"), json!({"basic": {"requiredAccessLevels": [base.name]}}));
        stack.levels.create(&stack.admin, base.clone()).await.unwrap();
        let (made, removed) =
            tokio::join!(stack.levels.create(&stack.admin, above.clone()), second.delete(&stack.admin, &base.name),);
        let outcome = (made.as_ref().err().map(cause), removed.as_ref().err().map(cause));
        let (made, removed) = (outcome.0.as_deref(), outcome.1.as_deref());
        assert!(matches!((made, removed), (None, Some("InUse")) | (Some("Level"), None)), "{made:?} {removed:?}");
    }
}

#[tokio::test]
async fn a_level_that_cannot_be_meant_is_refused() {
    let stack = Stack::new().await;
    stack.levels.create(&stack.admin, level("taken", ranges("192.0.2.0/24"))).await.unwrap();
    let custom = |expression: &str| json!({"custom": {"expr": {"expression": expression}}});
    let elsewhere =
        AccessLevelResource { name: "accessPolicies/9/accessLevels/a".into(), ..level("a", ranges("::/0")) };
    #[rustfmt::skip]
    let cases = [
        (level("taken", ranges("192.0.2.0/24")),                                      "AlreadyExists"),
        (level("1", ranges("192.0.2.0/24")),                                          "Level"),
        (elsewhere,                                                                   "Elsewhere"),
        (level("a", json!({})),                                                       "Form"),
        (level("a", json!({"basic": {}, "custom": {"expr": {"expression": "true"}}})), "Form"),
        (level("a", json!({"basic": {}})),                                            "Level"),
        (level("a", ranges("192.0.2.1/24")),                                          "Level"),
        (level("a", json!({"basic": {"members": ["ann"]}})),                          "Member"),
        (level("a", json!({"basic": {"members": ["group:g@x.com"]}})),                "Level"),
        (level("a", json!({"basic": {"requiredAccessLevels": ["accessPolicies/123/accessLevels/none"]}})), "Level"),
        (level("a", custom("request.path == '/'")),                                   "Level"),
        (level("a", custom("'yes'")),                                                 "Level"),
    ];
    for (given, expected) in cases {
        let outcome = stack.levels.create(&stack.admin, given.clone()).await;
        assert_eq!(outcome.map_or_else(|error| cause(&error), |_| "ok".to_owned()), expected, "{given:?}");
    }
}
