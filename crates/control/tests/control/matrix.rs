//! The golden matrix: every actor x action x resource, as one text file.

use std::collections::BTreeSet;

use doorward_control::admin::Admin;
use doorward_control::applications::Scope;
use doorward_control::brands::ClientPath;
use doorward_control::tunnel_dest_groups::Location;
use doorward_core::account::UniqueId;
use doorward_core::client::ClientKind;
use doorward_core::outbound::Reach;
use doorward_core::policy::{Permission, PredefinedRole};
use doorward_core::resource::Resource;
use doorward_wire::doorward_api::{
    AccessLevelResource, ApplicationResource, ApplyRequest, CreateUserRequest, ExplainRequest, GroupResource,
    SimulateRequest, WhatCanRequest, WhoCanRequest,
};
use doorward_wire::google_api::compute::{BackendService, ListQuery};
use doorward_wire::google_api::iam_roles::{
    CreateRoleRequest, ListRolesQuery, QueryGrantableRolesRequest, QueryTestablePermissionsRequest,
};
use doorward_wire::google_api::{CreateKeyRequest, IapSettings, WorkloadIdentityPool, iam_deny};
use serde_json::{Value, json};

use crate::administration::not_a_policy;
use crate::robots::ROBOT;
use crate::{Stack, cause, named};

const PROJECT: &str = "projects/123";
const APP: &str = "projects/123/iap_web/compute/services/app";

/// Who asks: a name, and what they hold where. Everybody is a person; `operator` holds the token of administration.
#[rustfmt::skip]
const HOLDERS: [(&str, &str, &str); 44] = [
    ("owner",        "roles/owner",                                 PROJECT),
    ("editor",       "roles/editor",                                PROJECT),
    ("viewer",       "roles/viewer",                                PROJECT),
    ("browser",      "roles/browser",                               PROJECT),
    ("org-owner",    "roles/owner",                                 "organizations/1"),
    ("iap",          "roles/iap.admin",                             PROJECT),
    ("iap-org",      "roles/iap.admin",                             "organizations/1"),
    ("iap-app",      "roles/iap.admin",                             APP),
    ("settings",     "roles/iap.settingsAdmin",                     PROJECT),
    ("settings-app", "roles/iap.settingsAdmin",                     APP),
    ("visitor",      "roles/iap.httpsResourceAccessor",             PROJECT),
    ("visitor-app",  "roles/iap.httpsResourceAccessor",             APP),
    ("egressor",     "roles/iap.egressor",                          PROJECT),
    ("remediator",   "roles/iap.remediatorUser",                    PROJECT),
    ("tunneler",     "roles/iap.tunnelResourceAccessor",            PROJECT),
    ("dest-groups",  "roles/iap.tunnelDestGroupEditor",             PROJECT),
    ("dest-viewer",  "roles/iap.tunnelDestGroupViewer",             PROJECT),
    ("creator",      "roles/iam.serviceAccountTokenCreator",        PROJECT),
    ("creator-one",  "roles/iam.serviceAccountTokenCreator",        "ROBOT"),
    ("openid",       "roles/iam.serviceAccountOpenIdTokenCreator",  PROJECT),
    ("workload",     "roles/iam.workloadIdentityUser",              PROJECT),
    ("acts",         "roles/iam.serviceAccountUser",                PROJECT),
    ("accounts",     "roles/iam.serviceAccountAdmin",               PROJECT),
    ("acc-viewer",   "roles/iam.serviceAccountViewer",              PROJECT),
    ("keys",         "roles/iam.serviceAccountKeyAdmin",            PROJECT),
    ("pools",        "roles/iam.workloadIdentityPoolAdmin",         PROJECT),
    ("pool-viewer",  "roles/iam.workloadIdentityPoolViewer",        PROJECT),
    ("roles",        "roles/iam.roleAdmin",                         PROJECT),
    ("role-viewer",  "roles/iam.roleViewer",                        PROJECT),
    ("security",     "roles/iam.securityAdmin",                     PROJECT),
    ("reviewer",     "roles/iam.securityReviewer",                  PROJECT),
    ("project-iam",  "roles/resourcemanager.projectIamAdmin",       PROJECT),
    ("denies",       "roles/iam.denyAdmin",                         PROJECT),
    ("denies-org",   "roles/iam.denyAdmin",                         "organizations/1"),
    ("deny-viewer",  "roles/iam.denyReviewer",                      PROJECT),
    ("clients",      "roles/oauthconfig.editor",                    PROJECT),
    ("client-view",  "roles/oauthconfig.viewer",                    PROJECT),
    ("compute",      "roles/compute.admin",                         PROJECT),
    ("computeview",  "roles/compute.viewer",                        PROJECT),
    ("appengine",    "roles/appengine.appAdmin",                    PROJECT),
    ("engine-view",  "roles/appengine.appViewer",                   PROJECT),
    ("doorward",     "roles/doorward.admin",                        PROJECT),
    ("dw-viewer",    "roles/doorward.viewer",                       PROJECT),
    ("nobody",       "",                                            ""),
];

