//! The grant of RFC 6749 section 6.

use doorward_core::audit::TokenEvent;
use doorward_core::grant::{PersonGrant, REFRESH_TOKEN_PREFIX, TokenHash};
use doorward_wire::oauth::{RefreshTokenRequest, Scopes};

use super::clients::AuthenticatedClient;
use super::person::PersonAnswer;
use super::{Issued, RedeemError, TokenService};
use crate::admin::Peer;

impl TokenService {
    pub(super) async fn redeem_refresh_token(
        &self,
        request: &RefreshTokenRequest,
        peer: Peer,
        event: &mut TokenEvent,
    ) -> Result<Issued, RedeemError> {
        let client = self.authenticate(&request.client, peer, event).await?;
        let presented = TokenHash::of(&request.refresh_token);
        let grant = self.find_refresh_token(&client, &presented).await?;
        let person = self.person(&grant.subject, event)?;
        let scopes = match &request.scope {
            None => grant.scopes.clone(),
            Some(asked) => narrowed(asked, &grant.scopes)?,
        };
        let audience = request.audience.as_deref().or(grant.audience.as_ref().map(|audience| &*audience.0));
        let audience = self.audience(client.client(), audience).await?;
        let refresh_token = self.rotate(&client, &presented, &grant).await?;
        let answer =
            PersonAnswer { grant: &grant, scopes: &scopes, audience: &audience, with_nonce: false, refresh_token };
        self.issue_to_person(&person, answer, event).await
    }

    async fn find_refresh_token(
        &self,
        client: &AuthenticatedClient,
        presented: &TokenHash,
    ) -> Result<PersonGrant, RedeemError> {
        let found = self.store.refresh_token(presented).await?.ok_or(RedeemError::TokenUnknown)?;
        // Before the reuse: another client must not be able to end what it cannot use.
        if found.grant.client != client.client().id {
            return Err(RedeemError::TokenOfAnotherClient);
        }
        if found.rotated {
            return Err(self.end_family(&found.grant).await);
        }
        Ok(found.grant)
    }

    /// A new token in place of the one that a public client presented: without a secret, that it is used once is all that shows
    /// a theft (RFC 9700 section 4.14.2). Clients with a secret keep theirs, as Google lets them.
    async fn rotate(
        &self,
        client: &AuthenticatedClient,
        presented: &TokenHash,
        grant: &PersonGrant,
    ) -> Result<Option<String>, RedeemError> {
        if !client.is_public() {
            return Ok(None);
        }
        let token = self.minter.secret(REFRESH_TOKEN_PREFIX)?;
        match self.store.rotate_refresh_token(presented, &TokenHash::of(&token)).await? {
            true => Ok(Some(token)),
            // Somebody was faster with the same token, so there are two who have it.
            false => Err(self.end_family(grant).await),
        }
    }

    /// Ends everything of a grant whose refresh token two have. Which of them is its owner is not known.
    async fn end_family(&self, grant: &PersonGrant) -> RedeemError {
        match self.store.revoke_grant(&grant.id).await {
            Ok(_) => RedeemError::RefreshTokenReused,
            Err(error) => RedeemError::Store(error),
        }
    }
}

/// The scopes that are asked for, if all of them were granted.
fn narrowed(asked: &str, granted: &Scopes) -> Result<Scopes, RedeemError> {
    let asked = Scopes::parse(asked).map_err(|_| RedeemError::Scope)?;
    if asked.is_subset_of(granted) { Ok(asked) } else { Err(RedeemError::Scope) }
}
