//! Entries of Cloud Audit Logs shape: what was decided of a request, and what an administrator did.
//!
//! Fields are in the order of Google's entries. What is not known is left out; the messages that Google writes empty
//! (`status` of what was granted, `authenticationInfo` of nobody, `destinationAttributes` of a web request) are written
//! empty.
//!
//! Spec: <https://cloud.google.com/iap/docs/audit-log-howto>,
//! <https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry>,
//! <https://cloud.google.com/logging/docs/reference/audit/auditlog/rest/Shared.Types/AuditLog>

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::proto_json::integer;

/// `serviceName` of IAP.
pub const IAP: &str = "iap.googleapis.com";
/// `methodName` of a decision on a request.
pub const AUTHORIZE_USER: &str = "AuthorizeUser";
/// Before the name of an administrative method of IAP.
pub const IAP_ADMIN_SERVICE: &str = "google.cloud.iap.v1.IdentityAwareProxyAdminService";

/// Which of the audit logs an entry belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditLogName {
    /// Changes of access.
    Activity,
    /// Accesses, and reads and changes of settings.
    DataAccess,
}

impl AuditLogName {
    /// `projects/P/logs/…`.
    pub fn of(self, project_id: &str) -> String {
        let log = match self {
            AuditLogName::Activity => "activity",
            AuditLogName::DataAccess => "data_access",
        };
        format!("projects/{project_id}/logs/cloudaudit.googleapis.com%2F{log}")
    }
}

/// The administrative methods of IAP that have entries, by their bare names. Those of brands and clients have none, and
/// neither has `TestIamPermissions`.
#[rustfmt::skip]
pub const IAP_ADMIN_METHODS: [(&str, AuditLogName); 10] = [
    ("GetIamPolicy",                   AuditLogName::DataAccess),
    ("GetIapSettings",                 AuditLogName::DataAccess),
    ("SetIamPolicy",                   AuditLogName::Activity),
    ("GetTunnelDestGroup",             AuditLogName::DataAccess),
    ("ListTunnelDestGroups",           AuditLogName::DataAccess),
    ("CreateTunnelDestGroup",          AuditLogName::DataAccess),
    ("DeleteTunnelDestGroup",          AuditLogName::DataAccess),
    ("UpdateTunnelDestGroup",          AuditLogName::DataAccess),
    ("UpdateIapSettings",              AuditLogName::DataAccess),
    ("ValidateIapAttributeExpression", AuditLogName::DataAccess),
];

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    /// See [`AuditLogName::of`].
    pub log_name: String,
    /// What kind of thing it is about.
    pub resource: MonitoredResource,
    /// How bad it is.
    pub severity: Severity,
    /// What joins several entries of one tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<EntryOperation>,
    /// What happened.
    pub proto_payload: AuditLog,
    /// Names it uniquely; the decision's id.
    pub insert_id: String,
    /// RFC 3339: when it happened.
    pub timestamp: String,
    /// Ours beside Google's: `doorward/reason` and the like.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What kind of thing an entry is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonitoredResource {
    /// `gce_backend_service`, `gae_app`, `cloud_run_revision`, `gce_instance`, `project` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// `project_id`, and what names one of that kind.
    pub labels: BTreeMap<String, String>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Severity {
    /// It was granted.
    Info,
    /// An administrative change, as Google's log has it.
    Notice,
    /// It was refused.
    Error,
}

/// What joins several entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EntryOperation {
    /// The same in all of them.
    pub id: String,
    /// `iap.googleapis.com`.
    pub producer: String,
    /// The first of them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub first: bool,
    /// The last of them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub last: bool,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditLog {
    /// [`AuditLog::KIND`].
    #[serde(rename = "@type")]
    pub kind: String,
    /// `iap.googleapis.com` and so on.
    pub service_name: String,
    /// [`AUTHORIZE_USER`], or the whole name of an administrative method.
    pub method_name: String,
    /// The bare id of a backend service of a decision, or the name of a resource.
    pub resource_name: String,
    /// Empty if it was granted and done.
    pub status: RpcStatus,
    /// Who; empty if nobody was proven.
    pub authentication_info: AuthenticationInfo,
    /// What was asked for on what, and whether it was held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization_info: Vec<AuthorizationInfo>,
    /// From where, and how.
    pub request_metadata: RequestMetadata,
    /// What was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<AuditRequest>,
    /// What was answered, of an administrative method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Value>,
    /// The rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<AuditMetadata>,
}

