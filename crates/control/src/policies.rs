//! Reading and replacing the policies that say who may do what, on every resource of the tree.

use std::collections::HashSet;
use std::sync::Arc;

use aws_lc_rs::digest;
use doorward_core::federation::Pool;
use doorward_core::member::{Member, MemberError};
use doorward_core::policy::{self, Binding, ConditionText, Etag, Permission, Policy, PredefinedRole, Role, RoleName};
use doorward_core::resource::{Branch, Project, Resource, ServiceKind};
use doorward_core::snapshot::Snapshot;
use doorward_core::store::{Named, PolicyWrite, Store, StoreError};
use doorward_wire::google_api::{self, Expr, FieldMask, FieldMaskError, SetIamPolicyRequest, Status, WITH_CONDITIONS};

use crate::admin::{Admin, AdminError, Call, Changes, Failure, Method, Permitted};
use crate::etags::{self, ATTEMPTS, NoState};
use crate::snapshots::{RefreshError, SnapshotPublisher};
use crate::tasks::{Stopping, join};

/// Permissions of one `testIamPermissions`, at most.
///
/// Spec: <https://cloud.google.com/iam/docs/testing-permissions>
pub const TESTED_LIMIT: usize = 100;
/// Resources on the tunnel's side with a policy of their own, at most. One that was emptied counts.
pub const TUNNEL_POLICIES_LIMIT: u64 = 5000;

