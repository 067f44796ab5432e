use std::sync::Arc;

use doorward_control::admin::Admin;
use doorward_control::policies::Policies;
use doorward_control::snapshots::{Setting, SnapshotPublisher};
use doorward_core::issuer::{OwnNames, TrustedIssuer, TrustedIssuers};
use doorward_wire::google_api::{Policy, SetIamPolicyRequest};
use serde_json::json;

use super::{Federation, POOL};
use crate::{ISSUER, Stack, cause, setting};

fn request(policy: Policy) -> SetIamPolicyRequest {
    SetIamPolicyRequest { policy, update_mask: None }
}

fn binding(role: &str, member: &str) -> Policy {
    serde_json::from_value(json!({"bindings": [{"role": role, "members": [member]}]})).unwrap()
}

/// Policies of a start whose list has these issuers.
async fn trusting(stack: &Stack, ids: &[&str]) -> Policies {
    let entries = ids.iter().map(|id| TrustedIssuer {
        id: id.parse().unwrap(),
        issuer: format!("https://login.{id}.example"),
        audiences: vec!["doorward".to_owned()],
        email_domains: vec![],
        google: false,
        insecure_loopback: false,
        jwks: None,
        groups_claim: None,
    });
    let own = OwnNames { issuers: &[ISSUER], project_id: "dev-project" };
    let trusted = Arc::new(TrustedIssuers::new(entries, own).unwrap());
    let setting = Setting { trusted_issuers: trusted, ..setting() };
    let publisher = SnapshotPublisher::open(stack.store.clone(), stack.clock.clone(), setting).await.unwrap();
    Policies::new(stack.store.clone(), Arc::new(publisher), stack.changes.clone())
}

#[tokio::test]
async fn identities_of_pools_and_issuers_that_are_there_may_be_members_of_every_role_and_no_others() {
    let federation = Federation::new().await;
    let stack = &federation.stack;
    let policies = trusting(stack, &["corp"]).await;
    let of = |kind: &str, rest: &str| format!("{kind}:{POOL}/{rest}");
    let issuer = |rest: &str| format!("//doorward/trustedIssuers/{rest}");
    #[rustfmt::skip]
    let cases = [
        (of("principal", "subject/repo:octo/app"),                  "ok"),
        (of("principalSet", "group/ops"),                           "ok"),
        (of("principalSet", "attribute.repository/octo/app"),       "ok"),
        (of("principalSet", "*"),                                   "ok"),
        (format!("principal:{}", issuer("corp/subject/s1")),        "ok"),
        (format!("principalSet:{}", issuer("corp/*")),              "ok"),
        (of("principal", "subject/s").replace("ci-pool", "ci-pool2"), "UnknownMember"),
        (of("principal", "subject/s").replace("ci-pool", "ci-p"),   "UnknownMember"),
        (of("principalSet", "*").replace("123", "124"),             "UnknownMember"),
        (format!("principal:{}", issuer("corp2/subject/s1")),       "UnknownMember"),
        (format!("principalSet:{}", issuer("other/*")),             "UnknownMember"),
        (of("principal", "subject/s").replace("ci-pool", "c"),      "MalformedMember"),
        ("serviceAccount:nobody@dev-project.iam.gserviceaccount.com".to_owned(), "UnknownMember"),
        ("serviceAccount:x@other.iam.gserviceaccount.com".to_owned(), "ok"),
        (of("principal", "*"),                                      "MalformedMember"),
        (of("principalSet", "subject/s"),                           "MalformedMember"),
    ];
    let roles = [
        "roles/iap.httpsResourceAccessor",
        "roles/iam.workloadIdentityUser",
        "roles/iam.serviceAccountTokenCreator",
        "roles/iam.serviceAccountOpenIdTokenCreator",
    ];
    for (member, expected) in cases {
        for role in roles {
            let outcome = policies.replace(&stack.admin, "projects/123", request(binding(role, &member))).await;
            let outcome = outcome.map_or_else(|error| cause(&error), |_| "ok".to_owned());
            assert_eq!(outcome, expected, "{role} {member}");
        }
    }
}

