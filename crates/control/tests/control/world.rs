//! Everything in one file.

use std::sync::Arc;

use doorward_control::access_levels::AccessLevelService;
use doorward_control::admin::Admin;
use doorward_control::deny_policies::DenyPolicies;
use doorward_control::groups::GroupService;
use doorward_control::policies::Policies;
use doorward_control::roles::RoleService;
use doorward_control::service_accounts::{KeyFileUrls, ServiceAccounts};
use doorward_control::settings::SettingsService;
use doorward_control::world::{UseCases, World, schema};
use doorward_wire::doorward_api::{ApplyRequest, ApplyResponse, WorldChange};
use doorward_wire::world_file::WorldFile;
use serde_json::{Value, json};

use crate::{Stack, cause};

const ROLE: &str = "roles/iap.httpsResourceAccessor";

impl Stack {
    pub(crate) fn world(&self) -> World {
        let (store, publisher, changes) = (&self.store, &self.publisher, &self.changes);
        let urls = KeyFileUrls {
            auth_uri: String::new(),
            token_uri: String::new(),
            provider_certs: String::new(),
            client_certs_base: String::new(),
        };
        let entropy = self.entropy.clone();
        let cases = UseCases {
            applications: self.applications(),
            settings: Arc::new(SettingsService::new(store.clone(), publisher.clone(), changes.clone())),
            policies: Arc::new(Policies::new(store.clone(), publisher.clone(), changes.clone())),
            deny_policies: Arc::new(DenyPolicies::new(
                store.clone(),
                publisher.clone(),
                changes.clone(),
                entropy.clone(),
            )),
            groups: Arc::new(GroupService::new(store.clone(), publisher.clone(), changes.clone())),
            roles: Arc::new(RoleService::new(store.clone(), publisher.clone(), changes.clone())),
            access_levels: Arc::new(AccessLevelService::new(store.clone(), publisher.clone(), changes.clone())),
            service_accounts: Arc::new(ServiceAccounts::new(
                store.clone(),
                publisher.clone(),
                changes.clone(),
                entropy,
                urls,
            )),
        };
        World::new(store.clone(), publisher.clone(), changes.clone(), cases)
    }

    async fn apply(&self, file: Value, prune: bool) -> Result<ApplyResponse, String> {
        let request = ApplyRequest { file: serde_json::from_value(file).unwrap(), dry_run: false, prune };
        self.world().apply(&self.admin, request).await.map_err(|error| error.to_string())
    }
}

fn names(changes: &[WorldChange]) -> Vec<String> {
    let text = |value: Value| value.as_str().unwrap().to_owned();
    let one = |it: &WorldChange| format!("{} {}", text(serde_json::to_value(it.action).unwrap()), it.name);
    changes.iter().map(one).collect()
}

/// One of each, with names that lead from one to another, in an order in which none could be made.
fn whole() -> Value {
    json!({
        "policies": [
            {"resource": "app wiki", "bindings": [
                {"role": ROLE, "members": ["group:all@example.com"], "condition": "'accessPolicies/123/accessLevels/office' in request.auth.access_levels"},
                {"role": "projects/dev-project/roles/wikiDoor", "members": ["serviceAccount:robot1@dev-project.iam.gserviceaccount.com"]},
            ]},
            {"resource": "account robot1", "bindings": [{"role": "roles/iam.workloadIdentityUser", "members": ["user:ann@example.com"]}]},
        ],
        "deny_policies": [{"id": "no-eve", "rules": [{"denied_principals": ["user:eve@example.com"], "denied_permissions": ["iap.googleapis.com/webServiceVersions.accessViaIAP"]}]}],
        "settings": [{"resource": "app wiki", "access_settings": {"oauth_settings": {"programmatic_clients": ["c"]}}}],
        "applications": [{"name": "wiki", "hosts": ["wiki.test"], "upstreams": ["http://u"]}],
        "groups": [
            {"email": "all@example.com", "members": ["group:staff@example.com"]},
            {"email": "staff@example.com", "members": ["user:ann@example.com"]},
        ],
        "roles": [{"id": "wikiDoor", "permissions": ["iap.webServiceVersions.accessViaIAP"]}],
        "access_levels": [
            {"name": "inner", "required_access_levels": ["office"]},
            {"name": "office", "ip_subnetworks": ["192.0.2.0/24"]},
        ],
        "service_accounts": [{"id": "robot1", "disabled": true}],
    })
}

