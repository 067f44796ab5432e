//! Who may call the methods of administration.

use std::sync::Arc;

use doorward_core::account::UniqueId;
use doorward_core::clock::Clock;
use doorward_core::grant::TokenHash;
use doorward_core::store::{GrantStore, StoreError};
use subtle::ConstantTimeEq as _;

/// Proof that a caller may administer. Methods of administration ask for one, so that none can be reached without.
#[derive(Debug)]
pub struct Administrator(());

impl Administrator {
    /// The person who started this process, for what the process does by itself while it starts. Whoever can start it can
    /// read and write its database, so there is nothing to prove. Never for a request from the network.
    pub fn local_operator() -> Self {
        Administrator(())
    }
}

/// Why a caller may not administer.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No credential was sent.
    #[error("no credential")]
    Missing,
    /// The credential is unknown or has expired.
    #[error("the credential is unknown or has expired")]
    Invalid,
    /// A proven account, which holds no permission of administration.
    #[error("account {} holds no permission of administration", subject.0)]
    Forbidden {
        /// Whose access token was sent.
        subject: UniqueId,
    },
    /// The store failed.
    #[error("could not look up the credential")]
    Store(#[from] StoreError),
}

/// Proves administrators.
pub struct Administrators {
    admin_token: TokenHash,
    grants: Arc<dyn GrantStore>,
    clock: Arc<dyn Clock>,
}

impl Administrators {
    /// Admits the bearer of the secret with this hash, and nobody else.
    pub fn new(admin_token: TokenHash, grants: Arc<dyn GrantStore>, clock: Arc<dyn Clock>) -> Self {
        Administrators { admin_token, grants, clock }
    }

    /// Proves the caller who sent this bearer token.
    ///
    /// # Errors
    /// [`AdminError`]: nothing may be done or shown.
    pub async fn authenticate(&self, bearer: Option<&str>) -> Result<Administrator, AdminError> {
        let presented = TokenHash::of(bearer.ok_or(AdminError::Missing)?);
        if bool::from(presented.0.as_bytes().ct_eq(self.admin_token.0.as_bytes())) {
            return Ok(Administrator(()));
        }
        match self.grants.access_token(&presented, self.clock.now()).await? {
            Some(grant) => Err(AdminError::Forbidden { subject: grant.subject }),
            None => Err(AdminError::Invalid),
        }
    }
}