/// Why a policy was not read or replaced.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The caller may not, or the name leads nowhere.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The version that is asked for is none of 0, 1 and 3.
    #[error("policy version {0} is unknown")]
    UnknownVersion(i32),
    /// The mask names no field of a policy.
    #[error(transparent)]
    Mask(#[from] FieldMaskError),
    /// The bindings as a whole, or a condition of one.
    #[error(transparent)]
    Policy(#[from] policy::PolicyError),
    /// There is no such role, or it is deleted, or another project's.
    #[error("role {role:?} does not exist")]
    UnknownRole {
        /// The role as it was sent.
        role: String,
    },
    /// The role gives nothing on this resource.
    #[error("role {role} gives nothing on this resource")]
    RoleElsewhere {
        /// The role of the binding.
        role: RoleName,
    },
    /// Everybody, for a role that is not only for going through a door, or on a project or above.
    #[error("{role} is not given to everybody here")]
    Everybody {
        /// The role of the binding.
        role: RoleName,
    },
    /// A member of a form of Google's that is not served.
    #[error("member {member:?} of {role} has a form that is not served")]
    UnsupportedMember {
        /// The role of the binding.
        role: RoleName,
        /// The member as it was sent.
        member: String,
    },
    /// A text that is not a member.
    #[error("{member:?} in the binding of {role} is not a member")]
    MalformedMember {
        /// The role of the binding.
        role: RoleName,
        /// The member as it was sent.
        member: String,
    },
    /// A service account of the project or a group that does not exist; identities of a pool that does not exist, or is another
    /// project's; or those of an issuer that is not trusted. The binding did not have it before.
    #[error("{member} in the binding of {role} does not exist")]
    UnknownMember {
        /// The role of the binding.
        role: RoleName,
        /// The member.
        member: Member,
    },
    /// The policy is no longer in the state that the caller read; or others changed it again and again, between every reading and the
    /// writing after it.
    #[error("the policy was changed by somebody else")]
    Conflict,
    /// As many resources of the tunnel have a policy as may have one.
    #[error(
        "{TUNNEL_POLICIES_LIMIT} resources of iap_tunnel have a policy of their own: set it on a zone, a location or iap_tunnel itself"
    )]
    TooManyOfTunnels,
    /// Not a permission of the table.
    #[error("permission {0:?} is not valid")]
    UnknownPermission(String),
    /// Too many permissions at once.
    #[error("at most {TESTED_LIMIT} permissions are tested at once")]
    TooManyTested,
    /// The store failed.
    #[error("could not read or write the policy")]
    Store(#[from] StoreError),
    /// The policy is stored, and it is not known whether it is in force.
    #[error("could not put the policy in force")]
    Refresh(#[from] RefreshError),
    /// The process is stopping.
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

impl Failure for PolicyError {
    fn status(&self) -> Status {
        match self {
            PolicyError::Admin(error) => error.status(),
            PolicyError::UnknownVersion(_)
            | PolicyError::Mask(_)
            | PolicyError::Policy(_)
            | PolicyError::UnknownRole { .. }
            | PolicyError::RoleElsewhere { .. }
            | PolicyError::Everybody { .. }
            | PolicyError::UnsupportedMember { .. }
            | PolicyError::MalformedMember { .. }
            | PolicyError::UnknownMember { .. }
            | PolicyError::UnknownPermission(_)
            | PolicyError::TooManyTested => Status::InvalidArgument,
            PolicyError::TooManyOfTunnels => Status::ResourceExhausted,
            PolicyError::Conflict => Status::Aborted,
            PolicyError::Store(_) | PolicyError::Refresh(_) | PolicyError::Stopping(_) => Status::Internal,
        }
    }
}

/// The policies of everything in the tree.
pub struct Policies {
    store: Arc<dyn Store>,
    publisher: Arc<SnapshotPublisher>,
    changes: Changes,
    /// A change reads what is there and writes the whole. Here one waits for the other; an instance elsewhere does not, and is
    /// met by reading again.
    writing: tokio::sync::Mutex<()>,
}

/// What a policy is to be replaced by.
struct Proposed {
    bindings: Vec<Binding>,
    /// What the bindings name that has to be there, with the first member that names it.
    members: Vec<(Named, RoleName, Member)>,
}

impl Policies {
    /// Policies in `store`, put in force by `publisher`, as `changes` lets and records.
    pub fn new(store: Arc<dyn Store>, publisher: Arc<SnapshotPublisher>, changes: Changes) -> Self {
        Policies { store, publisher, changes, writing: tokio::sync::Mutex::default() }
    }

    /// The policy of a resource, which is in force. With a version of less than 3, a binding with a condition is shown by a role of
    /// the form `ROLE_withcond_HASH`, and without its condition.
    pub async fn get(
        &self,
        admin: &Admin,
        name: &str,
        requested_version: i32,
    ) -> Result<google_api::Policy, PolicyError> {
        let mut call = self.changes.begin(admin, methods(name).0, name)?;
        let outcome = async {
            self.publisher.catch_up().await?;
            let on = call.reach(name, |resource| permissions(resource).0)?;
            check_version(requested_version)?;
            Ok(encode(&self.store.policy(on.name()).await?, self.publisher.project(), requested_version))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Replaces the policy of a resource and gives what is in force from now on. Without an etag it overwrites, conditions included.
    ///
    /// What a binding has may stay in it, even if it is gone by now, as the identities of an issuer are that left the list: else such a
    /// member would keep every other from being changed. It is not put into another binding, nor under another condition, nor back
    /// once it was taken out.
    pub async fn replace(
        &self,
        admin: &Admin,
        name: &str,
        request: SetIamPolicyRequest,
    ) -> Result<google_api::Policy, PolicyError> {
        let mut call = self.changes.begin(admin, methods(name).1, name)?;
        let outcome = async {
            self.publisher.catch_up().await?;
            let on = call.reach(name, |resource| permissions(resource).1)?;
            self.replace_permitted(&mut call, &on, request).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    async fn replace_permitted(
        &self,
        call: &mut Call<'_>,
        on: &Permitted,
        request: SetIamPolicyRequest,
    ) -> Result<google_api::Policy, PolicyError> {
        let expected = etags::decode(request.policy.etag.as_ref()).map_err(|NoState| PolicyError::Conflict);
        let _writing = self.writing.lock().await;
        for _ in 0..ATTEMPTS {
            match self.replace_once(call, on, request.clone()).await {
                // Only over the state that was read, also where none is expected: what was taken out of it meanwhile would be added
                // anew, and nobody would have looked whether it is there, or who may give it.
                Err(PolicyError::Conflict) if matches!(expected, Ok(None)) => {}
                outcome => return outcome,
            }
        }
        Err(PolicyError::Conflict)
    }

    /// Replaces the policy as it is now.
    ///
    /// # Errors
    /// [`PolicyError::Conflict`]: also if another wrote it meanwhile.
    async fn replace_once(
        &self,
        call: &mut Call<'_>,
        on: &Permitted,
        request: SetIamPolicyRequest,
    ) -> Result<google_api::Policy, PolicyError> {
        let SetIamPolicyRequest { policy, update_mask } = request;
        let mask = FieldMask::parse(update_mask.as_deref().unwrap_or(""), "policy", &SetIamPolicyRequest::FIELDS)?;
        let version = policy.version.unwrap_or_default();
        check_version(version)?;
        let before = self.store.policy(on.name()).await?;
        let expected = etags::decode(policy.etag.as_ref()).map_err(|NoState| PolicyError::Conflict)?;
        if expected.is_some_and(|expected| expected != before.etag) {
            return Err(PolicyError::Conflict);
        }
        let proposed = match mask.touches("bindings") {
            true => {
                // Who knows no conditions would take them from a policy that they read without.
                if expected.is_some() && version != WITH_CONDITIONS && before.version() == WITH_CONDITIONS {
                    return Err(policy::PolicyError::ConditionNeedsVersion.into());
                }
                let bindings = decode(policy.bindings, self.publisher.project())?;
                self.propose(on.resource(), bindings, version, &before).await?
            }
            false => {
                let bindings = before.bindings.clone();
                self.propose(on.resource(), bindings, WITH_CONDITIONS, &before).await?
            }
        };
        let project = self.publisher.project();
        let modified = modified_roles(&before.bindings, &proposed.bindings, project);
        call.demand_granting(on.permission(), on.resource(), Some(&modified))?;
        if before.etag == Etag::UNWRITTEN && on.resource().branch() == Branch::Tunnel {
            // Any name of the right form is one: nothing but this bounds how many there are.
            let tunnel = Resource::Tunnel.name(self.publisher.project());
            if self.store.count_policies(&tunnel).await? >= TUNNEL_POLICIES_LIMIT {
                return Err(PolicyError::TooManyOfTunnels);
            }
        }
        let Proposed { bindings, members } = proposed;
        let after = Policy { bindings, etag: before.etag };
        let shown = |policy: &Policy| encode(policy, project, WITH_CONDITIONS);
        call.changes(Some(&shown(&before)), Some(&shown(&after)));
        let mut named: Vec<Named> = members.iter().map(|(named, ..)| named.clone()).collect();
        named.extend(self.stands_on(on.resource()));
        let (store, name) = (self.store.clone(), on.name().to_owned());
        let missing = AdminError::NotFound(name.clone());
        let write = async move {
            match store.replace_policy(&name, &after.bindings, Some(before.etag), &named).await? {
                PolicyWrite::Written(etag) => Ok(Policy { etag, ..after }),
                PolicyWrite::Conflict => Err(PolicyError::Conflict),
                PolicyWrite::Missing(gone) => Err(match members.into_iter().find(|(named, ..)| *named == gone) {
                    Some((_, role, member)) => PolicyError::UnknownMember { role, member },
                    None => missing.into(),
                }),
            }
        };
        let shown = shown(&self.publisher.change(write).await?);
        call.changed_to(&shown);
        Ok(shown)
    }

    /// Those of some permissions that the caller holds on a resource, in their order: none on one that is not there.
    pub async fn test_permissions(
        &self,
        admin: &Admin,
        name: &str,
        permissions: &[String],
    ) -> Result<Vec<String>, PolicyError> {
        if permissions.len() > TESTED_LIMIT {
            return Err(PolicyError::TooManyTested);
        }
        let read = |name: &String| name.parse().map_err(|_| PolicyError::UnknownPermission(name.clone()));
        let asked = permissions.iter().map(read).collect::<Result<Vec<Permission>, _>>()?;
        self.publisher.catch_up().await?;
        match self.changes.gate().find(name) {
            Ok(resource) => {
                let held = self.changes.gate().held(admin, &asked, &resource);
                Ok(held.into_iter().map(|permission| permission.name().to_owned()).collect())
            }
            Err(AdminError::NotFound(_)) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Checks bindings for a resource.
    async fn propose(
        &self,
        resource: &Resource,
        bindings: Vec<Binding>,
        version: i32,
        before: &Policy,
    ) -> Result<Proposed, PolicyError> {
        let snapshot = self.publisher.cell().current();
        for binding in &bindings {
            check_role(binding, resource, before, &snapshot)?;
        }
        let members = find_added(&bindings, &before.bindings, &snapshot)?;
        // Compiling many conditions takes a while.
        let checking = tokio::task::spawn_blocking(move || {
            Policy::check(&bindings, version, snapshot.schema()).map(|()| bindings)
        });
        Ok(Proposed { bindings: join(checking).await??, members })
    }

    /// What has to be there for a policy to stand on.
    fn stands_on(&self, resource: &Resource) -> Option<Named> {
        match resource {
            Resource::ServiceAccount { unique_id } => Some(Named::ServiceAccountId(unique_id.clone())),
            Resource::WebService(..) | Resource::WebServiceVersion(..) => {
                let snapshot = self.publisher.cell().current();
                let of_it = |kind: &ServiceKind| matches!(kind, ServiceKind::AppEngine { .. });
                let mut found = snapshot.applications().filter(|it| match resource {
                    Resource::WebService(..) => it.application.service() == *resource,
                    _ => it.application.version() == *resource,
                });
                // A service of App Engine has several versions: any of them keeps it.
                let one = found.next()?;
                (!of_it(&one.application.kind) || found.next().is_none())
                    .then(|| Named::Application(one.application.service_id.clone()))
            }
            Resource::Organization(_)
            | Resource::Folder(_)
            | Resource::Project
            | Resource::Web
            | Resource::WebType(_)
            | Resource::Tunnel
            | Resource::TunnelZone(_)
            | Resource::TunnelInstance(..)
            | Resource::TunnelLocation(_)
            | Resource::TunnelDestGroup(..) => None,
        }
    }
}

/// The permissions to read and to replace the policy of a resource.
///
/// Spec: <https://cloud.google.com/iap/docs/managing-access>
pub fn permissions(resource: &Resource) -> (Permission, Permission) {
    use Permission as P;
    match resource {
        Resource::Organization(_) => (P::GetOrganizationIamPolicy, P::SetOrganizationIamPolicy),
        Resource::Folder(_) => (P::GetFolderIamPolicy, P::SetFolderIamPolicy),
        Resource::Project => (P::GetProjectIamPolicy, P::SetProjectIamPolicy),
        Resource::Web => (P::GetWebIamPolicy, P::SetWebIamPolicy),
        Resource::WebType(_) => (P::GetWebTypeIamPolicy, P::SetWebTypeIamPolicy),
        Resource::WebService(..) => (P::GetWebServiceIamPolicy, P::SetWebServiceIamPolicy),
        Resource::WebServiceVersion(..) => (P::GetWebServiceVersionIamPolicy, P::SetWebServiceVersionIamPolicy),
        Resource::Tunnel => (P::GetTunnelIamPolicy, P::SetTunnelIamPolicy),
        Resource::TunnelZone(_) => (P::GetTunnelZoneIamPolicy, P::SetTunnelZoneIamPolicy),
        Resource::TunnelInstance(..) => (P::GetTunnelInstanceIamPolicy, P::SetTunnelInstanceIamPolicy),
        Resource::TunnelLocation(_) => (P::GetTunnelLocationIamPolicy, P::SetTunnelLocationIamPolicy),
        Resource::TunnelDestGroup(..) => (P::GetTunnelDestGroupIamPolicy, P::SetTunnelDestGroupIamPolicy),
        Resource::ServiceAccount { .. } => (P::GetServiceAccountIamPolicy, P::SetServiceAccountIamPolicy),
    }
}

/// The methods to read and to replace a policy, by the name of its resource.
fn methods(name: &str) -> (Method, Method) {
    const IAP: &str = "iap.googleapis.com";
    const IAM: &str = "iam.googleapis.com";
    const PROJECTS: &str = "cloudresourcemanager.googleapis.com";
    if name.contains("/iap_") {
        (
            Method::read(IAP, "google.cloud.iap.v1.IdentityAwareProxyAdminService.GetIamPolicy"),
            Method::write(IAP, "google.cloud.iap.v1.IdentityAwareProxyAdminService.SetIamPolicy"),
        )
    } else if name.contains("/serviceAccounts/") {
        (Method::read(IAM, "google.iam.admin.v1.GetIAMPolicy"), Method::write(IAM, "google.iam.admin.v1.SetIAMPolicy"))
    } else {
        (Method::read(PROJECTS, "GetIamPolicy"), Method::write(PROJECTS, "SetIamPolicy"))
    }
}

fn check_version(version: i32) -> Result<(), PolicyError> {
    if matches!(version, 0 | 1 | 3) { Ok(()) } else { Err(PolicyError::UnknownVersion(version)) }
}

fn check_role(binding: &Binding, resource: &Resource, before: &Policy, snapshot: &Snapshot) -> Result<(), PolicyError> {
    let name = &binding.role;
    // A deleted role stays in the policies that name it: it may be taken back.
    let there = |role: &Role<'_>| match role {
        Role::Predefined(_) => true,
        Role::Custom(role) => !role.deleted || before.bindings.iter().any(|old| old.role == *name),
    };
    let found = snapshot.roles.find(name).filter(there).filter(|_| name.is_of(&snapshot.project));
    let role = found.ok_or_else(|| PolicyError::UnknownRole { role: name.shown(&snapshot.project) })?;
    if !role.is_grantable_on(resource) {
        return Err(PolicyError::RoleElsewhere { role: name.clone() });
    }
    // Everybody may go through a door, and nothing else: not even a strange account administers. Like Google's, a project has no
    // public binding: who would mean all that will ever be in it?
    let is_door = |permission| matches!(permission, Permission::AccessViaIap | Permission::EgressViaIap);
    let public_role = role.permissions().iter().all(is_door);
    let public = binding.members.iter().any(Member::is_public);
    if public && (!public_role || resource.branch() != Branch::Web) {
        return Err(PolicyError::Everybody { role: name.clone() });
    }
    Ok(())
}

/// What the store has to find when it writes the bindings, each once, with the first member that names it: the project's accounts,
/// groups, and pools. To look for them here would be too early: they may go before the store writes. What the same binding has in
/// `stored` is passed over.
///
/// # Errors
/// [`PolicyError::UnknownMember`]: a member of a pool of another project, or of an issuer that is not trusted.
fn find_added(
    bindings: &[Binding],
    stored: &[Binding],
    snapshot: &Snapshot,
) -> Result<Vec<(Named, RoleName, Member)>, PolicyError> {
    let held: HashSet<Held<'_>> = each_held(stored).collect();
    let (mut members, mut seen) = (Vec::new(), HashSet::new());
    for (role, _, member) in each_held(bindings).filter(|it| !held.contains(it)) {
        let unknown = |Unknown| PolicyError::UnknownMember { role: role.clone(), member: member.clone() };
        let named = named_by(member, snapshot).map_err(unknown)?;
        if let Some(named) = named.filter(|named| seen.insert(named.clone())) {
            members.push((named, role.clone(), member.clone()));
        }
    }
    Ok(members)
}

/// What a binding gives to one member: the role, the condition, and the member.
type Held<'a> = (&'a RoleName, Option<&'a ConditionText>, &'a Member);

fn each_held(bindings: &[Binding]) -> impl Iterator<Item = Held<'_>> {
    bindings
        .iter()
        .flat_map(|binding| binding.members.iter().map(|member| (&binding.role, binding.condition.as_ref(), member)))
}

/// A member that nobody here can be.
pub(crate) struct Unknown;

/// What a member names that has to be in the store, if it names anything that can be there.
pub(crate) fn named_by(member: &Member, snapshot: &Snapshot) -> Result<Option<Named>, Unknown> {
    let project = &snapshot.project;
    match member {
        Member::ServiceAccount(email) => {
            // Of another project we know nothing.
            let ours = email.domain().strip_suffix(".iam.gserviceaccount.com").is_some_and(|id| id == project.id);
            Ok(ours.then(|| Named::ServiceAccount(email.clone())))
        }
        Member::Group(email) => Ok(Some(Named::Group(email.clone()))),
        Member::Principal(name) | Member::PrincipalSet(name) => match name.strip_prefix(TRUSTED_ISSUERS) {
            Some(rest) => {
                let trusted = snapshot.trusted_issuers.iter().any(|issuer| is_inside(rest, issuer.id.as_str()));
                if trusted { Ok(None) } else { Err(Unknown) }
            }
            None => match Pool::of(member) {
                Some((number, pool)) if number == project.number => Ok(Some(Named::Pool(pool))),
                Some(_) | None => Err(Unknown),
            },
        },
        Member::User(_) | Member::Domain(_) | Member::Deleted(_) | Member::AllAuthenticatedUsers | Member::AllUsers => {
            Ok(None)
        }
    }
}

/// Before the id of a trusted issuer in the names of its identities.
const TRUSTED_ISSUERS: &str = "//doorward/trustedIssuers/";

/// Whether a name is that of something inside `parent`.
fn is_inside(name: &str, parent: &str) -> bool {
    name.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/'))
}

/// The roles that somebody gets or loses, each once, in the order of names, as they are shown: conditions name them so.
fn modified_roles(before: &[Binding], after: &[Binding], project: &Project) -> Vec<String> {
    let (before, after): (HashSet<Held<'_>>, HashSet<Held<'_>>) =
        (each_held(before).collect(), each_held(after).collect());
    let changed = before.symmetric_difference(&after).map(|(role, ..)| role.shown(project));
    changed.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// As a reader sees it who knows policies of `version`.
pub(crate) fn encode(policy: &Policy, project: &Project, version: i32) -> google_api::Policy {
    let with_conditions = version == WITH_CONDITIONS;
    let bindings = policy.bindings.iter().map(|binding| google_api::Binding {
        role: match &binding.condition {
            Some(condition) if !with_conditions => {
                format!("{}_withcond_{}", binding.role.shown(project), condition_hash(condition))
            }
            Some(_) | None => binding.role.shown(project),
        },
        members: binding.members.iter().map(Member::to_string).collect(),
        condition: binding.condition.as_ref().filter(|_| with_conditions).map(encode_condition),
    });
    let shown = if with_conditions { policy.version() } else { 1 };
    google_api::Policy {
        version: (policy.etag != policy::Etag::UNWRITTEN || !policy.bindings.is_empty()).then_some(shown),
        bindings: bindings.collect(),
        etag: Some(etags::encode(policy.etag)),
    }
}

/// 20 hexadecimal digits that are the same for the same condition.
///
/// Spec: <https://cloud.google.com/iam/docs/troubleshooting-withcond>
fn condition_hash(condition: &ConditionText) -> String {
    let ConditionText { expression, title, description, location: _ } = condition;
    let hash = digest::digest(&digest::SHA256, format!("{expression}\0{title}\0{description}").as_bytes());
    hash.as_ref().iter().take(10).map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn encode_condition(condition: &ConditionText) -> Expr {
    let ConditionText { expression, title, description, location } = condition.clone();
    Expr { expression, title, description, location }
}

pub(crate) fn decode_condition(condition: Expr) -> ConditionText {
    let Expr { expression, title, description, location } = condition;
    ConditionText { expression, title, description, location }
}

/// Reads bindings as they were sent. Those without members are as none.
pub(crate) fn decode(bindings: Vec<google_api::Binding>, project: &Project) -> Result<Vec<Binding>, PolicyError> {
    let read = |binding| decode_binding(binding, project);
    let mut bindings = bindings.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    bindings.retain(|binding| !binding.members.is_empty());
    Ok(bindings)
}

fn decode_binding(binding: google_api::Binding, project: &Project) -> Result<Binding, PolicyError> {
    let google_api::Binding { role, members, condition } = binding;
    let unknown = || PolicyError::UnknownRole { role: role.clone() };
    let role = RoleName::parse(&role, project).map_err(|_| unknown())?;
    if !role.is_custom() && PredefinedRole::find(role.as_str()).is_none() {
        return Err(unknown());
    }
    let mut seen = HashSet::new();
    let mut distinct = Vec::new();
    for text in members {
        let member: Member = text.parse().map_err(|error| match error {
            MemberError::UnsupportedForm => PolicyError::UnsupportedMember { role: role.clone(), member: text },
            MemberError::Malformed => PolicyError::MalformedMember { role: role.clone(), member: text },
        })?;
        if seen.insert(member.clone()) {
            distinct.push(member);
        }
    }
    Ok(Binding { role, members: distinct, condition: condition.map(decode_condition) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_modified_if_somebody_gets_or_loses_it_or_its_condition_changes() {
        let bind = |role: &str, members: &str, condition: &str| Binding {
            role: role.parse().unwrap(),
            members: members.split(' ').map(|member| member.parse().unwrap()).collect(),
            condition: (!condition.is_empty())
                .then(|| ConditionText { expression: condition.to_owned(), ..ConditionText::default() }),
        };
        let before = [bind("roles/a", "user:a@x.com user:b@x.com", ""), bind("roles/b", "user:a@x.com", "true")];
        #[rustfmt::skip]
        let cases = [
            (before.to_vec(),                                                                            vec![]),
            (vec![before[1].clone(), bind("roles/a", "user:b@x.com", ""), bind("roles/a", "user:a@x.com", "")], vec![]),
            (vec![before[0].clone()],                                                                    vec!["roles/b"]),
            (vec![before[0].clone(), bind("roles/b", "user:a@x.com", "")],                               vec!["roles/b"]),
            (vec![bind("roles/a", "user:a@x.com", ""), before[1].clone(), bind("roles/c", "user:c@x.com", "")], vec!["roles/a", "roles/c"]),
            (vec![before[0].clone(), before[1].clone(), bind("projects/1/roles/own", "user:c@x.com", "")], vec!["projects/p/roles/own"]),
        ];
        let project = Project { id: "p".into(), number: "1".into(), ancestors: vec![] };
        for (number, (after, expected)) in cases.into_iter().enumerate() {
            assert_eq!(modified_roles(&before, &after, &project), expected, "case {number}");
        }
    }
}
