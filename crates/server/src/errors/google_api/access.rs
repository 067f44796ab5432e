//! Who may do what: policies, deny policies, roles, groups and access levels.

use doorward_control::access_levels::LevelError;
use doorward_control::admin::Failure as _;
use doorward_control::deny_policies::DenyError;
use doorward_control::groups::GroupError;
use doorward_control::policies::PolicyError;
use doorward_control::roles::RoleError;
use doorward_core::member::{Member, MemberError};
use doorward_core::policy::{self, DenyPolicyError};
use doorward_wire::google_api::Status;

use super::{ApiFailure, CONCURRENT_CHANGES, CONCURRENT_POLICY_CHANGES};

/// The forms of members.
const MEMBERS: &str = "Use user:EMAIL, serviceAccount:EMAIL, group:EMAIL, domain:DOMAIN, principal://…, principalSet://…, \
                       allUsers or allAuthenticatedUsers";

impl From<PolicyError> for ApiFailure {
    fn from(error: PolicyError) -> Self {
        use PolicyError as E;
        let status = error.status();
        let message = match &error {
            E::Admin(error) => return error.into(),
            E::Policy(error) => return error.into(),
            E::UnknownVersion(version) => format!("Invalid policy version {version}: 0, 1 and 3 are valid."),
            E::Mask(_) => format!("Invalid argument: {error}. Use bindings and etag."),
            E::UnknownRole { role } => format!(
                "Role {role} is not supported for this resource: there is no such role. \
                 POST https://iam.googleapis.com/v1/roles:queryGrantableRoles lists those that are."
            ),
            E::RoleElsewhere { role } => format!(
                "Role {role} is not supported for this resource: it holds no permission that could be used here. \
                 POST https://iam.googleapis.com/v1/roles:queryGrantableRoles lists those that do."
            ),
            E::Everybody { role } => format!(
                "{role} cannot be granted to allUsers or allAuthenticatedUsers here. Only roles for going through a door can, such \
                 as roles/iap.httpsResourceAccessor, and only on projects/P/iap_web and below: name who may otherwise."
            ),
            E::UnsupportedMember { member, .. } => format!("Members of the form {member} are not served. {MEMBERS}."),
            E::MalformedMember { member, .. } => format!("Invalid member: {member}. {MEMBERS}."),
            E::UnknownMember { member, .. } => not_there(member),
            E::TooManyOfTunnels => format!("Quota limit exceeded: {error}."),
            E::Conflict => CONCURRENT_POLICY_CHANGES.to_owned(),
            E::UnknownPermission(permission) => format!(
                "Permission {permission} is not valid. Wildcards are not, either. \
                 POST https://iam.googleapis.com/v1/permissions:queryTestablePermissions lists those that are."
            ),
            E::TooManyTested => format!("Invalid argument: {error}."),
            E::Store(_) | E::Refresh(_) | E::Stopping(_) => return ApiFailure::internal(&error),
        };
        ApiFailure::new(status, message)
    }
}

/// What is said of somebody who could be here and is not.
fn not_there(member: &Member) -> String {
    match member {
        Member::ServiceAccount(email) => format!("Service account {email} does not exist."),
        Member::Group(email) => format!("Group {email} does not exist. Create it first: doorward group create {email}"),
        Member::Principal(_) | Member::PrincipalSet(_) => {
            format!("{member} does not exist: this project has no such pool, and no such issuer is trusted.")
        }
        Member::User(_) | Member::Domain(_) | Member::Deleted(_) | Member::AllAuthenticatedUsers | Member::AllUsers => {
            format!("{member} does not exist.")
        }
    }
}

impl From<&policy::PolicyError> for ApiFailure {
    fn from(error: &policy::PolicyError) -> Self {
        use policy::PolicyError as E;
        let message = match error {
            E::Version(version) => format!("Invalid policy version {version}: 0, 1 and 3 are valid."),
            E::ConditionNeedsVersion => "Policies with conditional bindings must be read and written with version 3: read it \
                                         with requestedPolicyVersion 3, and write it with version 3. Nothing was changed."
                .to_owned(),
            E::PublicCondition(member) => format!(
                "A binding of {member} cannot have a condition: who is let in without a name is let in always. Name \
                 somebody, or take the condition away."
            ),
            E::ConditionTitle | E::TooMany | E::TooManyConditions => format!("Invalid argument: {error}."),
            // The position is in it.
            E::Condition { role, title, error } => {
                format!("Condition expression compilation failed: {title:?} of the binding of {role}: {error}.")
            }
        };
        ApiFailure::new(Status::InvalidArgument, message)
    }
}

