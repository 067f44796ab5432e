//! `google.cloud.iap.v1.IapSettings`, in full, and beside it the settings that are only ours.
//!
//! Read as tolerantly as real clients need: camelCase and snake_case in one body (gcloud sends a file in snake_case as
//! it is), booleans as texts, and texts and booleans in a wrapper `{"value": …}`. A field in both cases is refused.
//! Written in camelCase, without what is not set.
//!
//! Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/IapSettings>

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::field_mask::{FieldMask, is_at_or_below, set_paths};
use super::identity_aware_proxy::secret_sha256;
use super::proto_json::{InputSecret, ProtoDuration, boolean, or_default, text};

/// Settings of one resource. What is absent is inherited from above.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IapSettings {
    /// The resource's name.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Who may come in, and how.
    #[serde(alias = "access_settings", skip_serializing_if = "Option::is_none")]
    pub access_settings: Option<AccessSettings>,
    /// What the application and its callers see.
    #[serde(alias = "application_settings", skip_serializing_if = "Option::is_none")]
    pub application_settings: Option<ApplicationSettings>,
    /// Ours, unknown to Google.
    #[serde(alias = "doorward_settings", skip_serializing_if = "Option::is_none")]
    pub doorward_settings: Option<DoorwardSettings>,
    /// Names that are no settings: carried so that they can be refused by name.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// Who may come in, and how.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessSettings {
    /// Sign-in at Identity Platform.
    #[serde(alias = "gcip_settings", skip_serializing_if = "Option::is_none")]
    pub gcip_settings: Option<GcipSettings>,
    /// Calls from other origins.
    #[serde(alias = "cors_settings", skip_serializing_if = "Option::is_none")]
    pub cors_settings: Option<CorsSettings>,
    /// OAuth.
    #[serde(alias = "oauth_settings", skip_serializing_if = "Option::is_none")]
    pub oauth_settings: Option<OAuthSettings>,
    /// When a person must sign in again.
    #[serde(alias = "reauth_settings", skip_serializing_if = "Option::is_none")]
    pub reauth_settings: Option<ReauthSettings>,
    /// Which hosts people may come from.
    #[serde(alias = "allowed_domains_settings", skip_serializing_if = "Option::is_none")]
    pub allowed_domains_settings: Option<AllowedDomainsSettings>,
    /// Sign-in at a workforce pool.
    #[serde(alias = "workforce_identity_settings", skip_serializing_if = "Option::is_none")]
    pub workforce_identity_settings: Option<WorkforceIdentitySettings>,
    /// Where identities come from; at most one.
    #[serde(alias = "identity_sources", skip_serializing_if = "Option::is_none")]
    pub identity_sources: Option<Vec<IdentitySource>>,
    /// Google's own use; carried so that it can be refused.
    #[serde(alias = "policy_delegation_settings", skip_serializing_if = "Option::is_none")]
    pub policy_delegation_settings: Option<Value>,
    /// Names that are no settings.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// Sign-in at Identity Platform. With it IAM is not enforced at all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GcipSettings {
    /// Tenants, or the project itself as one entry `_PROJECT_NUMBER`.
    #[serde(alias = "tenant_ids", skip_serializing_if = "Option::is_none")]
    pub tenant_ids: Option<Vec<String>>,
    /// The sign-in page, with its `apiKey`.
    #[serde(alias = "login_page_uri", deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub login_page_uri: Option<String>,
    /// Names that are no settings.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// Calls from other origins.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CorsSettings {
    /// Let `OPTIONS` requests through without a credential.
    #[serde(alias = "allow_http_options", deserialize_with = "boolean", skip_serializing_if = "Option::is_none")]
    pub allow_http_options: Option<bool>,
    /// Names that are no settings.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// OAuth.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OAuthSettings {
    /// The domain that is offered at sign-in, as `hd`. It is no access control.
    #[serde(alias = "login_hint", deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub login_hint: Option<String>,
    /// Clients whose own ID tokens are accepted, beside those for the application's client.
    #[serde(alias = "programmatic_clients", skip_serializing_if = "Option::is_none")]
    pub programmatic_clients: Option<Vec<String>>,
    /// Names that are no settings.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// When a person must sign in again. All three are set together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReauthSettings {
    /// How.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub method: Option<ReauthMethod>,
    /// How long after the last time.
    #[serde(alias = "max_age", deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub max_age: Option<ProtoDuration>,
    /// What it means for the resources below.
    #[serde(alias = "policy_type", deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub policy_type: Option<ReauthPolicyType>,
    /// Names that are no settings.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// How a person proves themselves again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReauthMethod {
    /// Not said.
    MethodUnspecified,
    /// By signing in.
    Login,
    /// By the password; deprecated by Google.
    Password,
    /// By a security key.
    SecureKey,
    /// By any second factor that they have.
    EnrolledSecondFactors,
}

