//! Workload identity federation: pools of identities from elsewhere, and the providers that vouch for them.
//!
//! Spec: <https://cloud.google.com/iam/docs/workload-identity-federation>

mod mapping;

pub use mapping::{AttributeMapping, MappedError, MappingError};

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::member::Member;
use crate::outbound::{KeySource, Reach};
use crate::resource::Project;

/// Pools of a project, at most.
///
/// Spec: <https://cloud.google.com/iam/quotas>
pub const POOLS_LIMIT: u32 = 100;
/// Providers of a project, at most: of all its pools together.
pub const PROVIDERS_LIMIT: u32 = 200;
/// Audiences that a provider may list, at most.
pub const AUDIENCES_LIMIT: usize = 10;
/// The longest audience in such a list, in bytes.
pub const AUDIENCE_LIMIT: usize = 256;

/// The id of a pool or of a provider: 4 to 32 of `a-z`, `0-9` and `-`, not beginning with `gcp-`.
///
/// Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/projects.locations.workloadIdentityPools/create>
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FederationId(String);

/// A text that is not a [`FederationId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id has 4 to 32 characters of a-z, 0-9 and '-', and does not begin with 'gcp-'")]
pub struct FederationIdError;

impl FromStr for FederationId {
    type Err = FederationIdError;

    fn from_str(text: &str) -> Result<Self, FederationIdError> {
        let allowed = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !(4..=32).contains(&text.len()) || !allowed || text.starts_with("gcp-") {
            return Err(FederationIdError);
        }
        Ok(FederationId(text.to_owned()))
    }
}

impl FederationId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A pool of identities from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its id within the project.
    pub id: FederationId,
    /// A name for people.
    pub display_name: String,
    /// Free text.
    pub description: String,
    /// Nobody of it gets or uses tokens.
    pub disabled: bool,
}

impl Pool {
    /// `projects/NUMBER/locations/global/workloadIdentityPools/POOL`
    pub fn name(project: &Project, id: &FederationId) -> String {
        format!("projects/{}/locations/global/workloadIdentityPools/{}", project.number, id.0)
    }

    /// The number of the project and the id of the pool to whose identities a member belongs, if it is written so.
    pub fn of(member: &Member) -> Option<(&str, FederationId)> {
        let (Member::Principal(name) | Member::PrincipalSet(name)) = member else { return None };
        let (project, rest) = name.strip_prefix("//iam.googleapis.com/projects/")?.split_once('/')?;
        let (pool, _) = rest.strip_prefix("locations/global/workloadIdentityPools/")?.split_once('/')?;
        Some((project, pool.parse().ok()?))
    }
}

/// Names what a provider is from one change to the next: another after every change, and never one that a provider of the same id
/// had before. 22 random characters of base64url.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub String);

/// The attribute mapping and the attribute condition of a provider, as they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingText {
    /// Expressions by what they set, such as `google.subject`.
    pub attributes: BTreeMap<String, String>,
    /// The condition, if there is one.
    pub condition: Option<String>,
}

impl MappingText {
    /// Compiles it. That is work for a processor, up to some ten milliseconds: not for a thread that answers requests.
    ///
    /// # Errors
    /// [`MappingError`]: it says nothing that could be followed.
    pub fn compile(&self) -> Result<AttributeMapping, MappingError> {
        AttributeMapping::compile(self.attributes.clone(), self.condition.clone())
    }
}

/// What vouches for identities of a pool: an OIDC issuer, and what its tokens must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// The pool.
    pub pool: FederationId,
    /// Its id within the pool.
    pub id: FederationId,
    /// What it is now: whatever was issued by another generation is good no longer.
    pub generation: Generation,
    /// A name for people.
    pub display_name: String,
    /// Free text.
    pub description: String,
    /// Its tokens are not accepted, and what was given for them is no longer good.
    pub disabled: bool,
    /// What becomes of a token's claims.
    pub mapping: MappingText,
    /// `iss` of its tokens, exactly.
    pub issuer: String,
    /// `aud` of its tokens: one of these, or the provider's own name if there are none.
    pub allowed_audiences: Vec<String>,
    /// The issuer's key document, if it is not to be fetched.
    pub jwks: Option<Arc<str>>,
    /// The issuer may be on this machine, and speak plain HTTP.
    pub insecure_loopback: bool,
}

impl Provider {
    /// `projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER`
    pub fn name(&self, project: &Project) -> String {
        format!("{}/providers/{}", Pool::name(project, &self.pool), self.id.0)
    }

    /// Whether a token for `audience` is for this provider. Without a list that is the provider's full name, with or without
    /// `https:` before it.
    ///
    /// Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/projects.locations.workloadIdentityPools.providers#Oidc>
    pub fn accepts_audience(&self, audience: &str, project: &Project) -> bool {
        if !self.allowed_audiences.is_empty() {
            return self.allowed_audiences.iter().any(|allowed| allowed == audience);
        }
        let name = audience.strip_prefix("https:").unwrap_or(audience);
        name.strip_prefix("//iam.googleapis.com/").is_some_and(|name| name == self.name(project))
    }

    /// Where its keys come from. The entry is of this generation alone, so that what was fetched for a provider that was changed, or
    /// was removed and made again, is not used for its successor.
    pub fn key_source(&self, project: &Project) -> KeySource {
        KeySource {
            entry: format!("{}@{}", self.name(project), self.generation.0),
            issuer: self.issuer.clone(),
            inline: self.jwks.clone(),
            reach: if self.insecure_loopback { Reach::Loopback } else { Reach::Public },
        }
    }
}

/// Who a federated token stands for: what a provider's mapping made of the claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FederatedIdentity {
    /// The pool.
    pub pool: FederationId,
    /// The provider that vouched.
    pub provider: FederationId,
    /// What the provider was when it did.
    pub generation: Generation,
    /// `google.subject`: 1 to 127 bytes.
    pub subject: String,
    /// `google.groups`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// `attribute.NAME`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

impl FederatedIdentity {
    /// The principal, as records name it and policies may.
    pub fn principal(&self, project: &Project) -> Member {
        Member::Principal(format!("//iam.googleapis.com/{}/subject/{}", Pool::name(project, &self.pool), self.subject))
    }

    /// Every member that stands for this identity, the most specific first.
    ///
    /// Spec: <https://cloud.google.com/iam/docs/principal-identifiers>
    pub fn members(&self, project: &Project) -> Vec<Member> {
        let pool = Pool::name(project, &self.pool);
        let set = |rest: String| Member::PrincipalSet(format!("//iam.googleapis.com/{pool}/{rest}"));
        let groups = self.groups.iter().map(|group| set(format!("group/{group}")));
        let attributes = self.attributes.iter().map(|(name, value)| set(format!("attribute.{name}/{value}")));
        let all = std::iter::once(set("*".to_owned()));
        std::iter::once(self.principal(project)).chain(groups).chain(attributes).chain(all).collect()
    }
}