impl From<DenyError> for ApiFailure {
    fn from(error: DenyError) -> Self {
        use DenyError as E;
        let status = error.status();
        let message = match &error {
            E::Admin(error) => return error.into(),
            E::Policy(cause) => match cause {
                DenyPolicyError::Condition { rule, error } => {
                    format!("Condition expression compilation failed: denialCondition of rule {rule}: {error}.")
                }
                DenyPolicyError::Name
                | DenyPolicyError::Attachment
                | DenyPolicyError::EmptyRule
                | DenyPolicyError::TooMany
                | DenyPolicyError::TooManyConditions => format!("Invalid argument: {error}."),
            },
            E::Permission(_) => format!(
                "Invalid argument: {error}. Permissions are written as iap.googleapis.com/webServiceVersions.accessViaIAP, or with \
                 * at the end: iap.googleapis.com/webServiceVersions.*"
            ),
            E::Principal { principal, error } => match error {
                MemberError::UnsupportedForm => format!("Principals of the form {principal} are not served."),
                MemberError::Malformed => format!(
                    "Invalid principal: {principal}. Use principal://goog/subject/EMAIL, principalSet://goog/group/EMAIL, \
                     principal://iam.googleapis.com/projects/-/serviceAccounts/EMAIL or principalSet://goog/public:all."
                ),
            },
            E::UnknownPrincipal(member) => not_there(member),
            E::NoRule(_) | E::TextTooLong { .. } => format!("Invalid argument: {error}."),
            E::Annotations => "Invalid argument: annotations are not served. Nothing was changed.".to_owned(),
            E::TooManyPolicies => format!("Quota limit exceeded: {error}. Delete one first."),
            E::AlreadyExists => "Requested entity already exists: a deny policy of this name.".to_owned(),
            E::NotFound => "Requested entity was not found: there is no such deny policy.".to_owned(),
            E::Conflict => CONCURRENT_POLICY_CHANGES.to_owned(),
            E::Store(_) | E::Refresh(_) | E::Entropy(_) | E::Stopping(_) => return ApiFailure::internal(&error),
        };
        ApiFailure::new(status, message)
    }
}

impl From<RoleError> for ApiFailure {
    fn from(error: RoleError) -> Self {
        use RoleError as E;
        let status = error.status();
        let message = match &error {
            E::Admin(error) => return error.into(),
            E::Id(id) => format!("Invalid role_id {id:?}: it has 3 to 64 of letters, digits, '_' and '.'."),
            E::Role(_) | E::PageToken => format!("Invalid argument: {error}."),
            E::Mask(_) => format!("Invalid argument: {error}. Use title, description, includedPermissions and stage."),
            E::AlreadyExists(name) => format!("A role named {name} already exists."),
            E::Deleted(name) => {
                format!("A role named {name} was deleted, and its id is not free. Take it back with :undelete.")
            }
            E::NotDeleted(name) => format!("The role {name} is not deleted."),
            E::NotFound(name) => format!("The role named {name} was not found."),
            E::TooMany => format!("Quota limit exceeded: {error}. Deleted ones count too."),
            E::Conflict => CONCURRENT_POLICY_CHANGES.to_owned(),
            E::Store(_) | E::Refresh(_) => return ApiFailure::internal(&error),
        };
        ApiFailure::new(status, message)
    }
}

impl From<GroupError> for ApiFailure {
    fn from(error: GroupError) -> Self {
        use GroupError as E;
        let status = error.status();
        let message = match &error {
            E::Admin(error) => return error.into(),
            E::Email(_) | E::Text { .. } | E::Nesting { .. } | E::TooManyAtOnce | E::PageToken => {
                format!("Invalid argument: {error}.")
            }
            E::Member { member, error } => match error {
                MemberError::UnsupportedForm => format!("Members of the form {member} are not served. {MEMBERS}."),
                MemberError::Malformed => format!("Invalid member: {member}. {MEMBERS}."),
            },
            E::NoMember(_) => {
                format!("Invalid argument: {error}: name users, service accounts, groups, principals or sets of them.")
            }
            E::UnknownMember(member) => not_there(member),
            E::TooManyGroups(_) => format!("Quota limit exceeded: {error}."),
            E::Taken(email) => format!("{email} is the address of a group, an account or a person already."),
            E::NotFound => "Requested entity was not found: there is no such group.".to_owned(),
            E::Conflict => CONCURRENT_CHANGES.to_owned(),
            E::Store(_) | E::Refresh(_) => return ApiFailure::internal(&error),
        };
        ApiFailure::new(status, message)
    }
}

impl From<LevelError> for ApiFailure {
    fn from(error: LevelError) -> Self {
        use LevelError as E;
        let status = error.status();
        let message = match &error {
            E::Admin(error) => return error.into(),
            // A mistake in an expression has its position in it.
            E::Level(_) | E::Elsewhere(_) => format!("Invalid argument: {error}."),
            E::Form => format!("Invalid argument: {error}: set custom or basic, and not both."),
            E::Member { .. } => format!("Invalid argument: {error}. Use user:EMAIL and serviceAccount:EMAIL."),
            E::InUse { by } => format!("{by} requires this level. Change or delete that one first."),
            E::AlreadyExists(name) => format!("Requested entity already exists: {name}."),
            E::NotFound => "Requested entity was not found: there is no such access level.".to_owned(),
            E::Store(_) | E::Refresh(_) | E::Stopping(_) => return ApiFailure::internal(&error),
        };
        ApiFailure::new(status, message)
    }
}
