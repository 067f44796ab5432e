//! Who may reach what: bindings, and the one function that decides.

mod evaluate;

pub use evaluate::{Granted, Grants, Principal};

use std::fmt;

use crate::member::Member;

/// What a role gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// `roles/iap.httpsResourceAccessor`: holds `iap.webServiceVersions.accessViaIAP`.
    HttpsResourceAccessor,
}

impl Role {
    /// The role of this name, if it is served.
    pub fn from_name(name: &str) -> Option<Self> {
        (name == Role::HttpsResourceAccessor.name()).then_some(Role::HttpsResourceAccessor)
    }

    /// The name in policies.
    pub fn name(self) -> &'static str {
        match self {
            Role::HttpsResourceAccessor => "roles/iap.httpsResourceAccessor",
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
