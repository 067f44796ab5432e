//! What `gcloud iap web get-iam-policy` and `gcloud iap settings get` print, as a file of ours.

use doorward_core::member::{Member, MemberError};
use doorward_core::policy::PredefinedRole;
use doorward_wire::google_api::{IapSettings, Policy};
use doorward_wire::world_file::{WorldFile, WrittenBinding, WrittenPolicy, WrittenResource, WrittenSettings};

use crate::settings::POLICY_DELEGATION;

/// Why something of Google's cannot be taken over as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// A member that we have not.
    #[error("{member:?} in the binding of {role}: {error}")]
    Member {
        /// The role.
        role: String,
        /// The member, as it is there.
        member: String,
        /// Why.
        error: MemberError,
    },
    /// A role that we have not.
    #[error("role {0:?} is not known here")]
    Role(String),
    /// A policy that was read in a version that does not show conditions: taken over, it would give more than it does there.
    #[error("the policy was read without its conditions ({0}): read it with version 3")]
    WithoutConditions(String),
    /// A name that is no setting.
    #[error("there is no setting {0}")]
    Setting(String),
    /// A setting that is Google's alone: no file of ours can say it.
    #[error("setting {0} is for Google's own use")]
    Googles(&'static str),
    /// It is not said on what it stands, or it is called by a number of Google's.
    #[error("{0:?} does not say which resource of ours is meant: name it")]
    Resource(String),
}

/// A policy, on a resource of ours: Google's output does not say where it stands. The etag is Google's, and goes.
///
/// # Errors
/// [`ImportError`]: the first binding that cannot be taken over. Nothing is passed over.
pub fn import_policy(policy: &Policy, resource: WrittenResource) -> Result<WorldFile, ImportError> {
    let mut bindings = Vec::with_capacity(policy.bindings.len());
    for binding in &policy.bindings {
        let role = &binding.role;
        if role.contains("_withcond_") {
            return Err(ImportError::WithoutConditions(role.clone()));
        }
        // A custom role may be in the file that this one is put into.
        if role.starts_with("roles/") && PredefinedRole::find(role).is_none() {
            return Err(ImportError::Role(role.clone()));
        }
        for member in &binding.members {
            member.parse::<Member>().map_err(|error| ImportError::Member {
                role: role.clone(),
                member: member.clone(),
                error,
            })?;
        }
        bindings.push(WrittenBinding {
            role: role.clone(),
            members: binding.members.clone(),
            condition: binding.condition.clone(),
        });
    }
    Ok(sorted(WorldFile { policies: Some(vec![WrittenPolicy { resource, bindings }]), ..WorldFile::default() }))
}

/// Settings, on a resource of ours, or else on the one that their name tells: the project, all applications, or an application that is
/// called by its name.
pub fn import_settings(settings: &IapSettings, resource: Option<WrittenResource>) -> Result<WorldFile, ImportError> {
    let mut settings = settings.clone();
    let name = std::mem::take(&mut settings.name);
    let resource = match resource {
        Some(resource) => resource,
        None => resource_of(&name).ok_or(ImportError::Resource(name))?,
    };
    if let Some(path) = settings.first_unknown() {
        return Err(ImportError::Setting(path));
    }
    if settings.access_settings.as_ref().is_some_and(|access| access.policy_delegation_settings.is_some()) {
        return Err(ImportError::Googles(POLICY_DELEGATION));
    }
    Ok(sorted(WorldFile { settings: Some(vec![WrittenSettings { resource, settings }]), ..WorldFile::default() }))
}

/// What a name of Google's is here. The number of its project and those of its backend services are others there.
fn resource_of(name: &str) -> Option<WrittenResource> {
    let parts: Vec<&str> = name.split('/').collect();
    let is_name = |it: &str| it.parse::<doorward_core::resource::ApplicationName>().is_ok();
    match parts[..] {
        ["projects", _] => Some(WrittenResource::Project),
        ["projects", _, "iap_web"] => Some(WrittenResource::Web),
        ["projects", _, "iap_web", kind, "services", service]
            if is_name(service)
                && (kind == "compute" || kind.starts_with("compute-") || kind.starts_with("cloud_run-")) =>
        {
            Some(WrittenResource::Application(service.to_owned()))
        }
        _ => None,
    }
}