/// What a resource's reauthentication means for those below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReauthPolicyType {
    /// Not said.
    PolicyTypeUnspecified,
    /// They may only be stricter.
    Minimum,
    /// It holds where nothing else is set.
    Default,
}

/// Which hosts people may come from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AllowedDomainsSettings {
    /// Whether the list holds.
    #[serde(deserialize_with = "boolean", skip_serializing_if = "Option::is_none")]
    pub enable: Option<bool>,
    /// Hosts; `*.` in front stands for all below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domains: Option<Vec<String>>,
    /// Names that are no settings.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// Sign-in at a workforce pool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkforceIdentitySettings {
    /// `locations/global/workforcePools/POOL`; at most one.
    #[serde(alias = "workforce_pools", skip_serializing_if = "Option::is_none")]
    pub workforce_pools: Option<Vec<String>>,
    /// The client at the pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<WorkforceOAuth2>,
    /// Names that are no settings.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// The client at a workforce pool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkforceOAuth2 {
    /// Its id.
    #[serde(alias = "client_id", deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Its secret: only in requests. See [`IapSettings::hide_secrets`].
    #[serde(alias = "client_secret", deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<InputSecret>,
    /// SHA-256 of the secret in hexadecimal: only in answers.
    #[serde(alias = "client_secret_sha256", deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub client_secret_sha256: Option<String>,
    /// Names that are no settings.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// Where identities come from. Without any: workforce before Identity Platform before Google.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IdentitySource {
    /// Not said.
    IdentitySourceUnspecified,
    /// A workforce pool.
    WorkforceIdentityFederation,
}

/// What the application and its callers see.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationSettings {
    /// Cloud Service Mesh.
    #[serde(alias = "csm_settings", skip_serializing_if = "Option::is_none")]
    pub csm_settings: Option<CsmSettings>,
    /// What those who are refused see.
    #[serde(alias = "access_denied_page_settings", skip_serializing_if = "Option::is_none")]
    pub access_denied_page_settings: Option<AccessDeniedPageSettings>,
    /// The domain of the session cookie. Google does not check it, and passes over one that cannot be.
    #[serde(alias = "cookie_domain", deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub cookie_domain: Option<String>,
    /// What the application is told about the caller.
    #[serde(alias = "attribute_propagation_settings", skip_serializing_if = "Option::is_none")]
    pub attribute_propagation_settings: Option<AttributePropagationSettings>,
    /// Names that are no settings.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// Cloud Service Mesh.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CsmSettings {
    /// `aud` of the token for the mesh.
    #[serde(alias = "rctoken_aud", deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub rctoken_aud: Option<String>,
    /// Names that are no settings.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// What those who are refused see.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessDeniedPageSettings {
    /// Where they are sent instead of our own page.
    #[serde(alias = "access_denied_page_uri", deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub access_denied_page_uri: Option<String>,
    /// Whether our page links to the troubleshooter.
    #[serde(
        alias = "generate_troubleshooting_uri",
        deserialize_with = "boolean",
        skip_serializing_if = "Option::is_none"
    )]
    pub generate_troubleshooting_uri: Option<bool>,
    /// Whether it carries a token with which the refusal can be remedied.
    #[serde(
        alias = "remediation_token_generation_enabled",
        deserialize_with = "boolean",
        skip_serializing_if = "Option::is_none"
    )]
    pub remediation_token_generation_enabled: Option<bool>,
    /// Names that are no settings.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// What the application is told about the caller.
