//! People: made, given passwords, disabled and deleted, and by whom.

use doorward_control::admin::Admin;
use doorward_control::users::{UserError, Users};
use doorward_core::audit::AdminEvent;
use doorward_core::member::Email;
use doorward_wire::doorward_api::{CreateUserRequest, GroupResource};
use doorward_wire::google_api::iam_roles::CreateRoleRequest;
use serde_json::{Value, json};

use crate::{Stack, cause};

const PROJECT: &str = "projects/123";
const BOB: &str = "bob@example.com";

impl Stack {
    pub(crate) fn users(&self) -> Users {
        let (store, publisher, changes) = (self.store.clone(), self.publisher.clone(), self.changes.clone());
        Users::new(store, publisher, changes, self.entropy.clone(), self.sign_in.passwords())
    }

    /// The newest event of administration.
    fn last_change(&self) -> AdminEvent {
        self.admin_events().pop().unwrap()
    }
}

fn new(email: &str) -> CreateUserRequest {
    CreateUserRequest { email: email.to_owned() }
}

fn ended<T>(outcome: Result<T, UserError>) -> String {
    outcome.map_or_else(|error| cause(&error), |_| "ok".to_owned())
}

async fn bound(stack: &Stack) -> Vec<(String, Vec<String>)> {
    let policy = stack.get_policy(PROJECT).await.unwrap();
    policy.bindings.into_iter().map(|binding| (binding.role, binding.members)).collect()
}

#[tokio::test]
async fn a_person_is_made_once_with_an_address_that_nobody_has_or_could_have() {
    let stack = Stack::new().await;
    let users = stack.users();
    let group = GroupResource { email: "staff@example.com".to_owned(), ..GroupResource::default() };
    stack.groups.create(&stack.admin, group).await.unwrap();
    #[rustfmt::skip]
    let cases = [
        (BOB,                                               "ok"),
        (BOB,                                               "Taken"),
        ("BOB@Example.com",                                 "Taken"),
        ("staff@example.com",                               "Taken"),
        ("later@dev-project.iam.gserviceaccount.com",       "OfAccounts"),
        ("1-compute@developer.gserviceaccount.com",         "OfAccounts"),
        ("bob",                                             "Email"),
        ("",                                                "Email"),
        ("ann@example.com",                                 "ok"),
    ];
    for (email, expected) in cases {
        assert_eq!(ended(users.create(&stack.admin, new(email)).await), expected, "{email:?}");
    }
    let made = users.get(&stack.admin, BOB).await.unwrap();
    assert_eq!((made.email.as_str(), made.unique_id.len(), made.disabled), (BOB, 21, false));
    let first = users.list(&stack.admin, Some(1), None).await.unwrap();
    assert_eq!(first.users.iter().map(|it| it.email.as_str()).collect::<Vec<_>>(), ["ann@example.com"]);
    let second = users.list(&stack.admin, Some(1), first.next_page_token.as_deref()).await.unwrap();
    assert_eq!((second.users, second.next_page_token), (vec![made], None));
    assert_eq!(ended(users.list(&stack.admin, None, Some("?")).await), "PageToken");
}

