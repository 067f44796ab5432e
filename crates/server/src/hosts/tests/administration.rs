//! What administration says, in the words and with the addresses that clients act on.

use super::*;
use doorward_control::admin::Admin;
use doorward_core::audit::{AuditSink as _, Decision, Outcome, Reason};
use serde_json::json;

const APP: &str = "projects/p/iap_web/compute/services/app";

impl World {
    async fn as_operator(&self, method: Method, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.call(method, path, &[("authorization", &bearer(ADMIN))], &body).await
    }

    async fn get_as_operator(&self, path: &str) -> Value {
        self.as_operator(Method::GET, path, &Value::Null).await.json()
    }

    /// Gives somebody a role on the project.
    async fn give(&self, member: &str, role: &str) {
        let path = "/cloudresourcemanager.googleapis.com/v3/projects/p:setIamPolicy";
        let policy = json!({"policy": {"bindings": [{"role": role, "members": [member]}]}});
        assert_eq!(self.as_operator(Method::POST, path, &policy).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn refusals_are_in_the_words_that_clients_look_for() {
    let world = World::new().await;
    let path = format!("/iap.googleapis.com/v1/{APP}");
    let cloud = bearer(CLOUD_TOKEN);
    let denied = world.post(&format!("{path}:getIamPolicy"), &[("authorization", &cloud)], "").await;
    let expected = json!({"error": {
        "code": 403, "status": "PERMISSION_DENIED",
        "message": format!("Permission 'iap.webServices.getIamPolicy' denied on resource '{APP}' (or it may not exist)."),
        "details": [{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "IAM_PERMISSION_DENIED",
            "domain": "iap.googleapis.com", "metadata": {"permission": "iap.webServices.getIamPolicy", "resource": APP},
        }],
    }});
    assert_eq!(denied.json(), expected);
    let etag = world.post(&format!("{path}:getIamPolicy"), &[("authorization", &bearer(ADMIN))], "").await.json();
    let door = |condition: Value, etag: &str| {
        let members = ["user:alice@example.com"];
        let binding = match condition {
            Value::Null => json!({"role": "roles/iap.httpsResourceAccessor", "members": members}),
            it => json!({"role": "roles/iap.httpsResourceAccessor", "members": members, "condition": it}),
        };
        json!({"policy": {"version": 3, "bindings": [binding], "etag": etag}})
    };
    let etag = etag["etag"].as_str().unwrap();
    let set = format!("{path}:setIamPolicy");
    assert_eq!(world.as_operator(Method::POST, &set, &door(Value::Null, etag)).await.status, StatusCode::OK);
    let many: Vec<String> = (0..1501).map(|number| format!("user:u{number}@example.com")).collect();
    let binding = |role: &str, members: Value| json!({"policy": {"bindings": [{"role": role, "members": members}]}});
    let condition = |expression: &str| json!({"title": "t", "expression": expression});
    let public = json!({"policy": {"version": 3, "bindings": [{"role": "roles/iap.httpsResourceAccessor",
        "members": ["allUsers"], "condition": condition("true")}]}});
    #[rustfmt::skip]
    let cases = [
        (door(Value::Null, etag),                                               "ABORTED",          "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff."),
        (door(condition("request.pth == '/'"), ""),                             "INVALID_ARGUMENT", "(at column 8)"),
        (door(condition("request.path =="), ""),                                "INVALID_ARGUMENT", "Condition expression compilation failed: \"t\" of the binding of roles/iap.httpsResourceAccessor: "),
        (binding("roles/none", json!(["user:a@b.com"])),                        "INVALID_ARGUMENT", "Role roles/none is not supported for this resource"),
        (binding("roles/iap.admin", json!(["user:a\0@b.com"])),                 "INVALID_ARGUMENT", "Invalid JSON payload received. not a JSON object with unique names: a text holds U+0000"),
        (binding("roles/iap.httpsResourceAccessor", json!(["person:a@b.com"])), "INVALID_ARGUMENT", "Invalid member: person:a@b.com."),
        (binding("roles/iap.httpsResourceAccessor", json!(["group:a@b.com"])),  "INVALID_ARGUMENT", "Group a@b.com does not exist."),
        (binding("roles/iap.httpsResourceAccessor", json!(many)),               "INVALID_ARGUMENT", "1500 principals"),
        (public,                                                                "INVALID_ARGUMENT", "A binding of allUsers cannot have a condition"),
        (binding("roles/iap.admin", json!(["allUsers"])),                       "INVALID_ARGUMENT", "roles/iap.admin cannot be granted to allUsers"),
    ];
    for (body, status, words) in cases {
        let answer = world.as_operator(Method::POST, &set, &body).await.json();
        let told = answer["error"]["message"].as_str().unwrap();
        assert_eq!(answer["error"]["status"], status, "{told}");
        assert!(told.contains(words), "{told}");
    }
}

#[tokio::test]
async fn links_of_backend_services_begin_with_the_address_by_which_the_client_came() {
    let world = World::new().await;
    let admin = bearer(ADMIN);
    let at = "/compute/v1/projects/p/global/backendServices";
    let (google, ours) = ("https://compute.googleapis.com", "http://127.0.0.1:8081/compute.googleapis.com");
    let body = json!({"name": "wiki", "iap": {"enabled": true}, "doorward": {"hosts": ["wiki.test"]}}).to_string();
    for (prefix, host, base, name) in
        [("/compute.googleapis.com", HOST, ours, "wiki"), ("", "compute.googleapis.com", google, "blog")]
    {
        let fields = [("authorization", admin.as_str()), ("host", host)];
        let body = body.replace("wiki", name);
        let operation = world.post(&format!("{prefix}{at}"), &fields, &body).await.json();
        assert_eq!(operation["targetLink"], format!("{base}{at}/{name}"), "{operation}");
        let link = operation["selfLink"].as_str().unwrap();
        let wait = format!("{prefix}{}/wait", link.strip_prefix(base).unwrap());
        assert_eq!(world.post(&wait, &fields, "").await.json()["status"], "DONE", "{wait}");
        let shown = world.call(Method::GET, &format!("{prefix}{at}/{name}"), &fields, "").await.json();
        assert_eq!(shown["selfLink"], format!("{base}{at}/{name}"));
        assert_eq!(shown["iap"]["enabled"], true);
    }
    let whole = world.get_as_operator("/compute.googleapis.com/compute/v1/projects/p/aggregated/backendServices").await;
    assert_eq!(whole["items"]["global"]["backendServices"].as_array().map(Vec::len), Some(3), "{whole}");
    let listed = world.get_as_operator("/doorward/v1/applications").await;
    let names: Vec<_> = listed["applications"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names, ["app", "blog", "wiki"]);
}

#[tokio::test]
async fn no_application_is_at_our_own_host_or_at_googles_and_the_answer_says_why() {
    let world = World::new().await;
    #[rustfmt::skip]
    let cases = [
        ("http://127.0.0.1:8081",      Err("Invalid argument: 127.0.0.1:8081 is our own: an application there could read the cookies of the sign-in.")),
        ("https://localhost:8444",     Err("Invalid argument: localhost:8444 is our own: an application there could read the cookies of the sign-in.")),
        ("http://accounts.google.com", Err("Invalid argument: accounts.google.com is where Google's clients send their credentials: no application is there.")),
        ("any.googleapis.com:8443",    Err("Invalid argument: any.googleapis.com:8443 is where Google's clients send their credentials: no application is there.")),
        ("http://169.254.169.254",     Err("Invalid argument: 169.254.169.254 is where Google's clients send their credentials: no application is there.")),
        ("http://127.0.0.1:8080",      Ok(())),
    ];
    for (host, expected) in cases {
        let new = json!({"name": "wiki", "hosts": [host], "upstreams": ["http://127.0.0.1:9"]});
        let answer = world.as_operator(Method::POST, "/doorward/v1/applications", &new).await;
        let body = answer.json();
        match expected {
            Ok(()) => assert_eq!(answer.status, StatusCode::OK, "{body}"),
            Err(message) => {
                assert_eq!((&body["error"]["code"], &body["error"]["message"]), (&json!(400), &json!(message)))
            }
        }
    }
}

#[tokio::test]
async fn a_role_lets_its_holder_do_what_it_says_and_no_more() {
    let world = World::new().await;
    let cloud = bearer(CLOUD_TOKEN);
    let fields = [("authorization", cloud.as_str())];
    world.give(&format!("serviceAccount:{CALLER}"), "roles/compute.admin").await;
    let enable = world.post("/doorward/v1/applications/app:disable", &fields, "").await;
    assert_eq!((enable.status, &enable.json()["iapEnabled"]), (StatusCode::OK, &json!(false)));
    assert_eq!(world.call(Method::GET, "/doorward/v1/groups", &fields, "").await.status, StatusCode::FORBIDDEN);
    let asked = r#"{"permissions": ["compute.backendServices.get", "resourcemanager.projects.setIamPolicy"]}"#;
    let held =
        world.post("/cloudresourcemanager.googleapis.com/v1/projects/p:testIamPermissions", &fields, asked).await;
    assert_eq!(held.json(), json!({"permissions": ["compute.backendServices.get"]}));
    let nul = world.as_operator(Method::GET, "/doorward/v1/groups/a%00b", &Value::Null).await;
    assert_eq!(nul.json()["error"]["message"], "Invalid path: it holds U+0000.");
    let event = world.as_operator(Method::POST, "/doorward/v1/applications/app:enable", &Value::Null).await;
    assert_eq!(event.status, StatusCode::OK);
    let event = world.last_admin_event().await;
    assert_eq!((event.caller.as_deref(), event.peer.as_deref()), (Some("operator"), Some("127.0.0.1")));
    assert!(event.before.is_some() && event.after.is_some());
}

#[tokio::test]
async fn the_client_of_one_application_is_not_had_by_another_and_not_deleted() {
    let world = World::new().await;
    let services = "/compute.googleapis.com/compute/v1/projects/p/global/backendServices";
    assert_eq!(world.as_operator(Method::POST, services, &json!({"name": "other"})).await.status, StatusCode::OK);
    world.give(&format!("serviceAccount:{CALLER}"), "roles/compute.admin").await;
    let cloud = bearer(CLOUD_TOKEN);
    let other = format!("{services}/other");
    let client = format!("/doorward/v1/oauthClients/{APPLICATION}");
    // First as something older left it, without a registered client; then as a start leaves it.
    for registered in [false, true] {
        if registered {
            world.services.applications.register_clients(&Admin::local_operator()).await.unwrap();
        }
        for secret in ["", r#", "oauth2ClientSecret": "24 characters, or some more""#] {
            let body = format!(r#"{{"iap": {{"enabled": true, "oauth2ClientId": "{APPLICATION}"{secret}}}}}"#);
            let answer = world.call(Method::PATCH, &other, &[("authorization", &cloud)], &body).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{registered} {secret} {}", answer.body);
        }
        let there = world.as_operator(Method::GET, &client, &Value::Null).await.status;
        assert_eq!(there, if registered { StatusCode::OK } else { StatusCode::NOT_FOUND });
    }
    let deleted = world.as_operator(Method::DELETE, &client, &Value::Null).await.json();
    let message = format!("Client {APPLICATION} is that of application app. Give that one another client first.");
    assert_eq!(deleted, json!({"error": {"code": 400, "status": "FAILED_PRECONDITION", "message": message}}));
}

#[tokio::test]
async fn the_record_is_shown_as_entries_and_verified() {
    let world = World::new().await;
    world.give(&format!("serviceAccount:{CALLER}"), "roles/doorward.viewer").await;
    let cloud = bearer(CLOUD_TOKEN);
    let fields = [("authorization", cloud.as_str())];
    let listed = world.call(Method::GET, "/doorward/v1/auditEntries?limit=1", &fields, "").await.json();
    assert_eq!(listed["entries"][0]["protoPayload"]["methodName"], "SetIamPolicy", "{listed}");
    let verified = world.call(Method::GET, "/doorward/v1/auditEntries:verify", &fields, "").await.json();
    assert_eq!((&verified["sequence"], &verified["broken"]), (&listed["next"], &Value::Null), "{verified}");
    assert_eq!(verified["hash"].as_str().map(str::len), Some(64));
    assert_eq!(verified["at"], Value::Null);
    let at = format!("/doorward/v1/auditEntries:verify?at={}", verified["sequence"]);
    let compared = world.call(Method::GET, &at, &fields, "").await.json();
    assert_eq!(compared["at"], json!({"sequence": verified["sequence"], "hash": verified["hash"]}), "{compared}");
    let ahead = world.call(Method::GET, "/doorward/v1/auditEntries:verify?at=999999", &fields, "").await.json();
    assert_eq!(ahead["at"], Value::Null);
    let sinks = world.call(Method::GET, "/doorward/v1/auditSinks", &fields, "").await.json();
    assert_eq!(sinks, json!({"sinks": []}));
}

#[tokio::test]
async fn a_person_signs_in_to_see_a_decision_and_sees_it_if_they_may() {
    let world = World::new().await;
    let html = [("accept", "text/html")];
    let told = world.get("/decisions/none").await;
    assert_eq!((told.status, &told.json()["error"]["status"]), (StatusCode::UNAUTHORIZED, &json!("UNAUTHENTICATED")));
    let asked = world.call(Method::GET, "/decisions/none", &html, "").await;
    assert_eq!(asked.status, StatusCode::UNAUTHORIZED, "{}", asked.body);
    assert!(asked.body.contains("to see why a request was let in or refused"), "{}", asked.body);
    let form = Form::on(&asked);
    let flow = asked.set_cookies()[0].split(';').next().unwrap().to_owned();
    let sent = super::form(&[("flow", &form.flow), ("email", "alice@example.com"), ("password", PASSWORD)]);
    let fields = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("cookie", &*flow),
        ("origin", "http://localhost:8081"),
    ];
    let signed_in = world.post(&form.action, &fields, &sent).await;
    assert_eq!((signed_in.status, signed_in.location()), (StatusCode::SEE_OTHER, "/decisions/none"));
    let session = signed_in.set_cookies()[0].split(';').next().unwrap().to_owned();
    let fields = [("accept", "text/html"), ("cookie", &*session)];
    assert_eq!(world.call(Method::GET, "/decisions/none", &fields, "").await.status, StatusCode::FORBIDDEN);
    world.give("user:alice@example.com", "roles/doorward.viewer").await;
    let missing = world.call(Method::GET, "/decisions/none", &fields, "").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    let outcome = Outcome::Refused { reason: Reason::PermissionDenied, detail: "no binding".into(), denied_by: None };
    let decision = Decision {
        id: "wanted".into(),
        time: world.clock.now(),
        version: Some("projects/123/iap_web/compute/services/777/versions/bs_0".into()),
        resource: Some("projects/123/iap_web/compute/services/777".into()),
        caller: Some("user:bob@example.com".into()),
        outcome,
        method: "GET".into(),
        host: "app.test".into(),
        path: "/<secret>".into(),
        status: 403,
        ..Decision::default()
    };
    world.services.audit.record_durably(AuditEvent::Decision(decision)).await.unwrap();
    let shown = world.call(Method::GET, "/decisions/wanted", &fields, "").await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.body);
    for part in
        ["not granted", "user:bob@example.com", "permission_denied", "projects/123/iap_web/compute/services/777"]
    {
        assert!(shown.body.contains(part), "{part} {}", shown.body);
    }
    let program = [("accept", "application/json"), ("cookie", &*session)];
    let answer = world.call(Method::GET, "/decisions/wanted", &program, "").await.json();
    assert_eq!((&answer["verdict"], &answer["recorded"]["allowed"]), (&json!("NOT_GRANTED"), &json!(false)));
    // The session shows a page and is no credential of an API.
    let calls = world.call(Method::GET, "/doorward/v1/groups", &[("cookie", &session)], "").await;
    assert_eq!(calls.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_question_is_answered_and_a_file_that_was_exported_changes_nothing() {
    let world = World::new().await;
    let question =
        json!({"principal": "user:alice@example.com", "question": {"method": "GET", "url": "https://app.test/x"}});
    let answer = world.as_operator(Method::POST, "/doorward/v1:explain", &question).await.json();
    assert_eq!((&answer["verdict"], &answer["resource"]["application"]), (&json!("NOT_GRANTED"), &json!("app")));
    let file = world.get_as_operator("/doorward/v1/world").await;
    let request = json!({"file": file, "dryRun": true, "prune": true});
    assert_eq!(world.as_operator(Method::POST, "/doorward/v1/world:apply", &request).await.json(), json!({}));
    // A file may be longer than other bodies, up to a limit.
    for (length, status) in [(2 << 20, 200), (17 << 20, 400)] {
        let body = format!("{request}{}", " ".repeat(length));
        let admin = bearer(ADMIN);
        let fields = [("authorization", admin.as_str())];
        assert_eq!(world.post("/doorward/v1/world:apply", &fields, &body).await.status.as_u16(), status, "{length}");
        assert_eq!(world.post("/doorward/v1/groups", &fields, &body).await.status.as_u16(), 400, "{length}");
    }
    let group = json!({"email": "staff@example.com", "members": ["user:alice@example.com"]});
    assert_eq!(world.as_operator(Method::POST, "/doorward/v1/groups", &group).await.status, StatusCode::OK);
    let members = json!({"members": ["user:bob@example.com"]});
    world.as_operator(Method::POST, "/doorward/v1/groups/staff@example.com:addMembers", &members).await.json();
    let listed = world.get_as_operator("/doorward/v1/groups/staff@example.com/members").await;
    assert_eq!(listed, json!({"members": ["user:alice@example.com", "user:bob@example.com"]}));
}

/// A batch as gcloud makes it: each part's request line, and its body.
fn batch(parts: &[(&str, &str)]) -> String {
    let part = |(number, (line, body)): (usize, &(&str, &str))| {
        let fields = format!("Content-Type: application/http\nMIME-Version: 1.0\nContent-ID: <b3a6+{number}>");
        format!("--===1==\n{fields}\n\n{line} HTTP/1.1\nContent-Type: application/json\nHost: x\n\n{body}\n")
    };
    parts.iter().enumerate().map(part).collect::<String>() + "--===1==--"
}

#[tokio::test]
async fn the_parts_of_a_batch_are_done_each_for_itself_and_answered_in_their_order() {
    let world = World::new().await;
    let (admin, cloud) = (bearer(ADMIN), bearer(CLOUD_TOKEN));
    let services = "/compute/v1/projects/p/global/backendServices";
    let kind = ("content-type", "multipart/mixed; boundary=\"===1==\"");
    for (host, path, prefix) in [
        (HOST, "/batch/compute/v1", "/compute.googleapis.com"),
        (HOST, "/compute.googleapis.com/batch/compute/v1", ""),
        ("compute.googleapis.com", "/batch/compute/v1", ""),
    ] {
        let lines = ["app", "none"].map(|name| format!("GET {prefix}{services}/{name}?alt=json"));
        let elsewhere = format!("GET {prefix}/v1/projects/p");
        let nested = format!("POST {prefix}/batch/compute/v1");
        let patch = format!("PATCH {prefix}{services}/app");
        let parts = [
            (lines[0].as_str(), ""),
            (lines[1].as_str(), ""),
            (elsewhere.as_str(), ""),
            (nested.as_str(), ""),
            (patch.as_str(), r#"{"description": "batched"}"#),
        ];
        let fields = [("host", host), ("authorization", admin.as_str()), kind];
        let answer = world.post(path, &fields, &batch(&parts)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let boundary = answer.headers["content-type"].to_str().unwrap().split_once("boundary=").unwrap().1;
        let answers: Vec<&str> = answer.body.split(&format!("--{boundary}")).collect();
        let statuses = answers.iter().filter_map(|part| part.split_once("HTTP/1.1 "));
        let statuses: Vec<&str> = statuses.map(|(_, rest)| &rest[..3]).collect();
        assert_eq!(statuses, ["200", "404", "404", "404", "200"], "{path}: {}", answer.body);
        assert!(answers[1].contains("Content-ID: <response-b3a6+0>\r\n") && answers[1].contains(r#""name":"app""#));
        assert!(answers[2].contains("Content-ID: <response-b3a6+1>\r\n"), "{}", answers[2]);
        let denied = world.post(path, &[("host", host), ("authorization", &cloud), kind], &batch(&parts[..1])).await;
        assert_eq!(denied.status, StatusCode::OK, "the parts are refused, and not the whole");
        assert!(denied.body.contains("HTTP/1.1 403 Forbidden") && denied.body.contains("compute.backendServices.get"));
        let wrong = world.post(path, &[("host", host), ("authorization", &admin), kind], "no parts").await;
        assert_eq!(wrong.json()["error"]["status"], "INVALID_ARGUMENT");
    }
    let shown = world.get_as_operator(&format!("/compute.googleapis.com{services}/app")).await;
    assert_eq!(shown["description"], "batched");
}

#[tokio::test]
async fn an_account_is_described_anew_and_its_key_is_shown_in_the_form_that_is_asked_for() {
    let world = World::new().await;
    let account = format!("/iam.googleapis.com/v1/projects/p/serviceAccounts/{TARGET}");
    let both = json!({"displayName": "Two", "description": "Works"});
    // (method, body) => status, display name, description
    #[rustfmt::skip]
    let steps = [
        (Method::PATCH, json!({"serviceAccount": both}),                                                       200, json!("Two"),   json!("Works")),
        (Method::PATCH, json!({"serviceAccount": {"displayName": "Three"}, "updateMask": "displayName"}),     200, json!("Three"), json!("Works")),
        (Method::PATCH, json!({"serviceAccount": {"displayName": "x"}, "updateMask": "description"}),         200, json!("Three"), Value::Null),
        (Method::PATCH, json!({"serviceAccount": {}, "updateMask": "email"}),                                  400, json!("Three"), Value::Null),
        (Method::PATCH, json!({"serviceAccount": {"displayName": "x".repeat(101)}}),                           400, json!("Three"), Value::Null),
        (Method::PUT,   json!({"displayName": "Four", "description": "not read", "email": "other"}),           200, json!("Four"),  Value::Null),
    ];
    for (method, body, status, name, description) in steps {
        let answer = world.as_operator(method.clone(), &account, &body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {body} {}", answer.body);
        let shown = world.get_as_operator(&account).await;
        assert_eq!((&shown["displayName"], &shown["description"]), (&name, &description), "{method} {body}");
    }
    let made = world.as_operator(Method::POST, &format!("{account}/keys"), &json!({})).await.json();
    let id = made["name"].as_str().unwrap().rsplit('/').next().unwrap();
    for (kind, begin) in [
        ("", None),
        ("?publicKeyType=TYPE_NONE", None),
        ("?publicKeyType=TYPE_X509_PEM_FILE", Some("-----BEGIN CERTIFICATE-----\n")),
        ("?publicKeyType=TYPE_RAW_PUBLIC_KEY", Some("-----BEGIN PUBLIC KEY-----\n")),
    ] {
        let shown = world.get_as_operator(&format!("{account}/keys/{id}{kind}")).await;
        assert_eq!((&shown["name"], &shown["privateKeyData"]), (&made["name"], &Value::Null));
        let pem = shown["publicKeyData"].as_str().map(|data| {
            let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, data).unwrap();
            String::from_utf8(bytes).unwrap()
        });
        assert!(pem.as_deref().is_none_or(|pem| begin.is_some_and(|begin| pem.starts_with(begin))), "{kind}: {pem:?}");
        assert_eq!(pem.is_some(), begin.is_some(), "{kind}");
    }
    let of_another = format!("/iam.googleapis.com/v1/projects/p/serviceAccounts/{CALLER}/keys/{id}");
    assert_eq!(world.as_operator(Method::GET, &of_another, &Value::Null).await.status, StatusCode::NOT_FOUND);
    let wrong = world.as_operator(Method::GET, &format!("{account}/keys/{id}?publicKeyType=OTHER"), &Value::Null).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_gcloud_writes_in_its_own_way_is_understood() {
    let world = World::new().await;
    let roles = "/iam.googleapis.com/v1/projects/p/roles";
    for (shown, status) in [("False", 200), ("True", 200), ("true", 200), ("no", 400)] {
        let path = format!("{roles}?showDeleted={shown}");
        assert_eq!(world.as_operator(Method::GET, &path, &Value::Null).await.status.as_u16(), status, "{shown}");
    }
    // With an endpoint override the address of the service is in the name.
    let path = "/iam.googleapis.com/v1/permissions:queryTestablePermissions";
    for full in [
        "//cloudresourcemanager.googleapis.com/projects/p",
        "//127.0.0.1:8081/cloudresourcemanager.googleapis.com/projects/p",
    ] {
        let answer = world.as_operator(Method::POST, path, &json!({"fullResourceName": full})).await;
        assert_eq!(answer.status, StatusCode::OK, "{full} {}", answer.body);
    }
}

#[tokio::test]
async fn what_google_takes_in_every_query_changes_no_answer_and_is_no_credential() {
    let world = World::new().await;
    let (admin, stranger) = (bearer(ADMIN), bearer(CLOUD_TOKEN));
    let body = json!({"accessSettings": {"oauthSettings": {"programmaticClients": ["a"]}}}).to_string();
    #[rustfmt::skip]
    let calls = [
        (Method::GET,   "/iap.googleapis.com/v1/projects/p/iap_web:iapSettings?x=y",                                                          ""),
        (Method::PATCH, "/iap.googleapis.com/v1/projects/p/iap_web:iapSettings?updateMask=accessSettings.oauthSettings.programmaticClients",  body.as_str()),
        (Method::POST,  "/iap.googleapis.com/v1/projects/p/iap_web:getIamPolicy?x=y",                                                         "{}"),
        (Method::GET,   "/iap.googleapis.com/v1/projects/p/iap_tunnel/locations/-/destGroups?pageSize=3",                                     ""),
        (Method::GET,   "/compute.googleapis.com/compute/v1/projects/p/global/backendServices?maxResults=3",                                  ""),
        (Method::GET,   "/iam.googleapis.com/v1/projects/p/roles?showDeleted=false",                                                          ""),
        (Method::GET,   "/iam.googleapis.com/v1/projects/p/serviceAccounts?pageSize=3",                                                       ""),
        (Method::GET,   "/cloudresourcemanager.googleapis.com/v3/projects/p?x=y",                                                             ""),
    ];
    let shaping = "&fields=name&prettyPrint=true&alt=json&$.xgafv=2&key=K&quotaUser=q";
    for (method, path, body) in calls {
        let asked = async |more: &str, authorization: Option<&str>| {
            let fields: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
            world.call(method.clone(), &format!("{path}{more}"), &fields, body).await
        };
        let plain = asked("", Some(&admin)).await;
        assert_eq!(plain.status, StatusCode::OK, "{path} {}", plain.body);
        assert_eq!(asked(shaping, Some(&admin)).await.body, plain.body, "{path}");
        let token = format!("&access_token={ADMIN}");
        assert_eq!(asked(&token, None).await.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(asked(&token, Some(&stranger)).await.status, StatusCode::FORBIDDEN, "{path}");
    }
}