///
/// Spec: <https://cloud.google.com/iap/docs/signed-headers-howto>
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AttributePropagationSettings {
    /// CEL over `attributes.saml_attributes` and `attributes.iap_attributes`, which gives a list of attributes.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// Where they are put.
    #[serde(alias = "output_credentials", skip_serializing_if = "Option::is_none")]
    pub output_credentials: Option<Vec<OutputCredential>>,
    /// Whether anything is propagated.
    #[serde(deserialize_with = "boolean", skip_serializing_if = "Option::is_none")]
    pub enable: Option<bool>,
    /// Names that are no settings.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// Where attributes are put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutputCredential {
    /// Not said.
    OutputCredentialsUnspecified,
    /// `x-goog-iap-attr-NAME` headers.
    Header,
    /// `additional_claims` of the signed header.
    Jwt,
    /// The token for the mesh.
    Rctoken,
}

/// Settings of ours. They stand beside Google's, so that a client of Google's that reads and writes whole settings
/// keeps them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DoorwardSettings {
    /// What becomes of a token without `email`.
    #[serde(alias = "email_claim", deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub email_claim: Option<EmailClaim>,
    /// Whether the application is sent the credential with which its caller came in.
    #[serde(alias = "forward_credential", deserialize_with = "boolean", skip_serializing_if = "Option::is_none")]
    pub forward_credential: Option<bool>,
    /// Names that are no settings.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// What becomes of an ID token of our issuer without `email`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EmailClaim {
    /// It is refused, as Google's IAP does.
    #[serde(alias = "required")]
    Required,
    /// It is accepted, and a note in the record says that Google would not.
    #[serde(alias = "optional")]
    Optional,
}

/// The path of the one setting that was there first.
const PROGRAMMATIC_CLIENTS: &str = "accessSettings.oauthSettings.programmaticClients";

impl IapSettings {
    /// The message's name in masks: `iapSettings.` may stand before each path.
    pub const MESSAGE: &str = "iapSettings";

    /// Every setting by its path, in the order of the messages.
    pub const PATHS: [&str; 27] = [
        "accessSettings.gcipSettings.tenantIds",
        "accessSettings.gcipSettings.loginPageUri",
        "accessSettings.corsSettings.allowHttpOptions",
        "accessSettings.oauthSettings.loginHint",
        PROGRAMMATIC_CLIENTS,
        "accessSettings.reauthSettings.method",
        "accessSettings.reauthSettings.maxAge",
        "accessSettings.reauthSettings.policyType",
        "accessSettings.allowedDomainsSettings.enable",
        "accessSettings.allowedDomainsSettings.domains",
        "accessSettings.workforceIdentitySettings.workforcePools",
        "accessSettings.workforceIdentitySettings.oauth2.clientId",
        "accessSettings.workforceIdentitySettings.oauth2.clientSecret",
        "accessSettings.workforceIdentitySettings.oauth2.clientSecretSha256",
        "accessSettings.identitySources",
        "accessSettings.policyDelegationSettings",
        "applicationSettings.csmSettings.rctokenAud",
        "applicationSettings.accessDeniedPageSettings.accessDeniedPageUri",
        "applicationSettings.accessDeniedPageSettings.generateTroubleshootingUri",
        "applicationSettings.accessDeniedPageSettings.remediationTokenGenerationEnabled",
        "applicationSettings.cookieDomain",
        "applicationSettings.attributePropagationSettings.expression",
        "applicationSettings.attributePropagationSettings.outputCredentials",
        "applicationSettings.attributePropagationSettings.enable",
        "doorwardSettings.emailClaim",
        "doorwardSettings.forwardCredential",
        "name",
    ];

    /// The clients, if they are set here.
    pub fn programmatic_clients(&self) -> Option<&[String]> {
        self.access_settings.as_ref()?.oauth_settings.as_ref()?.programmatic_clients.as_deref()
    }

