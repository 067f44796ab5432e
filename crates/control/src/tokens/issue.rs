//! The only place that mints. What a token says follows from its kind.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use doorward_core::account::UniqueId;
use doorward_core::clock::Timestamp;
use doorward_core::entropy::{Entropy, EntropyError, random_base64url};
use doorward_core::grant::{ACCESS_TOKEN_PREFIX, AccessGrant, PersonGrant, Subject, TokenHash};
use doorward_core::keys::{ID_TOKEN_TTL, KeyError, KeyPurpose};
use doorward_core::member::Email;
use doorward_core::snapshot::SnapshotCell;
use doorward_core::store::{Store, StoreError};
use doorward_wire::jose::encode_base64url;
use doorward_wire::oauth::Scopes;
use serde_json::{Map, Value, json};

/// Makes tokens, for those who have checked that they may be made.
#[derive(Clone)]
pub struct Minter {
    store: Arc<dyn Store>,
    snapshots: Arc<SnapshotCell>,
    entropy: Arc<dyn Entropy>,
    issuer: String,
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// What it would have been issued from is no more.
    #[error("the grant was revoked meanwhile")]
    Revoked,
    /// The store failed.
    #[error("could not write a token")]
    Store(#[from] StoreError),
    /// A key could not be used.
    #[error("could not use a key")]
    Key(#[from] KeyError),
    /// No randomness.
    #[error("could not make a token")]
    Entropy(#[from] EntropyError),
}

/// An ID token that is to be made, by kind: each has claims of its own.
pub(crate) enum IdToken<'a> {
    /// For a service account's assertion: `azp` is its address.
    Assertion { account: Program<'a> },
    /// For those who may act as the account.
    Impersonated { account: Program<'a>, include_email: bool, use_email_azp: bool },
    /// For a workload on a machine, from its metadata server.
    Instance { account: Program<'a>, instance: Option<Value> },
    /// For a person, by way of a client.
    Person { grant: &'a PersonGrant, email: &'a Email, access_token: &'a str, with_nonce: bool },
}

/// A service account, as its tokens name it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program<'a> {
    pub(crate) unique_id: &'a UniqueId,
    pub(crate) email: &'a Email,
}

/// A new access token.
pub(crate) struct NewAccessToken {
    pub(crate) token: String,
    pub(crate) expires: Timestamp,
}

impl Minter {
    /// Signs with the keys in force, as this issuer.
    pub fn new(store: Arc<dyn Store>, snapshots: Arc<SnapshotCell>, entropy: Arc<dyn Entropy>, issuer: String) -> Self {
        Minter { store, snapshots, entropy, issuer }
    }

    /// `iss` of the ID tokens.
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// A new secret of 256 bits behind a prefix that says what it is.
    pub(super) fn secret(&self, prefix: &str) -> Result<String, EntropyError> {
        Ok(format!("{prefix}{}", random_base64url(&*self.entropy, 32)?))
    }

    /// Random bytes for a code that people read.
    pub(super) fn entropy(&self) -> &dyn Entropy {
        &*self.entropy
    }

    /// An ID token for an audience, good for [`ID_TOKEN_TTL`].
    pub(crate) fn id_token(&self, kind: &IdToken<'_>, audience: &str, now: Timestamp) -> Result<String, MintError> {
        let issued_at = now.seconds();
        let expires = Timestamp::from_seconds(issued_at) + ID_TOKEN_TTL;
        let mut claims = Claims(Map::new());
        claims
            .set("iss", self.issuer.as_str())
            .set("aud", audience)
            .set("iat", issued_at)
            .set("exp", expires.seconds());
        match kind {
            IdToken::Assertion { account } => {
                claims.set("azp", account.email.as_str()).set("sub", account.unique_id.0.as_str()).email(account.email);
            }
            IdToken::Impersonated { account, include_email, use_email_azp } => {
                let azp = if *use_email_azp { account.email.as_str() } else { &account.unique_id.0 };
                claims.set("azp", azp).set("sub", account.unique_id.0.as_str());
                if *include_email {
                    claims.email(account.email);
                }
            }
            IdToken::Instance { account, instance } => {
                claims.set("azp", account.unique_id.0.as_str()).set("sub", account.unique_id.0.as_str());
                if let Some(instance) = instance {
                    claims.email(account.email).set("google", json!({"compute_engine": instance}));
                }
            }
            IdToken::Person { grant, email, access_token, with_nonce } => {
                claims
                    .set("azp", grant.client.0.as_str())
                    .set("sub", grant.subject.0.as_str())
                    .set("at_hash", at_hash(access_token));
                if grant.scopes.contains("email") {
                    claims.email(email).set("hd", email.domain());
                }
                if let Some(nonce) = grant.nonce.as_ref().filter(|_| *with_nonce) {
                    claims.set("nonce", nonce.as_str());
                }
            }
        }
        Ok(self.snapshots.current().keys.sign(KeyPurpose::IdToken, &claims.0, now)?)
    }

    /// An access token, stored before this returns.
    pub(crate) async fn access_token(
        &self,
        subject: Subject,
        scopes: &Scopes,
        from: Option<&PersonGrant>,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<NewAccessToken, MintError> {
        let token = self.secret(ACCESS_TOKEN_PREFIX)?;
        let expires = now + lifetime;
        let person_grant = from.map(|grant| (grant.id.clone(), grant.client.clone()));
        let grant = AccessGrant { subject, scopes: scopes.clone(), expires, person_grant };
        if !self.store.add_access_token(&TokenHash::of(&token), &grant, now).await? {
            return Err(MintError::Revoked);
        }
        Ok(NewAccessToken { token, expires })
    }
}

struct Claims(Map<String, Value>);

impl Claims {
    fn set(&mut self, name: &str, value: impl Into<Value>) -> &mut Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    fn email(&mut self, email: &Email) -> &mut Self {
        self.set("email", email.as_str()).set("email_verified", true)
    }
}

/// Binds an ID token to the access token beside it (OpenID Connect Core 1.0 section 3.1.3.6).
fn at_hash(access_token: &str) -> String {
    encode_base64url(&digest::digest(&digest::SHA256, access_token.as_bytes()).as_ref()[..16])
}
