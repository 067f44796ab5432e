//! What administration says, in the words and with the addresses that clients act on.

use super::*;
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
    let event = world.as_operator(Method::POST, "/doorward/v1/applications/app:enable", &Value::Null).await;
    assert_eq!(event.status, StatusCode::OK);
    let event = world.last_admin_event().await;
    assert_eq!((event.caller.as_deref(), event.peer.as_deref()), (Some("operator"), Some("127.0.0.1")));
    assert!(event.before.is_some() && event.after.is_some());
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
    assert_eq!(asked.status, StatusCode::OK, "{}", asked.body);
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
