use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use doorward_control::policies::{PolicyError, TUNNEL_POLICIES_LIMIT};
use doorward_core::clock::Timestamp;
use doorward_core::keys::{KeyPurpose, StoredKey};
use doorward_core::member::Email;
use doorward_core::policy::request::RequestContext;
use doorward_core::policy::{Permission, Principal, Question};
use doorward_wire::google_api::{Policy, SetIamPolicyRequest};
use serde_json::{Value, json};

use crate::{Stack, app_host, cause};

const APP: &str = "projects/dev-project/iap_web/compute/services/app";
const ROLE: &str = "roles/iap.httpsResourceAccessor";

fn policy(value: Value) -> Policy {
    serde_json::from_value(value).unwrap()
}

fn admitting(members: &[&str]) -> Policy {
    policy(json!({"bindings": [{"role": ROLE, "members": members}]}))
}

impl Stack {
    pub(crate) fn admits(&self, user: &str) -> bool {
        let email: Email = user.parse().unwrap();
        let snapshot = self.publisher.cell().current();
        let (_, served) = snapshot.served_at(&app_host(), "/").unwrap();
        let context = RequestContext::new(self.now());
        let (principal, permission) = (Principal::User(&email), Permission::AccessViaIap);
        snapshot.decide(&served.lineage, &Question { principal, permission, context: &context }).is_allowed()
    }

    pub(crate) async fn set_policy(&self, name: &str, policy: Policy) -> Result<Policy, PolicyError> {
        let request = SetIamPolicyRequest { policy, update_mask: None };
        self.policies.replace(&self.admin, name, request).await
    }

    pub(crate) async fn get_policy(&self, name: &str) -> Result<Policy, PolicyError> {
        self.policies.get(&self.admin, name, 3).await
    }

    async fn shown(&self, name: &str) -> Value {
        serde_json::to_value(self.get_policy(name).await.unwrap()).unwrap()
    }
}

#[tokio::test]
async fn a_replaced_policy_is_in_force_when_the_answer_is_given() {
    let stack = Stack::new().await;
    for name in ["projects/123", "projects/dev-project/iap_web", "projects/123/iap_web/compute", APP] {
        assert!(!stack.admits("ann@example.com"), "{name}");
        stack.set_policy(name, admitting(&["user:ann@example.com"])).await.unwrap();
        assert!(stack.admits("ann@example.com"), "{name}");
        stack.set_policy(name, Policy::default()).await.unwrap();
    }
    assert!(!stack.admits("ann@example.com"));
}

#[tokio::test]
async fn a_policy_is_shown_as_it_is_stored_under_every_spelling_of_its_resource() {
    let stack = Stack::new().await;
    assert_eq!(stack.shown(APP).await, json!({"etag": "ACAB"}));
    let written = policy(json!({
        "version": 3,
        "etag": "ACAB",
        "bindings": [
            {"role": ROLE, "members": ["user:Ann@Example.com", "domain:x.test", "user:ann@example.com"]},
            {"role": ROLE, "members": []},
            {"role": ROLE, "members": ["allUsers"]},
        ],
    }));
    let answer = stack.set_policy(APP, written).await.unwrap();
    let answer = serde_json::to_value(answer).unwrap();
    let etag = answer["etag"].as_str().unwrap().to_owned();
    let expected = json!({
        "version": 1,
        "etag": etag,
        "bindings": [
            {"role": ROLE, "members": ["user:ann@example.com", "domain:x.test"]},
            {"role": ROLE, "members": ["allUsers"]},
        ],
    });
    assert_eq!(answer, expected);
    assert_eq!(stack.shown("projects/123/iap_web/compute/services/777").await, expected);
    assert_eq!(stack.shown("projects/123").await, json!({"etag": "ACAB"}), "of its own resource only");

    let emptied = stack.set_policy(APP, policy(json!({"etag": etag, "version": 3}))).await.unwrap();
    let emptied = serde_json::to_value(emptied).unwrap();
    assert_ne!(emptied["etag"], etag.as_str());
    assert_eq!(emptied, json!({"version": 1, "etag": emptied["etag"]}));
}