impl AuditLog {
    /// What [`AuditLog::kind`] says.
    pub const KIND: &str = "type.googleapis.com/google.cloud.audit.AuditLog";
}

/// `google.rpc.Status`; empty is good.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RpcStatus {
    /// `google.rpc.Code`: 7 for what was refused.
    #[serde(deserialize_with = "integer", skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// `Permission Denied.` and so on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl RpcStatus {
    /// What a decision says of a caller without the permission.
    pub fn permission_denied() -> Self {
        RpcStatus { code: Some(7), message: "Permission Denied.".to_owned() }
    }
}

/// Who.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthenticationInfo {
    /// Their address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal_email: Option<String>,
    /// `principal://…` of a federated identity, `user:EMAIL` of others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal_subject: Option<String>,
    /// The key of the service account that they signed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_key_name: Option<String>,
}

/// What was asked for on what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizationInfo {
    /// The name of the resource: the version, of a decision.
    pub resource: String,
    /// The permission.
    pub permission: String,
    /// Whether it is held. Absent if not, as Google writes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub granted: bool,
    /// What a condition may read of the resource.
    pub resource_attributes: ResourceAttributes,
}

/// What a condition may read of the resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceAttributes {
    /// `iap.googleapis.com`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// Its name, where it is not the one beside.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `iap.googleapis.com/WebServiceVersion` and so on.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
}

/// From where, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestMetadata {
    /// The address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub caller_ip: String,
    /// `User-Agent` as sent.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub caller_supplied_user_agent: String,
    /// What a condition may read of the request.
    pub request_attributes: RequestAttributes,
    /// Of a tunnel, where it leads.
    pub destination_attributes: DestinationAttributes,
}

/// What a condition may read of the request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestAttributes {
    /// Without the query.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub time: String,
    /// What is known of the caller.
    pub auth: RequestAuth,
}

/// What is known of the caller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestAuth {
    /// The access levels that were met, and only these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub access_levels: Vec<String>,
}

/// Where a tunnel leads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DestinationAttributes {
    /// The address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// The port: a 64-bit number, so a text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub port: String,
}

/// What was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AuditRequest {
    /// The request of a decision.
    AuthorizeUser(AuthorizeUserRequest),
    /// The body of an administrative method, with `@type`.
    Method(Value),
}

/// The request of a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthorizeUserRequest {
    /// [`AuthorizeUserRequest::KIND`].
    #[serde(rename = "@type")]
    pub kind: String,
    /// What was asked for.
    pub http_request: AuthorizedHttpRequest,
}

impl AuthorizeUserRequest {
    /// What [`AuthorizeUserRequest::kind`] says.
    pub const KIND: &str = "type.googleapis.com/cloud.security.gatekeeper.AuthorizeUserRequest";

    /// The request for a URL, which is empty of a tunnel.
    pub fn new(url: String) -> Self {
        AuthorizeUserRequest { kind: Self::KIND.to_owned(), http_request: AuthorizedHttpRequest { url } }
    }
}

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthorizedHttpRequest {
    /// Without the query; empty of a tunnel.
    pub url: String,
}

/// The rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AuditMetadata {
    /// Of a decision.
    AuthorizeUser(AuthorizeUserMetadata),
    /// Of an administrative change.
    Change(ChangeMetadata),
}

/// What else is known of a decision. The keys are in snake_case, as in Google's entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorizeUserMetadata {
    /// The device; empty if it is not known.
    pub device_id: String,
    /// `Unknown`, or what is known of it.
    pub device_state: String,
    /// The client for which the caller's token was made.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub oauth_client_id: String,
    /// The decision's id.
    pub request_id: String,
    /// Of a tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iap_tcp_session_info: Option<TcpSessionInfo>,
}

