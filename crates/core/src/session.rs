//! Who is signed in at our sign-in pages, in one browser.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::account::UniqueId;
use crate::clock::Timestamp;

/// How long a browser stays signed in.
pub const SIGN_IN_SESSION_TTL: Duration = Duration::from_secs(14 * 24 * 3600);

/// One browser's session. It is kept under the hash of the secret in its cookie, so it survives a restart and ends at once
/// when it is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInSession {
    /// Whoever signed in, latest first, each account once.
    pub accounts: Vec<SignedIn>,
    /// When it ends.
    pub expires: Timestamp,
    /// Only peers on this machine may use it: the ready-made sessions of `dev`.
    pub loopback_only: bool,
}

/// A person who proved who they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIn {
    /// Who.
    pub subject: UniqueId,
    /// When.
    pub auth_time: Timestamp,
}