/// Everything that somebody tried, in order, and how it ended.
#[derive(Default)]
struct Tried(Vec<(String, bool)>);

impl Tried {
    /// A try that is let through unless the permission was what was lacking: whatever else is wrong with the call is found later.
    fn put<T, E: std::fmt::Debug>(&mut self, action: impl Into<String>, outcome: Result<T, E>) {
        let lacking = matches!(&outcome, Err(error) if cause(error) == "Forbidden");
        self.0.push((action.into(), !lacking));
    }

    /// A question that is always answered, with what the caller may see.
    fn sees(&mut self, what: impl Into<String>, seen: bool) {
        self.0.push((what.into(), seen));
    }
}

#[test]
fn every_predefined_role_has_a_holder() {
    let held: BTreeSet<&str> = HOLDERS.iter().map(|(_, role, _)| *role).filter(|role| !role.is_empty()).collect();
    let there: BTreeSet<&str> = PredefinedRole::all().iter().map(|role| role.name).collect();
    assert_eq!(held, there);
}

#[tokio::test]
async fn every_action_demands_its_permission() {
    let stack = Stack::new().await;
    let robot = stack.create_account("robot1").await;
    for (name, more) in [
        ("regional", json!({"region": "r"})),
        ("engine", json!({"kind": "app_engine", "service": "default", "version": "v1"})),
        ("run", json!({"kind": "cloud_run", "region": "r"})),
    ] {
        let mut new = json!({"name": name, "hosts": [], "upstreams": []});
        new.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        stack.register(new).await.unwrap();
    }
    let on_robot = format!("projects/-/serviceAccounts/{ROBOT}");
    let mut actors = vec![("operator", "everything that is no data plane".to_owned(), Admin::local_operator())];
    for (name, role, on) in HOLDERS {
        let admin = if role.is_empty() {
            let id = stack.add_person(name).await;
            stack.administers(&id).await
        } else {
            stack.holding(name, role, if on == "ROBOT" { &on_robot } else { on }).await
        };
        actors.push((
            name,
            if role.is_empty() {
                "nothing".to_owned()
            } else {
                format!("{role} on {}", if on == "ROBOT" { "robot1" } else { on })
            },
            admin,
        ));
    }
    // Whoever owns everything, but for a condition that does not hold, or for a deny rule.
    let late = json!({"role": "roles/owner", "members": ["user:late@example.com"],
        "condition": {"title": "t", "expression": "request.time < timestamp('2000-01-01T00:00:00Z')"}});
    let id = stack.add_person("late").await;
    let mut policy = stack.get_policy(PROJECT).await.unwrap();
    policy.bindings.push(serde_json::from_value(late).unwrap());
    policy.version = Some(3);
    stack.set_policy(PROJECT, policy).await.unwrap();
    actors.push(("late", "roles/owner on projects/123, until last year".to_owned(), stack.administers(&id).await));
    let denied = stack.holding("denied", "roles/owner", PROJECT).await;
    let deny = json!({"rules": [{"denyRule": {"deniedPrincipals": ["user:denied@example.com"],
        "deniedPermissions": ["iap.googleapis.com/*.setIamPolicy", "iam.googleapis.com/roles.*"]}}]});
    let at = "cloudresourcemanager.googleapis.com%2Forganizations%2F1";
    stack.deny.create(&stack.admin, at, "none", serde_json::from_value(deny).unwrap()).await.unwrap();
    actors.push((
        "denied",
        "roles/owner on projects/123, denied iap.*.setIamPolicy and iam.roles.*".to_owned(),
        denied,
    ));

    let mut rows: Vec<(String, Vec<&str>)> = Vec::new();
    for (name, _, admin) in &actors {
        let tried = try_everything(&stack, admin, &robot.unique_id).await;
        for (row, (action, may)) in tried.0.into_iter().enumerate() {
            if rows.len() == row {
                rows.push((action.clone(), Vec::new()));
            }
            assert_eq!(rows[row].0, action, "everybody tries the same");
            if may {
                rows[row].1.push(name);
            }
        }
    }
    let mut picture = String::from("Who there is:\n\n");
    for (name, holds, _) in &actors {
        picture += &format!("{name:<14}{holds}\n");
    }
    picture += "\nWho may (whoever is not named may not):\n\n";
    for (action, names) in rows {
        picture += format!("{action:<87} {}\n", names.join(" ")).trim_end_matches(' ');
    }
    let picture = picture.lines().map(|line| format!("{}\n", line.trim_end())).collect::<String>();
    assert!(picture == include_str!("matrix.txt"), "it is now:\n{picture}");
}

