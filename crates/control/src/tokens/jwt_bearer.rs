//! The grant of RFC 7523: a service account's own signed statement.
//!
//! The order of the checks is Google's, as it was measured: structure, signature, `iss`, presence of `iat` and `exp`, time
//! window, scope, `aud`; then `sub` and `jti`.

use doorward_core::account::UniqueId;
use doorward_core::audit::{TokenEvent, escaped};
use doorward_core::clock::{CLOCK_SKEW, Timestamp, whole_seconds};
use doorward_core::grant::{ACCESS_TOKEN_TTL, Subject};
use doorward_core::member::Email;
use doorward_core::self_signed::LONGEST_LIFE;
use doorward_core::snapshot::Snapshot;
use doorward_wire::jose::tolerant::{AssertionError, UnverifiedAssertion};
use doorward_wire::jose::{Claims, StrictNumber, TOKEN_LIMIT};
use doorward_wire::oauth::{JwtBearerRequest, Scopes};
use serde_json::Value;

use super::{ACCESS_TOKEN_EXPIRES_IN, AUDIENCE_LIMIT, IdToken, Issued, Program, RedeemError, TokenService};

/// How far ahead `iat` may lie, in seconds: what Google accepts.
const AHEAD: i64 = 300;

/// What Google's clients write as `aud`, wherever they post: the libraries for Python and Node, the Bash script and Ruby,
/// and old key files.
const GOOGLE_TOKEN_URLS: [&str; 3] = [
    "https://oauth2.googleapis.com/token",
    "https://www.googleapis.com/oauth2/v4/token",
    "https://accounts.google.com/o/oauth2/token",
];

/// What an assertion entitles to: made by checking it.
struct Authorization {
    account: Assertor,
    wanted: Wanted,
}

/// The account that signed an assertion, enabled.
struct Assertor {
    unique_id: UniqueId,
    email: Email,
}

enum Wanted {
    IdToken { audience: String },
    AccessToken { scopes: Scopes },
}

impl TokenService {
    /// Which account the assertion names, proven or not, goes into the event.
    pub(super) async fn redeem_assertion(
        &self,
        request: &JwtBearerRequest,
        event: &mut TokenEvent,
    ) -> Result<Issued, RedeemError> {
        let Authorization { account, wanted } = self.check_assertion(&request.assertion, event).await?;
        let now = event.time;
        match wanted {
            Wanted::IdToken { audience } => {
                let account = Program { unique_id: &account.unique_id, email: &account.email };
                let token = self.minter.id_token(&IdToken::Assertion { account }, &audience, now)?;
                event.issued = Some("id_token".to_owned());
                event.audience = Some(escaped(audience.as_bytes(), AUDIENCE_LIMIT));
                Ok(Issued::IdToken(token))
            }
            Wanted::AccessToken { scopes } => {
                let subject = Subject::Account(account.unique_id.clone());
                let made = self.minter.access_token(subject, &scopes, None, ACCESS_TOKEN_TTL, now).await?;
                event.issued = Some("access_token".to_owned());
                event.audience = Some(scopes.as_str().to_owned());
                Ok(Issued::AccessToken { token: made.token, expires_in: ACCESS_TOKEN_EXPIRES_IN })
            }
        }
    }

    /// Checks an assertion, and takes its `jti` if it has one.
    async fn check_assertion(&self, assertion: &str, event: &mut TokenEvent) -> Result<Authorization, RedeemError> {
        let now = event.time;
        let assertion = UnverifiedAssertion::parse(assertion, TOKEN_LIMIT).map_err(|error| match error {
            AssertionError::Structure => RedeemError::Structure,
            AssertionError::Header(_) => RedeemError::Signature,
        })?;
        event.account = assertion.unproven_issuer().map(|issuer| escaped(issuer.as_bytes(), 254));

        // Keys and accounts are in the snapshot, and whoever removes one puts that in force before they answer: a token for an
        // assertion without `jti` costs no call of the store.
        let (account, claims) = prove_issuer(assertion, &self.snapshots.current())?;
        let expires = check_window(&claims, now)?;
        let wanted = wanted(&claims)?;
        let audience = claims.string("aud").ok_or(RedeemError::Audience)?;
        if !GOOGLE_TOKEN_URLS.contains(&audience) && !self.token_urls.iter().any(|url| url == audience) {
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
}

/// Finds the key that made the signature, and the account in `iss` whose key it is.
fn prove_issuer(assertion: UnverifiedAssertion<'_>, snapshot: &Snapshot) -> Result<(Assertor, Claims), RedeemError> {
    let issuer = assertion.unproven_issuer().and_then(|issuer| issuer.parse::<Email>().ok());
    let named = issuer.and_then(|email| snapshot.service_account(&email));
    let known = match (assertion.kid(), named) {
        (Some(kid), _) => snapshot.account_key(kid),
        // Node's and Ruby's clients do not say which key: it may be any of the account's.
        (None, Some((id, _))) => snapshot.keys_of(id).iter().find(|known| assertion.is_signed_by(&known.key)),
        (None, None) => return Err(RedeemError::AccountNotFound),
    };
    let known = known.ok_or(RedeemError::Signature)?;
    let claims = assertion.verify(&known.key).map_err(|_| RedeemError::Signature)?;
    match named {
        Some((id, _)) if *id != known.account => Err(RedeemError::Signature),
        Some((id, account)) if !account.disabled => {
            Ok((Assertor { unique_id: id.clone(), email: account.email.clone() }, claims))
        }
        Some(_) | None => Err(RedeemError::AccountNotFound),
    }
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
    let short_lived = issued < expires && expires.saturating_sub(issued) <= whole_seconds(LONGEST_LIFE);
    if !short_lived || starts > now + AHEAD || expires.saturating_add(whole_seconds(CLOCK_SKEW)) <= now {
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