/// What went through a tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpSessionInfo {
    /// From the client.
    pub bytes_received: u64,
    /// To the client.
    pub bytes_sent: u64,
    /// `SESSION_START` or `SESSION_END`.
    pub phase: String,
}

/// What an administrative change changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChangeMetadata {
    /// What it was; absent of what is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What it is now; absent of what is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// A request that was refused.
    pub(crate) fn refused() -> LogEntry {
        let service = "2525";
        LogEntry {
            log_name: AuditLogName::DataAccess.of("p"),
            resource: MonitoredResource {
                kind: "gce_backend_service".into(),
                labels: map(&[("project_id", "p"), ("backend_service_id", service), ("location", "global")]),
            },
            severity: Severity::Error,
            operation: None,
            proto_payload: AuditLog {
                kind: AuditLog::KIND.into(),
                service_name: IAP.into(),
                method_name: AUTHORIZE_USER.into(),
                resource_name: service.into(),
                status: RpcStatus::permission_denied(),
                authentication_info: AuthenticationInfo {
                    principal_email: Some("user@example.com".into()),
                    ..AuthenticationInfo::default()
                },
                authorization_info: vec![AuthorizationInfo {
                    resource: format!("projects/1/iap_web/compute/services/{service}/versions/bs_0"),
                    permission: "iap.webServiceVersions.accessViaIAP".into(),
                    granted: false,
                    resource_attributes: ResourceAttributes {
                        service: IAP.into(),
                        kind: "iap.googleapis.com/WebServiceVersion".into(),
                        ..ResourceAttributes::default()
                    },
                }],
                request_metadata: RequestMetadata {
                    caller_ip: "192.0.2.1".into(),
                    caller_supplied_user_agent: "Mozilla/5.0".into(),
                    request_attributes: RequestAttributes {
                        path: "/".into(),
                        host: "wiki.example.com".into(),
                        time: "2026-11-25T20:51:17Z".into(),
                        auth: RequestAuth { access_levels: vec!["accessPolicies/1/accessLevels/office".into()] },
                    },
                    destination_attributes: DestinationAttributes::default(),
                },
                request: Some(AuditRequest::AuthorizeUser(AuthorizeUserRequest::new(
                    "https://wiki.example.com/".into(),
                ))),
                response: None,
                metadata: Some(AuditMetadata::AuthorizeUser(AuthorizeUserMetadata {
                    device_state: "Unknown".into(),
                    oauth_client_id: "c.apps.googleusercontent.com".into(),
                    request_id: "106".into(),
                    ..AuthorizeUserMetadata::default()
                })),
            },
            insert_id: "106".into(),
            timestamp: "2026-11-25T20:51:17Z".into(),
            labels: map(&[("doorward/reason", "permission_denied")]),
        }
    }

    #[test]
    fn a_refusal_is_written_as_google_writes_one_field_for_field_and_in_order() {
        let expected = concat!(
            r#"{"logName":"projects/p/logs/cloudaudit.googleapis.com%2Fdata_access","#,
            r#""resource":{"type":"gce_backend_service","labels":{"backend_service_id":"2525","location":"global","project_id":"p"}},"#,
            r#""severity":"ERROR","protoPayload":{"@type":"type.googleapis.com/google.cloud.audit.AuditLog","#,
            r#""serviceName":"iap.googleapis.com","methodName":"AuthorizeUser","resourceName":"2525","#,
            r#""status":{"code":7,"message":"Permission Denied."},"authenticationInfo":{"principalEmail":"user@example.com"},"#,
            r#""authorizationInfo":[{"resource":"projects/1/iap_web/compute/services/2525/versions/bs_0","#,
            r#""permission":"iap.webServiceVersions.accessViaIAP","#,
            r#""resourceAttributes":{"service":"iap.googleapis.com","type":"iap.googleapis.com/WebServiceVersion"}}],"#,
            r#""requestMetadata":{"callerIp":"192.0.2.1","callerSuppliedUserAgent":"Mozilla/5.0","#,
            r#""requestAttributes":{"path":"/","host":"wiki.example.com","time":"2026-11-25T20:51:17Z","#,
            r#""auth":{"accessLevels":["accessPolicies/1/accessLevels/office"]}},"destinationAttributes":{}},"#,
            r#""request":{"@type":"type.googleapis.com/cloud.security.gatekeeper.AuthorizeUserRequest","#,
            r#""httpRequest":{"url":"https://wiki.example.com/"}},"#,
            r#""metadata":{"device_id":"","device_state":"Unknown","oauth_client_id":"c.apps.googleusercontent.com","request_id":"106"}},"#,
            r#""insertId":"106","timestamp":"2026-11-25T20:51:17Z","labels":{"doorward/reason":"permission_denied"}}"#,
        );
        assert_eq!(serde_json::to_string(&refused()).unwrap(), expected);
        assert_eq!(serde_json::from_str::<LogEntry>(expected).unwrap(), refused());
    }

    #[test]
    fn what_was_granted_has_an_empty_status_and_nobody_an_empty_identity() {
        let mut entry = refused();
        let payload = &mut entry.proto_payload;
        payload.status = RpcStatus::default();
        payload.authentication_info = AuthenticationInfo::default();
        payload.authorization_info[0].granted = true;
        let written = serde_json::to_value(&entry).unwrap();
        let payload = &written["protoPayload"];
        assert_eq!((&payload["status"], &payload["authenticationInfo"]), (&json!({}), &json!({})));
        assert_eq!(payload["authorizationInfo"][0]["granted"], json!(true));
        assert_eq!(serde_json::from_value::<LogEntry>(written).unwrap(), entry);
    }

    #[test]
    fn a_tunnel_has_where_it_leads_and_what_went_through() {
        let mut entry = refused();
        entry.operation = Some(EntryOperation { id: "Q4".into(), producer: IAP.into(), first: false, last: true });
        entry.proto_payload.request_metadata.destination_attributes =
            DestinationAttributes { ip: "10.128.0.9".into(), port: "22".into() };
        let session = TcpSessionInfo { bytes_received: 6922, bytes_sent: 2874, phase: "SESSION_END".into() };
        entry.proto_payload.metadata = Some(AuditMetadata::AuthorizeUser(AuthorizeUserMetadata {
            iap_tcp_session_info: Some(session),
            ..AuthorizeUserMetadata::default()
        }));
        let written = serde_json::to_value(&entry).unwrap();
        assert_eq!(written["operation"], json!({"id": "Q4", "producer": "iap.googleapis.com", "last": true}));
        let payload = &written["protoPayload"];
        assert_eq!(payload["requestMetadata"]["destinationAttributes"], json!({"ip": "10.128.0.9", "port": "22"}));
        let session = json!({"bytes_received": 6922, "bytes_sent": 2874, "phase": "SESSION_END"});
        assert_eq!(payload["metadata"]["iap_tcp_session_info"], session);
        assert_eq!(serde_json::from_value::<LogEntry>(written).unwrap(), entry);
    }

    #[test]
    fn a_change_says_what_was_before_and_after() {
        let mut entry = refused();
        let (method, log) = IAP_ADMIN_METHODS[2];
        entry.log_name = log.of("p");
        entry.severity = Severity::Notice;
        let payload = &mut entry.proto_payload;
        payload.method_name = format!("{IAP_ADMIN_SERVICE}.{method}");
        let request = json!({"@type": "type.googleapis.com/google.iam.v1.SetIamPolicyRequest", "policy": {}});
        payload.request = Some(AuditRequest::Method(request.clone()));
        payload.response = Some(json!({"etag": "BwXseec="}));
        let change = ChangeMetadata { before: Some(json!({"bindings": []})), after: None };
        payload.metadata = Some(AuditMetadata::Change(change));
        let written = serde_json::to_value(&entry).unwrap();
        assert_eq!(written["logName"], "projects/p/logs/cloudaudit.googleapis.com%2Factivity");
        let payload = &written["protoPayload"];
        assert_eq!(payload["methodName"], "google.cloud.iap.v1.IdentityAwareProxyAdminService.SetIamPolicy");
        assert_eq!((&payload["request"], &payload["metadata"]), (&request, &json!({"before": {"bindings": []}})));
        assert_eq!(serde_json::from_value::<LogEntry>(written).unwrap(), entry);
    }
}