async fn try_everything(stack: &Stack, admin: &Admin, robot: &UniqueId) -> Tried {
    let mut tried = Tried::default();
    data_plane(&mut tried, stack, admin, robot);
    policies_and_settings(&mut tried, stack, admin).await;
    deny_policies_and_roles(&mut tried, stack, admin).await;
    accounts_and_pools(&mut tried, stack, admin).await;
    applications(&mut tried, stack, admin).await;
    projects_and_clients(&mut tried, stack, admin).await;
    groups_levels_and_keys(&mut tried, stack, admin).await;
    questions(&mut tried, stack, admin).await;
    tried
}

/// Doors, and what it takes to be an account.
fn data_plane(tried: &mut Tried, stack: &Stack, admin: &Admin, robot: &UniqueId) {
    use Permission as P;
    let snapshot = stack.publisher.cell().current();
    let at = |name: &str| snapshot.resource(name).unwrap();
    let version = format!("{APP}/versions/bs_0");
    let account = Resource::ServiceAccount { unique_id: robot.clone() };
    #[rustfmt::skip]
    let doors = [
        ("enter app",                     P::AccessViaIap,          at(&version)),
        ("egress app",                    P::EgressViaIap,          at(&version)),
        ("be remedied at app",            P::RemediateWeb,          at(&version)),
        ("enter an instance by a tunnel", P::AccessInstanceViaIap,  at("projects/123/iap_tunnel/zones/z/instances/i")),
        ("enter a destination group",     P::AccessDestGroupViaIap, at("projects/123/iap_tunnel/locations/l/destGroups/g")),
        ("get robot1's access token",     P::GetAccessToken,        account.clone()),
        ("get robot1's ID token",         P::GetOpenIdToken,        account.clone()),
        ("sign a JWT as robot1",          P::SignJwt,               account.clone()),
        ("sign bytes as robot1",          P::SignBlob,              account.clone()),
        ("delegate by robot1",            P::ImplicitDelegation,    account.clone()),
        ("act as robot1",                 P::ActAs,                 account),
    ];
    for (action, permission, resource) in doors {
        let held = stack.changes.gate().held(admin, &[permission], &resource);
        tried.sees(action, held == [permission]);
    }
}

