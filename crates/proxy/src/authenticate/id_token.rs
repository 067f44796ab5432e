//! ID tokens of our own issuer: for a person or a program, good for a client id.

use doorward_core::account::UniqueId;
use doorward_core::clock::{CLOCK_SKEW, Timestamp, whole_seconds};
use doorward_core::keys::ID_TOKEN_TTL;
use doorward_core::member::Email;
use doorward_core::settings::EmailClaim;
use doorward_core::snapshot::{ProtectedResource, Snapshot};
use doorward_wire::jose::Claims;
use serde_json::Value;

use super::{AccountCaller, TokenError, time_error};

/// The caller whom the claims of an ID token name, and until when. One of our keys has verified the signature.
///
/// `aud` is the application's client id, or a client that its settings list: the own ID tokens of a listed client are accepted.
///
/// Spec: <https://cloud.google.com/iap/docs/authentication-howto>
pub(super) fn check(
    claims: &Claims,
    issuer: &str,
    resource: &ProtectedResource,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<(AccountCaller, Timestamp), TokenError> {
    if claims.string("iss") != Some(issuer) {
        return Err(TokenError::Claims);
    }
    claims.check_time(now.seconds(), whole_seconds(CLOCK_SKEW)).map_err(time_error)?;
    let (issued, expires) = (claims.seconds("iat"), claims.seconds("exp"));
    let (Ok(issued), Ok(expires)) = (issued, expires) else { return Err(TokenError::Claims) };
    // We never issue a longer one, so a longer one is not ours, whatever its signature.
    if expires.saturating_sub(issued) > whole_seconds(ID_TOKEN_TTL) {
        return Err(TokenError::Claims);
    }
    let audience = claims.string("aud").ok_or(TokenError::Claims)?;
    let settings = &*resource.settings;
    let mut accepted = std::iter::once(&resource.application.client_id).chain(&settings.programmatic_clients.value);
    if !accepted.any(|client| client.0 == audience) {
        let asked_for_itself = claims.string("azp") == Some(audience);
        let error = if asked_for_itself { TokenError::OwnClient } else { TokenError::Audience };
        return Err(error(audience.to_owned()));
    }
    let unique_id = UniqueId(claims.string("sub").ok_or(TokenError::Claims)?.to_owned());
    let account = snapshot.account(&unique_id).filter(|account| !account.disabled).ok_or(TokenError::Claims)?;
    let note = match claims.as_object().get("email") {
        Some(Value::String(email)) if email.parse::<Email>().is_ok_and(|email| email == account.email) => None,
        Some(Value::String(_)) => return Err(TokenError::Claims),
        Some(_) => return Err(TokenError::EmailMissing),
        None => match settings.email_claim.value {
            EmailClaim::Required => return Err(TokenError::EmailMissing),
            EmailClaim::Optional => Some("Google's IAP would refuse this token: it has no email claim"),
        },
    };
    if claims.as_object().get("email_verified").is_some_and(|verified| *verified != Value::Bool(true)) {
        return Err(TokenError::Claims);
    }
    let caller = AccountCaller { kind: account.kind, unique_id, email: account.email.clone(), note };
    Ok((caller, Timestamp::from_seconds(expires) + CLOCK_SKEW))
}
