//! An event of the record as an entry of Cloud Audit Logs.
//!
//! The fields are Google's; what Google has no field for is in the labels, under `doorward/`. They hold the sequence number and the
//! hash of the event too, so that what a sink has can be compared with the record, and a gap in it be seen.
//!
//! Spec: <https://cloud.google.com/iap/docs/audit-log-howto>

use std::collections::BTreeMap;

use doorward_core::audit::{
    AdminEvent, AdminKind, AuditEvent, CheckedPermission, Decision, Outcome, Reason, StoredEvent, TokenEvent,
    TokenMethod,
};
use doorward_core::clock::Timestamp;
use doorward_core::resource::{Project, Resource, ServiceType};
use doorward_wire::google_api::audit_log::{
    AUTHORIZE_USER, AuditLog, AuditLogName, AuditMetadata, AuditRequest, AuthenticationInfo, AuthorizationInfo,
    AuthorizeUserMetadata, AuthorizeUserRequest, ChangeMetadata, DestinationAttributes, IAP, LogEntry,
    MonitoredResource, RequestAttributes, RequestAuth, RequestMetadata, ResourceAttributes, RpcStatus, Severity,
};
use doorward_wire::time::rfc3339;

/// `serviceName` of what is only ours.
const OURS: &str = "doorward";
/// What reaching an application needs.
const ACCESS: &str = "iap.webServiceVersions.accessViaIAP";

/// The entry of an event. `None` of an access that everybody has: Google writes none, and the record has it.
pub fn entry(stored: &StoredEvent, project: &Project) -> Option<LogEntry> {
    let mut entry = match &stored.event {
        AuditEvent::Decision(decision) if decision.is_public() => return None,
        AuditEvent::Decision(decision) => of_decision(decision, project),
        AuditEvent::Token(event) => of_token(event, project),
        AuditEvent::Admin(event) => of_admin(event, project),
    };
    label(&mut entry, "sequence", &stored.sequence.to_string());
    label(&mut entry, "hash", &stored.hash);
    Some(entry)
}

/// The entry that says that events were forgotten before a sink had them: those from `first` to `last`.
pub(super) fn gap(first: i64, last: i64, now: Timestamp, project: &Project) -> LogEntry {
    let mut entry = ours("doorward.audit.Gap", format!("gap-{first}-{last}"), now, project);
    let count = last.saturating_sub(first).saturating_add(1);
    entry.proto_payload.status = RpcStatus {
        code: Some(15),
        message: format!(
            "Events {first} to {last} ({count}) were forgotten by the retention before they were sent here."
        ),
    };
    for (name, value) in [("gap_first", first), ("gap_last", last), ("gap_count", count)] {
        label(&mut entry, name, &value.to_string());
    }
    entry
}

/// The entry that says that the record is another one than the one that a sink has up to `last`.
pub(super) fn replaced(last: i64, now: Timestamp, project: &Project) -> LogEntry {
    let mut entry = ours("doorward.audit.Replaced", format!("replaced-{last}-{}", now.micros()), now, project);
    entry.proto_payload.status = RpcStatus {
        code: Some(15),
        message: format!(
            "The record is not the one of which event {last} was sent here: it was restored or begun anew. It is sent from its beginning."
        ),
    };
    label(&mut entry, "replaced_after", &last.to_string());
    entry
}

fn label(entry: &mut LogEntry, name: &str, value: &str) {
    if !value.is_empty() {
        entry.labels.insert(format!("doorward/{name}"), value.to_owned());
    }
}

fn ours(method: &str, id: String, now: Timestamp, project: &Project) -> LogEntry {
    LogEntry {
        log_name: AuditLogName::Activity.of(&project.id),
        resource: of_project(project),
        severity: Severity::Error,
        operation: None,
        proto_payload: AuditLog {
            kind: AuditLog::KIND.to_owned(),
            service_name: OURS.to_owned(),
            method_name: method.to_owned(),
            resource_name: format!("projects/{}", project.number),
            status: RpcStatus::default(),
            authentication_info: AuthenticationInfo::default(),
            authorization_info: Vec::new(),
            request_metadata: RequestMetadata::default(),
            request: None,
            response: None,
            metadata: None,
        },
        insert_id: id,
        timestamp: rfc3339(now.seconds()),
        labels: BTreeMap::new(),
    }
}