async fn policies_and_settings(tried: &mut Tried, stack: &Stack, admin: &Admin) {
    let account = format!("projects/-/serviceAccounts/{ROBOT}");
    let version = format!("{APP}/versions/bs_0");
    let web = [
        "organizations/1",
        "folders/21",
        PROJECT,
        "projects/123/iap_web",
        "projects/123/iap_web/compute",
        APP,
        &version,
        "projects/123/iap_web/compute/services/none",
        "projects/123/iap_web/compute-r",
        "projects/123/iap_web/compute-r/services/regional",
        "projects/123/iap_web/appengine-dev-project",
        "projects/123/iap_web/appengine-dev-project/services/default",
        "projects/123/iap_web/appengine-dev-project/services/default/versions/v1",
        "projects/123/iap_web/cloud_run-r",
        "projects/123/iap_web/cloud_run-r/services/run",
        "projects/123/iap_web/forwarding_rule",
        "projects/123/iap_web/forwarding_rule-r",
        "projects/other/iap_web",
    ];
    let others = [
        "projects/123/iap_tunnel",
        "projects/123/iap_tunnel/zones/z",
        "projects/123/iap_tunnel/zones/z/instances/i",
        "projects/123/iap_tunnel/locations/l",
        "projects/123/iap_tunnel/locations/l/destGroups/g",
        &account,
        "projects/123/serviceAccounts/none@dev-project.iam.gserviceaccount.com",
    ];
    for resource in web.into_iter().chain(others) {
        tried.put(format!("getIamPolicy {resource}"), stack.policies.get(admin, resource, 3).await);
        tried.put(format!("setIamPolicy {resource}"), stack.policies.replace(admin, resource, not_a_policy()).await);
    }
    tried.put("testIamPermissions (anybody)", stack.policies.test_permissions(admin, APP, &[]).await);
    for resource in web {
        let settings = &stack.settings;
        tried.put(format!("getSettings {resource}"), settings.get(admin, resource).await);
        let update = settings.update(admin, resource, IapSettings::default(), Some("none")).await;
        tried.put(format!("updateSettings {resource}"), update);
        let validate = settings.validate_expression(admin, resource, "(").await;
        tried.put(format!("validateAttributeExpression {resource}"), validate);
    }
}

async fn deny_policies_and_roles(tried: &mut Tried, stack: &Stack, admin: &Admin) {
    let empty = iam_deny::Policy::default;
    for place in ["organizations%2F1", "folders%2F21", "projects%2F123", "projects%2F124"] {
        let attachment = format!("cloudresourcemanager.googleapis.com%2F{place}");
        let name = format!("policies/{attachment}/denypolicies/absent");
        let on = place.replace("%2F", "/");
        let deny = &stack.deny;
        tried.put(format!("denypolicies.list {on}"), deny.list(admin, &attachment).await);
        tried.put(format!("denypolicies.get {on}"), deny.get(admin, &name).await);
        tried.put(format!("denypolicies.create {on}"), deny.create(admin, &attachment, "N", empty()).await);
        tried.put(format!("denypolicies.update {on}"), deny.update(admin, &name, empty()).await);
        tried.put(format!("denypolicies.delete {on}"), deny.delete(admin, &name, None).await);
    }
    for parent in [PROJECT, "organizations/1"] {
        let (roles, name) = (&stack.roles, format!("{parent}/roles/none"));
        tried.put(format!("roles.list {parent}"), roles.list(admin, parent, &ListRolesQuery::default()).await);
        tried.put(format!("roles.get {parent}"), roles.get(admin, &name).await);
        tried.put(format!("roles.create {parent}"), roles.create(admin, parent, CreateRoleRequest::default()).await);
        tried.put(format!("roles.patch {parent}"), roles.patch(admin, &name, Default::default(), None).await);
        tried.put(format!("roles.delete {parent}"), roles.delete(admin, &name, None).await);
        tried.put(format!("roles.undelete {parent}"), roles.undelete(admin, &name, None).await);
    }
    let full = || "//cloudresourcemanager.googleapis.com/projects/123".to_owned();
    let grantable = QueryGrantableRolesRequest { full_resource_name: full(), ..Default::default() };
    tried.put("roles.queryGrantableRoles", stack.roles.grantable(admin, &grantable).await);
    let testable = QueryTestablePermissionsRequest { full_resource_name: full(), ..Default::default() };
    tried.put("permissions.queryTestablePermissions", stack.roles.testable(admin, &testable).await);
}

