//! The only place that mints tokens.

use std::time::Duration;

use doorward_core::account::ServiceAccount;
use doorward_core::clock::Timestamp;
use doorward_core::entropy::random_base64url;
use doorward_core::grant::{ACCESS_TOKEN_PREFIX, ACCESS_TOKEN_TTL, AccessGrant, TokenHash};
use doorward_core::keys::{ID_TOKEN_TTL, KeyPurpose};
use doorward_wire::oauth::Scopes;
use serde_json::{Map, json};

use super::{Authorization, Issued, RedeemError, TokenService, Wanted};

/// What clients are told about an access token: a second less than it lives, as Google says it, so that nobody uses one in
/// the moment in which it ends.
const ACCESS_TOKEN_EXPIRES_IN: Duration = ACCESS_TOKEN_TTL.saturating_sub(Duration::from_secs(1));

impl TokenService {
    /// Makes the token that was authorized. An access token is stored before this returns.
    pub(super) async fn issue(&self, authorization: &Authorization, now: Timestamp) -> Result<Issued, RedeemError> {
        let Authorization { account, wanted } = authorization;
        match wanted {
            Wanted::IdToken { audience } => self.id_token(account, audience, now),
            Wanted::AccessToken { scopes } => self.access_token(account, scopes, now).await,
        }
    }

    fn id_token(&self, account: &ServiceAccount, audience: &str, now: Timestamp) -> Result<Issued, RedeemError> {
        let issued_at = now.seconds();
        let expires = Timestamp::from_seconds(issued_at) + ID_TOKEN_TTL;
        let claims = Map::from_iter(
            [
                ("aud", json!(audience)),
                ("azp", json!(account.email.as_str())),
                ("email", json!(account.email.as_str())),
                ("email_verified", json!(true)),
                ("exp", json!(expires.seconds())),
                ("iat", json!(issued_at)),
                ("iss", json!(self.config.issuer)),
                ("sub", json!(account.unique_id.0)),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        Ok(Issued::IdToken(self.snapshots.current().keys.sign(KeyPurpose::IdToken, &claims)?))
    }

    async fn access_token(
        &self,
        account: &ServiceAccount,
        scopes: &Scopes,
        now: Timestamp,
    ) -> Result<Issued, RedeemError> {
        let token = format!("{ACCESS_TOKEN_PREFIX}{}", random_base64url(&*self.entropy, 32)?);
        let grant =
            AccessGrant { subject: account.unique_id.clone(), scopes: scopes.clone(), expires: now + ACCESS_TOKEN_TTL };
        self.store.add_access_token(&TokenHash::of(&token), &grant, now).await?;
        Ok(Issued::AccessToken { token, expires_in: ACCESS_TOKEN_EXPIRES_IN })
    }
}
