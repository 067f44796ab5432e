//! `appengine.googleapis.com/v1`, as far as `gcloud iap web` needs it: `apps` get and patch.
//!
//! Spec: <https://cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps>

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::identity_aware_proxy::IdentityAwareProxy;
use super::proto_json::or_default;

/// An App Engine application. A change is answered with a
/// [`LongRunningOperation`](super::operation::LongRunningOperation) whose response is this, of the kind
/// [`Application::KIND`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Application {
    /// `apps/PROJECT_ID`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The project's id.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Whose accounts may sign in.
    #[serde(alias = "auth_domain", skip_serializing_if = "Option::is_none")]
    pub auth_domain: Option<String>,
    /// The region.
    #[serde(alias = "location_id", skip_serializing_if = "Option::is_none")]
    pub location_id: Option<String>,
    /// `SERVING`.
    #[serde(alias = "serving_status", skip_serializing_if = "Option::is_none")]
    pub serving_status: Option<String>,
    /// Where it is reached.
    #[serde(alias = "default_hostname", skip_serializing_if = "Option::is_none")]
    pub default_hostname: Option<String>,
    /// Whether it is protected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iap: Option<IdentityAwareProxy>,
    /// Every other field.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

impl Application {
    /// The message.
    pub const KIND: &str = "google.appengine.v1.Application";
    /// The message's name in masks.
    pub const MESSAGE: &str = "application";
    /// What a mask of ours may name.
    pub const PATHS: [&str; 3] = ["iap.enabled", "iap.oauth2ClientId", "iap.oauth2ClientSecret"];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::google_api::field_mask::FieldMask;
    use serde_json::json;

    #[test]
    fn an_application_comes_back_whole_and_gclouds_mask_names_its_iap() {
        let whole = json!({
            "name": "apps/p", "id": "p", "authDomain": "gmail.com", "locationId": "europe-west", "servingStatus": "SERVING",
            "defaultHostname": "p.appspot.com", "iap": {"enabled": true, "oauth2ClientId": "c"}, "codeBucket": "b",
        });
        let read: Application = serde_json::from_value(whole.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), whole);
        let mask = FieldMask::parse("iap,", Application::MESSAGE, &Application::PATHS);
        assert_eq!(mask, Ok(FieldMask::Paths(vec!["iap".to_owned()])));
    }
}