#[tokio::test]
async fn a_file_is_applied_in_an_order_that_works_and_then_changes_nothing() {
    let stack = Stack::new().await;
    let dry = ApplyRequest { file: serde_json::from_value(whole()).unwrap(), dry_run: true, prune: false };
    let planned = stack.world().apply(&stack.admin, dry).await.unwrap();
    assert_eq!((planned.done.len(), planned.not_done.len()), (0, 11));
    let applied = stack.apply(whole(), false).await.unwrap();
    assert_eq!(applied.failure, None);
    assert_eq!((applied.done.len(), names(&applied.kept)), (11, vec!["REMOVE app".to_owned()]));
    let again = stack.apply(whole(), false).await.unwrap();
    assert_eq!((names(&again.done), again.is_in_force()), (vec![], true));
    let exported = stack.world().export(&stack.admin).await.unwrap();
    let file = serde_json::to_value(&exported).unwrap();
    let back = stack.apply(file.clone(), true).await.unwrap();
    assert_eq!((names(&back.done), names(&back.kept), back.failure), (vec![], vec![], None));
    assert_eq!(file["applications"].as_array().unwrap().len(), 2);
    assert_eq!(file["policies"][0]["resource"], "app wiki");
    let condition =
        &file["policies"][0]["bindings"].as_array().unwrap().iter().find(|it| it["role"] == ROLE).unwrap()["condition"];
    assert!(condition.is_string(), "{condition}");
    // The file is read again as a person's program would.
    let mut read: WorldFile = serde_json::from_value(file).unwrap();
    read.sort();
    assert_eq!(read, exported);
}

#[tokio::test]
async fn pruning_takes_away_what_a_list_has_not_and_leaves_other_lists_alone() {
    let stack = Stack::new().await;
    stack.apply(whole(), false).await.unwrap();
    let mut file = whole();
    for list in ["applications", "settings", "policies", "groups", "access_levels", "roles", "deny_policies"] {
        file[list] = json!([]);
    }
    file.as_object_mut().unwrap().remove("service_accounts");
    let pruned = stack.apply(file, true).await.unwrap();
    assert_eq!(pruned.failure, None);
    let left = serde_json::to_value(stack.world().export(&stack.admin).await.unwrap()).unwrap();
    let empty: Vec<&String> = left
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, list)| list.as_array().unwrap().is_empty())
        .map(|(name, _)| name)
        .collect();
    assert_eq!(empty, ["access_levels", "applications", "deny_policies", "groups", "policies", "roles", "settings"]);
    assert_eq!(left["service_accounts"][0]["id"], "robot1");
}

#[tokio::test]
async fn a_host_moves_from_one_application_to_another() {
    let stack = Stack::new().await;
    let app = |name: &str, host: &str| json!({"name": name, "hosts": [host], "upstreams": ["http://u"]});
    let both = |a: &str, b: &str| json!({"applications": [app("a", a), app("b", b)]});
    stack.apply(both("a.test", "b.test"), false).await.unwrap();
    let moved = stack.apply(both("b.test", "c.test"), false).await.unwrap();
    assert_eq!((moved.failure.clone(), moved.done.len()), (None, 2));
    let swapped = stack.apply(both("c.test", "b.test"), false).await.unwrap();
    let failure = swapped.failure.unwrap();
    assert_eq!((failure.name.as_str(), swapped.done.len(), swapped.not_done.len()), ("a", 0, 2), "{}", failure.message);
}

