//! `iap.googleapis.com/v1` beside policies and settings: brands and OAuth clients, tunnel destination groups, and the
//! check of an attribute expression.
//!
//! Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/projects.brands>

use serde::{Deserialize, Serialize};

use super::proto_json::{InputSecret, boolean, or_default};

/// The query of every list of this API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PageQuery {
    /// How many at most; see [`PageQuery::size`].
    #[serde(alias = "page_size")]
    pub page_size: Option<i64>,
    /// `nextPageToken` of the page before; empty or absent for the first.
    #[serde(alias = "page_token")]
    pub page_token: Option<String>,
}

impl PageQuery {
    /// Entries of a page of which nothing is asked.
    pub const DEFAULT_SIZE: usize = 100;
    /// Entries of a page at most: a larger size that is asked for is read as this.
    pub const LARGEST_SIZE: usize = 1000;

    /// How many entries the page may have; `None` if a negative number is asked for, which is an invalid argument.
    pub fn size(&self) -> Option<usize> {
        match self.page_size {
            None | Some(0) => Some(Self::DEFAULT_SIZE),
            Some(asked) => usize::try_from(asked).ok().map(|asked| asked.min(Self::LARGEST_SIZE)),
        }
    }

    /// The token, if the page is not the first.
    pub fn token(&self) -> Option<&str> {
        self.page_token.as_deref().filter(|token| !token.is_empty())
    }
}

/// The consent screen of a project: at most one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Brand {
    /// `projects/NUMBER/brands/NUMBER`; ours to say.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Whom a person may write to.
    #[serde(alias = "support_email", deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub support_email: String,
    /// What the screen calls the application.
    #[serde(alias = "application_title", deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub application_title: String,
    /// Whether only people of the organisation see it; ours to say.
    #[serde(alias = "org_internal_only", deserialize_with = "boolean", skip_serializing_if = "Option::is_none")]
    pub org_internal_only: Option<bool>,
}

/// Answer of `GET …/brands`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListBrandsResponse {
    /// None or one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub brands: Vec<Brand>,
}

/// An OAuth client of a brand.
///
/// Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/projects.brands.identityAwareProxyClients>
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IdentityAwareProxyClient {
    /// `projects/NUMBER/brands/BRAND/identityAwareProxyClients/CLIENT_ID`; ours to say.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its secret. Google shows it in every answer; we only in those to the creation and to a reset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<InputSecret>,
    /// A name for people.
    #[serde(alias = "display_name", deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub display_name: String,
}

/// Answer of `GET …/identityAwareProxyClients`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListIdentityAwareProxyClientsResponse {
    /// One page.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub identity_aware_proxy_clients: Vec<IdentityAwareProxyClient>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// Body of `POST …/identityAwareProxyClients/CLIENT_ID:resetSecret`. The answer is the client with its new secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResetIdentityAwareProxyClientSecretRequest {}

/// Addresses and names that are reached by a tunnel.
///
/// Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/projects.iap_tunnel.locations.destGroups>
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TunnelDestGroup {
    /// `projects/NUMBER/iap_tunnel/locations/REGION/destGroups/ID`. gcloud sends the bare id.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Ranges of addresses.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub cidrs: Vec<String>,
    /// Names of hosts, with `*.` in front for all below.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub fqdns: Vec<String>,
}

impl TunnelDestGroup {
    /// The message's name in masks.
    pub const MESSAGE: &str = "tunnelDestGroup";
    /// What a mask may name.
    pub const PATHS: [&str; 3] = ["name", "cidrs", "fqdns"];
}

/// Query of `POST …/destGroups`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CreateTunnelDestGroupQuery {
    /// The new id: 4 to 63 characters of `[a-z-]`.
    #[serde(alias = "tunnel_dest_group_id")]
    pub tunnel_dest_group_id: String,
}

/// Answer of `GET …/destGroups`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListTunnelDestGroupsResponse {
    /// One page.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tunnel_dest_groups: Vec<TunnelDestGroup>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// Query of every `PATCH`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateQuery {
    /// See [`super::field_mask::FieldMask`].
    #[serde(alias = "update_mask")]
    pub update_mask: String,
}

