//! Answers to *why*, and trying a policy.

use doorward_control::explain::Explanations;
use doorward_control::simulate::Simulations;
use doorward_core::audit::{AuditEvent, Decision, Outcome, Reason};
use doorward_core::clock::Timestamp;
use doorward_wire::doorward_api::{Verdict, WhatCanRequest};
use serde_json::{Value, json};

use crate::{Stack, cause};

const APP: &str = "projects/123/iap_web/compute/services/777";
const ROLE: &str = "roles/iap.httpsResourceAccessor";

impl Stack {
    pub(crate) fn explanations(&self) -> Explanations {
        Explanations::new(self.store.clone(), self.publisher.clone(), self.changes.clone())
    }

    pub(crate) fn simulations(&self) -> Simulations {
        Simulations::new(self.store.clone(), self.publisher.clone(), self.changes.clone())
    }

    async fn explained(&self, request: Value) -> Result<Value, String> {
        let request = serde_json::from_value(request).unwrap();
        let answer = self.explanations().explain(&self.admin, request).await;
        answer.map(|answer| serde_json::to_value(answer).unwrap()).map_err(|error| cause(&error))
    }

    async fn bind(&self, on: &str, bindings: Value) {
        let policy = serde_json::from_value(json!({"version": 3, "bindings": bindings})).unwrap();
        self.set_policy(on, policy).await.unwrap();
    }

    /// Puts decisions into the record.
    async fn record(&self, decisions: &[(&str, Option<&str>, &str, Outcome)]) {
        let event = |(id, caller, path, outcome): &(&str, Option<&str>, &str, Outcome)| {
            AuditEvent::Decision(Decision {
                id: (*id).to_owned(),
                time: self.now(),
                resource: Some(APP.to_owned()),
                version: Some(format!("{APP}/versions/bs_0")),
                caller: caller.map(str::to_owned),
                outcome: outcome.clone(),
                method: "GET".to_owned(),
                host: "app.test".to_owned(),
                path: (*path).to_owned(),
                client: "192.0.2.1".to_owned(),
                ..Decision::default()
            })
        };
        let events: Vec<AuditEvent> = decisions.iter().map(event).collect();
        self.store.append(&events, 1000).await.unwrap();
    }
}

fn refused(reason: Reason) -> Outcome {
    Outcome::Refused { reason, detail: String::new(), denied_by: None }
}

fn asked(member: &str, path: &str) -> Value {
    json!({"principal": member, "question": {"method": "GET", "url": format!("http://app.test{path}?q=secret")}})
}

#[tokio::test]
async fn a_refusal_is_explained_with_what_the_condition_read_and_the_smallest_change() {
    let stack = Stack::new().await;
    let condition = json!({"expression": "request.path == '/help'", "title": "help"});
    stack.bind(APP, json!([{"role": ROLE, "members": ["user:ann@example.com"], "condition": condition}])).await;
    stack.bind("projects/123", json!([{"role": "roles/owner", "members": ["user:ann@example.com"]}])).await;
    let help = stack.explained(asked("user:ann@example.com", "/help")).await.unwrap();
    assert_eq!((&help["verdict"], help.get("smallestChange")), (&json!("ALLOWED"), None));
    let admin = stack.explained(asked("user:ann@example.com", "/admin")).await.unwrap();
    assert_eq!(admin["verdict"], "NOT_GRANTED");
    assert_eq!(admin["resource"]["application"], "app");
    let considered = |place: usize| admin["bindings"][place]["considered"].clone();
    let read = json!([{"attribute": "request.path", "value": "/admin"}]);
    assert_eq!(considered(0), json!({"outcome": "CONDITION_FALSE", "member": "user:ann@example.com", "read": read}));
    assert_eq!(considered(1), json!({"outcome": "LACKS_PERMISSION"}));
    let change = admin["smallestChange"]["description"].as_str().unwrap();
    assert!(change.contains("request.path was \"/admin\""), "{change}");
    let bob = stack.explained(asked("user:bob@example.com", "/help")).await.unwrap();
    assert_eq!(bob["bindings"][0]["considered"]["outcome"], "MEMBER_NO");
    let command = format!("doorward policy add --resource {APP} --member 'user:bob@example.com' --role {ROLE}");
    assert_eq!(bob["smallestChange"]["command"], command.as_str());
    let nobody = stack.explained(json!({"question": {"url": "http://app.test/"}})).await.unwrap();
    assert_eq!(nobody["smallestChange"]["description"], "Nobody was proven: sign in.");
    let elsewhere = stack.explained(json!({"question": {"url": "http://nowhere.test/"}})).await.unwrap();
    assert_eq!((&elsewhere["verdict"], &elsewhere["resource"]["name"]), (&json!("REFUSED"), &json!("")));
    stack.applications().set_enabled(&stack.admin, "app", false).await.unwrap();
    let off = stack.explained(asked("user:ann@example.com", "/help")).await.unwrap();
    assert_eq!(
        (&off["verdict"], &off["smallestChange"]["command"]),
        (&json!("REFUSED"), &json!("doorward app enable app"))
    );
}