#[tokio::test]
async fn it_stops_at_the_first_thing_that_cannot_be_changed_and_says_what_was_done() {
    let stack = Stack::new().await;
    let file = json!({
        "roles": [{"id": "wikiDoor", "permissions": ["iap.webServiceVersions.accessViaIAP"]}],
        "policies": [
            // Pools are in no file: only the store knows that this one is not there.
            {"resource": "app app", "bindings": [{"role": ROLE, "members": ["principalSet://iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/gone/*"]}]},
            {"resource": "web", "bindings": [{"role": ROLE, "members": ["user:ann@example.com"]}]},
        ],
    });
    let stopped = stack.apply(file, false).await.unwrap();
    assert_eq!(names(&stopped.done), ["ADD wikiDoor"]);
    assert_eq!(names(&stopped.not_done), ["ADD app app", "ADD web"]);
    let failure = stopped.failure.unwrap();
    assert!(failure.name == "app app" && failure.message.contains("workloadIdentityPools/gone"), "{failure:?}");
}

#[tokio::test]
async fn a_mistake_in_a_file_is_found_before_anything_is_changed() {
    let stack = Stack::new().await;
    let before = serde_json::to_value(stack.world().export(&stack.admin).await.unwrap()).unwrap();
    let policy = |resource: &str, binding: Value| json!({"policies": [{"resource": resource, "bindings": [binding]}]});
    let app = |changes: Value| {
        let mut it = json!({"name": "wiki", "hosts": ["wiki.test"], "upstreams": ["http://u"]});
        it.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        json!({"applications": [it], "roles": [{"id": "wikiDoor", "permissions": []}]})
    };
    #[rustfmt::skip]
    let cases = [
        (app(json!({"hosts": ["a b"]})),                                                      "app wiki: \"a b\" is no host"),
        (app(json!({"hosts": ["http://127.0.0.1:8081"]})),                                    "app wiki: 127.0.0.1:8081 is our own"),
        (app(json!({"upstreams": ["ftp://u"]})),                                              "app wiki: \"ftp://u\" is no upstream"),
        (policy("app gone", json!({"role": ROLE, "members": []})),                            "there is no app gone"),
        (policy("web", json!({"role": ROLE, "members": ["ann"]})),                            "the policy of web: \"ann\": not a member"),
        (policy("web", json!({"role": "admin", "members": []})),                              "\"admin\" is no role"),
        (policy("web", json!({"role": ROLE, "members": ["user:a@x.com"], "condition": "request.nothing == 1"})), "the policy of web: condition"),
        (policy("web", json!({"role": ROLE, "members": ["allUsers"], "condition": "request.path == '/'"})), "cannot have a condition"),
        (json!({"policies": [{"resource": "app app", "bindings": []}, {"resource": "projects/123/iap_web/compute/services/777", "bindings": []}]}), "is there twice"),
        (json!({"groups": [{"email": "x"}]}),                                                 "group x: \"x\" is no e-mail address"),
        (json!({"groups": [{"email": "a@x.com", "members": ["allUsers"]}]}),                  "cannot be in a group"),
        (json!({"roles": [{"id": "door", "permissions": ["iap.web.nothing"]}]}),              "role door: permission iap.web.nothing"),
        (json!({"access_levels": [{"name": "l"}]}),                                           "access level l: the level demands nothing"),
        (json!({"access_levels": [{"name": "l", "expression": "true", "members": ["user:a@x.com"]}]}), "either an expression or lists"),
        (json!({"deny_policies": [{"id": "d", "rules": []}]}),                                "deny policy d: not the name"),
        (json!({"deny_policies": [{"id": "deny", "attached_to": "web", "rules": []}]}),       "is attached to a project"),
        (json!({"settings": [{"resource": "web", "access_settings": {"cors_settings": {"allow_http_options": true}}}]}), "has no effect here"),
        (json!({"service_accounts": [{"id": "x"}]}),                                          "account x: \"x\" is no id"),
        (policy("web", json!({"role": ROLE, "members": ["group:gone@x.com"]})),                "the policy of web: there is no group:gone@x.com, neither here nor in the file"),
        (policy("web", json!({"role": ROLE, "members": ["serviceAccount:gone1@dev-project.iam.gserviceaccount.com"]})), "there is no serviceAccount:gone1@"),
        (policy("web", json!({"role": "roles/gone", "members": ["user:a@x.com"]})),            "the policy of web: there is no role roles/gone"),
        (policy("web", json!({"role": "roles/owner", "members": ["user:a@x.com"]})),           "roles/owner holds no permission that could be used here"),
        (json!({"groups": [{"email": "a@x.com", "members": ["group:gone@x.com"]}]}),          "group a@x.com: there is no group:gone@x.com"),
        (json!({"access_levels": [{"name": "l", "required_access_levels": ["gone"]}]}),       "access level l: there is no access level accessPolicies/123/accessLevels/gone"),
    ];
    for (file, expected) in cases {
        let error = stack.apply(file.clone(), true).await.unwrap_err();
        assert!(error.contains(expected), "{file}\n{error}");
    }
    assert_eq!(serde_json::to_value(stack.world().export(&stack.admin).await.unwrap()).unwrap(), before);
}

