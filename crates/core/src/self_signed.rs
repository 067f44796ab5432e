//! JWTs that a service account signed itself, or had signed for it. What `aud` and `scope` mean is up to the place that takes one.

use std::time::Duration;

use doorward_wire::jose::{ClaimError, Claims, Unverified};

use crate::account::UniqueId;
use crate::clock::{CLOCK_SKEW, Timestamp, whole_seconds};
use crate::member::Email;
use crate::snapshot::{AccountKind, KnownAccount, Snapshot};

/// The longest time from `iat` to `exp` of what an account signs itself: a bearer, or an assertion for the token endpoint.
///
/// Spec: <https://cloud.google.com/iap/docs/authentication-howto>, "Authenticating with a self-signed JWT", and
/// <https://developers.google.com/identity/protocols/oauth2/service-account>.
pub const LONGEST_LIFE: Duration = Duration::from_secs(3600);

/// Proof that an enabled account signed these claims, and that they hold now. Made by [`prove`] only.
#[derive(Debug)]
pub struct SelfSigned<'a> {
    unique_id: &'a UniqueId,
    account: &'a KnownAccount,
    claims: Claims,
    valid_until: Timestamp,
}

impl<'a> SelfSigned<'a> {
    /// The account's number.
    pub fn unique_id(&self) -> &'a UniqueId {
        self.unique_id
    }

    /// The account: a program, enabled.
    pub fn account(&self) -> &'a KnownAccount {
        self.account
    }

    /// All claims.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The first moment at which it is accepted no more: `exp` with the grace for clocks.
    pub fn valid_until(&self) -> Timestamp {
        self.valid_until
    }
}

/// Why a JWT is not proven to be an account's own, or does not hold. Its bearer holds the key, or asked for the signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelfSignedError {
    /// The same for a key that is unknown and for one that did not sign this: whether a key exists is nobody's business.
    #[error("the key is unknown or the signature does not verify")]
    Signature,
    /// A claim without which none is accepted.
    #[error("iss, sub, aud, iat or exp is missing or has the wrong type")]
    Claims,
    /// `exp`, in seconds, is more than the grace ago.
    #[error("expired at {0}")]
    Expired(i64),
    /// `iat` or `nbf`, in seconds, is more than the grace ahead.
    #[error("not valid before {0}")]
    NotYetValid(i64),
    /// More than [`LONGEST_LIFE`].
    #[error("good for {0} seconds")]
    TooLong(i64),
    /// Somebody else's key, or an account that may sign no more.
    #[error("iss and sub are not both the address of the account whose key signed, or it is gone or disabled")]
    Account,
}