    /// The paths of all that is set, in alphabetical order, without `name`. A message that is there and empty counts.
    pub fn set_paths(&self) -> Vec<String> {
        let mut paths = set_paths(&self.to_value());
        paths.retain(|path| path != "name");
        paths
    }

    /// The path of the first name that is no setting, as it was sent.
    pub fn first_unknown(&self) -> Option<String> {
        self.first_beside(&Self::PATHS)
    }

    /// The path of the first thing that is set and is none of `paths`, nor above or inside one: the shortest path of
    /// which that is true, such as `accessSettings.corsSettings`.
    pub fn first_beside(&self, paths: &[&str]) -> Option<String> {
        let known = |path: &str| paths.iter().any(|known| is_at_or_below(known, path));
        let inside = |path: &str| paths.iter().any(|known| is_at_or_below(path, known));
        self.set_paths().into_iter().find(|path| !known(path) && !inside(path)).map(|path| {
            let ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]);
            let shortest = ends.map(|end| &path[..end]).find(|part| !known(part)).unwrap_or(&path);
            shortest.to_owned()
        })
    }

    /// The path of the first setting other than the programmatic clients.
    pub fn first_not_served(&self) -> Option<String> {
        self.first_beside(&[PROGRAMMATIC_CLIENTS])
    }

    /// These settings after a change to `new` under a mask: what the mask names is replaced, what it does not name
    /// stays.
    ///
    /// # Errors
    /// None for settings that were read without an unknown name; the error of serde is passed on all the same.
    pub fn changed(&self, new: &IapSettings, mask: &FieldMask) -> Result<IapSettings, serde_json::Error> {
        let mut changed: IapSettings = serde_json::from_value(mask.apply(&self.to_value(), &new.to_value()))?;
        changed.name.clone_from(&self.name);
        Ok(changed)
    }

    /// Takes out secrets, and puts their SHA-256 in their place, as an answer has it.
    pub fn hide_secrets(&mut self) {
        let access = self.access_settings.as_mut();
        let workforce = access.and_then(|access| access.workforce_identity_settings.as_mut());
        if let Some(client) = workforce.and_then(|workforce| workforce.oauth2.as_mut())
            && let Some(secret) = client.client_secret.take()
        {
            client.client_secret_sha256 = Some(secret_sha256(&secret));
        }
    }

    /// As JSON, canonical.
    pub(crate) fn to_value(&self) -> Value {
        // Maps with text keys and no failing member: there is nothing that could not be written.
        serde_json::to_value(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: &Value) -> Result<IapSettings, serde_json::Error> {
        serde_json::from_value(value.clone())
    }

    /// Every setting there is.
    fn whole() -> Value {
        json!({
            "name": "projects/123/iap_web/compute/services/456",
            "accessSettings": {
                "gcipSettings": {"tenantIds": ["t1"], "loginPageUri": "https://login.example.com/?apiKey=k"},
                "corsSettings": {"allowHttpOptions": true},
                "oauthSettings": {"loginHint": "example.com", "programmaticClients": ["c.apps.googleusercontent.com"]},
                "reauthSettings": {"method": "ENROLLED_SECOND_FACTORS", "maxAge": "305s", "policyType": "MINIMUM"},
                "allowedDomainsSettings": {"enable": true, "domains": ["*.example.com"]},
                "workforceIdentitySettings": {
                    "workforcePools": ["locations/global/workforcePools/p"],
                    "oauth2": {"clientId": "i", "clientSecret": "s", "clientSecretSha256": "aa"},
                },
                "identitySources": ["WORKFORCE_IDENTITY_FEDERATION"],
                "policyDelegationSettings": [1],
            },
            "applicationSettings": {
                "csmSettings": {"rctokenAud": "a"},
                "accessDeniedPageSettings": {
                    "accessDeniedPageUri": "https://e.example.com", "generateTroubleshootingUri": false,
                    "remediationTokenGenerationEnabled": false,
                },
                "cookieDomain": "example.com",
                "attributePropagationSettings": {
                    "expression": "attributes.saml_attributes", "outputCredentials": ["HEADER", "JWT", "RCTOKEN"], "enable": true,
                },
            },
            "doorwardSettings": {"emailClaim": "REQUIRED", "forwardCredential": false},
        })
    }

    /// The same object with its keys as `rename` has them.
    fn keys(value: &Value, rename: &dyn Fn(&str) -> String) -> Value {
        match value {
            Value::Object(fields) => fields.iter().map(|(name, value)| (rename(name), keys(value, rename))).collect(),
            other => other.clone(),
        }
    }

    /// The same object with every boolean and text, but those in lists and the name, as `leaf` has them.
    fn leaves(value: &Value, leaf: &dyn Fn(&Value) -> Value) -> Value {
        match value {
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| (name.clone(), if name == "name" { value.clone() } else { leaves(value, leaf) }))
                .collect(),
            Value::Bool(_) | Value::String(_) => leaf(value),
            other => other.clone(),
        }
    }

    #[test]
    fn every_setting_is_read_in_every_spelling_and_written_in_one() {
        use crate::google_api::field_mask::snake_case;
        let booleans = |value: &Value| value.as_bool().map_or(value.clone(), |value| json!(value.to_string()));
        let wrapped = |value: &Value| json!({"value": value});
        #[rustfmt::skip]
        let spellings = [
            whole(),
            keys(&whole(), &|name| snake_case(name)),
            leaves(&whole(), &booleans),
            leaves(&whole(), &wrapped),
            keys(&leaves(&leaves(&whole(), &booleans), &wrapped), &|name| snake_case(name)),
        ];
        for spelling in spellings {
            let settings = read(&spelling).unwrap();
            assert_eq!(settings.first_unknown(), None, "{spelling}");
            assert_eq!(serde_json::to_value(&settings).unwrap(), whole(), "{spelling}");
        }
        let mut paths = IapSettings::PATHS.to_vec();
        paths.retain(|path| *path != "name");
        paths.sort_unstable();
        assert_eq!(read(&whole()).unwrap().set_paths(), paths, "each setting has its path, and each path its setting");
    }

    #[test]
    fn a_body_of_both_cases_is_read_as_google_and_gcloud_write_it() {
        // The example of Google's documentation, a file that gcloud sends on as it is, and a body of both cases.
        #[rustfmt::skip]
        let cases = [
            (json!({"access_settings": {"cors_settings": {"allow_http_options": "false"}}}),
             json!({"accessSettings": {"corsSettings": {"allowHttpOptions": false}}})),
            (json!({"access_settings": {"cors_settings": {"allow_http_options": {"value": true}}}, "application_settings": {"cookie_domain": {"value": "x.example"}}}),
             json!({"accessSettings": {"corsSettings": {"allowHttpOptions": true}}, "applicationSettings": {"cookieDomain": "x.example"}})),
            (json!({"name": "n", "accessSettings": {"oauth_settings": {"loginHint": "h", "programmatic_clients": ["c"]}}}),
             json!({"name": "n", "accessSettings": {"oauthSettings": {"loginHint": "h", "programmaticClients": ["c"]}}})),
            (json!({"accessSettings": {"identitySources": null, "corsSettings": null}, "doorward_settings": {"email_claim": "optional", "forward_credential": "true"}}),
             json!({"accessSettings": {}, "doorwardSettings": {"emailClaim": "OPTIONAL", "forwardCredential": true}})),
            (json!({}), json!({})),
        ];
        for (sent, expected) in cases {
            assert_eq!(serde_json::to_value(read(&sent).unwrap()).unwrap(), expected, "{sent}");
        }
        #[rustfmt::skip]
        let refused = [
            json!({"accessSettings": {"corsSettings": {"allowHttpOptions": true, "allow_http_options": true}}}),
            json!({"accessSettings": {}, "access_settings": {}}),
            json!({"accessSettings": {"corsSettings": {"allowHttpOptions": "yes"}}}),
            json!({"accessSettings": {"corsSettings": []}}),
            json!({"accessSettings": {"reauthSettings": {"method": "GUESS"}}}),
            json!({"accessSettings": {"reauthSettings": {"maxAge": 305}}}),
            json!({"accessSettings": {"reauthSettings": {"maxAge": "5m"}}}),
            json!({"accessSettings": {"identitySources": ["GOOGLE"]}}),
            json!({"accessSettings": {"oauthSettings": {"programmaticClients": "c"}}}),
            json!({"applicationSettings": {"attributePropagationSettings": {"outputCredentials": ["COOKIE"]}}}),
            json!({"doorwardSettings": {"emailClaim": "sometimes"}}),
        ];
        for sent in refused {
            assert!(read(&sent).is_err(), "{sent}");
        }
    }

    #[test]
    fn what_is_no_setting_is_found_wherever_it_stands() {
        #[rustfmt::skip]
        let cases = [
            (json!({"x": 1}),                                                     Some("x")),
            (json!({"x": null}),                                                  None),
            (json!({"accessSettings": {"x": {"y": 1}}}),                          Some("accessSettings.x")),
            (json!({"access_settings": {"oauthSettings": {"x": []}}}),            Some("accessSettings.oauthSettings.x")),
            (json!({"accessSettings": {"workforceIdentitySettings": {"oauth2": {"x": ""}}}}), Some("accessSettings.workforceIdentitySettings.oauth2.x")),
            (json!({"doorwardSettings": {"emailclaim": "REQUIRED"}}),             Some("doorwardSettings.emailclaim")),
            (json!({"accessSettings": {"policyDelegationSettings": {"x": 1}}}),   None),
            (json!({"accessSettings": {"corsSettings": {}}}),                     None),
        ];
        for (settings, expected) in cases {
            assert_eq!(read(&settings).unwrap().first_unknown().as_deref(), expected, "{settings}");
        }
    }

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
            assert_eq!(read(&settings).unwrap().first_not_served().as_deref(), expected, "{settings}");
        }
    }

    #[test]
    fn a_change_replaces_what_its_mask_names_and_all_without_one() {
        let old = json!({"name": "n", "accessSettings": {"corsSettings": {"allowHttpOptions": true}, "oauthSettings": {"loginHint": "h"}}});
        let new = json!({"name": "other", "access_settings": {"oauth_settings": {"programmatic_clients": ["c"]}}});
        #[rustfmt::skip]
        let cases = [
            ("",  json!({"name": "n", "accessSettings": {"oauthSettings": {"programmaticClients": ["c"]}}})),
            ("*", json!({"name": "n", "accessSettings": {"oauthSettings": {"programmaticClients": ["c"]}}})),
            ("iapSettings.accessSettings.oauthSettings.programmaticClients",
             json!({"name": "n", "accessSettings": {"corsSettings": {"allowHttpOptions": true}, "oauthSettings": {"loginHint": "h", "programmaticClients": ["c"]}}})),
            ("access_settings.oauth_settings",
             json!({"name": "n", "accessSettings": {"corsSettings": {"allowHttpOptions": true}, "oauthSettings": {"programmaticClients": ["c"]}}})),
            ("accessSettings.corsSettings", json!({"name": "n", "accessSettings": {"oauthSettings": {"loginHint": "h"}}})),
            ("name,doorwardSettings",       old.clone()),
        ];
        for (mask, expected) in cases {
            let mask = FieldMask::parse(mask, IapSettings::MESSAGE, &IapSettings::PATHS).unwrap();
            let changed = read(&old).unwrap().changed(&read(&new).unwrap(), &mask).unwrap();
            assert_eq!(serde_json::to_value(changed).unwrap(), expected, "{mask:?}");
        }
    }

    #[test]
    fn an_answer_has_the_digest_of_a_secret_and_never_the_secret() {
        let client = |fields: Value| json!({"accessSettings": {"workforceIdentitySettings": {"oauth2": fields}}});
        let mut settings = read(&client(json!({"clientId": "i", "clientSecret": "abc"}))).unwrap();
        assert!(!format!("{settings:?}").contains("abc"));
        settings.hide_secrets();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(settings.to_value(), client(json!({"clientId": "i", "clientSecretSha256": abc})));
    }
}