#[tokio::test]
async fn a_question_that_is_none_is_refused() {
    let stack = Stack::new().await;
    let about = |question: Value| json!({"principal": "user:a@x.com", "question": question});
    #[rustfmt::skip]
    let cases = [
        (json!({}),                                                                   "NoQuestion"),
        (json!({"decisionId": "d", "principal": "user:a@x.com"}),                     "NoQuestion"),
        (json!({"decisionId": "d"}),                                                  "NoDecision"),
        (about(json!({})),                                                            "NoTarget"),
        (about(json!({"url": "http://app.test/", "resource": APP})),                  "NoTarget"),
        (about(json!({"url": "app.test"})),                                           "Url"),
        (about(json!({"resource": "projects/other"})),                                "NotFound"),
        (about(json!({"resource": "projects/123", "permission": "iap.web.nothing"})), "Permission"),
        (about(json!({"resource": APP, "circumstances": {"time": "yesterday"}})),     "Time"),
        (about(json!({"resource": APP, "circumstances": {"sourceIp": "x"}})),         "SourceIp"),
        (json!({"principal": "ann", "question": {"resource": APP}}),                  "Member"),
    ];
    for (request, expected) in cases {
        assert_eq!(stack.explained(request.clone()).await, Err(expected.to_owned()), "{request}");
    }
}

#[tokio::test]
async fn a_recorded_decision_is_decided_again_by_what_is_in_force_now() {
    let stack = Stack::new().await;
    let no = || refused(Reason::PermissionDenied);
    stack
        .record(&[("one", Some("user:ann@example.com"), "/", no()), ("two", None, "/", refused(Reason::BadPath))])
        .await;
    let before = stack.explained(json!({"decisionId": "one"})).await.unwrap();
    assert_eq!(
        (&before["verdict"], &before["recorded"]["reason"]),
        (&json!("NOT_GRANTED"), &json!("permission_denied"))
    );
    stack.bind(APP, json!([{"role": ROLE, "members": ["domain:example.com"]}])).await;
    let after = stack.explained(json!({"decisionId": "one"})).await.unwrap();
    assert_eq!((&after["verdict"], &after["recorded"]["allowed"]), (&json!("ALLOWED"), &json!(false)));
    let never = stack.explained(json!({"decisionId": "two"})).await.unwrap();
    assert_eq!((&never["verdict"], &never["recorded"]["reason"]), (&json!("REFUSED"), &json!("bad_path")));
}

#[tokio::test]
async fn who_can_and_what_can_name_the_grants() {
    let stack = Stack::new().await;
    stack.bind(APP, json!([{"role": ROLE, "members": ["domain:example.com", "user:ann@example.com"]}])).await;
    stack.bind("projects/123", json!([{"role": "roles/viewer", "members": ["user:ann@example.com"]}])).await;
    let request = serde_json::from_value(json!({"question": {"url": "http://app.test/"}})).unwrap();
    let who = stack.explanations().who_can(&stack.admin, request).await.unwrap();
    let members: Vec<&str> = who.grants.iter().map(|grant| grant.member.as_str()).collect();
    assert_eq!(members, ["user:ann@example.com", "domain:example.com"]);
    let request = WhatCanRequest { member: "user:ann@example.com".to_owned() };
    let what = stack.explanations().what_can(&stack.admin, request).await.unwrap();
    assert_eq!(what.applications[0].application, "app");
    assert_eq!(what.grants.iter().map(|grant| grant.role.as_str()).collect::<Vec<_>>(), ["roles/viewer"]);
}

#[tokio::test]
async fn explanations_and_simulations_demand_their_permissions() {
    let stack = Stack::new().await;
    let user = stack.holding("user", "roles/iap.admin", "projects/123").await;
    let viewer = stack.holding("viewer", "roles/doorward.viewer", "projects/123").await;
    let question = || serde_json::from_value(json!({"question": {"url": "http://app.test/"}})).unwrap();
    let explanations = stack.explanations();
    let simulations = stack.simulations();
    for (admin, may) in [(&user, false), (&viewer, true)] {
        let explained = explanations.explain(admin, question()).await;
        assert_eq!(explained.as_ref().is_ok_and(|it| it.verdict == Verdict::NotGranted), may);
        assert_eq!(
            explanations
                .explain(admin, serde_json::from_value(json!({"decisionId": "d"})).unwrap())
                .await
                .is_err_and(|error| cause(&error) == "Forbidden"),
            !may
        );
        let who = serde_json::from_value(json!({"question": {"url": "http://app.test/"}})).unwrap();
        assert_eq!(explanations.who_can(admin, who).await.is_ok(), may);
        let what = WhatCanRequest { member: "allUsers".to_owned() };
        assert_eq!(explanations.what_can(admin, what).await.is_ok(), may);
        assert_eq!(simulations.simulate(admin, Default::default()).await.is_ok(), may);
    }
}

