//! Who may be proven to be calling: service accounts with their keys, and users.

use doorward_wire::jose::Jwk;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::member::Email;

/// The number of an account for its whole life, 21 digits: `sub` in tokens. Never given to another account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UniqueId(pub String);

/// An identity for programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its number for life.
    pub unique_id: UniqueId,
    /// `ACCOUNT_ID@PROJECT_ID.iam.gserviceaccount.com`.
    pub email: Email,
    /// A name for people.
    pub display_name: String,
    /// Free text.
    pub description: String,
    /// It may neither get nor use tokens.
    pub disabled: bool,
}

/// The public half of a key of a service account. The private half of a user's key was given to them once and is not kept; that
/// of a managed key is a [`ManagedKey`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccountKey {
    /// 40 hexadecimal digits: `private_key_id`, and `kid` in assertions. Equal to `public.kid`.
    pub id: String,
    /// Whose key it is.
    pub account: UniqueId,
    /// The public key.
    pub public: Jwk,
    /// When it was made.
    pub created: Timestamp,
    /// We keep the private half and sign with it for those who may ask.
    pub managed: bool,
    /// Nothing that it signed is accepted, and it is not published.
    pub disabled: bool,
}

/// A key with which we sign on behalf of a service account. `Debug` does not show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct ManagedKey {
    /// The public half.
    pub key: ServiceAccountKey,
    /// PKCS#8 in DER.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for ManagedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ManagedKey({})", self.key.id)
    }
}

/// What is kept of a password: a PHC string of Argon2id (RFC 9106). `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Their number for life.
    pub unique_id: UniqueId,
    /// Their address; its domain is the one that `domain:` members name.
    pub email: Email,
    /// They may neither sign in nor use tokens.
    pub disabled: bool,
}

/// The id that a creator of a service account chooses: 6 to 30 characters, `[a-z]([-a-z0-9]*[a-z0-9])`.
///
/// Spec: <https://cloud.google.com/iam/docs/service-accounts-create>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountId(String);

/// A text that is not an [`AccountId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an account id has 6 to 30 characters, starts with a letter and holds only a-z, 0-9 and '-'")]
pub struct AccountIdError;

impl std::str::FromStr for AccountId {
    type Err = AccountIdError;

    fn from_str(text: &str) -> Result<Self, AccountIdError> {
        let allowed = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let starts = text.starts_with(|c: char| c.is_ascii_lowercase());
        if !(6..=30).contains(&text.len()) || !allowed || !starts || text.ends_with('-') {
            return Err(AccountIdError);
        }
        Ok(AccountId(text.to_owned()))
    }
}

impl AccountId {
    /// The address of the account of this id in a project.
    pub fn email(&self, project_id: &str) -> Result<Email, crate::member::EmailError> {
        format!("{}@{project_id}.iam.gserviceaccount.com", self.0).parse()
    }
}
