//! The grant of RFC 7523: a service account's own signed statement.
//!
//! The order of the checks is Google's, as it was measured: structure, signature, `iss`, presence of `iat` and `exp`, time
//! window, scope, `aud`; then `sub` and `jti`.

use doorward_core::account::{ServiceAccount, ServiceAccountKey};
use doorward_core::audit::escaped;
use doorward_core::clock::{CLOCK_SKEW, Timestamp};
use doorward_core::keys::KeyError;
use doorward_core::member::Email;
use doorward_wire::jose::tolerant::{AssertionError, UnverifiedAssertion};
use doorward_wire::jose::{Claims, StrictNumber, VerifyingKey};
use doorward_wire::oauth::Scopes;
use serde_json::Value;

use super::{AUDIENCE_LIMIT, Authorization, RedeemError, TokenService, Wanted};

/// The longest assertion, in bytes: 16 KiB and more are refused.
const ASSERTION_LIMIT: usize = 16 * 1024 - 1;
/// The longest life of an assertion, in seconds.
const LONGEST_LIFE: i64 = 3600;
/// How far ahead `iat` may lie, in seconds: what Google accepts.
const AHEAD: i64 = 300;

/// What Google's clients write as `aud`, wherever they post: the libraries for Python and Node, the Bash script and Ruby,
/// and old key files.
const GOOGLE_TOKEN_URLS: [&str; 3] = [
    "https://oauth2.googleapis.com/token",
    "https://www.googleapis.com/oauth2/v4/token",
    "https://accounts.google.com/o/oauth2/token",
];

impl TokenService {
    /// Checks an assertion, and takes its `jti` if it has one. `account` becomes the account that it names, for the record,
    /// proven or not.
    pub(super) async fn check_assertion(
        &self,
        assertion: &str,
        now: Timestamp,
        account: &mut Option<String>,
    ) -> Result<Authorization, RedeemError> {
        let assertion = UnverifiedAssertion::parse(assertion, ASSERTION_LIMIT).map_err(|error| match error {
            AssertionError::Structure => RedeemError::Structure,
            AssertionError::Header(_) => RedeemError::Signature,
        })?;
        *account = assertion.unproven_issuer().map(|issuer| escaped(issuer.as_bytes(), 254));

        let (account, claims) = self.prove_issuer(assertion).await?;
        let expires = check_window(&claims, now)?;
        let wanted = wanted(&claims)?;
        let audience = claims.string("aud").ok_or(RedeemError::Audience)?;
        if !GOOGLE_TOKEN_URLS.contains(&audience) && !self.config.token_urls.iter().any(|url| url == audience) {
            return Err(RedeemError::Audience);
        }
        if claims.as_object().get("sub").is_some_and(|sub| email(sub).as_ref() != Some(&account.email)) {
            return Err(RedeemError::Delegation);
        }
        match claims.as_object().get("jti") {
            // An assertion without one may be used again until it ends.
            None => {}
            // RFC 7523 section 3, rule 7. It is taken last, so that nothing that is refused uses it up, and kept for as long
            // as the assertion is accepted, grace included.
            Some(Value::String(jti)) => {
                let until = Timestamp::from_seconds(expires) + CLOCK_SKEW;
                if !self.store.take_assertion_id(&account.unique_id, jti, until, now).await? {
                    return Err(RedeemError::Replayed);
                }
            }
            Some(_) => return Err(RedeemError::Structure),
        }
        Ok(Authorization { account, wanted })
    }

    /// Finds the key that made the signature, and the account in `iss` whose key it is.
    async fn prove_issuer(&self, assertion: UnverifiedAssertion<'_>) -> Result<(ServiceAccount, Claims), RedeemError> {
        let named = match assertion.unproven_issuer().and_then(|issuer| issuer.parse::<Email>().ok()) {
            Some(email) => self.store.service_account_by_email(&email).await?,
            None => None,
        };
        let (owner, claims) = match (assertion.kid(), &named) {
            (Some(kid), _) => {
                let key = self.store.service_account_key(kid).await?.ok_or(RedeemError::Signature)?;
                let claims = assertion.verify(&verifying(&key)?).map_err(|_| RedeemError::Signature)?;
                (key.account, claims)
            }
            (None, Some(account)) => {
                let keys = self.store.service_account_keys(&account.unique_id).await?;
                let keys = keys.iter().map(verifying).collect::<Result<Vec<_>, _>>()?;
                let key = keys.iter().find(|key| assertion.is_signed_by(key)).ok_or(RedeemError::Signature)?;
                (account.unique_id.clone(), assertion.verify(key).map_err(|_| RedeemError::Signature)?)
            }
            (None, None) => return Err(RedeemError::AccountNotFound),
        };
        match named {
            Some(account) if account.unique_id != owner => Err(RedeemError::Signature),
            Some(account) if !account.disabled => Ok((account, claims)),
            Some(_) | None => Err(RedeemError::AccountNotFound),
        }
    }
}

fn verifying(key: &ServiceAccountKey) -> Result<VerifyingKey, RedeemError> {
    Ok(VerifyingKey::from_jwk(&key.public).map_err(KeyError::from)?)
}

/// Checks `iat`, `exp` and, where it is present, `nbf`; gives `exp`.
fn check_window(claims: &Claims, now: Timestamp) -> Result<i64, RedeemError> {
    let seconds = |name: &str| claims.as_object().get(name).map(StrictNumber::integer_or_digits);
    let issued = seconds("iat").flatten().ok_or(RedeemError::IssuedAtMissing)?;
    let expires = seconds("exp").flatten().ok_or(RedeemError::ExpiresMissing)?;
    let starts = match seconds("nbf") {
        None => issued,
        Some(not_before) => not_before.ok_or(RedeemError::TimeWindow)?.max(issued),
    };
    let now = now.seconds();
    let skew = i64::try_from(CLOCK_SKEW.as_secs()).unwrap_or(0);
    let short_lived = issued < expires && expires.saturating_sub(issued) <= LONGEST_LIFE;
    if !short_lived || starts > now + AHEAD || expires.saturating_add(skew) <= now {
        return Err(RedeemError::TimeWindow);
    }
    Ok(expires)
}

/// What the assertion asks for. An audience wins over scopes; an empty text is the same as none.
fn wanted(claims: &Claims) -> Result<Wanted, RedeemError> {
    let text = |name: &str| match claims.as_object().get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(RedeemError::Scope),
    };
    match (text("target_audience")?, text("scope")?) {
        (Some(audience), _) if audience.chars().count() <= AUDIENCE_LIMIT => {
            Ok(Wanted::IdToken { audience: audience.to_owned() })
        }
        (None, Some(scopes)) => {
            Ok(Wanted::AccessToken { scopes: Scopes::parse(scopes).map_err(|_| RedeemError::Scope)? })
        }
        (Some(_), _) | (None, None) => Err(RedeemError::Scope),
    }
}

fn email(claim: &Value) -> Option<Email> {
    claim.as_str()?.parse().ok()
}