#[tokio::test]
async fn a_proposed_policy_is_tried_on_what_was_recorded() {
    let stack = Stack::new().await;
    let simulations = stack.simulations();
    stack.bind(APP, json!([{"role": ROLE, "members": ["user:ann@example.com"]}])).await;
    let allowed = || Outcome::Allowed {
        binding_resource: APP.to_owned(),
        role: ROLE.to_owned(),
        member: "user:ann@example.com".to_owned(),
        condition: None,
    };
    let no = || refused(Reason::PermissionDenied);
    stack
        .record(&[
            ("a", Some("user:ann@example.com"), "/", allowed()),
            ("b", Some("user:bob@example.com"), "/x", no()),
            ("c", Some("user:bob@example.com"), "/y", no()),
            ("d", None, "/", refused(Reason::BadPath)),
            ("e", Some("user:eve@other.test"), "/", no()),
        ])
        .await;
    let tried = |bindings: Value, since: Option<&'static str>| {
        let request =
            json!({"proposed": {"policies": [{"resource": "app app", "bindings": bindings}]}, "since": since});
        let (simulations, admin) = (&simulations, &stack.admin);
        async move { simulations.simulate(admin, serde_json::from_value(request).unwrap()).await.unwrap() }
    };
    let same = tried(json!([{"role": ROLE, "members": ["user:ann@example.com"]}]), None).await;
    assert_eq!((same.replayed, same.skipped, same.unknown, same.changes_anything()), (4, 1, 0, false));
    let other = tried(json!([{"role": ROLE, "members": ["user:bob@example.com"]}]), None).await;
    let of = |list: &[doorward_wire::doorward_api::ChangedDecision]| {
        list.iter().map(|it| (it.member.clone(), it.count, it.examples.len())).collect::<Vec<_>>()
    };
    assert_eq!(of(&other.newly_allowed), [("user:bob@example.com".to_owned(), 2, 2)]);
    assert_eq!(of(&other.newly_refused), [("user:ann@example.com".to_owned(), 1, 1)]);
    assert_eq!(other.newly_allowed[0].examples[0].url, "https://app.test/x");
    let claims = json!({"expression": "request.auth.claims.level == 3", "title": "t"});
    let unknown = tried(
        json!([
            {"role": ROLE, "members": ["user:ann@example.com"]},
            {"role": ROLE, "members": ["domain:example.com"], "condition": claims},
        ]),
        None,
    )
    .await;
    assert_eq!(
        (unknown.replayed, unknown.unknown, unknown.changes_anything()),
        (2, 2, false),
        "bob's two are not known"
    );
    let later = tried(json!([]), Some("2030-01-01T00:00:00Z")).await;
    assert_eq!((later.replayed, later.skipped), (0, 0));
    assert!(stack.now() < Timestamp::from_seconds(1_893_456_000));
    assert_eq!(stack.get_policy(APP).await.unwrap().bindings.len(), 1, "nothing is changed by trying");
}

#[tokio::test]
async fn who_may_not_have_it_explained_learns_neither_what_is_served_nor_which_decisions_there_are() {
    let stack = Stack::new().await;
    stack.record(&[("there", Some("user:bob@example.com"), "/", refused(Reason::PermissionDenied))]).await;
    let stranger = stack.holding("stranger", "roles/iap.admin", "projects/123").await;
    let explanations = stack.explanations();
    #[rustfmt::skip]
    let cases = [
        (json!({"question": {"url": "http://app.test/"}}), json!({"question": {"url": "http://nowhere.test/"}})),
        (json!({"decisionId": "there"}),                   json!({"decisionId": "none"})),
    ];
    for (there, none) in cases {
        let mut told = Vec::new();
        for request in [there, none] {
            let answer = explanations.explain(&stranger, serde_json::from_value(request).unwrap()).await;
            told.push(format!("{:?}", answer.unwrap_err()));
        }
        assert!(told[0].contains("Forbidden"), "{told:?}");
        assert_eq!(told[0], told[1]);
    }
}

#[tokio::test]
async fn a_decision_is_seen_by_whoever_it_is_about_without_a_word_of_policies() {
    let stack = Stack::new().await;
    let stranger = stack.holding("stranger", "roles/iap.admin", "projects/123").await;
    let member = stranger.member();
    stack
        .record(&[
            ("mine", Some(&*member), "/a", refused(Reason::PermissionDenied)),
            ("bobs", Some("user:bob@example.com"), "/", refused(Reason::PermissionDenied)),
            ("nobodys", None, "/", refused(Reason::NoCredential)),
        ])
        .await;
    let explanations = stack.explanations();
    let own = explanations.own(&stranger, "mine").await.unwrap().unwrap();
    assert_eq!((own.url.as_str(), own.method.as_str(), own.allowed), ("https://app.test/a", "GET", false));
    assert!(member.ends_with(&own.caller), "{member} {}", own.caller);
    for other in ["bobs", "nobodys", "none"] {
        assert_eq!(explanations.own(&stranger, other).await.unwrap(), None, "{other}");
    }
    assert_eq!(explanations.own(&stack.admin, "nobodys").await.unwrap(), None, "who has no name has no decisions");
}
