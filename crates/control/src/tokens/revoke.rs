//! `/revoke` (RFC 7009).

use std::net::IpAddr;

use doorward_core::audit::{TokenEvent, TokenMethod};
use doorward_core::grant::TokenHash;

use super::{RedeemError, TokenService, account_name, subject_name};

impl TokenService {
    /// Ends a refresh or access token. What a person allowed to a client ends whole, whichever of its tokens is presented.
    ///
    /// # Errors
    /// [`RedeemError::TokenUnknown`] if it is none of ours or has ended, as Google answers and RFC 7009 section 2.2 would not.
    pub async fn revoke(&self, token: &str, peer: IpAddr) -> Result<(), RedeemError> {
        let mut event = self.recorder.begin(TokenMethod::Revoke, Some(peer))?;
        let outcome = self.end(&TokenHash::of(token), &mut event).await;
        event.issued = Some("revocation".to_owned());
        self.recorder.finish(event, outcome).await
    }

    async fn end(&self, token: &TokenHash, event: &mut TokenEvent) -> Result<(), RedeemError> {
        let ended = match self.store.refresh_token(token).await? {
            Some(refresh) => {
                event.account = Some(account_name(&self.snapshots.current(), &refresh.grant.subject));
                event.client = Some(refresh.grant.client.0.clone());
                self.store.revoke_grant(&refresh.grant.id).await?
            }
            None => {
                let access = self.store.access_token(token, event.time).await?.ok_or(RedeemError::TokenUnknown)?;
                event.account = Some(subject_name(&self.snapshots.current(), &access.subject));
                match access.person_grant {
                    Some((grant, client)) => {
                        event.client = Some(client.0);
                        self.store.revoke_grant(&grant).await?
                    }
                    None => self.store.remove_access_token(token).await?,
                }
            }
        };
        // Somebody else was faster.
        if ended { Ok(()) } else { Err(RedeemError::TokenUnknown) }
    }
}