#[tokio::test]
async fn every_mistake_of_a_file_is_found_at_once() {
    let stack = Stack::new().await;
    let file = json!({
        "applications": [{"name": "wiki", "hosts": ["a b"], "upstreams": ["ftp://u"]}],
        "groups": [{"email": "x", "members": ["allUsers"]}],
        "policies": [{"resource": "app wiki", "bindings": [
            {"role": "admin", "members": ["ann", "bob"]},
            {"role": ROLE, "members": ["user:a@x.com"], "condition": "request.nothing == 1"},
            {"role": ROLE, "members": ["user:a@x.com"], "condition": "request.path =="},
        ]}],
        "deny_policies": [{"id": "deny", "rules": [{"denied_principals": ["ann"], "denied_permissions": ["x"]}]}],
    });
    let error = stack.apply(file, false).await.unwrap_err();
    let places: Vec<&str> = error.lines().map(|line| line.split_once(": ").unwrap().0).collect();
    let policy = "the policy of app wiki";
    let expected = [&["app wiki"; 2][..], &[policy; 5], &["deny policy deny"; 2], &["group x"; 2]].concat();
    assert_eq!(places, expected, "{error}");
}

#[tokio::test]
async fn an_export_has_what_its_reader_may_see_and_a_plan_demands_it() {
    let stack = Stack::new().await;
    stack.apply(whole(), false).await.unwrap();
    let user = stack.holding("user", ROLE, "projects/123").await;
    let reviewer = stack.holding("reviewer", "roles/iam.securityReviewer", "projects/123").await;
    let lists = |admin: Admin| {
        let world = stack.world();
        async move {
            let file = serde_json::to_value(world.export(&admin).await.unwrap()).unwrap();
            let sizes =
                file.as_object().unwrap().iter().map(|(name, list)| (name.clone(), list.as_array().unwrap().len()));
            sizes.collect::<Vec<_>>()
        }
    };
    assert_eq!(lists(user.clone()).await, [("policies".to_owned(), 0), ("settings".to_owned(), 0)]);
    let seen: Vec<String> = lists(reviewer).await.into_iter().map(|(name, _)| name).collect();
    // It lists deny policies, and a list has no rules.
    assert!(seen.contains(&"roles".to_owned()) && !seen.contains(&"deny_policies".to_owned()), "{seen:?}");
    let request = ApplyRequest { file: serde_json::from_value(whole()).unwrap(), dry_run: true, prune: false };
    assert_eq!(cause(&stack.world().apply(&user, request).await.unwrap_err()), "Forbidden");
}