#[tokio::test]
async fn members_of_an_issuer_that_left_the_list_stay_or_go_and_are_given_nothing_more() {
    let federation = Federation::new().await;
    let stack = &federation.stack;
    const CREATOR: &str = "roles/iam.serviceAccountTokenCreator";
    const USER: &str = "roles/iam.workloadIdentityUser";
    let (one, set) =
        ("principal://doorward/trustedIssuers/corp/subject/s1", "principalSet://doorward/trustedIssuers/corp/*");
    let (ann, pool) = ("user:ann@example.com", format!("principalSet:{POOL}/*"));
    let bindings = |creators: &[&str], users: &[&str]| -> Policy {
        let both = [json!({"role": CREATOR, "members": creators}), json!({"role": USER, "members": users})];
        serde_json::from_value(json!({"bindings": both})).unwrap()
    };
    trusting(stack, &["corp"])
        .await
        .replace(&stack.admin, "projects/123", request(bindings(&[one, set], &[])))
        .await
        .unwrap();
    let policies = trusting(stack, &["other"]).await;
    #[rustfmt::skip]
    let steps: [(&str, &[&str], &[&str], &str); 9] = [
        ("others come",          &[one, set, ann], &[&pool],  "ok"),
        ("another binding",      &[one, set],      &[one],    "UnknownMember"),
        ("another of its names", &[one, set, "principal://doorward/trustedIssuers/corp/subject/s2"], &[], "UnknownMember"),
        ("as it is",             &[one, set],      &[&pool],  "ok"),
        ("a pool elsewhere",     &[one, set],      &[&pool, &pool.replace("123", "124")], "UnknownMember"),
        ("one goes",             &[set],           &[],       "ok"),
        ("and comes again",      &[one, set],      &[],       "UnknownMember"),
        ("the last goes",        &[ann],           &[],       "ok"),
        ("and comes again",      &[ann, set],      &[],       "UnknownMember"),
    ];
    for (what, creators, users, expected) in steps {
        for with_etag in [false, true] {
            let read = policies.get(&stack.admin, "projects/123", 3).await.unwrap();
            let etag = read.etag.clone().filter(|_| with_etag);
            let outcome = policies
                .replace(&stack.admin, "projects/123", request(Policy { etag, ..bindings(creators, users) }))
                .await;
            let outcome = outcome.map_or_else(|error| cause(&error), |_| "ok".to_owned());
            assert_eq!(outcome, expected, "{what}");
            if expected != "ok" {
                assert_eq!(policies.get(&stack.admin, "projects/123", 3).await.unwrap(), read, "{what}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stale_member_that_one_writer_takes_out_is_not_put_back_by_another() {
    let federation = Federation::new().await;
    let stack = &federation.stack;
    let (before, after) = (trusting(stack, &["corp"]).await, Arc::new(trusting(stack, &[]).await));
    let stale = "principalSet://doorward/trustedIssuers/corp/*";
    for round in 0..50 {
        let role = "roles/iap.httpsResourceAccessor";
        before.replace(&stack.admin, "projects/123", request(binding(role, stale))).await.unwrap();
        // Whichever comes first, none is left: kept and then taken out, or taken out and then refused.
        let (kept, removed) = tokio::join!(
            tokio::spawn(write(after.clone(), binding(role, stale))),
            tokio::spawn(write(after.clone(), binding(role, "user:ann@example.com"))),
        );
        assert!(matches!(kept.unwrap().as_str(), "ok" | "UnknownMember"), "round {round}");
        assert_eq!(removed.unwrap(), "ok", "round {round}");
        let left = after.get(&stack.admin, "projects/123", 3).await.unwrap();
        assert_eq!(left.bindings[0].members, ["user:ann@example.com"], "round {round}");
    }
}

/// Overwrites the project's policy, and says what came of it.
async fn write(policies: Arc<Policies>, policy: Policy) -> String {
    let admin = Admin::local_operator();
    policies
        .replace(&admin, "projects/123", request(policy))
        .await
        .map_or_else(|error| cause(&error), |_| "ok".to_owned())
}

#[tokio::test]
async fn a_pool_that_is_deleted_leaves_no_binding_to_the_next_of_its_name() {
    let federation = Federation::new().await;
    federation.create_pool("ci-pool-2").await;
    let stack = &federation.stack;
    let account = stack.create_account("target1").await;
    let of_account = format!("projects/123/serviceAccounts/{}", account.unique_id.0);
    let second = POOL.replace("ci-pool", "ci-pool-2");
    let members = [
        format!("principal:{POOL}/subject/s"),
        format!("principalSet:{POOL}/*"),
        format!("principalSet:{second}/*"),
        "user:ann@example.com".to_owned(),
    ];
    let bindings = |members: &[String]| -> Policy {
        let both = ["roles/iam.workloadIdentityUser", "roles/iam.serviceAccountTokenCreator"];
        let bindings = both.map(|role| json!({"role": role, "members": members}));
        serde_json::from_value(json!({"bindings": bindings})).unwrap()
    };
    for name in ["projects/123", of_account.as_str()] {
        stack.set_policy(name, bindings(&members)).await.unwrap();
    }
    let only = json!({"bindings": [{"role": "roles/iam.workloadIdentityUser", "members": [members[0]]}]});
    let only: Policy = serde_json::from_value(only).unwrap();
    let service = "projects/123/serviceAccounts/target1@dev-project.iam.gserviceaccount.com";

    // A provider names nobody, so nothing is taken from those who are named.
    federation.pools.delete_provider(&stack.admin, "123", ("ci-pool", "ci-runner")).await.unwrap();
    let shown = stack.get_policy("projects/123").await.unwrap();
    assert_eq!(shown.bindings[0].members, members);

    federation.pools.delete_pool(&stack.admin, "dev-project", "ci-pool").await.unwrap();
    for name in ["projects/123", service] {
        let shown = stack.get_policy(name).await.unwrap();
        let left: Vec<_> = shown.bindings.into_iter().map(|binding| binding.members).collect();
        assert_eq!(left, [&members[2..], &members[2..]], "{name}");
    }
    let refused = stack.set_policy("projects/123", only).await.unwrap_err();
    assert_eq!(cause(&refused), "UnknownMember");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_binding_outlives_what_it_names_whoever_writes_while_that_is_deleted() {
    let federation = Arc::new(Federation::empty().await);
    const ROBOT: &str = "serviceAccount:robot1@dev-project.iam.gserviceaccount.com";
    let everybody = format!("principalSet:{POOL}/*");
    for round in 0..30 {
        federation.create_pool("ci-pool").await;
        federation.stack.create_account("robot1").await;
        // Writers of four policies, and in their midst those who delete what is bound.
        let tasks = (0..10).map(|n| {
            let (federation, member) = (federation.clone(), [ROBOT, &everybody][n % 2].to_owned());
            tokio::spawn(async move {
                let Federation { stack, pools, .. } = &*federation;
                match n {
                    4 => drop(pools.delete_pool(&stack.admin, "123", "ci-pool").await.unwrap()),
                    5 => stack.accounts.delete(&stack.admin, "-", ROBOT.split_once(':').unwrap().1).await.unwrap(),
                    n => {
                        let name = ["projects/123", "projects/123/iap_web"][n / 2 % 2];
                        let binding = binding("roles/iap.httpsResourceAccessor", &member);
                        if let Err(error) = stack.set_policy(name, binding).await {
                            assert_eq!(cause(&error), "UnknownMember");
                        }
                    }
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        for (resource, policy) in federation.stack.store.policies().await.unwrap() {
            assert_eq!(policy.bindings, [], "round {round}: {resource}");
        }
    }
}

#[tokio::test]
async fn a_policy_of_an_account_that_was_deleted_meanwhile_is_not_written() {
    // Another process deletes what this one has just found.
    let federation = Federation::new().await;
    let stack = &federation.stack;
    let account = stack.create_account("robot1").await;
    let name = format!("projects/123/serviceAccounts/{}", account.unique_id.0);
    let user = binding("roles/iam.serviceAccountTokenCreator", "user:ann@example.com");
    stack.set_policy(&name, user.clone()).await.unwrap();
    assert!(stack.store.remove_service_account(&account.unique_id).await.unwrap());
    assert_eq!(cause(&stack.set_policy(&name, user).await.unwrap_err()), "NotFound");
    assert_eq!(stack.store.policies().await.unwrap(), []);
}