async fn accounts_and_pools(tried: &mut Tried, stack: &Stack, admin: &Admin) {
    let (accounts, none) = (&stack.accounts, "none@dev-project.iam.gserviceaccount.com");
    let key = CreateKeyRequest { key_algorithm: Some("none".into()), ..CreateKeyRequest::default() };
    tried.put("serviceAccounts.create", accounts.create(admin, "123", named("x")).await);
    tried.put("serviceAccounts.list", accounts.list(admin, "123", None, None).await);
    tried.put("serviceAccounts.get", accounts.get(admin, "123", ROBOT).await);
    tried.put("serviceAccounts.get none", accounts.get(admin, "123", none).await);
    tried.put("serviceAccounts.delete none", accounts.delete(admin, "123", none).await);
    tried.put("serviceAccounts.disable none", accounts.disable(admin, "123", none, true).await);
    tried.put("serviceAccounts.enable", accounts.disable(admin, "123", ROBOT, false).await);
    tried.put("serviceAccountKeys.create", accounts.create_key(admin, "-", ROBOT, &key).await);
    tried.put("serviceAccountKeys.list", accounts.list_keys(admin, "-", ROBOT).await);
    tried.put("serviceAccountKeys.delete", accounts.delete_key(admin, "-", ROBOT, "x").await);
    tried.put("serviceAccountKeys.disable", accounts.disable_key(admin, "-", (ROBOT, "x"), true).await);
    tried.put("serviceAccountKeys.enable", accounts.disable_key(admin, "-", (ROBOT, "x"), false).await);
    let pools = crate::federation::pools(stack, Reach::Public);
    let (pool, at) = (WorkloadIdentityPool::default, ("none", "none"));
    tried.put("workloadIdentityPools.create", pools.create_pool(admin, "123", "N", pool()).await);
    tried.put("workloadIdentityPools.get", pools.pool(admin, "123", "none").await);
    tried.put("workloadIdentityPools.list", pools.pools(admin, "123").await);
    tried.put("workloadIdentityPools.update", pools.update_pool(admin, "123", "none", pool(), None).await);
    tried.put("workloadIdentityPools.delete", pools.delete_pool(admin, "123", "none").await);
    let create = pools.create_provider(admin, "123", at, Default::default()).await;
    tried.put("workloadIdentityPoolProviders.create", create);
    tried.put("workloadIdentityPoolProviders.get", pools.provider(admin, "123", at).await);
    tried.put("workloadIdentityPoolProviders.list", pools.providers(admin, "123", "none").await);
    let update = pools.update_provider(admin, "123", at, Default::default(), None).await;
    tried.put("workloadIdentityPoolProviders.update", update);
    tried.put("workloadIdentityPoolProviders.delete", pools.delete_provider(admin, "123", at).await);
}