fn of_decision(decision: &Decision, project: &Project) -> LogEntry {
    let version = decision.version.as_ref().or(decision.resource.as_ref());
    let (resource, resource_name) = monitored(version.map(String::as_str), project);
    let (status, granted) = match &decision.outcome {
        Outcome::Allowed { .. } => (RpcStatus::default(), true),
        Outcome::Refused { reason, .. } => (status_of(*reason), was_granted(*reason)),
    };
    let allowed = status == RpcStatus::default();
    let authorization = version.map(|name| AuthorizationInfo {
        resource: name.clone(),
        permission: ACCESS.to_owned(),
        granted,
        resource_attributes: attributes(Resource::of_form(name, project).ok().as_ref()),
    });
    let time = rfc3339(decision.time.seconds());
    let url = format!("{}://{}{}", decision.scheme.as_deref().unwrap_or("https"), decision.host, decision.path);
    let mut entry = LogEntry {
        log_name: AuditLogName::DataAccess.of(&project.id),
        resource,
        severity: if allowed { Severity::Info } else { Severity::Error },
        operation: None,
        proto_payload: AuditLog {
            kind: AuditLog::KIND.to_owned(),
            service_name: IAP.to_owned(),
            method_name: AUTHORIZE_USER.to_owned(),
            resource_name,
            status,
            authentication_info: authentication(decision.caller.as_deref()),
            authorization_info: authorization.into_iter().collect(),
            request_metadata: RequestMetadata {
                caller_ip: decision.client.clone(),
                caller_supplied_user_agent: decision.user_agent.clone().unwrap_or_default(),
                request_attributes: RequestAttributes {
                    path: decision.path.clone(),
                    host: decision.host.clone(),
                    time: time.clone(),
                    auth: RequestAuth { access_levels: decision.access_levels.clone() },
                },
                destination_attributes: DestinationAttributes::default(),
            },
            request: Some(AuditRequest::AuthorizeUser(AuthorizeUserRequest::new(url))),
            response: None,
            metadata: Some(AuditMetadata::AuthorizeUser(AuthorizeUserMetadata {
                device_state: "Unknown".to_owned(),
                oauth_client_id: decision.oauth_client.clone().unwrap_or_default(),
                request_id: decision.id.clone(),
                ..AuthorizeUserMetadata::default()
            })),
        },
        insert_id: decision.id.clone(),
        timestamp: time,
        labels: BTreeMap::new(),
    };
    label(&mut entry, "http_method", &decision.method);
    label(&mut entry, "http_status", &decision.status.to_string());
    label(&mut entry, "note", decision.note.as_deref().unwrap_or_default());
    match &decision.outcome {
        Outcome::Allowed { binding_resource, role, member, condition } => {
            label(&mut entry, "binding_resource", binding_resource);
            label(&mut entry, "role", role);
            label(&mut entry, "member", member);
            label(&mut entry, "condition", condition.as_deref().unwrap_or_default());
        }
        Outcome::Refused { reason, detail, denied_by } => {
            label(&mut entry, "reason", reason.code());
            label(&mut entry, "detail", detail);
            if let Some((policy, rule)) = denied_by {
                label(&mut entry, "denied_by", &format!("{policy}#{rule}"));
            }
        }
    }
    entry
}

/// What Google's entry says of a refusal. It knows of callers without the permission; the rest is `google.rpc.Code`.
fn status_of(reason: Reason) -> RpcStatus {
    let other = |code, message: &str| RpcStatus { code: Some(code), message: message.to_owned() };
    match reason {
        Reason::NoCredential
        | Reason::AmbiguousCredential
        | Reason::InvalidToken
        | Reason::JwtAlg
        | Reason::TokenTooLarge
        | Reason::WrongTokenKind
        | Reason::WrongAudience
        | Reason::ExpiredToken
        | Reason::TokenNotYetValid
        | Reason::MissingEmail
        | Reason::PermissionDenied
        | Reason::DeniedByRule
        | Reason::IapDisabled => RpcStatus::permission_denied(),
        Reason::BadRequest | Reason::BadHeaderValue | Reason::BadHost | Reason::BadPath => other(3, "Invalid request."),
        Reason::NoSuchResource => other(5, "Not found."),
        Reason::StaleGrants | Reason::KeysUnavailable | Reason::UpstreamFailed | Reason::CannotRecord => {
            other(14, "Unavailable.")
        }
        Reason::CannotSign => other(13, "Internal error."),
    }
}

