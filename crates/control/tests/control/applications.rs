//! Applications by each of the APIs that have them.

use doorward_control::admin::{Admin, Failure};
use doorward_control::applications::{AppEngine, ApplicationError, Applications, BackendServices, Scope};
use doorward_core::client::ClientKind;
use doorward_core::resource::ClientId;
use doorward_core::snapshot::NotServed;
use doorward_wire::doorward_api::ApplicationResource;
use doorward_wire::google_api::Status;
use doorward_wire::google_api::compute::ListQuery;
use serde_json::{Value, json};

use crate::{APP_CLIENT, Stack, cause};

const GLOBAL: Scope<'static> = Scope { base: "http://api/compute/v1", project: "dev-project", region: None };

impl Stack {
    pub(crate) fn applications(&self) -> Applications {
        Applications::new(self.store.clone(), self.publisher.clone(), self.entropy.clone(), self.changes.clone())
    }

    pub(crate) fn backend_services(&self) -> BackendServices {
        BackendServices::new(self.applications())
    }

    pub(crate) fn app_engine(&self) -> AppEngine {
        AppEngine::new(self.applications())
    }

    pub(crate) async fn register(&self, value: Value) -> Result<Value, ApplicationError> {
        let new: ApplicationResource = serde_json::from_value(value).unwrap();
        Ok(serde_json::to_value(self.applications().create(&self.admin, new).await?).unwrap())
    }

    async fn change(&self, name: &str, value: Value, mask: Option<&str>) -> Result<Value, String> {
        let new: ApplicationResource = serde_json::from_value(value).unwrap();
        let changed = self.applications().update(&self.admin, name, new, mask).await;
        changed.map(|changed| serde_json::to_value(changed).unwrap()).map_err(|error| cause(&error))
    }

    async fn described(&self, name: &str) -> Value {
        serde_json::to_value(self.backend_services().get(&self.admin, GLOBAL, name).await.unwrap()).unwrap()
    }

    /// The name of the application that is served at a host and path.
    fn served(&self, host: &str, path: &str) -> Result<String, NotServed> {
        let snapshot = self.publisher.cell().current();
        let (_, found) = snapshot.served_at(&host.parse_host(), path)?;
        Ok(found.application.name.to_string())
    }
}

trait ParseHost {
    fn parse_host(&self) -> doorward_core::resource::Host;
}

impl ParseHost for str {
    fn parse_host(&self) -> doorward_core::resource::Host {
        doorward_core::resource::Host::parse(self).unwrap()
    }
}

#[tokio::test]
async fn an_application_is_served_when_the_answer_is_given_and_gone_when_it_is_deleted() {
    let stack = Stack::new().await;
    assert_eq!(stack.served("wiki.test", "/"), Err(NotServed::NoSuchPlace));
    let made = stack
        .register(json!({
            "name": "wiki", "hosts": ["wiki.test", "http://wiki.local:8080"], "pathPrefixes": ["/w"],
            "upstreams": ["http://10.0.0.7:3000"], "labels": {"team": "web"},
        }))
        .await
        .unwrap();
    let (id, client, etag) = (&made["id"], &made["clientId"], &made["etag"]);
    let id_text = id.as_str().unwrap();
    assert_eq!(id_text.len(), 19);
    assert_eq!(
        made,
        json!({
            "name": "wiki", "kind": "backend_service", "id": id, "labels": {"team": "web"},
            "hosts": ["https://wiki.test", "http://wiki.local:8080"], "pathPrefixes": ["/w"],
            "upstreams": ["http://10.0.0.7:3000"], "iapEnabled": true, "clientId": client, "etag": etag,
            "resource": format!("projects/123/iap_web/compute/services/{id_text}"),
            "assertionAudience": format!("/projects/123/global/backendServices/{id_text}"),
        })
    );
    assert_eq!(stack.served("wiki.test", "/w/x"), Ok("wiki".to_owned()));
    assert_eq!(stack.served("wiki.local:8080", "/w"), Ok("wiki".to_owned()));
    let kept = stack.store.oauth_client(&ClientId(client.as_str().unwrap().to_owned())).await.unwrap().unwrap();
    assert!(matches!(&kept.kind, ClientKind::Web { redirect_uris } if redirect_uris[0].contains("handleRedirect")));
    for name in ["wiki", id_text] {
        let shown = stack.applications().get(&stack.admin, name).await.unwrap();
        assert_eq!(serde_json::to_value(shown).unwrap(), made);
    }
    let names: Vec<String> =
        stack.applications().list(&stack.admin).await.unwrap().applications.into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["app", "wiki"]);
    stack.applications().delete(&stack.admin, "wiki", etag.as_str()).await.unwrap();
    assert_eq!(stack.served("wiki.test", "/w/x"), Err(NotServed::NoSuchPlace));
    let events = stack.admin_events();
    let changes: Vec<(&str, bool, bool)> = events
        .iter()
        .map(|it| (it.method.rsplit('.').next().unwrap(), it.before.is_some(), it.after.is_some()))
        .collect();
    assert_eq!(changes, [("CreateApplication", false, true), ("DeleteApplication", true, false)]);
    assert!(!events[0].after.as_ref().unwrap().to_string().contains("doorward_cs_"));
}

