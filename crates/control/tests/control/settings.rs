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
        let (_, resource) = snapshot.served_at(&app_host()).unwrap();
        resource.programmatic_clients.iter().map(|client| client.0.clone()).collect()
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
    let web = stack.set("projects/123/iap_web", clients(&["web"]), None).await.unwrap();
    assert_eq!(web["name"], "projects/123/iap_web");
    assert_eq!(stack.accepted(), ["web"], "inherited");
    let own = stack.set(APP, clients(&["a", "b", "a"]), None).await.unwrap();
    let expected = json!({
        "name": APP_BY_NUMBER,
        "accessSettings": {"oauthSettings": {"programmaticClients": ["a", "b"]}},
    });
    assert_eq!(own, expected);
    assert_eq!(stack.accepted(), ["a", "b"]);
    for name in [APP, APP_BY_NUMBER] {
        let shown = stack.settings.get(&stack.admin, name).await.unwrap();
        assert_eq!(serde_json::to_value(shown).unwrap(), expected);
    }
    assert_eq!(stack.set(APP, clients(&[]), None).await.unwrap(), json!({"name": APP_BY_NUMBER}));
    assert_eq!(stack.accepted(), ["web"], "an empty list is none");
}

#[tokio::test]
async fn settings_that_would_not_mean_what_they_say_are_refused_and_change_nothing() {
    let stack = Stack::new().await;
    stack.set(APP, clients(&["a"]), None).await.unwrap();
    let many: Vec<String> = (0..101).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = "x".repeat(257);
    #[rustfmt::skip]
    let cases = [
        (APP, json!({"name": "projects/123/iap_web"}),                            None, "AnotherResource"),
        (APP, json!({"name": "projects/124"}),                                    None, "Resource"),
        (APP, json!({"applicationSettings": {}}),                                 None, "NotServed"),
        (APP, json!({"accessSettings": {"corsSettings": {"allowHttpOptions": true}}}), None, "NotServed"),
        (APP, json!({"accessSettings": {"oauthSettings": {"loginHint": "x"}}}),   None, "NotServed"),
        (APP, clients(&["b"]),                                                    Some("accessSettings.corsSettings"), "Mask"),
        (APP, clients(&["b"]),                                                    Some("accessSettings,nonsense"),     "Mask"),
        (APP, clients(&[""]),                                                     None, "ClientId"),
        (APP, clients(&["a b"]),                                                  None, "ClientId"),
        (APP, clients(&[&long]),                                                  None, "ClientId"),
        (APP, clients(&many),                                                     None, "ClientId"),
        ("projects/other", clients(&["b"]),                                       None, "Resource"),
        ("nonsense",       clients(&["b"]),                                       None, "Resource"),
    ];
    for (name, value, mask, expected) in cases {
        let shown: String = value.to_string().chars().take(80).collect();
        assert_eq!(stack.set(name, value, mask).await, Err(expected.to_owned()), "{name} {shown} {mask:?}");
    }
    assert_eq!(stack.accepted(), ["a"]);
    for mask in
        ["*", "accessSettings", "iapSettings.accessSettings.oauthSettings.programmaticClients", "access_settings"]
    {
        stack.set(APP, clients(&[mask]), Some(mask)).await.unwrap();
        assert_eq!(stack.accepted(), [mask]);
    }
}
