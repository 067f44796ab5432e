use doorward_control::settings::SettingsService;
use doorward_wire::google_api::IapSettings;
use serde_json::{Value, json};

use crate::{Stack, app_host, cause};

const APP: &str = "projects/dev-project/iap_web/compute/services/app";
const APP_BY_NUMBER: &str = "projects/123/iap_web/compute/services/777";

fn settings(value: Value) -> IapSettings {
    serde_json::from_value(value).unwrap()
}

fn clients(ids: &[&str]) -> Value {
    json!({"accessSettings": {"oauthSettings": {"programmaticClients": ids}}})
}

impl Stack {
    /// The clients whose ID tokens are accepted at the application now.
    fn accepted(&self) -> Vec<String> {
        let snapshot = self.publisher.cell().current();
        let (_, resource) = snapshot.served_at(&app_host(), "/").unwrap();
        resource.settings.programmatic_clients.value.iter().map(|client| client.0.clone()).collect()
    }

    async fn set(&self, name: &str, value: Value, mask: Option<&str>) -> Result<Value, String> {
        let outcome = self.settings.update(&self.admin, name, settings(value), mask).await;
        outcome.map(|settings| serde_json::to_value(settings).unwrap()).map_err(|error| cause(&error))
    }
}

#[tokio::test]
async fn settings_are_in_force_when_the_answer_is_given_and_the_nearest_decide() {
    let stack = Stack::new().await;
    assert!(stack.accepted().is_empty());
    for (name, canonical) in [
        ("organizations/1", "organizations/1"),
        ("folders/21", "folders/21"),
        ("projects/dev-project", "projects/123"),
        ("projects/dev-project/iap_web", "projects/123/iap_web"),
        ("projects/dev-project/iap_web/compute", "projects/123/iap_web/compute"),
        (APP, APP_BY_NUMBER),
        (
            "projects/123/iap_web/compute/services/app/versions/bs_0",
            "projects/123/iap_web/compute/services/777/versions/bs_0",
        ),
    ] {
        let own = stack.set(name, clients(&["a", name]), None).await.unwrap();
        let mut expected = clients(&["a", name]);
        expected["name"] = canonical.into();
        assert_eq!(own, expected);
        assert_eq!(stack.accepted(), ["a", name]);
        let shown = stack.settings.get(&stack.admin, canonical).await.unwrap();
        assert_eq!(serde_json::to_value(shown).unwrap(), expected);
    }
    let version = "projects/123/iap_web/compute/services/777/versions/bs_0";
    assert_eq!(stack.set(version, clients(&[]), None).await.unwrap(), json!({"name": version}));
    assert_eq!(stack.accepted(), ["a", APP], "an empty list is none");
}

