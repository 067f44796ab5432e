//! What was granted and can be presented again: access tokens.

use std::time::Duration;

use aws_lc_rs::digest;
use doorward_wire::jose::encode_base64url;
use doorward_wire::oauth::Scopes;

use crate::account::UniqueId;
use crate::clock::Timestamp;

/// How long an access token is good for.
pub const ACCESS_TOKEN_TTL: Duration = Duration::from_secs(3600);

/// Every access token starts with this, so that secret scanners find it: `doorward_at_[A-Za-z0-9_-]{43}`.
pub const ACCESS_TOKEN_PREFIX: &str = "doorward_at_";

/// Every administration token starts with this: `doorward_admin_[A-Za-z0-9_-]{43}`.
pub const ADMIN_TOKEN_PREFIX: &str = "doorward_admin_";

/// What is kept of a secret that its holder presents: SHA-256, base64url. The secrets have 256 bits of their own, so no salt
/// and no slow hash is needed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenHash(pub String);

impl TokenHash {
    /// The hash of a presented or a new secret.
    pub fn of(secret: &str) -> Self {
        TokenHash(encode_base64url(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref()))
    }
}

/// What an access token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessGrant {
    /// Whose it is.
    pub subject: UniqueId,
    /// What it is for.
    pub scopes: Scopes,
    /// When it ends.
    pub expires: Timestamp,
}
