//! `google.cloud.iap.v1.IapSettings`, as far as it is served.
//!
//! Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/IapSettings>

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Settings of one resource. What is absent is inherited from above.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IapSettings {
    /// The resource's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Who may come in, and how.
    #[serde(alias = "access_settings", skip_serializing_if = "Option::is_none")]
    pub access_settings: Option<AccessSettings>,
    /// Settings that are not served yet: carried so that they can be refused by name.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// Who may come in, and how.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessSettings {
    /// OAuth.
    #[serde(alias = "oauth_settings", skip_serializing_if = "Option::is_none")]
    pub oauth_settings: Option<OAuthSettings>,
    /// Settings that are not served yet.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// OAuth.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OAuthSettings {
    /// Clients whose own ID tokens are accepted, beside those for the application's client.
    #[serde(alias = "programmatic_clients", skip_serializing_if = "Option::is_none")]
    pub programmatic_clients: Option<Vec<String>>,
    /// Settings that are not served yet.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

impl IapSettings {
    /// The clients, if they are set here.
    pub fn programmatic_clients(&self) -> Option<&[String]> {
        self.access_settings.as_ref()?.oauth_settings.as_ref()?.programmatic_clients.as_deref()
    }

    /// The path of the first setting that is not served, such as `accessSettings.corsSettings`.
    pub fn first_not_served(&self) -> Option<String> {
        let first = |prefix: &str, others: &Map<String, Value>| {
            others.iter().find(|(_, value)| !value.is_null()).map(|(name, _)| format!("{prefix}{name}"))
        };
        let access = self.access_settings.as_ref();
        let oauth = access.and_then(|access| access.oauth_settings.as_ref());
        first("", &self.others)
            .or_else(|| access.and_then(|access| first("accessSettings.", &access.others)))
            .or_else(|| oauth.and_then(|oauth| first("accessSettings.oauthSettings.", &oauth.others)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_served_is_found_wherever_it_stands() {
        #[rustfmt::skip]
        let cases = [
            (json!({"name": "n", "accessSettings": {"oauthSettings": {"programmaticClients": ["c"]}}}), None),
            (json!({"access_settings": {"oauth_settings": {"programmatic_clients": ["c"]}}}),           None),
            (json!({"applicationSettings": null}),                                                       None),
            (json!({"applicationSettings": {}}),                              Some("applicationSettings")),
            (json!({"accessSettings": {"corsSettings": {}}}),                 Some("accessSettings.corsSettings")),
            (json!({"accessSettings": {"oauthSettings": {"loginHint": "x"}}}), Some("accessSettings.oauthSettings.loginHint")),
        ];
        for (settings, expected) in cases {
            let read: IapSettings = serde_json::from_value(settings.clone()).unwrap();
            assert_eq!(read.first_not_served().as_deref(), expected, "{settings}");
        }
    }
}
