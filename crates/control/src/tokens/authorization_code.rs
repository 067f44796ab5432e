//! The grant of RFC 6749 section 4.1.3, with RFC 7636: the code that a person's sign-in gave.

use aws_lc_rs::digest;
use doorward_core::audit::TokenEvent;
use doorward_core::grant::{CODE_PREFIX, Challenge, CodeGrant, TakenCode, TokenHash};
use doorward_wire::jose::encode_base64url;
use doorward_wire::oauth::AuthorizationCodeRequest;
use subtle::ConstantTimeEq as _;

use super::clients::AuthenticatedClient;
use super::person::PersonAnswer;
use super::{Issued, RedeemError, TokenService};
use crate::admin::Peer;

impl TokenService {
    pub(super) async fn redeem_code(
        &self,
        request: &AuthorizationCodeRequest,
        peer: Peer,
        event: &mut TokenEvent,
    ) -> Result<Issued, RedeemError> {
        let client = self.authenticate(&request.client, peer, event).await?;
        if !request.code.starts_with(CODE_PREFIX) {
            return Err(RedeemError::CodeMalformed);
        }
        let asked = match &request.audience {
            // Judged before the code is taken: a slip here need not cost the person another sign-in.
            Some(asked) => Some(self.audience(client.client(), Some(asked)).await?),
            None => None,
        };
        let code = self.take_code(&client, &request.code, event).await?;
        let person = self.person(&code.grant.subject, event)?;
        if request.redirect_uri.as_ref() != Some(&code.redirect_uri) {
            return Err(RedeemError::RedirectMismatch);
        }
        check_verifier(&client, code.challenge.as_ref(), request.code_verifier.as_deref())?;
        let grant = &code.grant;
        let audience = match asked {
            Some(audience) => audience,
            None => self.audience(client.client(), grant.audience.as_ref().map(|audience| &*audience.0)).await?,
        };
        let refresh_token = self.first_refresh_token(grant).await?;
        let answer =
            PersonAnswer { grant, scopes: &grant.scopes, audience: &audience, with_nonce: true, refresh_token };
        self.issue_to_person(&person, answer, event).await
    }

    /// Takes the code, before anything is made. Whoever brings one that was used has a copy of it, or its owner did not get the
    /// answer: what it gave ends, whoever has it (RFC 6749 section 10.5).
    async fn take_code(
        &self,
        client: &AuthenticatedClient,
        code: &str,
        event: &mut TokenEvent,
    ) -> Result<Box<CodeGrant>, RedeemError> {
        match self.store.take_code(&TokenHash::of(code), &client.client().id, event.time).await? {
            TakenCode::Taken(grant) => Ok(grant),
            TakenCode::Reused(grant) => {
                self.store.revoke_grant(&grant).await?;
                Err(RedeemError::CodeReused)
            }
            TakenCode::Unknown => Err(RedeemError::CodeUnknown),
        }
    }
}

/// A challenge and a verifier belong together: without the challenge, the verifier shows that somebody took the challenge out
/// of the request (RFC 9700 section 4.8.2).
fn check_verifier(
    client: &AuthenticatedClient,
    challenge: Option<&Challenge>,
    verifier: Option<&str>,
) -> Result<(), RedeemError> {
    let good = match (challenge, verifier) {
        (None, None) => !client.is_public(),
        (Some(challenge), Some(verifier)) if is_pkce_text(verifier) => fits(challenge, verifier),
        (Some(_), _) | (None, Some(_)) => false,
    };
    if good { Ok(()) } else { Err(RedeemError::Verifier) }
}

fn fits(challenge: &Challenge, verifier: &str) -> bool {
    let (expected, proven) = match challenge {
        Challenge::Plain(expected) => (expected, verifier.to_owned()),
        Challenge::S256(expected) => {
            (expected, encode_base64url(digest::digest(&digest::SHA256, verifier.as_bytes()).as_ref()))
        }
    };
    expected.as_bytes().ct_eq(proven.as_bytes()).into()
}

/// 43 to 128 unreserved characters: the form of a challenge and of a verifier (RFC 7636 sections 4.1 and 4.2).
pub(crate) fn is_pkce_text(text: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    (43..=128).contains(&text.len()) && text.bytes().all(unreserved)
}