/// Whether the caller had the permission, and the request failed after that.
fn was_granted(reason: Reason) -> bool {
    matches!(reason, Reason::UpstreamFailed | Reason::CannotSign)
}

fn of_admin(event: &AdminEvent, project: &Project) -> LogEntry {
    let done = event.code == 0;
    let (log, severity) = match event.kind {
        AdminKind::Write => (AuditLogName::Activity, Severity::Notice),
        AdminKind::Read | AdminKind::DataWrite => (AuditLogName::DataAccess, Severity::Info),
    };
    let time = rfc3339(event.time.seconds());
    let authorization = |checked: &CheckedPermission| AuthorizationInfo {
        resource: checked.resource.clone(),
        permission: checked.permission.clone(),
        granted: checked.granted,
        resource_attributes: ResourceAttributes {
            service: checked.resource_type.split('/').next().unwrap_or_default().to_owned(),
            kind: checked.resource_type.clone(),
            ..ResourceAttributes::default()
        },
    };
    let (before, after) = (event.before.clone(), event.after.clone());
    let changed = before.is_some() || after.is_some();
    LogEntry {
        log_name: log.of(&project.id),
        resource: monitored(Some(&event.resource), project).0,
        severity: if done { severity } else { Severity::Error },
        operation: None,
        proto_payload: AuditLog {
            kind: AuditLog::KIND.to_owned(),
            service_name: event.service.clone(),
            method_name: event.method.clone(),
            resource_name: event.resource.clone(),
            status: match done {
                true => RpcStatus::default(),
                false => RpcStatus { code: Some(event.code), message: event.message.clone() },
            },
            authentication_info: authentication(event.caller.as_deref()),
            authorization_info: event.permissions.iter().map(authorization).collect(),
            request_metadata: RequestMetadata {
                caller_ip: event.peer.clone().unwrap_or_default(),
                caller_supplied_user_agent: event.user_agent.clone().unwrap_or_default(),
                request_attributes: RequestAttributes { time: time.clone(), ..RequestAttributes::default() },
                destination_attributes: DestinationAttributes::default(),
            },
            request: None,
            response: None,
            metadata: changed.then_some(AuditMetadata::Change(ChangeMetadata { before, after })),
        },
        insert_id: event.id.clone(),
        timestamp: time,
        labels: BTreeMap::new(),
    }
}

fn of_token(event: &TokenEvent, project: &Project) -> LogEntry {
    let (service, method) = method_of(event.method);
    let refused = event.refused.is_some() || event.reason.is_some();
    let time = rfc3339(event.time.seconds());
    // Whom a refused request named is not proven: it is the name of what was asked for, and nobody's identity.
    let proven = if refused { None } else { event.chain.first().or(event.account.as_ref()) };
    let mut entry = LogEntry {
        log_name: AuditLogName::DataAccess.of(&project.id),
        resource: of_project(project),
        severity: if refused { Severity::Error } else { Severity::Info },
        operation: None,
        proto_payload: AuditLog {
            kind: AuditLog::KIND.to_owned(),
            service_name: service.to_owned(),
            method_name: method.to_owned(),
            resource_name: event.account.clone().unwrap_or_default(),
            status: match refused {
                true => RpcStatus { code: Some(7), message: event.refused.clone().unwrap_or_default() },
                false => RpcStatus::default(),
            },
            authentication_info: authentication(proven.map(String::as_str)),
            authorization_info: Vec::new(),
            request_metadata: RequestMetadata {
                caller_ip: event.peer.clone().unwrap_or_default(),
                request_attributes: RequestAttributes { time: time.clone(), ..RequestAttributes::default() },
                ..RequestMetadata::default()
            },
            request: None,
            response: None,
            metadata: None,
        },
        insert_id: event.id.clone(),
        timestamp: time,
        labels: BTreeMap::new(),
    };
    label(&mut entry, "client", event.client.as_deref().unwrap_or_default());
    label(&mut entry, "chain", &event.chain.join(","));
    label(&mut entry, "issued", event.issued.as_deref().unwrap_or_default());
    label(&mut entry, "audience", event.audience.as_deref().unwrap_or_default());
    label(&mut entry, "reason", event.reason.map(|reason| reason.code()).unwrap_or_default());
    entry
}

