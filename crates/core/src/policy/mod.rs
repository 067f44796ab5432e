//! Who may reach what: bindings, and the one function that decides.

pub mod condition;
mod evaluate;

pub use evaluate::{Granted, Grants, Principal};

use std::fmt;

use crate::member::Member;
use crate::resource::Resource;

/// What a role gives.
///
/// Spec: <https://cloud.google.com/iam/docs/roles-permissions>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// `roles/iap.httpsResourceAccessor`: reach applications.
    HttpsResourceAccessor,
    /// `roles/iam.serviceAccountTokenCreator`: make tokens and signatures of an account, and pass the right on.
    ServiceAccountTokenCreator,
    /// `roles/iam.serviceAccountOpenIdTokenCreator`: make ID tokens of an account.
    ServiceAccountOpenIdTokenCreator,
    /// `roles/iam.workloadIdentityUser`: make ID and access tokens of an account.
    WorkloadIdentityUser,
}

/// What may be done. A role is a set of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// `iap.webServiceVersions.accessViaIAP`
    AccessViaIap,
    /// `iam.serviceAccounts.getOpenIdToken`
    GetOpenIdToken,
    /// `iam.serviceAccounts.getAccessToken`
    GetAccessToken,
    /// `iam.serviceAccounts.signJwt`
    SignJwt,
    /// `iam.serviceAccounts.signBlob`
    SignBlob,
    /// `iam.serviceAccounts.implicitDelegation`: stand in a chain.
    ImplicitDelegation,
}

impl Permission {
    /// The name that refusals tell.
    pub fn name(self) -> &'static str {
        match self {
            Permission::AccessViaIap => "iap.webServiceVersions.accessViaIAP",
            Permission::GetOpenIdToken => "iam.serviceAccounts.getOpenIdToken",
            Permission::GetAccessToken => "iam.serviceAccounts.getAccessToken",
            Permission::SignJwt => "iam.serviceAccounts.signJwt",
            Permission::SignBlob => "iam.serviceAccounts.signBlob",
            Permission::ImplicitDelegation => "iam.serviceAccounts.implicitDelegation",
        }
    }
}

impl Role {
    /// Every role that is served.
    pub const ALL: [Role; 4] = [
        Role::HttpsResourceAccessor,
        Role::ServiceAccountTokenCreator,
        Role::ServiceAccountOpenIdTokenCreator,
        Role::WorkloadIdentityUser,
    ];

    /// The role of this name, if it is served.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// The name in policies.
    pub fn name(self) -> &'static str {
        match self {
            Role::HttpsResourceAccessor => "roles/iap.httpsResourceAccessor",
            Role::ServiceAccountTokenCreator => "roles/iam.serviceAccountTokenCreator",
            Role::ServiceAccountOpenIdTokenCreator => "roles/iam.serviceAccountOpenIdTokenCreator",
            Role::WorkloadIdentityUser => "roles/iam.workloadIdentityUser",
        }
    }

    /// What it gives.
    pub fn permissions(self) -> &'static [Permission] {
        use Permission as P;
        match self {
            Role::HttpsResourceAccessor => &[P::AccessViaIap],
            Role::ServiceAccountTokenCreator => {
                &[P::GetOpenIdToken, P::GetAccessToken, P::SignJwt, P::SignBlob, P::ImplicitDelegation]
            }
            Role::ServiceAccountOpenIdTokenCreator => &[P::GetOpenIdToken],
            Role::WorkloadIdentityUser => &[P::GetOpenIdToken, P::GetAccessToken],
        }
    }

    /// Whether a policy of this resource may name the role: where it gives something that can be done there, or below.
    pub fn is_grantable_on(self, resource: &Resource) -> bool {
        match resource {
            Resource::Project => true,
            Resource::Web | Resource::Compute | Resource::Service { .. } => !self.acts_as_accounts(),
            Resource::ServiceAccount { .. } => self.acts_as_accounts(),
        }
    }

    /// Whether its holders get tokens or signatures of service accounts.
    pub fn acts_as_accounts(self) -> bool {
        match self {
            Role::HttpsResourceAccessor => false,
            Role::ServiceAccountTokenCreator | Role::ServiceAccountOpenIdTokenCreator | Role::WorkloadIdentityUser => {
                true
            }
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One role and those who hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// What they hold.
    pub role: Role,
    /// Who, each once.
    pub members: Vec<Member>,
}

/// The state of a policy that a writer saw. Grows with every write of that policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyEtag(pub i64);

impl PolicyEtag {
    /// The state of a policy that was never written.
    pub const UNWRITTEN: PolicyEtag = PolicyEtag(0);
}

/// A stored policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its bindings, in the order in which they were written.
    pub bindings: Vec<Binding>,
    /// Its state.
    pub etag: PolicyEtag,
}

impl Default for Policy {
    /// A policy that was never written: it grants nothing.
    fn default() -> Self {
        Policy { bindings: Vec::new(), etag: PolicyEtag::UNWRITTEN }
    }
}
