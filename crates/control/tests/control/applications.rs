//! Applications by each of the APIs that have them.

use doorward_control::admin::{Admin, Failure};
use doorward_control::applications::{
    AppEngine, ApplicationError, Applications, BackendServices, OwnHosts, ReservedHosts, Scope,
};
use doorward_core::client::ClientKind;
use doorward_core::clock::CLOCK_SKEW;
use doorward_core::resource::ClientId;
use doorward_core::snapshot::NotServed;
use doorward_wire::doorward_api::ApplicationResource;
use doorward_wire::google_api::Status;
use doorward_wire::google_api::compute::ListQuery;
use serde_json::{Value, json};

use crate::{APP_CLIENT, Stack, cause};

/// A client that somebody brings, with its secret.
const BROUGHT: &str = "99-x.apps.googleusercontent.com";
const SECRET: &str = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";

const GLOBAL: Scope<'static> = Scope { base: "http://api/compute/v1", project: "dev-project", region: None };

impl Stack {
    pub(crate) fn applications(&self) -> Applications {
        let own = OwnHosts::Ports(vec!["127.0.0.1:8081".parse_host()]);
        let reserved = ReservedHosts::new(own, vec!["accounts.google.com"]);
        let (store, publisher) = (self.store.clone(), self.publisher.clone());
        Applications::new(store, publisher, self.entropy.clone(), self.changes.clone(), reserved)
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
        (json!({"hosts": ["http://127.0.0.1:8080"]}),    Some("hosts"),       "ok"),
        (json!({"hosts": ["http://127.0.0.1:8081"]}),    Some("hosts"),       "ReservedHost"),
        (json!({"hosts": ["accounts.google.com"]}),      None,                "ReservedHost"),
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
        (json!({"hosts": ["wiki.test", "https://127.0.0.1:8081"]}),       "ReservedHost",        Status::InvalidArgument),
        (json!({"hosts": ["accounts.google.com"]}),                       "ReservedHost",        Status::InvalidArgument),
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
    sent["iap"] = json!({"enabled": true, "oauth2ClientId": BROUGHT, "oauth2ClientSecret": SECRET});
    let operation = services.patch(&stack.admin, GLOBAL, "app", &sent).await.unwrap();
    assert_eq!((operation.status.as_str(), operation.target_id.as_str()), ("DONE", "777"));
    assert_eq!(operation.target_link, shown["selfLink"].as_str().unwrap());
    let again = services.operation(&stack.admin, GLOBAL, &operation.name).await.unwrap();
    assert_eq!((again.status, again.target_link), (operation.status, operation.target_link));
    let after = stack.described("app").await;
    // Its SHA-256, of the examples to FIPS 180-4.
    let digest = "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1";
    let iap = json!({"enabled": true, "oauth2ClientId": BROUGHT, "oauth2ClientSecretSha256": digest});
    assert_eq!((&after["iap"], &after["doorward"]), (&iap, &shown["doorward"]));
    let client = ClientId(BROUGHT.to_owned());
    assert!(stack.store.oauth_client(&client).await.unwrap().unwrap().secret.is_some());
    for event in stack.admin_events() {
        assert!(!serde_json::to_string(&event).unwrap().contains(SECRET), "{event:?}");
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
        let mut iap = json!({"enabled": true, "oauth2ClientId": BROUGHT});
        if let Some(secret) = secret {
            iap["oauth2ClientSecret"] = secret.into();
        }
        iap
    };
    insert(operator.clone(), "first", shared(Some(SECRET))).await.unwrap();
    let compute = stack.holding("compute", "roles/compute.admin", "projects/123").await;
    #[rustfmt::skip]
    let cases = [
        ("a", Some(SECRET),                      Ok(())),
        ("b", Some("another, and long enough"),  Err("Forbidden".to_owned())),
        ("c", Some("short"),                     Err("Forbidden".to_owned())),
        ("c", None,                              Err("Forbidden".to_owned())),
    ];
    for (name, secret, expected) in cases {
        assert_eq!(insert(compute.clone(), name, shared(secret)).await, expected, "{name}");
    }
    assert_eq!(insert(operator.clone(), "d", shared(None)).await, Ok(()));
    assert_eq!(insert(operator.clone(), "e", shared(Some("short"))).await, Err("ClientSecret".to_owned()));
    let desktop = ClientKind::Desktop { redirect_uris: vec![] };
    let desktop = stack.clients.create(operator, "cli", Ok(desktop)).await.unwrap().client.id.0;
    assert_eq!(insert(operator.clone(), "e", json!({"oauth2ClientId": desktop})).await, Err("ClientKind".to_owned()));
}

#[tokio::test]
async fn a_client_that_is_not_there_is_brought_by_who_may_make_clients_like_googles_and_with_a_secret_worth_the_name() {
    let stack = Stack::new().await;
    let engine = json!({"name": "one", "kind": "app_engine", "version": "v1", "hosts": [], "upstreams": []});
    stack.register(engine).await.unwrap();
    let bring = async |admin: &Admin, id: &str, secret: &str| {
        let (services, app_engine) = (stack.backend_services(), stack.app_engine());
        let name = format!("wiki{}", id.len());
        let sent = json!({"iap": {"enabled": true, "oauth2ClientId": id, "oauth2ClientSecret": secret}});
        let new = json!({"name": name, "iap": sent["iap"]});
        let outcomes = [
            services.patch(admin, GLOBAL, "app", &sent).await.map(drop),
            services.update(admin, GLOBAL, "app", serde_json::from_value(sent.clone()).unwrap()).await.map(drop),
            services.insert(admin, GLOBAL, serde_json::from_value(new).unwrap()).await.map(drop),
            app_engine.patch(admin, "dev-project", serde_json::from_value(sent).unwrap(), "iap").await.map(drop),
        ];
        outcomes.map(|outcome| outcome.map_or_else(|error| cause(&error), |()| "ok".to_owned()))
    };
    // By our own API, which takes no secret.
    let set_client = async |admin: &Admin, id: &str| {
        let new = ApplicationResource { client_id: Some(id.to_owned()), ..ApplicationResource::default() };
        let changed = stack.applications().update(admin, "app", new, Some("clientId")).await;
        changed.map_or_else(|error| cause(&error), |_| "ok".to_owned())
    };
    let before = stack.store.oauth_clients().await.unwrap();
    let compute = stack.holding("compute", "roles/compute.admin", "projects/123").await;
    let engineer = stack.holding("engineer", "roles/appengine.appAdmin", "projects/123").await;
    assert_eq!(bring(&compute, BROUGHT, SECRET).await, ["Forbidden"; 4]);
    assert_eq!(set_client(&compute, BROUGHT).await, "Forbidden");
    let asked = |event: &doorward_core::audit::AdminEvent| {
        event.permissions.iter().map(|it| it.permission.clone()).collect::<Vec<_>>().join(" ")
    };
    let refused: Vec<String> = stack.admin_events().iter().rev().take(5).map(asked).collect();
    #[rustfmt::skip]
    assert_eq!(refused, [
        "compute.backendServices.update clientauthconfig.clients.create",
        "appengine.applications.update",
        "compute.backendServices.create clientauthconfig.clients.create",
        "compute.backendServices.update clientauthconfig.clients.create",
        "compute.backendServices.update clientauthconfig.clients.create",
    ]);
    assert_eq!(bring(&engineer, BROUGHT, SECRET).await[3], "Forbidden");
    assert_eq!(
        asked(stack.admin_events().last().unwrap()),
        "appengine.applications.update clientauthconfig.clients.create"
    );
    let operator = &stack.admin;
    for id in ["https://victim.example", "victim", ".apps.googleusercontent.com", "a/b.apps.googleusercontent.com"] {
        assert_eq!(bring(operator, id, SECRET).await, ["ClientId"; 4], "{id}");
        assert_eq!(set_client(operator, id).await, "ClientId", "{id}");
    }
    for length in [1, 23, 1025] {
        assert_eq!(bring(operator, BROUGHT, &"x".repeat(length)).await, ["ClientSecret"; 4], "{length}");
    }
    assert_eq!(stack.store.oauth_clients().await.unwrap(), before);
    for (id, length) in [(BROUGHT, 24), ("123456.apps.googleusercontent.com", 1024)] {
        assert_eq!(bring(operator, id, &"x".repeat(length)).await, ["ok"; 4], "{id}");
    }
}

#[tokio::test]
async fn a_client_that_an_application_has_is_not_free_even_if_it_is_not_registered() {
    let stack = Stack::new().await;
    let client = ClientId(APP_CLIENT.to_owned());
    assert_eq!(stack.store.oauth_client(&client).await.unwrap(), None, "app has it, and nobody registered it");
    stack.register(json!({"name": "other", "hosts": [], "upstreams": []})).await.unwrap();
    let rights = ["compute.backendServices.update", "clientauthconfig.clients.create"];
    let role = json!({"roleId": "maker", "role": {"title": "T", "includedPermissions": rights}});
    stack.roles.create(&stack.admin, "projects/123", serde_json::from_value(role).unwrap()).await.unwrap();
    let compute = stack.holding("compute", "roles/compute.admin", "projects/123").await;
    let maker = stack.holding("maker", "projects/123/roles/maker", "projects/123").await;
    let services = stack.backend_services();
    let patch = async |admin: &Admin, name: &str, secret: Option<&str>| {
        let mut iap = json!({"enabled": true, "oauth2ClientId": APP_CLIENT});
        if let Some(secret) = secret {
            iap["oauth2ClientSecret"] = secret.into();
        }
        let outcome = services.patch(admin, GLOBAL, name, &json!({"iap": iap})).await;
        outcome.map_or_else(|error| cause(&error), |_| "ok".to_owned())
    };
    #[rustfmt::skip]
    let cases = [
        (&compute, "other", None,         "Forbidden"),
        (&compute, "other", Some(SECRET), "Forbidden"),
        (&compute, "app",   Some(SECRET), "Forbidden"),
        (&compute, "app",   None,         "ok"),
        (&maker,   "other", None,         "Forbidden"),
        (&maker,   "other", Some(SECRET), "Forbidden"),
        (&maker,   "app",   Some(SECRET), "Forbidden"),
    ];
    for (row, (admin, name, secret, expected)) in cases.into_iter().enumerate() {
        assert_eq!(patch(admin, name, secret).await, expected, "row {row}");
        assert_eq!(stack.store.oauth_client(&client).await.unwrap(), None, "row {row}");
    }
    // At a start it gets a secret that nobody knows.
    stack.applications().register_clients(&stack.admin).await.unwrap();
    let registered = stack.store.oauth_client(&client).await.unwrap().unwrap();
    for (row, (admin, name, secret, expected)) in cases.into_iter().enumerate() {
        assert_eq!(patch(admin, name, secret).await, expected, "row {row}");
    }
    stack.applications().register_clients(&stack.admin).await.unwrap();
    assert_eq!(stack.store.oauth_client(&client).await.unwrap(), Some(registered), "once");
    let recorded = stack.admin_events().iter().filter(|it| it.method.ends_with("RegisterClient")).count();
    assert_eq!(recorded, 1);
    assert_eq!(patch(&stack.admin, "other", Some(SECRET)).await, "ok");
}

#[tokio::test]
async fn a_right_that_another_instance_took_away_is_gone_at_the_next_call() {
    let stack = Stack::new().await;
    let (applications, services) = (stack.applications(), stack.backend_services());
    let new = || ApplicationResource { name: "wiki".to_owned(), ..ApplicationResource::default() };
    let body = || serde_json::from_value(json!({"name": "wiki"})).unwrap();
    let query = ListQuery::default();
    for call in ["list", "create", "backendServices.list", "aggregated", "insert", "operation"] {
        let admin = stack.holding(call, "roles/compute.admin", "projects/123").await;
        // Past this instance, as another one writes.
        stack.store.replace_policy("projects/123", &[], None, &[]).await.unwrap();
        let outcome = match call {
            "list" => applications.list(&admin).await.map(drop),
            "create" => applications.create(&admin, new()).await.map(drop),
            "backendServices.list" => services.list(&admin, GLOBAL, &query).await.map(drop),
            "aggregated" => services.aggregated(&admin, GLOBAL, &query).await.map(drop),
            "insert" => services.insert(&admin, GLOBAL, body()).await.map(drop),
            _ => services.operation(&admin, GLOBAL, "operation-patch-1-777-app").await.map(drop),
        };
        assert_eq!(cause(&outcome.unwrap_err()), "Forbidden", "{call}");
    }
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
    let recorded = stack.admin_events().pop().unwrap();
    let enabled = |shown: Option<Value>| shown.unwrap()["iap"]["enabled"].clone();
    assert_eq!(
        (enabled(recorded.before), enabled(recorded.after)),
        (json!(true), json!(false)),
        "of all, in one record"
    );
    let shown = app_engine.get(&stack.admin, "dev-project").await.unwrap();
    assert_eq!(shown.iap.unwrap().enabled, Some(false));
    let snapshot = stack.publisher.cell().current();
    let enabled = snapshot.applications().map(|it| (it.application.name.to_string(), it.application.iap_enabled));
    let mut enabled: Vec<_> = enabled.collect();
    enabled.sort();
    assert_eq!(enabled, [("app".to_owned(), true), ("one".to_owned(), false), ("two".to_owned(), false)]);
}

#[tokio::test]
async fn an_operation_of_app_engine_is_one_that_was_answered() {
    let stack = Stack::new().await;
    let app_engine = stack.app_engine();
    let new = json!({"name": "one", "kind": "app_engine", "version": "v1", "hosts": [], "upstreams": []});
    stack.register(new).await.unwrap();
    let made = app_engine.patch(&stack.admin, "dev-project", Default::default(), "iap").await.unwrap();
    let id = made.name.strip_prefix("apps/dev-project/operations/").unwrap();
    let to_come = ((stack.now() + CLOCK_SKEW).micros() + 1).to_string();
    assert_eq!(app_engine.operation(&stack.admin, "dev-project", id).await.unwrap(), made);
    for other in ["none", "", "-1", &format!("0{id}"), &format!("+{id}"), &to_come, "99999999999999999999"] {
        let refused = app_engine.operation(&stack.admin, "dev-project", other).await.unwrap_err();
        assert_eq!((cause(&refused), refused.status()), ("NoOperation".to_owned(), Status::NotFound), "{other:?}");
    }
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