/// The service and the name of a method; Google's own where its logs have it.
fn method_of(method: TokenMethod) -> (&'static str, &'static str) {
    const OAUTH: &str = "oauth2.googleapis.com";
    const IAM_CREDENTIALS: &str = "iamcredentials.googleapis.com";
    match method {
        TokenMethod::JwtBearer => (OAUTH, "doorward.oauth.JwtBearer"),
        TokenMethod::AuthorizationCode => (OAUTH, "doorward.oauth.AuthorizationCode"),
        TokenMethod::RefreshToken => (OAUTH, "doorward.oauth.RefreshToken"),
        TokenMethod::DeviceCode => (OAUTH, "doorward.oauth.DeviceCode"),
        TokenMethod::Token => (OAUTH, "doorward.oauth.Token"),
        TokenMethod::DeviceAuthorization => (OAUTH, "doorward.oauth.DeviceAuthorization"),
        TokenMethod::Revoke => (OAUTH, "doorward.oauth.Revoke"),
        TokenMethod::TokenInfo => (OAUTH, "doorward.oauth.TokenInfo"),
        TokenMethod::UserInfo => ("openidconnect.googleapis.com", "doorward.oauth.UserInfo"),
        TokenMethod::Authorize => ("accounts.google.com", "doorward.oauth.Authorize"),
        TokenMethod::SignIn => ("accounts.google.com", "doorward.oauth.SignIn"),
        TokenMethod::TokenExchange => {
            ("sts.googleapis.com", "google.identity.sts.v1.SecurityTokenService.ExchangeToken")
        }
        TokenMethod::GenerateIdToken => (IAM_CREDENTIALS, "GenerateIdToken"),
        TokenMethod::GenerateAccessToken => (IAM_CREDENTIALS, "GenerateAccessToken"),
        TokenMethod::SignJwt => (IAM_CREDENTIALS, "SignJwt"),
        TokenMethod::SignBlob => (IAM_CREDENTIALS, "SignBlob"),
        TokenMethod::Metadata => (OURS, "doorward.metadata.Token"),
        TokenMethod::Api => (OURS, "doorward.api.Bearer"),
    }
}

/// Who, from the text of a member; people and programs by their address, as Google writes them.
fn authentication(caller: Option<&str>) -> AuthenticationInfo {
    let Some(caller) = caller else { return AuthenticationInfo::default() };
    let email = ["user:", "serviceAccount:"].iter().find_map(|kind| caller.strip_prefix(kind));
    match email.or(Some(caller).filter(|text| text.contains('@') && !text.contains(':'))) {
        Some(email) => AuthenticationInfo { principal_email: Some(email.to_owned()), ..AuthenticationInfo::default() },
        None => AuthenticationInfo { principal_subject: Some(caller.to_owned()), ..AuthenticationInfo::default() },
    }
}

fn attributes(resource: Option<&Resource>) -> ResourceAttributes {
    ResourceAttributes {
        service: IAP.to_owned(),
        kind: resource.map(|resource| resource.type_name().to_owned()).unwrap_or_default(),
        ..ResourceAttributes::default()
    }
}

fn of_project(project: &Project) -> MonitoredResource {
    MonitoredResource { kind: "project".to_owned(), labels: labels(project, []) }
}

