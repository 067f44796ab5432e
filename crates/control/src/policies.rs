//! Reading and replacing the policies that say who may reach what.

use std::collections::HashSet;
use std::sync::Arc;

use doorward_core::account::UniqueId;
use doorward_core::federation::Pool;
use doorward_core::member::{Email, Member, MemberError};
use doorward_core::policy::{Binding, Policy, PolicyEtag, Role};
use doorward_core::resource::{Resource, ResourceError};
use doorward_core::store::{Named, PolicyWrite, Store, StoreError};
use doorward_wire::google_api::{self, Etag};

use crate::callers::Administrator;
use crate::snapshots::{RefreshError, SnapshotPublisher};

/// The members of all bindings of a policy together.
///
/// Spec: <https://cloud.google.com/iam/quotas>
pub const MEMBERS_LIMIT: usize = 1500;

/// Why a policy was not read or replaced.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The name leads nowhere.
    #[error("could not find the resource")]
    Resource(#[from] ResourceError),
    /// `version` is none of 0, 1 and 3.
    #[error("policy version {0} is unknown")]
    UnknownVersion(i32),
    /// Conditions are not served yet. A binding without its condition would grant more than was asked.
    #[error("the binding of {role:?} has a condition")]
    Condition {
        /// The role of the binding.
        role: String,
    },
    /// The role is not served.
    #[error("role {role:?} is not served")]
    UnknownRole {
        /// The role as it was sent.
        role: String,
    },
    /// The role gives nothing on this resource.
    #[error("role {role} gives nothing on this resource")]
    RoleElsewhere {
        /// The role of the binding.
        role: Role,
    },
    /// Everybody, for a role that lets them act as an account.
    #[error("{role} is not given to everybody")]
    Everybody {
        /// The role of the binding.
        role: Role,
    },
    /// A member of a form of Google's that is not served yet.
    #[error("member {member:?} of {role} has a form that is not served yet")]
    UnsupportedMember {
        /// The role of the binding.
        role: Role,
        /// The member as it was sent.
        member: String,
    },
    /// A text that is not a member.
    #[error("{member:?} in the binding of {role} is not a member")]
    MalformedMember {
        /// The role of the binding.
        role: Role,
        /// The member as it was sent.
        member: String,
    },
    /// A service account of the project that does not exist; identities of a pool that does not exist, or is another project's; or
    /// those of an issuer that is not trusted. The binding did not have it before.
    #[error("{member} in the binding of {role} does not exist")]
    UnknownMember {
        /// The role of the binding.
        role: Role,
        /// The member.
        member: Member,
    },
    /// More than [`MEMBERS_LIMIT`] members.
    #[error("{members} members are more than {MEMBERS_LIMIT}")]
    TooManyMembers {
        /// How many there are.
        members: usize,
    },
    /// The policy is no longer in the state that the caller read.
    #[error("the policy was changed by somebody else")]
    Conflict,
    /// The store failed.
    #[error("could not read or write the policy")]
    Store(#[from] StoreError),
    /// The policy is stored, and it is not known whether it is in force.
    #[error("could not put the policy in force")]
    Refresh(#[from] RefreshError),
}

/// The policies of the one project: of its applications and of its service accounts.
#[derive(Clone)]
pub struct Policies {
    store: Arc<dyn Store>,
    publisher: Arc<SnapshotPublisher>,
}

impl Policies {
    /// Policies in `store`, put in force by `publisher`.
    pub fn new(store: Arc<dyn Store>, publisher: Arc<SnapshotPublisher>) -> Self {
        Policies { store, publisher }
    }

    /// The policy of a resource, which is in force.
    pub async fn get(&self, _: &Administrator, name: &str) -> Result<google_api::Policy, PolicyError> {
        self.publisher.catch_up().await?;
        let name = self.resource(name).await?.name(self.publisher.project());
        Ok(encode(&self.store.policy(&name).await?))
    }

    /// Replaces the policy of a resource and gives what is in force from now on. Without an etag it overwrites.
    ///
    /// What a binding has may stay in it, even if it is gone by now, as the identities of an issuer are that left the list: else such a
    /// member would keep every other from being changed. It is not put into another binding, nor back once it was taken out.
    pub async fn replace(
        &self,
        _: &Administrator,
        name: &str,
        policy: google_api::Policy,
    ) -> Result<google_api::Policy, PolicyError> {
        self.publisher.catch_up().await?;
        let resource = self.resource(name).await?;
        let name = resource.name(self.publisher.project());
        let (bindings, expected) = decode(policy)?;
        if let Some(binding) = bindings.iter().find(|binding| !binding.role.is_grantable_on(&resource)) {
            return Err(PolicyError::RoleElsewhere { role: binding.role });
        }
        let names_everybody = |binding: &&Binding| {
            let everybody = [Member::AllUsers, Member::AllAuthenticatedUsers];
            binding.role.acts_as_accounts() && binding.members.iter().any(|member| everybody.contains(member))
        };
        if let Some(binding) = bindings.iter().find(names_everybody) {
            return Err(PolicyError::Everybody { role: binding.role });
        }
        let account = match resource {
            Resource::ServiceAccount { unique_id } => Some(Named::ServiceAccountId(unique_id)),
            Resource::Project | Resource::Web | Resource::Compute | Resource::Service { .. } => None,
        };
        let policies = self.clone();
        let write = async move { policies.write(&name, bindings, expected, account).await };
        self.publisher.change(write).await
    }

    /// Writes bindings, if everything that they name anew is there, and `on`, which the policy is of, too.
    async fn write(
        &self,
        name: &str,
        bindings: Vec<Binding>,
        expected: Option<PolicyEtag>,
        on: Option<Named>,
    ) -> Result<google_api::Policy, PolicyError> {
        loop {
            let stored = self.store.policy(name).await?;
            if expected.is_some_and(|expected| expected != stored.etag) {
                return Err(PolicyError::Conflict);
            }
            let added = self.find_added(&bindings, &stored.bindings)?;
            let named: Vec<Named> = added.iter().map(|(named, ..)| named.clone()).chain(on.clone()).collect();
            // Also where none is expected, only over the state that was read: what was taken out of it meanwhile would be added anew,
            // and nobody would have looked whether it is there.
            match self.store.replace_policy(name, &bindings, Some(stored.etag), &named).await? {
                PolicyWrite::Written(etag) => return Ok(encode(&Policy { bindings, etag })),
                PolicyWrite::Conflict if expected.is_none() => {}
                PolicyWrite::Conflict => return Err(PolicyError::Conflict),
                PolicyWrite::Missing(gone) => {
                    return Err(match added.into_iter().find(|(named, ..)| *named == gone) {
                        Some((_, role, member)) => PolicyError::UnknownMember { role, member },
                        None => PolicyError::Resource(ResourceError::NotFound),
                    });
                }
            }
        }
    }

    /// What the store has to find when it writes the bindings, each once, with the first member that names it: the project's accounts,
    /// and pools. To look for them here would be too early: they may go before the store writes. What the same role has in `stored` is
    /// passed over.
    ///
    /// # Errors
    /// [`PolicyError::UnknownMember`]: a member of a pool of another project, or of an issuer that is not trusted.
    fn find_added(&self, bindings: &[Binding], stored: &[Binding]) -> Result<Vec<(Named, Role, Member)>, PolicyError> {
        let held: HashSet<(Role, &Member)> = members_by_role(stored).collect();
        let (mut members, mut seen) = (Vec::new(), HashSet::new());
        for (role, member) in members_by_role(bindings).filter(|pair| !held.contains(pair)) {
            let unknown = |Unknown| PolicyError::UnknownMember { role, member: member.clone() };
            let named = self.named_by(member).map_err(unknown)?;
            if let Some(named) = named.filter(|named| seen.insert(named.clone())) {
                members.push((named, role, member.clone()));
            }
        }
        Ok(members)
    }

    /// What a member names that has to be in the store, if it names anything that can be there.
    fn named_by(&self, member: &Member) -> Result<Option<Named>, Unknown> {
        let project = self.publisher.project();
        match member {
            Member::ServiceAccount(email) => {
                // Of another project we know nothing.
                let ours = email.domain().strip_suffix(".iam.gserviceaccount.com").is_some_and(|id| id == project.id);
                Ok(ours.then(|| Named::ServiceAccount(email.clone())))
            }
            Member::Principal(name) | Member::PrincipalSet(name) => match name.strip_prefix(TRUSTED_ISSUERS) {
                Some(rest) => {
                    let snapshot = self.publisher.cell().current();
                    let trusted = snapshot.trusted_issuers.iter().any(|issuer| is_inside(rest, issuer.id.as_str()));
                    if trusted { Ok(None) } else { Err(Unknown) }
                }
                None => match Pool::of(member) {
                    Some((number, pool)) if number == project.number => Ok(Some(Named::Pool(pool))),
                    Some(_) | None => Err(Unknown),
                },
            },
            Member::User(_) | Member::Domain(_) | Member::AllAuthenticatedUsers | Member::AllUsers => Ok(None),
        }
    }

    async fn resource(&self, name: &str) -> Result<Resource, PolicyError> {
        let project = self.publisher.project();
        let Some((of, account)) = name.strip_prefix("projects/").and_then(|rest| rest.split_once("/serviceAccounts/"))
        else {
            return Ok(Resource::parse(name, project, &self.store.applications().await?)?);
        };
        if of != "-" && of != project.id && of != project.number {
            return Err(ResourceError::NotFound.into());
        }
        let account = match account.parse::<Email>() {
            Ok(email) => self.store.service_account_by_email(&email).await?,
            Err(_) => self.store.service_account_by_id(&UniqueId(account.to_owned())).await?,
        };
        Ok(Resource::ServiceAccount { unique_id: account.ok_or(ResourceError::NotFound)?.unique_id })
    }
}

/// Every member with the role that it has.
fn members_by_role(bindings: &[Binding]) -> impl Iterator<Item = (Role, &Member)> {
    bindings.iter().flat_map(|binding| binding.members.iter().map(|member| (binding.role, member)))
}

/// A member that nobody here can be.
struct Unknown;

/// Before the id of a trusted issuer in the names of its identities.
const TRUSTED_ISSUERS: &str = "//doorward/trustedIssuers/";

/// Whether a name is that of something inside `parent`.
fn is_inside(name: &str, parent: &str) -> bool {
    name.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/'))
}

fn encode(policy: &Policy) -> google_api::Policy {
    let bindings = policy.bindings.iter().map(|binding| google_api::Binding {
        role: binding.role.name().to_owned(),
        members: binding.members.iter().map(Member::to_string).collect(),
        condition: None,
    });
    google_api::Policy {
        version: (policy.etag != PolicyEtag::UNWRITTEN).then_some(1),
        bindings: bindings.collect(),
        etag: Some(encode_etag(policy.etag)),
    }
}

fn decode(policy: google_api::Policy) -> Result<(Vec<Binding>, Option<PolicyEtag>), PolicyError> {
    match policy.version {
        None | Some(0 | 1 | 3) => {}
        Some(version) => return Err(PolicyError::UnknownVersion(version)),
    }
    // An empty `bytes` field is the same as none (proto3).
    let expected = match policy.etag.filter(|etag| !etag.0.is_empty()) {
        None => None,
        Some(etag) => Some(decode_etag(&etag).ok_or(PolicyError::Conflict)?),
    };
    let mut bindings = policy.bindings.into_iter().map(decode_binding).collect::<Result<Vec<_>, _>>()?;
    bindings.retain(|binding| !binding.members.is_empty());
    let members = bindings.iter().map(|binding| binding.members.len()).sum();
    if members > MEMBERS_LIMIT {
        return Err(PolicyError::TooManyMembers { members });
    }
    Ok((bindings, expected))
}

fn decode_binding(binding: google_api::Binding) -> Result<Binding, PolicyError> {
    let google_api::Binding { role, members, condition } = binding;
    if condition.is_some() {
        return Err(PolicyError::Condition { role });
    }
    let role = Role::from_name(&role).ok_or(PolicyError::UnknownRole { role })?;
    let mut seen = HashSet::new();
    let mut distinct = Vec::new();
    for text in members {
        let member: Member = text.parse().map_err(|error| match error {
            MemberError::UnsupportedForm => PolicyError::UnsupportedMember { role, member: text },
            MemberError::Malformed => PolicyError::MalformedMember { role, member: text },
        })?;
        if seen.insert(member.clone()) {
            distinct.push(member);
        }
    }
    Ok(Binding { role, members: distinct })
}

/// `ACAB`, with which Google answers for a policy that was never written.
const UNWRITTEN: [u8; 3] = [0x00, 0x20, 0x01];
/// Before the number of a written policy: nine bytes are twelve characters of base64 without padding.
const WRITTEN: u8 = 0x07;

fn encode_etag(etag: PolicyEtag) -> Etag {
    match etag {
        PolicyEtag::UNWRITTEN => Etag(UNWRITTEN.to_vec()),
        PolicyEtag(number) => Etag([&[WRITTEN][..], &number.to_be_bytes()].concat()),
    }
}

fn decode_etag(etag: &Etag) -> Option<PolicyEtag> {
    match etag.0.split_first()? {
        _ if etag.0 == UNWRITTEN => Some(PolicyEtag::UNWRITTEN),
        (&WRITTEN, number) => Some(PolicyEtag(i64::from_be_bytes(number.try_into().ok()?))),
        _ => None,
    }
    // Zero in the form of a written policy would be a second spelling of the unwritten state.
    .filter(|decoded| encode_etag(*decoded) == *etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_has_one_spelling_and_survives_a_client_that_decodes_it() {
        for (etag, text) in [
            (PolicyEtag::UNWRITTEN, "\"ACAB\""),
            (PolicyEtag(1), "\"BwAAAAAAAAAB\""),
            (PolicyEtag(i64::MAX), "\"B3//////////\""),
        ] {
            let encoded = encode_etag(etag);
            assert_eq!(serde_json::to_string(&encoded).unwrap(), text);
            let gcloud = text.replace('/', "_");
            assert_eq!(decode_etag(&serde_json::from_str(&gcloud).unwrap()), Some(etag), "{text}");
        }
        for refused in
            [&b""[..], &[0x07], &[0x00, 0x20], &[0x07, 0, 0, 0, 0, 0, 0, 0, 0], &[0x06, 0, 0, 0, 0, 0, 0, 0, 1]]
        {
            assert_eq!(decode_etag(&Etag(refused.to_vec())), None, "{refused:?}");
        }
    }
}
