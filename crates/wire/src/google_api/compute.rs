//! `compute.googleapis.com/compute/v1`, as far as IAP needs it: backend services and the operations on them. A backend
//! service is how an application is registered.
//!
//! Spec: <https://cloud.google.com/compute/docs/reference/rest/v1/backendServices>

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::iam_policy::Etag;
use super::identity_aware_proxy::IdentityAwareProxy;
use super::proto_json::{digits, integer, or_default};

/// A backend service.
///
/// gcloud changes one by reading it whole and sending it back whole, so every field that we do not know is kept as it
/// is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendService {
    /// `compute#backendService`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The digits of a 64-bit number; ours to say.
    #[serde(deserialize_with = "digits", skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// RFC 3339; ours to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
    /// 1 to 63 characters, `[a-z]([-a-z0-9]*[a-z0-9])?`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its URL under the address that the client was given; ours to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_link: Option<String>,
    /// The URL of its region; absent of a global one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// What serves it. Ours are in `doorward`; these are kept for clients that send them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backends: Option<Vec<Value>>,
    /// `HTTP`, `HTTPS` and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// `EXTERNAL_MANAGED` and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancing_scheme: Option<String>,
    /// The state that was read, to be sent back with a change. Base64: gcloud fails on anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Etag>,
    /// Whether it is protected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iap: Option<IdentityAwareProxy>,
    /// Ours, unknown to Google: where requests come from and go to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doorward: Option<ApplicationRoutes>,
    /// Every other field.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// Where an application's requests come from and go to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ApplicationRoutes {
    /// Hosts or origins at which it is reached, such as `wiki.example.com` or `https://wiki.example.com:8443`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Paths that are its own on these hosts, such as `/wiki`; without any, all of them.
    #[serde(alias = "path_prefixes", deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub path_prefixes: Vec<String>,
    /// URLs to one of which each request is forwarded.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<String>,
}

/// Changes a JSON object as `PATCH` of this API does: an object is merged, `null` removes, anything else replaces.
///
/// Spec: RFC 7396 section 2
pub fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else { return };
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge_patch(fields.entry(name.as_str()).or_insert(Value::Null), change);
        }
    }
}

/// Answer of `GET …/global/backendServices` and of `GET …/regions/REGION/backendServices`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendServiceList {
    /// `compute#backendServiceList`.
    pub kind: String,
    /// `projects/P/global/backendServices`.
    pub id: String,
    /// One page.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<BackendService>,
    /// Absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
    /// The URL of the list.
    pub self_link: String,
}

/// Answer of `GET …/aggregated/backendServices`, with which gcloud lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendServiceAggregatedList {
    /// `compute#backendServiceAggregatedList`.
    pub kind: String,
    /// `projects/P/aggregated/backendServices`.
    pub id: String,
    /// By scope: `global` or `regions/REGION`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub items: BTreeMap<String, BackendServicesScopedList>,
    /// Absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
    /// The URL of the list.
    pub self_link: String,
}

/// The backend services of one scope.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendServicesScopedList {
    /// All of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backend_services: Vec<BackendService>,
}

/// The query of the lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListQuery {
    /// How many at most, 0 to 500; 500 if absent.
    pub max_results: Option<u32>,
    /// `nextPageToken` of the page before.
    pub page_token: Option<String>,
    /// A filter: `name=NAME`, `name eq NAME`, `name:(A B)`.
    pub filter: Option<String>,
}