#[tokio::test]
async fn a_change_replaces_all_or_what_the_mask_names_and_never_what_is_fixed() {
    let stack = Stack::new().await;
    let old = stack
        .change("app", json!({"hosts": ["http://app.test"], "upstreams": ["http://u"], "description": "d"}), None)
        .await
        .unwrap();
    assert_eq!(
        (&old["clientId"], &old["iapEnabled"], &old["description"]),
        (&json!(APP_CLIENT), &json!(true), &json!("d"))
    );
    let masked = stack
        .change("app", json!({"upstreams": ["http://v"], "hosts": ["other.test"]}), Some("upstreams"))
        .await
        .unwrap();
    assert_eq!((&masked["upstreams"], &masked["hosts"]), (&json!(["http://v"]), &json!(["http://app.test"])));
    assert_eq!(masked["description"], "d");
    let cleared = stack.change("app", json!({}), Some("description")).await.unwrap();
    assert_eq!(cleared.get("description"), None);
    #[rustfmt::skip]
    let cases = [
        (json!({"name": "other"}),                       Some("hosts"),       "ok"),
        (json!({"name": "other"}),                       None,                "ReadOnly"),
        (json!({"region": "eu"}),                        None,                "ReadOnly"),
        (json!({"kind": "cloud_run"}),                   None,                "ReadOnly"),
        (json!({"id": "778"}),                           None,                "ReadOnly"),
        (json!({"etag": old["etag"]}),                   None,                "Stale"),
        (json!({"etag": "!"}),                           None,                "Stale"),
        (json!({"hosts": ["a b"]}),                      None,                "Host"),
        (json!({"upstreams": ["http://u:p@x"]}),         None,                "Upstream"),
        (json!({}),                                      Some("nonsense"),    "Mask"),
    ];
    for (value, mask, expected) in cases {
        let outcome = stack.change("app", value.clone(), mask).await.map_or_else(|error| error, |_| "ok".to_owned());
        assert_eq!(outcome, expected, "{value} {mask:?}");
    }
    assert_eq!(stack.change("nobody", json!({}), None).await, Err("NotFound".to_owned()));
}

#[tokio::test]
async fn what_would_be_ambiguous_or_cannot_be_is_refused_when_it_is_registered() {
    let stack = Stack::new().await;
    let run = json!({"name": "run", "kind": "cloud_run", "region": "eu", "hosts": [], "upstreams": []});
    stack.register(run).await.unwrap();
    let with = |changes: Value| {
        let mut value = json!({"name": "wiki", "hosts": ["wiki.test"], "upstreams": ["http://u"]});
        value.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        value
    };
    #[rustfmt::skip]
    let cases = [
        (json!({"name": "app"}),                                          "NameTaken",           Status::AlreadyExists),
        (json!({"name": "run"}),                                          "NameTaken",           Status::AlreadyExists),
        (json!({"id": "777"}),                                            "NumberTaken",         Status::AlreadyExists),
        (json!({"hosts": ["https://app.test"]}),                          "PlaceTaken",          Status::AlreadyExists),
        (json!({"hosts": ["http://app.test"]}),                           "PlaceTaken",          Status::AlreadyExists),
        (json!({"name": "Wiki"}),                                         "Name",                Status::InvalidArgument),
        (json!({"id": "0777"}),                                           "Number",              Status::InvalidArgument),
        (json!({"kind": "cloud_run", "region": "eu", "id": "1"}),         "FieldOfAnotherKind",  Status::InvalidArgument),
        (json!({"kind": "app_engine"}),                                   "Missing",             Status::InvalidArgument),
        (json!({"labels": {"A": "b"}}),                                   "Labels",              Status::InvalidArgument),
        (json!({"clientId": "a b"}),                                      "ClientId",            Status::InvalidArgument),
    ];
    for (changes, expected, status) in cases {
        let error = stack.register(with(changes.clone())).await.unwrap_err();
        assert_eq!((cause(&error).as_str(), error.status()), (expected, status), "{changes}");
    }
    let before = stack.store.oauth_clients().await.unwrap().len();
    stack.register(with(json!({"hosts": ["http://app.test"]}))).await.unwrap_err();
    assert_eq!(stack.store.oauth_clients().await.unwrap().len(), before, "no client is left behind");
}

