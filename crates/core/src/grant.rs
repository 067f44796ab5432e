//! What was granted and can be presented again: access tokens, codes, refresh tokens and device codes.

use std::time::Duration;

use aws_lc_rs::digest;
use doorward_wire::jose::encode_base64url;
use doorward_wire::oauth::Scopes;
use serde::{Deserialize, Serialize};

use crate::account::UniqueId;
use crate::clock::Timestamp;
use crate::federation::FederatedIdentity;
use crate::resource::ClientId;

/// How long an access token is good for.
pub const ACCESS_TOKEN_TTL: Duration = Duration::from_secs(3600);
/// How long an authorization code is good for.
pub const CODE_TTL: Duration = Duration::from_secs(600);
/// How long a device and its person have.
pub const DEVICE_CODE_TTL: Duration = Duration::from_secs(1800);
/// How long a device waits between two questions.
pub const DEVICE_INTERVAL: Duration = Duration::from_secs(5);

/// Every access token starts with this, so that secret scanners find it: `doorward_at_[A-Za-z0-9_-]{43}`.
pub const ACCESS_TOKEN_PREFIX: &str = "doorward_at_";
/// Every administration token starts with this: `doorward_admin_[A-Za-z0-9_-]{43}`.
pub const ADMIN_TOKEN_PREFIX: &str = "doorward_admin_";
/// Every refresh token starts with this: `doorward_rt_[A-Za-z0-9_-]{43}`.
pub const REFRESH_TOKEN_PREFIX: &str = "doorward_rt_";
/// Every authorization code starts with this: `doorward_ac_[A-Za-z0-9_-]{43}`.
pub const CODE_PREFIX: &str = "doorward_ac_";
/// Every device code starts with this: `doorward_dc_[A-Za-z0-9_-]{43}`.
pub const DEVICE_CODE_PREFIX: &str = "doorward_dc_";

/// What is kept of a secret that its holder presents: SHA-256, base64url. The secrets have 256 bits of their own, so no salt
/// and no slow hash is needed. (The code that a person types at a device page has 34, lives for half an hour, and cannot be
/// tried fast.)
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenHash(pub String);

impl TokenHash {
    /// The hash of a presented or a new secret.
    pub fn of(secret: &str) -> Self {
        TokenHash(encode_base64url(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref()))
    }
}

/// Whose an access token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// An account of ours.
    Account(UniqueId),
    /// An identity of a pool.
    Federated(Box<FederatedIdentity>),
}

/// What an access token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessGrant {
    /// Whose it is.
    pub subject: Subject,
    /// What it is for.
    pub scopes: Scopes,
    /// When it ends.
    pub expires: Timestamp,
    /// What it was issued from, if a person allowed it to a client. It ends with that.
    pub person_grant: Option<(GrantId, ClientId)>,
}

/// Names a [`PersonGrant`]: 22 characters of base64url.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GrantId(pub String);

/// What a person allowed a client at one sign-in. Everything that is issued from it ends with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonGrant {
    /// Its name.
    pub id: GrantId,
    /// To whom.
    pub client: ClientId,
    /// Who.
    pub subject: UniqueId,
    /// What.
    pub scopes: Scopes,
    /// The client that ID tokens are for, where that is not the client itself and was asked for at sign-in.
    pub audience: Option<ClientId>,
    /// For the first ID token.
    pub nonce: Option<String>,
    /// A refresh token was asked for.
    pub offline: bool,
    /// The request carried `cred_ref=true`.
    pub cred_ref: bool,
    /// When the person signed in.
    pub auth_time: Timestamp,
    /// When it was granted.
    pub created: Timestamp,
}

/// The challenge of PKCE (RFC 7636 section 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", content = "challenge")]
pub enum Challenge {
    /// The base64url of the verifier's SHA-256.
    S256(String),
    /// The verifier itself.
    #[serde(rename = "plain")]
    Plain(String),
}

/// What an authorization code stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeGrant {
    /// What the person allowed.
    pub grant: PersonGrant,
    /// Where the code was sent; the client must name the same address again.
    pub redirect_uri: String,
    /// What the client must prove.
    pub challenge: Option<Challenge>,
    /// When it ends.
    pub expires: Timestamp,
}

/// What came of taking a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TakenCode {
    /// It was there, and is there no more.
    Taken(Box<CodeGrant>),
    /// It was taken before: somebody has a copy of it.
    Reused(GrantId),
    /// Unknown, ended, or of another client.
    Unknown,
}

/// A refresh token as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshGrant {
    /// What the person allowed.
    pub grant: PersonGrant,
    /// A newer token has taken its place.
    pub rotated: bool,
}

/// What a device waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceGrant {
    /// The client on the device.
    pub client: ClientId,
    /// What it asks for.
    pub scopes: Scopes,
    /// When both codes end.
    pub expires: Timestamp,
}

/// What came of a device's question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DevicePoll {
    /// Unknown, of another client, or answered before.
    Unknown,
    /// The codes have ended.
    Expired,
    /// Sooner than [`DEVICE_INTERVAL`] after the last question.
    TooSoon,
    /// The person has not decided.
    Pending,
    /// The person said no.
    Denied,
    /// The person said yes. Told once.
    Allowed(Box<PersonGrant>),
}