/// Query of `POST …:validateAttributeExpression`. The body is empty.
///
/// Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/TopLevel/validateAttributeExpression>
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ValidateAttributeExpressionQuery {
    /// What is to be checked.
    pub expression: String,
}

/// Answer of `POST …:validateAttributeExpression` for an expression that is good. Another gets a 400.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ValidateAttributeExpressionResponse {}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    #[test]
    fn a_page_has_a_hundred_entries_unless_asked_and_a_thousand_at_most() {
        #[rustfmt::skip]
        let cases = [
            (json!({}),                                       Some(100),  None),
            (json!({"pageSize": 0, "pageToken": ""}),         Some(100),  None),
            (json!({"page_size": 7, "page_token": "t"}),      Some(7),    Some("t")),
            (json!({"pageSize": 1000}),                       Some(1000), None),
            (json!({"pageSize": i64::MAX}),                   Some(1000), None),
            (json!({"pageSize": -1}),                         None,       None),
        ];
        for (query, size, token) in cases {
            let read: PageQuery = serde_json::from_value(query.clone()).unwrap();
            assert_eq!((read.size(), read.token()), (size, token), "{query}");
        }
    }

    fn round<T: DeserializeOwned + Serialize>(sent: Value) -> Value {
        serde_json::to_value(serde_json::from_value::<T>(sent).unwrap()).unwrap()
    }

    #[test]
    fn what_gcloud_sends_is_read_and_what_it_needs_is_written() {
        let client =
            json!({"name": "projects/1/brands/2/identityAwareProxyClients/c", "secret": "s", "displayName": "D"});
        #[rustfmt::skip]
        let cases = [
            (round::<Brand>(json!({"applicationTitle": "T", "supportEmail": "a@example.com"})),
             json!({"applicationTitle": "T", "supportEmail": "a@example.com"})),
            (round::<Brand>(json!({"name": "projects/1/brands/1", "application_title": "T", "org_internal_only": "true"})),
             json!({"name": "projects/1/brands/1", "applicationTitle": "T", "orgInternalOnly": true})),
            (round::<ListBrandsResponse>(json!({"brands": [{}]})),                        json!({"brands": [{}]})),
            (round::<IdentityAwareProxyClient>(json!({"displayName": "D"})),              json!({"displayName": "D"})),
            (round::<ListIdentityAwareProxyClientsResponse>(json!({"identityAwareProxyClients": [client]})),
             json!({"identityAwareProxyClients": [client]})),
            (round::<ListIdentityAwareProxyClientsResponse>(json!({"nextPageToken": "t"})), json!({"nextPageToken": "t"})),
            (round::<ResetIdentityAwareProxyClientSecretRequest>(json!({})),              json!({})),
            (round::<TunnelDestGroup>(json!({"cidrs": ["10.0.0.0/8"], "fqdns": null, "name": "group"})),
             json!({"cidrs": ["10.0.0.0/8"], "name": "group"})),
            (round::<ListTunnelDestGroupsResponse>(json!({"tunnelDestGroups": [{"name": "g"}], "nextPageToken": "t"})),
             json!({"tunnelDestGroups": [{"name": "g"}], "nextPageToken": "t"})),
            (round::<ValidateAttributeExpressionResponse>(json!({})),                     json!({})),
        ];
        for (written, expected) in cases {
            assert_eq!(written, expected);
        }
        let shown: IdentityAwareProxyClient = serde_json::from_value(client.clone()).unwrap();
        assert!(!format!("{shown:?}").contains("\"s\""));
    }

    #[test]
    fn queries_are_read_in_either_case() {
        let create: CreateTunnelDestGroupQuery =
            serde_json::from_value(json!({"tunnel_dest_group_id": "group", "alt": "json"})).unwrap();
        let update: UpdateQuery = serde_json::from_value(json!({"updateMask": "cidrs"})).unwrap();
        let validate: ValidateAttributeExpressionQuery = serde_json::from_value(json!({"expression": "x"})).unwrap();
        let texts = [create.tunnel_dest_group_id, update.update_mask, validate.expression];
        assert_eq!(texts, ["group", "cidrs", "x"]);
    }
}