#[tokio::test]
async fn gcloud_describes_and_updates_a_backend_service() {
    let stack = Stack::new().await;
    let services = stack.backend_services();
    let shown = stack.described("app").await;
    let fingerprint = &shown["fingerprint"];
    assert_eq!(
        shown,
        json!({
            "kind": "compute#backendService", "id": "777", "name": "app", "protocol": "HTTP",
            "loadBalancingScheme": "EXTERNAL_MANAGED", "fingerprint": fingerprint,
            "selfLink": "http://api/compute/v1/projects/dev-project/global/backendServices/app",
            "iap": {"enabled": true, "oauth2ClientId": APP_CLIENT},
            "doorward": {"hosts": ["http://app.test"], "upstreams": ["http://127.0.0.1:9000"]},
        })
    );
    // As gcloud sends it: the whole object, with another `iap`.
    let mut sent = shown.clone();
    sent["iap"] =
        json!({"enabled": true, "oauth2ClientId": "99-x.apps.googleusercontent.com", "oauth2ClientSecret": "abc"});
    let operation = services.patch(&stack.admin, GLOBAL, "app", &sent).await.unwrap();
    assert_eq!((operation.status.as_str(), operation.target_id.as_str()), ("DONE", "777"));
    assert_eq!(operation.target_link, shown["selfLink"].as_str().unwrap());
    let again = services.operation(&stack.admin, GLOBAL, &operation.name).await.unwrap();
    assert_eq!((again.status, again.target_link), (operation.status, operation.target_link));
    let after = stack.described("app").await;
    // SHA-256 of abc (FIPS 180-4).
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let iap = json!({"enabled": true, "oauth2ClientId": "99-x.apps.googleusercontent.com", "oauth2ClientSecretSha256": digest});
    assert_eq!((&after["iap"], &after["doorward"]), (&iap, &shown["doorward"]));
    let client = ClientId("99-x.apps.googleusercontent.com".to_owned());
    assert!(stack.store.oauth_client(&client).await.unwrap().unwrap().secret.is_some());
    for event in stack.admin_events() {
        assert!(!serde_json::to_string(&event).unwrap().contains("abc\""), "{event:?}");
    }
    // Stale, off, and back on without a client: it keeps its own.
    assert_eq!(cause(&services.patch(&stack.admin, GLOBAL, "app", &sent).await.unwrap_err()), "Stale");
    let off = json!({"iap": {"enabled": false, "oauth2ClientId": "", "oauth2ClientSecret": ""}});
    services.patch(&stack.admin, GLOBAL, "app", &off).await.unwrap();
    let snapshot = stack.publisher.cell().current();
    let known = &snapshot.application("777").unwrap().application;
    assert_eq!((known.iap_enabled, &known.client_id), (false, &client));
}