/// Applications, by each of the three APIs that have them.
async fn applications(tried: &mut Tried, stack: &Stack, admin: &Admin) {
    let (ours, new) = (stack.applications(), ApplicationResource::default);
    tried.put("applications.list", ours.list(admin).await);
    tried.put("applications.get", ours.get(admin, "app").await);
    tried.put("applications.get none", ours.get(admin, "none").await);
    tried.put("applications.create", ours.create(admin, new()).await);
    tried.put("applications.update none", ours.update(admin, "none", new(), None).await);
    tried.put("applications.enable", ours.set_enabled(admin, "app", true).await);
    tried.put("applications.disable none", ours.set_enabled(admin, "none", false).await);
    tried.put("applications.delete none", ours.delete(admin, "none", None).await);
    let compute = stack.backend_services();
    for project in ["123", "other"] {
        let at = Scope { base: "http://api/compute/v1", project, region: None };
        let (query, body) = (ListQuery::default(), BackendService::default);
        let name = |method: &str| format!("backendServices.{method} projects/{project}");
        tried.put(name("list"), compute.list(admin, at, &query).await);
        tried.put(name("aggregatedList"), compute.aggregated(admin, at, &query).await);
        tried.put(name("get"), compute.get(admin, at, "app").await);
        tried.put(name("insert"), compute.insert(admin, at, body()).await);
        tried.put(name("patch"), compute.patch(admin, at, "none", &json!({})).await);
        tried.put(name("update"), compute.update(admin, at, "none", body()).await);
        tried.put(name("delete"), compute.delete(admin, at, "none").await);
        tried.put(name("operation"), compute.operation(admin, at, "none").await);
    }
    let engine = stack.app_engine();
    for app in ["dev-project", "other"] {
        tried.put(format!("apps.get apps/{app}"), engine.get(admin, app).await);
        tried.put(format!("apps.patch apps/{app}"), engine.patch(admin, app, Default::default(), "iap").await);
        tried.put(format!("apps.operations.get apps/{app}"), engine.operation(admin, app, "none").await);
    }
}

async fn projects_and_clients(tried: &mut Tried, stack: &Stack, admin: &Admin) {
    let projects = stack.projects();
    for project in ["123", "other"] {
        tried.put(format!("projects.get v1 {project}"), projects.get_v1(admin, project).await);
        tried.put(format!("projects.get v3 {project}"), projects.get_v3(admin, project).await);
        tried.put(format!("projects.getAncestry {project}"), projects.ancestry(admin, project).await);
    }
    let query = Default::default();
    let listed = projects.list_v1(admin, &query).await.unwrap();
    tried.sees("projects.list v1, and sees the project", !listed.projects.is_empty());
    let found = projects.search_v3(admin, &query).await.unwrap();
    tried.sees("projects.search, and sees the project", !found.projects.is_empty());
    tried.put("projects.list v3 folders/21", projects.list_v3(admin, "folders/21").await);
    let (brands, page) = (stack.brands(), Default::default());
    let at = ClientPath { project: "123", brand: "123", client: "none" };
    tried.put("brands.list", brands.list(admin, "123").await);
    tried.put("brands.create", brands.create(admin, "123", Default::default()).await);
    tried.put("brands.get", brands.get(admin, "123", "none").await);
    tried.put("identityAwareProxyClients.list", brands.clients(admin, "123", "123", &page).await);
    tried.put("identityAwareProxyClients.create", brands.create_client(admin, "123", "none", "").await);
    tried.put("identityAwareProxyClients.get", brands.client(admin, at).await);
    tried.put("identityAwareProxyClients.resetSecret", brands.reset_secret(admin, at).await);
    tried.put("identityAwareProxyClients.delete", brands.delete_client(admin, at).await);
    let groups = stack.dest_groups();
    for project in ["123", "other"] {
        let (at, all) = (Location { project, location: "l" }, Location { project, location: "-" });
        let name = |method: &str| format!("tunnelDestGroups.{method} projects/{project}");
        tried.put(name("list all"), groups.list(admin, all, &page).await);
        tried.put(name("list"), groups.list(admin, at, &page).await);
        tried.put(name("create"), groups.create(admin, at, "N", Default::default()).await);
        tried.put(name("get"), groups.get(admin, at, "none").await);
        tried.put(name("update"), groups.update(admin, at, "none", Default::default(), "").await);
        tried.put(name("delete"), groups.delete(admin, at, "none").await);
    }
    let (clients, kind) = (&stack.clients, ClientKind::Desktop { redirect_uris: vec![] });
    tried.put("oauthClients.create", clients.create(admin, "", Ok(kind)).await);
    tried.put("oauthClients.list", clients.list(admin).await);
    tried.put("oauthClients.get", clients.get(admin, "none").await);
    tried.put("oauthClients.resetSecret", clients.reset_secret(admin, "none").await);
    tried.put("oauthClients.delete", clients.delete(admin, "none").await);
}

