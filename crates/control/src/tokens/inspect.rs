//! Looking at tokens: `/tokeninfo` and `/v1/userinfo`.

use std::net::IpAddr;

use doorward_core::account::UniqueId;
use doorward_core::audit::{AuditClosed, TokenEvent, TokenMethod, TokenReason};
use doorward_core::clock::{CLOCK_SKEW, whole_seconds};
use doorward_core::entropy::EntropyError;
use doorward_core::grant::{ACCESS_TOKEN_PREFIX, AccessGrant, Subject, TokenHash};
use doorward_core::keys::KeyPurpose;
use doorward_core::snapshot::{AccountKind, KnownAccount};
use doorward_core::store::StoreError;
use doorward_wire::jose::{Algorithm, TOKEN_LIMIT, Unverified};
use doorward_wire::oauth::{AccessTokenInfo, UserInfo, id_token_info};
use serde_json::{Map, Value};

use super::TokenService;
use crate::record::Refused;

/// A token to look at.
#[derive(Debug, Clone, Copy)]
pub enum Inspected<'a> {
    /// An ID token.
    IdToken(&'a str),
    /// An access token.
    AccessToken(&'a str),
    /// Either, as an `Authorization` field carries it.
    Bearer(&'a str),
}

/// What a token says.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenInfo {
    /// The claims of an ID token, as texts.
    IdToken(Map<String, Value>),
    /// Of an access token.
    AccessToken(Box<AccessTokenInfo>),
}

/// Why nothing is told of a token.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// No token was sent, or more than one.
    #[error("one token is to be sent")]
    Missing,
    /// The token is none of ours, or has ended.
    #[error("the token is none of ours, or has ended")]
    Invalid,
    /// The store failed.
    #[error("could not read tokens")]
    Store(#[from] StoreError),
    /// The event has no id.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The record cannot be written.
    #[error(transparent)]
    AuditClosed(#[from] AuditClosed),
}

impl Refused for InspectError {
    fn reason(&self) -> TokenReason {
        match self {
            InspectError::Missing => TokenReason::InvalidRequest,
            InspectError::Invalid => TokenReason::InvalidBearer,
            InspectError::Store(_) | InspectError::Entropy(_) | InspectError::AuditClosed(_) => TokenReason::Internal,
        }
    }
}

impl TokenService {
    /// What a token says, if it is one of ours and good now. Refusals are recorded.
    pub async fn token_info(&self, token: Option<Inspected<'_>>, peer: IpAddr) -> Result<TokenInfo, InspectError> {
        let mut event = self.recorder.begin(TokenMethod::TokenInfo, Some(peer))?;
        let outcome = match token {
            None => Err(InspectError::Missing),
            Some(Inspected::IdToken(token)) => self.id_token_info(token, &mut event),
            Some(Inspected::AccessToken(token)) => self.access_token_info(token, &mut event).await,
            Some(Inspected::Bearer(token)) if token.starts_with(ACCESS_TOKEN_PREFIX) => {
                self.access_token_info(token, &mut event).await
            }
            Some(Inspected::Bearer(token)) => self.id_token_info(token, &mut event),
        };
        event.issued = Some("token_info".to_owned());
        self.recorder.finish(event, outcome).await
    }

    /// Whose an access token is. Refusals are recorded.
    pub async fn user_info(&self, access_token: Option<&str>, peer: IpAddr) -> Result<UserInfo, InspectError> {
        let mut event = self.recorder.begin(TokenMethod::UserInfo, Some(peer))?;
        let outcome = match access_token {
            None => Err(InspectError::Missing),
            Some(token) => self.user_of(token, &mut event).await,
        };
        event.issued = Some("user_info".to_owned());
        self.recorder.finish(event, outcome).await
    }

    fn id_token_info(&self, token: &str, event: &mut TokenEvent) -> Result<TokenInfo, InspectError> {
        let snapshot = self.snapshots.current();
        let unverified =
            Unverified::parse(token, TOKEN_LIMIT, &[Algorithm::Rs256]).map_err(|_| InspectError::Invalid)?;
        let kid = unverified.kid().ok_or(InspectError::Invalid)?;
        let key = snapshot.keys.verifying(KeyPurpose::IdToken, kid, event.time).ok_or(InspectError::Invalid)?;
        let header = unverified.unproven_header().clone();
        let claims = unverified.verify(key).map_err(|_| InspectError::Invalid)?;
        claims.check_time(event.time.seconds(), whole_seconds(CLOCK_SKEW)).map_err(|_| InspectError::Invalid)?;
        let subject = claims.string("sub").map(|subject| UniqueId(subject.to_owned())).ok_or(InspectError::Invalid)?;
        self.enabled_account(&subject, event)?;
        if claims.string("iss") != Some(self.minter.issuer()) {
            return Err(InspectError::Invalid);
        }
        event.audience = claims.string("aud").map(str::to_owned);
        Ok(TokenInfo::IdToken(id_token_info(&header, claims.as_object())))
    }

    async fn access_token_info(&self, token: &str, event: &mut TokenEvent) -> Result<TokenInfo, InspectError> {
        let (grant, subject, account) = self.find_access_token(token, event).await?;
        let (client, access_type) = match grant.person_grant {
            // Whether the client holds a refresh token too is not written beside the access token; most do.
            Some((_, client)) => (client.0, "offline"),
            None => (subject.0.clone(), "online"),
        };
        let email = grant.scopes.contains("email").then(|| account.email.to_string());
        Ok(TokenInfo::AccessToken(Box::new(AccessTokenInfo {
            azp: client.clone(),
            aud: client,
            sub: subject.0,
            scope: grant.scopes.as_str().to_owned(),
            exp: grant.expires.seconds().to_string(),
            expires_in: grant.expires.since(event.time).as_secs().to_string(),
            email_verified: email.is_some().then(|| "true".to_owned()),
            email,
            access_type: access_type.to_owned(),
        })))
    }

    async fn user_of(&self, token: &str, event: &mut TokenEvent) -> Result<UserInfo, InspectError> {
        let (grant, subject, account) = self.find_access_token(token, event).await?;
        if !grant.scopes.tell_of_the_person() {
            return Err(InspectError::Invalid);
        }
        let told = grant.scopes.contains("email");
        Ok(UserInfo {
            sub: subject.0,
            email: told.then(|| account.email.to_string()),
            email_verified: told.then_some(true),
            hd: (told && account.kind == AccountKind::User).then(|| account.email.domain().to_owned()),
        })
    }

    /// A token of an account. One of an identity from elsewhere is for IAM only, and tells nothing here.
    async fn find_access_token(
        &self,
        token: &str,
        event: &mut TokenEvent,
    ) -> Result<(AccessGrant, UniqueId, KnownAccount), InspectError> {
        let found = self.store.access_token(&TokenHash::of(token), event.time).await?;
        let grant = found.ok_or(InspectError::Invalid)?;
        event.client = grant.person_grant.as_ref().map(|(_, client)| client.0.clone());
        event.audience = Some(grant.scopes.as_str().to_owned());
        let subject = match &grant.subject {
            Subject::Account(id) => id.clone(),
            Subject::Federated(identity) => {
                event.account = Some(identity.principal(&self.snapshots.current().project).to_string());
                return Err(InspectError::Invalid);
            }
        };
        let account = self.enabled_account(&subject, event)?;
        Ok((grant, subject, account))
    }

    /// What a token says of an account that is disabled or removed is true no more.
    fn enabled_account(&self, subject: &UniqueId, event: &mut TokenEvent) -> Result<KnownAccount, InspectError> {
        let snapshot = self.snapshots.current();
        let account = snapshot.account(subject).ok_or(InspectError::Invalid)?;
        event.account = Some(account.email.to_string());
        if account.disabled {
            return Err(InspectError::Invalid);
        }
        Ok(account.clone())
    }
}
