//! What bad input gets at every method that changes something: the code, words that say what is wrong and where, and no change.
//!
//! Without a credential, without the permission, with a broken body, and at what is not there: see [`endpoints`](super::endpoints).

use super::*;
use serde_json::json;

/// Where a policy is, a role that can be given there, and whether it can be given to everybody.
#[rustfmt::skip]
const POLICIES: [(&str, &str, bool); 22] = [
    ("/cloudresourcemanager.googleapis.com/v3/organizations/1",                          "roles/iap.httpsResourceAccessor",        false),
    ("/cloudresourcemanager.googleapis.com/v3/folders/21",                               "roles/iap.httpsResourceAccessor",        false),
    ("/cloudresourcemanager.googleapis.com/v1/projects/p",                               "roles/iap.httpsResourceAccessor",        false),
    ("/iap.googleapis.com/v1/projects/p/iap_web",                                        "roles/iap.httpsResourceAccessor",        true),
    ("/iap.googleapis.com/v1/projects/p/iap_web/compute",                                "roles/iap.httpsResourceAccessor",        true),
    ("/iap.googleapis.com/v1/projects/p/iap_web/compute-europe-west1",                   "roles/iap.httpsResourceAccessor",        true),
    ("/iap.googleapis.com/v1/projects/p/iap_web/appengine-p",                            "roles/iap.httpsResourceAccessor",        true),
    ("/iap.googleapis.com/v1/projects/p/iap_web/cloud_run-europe-west1",                 "roles/iap.httpsResourceAccessor",        true),
    ("/iap.googleapis.com/v1/projects/p/iap_web/compute/services/app",                   "roles/iap.httpsResourceAccessor",        true),
    ("/iap.googleapis.com/v1/projects/p/iap_web/compute/services/app/versions/bs_0",     "roles/iap.httpsResourceAccessor",        true),
    ("/iap.googleapis.com/v1/projects/p/iap_web/forwarding_rule",                        "roles/iap.httpsResourceAccessor",        true),
    ("/iap.googleapis.com/v1/projects/p/iap_web/forwarding_rule-europe-west1",           "roles/iap.httpsResourceAccessor",        true),
    ("/iap.googleapis.com/v1/projects/p/iap_web/compute-r/services/regional",            "roles/iap.httpsResourceAccessor",        true),
    ("/iap.googleapis.com/v1/projects/p/iap_web/appengine-p/services/default",           "roles/iap.httpsResourceAccessor",        true),
    ("/iap.googleapis.com/v1/projects/p/iap_web/appengine-p/services/default/versions/v1", "roles/iap.httpsResourceAccessor",      true),
    ("/iap.googleapis.com/v1/projects/p/iap_web/cloud_run-r/services/run",               "roles/iap.httpsResourceAccessor",        true),
    ("/iap.googleapis.com/v1/projects/p/iap_tunnel",                                     "roles/iap.tunnelResourceAccessor",       false),
    ("/iap.googleapis.com/v1/projects/p/iap_tunnel/zones/europe-west1-b",                "roles/iap.tunnelResourceAccessor",       false),
    ("/iap.googleapis.com/v1/projects/p/iap_tunnel/zones/europe-west1-b/instances/vm",   "roles/iap.tunnelResourceAccessor",       false),
    ("/iap.googleapis.com/v1/projects/p/iap_tunnel/locations/europe-west1",              "roles/iap.tunnelResourceAccessor",       false),
    ("/iap.googleapis.com/v1/projects/p/iap_tunnel/locations/europe-west1/destGroups/g", "roles/iap.tunnelResourceAccessor",       false),
    ("/iam.googleapis.com/v1/projects/p/serviceAccounts/target@p.iam.gserviceaccount.com", "roles/iam.serviceAccountTokenCreator", false),
];

const DENY: &str = "/iam.googleapis.com/v2/policies/cloudresourcemanager.googleapis.com%2Fprojects%2Fp/denypolicies";
const GROUPS: &str = "/doorward/v1/groups";
const ROLES: &str = "/iam.googleapis.com/v1/projects/p/roles";
const LEVELS: &str = "/doorward/v1/accessLevels";
const LEVEL: &str = "accessPolicies/123/accessLevels/office";
const SERVICES: &str = "/compute.googleapis.com/compute/v1/projects/p/global/backendServices";
const SETTINGS: &str = "/iap.googleapis.com/v1/projects/p/iap_web/compute/services/app:iapSettings";
const POOLS: &str = "/iam.googleapis.com/v1/projects/p/locations/global/workloadIdentityPools";