#[tokio::test]
async fn a_backend_service_is_inserted_listed_and_deleted_in_its_scope() {
    let stack = Stack::new().await;
    let services = stack.backend_services();
    let europe = Scope { region: Some("europe-west1"), ..GLOBAL };
    let body = |value: Value| serde_json::from_value(value).unwrap();
    let new = json!({
        "name": "wiki", "protocol": "HTTPS", "timeoutSec": 30, "healthChecks": ["x"], "securityPolicy": "",
        "doorward": {"hosts": ["wiki.test"], "upstreams": ["http://u"]},
    });
    let made = services.insert(&stack.admin, europe, body(new)).await.unwrap();
    assert_eq!(made.region.as_deref(), Some("http://api/compute/v1/projects/dev-project/regions/europe-west1"));
    let snapshot = stack.publisher.cell().current();
    assert!(
        !snapshot.application(&made.target_id).unwrap().application.iap_enabled,
        "nobody is let in unless it is said"
    );
    let listed = |at: Scope<'static>, filter: Option<&str>| {
        let query = ListQuery { filter: filter.map(str::to_owned), ..ListQuery::default() };
        let services = stack.backend_services();
        let admin = &stack.admin;
        async move {
            let list = services.list(admin, at, &query).await.unwrap();
            list.items.into_iter().map(|it| it.name).collect::<Vec<_>>().join(" ")
        }
    };
    assert_eq!(listed(GLOBAL, None).await, "app");
    assert_eq!(listed(europe, None).await, "wiki");
    assert_eq!(listed(europe, Some("name=app")).await, "");
    let all = services.aggregated(&stack.admin, GLOBAL, &ListQuery::default()).await.unwrap();
    let scopes: Vec<(&str, usize)> =
        all.items.iter().map(|(scope, list)| (scope.as_str(), list.backend_services.len())).collect();
    assert_eq!(scopes, [("global", 1), ("regions/europe-west1", 1)]);
    let one = ListQuery { max_results: Some(1), ..ListQuery::default() };
    let first = services.aggregated(&stack.admin, GLOBAL, &one).await.unwrap();
    let rest = ListQuery { page_token: first.next_page_token.clone(), ..one };
    let second = services.aggregated(&stack.admin, GLOBAL, &rest).await.unwrap();
    assert_eq!((first.items.len(), second.items.len(), second.next_page_token), (1, 1, None));
    assert_eq!(cause(&services.get(&stack.admin, GLOBAL, "wiki").await.unwrap_err()), "NotFound");
    let refused = json!({"name": "blog", "securityPolicy": "https://x/policies/p"});
    assert_eq!(cause(&services.insert(&stack.admin, GLOBAL, body(refused)).await.unwrap_err()), "NotServed");
    let elsewhere = Scope { project: "other", ..GLOBAL };
    assert_eq!(cause(&services.get(&stack.admin, elsewhere, "app").await.unwrap_err()), "NotFound");
    let gone = services.delete(&stack.admin, europe, "wiki").await.unwrap();
    assert_eq!(listed(europe, None).await, "");
    assert!(services.operation(&stack.admin, europe, &gone.name).await.is_ok());
    let never = "operation-delete-1-777-app";
    assert_eq!(cause(&services.operation(&stack.admin, GLOBAL, never).await.unwrap_err()), "NoOperation");
}

#[tokio::test]
async fn a_replacement_that_does_not_know_of_us_takes_nothing_away() {
    let stack = Stack::new().await;
    let body = serde_json::from_value(json!({"name": "app", "description": "d"})).unwrap();
    stack.backend_services().update(&stack.admin, GLOBAL, "app", body).await.unwrap();
    let after = stack.described("app").await;
    assert_eq!((&after["description"], &after["iap"]["enabled"]), (&json!("d"), &json!(true)));
    assert_eq!(after["doorward"]["hosts"], json!(["http://app.test"]));
}

#[tokio::test]
async fn a_client_is_shared_by_those_who_know_its_secret_or_may_see_it() {
    let stack = Stack::new().await;
    let operator = &stack.admin;
    let insert = |admin: Admin, name: &'static str, iap: Value| {
        let body = serde_json::from_value(json!({"name": name, "iap": iap})).unwrap();
        let services = stack.backend_services();
        async move { services.insert(&admin, GLOBAL, body).await.map(|_| ()).map_err(|error| cause(&error)) }
    };
    let shared = |secret: Option<&str>| {
        let mut iap = json!({"enabled": true, "oauth2ClientId": "99-x.apps.googleusercontent.com"});
        if let Some(secret) = secret {
            iap["oauth2ClientSecret"] = secret.into();
        }
        iap
    };
    insert(operator.clone(), "first", shared(Some("abc"))).await.unwrap();
    let compute = stack.holding("compute", "roles/compute.admin", "projects/123").await;
    #[rustfmt::skip]
    let cases = [
        ("a", Some("abc"), Ok(())),
        ("b", Some("abd"), Err("Forbidden".to_owned())),
        ("c", None,        Err("Forbidden".to_owned())),
    ];
    for (name, secret, expected) in cases {
        assert_eq!(insert(compute.clone(), name, shared(secret)).await, expected, "{name}");
    }
    assert_eq!(insert(operator.clone(), "d", shared(None)).await, Ok(()));
    let desktop = ClientKind::Desktop { redirect_uris: vec![] };
    let desktop = stack.clients.create(operator, "cli", Ok(desktop)).await.unwrap().client.id.0;
    assert_eq!(insert(operator.clone(), "e", json!({"oauth2ClientId": desktop})).await, Err("ClientKind".to_owned()));
}

