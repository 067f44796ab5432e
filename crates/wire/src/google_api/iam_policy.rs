//! `google.iam.v1.Policy` and the three calls that are about it.
//!
//! Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/Policy>

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::proto_json::{integer, or_default};

/// The version of a policy that has conditions.
pub const WITH_CONDITIONS: i32 = 3;

/// An allow policy.
///
/// Names that we do not know are refused, here and in what it holds: a misspelt `condition` that is passed over would
/// widen a grant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// 0, 1 or 3. 3 is needed for conditions.
    #[serde(default, deserialize_with = "integer", skip_serializing_if = "Option::is_none")]
    pub version: Option<i32>,
    /// Who holds which role.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub bindings: Vec<Binding>,
    /// The state that was read, to be sent back with a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<Etag>,
}

/// One role and those who hold it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// `roles/NAME`, `projects/P/roles/ID` or `organizations/O/roles/ID`.
    pub role: String,
    /// `user:EMAIL` and the other forms.
    #[serde(default, deserialize_with = "or_default")]
    pub members: Vec<String>,
    /// When they hold it; always, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Expr>,
}

/// `google.type.Expr`: a condition in CEL.
///
/// Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/Expr>
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expr {
    /// What must be true.
    #[serde(deserialize_with = "or_default")]
    pub expression: String,
    /// A name for people. Google demands one of a binding's condition.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Free text.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Where it was written, for messages about mistakes in it.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub location: String,
}

/// An opaque version of a policy, `bytes` on the wire.
///
/// gcloud decodes and re-encodes it, and sends it back in the URL-safe alphabet: it is compared as bytes, read in
/// either alphabet with or without padding, and written in canonical standard base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etag(pub Vec<u8>);

const EITHER: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, EITHER);

impl Serialize for Etag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Etag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?.replace('-', "+").replace('_', "/");
        STANDARD.decode(text).map(Etag).map_err(|_| serde::de::Error::custom("etag is not base64"))
    }
}

/// The body of `:getIamPolicy`. It may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GetIamPolicyRequest {
    /// How the policy is to be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<GetPolicyOptions>,
}

/// How a policy is to be shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GetPolicyOptions {
    /// 0, 1 or 3. With less than 3 a binding's condition is not shown.
    #[serde(alias = "requested_policy_version", deserialize_with = "integer", skip_serializing_if = "Option::is_none")]
    pub requested_policy_version: Option<i32>,
}

/// The query of `:getIamPolicy`: gcloud writes it so for service accounts, with an empty body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct GetIamPolicyQuery {
    /// As [`GetPolicyOptions::requested_policy_version`].
    #[serde(rename = "options.requestedPolicyVersion", alias = "options.requested_policy_version")]
    pub requested_policy_version: Option<i32>,
}

impl GetIamPolicyRequest {
    /// The version that is asked for, by the body or else by the query; 0 if none is.
    pub fn requested_policy_version(&self, query: &GetIamPolicyQuery) -> i32 {
        let in_body = self.options.as_ref().and_then(|options| options.requested_policy_version);
        in_body.or(query.requested_policy_version).unwrap_or_default()
    }
}

/// The body of `:setIamPolicy`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetIamPolicyRequest {
    /// The policy that replaces the whole of the old one.
    pub policy: Policy,
    /// Which fields of it are replaced, of [`Self::FIELDS`]; without one, `bindings` and `etag`.
    #[serde(default, alias = "update_mask", skip_serializing_if = "Option::is_none")]
    pub update_mask: Option<String>,
}

impl SetIamPolicyRequest {
    /// What a mask may name.
    pub const FIELDS: [&str; 3] = ["bindings", "etag", "version"];
}

/// The body of `:testIamPermissions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TestIamPermissionsRequest {
    /// `SERVICE.RESOURCE.VERB`, at most 100, none with a wildcard.
    #[serde(deserialize_with = "or_default")]
    pub permissions: Vec<String>,
}