/// The names of an object's properties in the schema.
fn properties(schema: &Value, name: &str) -> Vec<String> {
    let object = if name.is_empty() { schema } else { &schema["$defs"][name] };
    object["properties"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_schema_is_the_one_that_is_published_and_names_what_the_file_has() {
    let schema = schema();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/world-file.schema.json");
    let published: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(schema, published);
    // What serde says it takes where it is given something else.
    #[rustfmt::skip]
    let places = [
        ("",                 json!({"?": 1})),
        ("application",      json!({"applications": [{"?": 1}]})),
        ("policy",           json!({"policies": [{"?": 1}]})),
        ("binding",          json!({"policies": [{"resource": "web", "bindings": [{"?": 1}]}]})),
        ("deny_policy",      json!({"deny_policies": [{"?": 1}]})),
        ("deny_rule",        json!({"deny_policies": [{"id": "d", "rules": [{"?": 1}]}]})),
        ("group",            json!({"groups": [{"?": 1}]})),
        ("role",             json!({"roles": [{"?": 1}]})),
        ("access_level",     json!({"access_levels": [{"?": 1}]})),
        ("service_account",  json!({"service_accounts": [{"?": 1}]})),
    ];
    for (name, file) in places {
        let error = serde_json::from_value::<WorldFile>(file).unwrap_err().to_string();
        let (_, expected) = error.split_once("expected").unwrap();
        let mut taken: Vec<String> = expected.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        taken.sort();
        assert_eq!(properties(&schema, name), taken, "{name}");
    }
}

#[tokio::test]
async fn a_file_of_somebody_without_rights_is_refused_before_it_is_read_and_tells_nothing_of_what_is_there() {
    let stack = Stack::new().await;
    let world = stack.world();
    let stranger = stack.holding("stranger", ROLE, "projects/123").await;
    let broken = json!([{"role": ROLE, "members": ["nobody"], "condition": "request.path =="}]);
    let of = |list: &str, resource: &str| match list {
        "policies" => json!({"policies": [{"resource": resource, "bindings": broken}]}),
        _ => json!({"settings": [{"resource": resource}]}),
    };
    #[rustfmt::skip]
    let pairs = [
        ("app app",                                     "app nope"),
        ("account robot",                               "account nobody"),
        ("account robot",                               "account x"),
        ("projects/123/iap_web/compute/services/777",   "projects/123/iap_web/compute/services/778"),
        ("projects/123/iap_web/compute/services/app",   "projects/123/iap_web/compute/services/nope"),
        ("account robot",                               "projects/no//name"),
    ];
    for list in ["policies", "settings"] {
        for (there, none) in pairs {
            for dry_run in [true, false] {
                let before = stack.admin_events().len();
                let mut told = Vec::new();
                for resource in [there, none] {
                    let file = serde_json::from_value(of(list, resource)).unwrap();
                    let request = ApplyRequest { file, dry_run, prune: false };
                    let error = world.apply(&stranger, request).await.unwrap_err();
                    assert_eq!(cause(&error), "Forbidden", "{list} {resource}: {error}");
                    told.push(error.to_string().replace(resource, "IT"));
                }
                // A text that is no name is told by its form.
                if !none.contains("//") {
                    assert_eq!(told[0], told[1], "{list}");
                }
                let recorded = stack.admin_events().split_off(before);
                let refused = recorded.iter().filter(|it| it.code == 7 && it.permissions.iter().any(|it| !it.granted));
                assert_eq!(refused.count(), 2, "{list} {there}");
            }
        }
    }
    for nothing in ["policies", "settings"] {
        let request =
            ApplyRequest { file: serde_json::from_value(json!({nothing: []})).unwrap(), ..Default::default() };
        assert_eq!(cause(&world.apply(&stranger, request).await.unwrap_err()), "Forbidden", "{nothing}");
    }
    // Who administers one application sends the policy of that one.
    let one = stack.holding("one", "roles/iap.admin", "projects/123/iap_web/compute/services/777").await;
    let bindings = json!([{"role": ROLE, "members": ["user:ann@example.com"]}]);
    let file = serde_json::from_value(json!({"policies": [{"resource": "app app", "bindings": bindings}]})).unwrap();
    let done = world.apply(&one, ApplyRequest { file, ..Default::default() }).await.unwrap();
    assert_eq!(names(&done.done), ["CHANGE app app"], "{:?}", done.failure);
    assert!(world.longest_file(&one) < world.longest_file(&stack.admin));
}

#[tokio::test]
async fn a_file_has_only_so_many_conditions() {
    let stack = Stack::new().await;
    let binding = json!({"role": ROLE, "members": ["user:ann@example.com"], "condition": "request.path == '/'"});
    let bindings = vec![binding; 50_001];
    let said = stack.apply(json!({"policies": [{"resource": "app app", "bindings": bindings}]}), false).await;
    assert!(said.unwrap_err().starts_with("the file: 50001 conditions, and a file may have 50000"));
}
