use doorward_control::groups::GROUPS_OF_ONE_LIMIT;
use doorward_core::group::Group;
use doorward_core::member::Email;
use doorward_core::policy::Etag;
use doorward_wire::doorward_api::GroupResource;
use serde_json::json;

use crate::robots::ROBOT;
use crate::{Stack, cause};

const APP: &str = "projects/123/iap_web/compute/services/app";

fn group(email: &str, members: &[&str]) -> GroupResource {
    let members = members.iter().map(|member| (*member).to_owned()).collect();
    GroupResource { email: email.to_owned(), members, ..GroupResource::default() }
}

impl Stack {
    async fn change_members(&self, email: &str, added: &[&str], removed: &[&str]) -> String {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let told = |outcome: Result<(), _>| outcome.map_or_else(|error| cause(&error), |()| "ok".to_owned());
        if !removed.is_empty() {
            return told(self.groups.remove_members(&self.admin, email, &owned(removed)).await);
        }
        told(self.groups.add_members(&self.admin, email, &owned(added)).await)
    }
}

#[tokio::test]
async fn whoever_is_in_a_group_has_what_it_has_from_the_answer_on() {
    let stack = Stack::new().await;
    stack.groups.create(&stack.admin, group("Inner@x.com", &["user:ann@example.com"])).await.unwrap();
    stack.groups.create(&stack.admin, group("outer@x.com", &["group:inner@x.com"])).await.unwrap();
    let policy = json!({"bindings": [{"role": "roles/iap.httpsResourceAccessor", "members": ["group:outer@x.com"]}]});
    stack.set_policy(APP, serde_json::from_value(policy).unwrap()).await.unwrap();
    assert!(stack.admits("ann@example.com") && !stack.admits("bob@example.com"));
    assert_eq!(stack.change_members("inner@x.com", &["user:bob@example.com", "user:ann@example.com"], &[]).await, "ok");
    assert!(stack.admits("bob@example.com"));
    assert_eq!(stack.change_members("inner@x.com", &[], &["user:ann@example.com", "user:none@x.com"]).await, "ok");
    assert!(!stack.admits("ann@example.com"));
    let page = stack.groups.members(&stack.admin, "inner@x.com", None, None).await.unwrap();
    assert_eq!((page.members, page.next_page_token), (vec!["user:bob@example.com".to_owned()], None));

    stack.groups.delete(&stack.admin, "inner@x.com").await.unwrap();
    assert!(!stack.admits("bob@example.com"));
    stack.groups.create(&stack.admin, group("inner@x.com", &["user:bob@example.com"])).await.unwrap();
    assert!(!stack.admits("bob@example.com"), "a new group of the same address is another group");
    stack.groups.delete(&stack.admin, "outer@x.com").await.unwrap();
    assert!(stack.get_policy(APP).await.unwrap().bindings.is_empty(), "bindings go with the group");
}

#[tokio::test]
async fn somebody_is_in_only_so_many_groups() {
    let stack = Stack::new().await;
    let ann = "user:ann@example.com".parse().unwrap();
    for number in 0..GROUPS_OF_ONE_LIMIT {
        let email: Email = format!("g{number}@x.com").parse().unwrap();
        let (display_name, description) = (String::new(), String::new());
        stack
            .store
            .add_group(&Group { email: email.clone(), display_name, description, etag: Etag::UNWRITTEN })
            .await
            .unwrap();
        stack.store.add_group_member(&email, &ann).await.unwrap();
    }
    stack.groups.create(&stack.admin, group("more@x.com", &[])).await.unwrap();
    assert_eq!(stack.change_members("more@x.com", &["user:ann@example.com"], &[]).await, "TooManyGroups");
    let made = stack.groups.create(&stack.admin, group("other@x.com", &["user:ann@example.com"])).await;
    assert_eq!(cause(&made.unwrap_err()), "TooManyGroups");
    assert_eq!(stack.change_members("g7@x.com", &["user:ann@example.com"], &[]).await, "ok", "who is in it stays");
    assert_eq!(stack.change_members("g7@x.com", &[], &["user:ann@example.com"]).await, "ok");
    assert_eq!(stack.change_members("more@x.com", &["user:ann@example.com"], &[]).await, "ok");
}