/// The answer of `:testIamPermissions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TestIamPermissionsResponse {
    /// Those of the request that the caller holds, in its order; absent if it holds none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_etag_comes_back_equal_in_the_alphabet_that_gcloud_sends() {
        let read = |text: &str| serde_json::from_str::<Etag>(text).unwrap();
        assert_eq!(read("\"23g+loXd\""), read("\"23g-loXd\""));
        assert_eq!(serde_json::to_string(&read("\"23g-loXd\"")).unwrap(), "\"23g+loXd\"");
        assert!(serde_json::from_str::<Etag>("\"!\"").is_err());
    }

    #[test]
    fn a_policy_is_written_as_it_was_read_less_what_is_not_set() {
        let whole = json!({"version": 3, "etag": "BwXseec=", "bindings": [{
            "role": "roles/iap.httpsResourceAccessor", "members": ["user:a@example.com"],
            "condition": {"expression": "request.path == '/a'", "title": "t", "description": "d", "location": "l"},
        }]});
        #[rustfmt::skip]
        let cases = [
            (whole.clone(),                                               Some(whole)),
            // What gcloud sends for a policy without bindings.
            (json!({"etag": "ACAB", "version": 3}),                       Some(json!({"etag": "ACAB", "version": 3}))),
            (json!({"version": "1", "bindings": null, "etag": null}),     Some(json!({"version": 1}))),
            (json!({"bindings": [{"role": "r", "members": null, "condition": null}]}), Some(json!({"bindings": [{"role": "r", "members": []}]}))),
            (json!({"bindings": [{"role": "r", "condition": {}}]}),       Some(json!({"bindings": [{"role": "r", "members": [], "condition": {"expression": ""}}]}))),
            (json!({}),                                                   Some(json!({}))),
            (json!({"bindings": [{"role": "r", "conditon": {"expression": "false"}}]}), None),
            (json!({"bindings": [{"role": "r", "condition": {"expresion": "false"}}]}), None),
            (json!({"bindings": [{"role": "r", "condition": "false"}]}),  None),
            (json!({"bindings": {"role": "r"}}),                          None),
            (json!({"bindings": [{"members": []}]}),                      None),
            (json!({"auditConfigs": []}),                                 None),
            (json!({"etag": "!"}),                                        None),
        ];
        for (sent, expected) in cases {
            let read = serde_json::from_value::<Policy>(sent.clone()).ok();
            assert_eq!(read.map(|policy| serde_json::to_value(policy).unwrap()), expected, "{sent}");
        }
    }

    #[test]
    fn the_version_that_is_asked_for_is_read_from_the_body_and_from_the_query() {
        #[rustfmt::skip]
        let cases = [
            (json!({"options": {"requestedPolicyVersion": 3}}),   json!({}),                                     3),
            (json!({"options": {"requested_policy_version": 1}}), json!({}),                                     1),
            (json!({}),                                           json!({"options.requestedPolicyVersion": 3}),   3),
            (json!({}),                                           json!({"options.requested_policy_version": 3}), 3),
            (json!({"options": {"requestedPolicyVersion": 1}}),   json!({"options.requestedPolicyVersion": 3}),   1),
            (json!({"options": null}),                            json!({"alt": "json"}),                         0),
            (json!({"options": {}}),                              json!({}),                                      0),
        ];
        for (body, query, version) in cases {
            let request: GetIamPolicyRequest = serde_json::from_value(body.clone()).unwrap();
            let read: GetIamPolicyQuery = serde_json::from_value(query.clone()).unwrap();
            assert_eq!(request.requested_policy_version(&read), version, "{body} {query}");
        }
    }

    #[test]
    fn none_of_the_permissions_is_an_empty_answer() {
        assert_eq!(serde_json::to_value(TestIamPermissionsResponse::default()).unwrap(), json!({}));
        let request: SetIamPolicyRequest =
            serde_json::from_value(json!({"policy": {}, "updateMask": "bindings,etag"})).unwrap();
        assert_eq!(request.update_mask.as_deref(), Some("bindings,etag"));
    }
}