fn labels<const N: usize>(project: &Project, more: [(&str, &str); N]) -> BTreeMap<String, String> {
    let all = [("project_id", project.id.as_str())].into_iter().chain(more);
    all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What kind of thing a resource of this name is to a log, and what the entry calls it: the bare id of a service.
///
/// Spec: <https://cloud.google.com/logging/docs/api/v2/resource-list>
fn monitored(name: Option<&str>, project: &Project) -> (MonitoredResource, String) {
    let resource = name.and_then(|name| Resource::of_form(name, project).ok());
    let of = |kind: &str, labels| MonitoredResource { kind: kind.to_owned(), labels };
    let bare = |id: &str| id.to_owned();
    let (kind, service, version) = match &resource {
        Some(Resource::WebService(kind, service)) => (kind, service, ""),
        Some(Resource::WebServiceVersion(kind, service, version)) => (kind, service, version.as_str()),
        Some(Resource::TunnelInstance(zone, instance)) => {
            let labels = labels(project, [("instance_id", instance), ("zone", zone)]);
            return (of("gce_instance", labels), bare(instance));
        }
        Some(Resource::ServiceAccount { unique_id }) => {
            let labels = labels(project, [("unique_id", &unique_id.0)]);
            return (of("service_account", labels), name.unwrap_or_default().to_owned());
        }
        Some(_) | None => return (of_project(project), name.unwrap_or_default().to_owned()),
    };
    let monitored = match kind {
        ServiceType::Compute { region } => {
            let location = region.as_deref().unwrap_or("global");
            of("gce_backend_service", labels(project, [("backend_service_id", service), ("location", location)]))
        }
        ServiceType::AppEngine => of("gae_app", labels(project, [("module_id", service), ("version_id", version)])),
        ServiceType::CloudRun { region } => {
            of("cloud_run_revision", labels(project, [("service_name", service), ("location", region)]))
        }
        ServiceType::ForwardingRule { region } => {
            let location = region.as_deref().unwrap_or("global");
            of("gce_forwarding_rule", labels(project, [("forwarding_rule_id", service), ("region", location)]))
        }
    };
    (monitored, bare(service))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use doorward_core::audit::TokenReason;
    use serde_json::{Value, json};

    pub(crate) fn project() -> Project {
        Project { id: "prod".into(), number: "123".into(), ancestors: Vec::new() }
    }

    const SERVICE: &str = "projects/123/iap_web/compute/services/252104";

    pub(crate) fn decision(id: &str, outcome: Outcome) -> Decision {
        Decision {
            id: id.into(),
            time: Timestamp::from_seconds(1_795_639_877),
            resource: Some(SERVICE.into()),
            version: Some(format!("{SERVICE}/versions/bs_0")),
            caller: Some("user:user@example.com".into()),
            access_levels: vec!["accessPolicies/123/accessLevels/office".into()],
            oauth_client: Some("123-x.apps.googleusercontent.com".into()),
            user_agent: Some("Mozilla/5.0".into()),
            scheme: Some("https".into()),
            outcome,
            method: "GET".into(),
            host: "wiki.example.com".into(),
            path: "/".into(),
            status: 200,
            client: "192.0.2.1".into(),
            ..Decision::default()
        }
    }

    pub(crate) fn allowed(member: &str) -> Outcome {
        Outcome::Allowed {
            binding_resource: SERVICE.into(),
            role: "roles/iap.httpsResourceAccessor".into(),
            member: member.into(),
            condition: None,
        }
    }

    fn refused(reason: Reason) -> Outcome {
        Outcome::Refused { reason, detail: "why".into(), denied_by: None }
    }

    fn written(event: AuditEvent) -> Value {
        let stored = StoredEvent { sequence: 7, hash: "ab".into(), event };
        serde_json::to_value(entry(&stored, &project()).unwrap()).unwrap()
    }

    /// As a web entry of Google's (<https://cloud.google.com/iap/docs/audit-log-howto>), less what we do not have: `granted` of
    /// what is denied is absent, `status` of what is granted is empty.
    fn recorded(granted: bool) -> Value {
        let mut entry = json!({
            "logName": "projects/prod/logs/cloudaudit.googleapis.com%2Fdata_access",
            "resource": {"type": "gce_backend_service",
                         "labels": {"project_id": "prod", "backend_service_id": "252104", "location": "global"}},
            "severity": "INFO",
            "protoPayload": {
                "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
                "serviceName": "iap.googleapis.com", "methodName": "AuthorizeUser",
                "resourceName": "252104",
                "status": {},
                "authenticationInfo": {"principalEmail": "user@example.com"},
                "authorizationInfo": [{"resource": "projects/123/iap_web/compute/services/252104/versions/bs_0",
                    "permission": "iap.webServiceVersions.accessViaIAP", "granted": true,
                    "resourceAttributes": {"service": "iap.googleapis.com", "type": "iap.googleapis.com/WebServiceVersion"}}],
                "requestMetadata": {"callerIp": "192.0.2.1", "callerSuppliedUserAgent": "Mozilla/5.0",
                    "requestAttributes": {"path": "/", "host": "wiki.example.com", "time": "2026-11-25T20:51:17Z",
                        "auth": {"accessLevels": ["accessPolicies/123/accessLevels/office"]}},
                    "destinationAttributes": {}},
                "request": {"@type": "type.googleapis.com/cloud.security.gatekeeper.AuthorizeUserRequest",
                            "httpRequest": {"url": "https://wiki.example.com/"}},
                "metadata": {"device_id": "", "device_state": "Unknown",
                    "oauth_client_id": "123-x.apps.googleusercontent.com", "request_id": "d"}},
            "insertId": "d", "timestamp": "2026-11-25T20:51:17Z",
            "labels": {"doorward/sequence": "7", "doorward/hash": "ab", "doorward/http_method": "GET",
                "doorward/http_status": "200"},
        });
        let ours = match granted {
            true => json!({
                "binding_resource": SERVICE, "role": "roles/iap.httpsResourceAccessor", "member": "domain:example.com",
            }),
            false => json!({"reason": "permission_denied", "detail": "why"}),
        };
        for (name, value) in ours.as_object().unwrap() {
            entry["labels"][format!("doorward/{name}")] = value.clone();
        }
        if !granted {
            entry["severity"] = json!("ERROR");
            entry["protoPayload"]["status"] = json!({"code": 7, "message": "Permission Denied."});
            let checked = entry["protoPayload"]["authorizationInfo"][0].as_object_mut().unwrap();
            checked.remove("granted");
        }
        entry
    }

    #[test]
    fn a_decision_is_the_entry_that_google_writes() {
        let granted = decision("d", allowed("domain:example.com"));
        assert_eq!(written(AuditEvent::Decision(granted)), recorded(true));
        let denied = decision("d", refused(Reason::PermissionDenied));
        assert_eq!(written(AuditEvent::Decision(denied)), recorded(false));
    }

    #[test]
    fn public_access_has_no_entry() {
        let cases = [("allUsers", true), ("allAuthenticatedUsers", false), ("user:user@example.com", false)];
        for (member, is_public) in cases {
            let event = AuditEvent::Decision(decision("d", allowed(member)));
            let stored = StoredEvent { sequence: 1, hash: String::new(), event };
            assert_eq!(entry(&stored, &project()).is_none(), is_public, "{member}");
        }
    }

    #[test]
    fn who_called_is_written_as_google_writes_them() {
        #[rustfmt::skip]
        let cases = [
            (None,                                    json!({})),
            (Some("user:a@x.com"),                    json!({"principalEmail": "a@x.com"})),
            (Some("serviceAccount:a@p.iam.gserviceaccount.com"), json!({"principalEmail": "a@p.iam.gserviceaccount.com"})),
            (Some("a@x.com"),                         json!({"principalEmail": "a@x.com"})),
            (Some("principal://doorward/trustedIssuers/corp/subject/a@b"), json!({"principalSubject": "principal://doorward/trustedIssuers/corp/subject/a@b"})),
            (Some("operator"),                        json!({"principalSubject": "operator"})),
        ];
        for (caller, expected) in cases {
            assert_eq!(serde_json::to_value(authentication(caller)).unwrap(), expected, "{caller:?}");
        }
    }

    #[test]
    fn each_reason_has_a_code_and_says_whether_the_permission_was_held() {
        for reason in Reason::ALL {
            let entry = written(AuditEvent::Decision(decision("d", refused(reason))));
            let payload = &entry["protoPayload"];
            #[rustfmt::skip]
            let (code, granted) = match reason {
                Reason::BadRequest | Reason::BadHeaderValue | Reason::BadHost | Reason::BadPath => (3, None),
                Reason::NoSuchResource => (5, None),
                Reason::CannotSign => (13, Some(true)),
                Reason::UpstreamFailed => (14, Some(true)),
                Reason::StaleGrants | Reason::KeysUnavailable | Reason::CannotRecord => (14, None),
                _ => (7, None),
            };
            assert_eq!(payload["status"]["code"], code, "{reason:?}");
            assert_eq!(payload["authorizationInfo"][0]["granted"].as_bool(), granted, "{reason:?}");
            assert_eq!(entry["severity"], "ERROR");
            assert_eq!(entry["labels"]["doorward/reason"], reason.code());
        }
    }

    #[test]
    fn a_request_that_led_nowhere_is_about_the_project() {
        let lost =
            Decision { resource: None, version: None, caller: None, ..decision("d", refused(Reason::NoSuchResource)) };
        let entry = written(AuditEvent::Decision(lost));
        assert_eq!(entry["resource"], json!({"type": "project", "labels": {"project_id": "prod"}}));
        assert_eq!(entry["protoPayload"]["authenticationInfo"], json!({}));
        assert_eq!(entry["protoPayload"].get("authorizationInfo"), None);
    }

    #[test]
    fn a_resource_has_the_type_and_the_labels_of_its_kind() {
        #[rustfmt::skip]
        let cases = [
            ("projects/123/iap_web/compute/services/7/versions/bs_0",        "gce_backend_service", json!({"backend_service_id": "7", "location": "global"}), "7"),
            ("projects/123/iap_web/compute-eu-a1/services/7",                "gce_backend_service", json!({"backend_service_id": "7", "location": "eu-a1"}),  "7"),
            ("projects/123/iap_web/appengine-prod/services/default/versions/v1", "gae_app",         json!({"module_id": "default", "version_id": "v1"}),      "default"),
            ("projects/123/iap_web/cloud_run-eu-a1/services/wiki/versions/bs_0", "cloud_run_revision", json!({"service_name": "wiki", "location": "eu-a1"}),  "wiki"),
            ("projects/123/iap_tunnel/zones/z/instances/i",                  "gce_instance",        json!({"instance_id": "i", "zone": "z"}),                 "i"),
            ("projects/123/serviceAccounts/99",                              "service_account",     json!({"unique_id": "99"}), "projects/123/serviceAccounts/99"),
            ("projects/123/iap_web",                                         "project",             json!({}), "projects/123/iap_web"),
            ("what is this",                                                 "project",             json!({}), "what is this"),
        ];
        for (name, kind, mut labels, bare) in cases {
            labels["project_id"] = json!("prod");
            let (found, shown) = monitored(Some(name), &project());
            let found = serde_json::to_value(found).unwrap();
            assert_eq!((found, shown.as_str()), (json!({"type": kind, "labels": labels}), bare));
        }
    }

    pub(crate) fn change() -> AdminEvent {
        AdminEvent {
            id: "c".into(),
            time: Timestamp::from_seconds(1_795_639_877),
            service: IAP.into(),
            method: "google.cloud.iap.v1.IdentityAwareProxyAdminService.SetIamPolicy".into(),
            kind: AdminKind::Write,
            resource: SERVICE.into(),
            caller: Some("operator".into()),
            peer: Some("192.0.2.1".into()),
            user_agent: Some("gcloud".into()),
            permissions: vec![CheckedPermission {
                permission: "iap.webServices.setIamPolicy".into(),
                resource: SERVICE.into(),
                resource_type: "iap.googleapis.com/WebService".into(),
                granted: true,
            }],
            before: Some(json!({"bindings": []})),
            after: Some(json!({"bindings": [1]})),
            code: 0,
            message: String::new(),
        }
    }

    #[test]
    fn a_change_is_in_the_activity_log_with_before_and_after() {
        let expected = json!({
            "logName": "projects/prod/logs/cloudaudit.googleapis.com%2Factivity",
            "resource": {"type": "gce_backend_service",
                         "labels": {"project_id": "prod", "backend_service_id": "252104", "location": "global"}},
            "severity": "NOTICE",
            "protoPayload": {
                "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
                "serviceName": "iap.googleapis.com",
                "methodName": "google.cloud.iap.v1.IdentityAwareProxyAdminService.SetIamPolicy",
                "resourceName": SERVICE, "status": {}, "authenticationInfo": {"principalSubject": "operator"},
                "authorizationInfo": [{"resource": SERVICE, "permission": "iap.webServices.setIamPolicy", "granted": true,
                    "resourceAttributes": {"service": "iap.googleapis.com", "type": "iap.googleapis.com/WebService"}}],
                "requestMetadata": {"callerIp": "192.0.2.1", "callerSuppliedUserAgent": "gcloud",
                    "requestAttributes": {"time": "2026-11-25T20:51:17Z", "auth": {}}, "destinationAttributes": {}},
                "metadata": {"before": {"bindings": []}, "after": {"bindings": [1]}}},
            "insertId": "c", "timestamp": "2026-11-25T20:51:17Z",
            "labels": {"doorward/sequence": "7", "doorward/hash": "ab"},
        });
        assert_eq!(written(AuditEvent::Admin(Box::new(change()))), expected);
        #[rustfmt::skip]
        let cases = [
            (AdminKind::Write,     0, "activity",    "NOTICE"),
            (AdminKind::Write,     7, "activity",    "ERROR"),
            (AdminKind::DataWrite, 0, "data_access", "INFO"),
            (AdminKind::Read,      0, "data_access", "INFO"),
            (AdminKind::Read,      5, "data_access", "ERROR"),
        ];
        for (kind, code, log, severity) in cases {
            let event = AdminEvent { kind, code, message: "no".into(), ..change() };
            let entry = written(AuditEvent::Admin(Box::new(event)));
            assert!(entry["logName"].as_str().unwrap().ends_with(log), "{kind:?}");
            assert_eq!(
                (&entry["severity"], entry["protoPayload"]["status"].get("code")),
                (&json!(severity), Some(&json!(code)).filter(|_| code != 0))
            );
        }
    }

    #[test]
    fn a_refused_token_request_names_nobody_as_proven() {
        let event = TokenEvent {
            account: Some("a@p.iam.gserviceaccount.com".into()),
            issued: Some("id_token".into()),
            ..TokenEvent::new("t".into(), Timestamp::from_seconds(1), TokenMethod::JwtBearer, None)
        };
        let entry = written(AuditEvent::Token(event.clone()));
        let who = &entry["protoPayload"]["authenticationInfo"];
        assert_eq!(
            (who, &entry["severity"]),
            (&json!({"principalEmail": "a@p.iam.gserviceaccount.com"}), &json!("INFO"))
        );
        let refused = TokenEvent {
            refused: Some("the signature does not verify".into()),
            reason: Some(TokenReason::InvalidAssertion),
            issued: None,
            ..event.clone()
        };
        let entry = written(AuditEvent::Token(refused));
        let payload = &entry["protoPayload"];
        assert_eq!(payload["authenticationInfo"], json!({}));
        assert_eq!(payload["resourceName"], "a@p.iam.gserviceaccount.com");
        assert_eq!(payload["status"], json!({"code": 7, "message": "the signature does not verify"}));
        let chained = TokenEvent { chain: vec!["user:u@x.com".into()], method: TokenMethod::GenerateIdToken, ..event };
        let entry = written(AuditEvent::Token(chained));
        assert_eq!(entry["protoPayload"]["authenticationInfo"], json!({"principalEmail": "u@x.com"}));
        assert_eq!(entry["protoPayload"]["methodName"], "GenerateIdToken");
    }

    #[test]
    fn a_gap_says_its_numbers() {
        let entry = serde_json::to_value(gap(3, 5, Timestamp::from_seconds(0), &project())).unwrap();
        assert_eq!(
            entry["labels"],
            json!({"doorward/gap_first": "3", "doorward/gap_last": "5", "doorward/gap_count": "3"})
        );
        assert_eq!((&entry["severity"], &entry["insertId"]), (&json!("ERROR"), &json!("gap-3-5")));
    }
}