#[tokio::test]
async fn what_cannot_be_a_group_or_be_in_one_is_refused() {
    let stack = Stack::new().await;
    stack.create_account("robot1").await;
    stack.add_person("alice").await;
    stack.groups.create(&stack.admin, group("a@x.com", &[])).await.unwrap();
    stack.groups.create(&stack.admin, group("b@x.com", &["group:a@x.com"])).await.unwrap();
    #[rustfmt::skip]
    let created = [
        (group("a@x.com", &[]),                                                          "Taken"),
        (group("alice@example.com", &[]),                                                "Taken"),
        (group(ROBOT, &[]),                                                              "Taken"),
        (group("x.com", &[]),                                                            "Email"),
        (group("c@x.com", &["group:c@x.com"]),                                           "Nesting"),
        (GroupResource { display_name: "x".repeat(101), ..group("c@x.com", &[]) },       "Text"),
        (GroupResource { description: "a\nb".into(), ..group("c@x.com", &[]) },          "Text"),
    ];
    for (given, expected) in created {
        let outcome = stack.groups.create(&stack.admin, given.clone()).await;
        assert_eq!(outcome.map_or_else(|error| cause(&error), |_| "ok".to_owned()), expected, "{given:?}");
    }
    let account = format!("serviceAccount:{ROBOT}");
    #[rustfmt::skip]
    let added = [
        ("a@x.com",    account.as_str(),                                                 "ok"),
        ("a@x.com",    "domain:example.com",                                             "ok"),
        ("a@x.com",    "serviceAccount:none@dev-project.iam.gserviceaccount.com",        "UnknownMember"),
        ("a@x.com",    "group:none@x.com",                                               "UnknownMember"),
        ("a@x.com",    "principalSet://doorward/trustedIssuers/none/*",                  "UnknownMember"),
        ("a@x.com",    "principalSet://iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/none/*", "UnknownMember"),
        ("a@x.com",    "group:b@x.com",                                                  "Nesting"),
        ("a@x.com",    "group:a@x.com",                                                  "Nesting"),
        ("a@x.com",    "allUsers",                                                       "NoMember"),
        ("a@x.com",    "deleted:user:a@x.com?uid=1",                                     "NoMember"),
        ("a@x.com",    "ann",                                                            "Member"),
        ("none@x.com", "user:ann@x.com",                                                 "NotFound"),
    ];
    for (email, member, expected) in added {
        assert_eq!(stack.change_members(email, &[member], &[]).await, expected, "{email} {member}");
    }
}

#[tokio::test]
async fn groups_and_members_come_in_pages_and_texts_change_by_state() {
    let stack = Stack::new().await;
    let members: Vec<String> = (0..5).map(|number| format!("user:u{number}@x.com")).collect();
    for email in ["c@x.com", "a@x.com", "b@x.com"] {
        let given = GroupResource { members: members.clone(), ..group(email, &[]) };
        stack.groups.create(&stack.admin, given).await.unwrap();
    }
    let first = stack.groups.list(&stack.admin, Some(2), None).await.unwrap();
    let second = stack.groups.list(&stack.admin, Some(2), first.next_page_token.as_deref()).await.unwrap();
    let emails: Vec<_> = first.groups.iter().chain(&second.groups).map(|group| group.email.as_str()).collect();
    assert_eq!((emails, second.next_page_token), (vec!["a@x.com", "b@x.com", "c@x.com"], None));
    let first = stack.groups.members(&stack.admin, "a@x.com", Some(3), None).await.unwrap();
    let second =
        stack.groups.members(&stack.admin, "a@x.com", Some(3), first.next_page_token.as_deref()).await.unwrap();
    assert_eq!([first.members, second.members].concat(), members);
    assert_eq!(cause(&stack.groups.list(&stack.admin, None, Some("!")).await.unwrap_err()), "PageToken");

    let old = stack.groups.get(&stack.admin, "a@x.com").await.unwrap();
    let given = GroupResource { display_name: "A".into(), ..old };
    let new = stack.groups.update(&stack.admin, "a@x.com", given.clone()).await.unwrap();
    assert_eq!(stack.groups.get(&stack.admin, "a@x.com").await.unwrap(), new);
    assert_eq!(new.display_name, "A");
    assert_eq!(cause(&stack.groups.update(&stack.admin, "a@x.com", given).await.unwrap_err()), "Conflict");
}
