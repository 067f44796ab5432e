//! Which client asks: by its secret, or by its id alone if it is public.

use doorward_core::audit::TokenEvent;
use doorward_core::client::OAuthClient;
use doorward_core::grant::TokenHash;
use doorward_core::resource::ClientId;
use doorward_wire::oauth::ClientCredentials;
use subtle::ConstantTimeEq as _;

use super::audience::{Audience, AudienceError};
use super::{RedeemError, TokenService, client_name};
use crate::admin::Peer;
use crate::throttle::Guessed;

/// A client that has proven who it is, as far as its kind can. Made by [`TokenService::authenticate`] only.
pub(super) struct AuthenticatedClient(OAuthClient);

impl AuthenticatedClient {
    /// The client.
    pub(super) fn client(&self) -> &OAuthClient {
        &self.0
    }

    /// Whether it has no secret: anybody may call themselves so.
    pub(super) fn is_public(&self) -> bool {
        self.0.secret.is_none()
    }
}

impl TokenService {
    /// Proves a client that is to get tokens: by its secret, if it has one. A client that has none must not send any. What it
    /// calls itself goes into the event.
    pub(super) async fn authenticate(
        &self,
        credentials: &ClientCredentials,
        peer: Peer,
        event: &mut TokenEvent,
    ) -> Result<AuthenticatedClient, RedeemError> {
        let client = self.find_client(credentials, peer, event).await?;
        self.check_secret(&client, credentials, peer, event)?;
        Ok(AuthenticatedClient(client))
    }

    /// Finds a client that is to get nothing yet but a question for a person, for which Google's clients send no secret. One
    /// that is sent must be right.
    pub(super) async fn identify(
        &self,
        credentials: &ClientCredentials,
        peer: Peer,
        event: &mut TokenEvent,
    ) -> Result<OAuthClient, RedeemError> {
        let client = self.find_client(credentials, peer, event).await?;
        if credentials.client_secret.is_some() {
            self.check_secret(&client, credentials, peer, event)?;
        }
        Ok(client)
    }

    /// The audience that a client asks for, or that was granted, or the client itself.
    pub(super) async fn audience(&self, client: &OAuthClient, asked: Option<&str>) -> Result<Audience, RedeemError> {
        Ok(Audience::check(&*self.store, &self.snapshots, client, asked).await?)
    }

    async fn find_client(
        &self,
        credentials: &ClientCredentials,
        peer: Peer,
        event: &mut TokenEvent,
    ) -> Result<OAuthClient, RedeemError> {
        event.client = Some(client_name(&credentials.client_id));
        if let Some(client) = self.store.oauth_client(&ClientId(credentials.client_id.clone())).await? {
            return Ok(client);
        }
        // Names that nobody has are counted as one: what strangers make up must not fill the memory.
        let nobody = Guessed::ClientSecret(String::new());
        self.throttle.admit(&nobody, peer, event.time)?;
        self.throttle.failed(&nobody, peer, event.time);
        Err(RedeemError::ClientUnknown)
    }

    fn check_secret(
        &self,
        client: &OAuthClient,
        credentials: &ClientCredentials,
        peer: Peer,
        event: &TokenEvent,
    ) -> Result<(), RedeemError> {
        // An empty secret is none: several libraries send the parameter always.
        let sent = credentials.client_secret.as_deref().filter(|secret| !secret.is_empty());
        let guessed = Guessed::ClientSecret(client.id.0.clone());
        let good = match (&client.secret, sent) {
            (None, None) => true,
            (Some(secret), Some(sent)) => TokenHash::of(sent).0.as_bytes().ct_eq(secret.0.as_bytes()).into(),
            (None, Some(_)) | (Some(_), None) => false,
        };
        // The right one is taken whatever others do: it has 256 bits, and to be slow for its owner would be an attacker's success.
        if good {
            return Ok(());
        }
        self.throttle.admit(&guessed, peer, event.time)?;
        self.throttle.failed(&guessed, peer, event.time);
        Err(RedeemError::ClientSecret)
    }
}

impl From<AudienceError> for RedeemError {
    fn from(error: AudienceError) -> Self {
        match error {
            AudienceError::Unknown => RedeemError::AudienceUnknown,
            AudienceError::AnotherProject => RedeemError::AudienceOfAnotherProject,
            AudienceError::Store(error) => RedeemError::Store(error),
        }
    }
}