/// Proves that the account which `iss` and `sub` name signed this, by the key that the header names, and that it holds at `now`.
///
/// `iss` and `sub` are both the account's address, in any case; `iat` and `exp` are whole seconds, in time, and at most
/// [`LONGEST_LIFE`] apart. The algorithm is the key's own. Costs one RSA verification.
///
/// # Errors
/// [`SelfSignedError`], of several causes the first in the order signature, time, life, account. It is then no credential.
pub fn prove<'a>(
    unverified: Unverified<'_>,
    snapshot: &'a Snapshot,
    now: Timestamp,
) -> Result<SelfSigned<'a>, SelfSignedError> {
    use SelfSignedError as E;
    let known = unverified.kid().and_then(|kid| snapshot.account_key(kid)).ok_or(E::Signature)?;
    let claims = unverified.verify(&known.key).map_err(|_| E::Signature)?;
    claims.check_time(now.seconds(), whole_seconds(CLOCK_SKEW)).map_err(|error| match error {
        ClaimError::Missing(_) => E::Claims,
        ClaimError::Expired(at) => E::Expired(at),
        ClaimError::NotYetValid(at) => E::NotYetValid(at),
    })?;
    let (Ok(issued), Ok(expires)) = (claims.seconds("iat"), claims.seconds("exp")) else { return Err(E::Claims) };
    let life = expires.saturating_sub(issued);
    if life > whole_seconds(LONGEST_LIFE) {
        return Err(E::TooLong(life));
    }
    let (Some(issuer), Some(subject)) = (claims.string("iss"), claims.string("sub")) else { return Err(E::Claims) };
    let signs_as = |account: &KnownAccount| {
        let is_its = |address: &str| address.parse::<Email>().is_ok_and(|address| address == account.email);
        account.kind == AccountKind::ServiceAccount && !account.disabled && is_its(issuer) && is_its(subject)
    };
    let entry = snapshot.account_entry(&known.account).filter(|(_, account)| signs_as(account));
    let (unique_id, account) = entry.ok_or(E::Account)?;
    Ok(SelfSigned { unique_id, account, claims, valid_until: Timestamp::from_seconds(expires) + CLOCK_SKEW })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::account::{ServiceAccount, User};
    use crate::entropy::{SystemEntropy, generate_private_key};
    use crate::keys::{KeyPurpose, KeyRing, StoredKey};
    use crate::policy::condition::{HeaderAllowList, Schema};
    use crate::resource::Project;
    use crate::settings::{Defaults, EmailClaim};
    use crate::snapshot::{Fixed, KnownKey, Update};
    use doorward_wire::jose::{Algorithm, SigningKey, TOKEN_LIMIT, VerifyingKey};
    use serde_json::{Value, json};

    const NOW: i64 = 1_800_000_000;
    const ROBOT: &str = "robot@p.iam.gserviceaccount.com";
    const RETIRED: &str = "retired@p.iam.gserviceaccount.com";
    const ALICE: &str = "alice@example.com";

    /// Accounts with these numbers, and a key of each, named by it; `9` is an account that was deleted.
    fn world(secret: &[u8]) -> Snapshot {
        let now = Timestamp::from_seconds(NOW);
        let keys = KeyPurpose::ALL.map(|purpose| StoredKey::generate(purpose, &SystemEntropy, now).unwrap());
        let program = |id: &str, email: &str, disabled| ServiceAccount {
            unique_id: UniqueId(id.to_owned()),
            email: email.parse().unwrap(),
            display_name: String::new(),
            description: String::new(),
            disabled,
        };
        let known_key = |id: &str| {
            let public = SigningKey::from_pkcs8(id, Algorithm::Rs256, secret).unwrap().public_jwk();
            let key = VerifyingKey::from_jwk(&public).unwrap();
            (id.to_owned(), Arc::new(KnownKey { account: UniqueId(id.to_owned()), key }))
        };
        let user = User { unique_id: UniqueId("3".into()), email: ALICE.parse().unwrap(), disabled: false };
        let programs = [program("1", ROBOT, false), program("2", RETIRED, true)]
            .map(|account| Update::ServiceAccount(account.unique_id.clone(), Some(account)));
        let keys_of_accounts = ["1", "2", "3", "9"].map(known_key).map(|(id, key)| Update::AccountKey(id, Some(key)));
        let fixed = Fixed {
            project: Project { id: "p".into(), number: "123".into(), ancestors: vec![] },
            schema: Arc::new(Schema::policy(HeaderAllowList::default())),
            defaults: Defaults { email_claim: EmailClaim::Required, forward_credential: false },
            keys: Arc::new(KeyRing::new(&keys).unwrap()),
            trusted_issuers: Default::default(),
        };
        let people = [Update::User(user.unique_id.clone(), Some(user))];
        Snapshot::empty(fixed).with(1, programs.into_iter().chain(people).chain(keys_of_accounts))
    }

    #[test]
    fn an_account_is_proven_by_its_own_key_in_its_own_name_for_an_hour_at_most() {
        use SelfSignedError as E;
        let secret = generate_private_key(Algorithm::Rs256).unwrap();
        let snapshot = world(&secret);
        let base = json!({"iss": ROBOT, "sub": ROBOT, "iat": NOW, "exp": NOW + 3600});
        let both = |address: &str| json!({"iss": address, "sub": address});
        #[rustfmt::skip]
        let cases = [
            ("1",    json!({}),                                       Ok(NOW + 3630)),
            ("1",    json!({"aud": 7, "scope": 7}),                   Ok(NOW + 3630)),
            ("1",    both(&ROBOT.to_uppercase()),                     Ok(NOW + 3630)),
            ("1",    json!({"iat": NOW + 30, "exp": NOW + 3630}),     Ok(NOW + 3660)),
            ("1",    json!({"iat": NOW - 3629, "exp": NOW - 29}),     Ok(NOW + 1)),
            ("1",    json!({"iat": NOW - 3630, "exp": NOW - 30}),     Err(E::Expired(NOW - 30))),
            ("1",    json!({"iat": NOW + 31}),                        Err(E::NotYetValid(NOW + 31))),
            ("1",    json!({"nbf": NOW + 31}),                        Err(E::NotYetValid(NOW + 31))),
            ("1",    json!({"exp": NOW + 3601}),                      Err(E::TooLong(3601))),
            ("1",    json!({"iat": i64::MIN, "exp": i64::MAX}),       Err(E::TooLong(i64::MAX))),
            ("1",    json!({"iat": null}),                            Err(E::Claims)),
            ("1",    json!({"exp": null}),                            Err(E::Claims)),
            ("1",    json!({"exp": (NOW + 3600).to_string()}),        Err(E::Claims)),
            ("1",    json!({"iss": null}),                            Err(E::Claims)),
            ("1",    json!({"sub": [ROBOT]}),                         Err(E::Claims)),
            ("1",    json!({"iss": ALICE, "sub": null}),              Err(E::Claims)),
            ("1",    json!({"iss": RETIRED}),                         Err(E::Account)),
            ("1",    json!({"sub": "1"}),                             Err(E::Account)),
            ("1",    both(RETIRED),                                   Err(E::Account)),
            ("2",    both(RETIRED),                                   Err(E::Account)),
            ("2",    json!({}),                                       Err(E::Account)),
            ("3",    both(ALICE),                                     Err(E::Account)),
            ("9",    json!({}),                                       Err(E::Account)),
            ("4",    json!({}),                                       Err(E::Signature)),
            ("",     json!({}),                                       Err(E::Signature)),
        ];
        let sign = |kid: &str, changes: &Value, secret: &[u8]| {
            let mut claims = base.as_object().unwrap().clone();
            for (name, value) in changes.as_object().unwrap() {
                claims.insert(name.clone(), value.clone());
            }
            claims.retain(|_, value| !value.is_null());
            SigningKey::from_pkcs8(kid, Algorithm::Rs256, secret).unwrap().sign(&claims).unwrap()
        };
        let prove = |token: &str| {
            let unverified = Unverified::parse(token, TOKEN_LIMIT, &[Algorithm::Rs256]).unwrap();
            prove(unverified, &snapshot, Timestamp::from_seconds(NOW)).map(|proven| {
                assert_eq!((proven.unique_id().0.as_str(), proven.account().email.as_str()), ("1", ROBOT));
                proven.valid_until().seconds()
            })
        };
        for (kid, changes, expected) in cases {
            assert_eq!(prove(&sign(kid, &changes, &secret)), expected, "{kid} {changes}");
        }
        let stranger = generate_private_key(Algorithm::Rs256).unwrap();
        assert_eq!(prove(&sign("1", &json!({}), &stranger)), Err(E::Signature));
    }
}
