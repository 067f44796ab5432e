use doorward_control::roles::Page;
use doorward_wire::google_api::iam_roles::{
    CreateRoleRequest, ListRolesQuery, QueryGrantableRolesRequest, QueryTestablePermissionsRequest, Role, RoleView,
};
use serde_json::{Value, json};

use crate::{Stack, cause};

const APP: &str = "projects/123/iap_web/compute/services/app";

fn request(value: Value) -> CreateRoleRequest {
    serde_json::from_value(value).unwrap()
}

fn role(value: Value) -> Role {
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn a_custom_role_gives_what_it_holds_at_each_moment() {
    let stack = Stack::new().await;
    let given = json!({"roleId": "door", "role": {
        "title": "Door", "includedPermissions": ["iap.webServiceVersions.accessViaIAP"], "stage": "GA",
    }});
    let made = stack.roles.create(&stack.admin, "projects/dev-project", request(given)).await.unwrap();
    // Shown by the project's id, as Google writes it, and found by its number too.
    let (name, by_number) = ("projects/dev-project/roles/door", "projects/123/roles/door");
    let expected = json!({
        "name": name, "title": "Door", "includedPermissions": ["iap.webServiceVersions.accessViaIAP"], "stage": "GA",
        "etag": serde_json::to_value(&made.etag).unwrap(),
    });
    assert_eq!(serde_json::to_value(&made).unwrap(), expected);
    let binding = json!({"bindings": [{"role": by_number, "members": ["user:ann@example.com"]}]});
    let bound = stack.set_policy(APP, serde_json::from_value(binding).unwrap()).await.unwrap();
    assert_eq!(bound.bindings[0].role, name);
    for name in [name, by_number] {
        assert_eq!(stack.roles.get(&stack.admin, name).await.unwrap(), made);
    }
    assert!(stack.admits("ann@example.com"));

    let patch = async |value: Value, mask: &str| stack.roles.patch(&stack.admin, name, role(value), Some(mask)).await;
    patch(json!({"stage": "DISABLED"}), "stage").await.unwrap();
    assert!(!stack.admits("ann@example.com"), "a disabled role gives nothing");
    patch(json!({"stage": "GA", "title": "passed over"}), "stage").await.unwrap();
    assert!(stack.admits("ann@example.com"));
    patch(json!({"includedPermissions": ["iap.web.getIamPolicy"]}), "included_permissions").await.unwrap();
    assert!(!stack.admits("ann@example.com"));
    let stale = patch(json!({"title": "T", "etag": expected["etag"]}), "title").await.unwrap_err();
    assert_eq!(cause(&stale), "Conflict");
    let back =
        patch(json!({"includedPermissions": ["iap.webServiceVersions.accessViaIAP"]}), "includedPermissions").await;
    assert_eq!(back.unwrap().title, "Door");

    let deleted = stack.roles.delete(&stack.admin, name, None).await.unwrap();
    assert_eq!(deleted.deleted, Some(true));
    assert!(!stack.admits("ann@example.com"), "a deleted role gives nothing");
    let outcome = stack.set_policy("projects/123", bound.clone()).await.unwrap_err();
    assert_eq!(cause(&outcome), "Conflict");
    let again =
        serde_json::from_value(json!({"bindings": [{"role": name, "members": ["user:bob@example.com"]}]})).unwrap();
    assert_eq!(cause(&stack.set_policy("projects/123", again).await.unwrap_err()), "UnknownRole");
    stack.roles.undelete(&stack.admin, name, None).await.unwrap();
    assert!(stack.admits("ann@example.com"));
    assert_eq!(cause(&stack.roles.undelete(&stack.admin, name, None).await.unwrap_err()), "NotDeleted");
}

#[tokio::test]
async fn a_role_that_cannot_be_is_refused() {
    let stack = Stack::new().await;
    stack.roles.create(&stack.admin, "projects/123", request(json!({"roleId": "taken"}))).await.unwrap();
    stack.roles.create(&stack.admin, "projects/123", request(json!({"roleId": "gone"}))).await.unwrap();
    stack.roles.delete(&stack.admin, "projects/123/roles/gone", None).await.unwrap();
    let with = |permission: &str| json!({"roleId": "free", "role": {"includedPermissions": [permission]}});
    #[rustfmt::skip]
    let cases = [
        ("projects/123",      json!({"roleId": "taken"}),                                    "AlreadyExists"),
        ("projects/123",      json!({"roleId": "gone"}),                                     "Deleted"),
        ("projects/123",      json!({"roleId": "no"}),                                       "Id"),
        ("projects/123",      json!({"roleId": "a/b"}),                                      "Id"),
        ("projects/123",      with("iap.web.none"),                                          "Role"),
        ("projects/123",      with("iap.folders.getSettings"),                               "Role"),
        ("projects/123",      json!({"roleId": "free", "role": {"title": "t".repeat(101)}}), "Role"),
        ("projects/other",    json!({"roleId": "free"}),                                     "NotFound"),
        ("organizations/9",   json!({"roleId": "free"}),                                     "NotFound"),
        ("folders/21",        json!({"roleId": "free"}),                                     "Malformed"),
        ("organizations/1",   with("iap.folders.getSettings"),                               "ok"),
    ];
    for (parent, given, expected) in cases {
        let outcome = stack.roles.create(&stack.admin, parent, request(given.clone())).await;
        assert_eq!(outcome.map_or_else(|error| cause(&error), |_| "ok".to_owned()), expected, "{parent} {given}");
    }
    for name in ["projects/123/roles/none", "roles/none", "none", "projects/123/roles/a b"] {
        assert_eq!(cause(&stack.roles.get(&stack.admin, name).await.unwrap_err()), "NotFound", "{name}");
    }
    let listed = async |show_deleted| {
        let query = ListRolesQuery { show_deleted, ..ListRolesQuery::default() };
        let listed = stack.roles.list(&stack.admin, "projects/123", &query).await.unwrap();
        listed.items.into_iter().map(|role| role.name.rsplit('/').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (listed(false).await, listed(true).await),
        (vec!["taken".to_owned()], vec!["gone".into(), "taken".into()])
    );
}

#[tokio::test]
async fn roles_and_permissions_are_shown_for_the_resource_where_they_do_something() {
    let stack = Stack::new().await;
    let grantable = async |name: &str| {
        let request = QueryGrantableRolesRequest { full_resource_name: name.to_owned(), ..Default::default() };
        let listed = stack.roles.grantable(&stack.admin, &request).await.unwrap();
        listed.items.into_iter().map(|role| role.name).filter(|name| name.starts_with("roles/iap.")).collect::<Vec<_>>()
    };
    let on_app = [
        "roles/iap.admin",
        "roles/iap.egressor",
        "roles/iap.httpsResourceAccessor",
        "roles/iap.remediatorUser",
        "roles/iap.settingsAdmin",
    ];
    assert_eq!(grantable(&format!("//iap.googleapis.com/{APP}")).await, on_app);
    assert_eq!(grantable("//cloudresourcemanager.googleapis.com/projects/dev-project").await.len(), 8);
    let request = QueryTestablePermissionsRequest {
        full_resource_name: format!("//iap.googleapis.com/{APP}"),
        page_size: Some(3),
        ..Default::default()
    };
    let page = stack.roles.testable(&stack.admin, &request).await.unwrap();
    assert_eq!(page.items.len(), 3);
    assert!(
        page.items.iter().all(|permission| permission.name.starts_with("iap.web")) && page.next_page_token.is_some()
    );

    let mut all = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let page = Page { size: Some(10), token: token.as_deref() };
        let listed = stack.roles.predefined(&stack.admin, RoleView::Basic, page).unwrap();
        all.extend(listed.items.into_iter().map(|role| role.name));
        match listed.next_page_token {
            Some(next) => token = Some(next),
            None => break,
        }
    }
    assert_eq!(all.len(), doorward_core::policy::PredefinedRole::all().len());
    assert!(all.is_sorted());
    let bad = Page { size: None, token: Some("!") };
    assert_eq!(cause(&stack.roles.predefined(&stack.admin, RoleView::Full, bad).unwrap_err()), "PageToken");
}