#[tokio::test]
async fn app_engine_is_one_switch_for_all_versions() {
    let stack = Stack::new().await;
    let app_engine = stack.app_engine();
    assert_eq!(cause(&app_engine.get(&stack.admin, "dev-project").await.unwrap_err()), "NotFound");
    for (name, version) in [("one", "v1"), ("two", "v2")] {
        let new = json!({"name": name, "kind": "app_engine", "version": version, "hosts": [], "upstreams": []});
        stack.register(new).await.unwrap();
    }
    let body = serde_json::from_value(json!({"iap": {"enabled": false}})).unwrap();
    let operation = app_engine.patch(&stack.admin, "dev-project", body, "iap,").await.unwrap();
    assert!(operation.done);
    let shown = app_engine.get(&stack.admin, "dev-project").await.unwrap();
    assert_eq!(shown.iap.unwrap().enabled, Some(false));
    let snapshot = stack.publisher.cell().current();
    let enabled = snapshot.applications().map(|it| (it.application.name.to_string(), it.application.iap_enabled));
    let mut enabled: Vec<_> = enabled.collect();
    enabled.sort();
    assert_eq!(enabled, [("app".to_owned(), true), ("one".to_owned(), false), ("two".to_owned(), false)]);
}

#[tokio::test]
async fn each_method_demands_its_permission() {
    let stack = Stack::new().await;
    let viewer = stack.holding("viewer", "roles/compute.viewer", "projects/123").await;
    let accessor = stack.holding("user", "roles/iap.httpsResourceAccessor", "projects/123").await;
    let (applications, services) = (stack.applications(), stack.backend_services());
    let new = || ApplicationResource { name: "wiki".to_owned(), ..ApplicationResource::default() };
    for (admin, sees) in [(&viewer, true), (&accessor, false)] {
        let denied =
            |outcome: Result<(), ApplicationError>| matches!(&outcome, Err(error) if cause(error) == "Forbidden");
        assert_eq!(denied(applications.list(admin).await.map(drop)), !sees);
        assert_eq!(denied(applications.get(admin, "app").await.map(drop)), !sees);
        assert_eq!(
            denied(applications.get(admin, "nobody").await.map(drop)),
            !sees,
            "whether it is there is told to none"
        );
        assert_eq!(denied(services.get(admin, GLOBAL, "app").await.map(drop)), !sees);
        assert_eq!(denied(services.list(admin, GLOBAL, &ListQuery::default()).await.map(drop)), !sees);
        assert_eq!(denied(services.aggregated(admin, GLOBAL, &ListQuery::default()).await.map(drop)), !sees);
        assert!(denied(applications.create(admin, new()).await.map(drop)));
        assert!(denied(applications.update(admin, "app", new(), None).await.map(drop)));
        assert!(denied(applications.set_enabled(admin, "app", false).await.map(drop)));
        assert!(denied(applications.delete(admin, "app", None).await));
        assert!(denied(services.insert(admin, GLOBAL, Default::default()).await.map(drop)));
        assert!(denied(services.patch(admin, GLOBAL, "app", &json!({})).await.map(drop)));
        assert!(denied(services.update(admin, GLOBAL, "app", Default::default()).await.map(drop)));
        assert!(denied(services.delete(admin, GLOBAL, "app").await.map(drop)));
        let app_engine = stack.app_engine();
        assert!(denied(app_engine.get(admin, "dev-project").await.map(drop)));
        assert!(denied(app_engine.patch(admin, "dev-project", Default::default(), "iap").await.map(drop)));
    }
    assert_eq!(stack.applications().list(&stack.admin).await.unwrap().applications.len(), 1);
}