/// A change, which is done when it is answered.
///
/// gcloud asks again unless `status` is `DONE`, and reads `targetLink` afterwards. Both links must be under the address
/// that it was given.
///
/// Spec: <https://cloud.google.com/compute/docs/reference/rest/v1/globalOperations>
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// `compute#operation`.
    pub kind: String,
    /// The digits of a 64-bit number.
    pub id: String,
    /// `operation-…`.
    pub name: String,
    /// `insert`, `patch`, `update` or `delete`.
    pub operation_type: String,
    /// The URL of what was changed.
    pub target_link: String,
    /// Its id.
    pub target_id: String,
    /// `DONE`.
    pub status: String,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// 100.
    #[serde(default, deserialize_with = "integer", skip_serializing_if = "Option::is_none")]
    pub progress: Option<i32>,
    /// RFC 3339.
    pub insert_time: String,
    /// RFC 3339.
    pub start_time: String,
    /// RFC 3339.
    pub end_time: String,
    /// The URL of the region; absent of a global one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The URL of the operation.
    pub self_link: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What gcloud reads and, with another `iap`, sends back; with fields that are not ours.
    fn described() -> Value {
        json!({
            "kind": "compute#backendService", "id": "4567", "creationTimestamp": "2026-01-01T00:00:00Z", "name": "wiki",
            "description": "d", "selfLink": "http://127.0.0.1:1/compute/v1/projects/p/global/backendServices/wiki",
            "backends": [{"group": "https://x/instanceGroups/g", "balancingMode": "UTILIZATION", "capacityScaler": 1.0}],
            "protocol": "HTTPS", "loadBalancingScheme": "EXTERNAL_MANAGED", "fingerprint": "BwXseec=",
            "iap": {"enabled": true, "oauth2ClientId": "c", "oauth2ClientSecretSha256": "aa"},
            "doorward": {"hosts": ["wiki.example.com"], "pathPrefixes": ["/wiki"], "upstreams": ["http://127.0.0.1:3000"]},
            "timeoutSec": 30, "healthChecks": ["https://x/healthChecks/h"], "cdnPolicy": {"negativeCaching": false},
        })
    }

    #[test]
    fn a_backend_service_comes_back_whole_with_what_is_not_ours() {
        let read: BackendService = serde_json::from_value(described()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), described());
        let others: Vec<&String> = read.others.keys().collect();
        assert_eq!(others, ["cdnPolicy", "healthChecks", "timeoutSec"]);
        assert_eq!(serde_json::to_value(BackendService::default()).unwrap(), json!({}));
    }

    #[test]
    fn ids_are_digits_and_fingerprints_base64_in_either_alphabet() {
        #[rustfmt::skip]
        let cases = [
            (json!({"id": "18446744073709551615"}), Some(json!({"id": "18446744073709551615"}))),
            (json!({"id": 4567}),                   Some(json!({"id": "4567"}))),
            (json!({"id": "wiki"}),                 None),
            (json!({"fingerprint": "23g-loXd"}),    Some(json!({"fingerprint": "23g+loXd"}))),
            (json!({"fingerprint": "!"}),           None),
            (json!({"iap": {"enable": true}}),      None),
            (json!({"doorward": {"host": "x"}}),    None),
            (json!({"iap": null, "description": null}), Some(json!({}))),
        ];
        for (sent, expected) in cases {
            let read = serde_json::from_value::<BackendService>(sent.clone()).ok();
            assert_eq!(read.map(|read| serde_json::to_value(read).unwrap()), expected, "{sent}");
        }
    }

    #[test]
    fn a_patch_merges_objects_removes_what_is_null_and_replaces_the_rest() {
        // The table of RFC 7396, appendix A.
        #[rustfmt::skip]
        let cases = [
            (json!({"a": "b"}),              json!({"a": "c"}),            json!({"a": "c"})),
            (json!({"a": "b"}),              json!({"b": "c"}),            json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}),              json!({"a": null}),           json!({})),
            (json!({"a": "b", "b": "c"}),    json!({"a": null}),           json!({"b": "c"})),
            (json!({"a": ["b"]}),            json!({"a": "c"}),            json!({"a": "c"})),
            (json!({"a": "c"}),              json!({"a": ["b"]}),          json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}),       json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}),     json!({"a": [1]}),            json!({"a": [1]})),
            (json!(["a", "b"]),              json!(["c", "d"]),            json!(["c", "d"])),
            (json!({"a": "b"}),              json!(["c"]),                 json!(["c"])),
            (json!({"a": "foo"}),            json!(null),                  json!(null)),
            (json!({"e": null}),             json!({"a": 1}),              json!({"e": null, "a": 1})),
            (json!([1, 2]),                  json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}),                      json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (mut target, patch, expected) in cases {
            let before = target.to_string();
            merge_patch(&mut target, &patch);
            assert_eq!(target, expected, "{before} {patch}");
        }
    }

    #[test]
    fn gclouds_change_of_iap_keeps_everything_else() {
        let mut target = described();
        let sent = json!({"iap": {"enabled": false, "oauth2ClientId": "", "oauth2ClientSecret": ""}, "fingerprint": "BwXseec="});
        merge_patch(&mut target, &sent);
        let read: BackendService = serde_json::from_value(target).unwrap();
        assert_eq!(read.iap.as_ref().unwrap().enabled, Some(false));
        assert_eq!(serde_json::to_value(read.doorward).unwrap(), described()["doorward"]);
    }

    #[test]
    fn lists_and_operations_have_the_names_that_gcloud_reads() {
        let list = json!({
            "kind": "compute#backendServiceList", "id": "projects/p/global/backendServices", "selfLink": "s",
            "items": [{"name": "a"}], "nextPageToken": "t",
        });
        let aggregated = json!({
            "kind": "compute#backendServiceAggregatedList", "id": "projects/p/aggregated/backendServices", "selfLink": "s",
            "items": {"global": {"backendServices": [{"name": "a"}]}, "regions/r": {}},
        });
        let operation = json!({
            "kind": "compute#operation", "id": "1", "name": "operation-1", "operationType": "patch", "targetLink": "t",
            "targetId": "4567", "status": "DONE", "user": "a@example.com", "progress": 100, "insertTime": "x",
            "startTime": "x", "endTime": "x", "selfLink": "s",
        });
        let read: BackendServiceList = serde_json::from_value(list.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), list);
        let read: BackendServiceAggregatedList = serde_json::from_value(aggregated.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), aggregated);
        let read: Operation = serde_json::from_value(operation.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), operation);
    }
}