#[tokio::test]
async fn a_policy_that_would_not_mean_what_it_says_is_refused_and_changes_nothing() {
    let stack = Stack::new().await;
    stack.set_policy(APP, admitting(&["user:ann@example.com"])).await.unwrap();
    let before = stack.shown(APP).await;
    let one = |member: &str| json!({"bindings": [{"role": ROLE, "members": ["allUsers", member]}]});
    let members = |count: usize| (0..count).map(|n| format!("user:u{n}@example.com")).collect::<Vec<_>>();
    let condition = json!({"expression": "false"});
    #[rustfmt::skip]
    let cases = [
        (APP, json!({"version": 2}),                                            "UnknownVersion"),
        (APP, json!({"version": -1}),                                           "UnknownVersion"),
        (APP, json!({"etag": "ACAB"}),                                          "Conflict"),
        (APP, json!({"etag": "ACAC"}),                                          "Conflict"),
        (APP, json!({"etag": "BwAAAAAAAAAA"}),                                  "Conflict"),
        (APP, json!({"bindings": [{"role": "roles/none", "members": ["allUsers"]}]}), "UnknownRole"),
        (APP, json!({"bindings": [{"role": "roles/none"}]}),                    "UnknownRole"),
        (APP, json!({"bindings": [{"role": "projects/123/roles/none", "members": ["user:a@x.com"]}]}), "UnknownRole"),
        (APP, json!({"bindings": [{"role": "roles/iap.httpsResourceAccessor_withcond_0123456789abcdef0123", "members": ["user:a@x.com"]}]}), "UnknownRole"),
        (APP, json!({"bindings": [{"role": "roles/owner", "members": ["user:a@x.com"]}]}), "RoleElsewhere"),
        (APP, json!({"bindings": [{"role": "roles/iap.admin", "members": ["allUsers"]}]}), "Everybody"),
        ("projects/123", one("allUsers"),                                       "Everybody"),
        (APP, json!({"bindings": [{"role": ROLE, "members": ["allUsers"], "condition": condition}]}), "Policy"),
        (APP, json!({"bindings": [{"role": ROLE, "members": ["allUsers"], "condition": {}}]}), "Policy"),
        (APP, one("group:g@example.com"),                                       "UnknownMember"),
        (APP, one("projectOwner:dev-project"),                                  "UnsupportedMember"),
        (APP, one("ann@example.com"),                                           "MalformedMember"),
        (APP, json!({"bindings": [{"role": ROLE, "members": members(1501)}]}),  "Policy"),
        (APP, json!({"bindings": [{"role": ROLE, "members": members(750)}, {"role": ROLE, "members": members(751)}]}), "Policy"),
        ("projects/other",                                    one("allUsers"),  "NotFound"),
        ("projects/123/iap_web/compute/services/other",       one("allUsers"),  "NotFound"),
        ("folders/1",                                         one("allUsers"),  "NotFound"),
    ];
    for (name, refused, expected) in cases {
        let shown: String = refused.to_string().chars().take(120).collect();
        let error = stack.set_policy(name, policy(refused)).await.unwrap_err();
        assert_eq!(cause(&error), expected, "{name} {shown}");
    }
    assert_eq!(stack.shown(APP).await, before);
    assert!(!stack.admits("bob@example.com"));
    let most = json!({"bindings": [{"role": ROLE, "members": members(1500)}]});
    stack.set_policy(APP, policy(most)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_writers_who_read_one_state_exactly_one_succeeds() {
    let stack = Arc::new(Stack::new().await);
    for round in ["first", "second"] {
        let read = stack.get_policy(APP).await.unwrap();
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (stack, etag) = (stack.clone(), read.etag.clone());
                let member = format!("user:{round}{writer}@example.com");
                tokio::spawn(async move {
                    let policy = Policy { etag, ..admitting(&[&member]) };
                    let result = stack.set_policy(APP, policy).await;
                    result.map(|_| member).map_err(|error| cause(&error))
                })
            })
            .collect();
        let mut outcomes = Vec::new();
        for writer in writers {
            outcomes.push(writer.await.unwrap());
        }
        let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert_eq!(lost, vec![Err("Conflict".to_owned()); 7]);
        let winner = won.into_iter().next().unwrap().unwrap();
        assert_eq!(stack.shown(APP).await["bindings"][0]["members"], json!([winner]));
        assert!(stack.admits(winner.strip_prefix("user:").unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_that_overtake_each_other_leave_every_answered_change_in_force() {
    let stack = Arc::new(Stack::new().await);
    let names = ["projects/123", "projects/123/iap_web", "projects/123/iap_web/compute", APP];
    let writers = (0..40).map(|n| {
        let stack = stack.clone();
        tokio::spawn(async move {
            // Each writer of a resource has its turns one after another, beside the writers of the other resources.
            let name = names[n % 4];
            let user = format!("u{n}@example.com");
            let _ = stack.set_policy(name, admitting(&[&format!("user:{user}")])).await.unwrap();
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let mut stored = 0;
    for (_, policy) in stack.store.policies().await.unwrap() {
        for member in policy.bindings.iter().flat_map(|binding| &binding.members) {
            stored += 1;
            assert!(stack.admits(member.to_string().strip_prefix("user:").unwrap()), "{member}");
        }
    }
    assert_eq!(stored, 4);
}

#[tokio::test]
async fn of_those_who_overwrite_a_policy_at_once_everybody_does() {
    // More than a change is tried again while others overtake it.
    let stack = Arc::new(Stack::new().await);
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..30 {
        let (stack, policy) = (stack.clone(), admitting(&[&format!("user:u{n}@example.com")]));
        writers.spawn(async move { stack.set_policy(APP, policy).await.map(drop).map_err(|error| cause(&error)) });
    }
    assert_eq!(writers.join_all().await, vec![Ok(()); 30]);
}

#[tokio::test]
async fn a_change_that_cannot_be_put_in_force_is_not_a_success_and_nothing_is_shown_until_it_is() {
    let stack = Stack::new().await;
    let damaged = StoredKey {
        id: "damaged".to_owned(),
        purpose: KeyPurpose::IdToken,
        secret: b"not a key".to_vec(),
        created: Timestamp::from_seconds(0),
        signs_from: Timestamp::from_seconds(0),
    };
    stack.store.add_keys(&[damaged]).await.unwrap();
    let replaced = stack.set_policy(APP, admitting(&["user:ann@example.com"])).await;
    assert_eq!(cause(&replaced.unwrap_err()), "Refresh");
    assert!(!stack.admits("ann@example.com"));
    assert_eq!(cause(&stack.get_policy(APP).await.unwrap_err()), "Refresh");

    stack.store.remove_keys(&["damaged".to_owned()]).await.unwrap();
    assert_eq!(stack.shown(APP).await, json!({"etag": "ACAB"}), "what could not be put in force was not stored either");
    stack.set_policy(APP, admitting(&["user:ann@example.com"])).await.unwrap();
    assert!(stack.admits("ann@example.com"));
}

#[tokio::test]
async fn a_caller_that_hangs_up_never_leaves_a_change_stored_and_not_in_force() {
    let stack = Stack::new().await;
    let idle = Arc::strong_count(&stack.publisher);
    let mut finished = false;
    for polls in 1.. {
        let user = format!("u{polls}@example.com");
        {
            let new = admitting(&[&format!("user:{user}")]);
            let mut call = pin!(stack.set_policy(APP, new));
            let mut left = polls;
            std::future::poll_fn(|context| {
                left -= 1;
                match call.as_mut().poll(context) {
                    Poll::Ready(result) => {
                        result.unwrap();
                        finished = true;
                        Poll::Ready(())
                    }
                    Poll::Pending if left == 0 => Poll::Ready(()),
                    Poll::Pending => Poll::Pending,
                }
            })
            .await;
        }
        // The work that the call began holds the publisher until it is done.
        while Arc::strong_count(&stack.publisher) > idle {
            tokio::task::yield_now().await;
        }
        let policy = stack.store.policy("projects/123/iap_web/compute/services/777").await.unwrap();
        let stored = policy.bindings.iter().any(|b| b.members.contains(&format!("user:{user}").parse().unwrap()));
        assert_eq!(stack.admits(&user), stored, "after {polls} polls");
        if finished {
            assert!(stored);
            assert!(polls > 1, "the call was never cut short");
            return;
        }
    }
}

#[tokio::test]
async fn who_knows_no_conditions_sees_none_and_takes_none_away_by_the_state_that_they_read() {
    let stack = Stack::new().await;
    let condition = json!({"title": "t", "expression": "request.path == '/'"});
    let written = json!({"version": 3, "bindings": [{"role": ROLE, "members": ["user:ann@example.com"], "condition": condition}]});
    let written = stack.set_policy(APP, policy(written)).await.unwrap();
    assert_eq!(serde_json::to_value(&written.bindings[0].condition).unwrap(), condition);
    let shown = stack.policies.get(&stack.admin, APP, 1).await.unwrap();
    let role = shown.bindings[0].role.strip_prefix(&format!("{ROLE}_withcond_")).unwrap();
    assert!(role.len() == 20 && role.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!((shown.version, &shown.bindings[0].condition), (Some(1), &None));
    assert_eq!(cause(&stack.policies.get(&stack.admin, APP, 2).await.unwrap_err()), "UnknownVersion");

    let blind = Policy { version: Some(1), etag: written.etag.clone(), ..admitting(&["user:bob@example.com"]) };
    assert_eq!(cause(&stack.set_policy(APP, blind).await.unwrap_err()), "Policy");
    let masked = |mask: &str, policy: Policy| SetIamPolicyRequest { policy, update_mask: Some(mask.to_owned()) };
    let other = admitting(&["user:bob@example.com"]);
    let kept = stack.policies.replace(&stack.admin, APP, masked("etag", other.clone())).await.unwrap();
    assert_eq!(kept.bindings, written.bindings, "a mask without bindings leaves them");
    let wrong = stack.policies.replace(&stack.admin, APP, masked("auditConfigs", other.clone())).await;
    assert_eq!(cause(&wrong.unwrap_err()), "Mask");
    assert_eq!(
        stack.set_policy(APP, other.clone()).await.unwrap().bindings,
        other.bindings,
        "without a state it overwrites"
    );
}

#[tokio::test]
async fn permissions_that_are_tested_are_those_that_are_held_and_nobody_learns_what_is_there() {
    let stack = Stack::new().await;
    let viewer = stack.holding("viewer", "roles/iap.admin", "projects/123").await;
    let asked = ["iap.webServices.setIamPolicy", "iap.webServiceVersions.accessViaIAP", "iap.webServices.getIamPolicy"];
    let test = async |name: &str, asked: &[&str]| {
        let asked: Vec<String> = asked.iter().map(|name| (*name).to_owned()).collect();
        stack.policies.test_permissions(&viewer, name, &asked).await.map_err(|error| cause(&error))
    };
    assert_eq!(test(APP, &asked).await.unwrap(), [asked[0], asked[2]]);
    for nowhere in ["projects/123/iap_web/compute/services/none", "projects/other"] {
        assert_eq!(test(nowhere, &asked).await.unwrap(), Vec::<String>::new(), "{nowhere}");
    }
    assert_eq!(test(APP, &["iap.web.*"]).await.unwrap_err(), "UnknownPermission");
    assert_eq!(test(APP, &[asked[0]; 101]).await.unwrap_err(), "TooManyTested");
}

#[tokio::test]
async fn only_so_many_resources_of_the_tunnel_have_a_policy_of_their_own() {
    let stack = Stack::new().await;
    let name = |number: u64| format!("projects/123/iap_tunnel/zones/z/instances/{number}");
    for number in 1..=TUNNEL_POLICIES_LIMIT {
        stack.store.replace_policy(&name(number), &[], None, &[]).await.unwrap();
    }
    let policy = |member: &str| {
        let binding = json!({"role": "roles/iap.tunnelResourceAccessor", "members": [member]});
        serde_json::from_value(json!({"bindings": [binding]})).unwrap()
    };
    let more = stack.set_policy(&name(TUNNEL_POLICIES_LIMIT + 1), policy("user:ann@example.com")).await;
    assert_eq!(cause(&more.unwrap_err()), "TooManyOfTunnels");
    stack.set_policy(&name(1), policy("user:ann@example.com")).await.unwrap();
    stack.set_policy("projects/123", serde_json::from_value(json!({"bindings": []})).unwrap()).await.unwrap();
}