async fn groups_levels_and_keys(tried: &mut Tried, stack: &Stack, admin: &Admin) {
    let (groups, group, name) = (&stack.groups, GroupResource::default, "g@x.com");
    tried.put("groups.create", groups.create(admin, group()).await);
    tried.put("groups.get", groups.get(admin, name).await);
    tried.put("groups.members", groups.members(admin, name, None, None).await);
    tried.put("groups.list", groups.list(admin, None, None).await);
    tried.put("groups.update", groups.update(admin, name, group()).await);
    tried.put("groups.addMembers", groups.add_members(admin, name, &[]).await);
    tried.put("groups.removeMembers", groups.remove_members(admin, name, &[]).await);
    tried.put("groups.delete", groups.delete(admin, name).await);
    let users = stack.users();
    tried.put("users.create", users.create(admin, CreateUserRequest::default()).await);
    tried.put("users.get", users.get(admin, "none@x.com").await);
    tried.put("users.list", users.list(admin, None, None).await);
    tried.put("users.setPassword", users.set_password(admin, "none@x.com").await);
    tried.put("users.disable", users.disable(admin, "none@x.com", true).await);
    tried.put("users.enable", users.disable(admin, "none@x.com", false).await);
    tried.put("users.delete", users.delete(admin, "none@x.com").await);
    let (levels, level) = (&stack.levels, AccessLevelResource::default);
    tried.put("accessLevels.create", levels.create(admin, level()).await);
    tried.put("accessLevels.list", levels.list(admin).await);
    tried.put("accessLevels.get", levels.get(admin, "none").await);
    tried.put("accessLevels.update", levels.update(admin, level()).await);
    tried.put("accessLevels.delete", levels.delete(admin, "none").await);
    tried.put("keys.list", stack.keys.list(admin).await);
    tried.put("keys.rotate", stack.keys.rotate(admin, Some("none"), false).await);
}

/// Answers to *why*, the whole in one file, and the record.
async fn questions(tried: &mut Tried, stack: &Stack, admin: &Admin) {
    let (explain, simulate) = (stack.explanations(), stack.simulations());
    let about = |value: Value| serde_json::from_value::<ExplainRequest>(value).unwrap();
    for resource in [PROJECT, APP, "projects/other"] {
        let asked = about(json!({"question": {"resource": resource}}));
        tried.put(format!("explain {resource}"), explain.explain(admin, asked).await);
        let asked: WhoCanRequest = serde_json::from_value(json!({"question": {"resource": resource}})).unwrap();
        tried.put(format!("whoCan {resource}"), explain.who_can(admin, asked).await);
    }
    let recorded = about(json!({"decisionId": "none"}));
    tried.put("explain a decision", explain.explain(admin, recorded).await);
    tried.put("whatCan", explain.what_can(admin, WhatCanRequest { member: "allUsers".into() }).await);
    tried.put("simulate", simulate.simulate(admin, SimulateRequest::default()).await);
    let lists =
        ["applications", "policies", "denyPolicies", "settings", "groups", "roles", "accessLevels", "serviceAccounts"];
    let world = stack.world();
    let exported = serde_json::to_value(world.export(admin).await.unwrap()).unwrap();
    for list in lists {
        let snake = list.chars().flat_map(|it| {
            let before = it.is_ascii_uppercase().then_some('_');
            before.into_iter().chain([it.to_ascii_lowercase()])
        });
        let key: String = snake.collect();
        tried.sees(format!("world.export, with {list}"), exported.get(&key).is_some());
        let file = serde_json::from_value(json!({ key: [] })).unwrap();
        let request = ApplyRequest { file, dry_run: true, prune: false };
        tried.put(format!("world.apply, dry, {list}"), world.apply(admin, request).await);
    }
    let audit = stack.changes.gate().demand(admin, Permission::ListAuditEvents, &Resource::Project);
    tried.sees("auditEntries.list, auditEntries.verify, auditSinks.list, decisions.list", audit.is_ok());
}