#[tokio::test]
async fn a_mask_replaces_what_it_names_and_leaves_the_rest() {
    let stack = Stack::new().await;
    let page = |uri: &str| json!({"applicationSettings": {"accessDeniedPageSettings": {"accessDeniedPageUri": uri}}});
    let mut both = clients(&["a"]);
    both["applicationSettings"] = page("https://help.test/")["applicationSettings"].clone();
    stack.set(APP, both, None).await.unwrap();
    #[rustfmt::skip]
    let cases = [
        (page("https://other.test/"), "applicationSettings",                                                 Ok((json!(["a"]), json!("https://other.test/")))),
        (clients(&["b"]),             "iapSettings.accessSettings.oauthSettings.programmaticClients",        Ok((json!(["b"]), json!("https://other.test/")))),
        (json!({}),                   "access_settings.oauth_settings",                                      Ok((json!(null), json!("https://other.test/")))),
        (clients(&["c"]),             "applicationSettings.accessDeniedPageSettings,accessSettings",         Ok((json!(["c"]), json!(null)))),
        (clients(&["d"]),             "accessSettings.nonsense",                                             Err("Mask")),
        (clients(&["d"]),             "accessSettings,nonsense",                                             Err("Mask")),
        (clients(&["d"]),             "*",                                                                   Ok((json!(["d"]), json!(null)))),
    ];
    for (value, mask, expected) in cases {
        let outcome = stack.set(APP, value, Some(mask)).await.map(|shown| {
            let at = |path: &str| shown.pointer(path).cloned().unwrap_or(Value::Null);
            let clients = at("/accessSettings/oauthSettings/programmaticClients");
            (clients, at("/applicationSettings/accessDeniedPageSettings/accessDeniedPageUri"))
        });
        assert_eq!(outcome, expected.map_err(str::to_owned), "{mask}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn masked_changes_of_two_instances_lose_nothing() {
    const CLIENTS: &str = "accessSettings.oauthSettings.programmaticClients";
    const PAGE: &str = "applicationSettings.accessDeniedPageSettings.accessDeniedPageUri";
    let stack = Stack::new().await;
    let other = stack.other().await;
    let changes = stack.changes_at(&other);
    let second = SettingsService::new(stack.store.clone(), other, changes);
    for round in 0..30 {
        let (client, uri) = (format!("client{round}"), format!("https://help.test/{round}"));
        let page = json!({"applicationSettings": {"accessDeniedPageSettings": {"accessDeniedPageUri": uri}}});
        let (one, two) = tokio::join!(
            stack.settings.update(&stack.admin, APP, settings(clients(&[&client])), Some(CLIENTS)),
            second.update(&stack.admin, APP, settings(page.clone()), Some(PAGE)),
        );
        assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
        let mut both = clients(&[&client]);
        both["name"] = APP_BY_NUMBER.into();
        both["applicationSettings"] = page["applicationSettings"].clone();
        for service in [&stack.settings, &second] {
            let shown = service.get(&stack.admin, APP).await.unwrap();
            assert_eq!(serde_json::to_value(shown).unwrap(), both, "round {round}");
        }
    }
}

#[tokio::test]
async fn settings_that_would_not_mean_what_they_say_are_refused_and_change_nothing() {
    let stack = Stack::new().await;
    stack.set(APP, clients(&["a"]), None).await.unwrap();
    let many: Vec<String> = (0..501).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = "x".repeat(256);
    #[rustfmt::skip]
    let cases = [
        (APP, json!({"name": "projects/123/iap_web"}),                                           "AnotherResource"),
        (APP, json!({"name": "projects/124"}),                                                   "AnotherResource"),
        (APP, json!({"accessSettings": {"corsSettings": {"allowHttpOptions": true}}}),           "Refused"),
        (APP, json!({"accessSettings": {"corsSettings": {"allow_http_option": true}}}),          "Unknown"),
        (APP, json!({"accessSettings": {"oauthSettings": {"loginHint": "x"}}}),                  "Refused"),
        (APP, json!({"accessSettings": {"reauthSettings": {"method": "LOGIN"}}}),                "Reauthentication"),
        (APP, json!({"accessSettings": {"policyDelegationSettings": {}}}),                       "Refused"),
        (APP, json!({"applicationSettings": {"attributePropagationSettings": {"expression": "x"}}}), "Refused"),
        (APP, clients(&[""]),                                                                    "Refused"),
        (APP, clients(&["a b"]),                                                                 "Refused"),
        (APP, clients(&["b", "b"]),                                                              "Refused"),
        (APP, clients(&[&long]),                                                                 "Refused"),
        (APP, clients(&many),                                                                    "Refused"),
        ("projects/other", clients(&["b"]),                                                      "NotFound"),
        ("projects/123/iap_web/compute/services/gone", clients(&["b"]),                          "NotFound"),
        ("nonsense",       clients(&["b"]),                                                      "Malformed"),
        ("projects/123/iap_tunnel", clients(&["b"]),                                             "NoSettings"),
    ];
    for (name, value, expected) in cases {
        let shown: String = value.to_string().chars().take(80).collect();
        assert_eq!(stack.set(name, value, None).await, Err(expected.to_owned()), "{name} {shown}");
    }
    assert_eq!(stack.accepted(), ["a"]);
}

#[tokio::test]
async fn an_expression_is_checked_with_the_place_of_its_mistake() {
    let stack = Stack::new().await;
    let check = |expression: &'static str| stack.settings.validate_expression(&stack.admin, APP, expression);
    check("attributes.saml_attributes").await.unwrap();
    let error = check("attributes.saml_attributes.nonsense()").await.unwrap_err();
    assert_eq!(cause(&error), "Expression");
    assert!(error.to_string().contains("column"), "{error}");
}

#[tokio::test]
async fn settings_demand_the_permission_of_their_kind_of_resource() {
    let stack = Stack::new().await;
    let kinds =
        ["organizations/1", "folders/21", "projects/123", "projects/123/iap_web", "projects/123/iap_web/compute", APP];
    let viewer = stack.holding("viewer", "roles/viewer", "organizations/1").await;
    let admin = stack.holding("admin", "roles/iap.settingsAdmin", "projects/123").await;
    let user = stack.holding("user", "roles/iap.httpsResourceAccessor", "organizations/1").await;
    for (place, name) in kinds.into_iter().enumerate() {
        let in_project = place >= 2;
        #[rustfmt::skip]
        let cases = [
            (&viewer, true,       false),
            (&admin,  in_project, in_project),
            (&user,   false,      false),
        ];
        for (who, reads, writes) in cases {
            assert_eq!(stack.settings.get(who, name).await.is_ok(), reads, "{name} {who:?}");
            let written = stack.settings.update(who, name, settings(clients(&["x"])), None).await;
            assert_eq!(written.is_ok(), writes, "{name} {who:?}");
            let checked = stack.settings.validate_expression(who, name, "attributes.saml_attributes").await;
            assert_eq!(checked.is_ok(), reads, "{name} {who:?}");
        }
    }
}