fn sorted(mut file: WorldFile) -> WorldFile {
    file.sort();
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_gcloud_prints_of_a_policy_becomes_a_file_or_is_refused() {
        let binding = |role: &str, member: &str| json!({"role": role, "members": [member]});
        let accessor = "roles/iap.httpsResourceAccessor";
        let whole = json!({"etag": "BwXseec=", "version": 3, "bindings": [
            {"role": accessor, "members": ["user:b@example.com", "group:a@example.com"],
             "condition": {"expression": "request.path == '/a'", "title": "t"}},
        ]});
        let file = import_policy(&serde_json::from_value(whole).unwrap(), WrittenResource::Web).unwrap();
        let expected = json!({"policies": [{"resource": "web", "bindings": [
            {"role": accessor, "members": ["group:a@example.com", "user:b@example.com"],
             "condition": {"expression": "request.path == '/a'", "title": "t"}},
        ]}]});
        assert_eq!(serde_json::to_value(file).unwrap(), expected);
        #[rustfmt::skip]
        let cases = [
            (binding("roles/container.admin", "user:a@example.com"),        "role \"roles/container.admin\" is not known here"),
            (binding(accessor, "projectOwner:p"),                           "members of this form are not served"),
            (binding(accessor, "ann@example.com"),                          "not a member"),
            (binding("roles/iap.admin_withcond_12ab", "user:a@example.com"), "without its conditions"),
        ];
        for (binding, expected) in cases {
            let policy: Policy = serde_json::from_value(json!({"bindings": [binding]})).unwrap();
            let error = import_policy(&policy, WrittenResource::Web).unwrap_err().to_string();
            assert!(error.contains(expected), "{binding} {error}");
        }
    }

    #[test]
    fn what_gcloud_prints_of_settings_says_where_they_stand_unless_by_number() {
        let settings = |name: &str| -> IapSettings {
            serde_json::from_value(
                json!({"name": name, "accessSettings": {"corsSettings": {"allowHttpOptions": true}}}),
            )
            .unwrap()
        };
        #[rustfmt::skip]
        let cases = [
            ("projects/987/iap_web/compute/services/wiki",              Some("app wiki")),
            ("projects/987/iap_web/compute-europe-west1/services/wiki", Some("app wiki")),
            ("projects/987/iap_web",                                    Some("web")),
            ("projects/987",                                            Some("project")),
            ("projects/987/iap_web/compute/services/4567",              None),
            ("organizations/1",                                         None),
            ("",                                                        None),
        ];
        for (name, expected) in cases {
            let file = import_settings(&settings(name), None).ok();
            let written = file.map(|file| serde_json::to_value(file).unwrap());
            let expected = expected.map(|resource| {
                json!({"settings": [{"resource": resource, "access_settings": {"cors_settings": {"allow_http_options": true}}}]})
            });
            assert_eq!(written, expected, "{name}");
        }
        let file = import_settings(&settings("organizations/1"), Some(WrittenResource::Web)).unwrap();
        assert_eq!(file.settings.unwrap()[0].resource, WrittenResource::Web);
        let strange: IapSettings =
            serde_json::from_value(json!({"name": "projects/1", "x": Value::Bool(true)})).unwrap();
        assert_eq!(import_settings(&strange, None), Err(ImportError::Setting("x".into())));
        let googles = json!({"name": "projects/1", "accessSettings": {"policyDelegationSettings": {"resource": {}}}});
        let googles: IapSettings = serde_json::from_value(googles).unwrap();
        assert_eq!(import_settings(&googles, None), Err(ImportError::Googles(POLICY_DELEGATION)));
    }
}