impl World {
    async fn operate(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.call(method.parse().unwrap(), path, &[("authorization", &bearer(ADMIN))], &body).await
    }

    /// Something that is there, or is made.
    async fn had(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.operate(method, path, &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{method} {path} {body}: {}", answer.body);
        answer.json()
    }

    /// What differs from `(status, words)` of the refusal, if anything; nobody without the permission learns so much.
    async fn refuses(&self, method: &str, path: &str, body: &Value, (status, words): (&str, &str)) -> Option<String> {
        let cloud = bearer(CLOUD_TOKEN);
        let stranger = self.call(method.parse().unwrap(), path, &[("authorization", &cloud)], &body.to_string()).await;
        let answer = self.operate(method, path, body).await;
        let shown = answer.json();
        let expected_http = match status {
            "ABORTED" | "ALREADY_EXISTS" => 409,
            _ => 400,
        };
        let told = shown["error"]["message"].as_str().unwrap_or_default();
        let fits = shown["error"]["status"] == status && answer.status == expected_http && told.contains(words);
        let recorded = self.last_admin_event().await;
        let is_recorded =
            recorded.caller.as_deref() == Some("operator") && recorded.code != 0 && recorded.after.is_none();
        (!fits || stranger.status != StatusCode::FORBIDDEN || !is_recorded).then(|| {
            format!("{method} {path} {words:?}: stranger {}, recorded {is_recorded}, {}", stranger.status, answer.body)
        })
    }
}

fn policy(version: i32, role: &str, members: &Value, condition: &Value) -> Value {
    let mut binding = json!({"role": role, "members": members});
    if !condition.is_null() {
        binding["condition"] = condition.clone();
    }
    json!({"policy": {"version": version, "bindings": [binding]}})
}

#[tokio::test]
async fn a_policy_that_cannot_be_is_refused_at_every_kind_of_resource_and_the_old_one_stays() {
    let world = World::new().await;
    let many =
        |count: usize, form: &str| json!((0..count).map(|it| form.replace('N', &it.to_string())).collect::<Vec<_>>());
    for more in [
        json!({"name": "regional", "region": "r"}),
        json!({"name": "engine", "kind": "app_engine", "service": "default", "version": "v1"}),
        json!({"name": "run", "kind": "cloud_run", "region": "r"}),
    ] {
        world.had("POST", "/doorward/v1/applications", more).await;
    }
    let mut wrong = Vec::new();
    for (place, role, is_public) in POLICIES {
        let set = format!("{place}:setIamPolicy");
        let get = format!("{place}:getIamPolicy");
        let newest = json!({"options": {"requestedPolicyVersion": 3}});
        let ann = json!(["user:ann@x.com"]);
        let on = |expression: &str| json!({"title": "t", "expression": expression});
        let first = world.had("POST", &get, newest.clone()).await["etag"].clone();
        let mut good = policy(3, role, &ann, &Value::Null);
        good["policy"]["etag"] = first.clone();
        let before = world.had("POST", &set, good.clone()).await;
        assert_ne!(before["etag"], first);
        let everybody = if is_public { "cannot have a condition" } else { "cannot be granted to allUsers" };
        #[rustfmt::skip]
        let cases = [
            // Of the state before.
            (good.clone(),                                                     ("ABORTED",          "There were concurrent policy changes.")),
            (policy(2, role, &ann, &Value::Null),                              ("INVALID_ARGUMENT", "Invalid policy version 2")),
            (policy(1, role, &ann, &on("true")),                               ("INVALID_ARGUMENT", "must be read and written with version 3")),
            (policy(1, "roles/none", &ann, &Value::Null),                      ("INVALID_ARGUMENT", "Role roles/none is not supported")),
            (policy(1, "projects/p/roles/none", &ann, &Value::Null),           ("INVALID_ARGUMENT", "/roles/none is not supported")),
            (policy(1, role, &json!(["person:a@x.com"]), &Value::Null),        ("INVALID_ARGUMENT", "Invalid member: person:a@x.com.")),
            (policy(1, role, &json!(["ann@x.com"]), &Value::Null),             ("INVALID_ARGUMENT", "Invalid member: ann@x.com.")),
            (policy(1, role, &json!(["projectOwner:p"]), &Value::Null),        ("INVALID_ARGUMENT", "Members of the form projectOwner:p are not served")),
            (policy(1, role, &json!(["group:none@x.com"]), &Value::Null),      ("INVALID_ARGUMENT", "Group none@x.com does not exist.")),
            (policy(1, role, &json!(["serviceAccount:none@p.iam.gserviceaccount.com"]), &Value::Null), ("INVALID_ARGUMENT", "Service account none@p.iam.gserviceaccount.com does not exist.")),
            (policy(3, role, &ann, &on("request.pth == '/'")),                 ("INVALID_ARGUMENT", "(at column 8)")),
            (policy(3, role, &ann, &on("request.path ==")),                    ("INVALID_ARGUMENT", "Condition expression compilation failed: \"t\"")),
            (policy(3, role, &ann, &on("request.path")),                       ("INVALID_ARGUMENT", "Condition expression compilation failed: \"t\"")),
            (policy(3, role, &ann, &json!({"expression": "true"})),            ("INVALID_ARGUMENT", "title")),
            (policy(1, role, &many(1501, "user:uN@x.com"), &Value::Null),               ("INVALID_ARGUMENT", "at most 1500 principals")),
            (policy(1, role, &many(251, "domain:uN.com"), &Value::Null),              ("INVALID_ARGUMENT", "principals")),
            (policy(3, role, &json!(["allUsers"]), &on("true")),               ("INVALID_ARGUMENT", everybody)),
            (policy(3, role, &json!(["allAuthenticatedUsers"]), &on("true")),  ("INVALID_ARGUMENT", everybody.trim_end_matches("allUsers"))),
        ];
        for (body, expected) in cases {
            wrong.extend(world.refuses("POST", &set, &body, expected).await);
        }
        assert_eq!(world.had("POST", &get, newest).await, before, "{place}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A deny policy with this rule.
fn denying(principal: &str, permission: &str, condition: &str) -> Value {
    let mut rule = json!({"deniedPrincipals": [principal], "deniedPermissions": [permission]});
    if !condition.is_empty() {
        rule["denialCondition"] = json!({"title": "t", "expression": condition});
    }
    json!({"rules": [{"denyRule": rule}]})
}

fn level(name: &str, expression: &str) -> Value {
    json!({"name": name, "title": "t", "custom": {"expr": {"expression": expression}}})
}

#[tokio::test]
async fn what_else_is_administered_refuses_what_cannot_be_and_what_comes_from_an_older_state() {
    const ANN: &str = "principal://goog/subject/ann@x.com";
    const ENTER: &str = "iap.googleapis.com/webServiceVersions.accessViaIAP";
    let world = World::new().await;
    let mut stale = Vec::new();
    // (how it is made, where it is then changed, how, and what in it is the state)
    let text = |value: &str| json!({"title": value, "includedPermissions": ["iap.web.getIamPolicy"]});
    let hosts = json!({"name": "wiki", "iap": {"enabled": true}, "doorward": {"hosts": ["wiki.test"]}});
    #[rustfmt::skip]
    let made = [
        (format!("{DENY}?policyId=one"), denying(ANN, ENTER, ""),                               format!("{DENY}/one"),           "PUT",   denying(ANN, ENTER, "true"),    "etag"),
        (GROUPS.to_owned(),              json!({"email": "crew@x.com"}),                        format!("{GROUPS}/crew@x.com"),  "PATCH", json!({"displayName": "Crew"}), "etag"),
        (ROLES.to_owned(),               json!({"roleId": "door", "role": text("One")}),        format!("{ROLES}/door"),         "PATCH", text("Two"),                    "etag"),
        (SERVICES.to_owned(),            hosts.clone(),                                         format!("{SERVICES}/wiki"),      "PATCH", json!({"description": "x"}),    "fingerprint"),
        (SERVICES.to_owned(),            {let mut it = hosts; it["name"] = json!("blog"); it["doorward"]["hosts"] = json!(["blog.test"]); it},
                                                                                                format!("{SERVICES}/blog"),      "PUT",   json!({"name": "blog", "iap": {"enabled": true}}), "fingerprint"),
        ("/doorward/v1/applications".to_owned(), json!({"name": "shop", "hosts": ["shop.test"]}), "/doorward/v1/applications/shop?updateMask=description".to_owned(), "PATCH", json!({"description": "x"}), "etag"),
    ];
    for (create, body, place, method, change, state) in made {
        world.had("POST", &create, body.clone()).await;
        let shown = place.split('?').next().unwrap_or_default();
        let mut change = change;
        change[state] = world.had("GET", shown, Value::Null).await[state].clone();
        assert!(change[state].is_string(), "{place} has no {state}");
        world.had(method, &place, change.clone()).await;
        stale.extend(world.refuses(method, &place, &change, ("ABORTED", "")).await);
        // Made a second time.
        stale.extend(world.refuses("POST", &create, &body, ("ALREADY_EXISTS", "")).await);
    }
    assert!(stale.is_empty(), "{}", stale.join("\n"));
    world.had("POST", LEVELS, level(LEVEL, "inIpRange(source.ip, ['10.0.0.0/8'])")).await;
    world.had("POST", &format!("{POOLS}?workloadIdentityPoolId=build"), json!({})).await;

    let deny = format!("{DENY}?policyId=two");
    let member = |member: &str| json!({"email": "new@x.com", "members": [member]});
    let add = format!("{GROUPS}/crew@x.com:addMembers");
    let role = |id: &str, permission: &str| json!({"roleId": id, "role": {"includedPermissions": [permission]}});
    let many: Vec<String> = (0..2501).map(|it| format!("principal://goog/subject/u{it}@x.com")).collect();
    let too_many = json!({"rules": [{"denyRule": {"deniedPrincipals": many, "deniedPermissions": [ENTER]}}]});
    let crowd: Vec<String> = (0..1001).map(|it| format!("user:u{it}@x.com")).collect();
    let service = |more: Value| {
        let mut body = json!({"name": "new", "iap": {"enabled": true}, "doorward": {"hosts": ["new.test"]}});
        body.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
        body
    };
    let provider = |condition: &str| json!({"oidc": {"issuerUri": "https://ci.example"}, "attributeMapping": {"google.subject": "assertion.sub"}, "attributeCondition": condition});
    let providers = format!("{POOLS}/build/providers?workloadIdentityPoolProviderId=github");
    let propagate = |expression: &str| json!({"applicationSettings": {"attributePropagationSettings": {"enable": true, "expression": expression, "outputCredentials": ["HEADER"]}}});
    let brand = "/iap.googleapis.com/v1/projects/p/brands";
    let office = format!("/doorward/v1/{LEVEL}");
    let accounts = "/iam.googleapis.com/v1/projects/p/serviceAccounts";
    #[rustfmt::skip]
    let cases = [
        ("POST",  deny.as_str(),  denying("person:a@x.com", ENTER, ""),                          "INVALID_ARGUMENT", "Invalid principal: person:a@x.com."),
        ("POST",  &deny,          denying("principalSet://goog/cloudIdentityCustomerId/C1", ENTER, ""), "INVALID_ARGUMENT", "are not served"),
        ("POST",  &deny,          denying("principalSet://goog/group/none@x.com", ENTER, ""),    "INVALID_ARGUMENT", "Group none@x.com does not exist."),
        ("POST",  &deny,          denying(ANN, "iap.web.getIamPolicy", ""),                      "INVALID_ARGUMENT", "Permissions are written as"),
        ("POST",  &deny,          denying(ANN, "iap.googleapis.com/none.get", ""),               "INVALID_ARGUMENT", "Permissions are written as"),
        ("POST",  &deny,          denying(ANN, ENTER, "request.pth == '/'"),                     "INVALID_ARGUMENT", "denialCondition of rule 0: "),
        ("POST",  &deny,          denying(ANN, ENTER, "request.pth == '/'"),                     "INVALID_ARGUMENT", "(at column 8)"),
        ("POST",  &deny,          too_many,                                                      "INVALID_ARGUMENT", "2500 principals"),
        ("POST",  &deny,          json!({"rules": [{}]}),                                        "INVALID_ARGUMENT", "rule 0 has no denyRule"),
        ("POST",  &deny,          json!({"rules": [{"denyRule": {"deniedPrincipals": [ANN]}}]}), "INVALID_ARGUMENT", "at least one denied principal and one denied permission"),

        ("POST",  GROUPS,         member("person:a@x.com"),                                      "INVALID_ARGUMENT", "Invalid member: person:a@x.com."),
        ("POST",  GROUPS,         member("allUsers"),                                            "INVALID_ARGUMENT", "allUsers cannot be in a group"),
        ("POST",  GROUPS,         member("group:none@x.com"),                                    "INVALID_ARGUMENT", "Group none@x.com does not exist."),
        ("POST",  GROUPS,         json!({"email": "crew"}),                                      "INVALID_ARGUMENT", "Invalid argument: "),
        ("POST",  GROUPS,         json!({"email": "alice@example.com"}),                         "ALREADY_EXISTS",   "alice@example.com is the address of"),
        ("POST",  &add,           json!({"members": ["person:a@x.com"]}),                        "INVALID_ARGUMENT", "Invalid member: person:a@x.com."),
        ("POST",  &add,           json!({"members": crowd}),                                     "INVALID_ARGUMENT", "at most 1000 members"),

        ("POST",  ROLES,          role("x", "iap.web.getIamPolicy"),                             "INVALID_ARGUMENT", "Invalid role_id \"x\""),
        ("POST",  ROLES,          role("other", "iap.web.none"),                                 "INVALID_ARGUMENT", "permission iap.web.none is not valid"),
        ("POST",  ROLES,          role("other", "iap.web.*"),                                    "INVALID_ARGUMENT", "permission iap.web.* is not valid"),
        ("POST",  ROLES,          role("other", "iap.folders.getSettings"),                      "INVALID_ARGUMENT", "a role of a project cannot hold it"),

        ("POST",  LEVELS,         level("accessPolicies/123/accessLevels/new", "source.pi == 1"), "INVALID_ARGUMENT", "(at column 7)"),
        ("POST",  LEVELS,         level("accessPolicies/999/accessLevels/new", "true"),           "INVALID_ARGUMENT", "is not of this project"),
        ("POST",  LEVELS,         level("new", "true"),                                          "INVALID_ARGUMENT", "is no name of an access level"),
        ("POST",  LEVELS,         json!({"name": "accessPolicies/123/accessLevels/new", "title": "t"}), "INVALID_ARGUMENT", "set custom or basic, and not both"),
        ("POST",  LEVELS,         json!({"name": "accessPolicies/123/accessLevels/new", "title": "t", "basic": {"members": ["group:crew@x.com"]}}), "INVALID_ARGUMENT", "cannot be a member here"),
        ("POST",  LEVELS,         json!({"name": "accessPolicies/123/accessLevels/new", "title": "t", "basic": {"requiredAccessLevels": ["accessPolicies/123/accessLevels/none"]}}), "INVALID_ARGUMENT", "which is not there"),
        ("POST",  LEVELS,         level(LEVEL, "true"),                                          "ALREADY_EXISTS",   LEVEL),
        ("PATCH", &office,        level(LEVEL, "source.pi == 1"),                                "INVALID_ARGUMENT", "(at column 7)"),

        ("POST",  SERVICES,       service(json!({"name": "New"})),                               "INVALID_ARGUMENT", "Invalid argument: "),
        ("POST",  SERVICES,       service(json!({"doorward": {"hosts": ["app.test"]}})),         "ALREADY_EXISTS",   "is served at https://app.test/"),
        ("POST",  SERVICES,       service(json!({"doorward": {"hosts": ["new.test"], "upstreams": ["ftp://x"]}})), "INVALID_ARGUMENT", "is no upstream"),
        ("POST",  SERVICES,       service(json!({"securityPolicy": "armor"})),                   "INVALID_ARGUMENT", "Invalid value for field 'securityPolicy'"),

        ("PATCH", SETTINGS,       propagate("attributes.pth"),                                   "INVALID_ARGUMENT", "xpression"),
        ("PATCH", SETTINGS,       json!({"accessSettings": {"none": {}}}),                       "INVALID_ARGUMENT", "Unknown name"),
        ("PATCH", SETTINGS,       json!({"accessSettings": {"reauthSettings": {"method": "LOGIN", "maxAge": "600s", "policyType": "MINIMUM"}}}), "INVALID_ARGUMENT", "has no effect here"),

        ("POST",  &providers,     provider("assertion.sub =="),                                  "INVALID_ARGUMENT", "attributeCondition"),
        ("POST",  POOLS,          json!({}),                                                     "INVALID_ARGUMENT", ""),

        ("POST",  accounts,       json!({"accountId": "x"}),                                     "INVALID_ARGUMENT", ""),
        ("POST",  accounts,       json!({"accountId": "target"}),                                "ALREADY_EXISTS",   ""),
        ("POST",  brand,          json!({"applicationTitle": "", "supportEmail": "ann@x.com"}),  "INVALID_ARGUMENT", ""),
        ("POST",  "/doorward/v1/oauthClients", json!({"displayName": "x", "type": "tv"}),        "INVALID_ARGUMENT", "of type web, desktop, android or ios"),
        ("POST",  "/doorward/v1/oauthClients", json!({"displayName": "x", "type": "web", "clientId": "1"}), "INVALID_ARGUMENT", "set by the server"),
        ("POST",  "/doorward/v1/oauthClients", json!({"displayName": "x", "type": "ios", "sha1": "00"}), "INVALID_ARGUMENT", "takes bundleId"),
    ];
    let before = world.had("GET", "/doorward/v1/world", Value::Null).await;
    let mut wrong = Vec::new();
    for (method, path, body, status, words) in cases {
        wrong.extend(world.refuses(method, path, &body, (status, words)).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(world.had("GET", "/doorward/v1/world", Value::Null).await, before, "nothing was changed");
}