#[tokio::test]
async fn what_was_done_is_recorded_with_before_and_after_and_no_password_is() {
    let stack = Stack::new().await;
    let users = stack.users();
    users.create(&stack.admin, new(BOB)).await.unwrap();
    let made = users.get(&stack.admin, BOB).await.unwrap();
    let shown = |disabled: bool| json!({"email": BOB, "uniqueId": made.unique_id, "disabled": disabled});
    let has = |password: bool| json!({"email": BOB, "hasPassword": password});
    let recorded = |method: &str, before: Option<Value>, after: Option<Value>| {
        let event = stack.last_change();
        assert_eq!(event.method, format!("doorward.v1.Users.{method}"));
        assert_eq!((event.resource.as_str(), event.code), ("users/bob@example.com", 0));
        assert_eq!((event.before, event.after), (before, after), "{method}");
    };
    recorded("CreateUser", None, Some(shown(false)));
    let mut passwords = Vec::new();
    for had in [false, true] {
        passwords.push(users.set_password(&stack.admin, BOB).await.unwrap().password);
        recorded("SetPassword", Some(has(had)), Some(has(true)));
    }
    assert_ne!(passwords[0], passwords[1]);
    assert!(passwords.iter().all(|it| it.len() == 24), "{passwords:?}");
    users.disable(&stack.admin, BOB, true).await.unwrap();
    recorded("DisableUser", Some(shown(false)), Some(shown(true)));
    users.disable(&stack.admin, BOB, false).await.unwrap();
    recorded("EnableUser", Some(shown(true)), Some(shown(false)));
    users.delete(&stack.admin, BOB).await.unwrap();
    recorded("DeleteUser", Some(shown(false)), None);
    let record = format!("{:?}", stack.admin_events());
    let email: Email = BOB.parse().unwrap();
    assert_eq!(stack.store.user_by_email(&email).await.unwrap(), None);
    assert!(passwords.iter().all(|it| !record.contains(it.as_str())) && !record.contains("argon2"), "{record}");
    for outcome in [users.delete(&stack.admin, BOB).await, users.disable(&stack.admin, "no address", true).await] {
        assert_eq!(ended(outcome), "NotFound");
        assert_eq!(stack.last_change().code, 5);
    }
}

#[tokio::test]
async fn whoever_comes_to_have_the_address_of_somebody_deleted_is_somebody_else() {
    let stack = Stack::new().await;
    let users = stack.users();
    let first = users.create(&stack.admin, new(BOB)).await.unwrap();
    let mut policy = stack.get_policy(PROJECT).await.unwrap();
    let binding =
        json!({"role": "roles/iap.httpsResourceAccessor", "members": ["user:bob@example.com", "domain:example.com"]});
    policy.bindings.push(serde_json::from_value(binding).unwrap());
    stack.set_policy(PROJECT, policy).await.unwrap();
    let group = GroupResource {
        email: "staff@example.com".to_owned(),
        members: vec!["user:bob@example.com".to_owned()],
        ..GroupResource::default()
    };
    stack.groups.create(&stack.admin, group).await.unwrap();
    users.set_password(&stack.admin, BOB).await.unwrap();
    users.delete(&stack.admin, BOB).await.unwrap();
    let second = users.create(&stack.admin, new(BOB)).await.unwrap();
    assert_ne!(first.unique_id, second.unique_id);
    let expected = ("roles/iap.httpsResourceAccessor".to_owned(), vec!["domain:example.com".to_owned()]);
    assert_eq!(bound(&stack).await, [expected]);
    let members = stack.groups.members(&stack.admin, "staff@example.com", None, None).await.unwrap();
    assert_eq!(members.members, [""; 0]);
    let (_, password) = stack.store.user_by_email(&BOB.parse().unwrap()).await.unwrap().unwrap();
    assert!(password.is_none());
}

/// A helpdesk holds every permission on people by a custom role, and is no administrator by it.
async fn helpdesk(stack: &Stack) -> Admin {
    let permissions = ["create", "delete", "get", "list", "setPassword", "update"];
    let permissions = permissions.map(|it| format!("doorward.users.{it}"));
    let role: CreateRoleRequest =
        serde_json::from_value(json!({"roleId": "helpdesk", "role": {"includedPermissions": permissions}})).unwrap();
    stack.roles.create(&stack.admin, PROJECT, role).await.unwrap();
    stack.holding("help", "projects/123/roles/helpdesk", PROJECT).await
}

