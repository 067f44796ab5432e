//! What a person allowed a client, as tokens: the same for every grant that leads to it.

use doorward_core::account::UniqueId;
use doorward_core::audit::TokenEvent;
use doorward_core::grant::{ACCESS_TOKEN_TTL, PersonGrant, REFRESH_TOKEN_PREFIX, Subject, TokenHash};
use doorward_core::member::Email;
use doorward_core::snapshot::AccountKind;
use doorward_wire::oauth::Scopes;

use super::audience::Audience;
use super::{ACCESS_TOKEN_EXPIRES_IN, IdToken, Issued, RedeemError, TokenService, account_name};

/// A person who may get tokens now: made by [`TokenService::person`] only.
pub(super) struct GoodPerson {
    email: Email,
}

/// What is to be made.
pub(super) struct PersonAnswer<'a> {
    pub(super) grant: &'a PersonGrant,
    /// Those that were granted, or fewer.
    pub(super) scopes: &'a Scopes,
    pub(super) audience: &'a Audience,
    /// Only the first ID token after a sign-in answers the client's nonce.
    pub(super) with_nonce: bool,
    pub(super) refresh_token: Option<String>,
}

impl TokenService {
    /// The person, if they may get tokens now. Whoever it is goes into the event.
    pub(super) fn person(&self, subject: &UniqueId, event: &mut TokenEvent) -> Result<GoodPerson, RedeemError> {
        let snapshot = self.snapshots.current();
        event.account = Some(account_name(&snapshot, subject));
        let account = snapshot.account(subject).filter(|account| account.kind == AccountKind::User);
        let account = account.filter(|account| !account.disabled).ok_or(RedeemError::TokenUnknown)?;
        Ok(GoodPerson { email: account.email.clone() })
    }

    /// Makes the tokens. `scopes` are those of the access token. The ID token tells what the whole grant allows: gcloud and others
    /// want one in every answer, whatever they ask the access token to be for.
    pub(super) async fn issue_to_person(
        &self,
        person: &GoodPerson,
        answer: PersonAnswer<'_>,
        event: &mut TokenEvent,
    ) -> Result<Issued, RedeemError> {
        let PersonAnswer { grant, scopes, audience, with_nonce, refresh_token } = answer;
        let (now, audience) = (event.time, audience.client().0.as_str());
        let subject = Subject::Account(grant.subject.clone());
        let made = self.minter.access_token(subject, scopes, Some(grant), ACCESS_TOKEN_TTL, now).await?;
        let access_token = made.token;
        let id_token = grant.scopes.tell_of_the_person().then(|| {
            let kind = IdToken::Person { grant, email: &person.email, access_token: &access_token, with_nonce };
            self.minter.id_token(&kind, audience, now)
        });
        let id_token = id_token.transpose()?;
        event.issued = Some(names(refresh_token.is_some(), id_token.is_some()));
        event.audience = Some(if id_token.is_some() { audience } else { scopes.as_str() }.to_owned());
        let scopes = scopes.clone();
        Ok(Issued::Person { access_token, expires_in: ACCESS_TOKEN_EXPIRES_IN, refresh_token, scopes, id_token })
    }

    /// The first refresh token of a grant, stored before this returns; none if none was asked for.
    pub(super) async fn first_refresh_token(&self, grant: &PersonGrant) -> Result<Option<String>, RedeemError> {
        if !grant.offline {
            return Ok(None);
        }
        let token = self.minter.secret(REFRESH_TOKEN_PREFIX)?;
        match self.store.add_refresh_token(&TokenHash::of(&token), &grant.id).await? {
            true => Ok(Some(token)),
            false => Err(RedeemError::TokenUnknown),
        }
    }
}

/// What was issued, for the record.
fn names(refresh_token: bool, id_token: bool) -> String {
    let all = [("access_token", true), ("refresh_token", refresh_token), ("id_token", id_token)];
    let made: Vec<&str> = all.into_iter().filter(|(_, made)| *made).map(|(name, _)| name).collect();
    made.join(" ")
}
