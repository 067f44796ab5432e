//! What one instance writes, another serves.

use std::sync::Arc;
use std::time::Duration;

use doorward_control::admin::{Changes, Gate};
use doorward_control::policies::Policies;
use doorward_control::snapshots::SnapshotPublisher;
use doorward_core::policy::request::RequestContext;
use doorward_core::policy::{Permission, Principal, Question};
use doorward_wire::doorward_api::GroupResource;
use serde_json::json;

use crate::{Stack, app_host, setting};

const APP: &str = "projects/123/iap_web/compute/services/app";

impl Stack {
    /// Another instance on the same store.
    pub(crate) async fn other(&self) -> Arc<SnapshotPublisher> {
        let opened = SnapshotPublisher::open(self.store.clone(), self.clock.clone(), setting()).await;
        Arc::new(opened.unwrap())
    }

    /// How an instance with this publisher demands and records.
    pub(crate) fn changes_at(&self, publisher: &SnapshotPublisher) -> Changes {
        Changes::new(Gate::new(publisher.cell(), self.clock.clone()), self.audit.clone(), self.entropy.clone())
    }

    fn admits_at(&self, publisher: &SnapshotPublisher, user: &str) -> bool {
        let email = user.parse().unwrap();
        let snapshot = publisher.cell().current();
        let Ok((_, served)) = snapshot.served_at(&app_host(), "/") else { return false };
        let context = RequestContext::new(self.now());
        let (principal, permission) = (Principal::User(&email), Permission::AccessViaIap);
        snapshot.decide(&served.lineage, &Question { principal, permission, context: &context }).is_allowed()
    }
}

/// What was read change by change is what is read at once: the two decide alike after each write.
#[tokio::test]
async fn an_instance_that_follows_sees_what_one_that_begins_sees() {
    let stack = Stack::new().await;
    let follower = stack.other().await;
    let people = ["ann@example.com", "bob@example.com"];
    let bind = |members: &[&str]| {
        let policy = json!({"bindings": [{"role": "roles/iap.httpsResourceAccessor", "members": members}]});
        serde_json::from_value(policy).unwrap()
    };
    let group = |members: &[&str]| {
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        GroupResource { email: "g@x.com".to_owned(), members, ..GroupResource::default() }
    };
    for step in 0..8 {
        match step {
            0 => drop(stack.set_policy(APP, bind(&["user:ann@example.com"])).await.unwrap()),
            1 => drop(stack.groups.create(&stack.admin, group(&["user:bob@example.com"])).await.unwrap()),
            2 => drop(stack.set_policy("projects/123", bind(&["group:g@x.com"])).await.unwrap()),
            3 => {
                // Gone and come again between two looks.
                stack.groups.delete(&stack.admin, "g@x.com").await.unwrap();
                stack.groups.create(&stack.admin, group(&[])).await.unwrap();
                stack.set_policy("projects/123", bind(&["group:g@x.com"])).await.unwrap();
            }
            4 => {
                let bob = ["user:bob@example.com".to_owned()];
                stack.groups.add_members(&stack.admin, "g@x.com", &bob).await.unwrap();
            }
            5 => drop(stack.set_policy(APP, bind(&[])).await.unwrap()),
            6 => assert!(stack.store.remove_application("777", &setting().project).await.unwrap()),
            _ => drop(stack.store.add_application(&crate::application()).await.unwrap().unwrap()),
        }
        follower.refresh().await.unwrap();
        stack.publisher.refresh().await.unwrap();
        let fresh = stack.other().await;
        for person in people {
            let seen = [&*stack.publisher, &*follower, &*fresh].map(|it| stack.admits_at(it, person));
            assert!(seen.iter().all(|it| *it == seen[0]), "step {step} {person} {seen:?}");
        }
        assert_eq!(follower.revision().await, fresh.revision().await, "step {step}");
    }
    assert_eq!(people.map(|person| stack.admits_at(&follower, person)), [false, true]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_instance_writes_is_in_force_on_one_that_watches() {
    let stack = Stack::new().await;
    let follower = stack.other().await;
    let watching = {
        let follower = follower.clone();
        tokio::spawn(async move { follower.watch(Duration::from_millis(200), |_| {}).await })
    };
    let policy =
        json!({"bindings": [{"role": "roles/iap.httpsResourceAccessor", "members": ["user:ann@example.com"]}]});
    stack.set_policy(APP, serde_json::from_value(policy).unwrap()).await.unwrap();
    let seen = async {
        while !stack.admits_at(&follower, "ann@example.com") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), seen).await.unwrap();
    watching.abort();
}

/// Ann is let in by one policy and Bob by another, and never both at one time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_in_force_is_of_one_moment_while_others_write() {
    let stack = Arc::new(Stack::new().await);
    let follower = stack.other().await;
    let bind = |members: &[&str]| {
        let policy = json!({"bindings": [{"role": "roles/iap.httpsResourceAccessor", "members": members}]});
        serde_json::from_value::<doorward_wire::google_api::Policy>(policy).unwrap()
    };
    let (ann, bob, nobody) = (bind(&["user:ann@example.com"]), bind(&["user:bob@example.com"]), bind(&[]));
    for round in 0..40 {
        // Fewer than the looks after which a follower stops looking.
        let writes = [(APP, &ann), (APP, &nobody), ("projects/123", &bob), ("projects/123", &nobody), (APP, &ann)]
            .map(|(name, policy)| (name, policy.clone()));
        let writing = tokio::spawn({
            let stack = stack.clone();
            async move {
                for (name, policy) in writes {
                    stack.set_policy(name, policy).await.unwrap();
                }
            }
        });
        while !writing.is_finished() {
            follower.refresh().await.unwrap();
            let admitted = ["ann", "bob"].map(|name| stack.admits_at(&follower, &format!("{name}@example.com")));
            assert_ne!(admitted, [true, true], "round {round}");
        }
        writing.await.unwrap();
    }
}

#[tokio::test]
async fn a_look_at_the_store_keeps_what_is_in_force_fresh() {
    let stack = Stack::new().await;
    let freshness = stack.publisher.freshness();
    stack.clock.advance(Duration::from_secs(31));
    assert!(!freshness.is_fresh(stack.now()));
    stack.publisher.refresh().await.unwrap();
    assert!(freshness.is_fresh(stack.now()));
}

#[tokio::test]
async fn an_administrator_at_one_instance_sees_what_another_took_before() {
    let stack = Stack::new().await;
    let follower = stack.other().await;
    let changes = stack.changes_at(&follower);
    let policies = Policies::new(stack.store.clone(), follower, changes);
    let id = stack.add_person("ann").await;
    let policy = json!({"bindings": [{"role": "roles/owner", "members": ["user:ann@example.com"]}]});
    stack.set_policy("projects/123", serde_json::from_value(policy).unwrap()).await.unwrap();
    let ann = stack.administers(&id).await;
    policies.get(&ann, APP, 3).await.unwrap();
}