#[tokio::test]
async fn nobody_becomes_an_administrator_by_setting_the_password_of_one() {
    let stack = Stack::new().await;
    let users = stack.users();
    let app = "projects/123/iap_web/compute/services/app";
    let helpdesk = helpdesk(&stack).await;
    let other = stack.add_person("other").await;
    let in_group = GroupResource {
        email: "admins@example.com".to_owned(),
        members: vec!["user:member@example.com".to_owned()],
        ..GroupResource::default()
    };
    stack.add_person("member").await;
    stack.groups.create(&stack.admin, in_group).await.unwrap();
    let owner = stack.holding("owner", "roles/owner", PROJECT).await;
    let doorward = stack.holding("doorward", "roles/doorward.admin", PROJECT).await;
    stack.holding("visitor", "roles/iap.httpsResourceAccessor", app).await;
    stack.holding("iap", "roles/iap.admin", app).await;
    stack.holding("creator", "roles/iam.serviceAccountTokenCreator", PROJECT).await;
    let late = json!([
        {"role": "roles/owner", "members": ["user:late@example.com"],
         "condition": {"title": "t", "expression": "request.time < timestamp('2000-01-01T00:00:00Z')"}},
        {"role": "roles/viewer", "members": ["group:admins@example.com", "domain:all.test"]},
    ]);
    let mut policy = stack.get_policy(PROJECT).await.unwrap();
    policy.bindings.extend(serde_json::from_value::<Vec<_>>(late).unwrap());
    policy.version = Some(3);
    stack.set_policy(PROJECT, policy).await.unwrap();
    stack.add_person("late").await;
    stack.add_user("anybody@all.test", false).await;
    let stranger = stack.administers(&other).await;
    #[rustfmt::skip]
    let cases = [
        // whose password                     helpdesk,        owner,       doorward.admin, operator
        ("other@example.com",                 ["ok",            "Forbidden", "ok",           "ok"]),
        ("visitor@example.com",               ["ok",            "Forbidden", "ok",           "ok"]),
        ("help@example.com",                  ["Administrator", "Forbidden", "ok",           "ok"]),
        ("owner@example.com",                 ["Administrator", "Forbidden", "ok",           "ok"]),
        ("doorward@example.com",              ["Administrator", "Forbidden", "ok",           "ok"]),
        ("iap@example.com",                   ["Administrator", "Forbidden", "ok",           "ok"]),
        ("creator@example.com",               ["Administrator", "Forbidden", "ok",           "ok"]),
        ("late@example.com",                  ["Administrator", "Forbidden", "ok",           "ok"]),
        ("member@example.com",                ["Administrator", "Forbidden", "ok",           "ok"]),
        ("anybody@all.test",                  ["Administrator", "Forbidden", "ok",           "ok"]),
        ("nobody@example.com",                ["NotFound",      "Forbidden", "NotFound",     "NotFound"]),
    ];
    for (email, expected) in cases {
        for (admin, expected) in [&helpdesk, &owner, &doorward, &stack.admin].into_iter().zip(expected) {
            let outcome = users.set_password(admin, email).await;
            assert_eq!(ended(outcome), expected, "{} sets that of {email}", admin.member());
        }
        assert_eq!(ended(users.set_password(&stranger, email).await), "Forbidden", "{email}");
        let refused = stack.last_change();
        assert_eq!((refused.code, refused.after), (7, None), "a refusal is recorded");
    }
    let outcomes = [
        (users.disable(&helpdesk, "owner@example.com", true).await, "Administrator"),
        (users.delete(&helpdesk, "owner@example.com").await, "Administrator"),
        (users.disable(&owner, "doorward@example.com", true).await, "ok"),
        (users.delete(&owner, "owner@example.com").await, "Oneself"),
        (users.disable(&owner, "owner@example.com", true).await, "Oneself"),
        (users.delete(&helpdesk, "visitor@example.com").await, "ok"),
        (users.delete(&owner, "doorward@example.com").await, "ok"),
    ];
    for (place, (outcome, expected)) in outcomes.into_iter().enumerate() {
        assert_eq!(ended(outcome), expected, "{place}");
    }
}
