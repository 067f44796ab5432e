//! The page on which a person lets a device in (RFC 8628 section 3.3).

use doorward_core::audit::{AuditClosed, TokenEvent, TokenMethod, TokenReason};
use doorward_core::client::OAuthClient;
use doorward_core::entropy::{EntropyError, random_base64url};
use doorward_core::grant::{DeviceGrant, GrantId, PersonGrant, TokenHash};
use doorward_core::store::StoreError;

use super::{Person, SignIn};
use crate::admin::Peer;
use crate::record::Refused;
use crate::throttle::{Guessed, Throttled};
use crate::tokens::canonical_user_code;

/// What a device asks of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceQuestion {
    /// The client's name for people.
    pub client_name: String,
    /// What it asks for, as scopes.
    pub scopes: String,
    /// The code in its one spelling, `XXXX-XXXX`, for the person to compare.
    pub user_code: String,
}

/// Why a device was not let in or turned away.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// No device waits with this code, or no more.
    #[error("no device waits with this code")]
    UnknownCode,
    /// Too many wrong codes.
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// The store failed.
    #[error("could not read or write what devices ask")]
    Store(#[from] StoreError),
    /// No name for the grant could be made.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The record cannot be written.
    #[error(transparent)]
    AuditClosed(#[from] AuditClosed),
}

impl Refused for DeviceError {
    fn reason(&self) -> TokenReason {
        match self {
            DeviceError::UnknownCode => TokenReason::UnknownGrant,
            DeviceError::Throttled(_) => TokenReason::Throttled,
            DeviceError::Store(_) | DeviceError::Entropy(_) | DeviceError::AuditClosed(_) => TokenReason::Internal,
        }
    }
}

/// A device that waits: found by the code that it shows.
struct Waiting {
    user_code: String,
    grant: DeviceGrant,
    client: OAuthClient,
}

impl SignIn {
    /// The question of the device that shows this code, however it is spelled.
    pub async fn device_question(&self, user_code: &str, peer: impl Into<Peer>) -> Result<DeviceQuestion, DeviceError> {
        let peer = peer.into();
        let mut event = self.recorder.begin(TokenMethod::DeviceAuthorization, Some(peer.address))?;
        match self.waiting(user_code, peer, &mut event).await {
            Ok(Waiting { user_code, grant, client }) => {
                let (client_name, scopes) = (client.display_name, grant.scopes.as_str().to_owned());
                Ok(DeviceQuestion { client_name, scopes, user_code })
            }
            // Only to be shown a question changes nothing and is not recorded; to guess at one is.
            Err(error) => self.recorder.finish(event, Err(error)).await,
        }
    }

    /// Writes down what a person decided. Their decision is recorded either way.
    pub async fn decide_device(
        &self,
        user_code: &str,
        person: &Person,
        allow: bool,
        peer: impl Into<Peer>,
    ) -> Result<(), DeviceError> {
        let peer = peer.into();
        let mut event = self.recorder.begin(TokenMethod::DeviceAuthorization, Some(peer.address))?;
        event.account = Some(person.email().to_string());
        let outcome = match self.waiting(user_code, peer, &mut event).await {
            Ok(waiting) => self.decide(waiting, person, allow, &mut event).await,
            Err(error) => Err(error),
        };
        self.recorder.finish(event, outcome).await
    }

    async fn decide(
        &self,
        waiting: Waiting,
        person: &Person,
        allow: bool,
        event: &mut TokenEvent,
    ) -> Result<(), DeviceError> {
        let now = event.time;
        let Waiting { user_code, grant: asked, .. } = waiting;
        event.issued = Some(if allow { "device_permission" } else { "device_denial" }.to_owned());
        event.audience = Some(asked.scopes.as_str().to_owned());
        let grant = PersonGrant {
            id: GrantId(random_base64url(&*self.entropy, 16)?),
            client: asked.client,
            subject: person.subject().clone(),
            scopes: asked.scopes,
            audience: None,
            nonce: None,
            // A device that asked once should not have to ask every hour.
            offline: true,
            cred_ref: false,
            auth_time: person.auth_time(),
            created: now,
        };
        let grant = allow.then_some(&grant);
        match self.store.decide_device(&TokenHash::of(&user_code), grant, now).await? {
            true => Ok(()),
            false => Err(DeviceError::UnknownCode),
        }
    }

    /// The device that shows this code. Guesses are slowed for all codes together; a right one changes nothing in that, or an
    /// own device would be a way to go on guessing.
    async fn waiting(&self, user_code: &str, peer: Peer, event: &mut TokenEvent) -> Result<Waiting, DeviceError> {
        let found = match canonical_user_code(user_code) {
            Some(user_code) => self.find_waiting(user_code, event).await?,
            None => None,
        };
        // Nothing is awaited from here on, so that no crowd of guesses is let in at once.
        self.throttle.admit(&Guessed::UserCode, peer, event.time)?;
        let waiting = found.ok_or_else(|| {
            self.throttle.failed(&Guessed::UserCode, peer, event.time);
            DeviceError::UnknownCode
        })?;
        event.client = Some(waiting.client.id.0.clone());
        Ok(waiting)
    }

    async fn find_waiting(&self, user_code: String, event: &TokenEvent) -> Result<Option<Waiting>, StoreError> {
        let Some(grant) = self.store.device_grant(&TokenHash::of(&user_code), event.time).await? else {
            return Ok(None);
        };
        let client = self.store.oauth_client(&grant.client).await?;
        Ok(client.map(|client| Waiting { user_code, grant, client }))
    }
}
