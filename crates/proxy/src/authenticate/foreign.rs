//! ID tokens of trusted issuers beside ourselves: good for the audiences that the operator listed.

use std::sync::Arc;
use std::time::Duration;

use doorward_core::audit::escaped;
use doorward_core::clock::{CLOCK_SKEW, Timestamp, whole_seconds};
use doorward_core::issuer::{ForeignCaller, ForeignClaimsError, LONGEST_LIFE, TrustedIssuer};
use doorward_core::snapshot::Snapshot;
use doorward_wire::jose::{Claims, TokenKind, Unverified, VerifyingKeys};

use super::{TokenError, time_error};

/// How long a token is taken as verified before its signature is looked at again. A key that its issuer withdrew, or that is good
/// no longer, ends what it signed within this time after we know of it; and one verification in five minutes costs nothing.
const REMEMBERED_FOR: Duration = Duration::from_secs(5 * 60);

/// Why a token of a trusted issuer is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ForeignTokenError {
    /// The same for a key that is unknown and for one that did not sign this.
    #[error("the key is unknown or the signature does not verify")]
    Signature,
    #[error("typ is not JWT: an access token, a logout token or another kind")]
    Kind,
    #[error("{}", ForeignClaimsError::Event)]
    Event,
    #[error("iss, iat or exp is missing or has the wrong type")]
    Claims,
    #[error("good for {0} seconds")]
    TooLong(i64),
    #[error("{}", ForeignClaimsError::AudienceMissing)]
    AudienceMissing,
    /// `aud`, escaped and cut.
    #[error("for audience {0:?}")]
    Audience(String),
    /// `azp`, escaped and cut.
    #[error("for several audiences, and issued to {0:?}")]
    AuthorizedParty(String),
    #[error("{}", ForeignClaimsError::Subject)]
    Subject,
    #[error("{}", ForeignClaimsError::Groups)]
    Groups,
}

/// The caller whom a token names, with its claims, and until when that may be remembered. `keys` are those of this entry, found
/// without asking the token; the header's key id and algorithm choose among them, and the key says which algorithm is verified.
///
/// `email` need not be there, whatever is demanded of our own tokens: a foreign caller is named by the entry and `sub`.
///
/// Spec: <https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation>
pub(super) fn check(
    unverified: Unverified<'_>,
    issuer: &Arc<TrustedIssuer>,
    keys: &VerifyingKeys,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<(ForeignCaller, Claims, Timestamp), TokenError> {
    use ForeignTokenError as E;
    let refused = |error| TokenError::Foreign { issuer: issuer.id.clone(), error };
    let key = unverified
        .kid()
        .and_then(|kid| keys.find_for(kid, unverified.algorithm()))
        .ok_or_else(|| refused(E::Signature))?;
    let kind = unverified.kind();
    let claims = unverified.verify(key).map_err(|_| refused(E::Signature))?;
    match kind {
        TokenKind::Jwt => {}
        // Who can get an access token (RFC 9068 section 4) or a logout token is not who it names.
        TokenKind::AccessToken | TokenKind::Other => return Err(refused(E::Kind)),
    }
    let expires = check_claims(&claims, issuer, now, refused)?;
    let caller = issuer.caller(&claims, |email| snapshot.is_ours(email)).map_err(|error| {
        refused(match error {
            ForeignClaimsError::Subject => E::Subject,
            ForeignClaimsError::Groups => E::Groups,
            ForeignClaimsError::AudienceMissing => E::AudienceMissing,
            ForeignClaimsError::Audience(audience) => E::Audience(escaped(audience.as_bytes(), 256)),
            ForeignClaimsError::AuthorizedParty(party) => E::AuthorizedParty(escaped(party.as_bytes(), 256)),
            ForeignClaimsError::Event => E::Event,
        })
    })?;
    Ok((caller, claims, (expires + CLOCK_SKEW).min(now + REMEMBERED_FOR)))
}

/// Issuer, times and life. Gives `exp`.
fn check_claims(
    claims: &Claims,
    issuer: &TrustedIssuer,
    now: Timestamp,
    refused: impl Fn(ForeignTokenError) -> TokenError,
) -> Result<Timestamp, TokenError> {
    use ForeignTokenError as E;
    if claims.string("iss") != Some(&issuer.issuer) {
        return Err(refused(E::Claims));
    }
    claims.check_time(now.seconds(), whole_seconds(CLOCK_SKEW)).map_err(|error| match time_error(error) {
        TokenError::Claims => refused(E::Claims),
        other => other,
    })?;
    let (issued, expires) = (claims.seconds("iat"), claims.seconds("exp"));
    let (Ok(issued), Ok(expires)) = (issued, expires) else { return Err(refused(E::Claims)) };
    let life = expires.saturating_sub(issued);
    if life > whole_seconds(LONGEST_LIFE) {
        return Err(refused(E::TooLong(life)));
    }
    Ok(Timestamp::from_seconds(expires))
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use doorward_core::entropy::generate_private_key;
    use doorward_core::issuer::{OwnNames, TrustedIssuers};
    use doorward_core::keys::KeyPurpose;
    use doorward_core::outbound::{FetchError, FixedIssuerKeys, IssuerKeysError};
    use doorward_core::policy::request::RequestContext;
    use doorward_core::policy::{Permission, Question};
    use doorward_wire::headers::ASSERTION_ISSUER;
    use doorward_wire::jose::{Algorithm, SigningKey, encode_base64url};
    use http::HeaderMap;
    use serde_json::{Value, json};

    use super::super::{
        Authenticated, Authenticator, Basis, BroughtKeys, Caller, MissingKeys, Proven, Undecided, Unproven, find_caller,
    };
    use super::*;
    use crate::refusal::Refusal;
    use crate::testing::{CLIENT_ID, ISSUER, NOW, TestWorld, at_once, entry, granting, judged};

    const CORP: &str = "https://corp.test";
    const OTHER: &str = "https://other.test";
    /// Stands for Google: Google's own name is ours here.
    const GOOGLE: &str = "http://127.0.0.1:9000";

    /// A proxy that trusts `corp` with two domains, `other` with one, and `google`, which is Google's own and has one. `corp` signs
    /// by `corp-rs` and `corp-es`, the others by `other-es` and `google-es`; and `other` publishes keys of its own under the names
    /// of those of `corp`.
    struct Scene {
        world: TestWorld,
        keys: Arc<FixedIssuerKeys>,
        authenticator: Authenticator,
        rsa: Vec<u8>,
        corp: Vec<u8>,
        other: Vec<u8>,
    }

    impl Scene {
        fn new() -> Self {
            Self::with(vec![])
        }

        fn with(more: Vec<TrustedIssuer>) -> Self {
            let entries = [
                entry("corp", &["corp.test", "example.com"]),
                entry("other", &["other.test"]),
                TrustedIssuer {
                    issuer: GOOGLE.to_owned(),
                    google: true,
                    insecure_loopback: true,
                    ..entry("google", &["hosted.test"])
                },
            ];
            let own = OwnNames { issuers: &[], project_id: "test-project" };
            let list = TrustedIssuers::new(entries.into_iter().chain(more), own).unwrap();
            let keys = Arc::new(FixedIssuerKeys::default());
            let scene = Scene {
                world: TestWorld::new(&[]).trusting(list),
                authenticator: Authenticator::new(ISSUER.to_owned(), keys.clone()),
                keys,
                rsa: generate_private_key(Algorithm::Rs256).unwrap(),
                corp: generate_private_key(Algorithm::Es256).unwrap(),
                other: generate_private_key(Algorithm::Es256).unwrap(),
            };
            scene.publish("corp", &["corp-rs", "corp-es"]);
            scene.publish("other", &["other-es", "other-under-corp-es"]);
            scene.publish("google", &["google-es"]);
            scene
        }

        /// A key by its name in the tests; two have the name of another in the header.
        fn key(&self, name: &str) -> SigningKey {
            let (kid, algorithm, der) = match name {
                "corp-rs" => ("corp-rs", Algorithm::Rs256, &self.rsa),
                "corp-es" => ("corp-es", Algorithm::Es256, &self.corp),
                "corp-es-under-corp-rs" => ("corp-rs", Algorithm::Es256, &self.corp),
                "corp-rs-under-corp-es" => ("corp-es", Algorithm::Rs256, &self.rsa),
                "corp-under-other-es" => ("other-es", Algorithm::Es256, &self.corp),
                "other-es" => ("other-es", Algorithm::Es256, &self.other),
                "other-under-corp-es" => ("corp-es", Algorithm::Es256, &self.other),
                "google-es" => ("google-es", Algorithm::Es256, &self.other),
                "new" => ("new", Algorithm::Es256, &self.corp),
                "unknown" => ("unknown", Algorithm::Es256, &self.corp),
                name => panic!("{name} is no key"),
            };
            SigningKey::from_pkcs8(kid, algorithm, der).unwrap()
        }

        fn publish(&self, id: &str, names: &[&str]) {
            let published: Vec<_> = names.iter().map(|name| self.key(name).public_jwk()).collect();
            let keys = VerifyingKeys::from_jwks(&published).unwrap();
            self.keys.publish(&format!("trustedIssuers/{id}"), Ok(Arc::new(keys)));
        }

        fn sign(&self, key: &str, claims: &Value) -> String {
            self.key(key).sign(claims.as_object().unwrap()).unwrap()
        }

        /// The verdict, after waiting for the keys that it needs.
        fn at(&self, token: &str, now: i64) -> Result<Arc<Proven>, Unproven> {
            let (site, mut brought) = (self.world.site(), BroughtKeys::new());
            loop {
                let basis = Basis { brought: &brought, ..self.world.basis(now) };
                match self.authenticator.verify(token, &site, "/", basis) {
                    Err(Unproven::Missing(missing)) => at_once(self.authenticator.bring(missing, &mut brought)),
                    verdict => return verdict,
                }
            }
        }

        fn caller(&self, token: &str) -> Result<Caller, TokenError> {
            judged(self.at(token, NOW)).map(|proven| proven.caller.clone())
        }

        /// The caller as `ID/SUB`, and every member but the two that all have.
        fn verdict(&self, token: &str) -> Result<String, TokenError> {
            self.caller(token).map(|caller| match &caller {
                Caller::Account(_) => caller.member(),
                Caller::Foreign(foreign) => {
                    let id = foreign.issuer.id.as_str();
                    let members: Vec<String> = foreign.members.iter().map(ToString::to_string).collect();
                    let [first, rest @ .., last] = &members[..] else { panic!("{members:?}") };
                    assert_eq!(first, &format!("principal://doorward/trustedIssuers/{id}/subject/{}", foreign.subject));
                    assert_eq!(last, &format!("principalSet://doorward/trustedIssuers/{id}/*"));
                    let named = foreign.email.as_ref().is_some_and(|email| rest[0].ends_with(email.as_str()));
                    assert_eq!(named, !rest.is_empty());
                    [&[format!("{id}/{}", foreign.subject)], rest].concat().join(" ")
                }
            })
        }
    }

    fn claims(issuer: &str, changes: Value) -> Value {
        let audience = match issuer {
            GOOGLE => "for-google".to_owned(),
            issuer => format!("for-{}", issuer.trim_start_matches("https://").trim_end_matches(".test")),
        };
        let mut claims = json!({"iss": issuer, "aud": audience, "sub": "1001", "iat": NOW - 10, "exp": NOW + 3590});
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        claims
    }

    fn refused(id: &str, error: ForeignTokenError) -> TokenError {
        TokenError::Foreign { issuer: id.parse().unwrap(), error }
    }

    #[test]
    fn a_foreign_token_is_accepted_only_if_every_claim_holds() {
        use ForeignTokenError as F;
        use TokenError as E;
        let scene = Scene::new();
        let good = || Ok("corp/1001".to_owned());
        let wrong = |error| Err(refused("corp", error));
        let audience = |text: &str| wrong(F::Audience(text.to_owned()));
        let day = 24 * 3600;
        #[rustfmt::skip]
        let cases = [
            (json!({}),                                             good()),
            (json!({"aud": ["x", "for-corp"]}),                     good()),
            (json!({"azp": "anything", "email": 7, "nonce": []}),   good()),
            (json!({"sub": "repo:org/app:ref"}),                    Ok("corp/repo:org/app:ref".to_owned())),
            (json!({"sub": "CN=Ann Lee"}),                          Ok("corp/CN=Ann Lee".to_owned())),
            // Times.
            (json!({"iat": NOW + 30, "exp": NOW + 60}),             good()),
            (json!({"iat": NOW - 3629, "exp": NOW - 29}),           good()),
            (json!({"iat": NOW, "exp": NOW + day}),                 good()),
            (json!({"iat": NOW, "exp": NOW + day + 1}),             wrong(F::TooLong(day + 1))),
            (json!({"exp": i64::MAX}),                              wrong(F::TooLong(i64::MAX - NOW + 10))),
            (json!({"iat": i64::MIN, "exp": i64::MAX}),             wrong(F::TooLong(i64::MAX))),
            (json!({"iat": NOW - 3630, "exp": NOW - 30}),           Err(E::Expired(NOW - 30))),
            (json!({"iat": NOW + 31, "exp": NOW + 60}),             Err(E::NotYetValid(NOW + 31))),
            (json!({"nbf": NOW + 30}),                              good()),
            (json!({"nbf": NOW + 31}),                              Err(E::NotYetValid(NOW + 31))),
            (json!({"nbf": "soon"}),                                wrong(F::Claims)),
            (json!({"exp": null}),                                  wrong(F::Claims)),
            (json!({"exp": (NOW + 60).to_string()}),                wrong(F::Claims)),
            (json!({"exp": 1e30}),                                  wrong(F::Claims)),
            (json!({"iat": null}),                                  wrong(F::Claims)),
            // Audiences.
            (json!({"aud": null}),                                  wrong(F::AudienceMissing)),
            (json!({"aud": 7}),                                     wrong(F::AudienceMissing)),
            (json!({"aud": {"for-corp": "for-corp"}}),              wrong(F::AudienceMissing)),
            (json!({"aud": ["for-corp", 7]}),                       wrong(F::AudienceMissing)),
            (json!({"aud": []}),                                    audience("")),
            (json!({"aud": ""}),                                    audience("")),
            (json!({"aud": "for-other"}),                           audience("for-other")),
            (json!({"aud": "FOR-CORP"}),                            audience("FOR-CORP")),
            (json!({"aud": "for-corp for-other"}),                  audience("for-corp for-other")),
            (json!({"aud": CLIENT_ID}),                             audience(CLIENT_ID)),
            (json!({"aud": "http://app.test/*"}),                   audience("http://app.test/*")),
            (json!({"aud": "a\r\nb"}),                              audience("a\\r\\nb")),
            (json!({"aud": ["x", "for-corp"], "azp": "for-corp"}),  good()),
            (json!({"aud": ["x", "for-corp"], "azp": "x\n"}),       wrong(F::AuthorizedParty("x\\n".to_owned()))),
            (json!({"aud": ["x", "for-corp"], "azp": 7}),           wrong(F::AuthorizedParty(String::new()))),
            // What somebody did.
            (json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}), wrong(F::Event)),
            (json!({"events": []}),                                 wrong(F::Event)),
            // Subjects.
            (json!({"sub": null}),                                  wrong(F::Subject)),
            (json!({"sub": 1001}),                                  wrong(F::Subject)),
            (json!({"sub": ["1001"]}),                              wrong(F::Subject)),
            (json!({"sub": ""}),                                    wrong(F::Subject)),
            (json!({"sub": " 1001"}),                               wrong(F::Subject)),
            (json!({"sub": "1001 "}),                               wrong(F::Subject)),
            (json!({"sub": "1001\u{1}"}),                           wrong(F::Subject)),
            (json!({"sub": "1001\r\nx-goog-a: b"}),                 wrong(F::Subject)),
            (json!({"sub": "\u{430}lice"}),                         wrong(F::Subject)),
            (json!({"sub": "1".repeat(256)}),                       wrong(F::Subject)),
            // Another spelling of the issuer is another issuer: none.
            (json!({"iss": "https://corp.test/"}),                  Err(E::Algorithm)),
            (json!({"iss": "https://CORP.test"}),                   Err(E::Algorithm)),
            (json!({"iss": "corp.test"}),                           Err(E::Algorithm)),
            (json!({"iss": " https://corp.test"}),                  Err(E::Algorithm)),
            (json!({"iss": [CORP]}),                                Err(E::Algorithm)),
            (json!({"iss": null}),                                  Err(E::Algorithm)),
        ];
        for (changes, expected) in cases {
            assert_eq!(scene.verdict(&scene.sign("corp-es", &claims(CORP, changes.clone()))), expected, "{changes}");
        }
    }

    #[test]
    fn an_address_counts_only_where_its_issuer_may_vouch_for_it() {
        let scene = Scene::new();
        let verified = |email: &str| json!({"email": email, "email_verified": true});
        let with = |verified: Value| json!({"email": "bob@corp.test", "email_verified": verified});
        let bob = "corp/1001 user:bob@corp.test";
        let program = "google/1001 serviceAccount:x@else.iam.gserviceaccount.com";
        #[rustfmt::skip]
        let cases = [
            (CORP,   verified("bob@corp.test"),                            bob),
            (CORP,   verified("BOB@Corp.Test"),                            bob),
            (CORP,   verified("carol@example.com"),                        "corp/1001 user:carol@example.com"),
            // Not verified.
            (CORP,   with(json!(null)),                                    "corp/1001"),
            (CORP,   json!({"email": "bob@corp.test"}),                    "corp/1001"),
            (CORP,   with(json!(false)),                                   "corp/1001"),
            (CORP,   with(json!("true")),                                  "corp/1001"),
            (CORP,   with(json!(1)),                                       "corp/1001"),
            (CORP,   with(json!([true])),                                  "corp/1001"),
            // People and programs of ours, of another issuer, of nobody.
            (CORP,   verified("alice@example.com"),                        "corp/1001"),
            (CORP,   verified("ALICE@EXAMPLE.COM"),                        "corp/1001"),
            (CORP,   verified("robot@p.iam.gserviceaccount.com"),          "corp/1001"),
            (CORP,   verified("new@test-project.iam.gserviceaccount.com"), "corp/1001"),
            (CORP,   verified("x@else.iam.gserviceaccount.com"),           "corp/1001"),
            (CORP,   verified("bob@other.test"),                           "corp/1001"),
            (OTHER,  verified("bob@corp.test"),                            "other/1001"),
            (OTHER,  verified("alice@example.com"),                        "other/1001"),
            (CORP,   verified("bob@sub.corp.test"),                        "corp/1001"),
            (CORP,   verified("bob@evilcorp.test"),                        "corp/1001"),
            (CORP,   verified("bob@corp.test.evil.test"),                  "corp/1001"),
            // Google's own issuer vouches for programs of others, and for people only where it was given their domain.
            (GOOGLE, verified("x@else.iam.gserviceaccount.com"),           program),
            (GOOGLE, verified("robot@p.iam.gserviceaccount.com"),          "google/1001"),
            (GOOGLE, verified("new@test-project.iam.gserviceaccount.com"), "google/1001"),
            (GOOGLE, verified("NEW@Test-Project.iam.gserviceaccount.com"), "google/1001"),
            (GOOGLE, verified("ann@gmail.com"),                            "google/1001"),
            (GOOGLE, verified("ann@hosted.test"),                          "google/1001"),
            (GOOGLE, json!({"email": "ann@hosted.test", "email_verified": true, "hd": "hosted.test"}), "google/1001 user:ann@hosted.test"),
            (GOOGLE, json!({"email": "ann@hosted.test", "email_verified": true, "hd": "evil.test"}),   "google/1001"),
            (GOOGLE, verified("x@gserviceaccount.com"),                    "google/1001"),
            (GOOGLE, json!({"email": "x@else.iam.gserviceaccount.com"}),   "google/1001"),
            // Odd ones.
            (CORP,   verified("a@b@corp.test"),                            "corp/1001"),
            (CORP,   verified("alice@example.com@corp.test"),              "corp/1001"),
            (CORP,   verified("bob@corp.test\u{1}"),                       "corp/1001"),
            (CORP,   verified("bob\u{1}@corp.test"),                       "corp/1001"),
            (CORP,   verified("b\u{43e}b@corp.test"),                      "corp/1001"),
            (CORP,   verified("bob@c\u{43e}rp.test"),                      "corp/1001"),
            (CORP,   verified("bob@\u{212a}orp.test"),                     "corp/1001"),
            (CORP,   verified(" bob@corp.test"),                           "corp/1001"),
            (CORP,   verified("bob@corp.test\n"),                          "corp/1001"),
            (CORP,   verified("bob@corp.test."),                           "corp/1001"),
            (CORP,   verified("<bob@corp.test>"),                          "corp/1001"),
            (CORP,   verified("alice@example.com,bob@corp.test"),          "corp/1001"),
            (CORP,   verified("@corp.test"),                               "corp/1001"),
            (CORP,   verified("corp.test"),                                "corp/1001"),
            (CORP,   verified(""),                                         "corp/1001"),
            (CORP,   json!({"email": 7, "email_verified": true}),          "corp/1001"),
            (CORP,   json!({"email": ["bob@corp.test"], "email_verified": true}), "corp/1001"),
        ];
        for (issuer, changes, expected) in cases {
            let key = HashMap::from([(CORP, "corp-es"), (OTHER, "other-es"), (GOOGLE, "google-es")])[issuer];
            let token = scene.sign(key, &claims(issuer, changes.clone()));
            assert_eq!(scene.verdict(&token).as_deref(), Ok(expected), "{issuer} {changes}");
        }
    }

    #[test]
    fn whatever_one_issuer_may_say_another_says_in_vain() {
        use ForeignTokenError as F;
        let scene = Scene::new();
        let verified = |sub: &str, email: &str| json!({"sub": sub, "email": email, "email_verified": true});
        let fixtures = [
            json!({"sub": "1001"}),
            json!({"sub": "2001"}),
            json!({"sub": "alice@example.com"}),
            json!({"sub": "corp/1001"}),
            json!({"sub": "principal://doorward/trustedIssuers/corp/subject/1001"}),
            json!({"sub": "accounts.google.com:1001"}),
            json!({"sub": "*"}),
            json!({"sub": "1/../../../corp/subject/1001"}),
            verified("1001", "bob@corp.test"),
            verified("2", "bob@corp.test"),
            verified("bob@corp.test", "bob@corp.test"),
            verified("3", "carol@example.com"),
        ];
        let members = |caller: &Caller| -> HashSet<String> {
            match caller {
                Caller::Account(_) => panic!("an account"),
                Caller::Foreign(foreign) => foreign.members.iter().map(ToString::to_string).collect(),
            }
        };
        for fixture in fixtures {
            let of_corp = claims(CORP, fixture.clone());
            let genuine = scene.caller(&scene.sign("corp-es", &of_corp)).unwrap();
            assert_eq!(scene.caller(&scene.sign("corp-rs", &of_corp)), Ok(genuine.clone()), "by either key");
            // The whole of it, under corp's name: no key of other's is asked.
            for key in ["other-es", "other-under-corp-es", "google-es"] {
                assert_eq!(
                    scene.caller(&scene.sign(key, &of_corp)),
                    Err(refused("corp", F::Signature)),
                    "{key} {fixture}"
                );
            }
            // Under other's own name, for corp's audience.
            let audience = F::Audience("for-corp".to_owned());
            let renamed = claims(OTHER, json!({"aud": "for-corp"}));
            assert_eq!(scene.caller(&scene.sign("other-es", &renamed)), Err(refused("other", audience)));
            // Signed by corp, under other's name.
            for key in ["corp-es", "corp-rs", "corp-under-other-es"] {
                let token = scene.sign(key, &claims(OTHER, fixture.clone()));
                assert_eq!(scene.caller(&token), Err(refused("other", F::Signature)), "{key} {fixture}");
            }
            // All that is left to other: callers of its own, who share no name with corp's, nor with an account of ours.
            let of_other = scene.caller(&scene.sign("other-es", &claims(OTHER, fixture.clone()))).unwrap();
            assert!(members(&of_other).is_disjoint(&members(&genuine)), "{of_other:?}");
            assert_eq!(members(&of_other).len(), 2, "the principal and the set: {of_other:?}");
        }
    }

    #[test]
    fn the_key_is_one_of_the_entrys_and_the_algorithm_is_the_keys_own() {
        use ForeignTokenError as F;
        use TokenError as E;
        let scene = Scene::new();
        let good = claims(CORP, json!({}));
        let part = |value: &Value| encode_base64url(value.to_string().as_bytes());
        let token = scene.sign("corp-es", &good);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (_, payload) = signed.split_once('.').unwrap();
        let public = scene.key("corp-rs").public_jwk();
        let under = |header: Value| {
            let input = format!("{}.{payload}", part(&header));
            let signature = scene.key("corp-es").sign_bytes(input.as_bytes()).unwrap();
            format!("{input}.{}", encode_base64url(&signature))
        };
        let hmac = {
            let input = format!("{}.{payload}", part(&json!({"alg": "HS256", "kid": "corp-rs"})));
            let secret =
                aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, public.n.as_deref().unwrap().as_bytes());
            format!("{input}.{}", encode_base64url(aws_lc_rs::hmac::sign(&secret, input.as_bytes()).as_ref()))
        };
        let unsigned = || Err(refused("corp", F::Signature));
        let es256 = |more: (&str, Value)| under(json!({"alg": "ES256", "kid": "corp-es", more.0: more.1}));
        #[rustfmt::skip]
        let cases = [
            ("by hand",               under(json!({"alg": "ES256", "kid": "corp-es"})),           Ok("corp/1001".to_owned())),
            ("RS256",                 scene.sign("corp-rs", &good),                               Ok("corp/1001".to_owned())),
            ("alg of another key",    scene.sign("corp-es-under-corp-rs", &good),                 unsigned()),
            ("the other way",         scene.sign("corp-rs-under-corp-es", &good),                 unsigned()),
            ("typ JWT",               scene.sign("corp-es", &good),                               Ok("corp/1001".to_owned())),
            ("typ jwt",               es256(("typ", json!("jwt"))),                               Ok("corp/1001".to_owned())),
            ("typ application/jwt",   es256(("typ", json!("application/JWT"))),                   Ok("corp/1001".to_owned())),
            ("an access token",       es256(("typ", json!("at+jwt"))),                            Err(refused("corp", F::Kind))),
            ("a longer spelling",     es256(("typ", json!("application/at+jwt"))),                Err(refused("corp", F::Kind))),
            ("a logout token",        es256(("typ", json!("logout+jwt"))),                        Err(refused("corp", F::Kind))),
            ("typ empty",             es256(("typ", json!(""))),                                  Err(refused("corp", F::Kind))),
            ("typ no text",           es256(("typ", json!(7))),                                   Err(E::Signature)),
            ("no kid",                under(json!({"alg": "ES256"})),                             unsigned()),
            ("kid unknown",           scene.sign("unknown", &good),                               unsigned()),
            ("kid empty",             under(json!({"alg": "ES256", "kid": ""})),                  unsigned()),
            ("kid a number",          under(json!({"alg": "ES256", "kid": 1})),                   Err(E::Signature)),
            ("other claims",          format!("{}.{}.{signature}", signed.split_once('.').unwrap().0, part(&claims(CORP, json!({"sub": "2"})))), unsigned()),
            ("HS256 by a public key", hmac,                                                       Err(E::Algorithm)),
            ("none",                  format!("{}.{payload}.", part(&json!({"alg": "none"}))),    Err(E::Algorithm)),
            ("RS512",                 under(json!({"alg": "RS512", "kid": "corp-rs"})),           Err(E::Algorithm)),
            ("jku",                   es256(("jku", json!("https://corp.test/keys"))),            Err(E::Signature)),
            ("jwk",                   es256(("jwk", serde_json::to_value(&public).unwrap())),     Err(E::Signature)),
            ("x5u",                   es256(("x5u", json!("https://corp.test/keys"))),            Err(E::Signature)),
            ("x5c",                   es256(("x5c", json!([]))),                                  Err(E::Signature)),
            ("our key, its name",     scene.world.sign(KeyPurpose::IdToken, &good),               unsigned()),
            ("our header key",        scene.world.sign(KeyPurpose::Assertion, &good),             unsigned()),
            ("an account's key",      scene.world.self_sign("robot-key", &good),                  unsigned()),
        ];
        for (name, token, expected) in cases {
            assert_eq!(scene.verdict(&token), expected, "{name}");
        }
    }

    #[test]
    fn of_two_keys_with_one_id_the_one_of_the_tokens_algorithm_is_tried() {
        for published in [["corp-rs", "corp-es-under-corp-rs"], ["corp-es-under-corp-rs", "corp-rs"]] {
            let scene = Scene::new();
            scene.publish("corp", &published);
            for key in published {
                let token = scene.sign(key, &claims(CORP, json!({})));
                assert_eq!(scene.verdict(&token).as_deref(), Ok("corp/1001"), "{key} of {published:?}");
            }
        }
    }

    #[test]
    fn what_claims_to_be_ours_is_never_looked_up_whatever_the_list_says() {
        let ours = TrustedIssuer { issuer: ISSUER.to_owned(), ..entry("ours", &["p.test"]) };
        let header = TrustedIssuer { issuer: ASSERTION_ISSUER.to_owned(), ..entry("header", &[]) };
        let scene = Scene::with(vec![ours, header]);
        scene.publish("ours", &["corp-rs", "corp-es"]);
        scene.publish("header", &["corp-rs", "corp-es"]);
        let robot = json!({"iss": ISSUER, "aud": CLIENT_ID, "email": "robot@p.iam.gserviceaccount.com"});
        let robot = claims(CORP, robot);
        let of_the_list = claims(CORP, json!({"iss": ISSUER, "aud": "for-ours"}));
        let as_header = claims(CORP, json!({"iss": ASSERTION_ISSUER, "aud": "for-header"}));
        #[rustfmt::skip]
        let cases = [
            (scene.world.sign(KeyPurpose::IdToken, &robot),       Ok("serviceAccount:robot@p.iam.gserviceaccount.com".to_owned())),
            (scene.world.sign(KeyPurpose::IdToken, &of_the_list), Err(TokenError::Audience("for-ours".to_owned()))),
            (scene.sign("corp-rs", &robot),                       Err(TokenError::Signature)),
            (scene.sign("corp-rs", &of_the_list),                 Err(TokenError::Signature)),
            (scene.sign("corp-es", &of_the_list),                 Err(TokenError::Algorithm)),
            (scene.sign("corp-rs", &as_header),                   Err(TokenError::Signature)),
            (scene.sign("corp-es", &as_header),                   Err(TokenError::Assertion)),
        ];
        for (token, expected) in cases {
            assert_eq!(scene.verdict(&token), expected);
        }
        assert_eq!(scene.keys.fetches(), 0);
    }

    #[test]
    fn a_remembered_token_costs_no_look_at_keys_and_ends_with_its_time_or_soon_after_its_key() {
        let scene = Scene::new();
        let long = scene.sign("corp-es", &claims(CORP, json!({})));
        let short = scene.sign("corp-es", &claims(CORP, json!({"exp": NOW + 60})));
        let name = |verified: Result<Arc<Proven>, Unproven>| verified.map(|it| it.caller.shown().into_owned());
        let known = || Ok("principal://doorward/trustedIssuers/corp/subject/1001".to_owned());
        let unsigned = || Err(Unproven::Token(refused("corp", ForeignTokenError::Signature)));
        assert_eq!(name(scene.at(&long, NOW)), known());
        assert_eq!(name(scene.at(&short, NOW)), known());
        assert_eq!(scene.keys.fetches(), 1, "the second finds them at hand");
        assert_eq!(name(scene.at(&short, NOW + 89)), known());
        assert_eq!(scene.at(&short, NOW + 90), Err(Unproven::Token(TokenError::Expired(NOW + 60))));

        // The issuer is gone. What is at hand serves on, also when the signature is looked at anew.
        let gone = IssuerKeysError::Fetch { what: "the keys", cause: FetchError::TooSlow };
        scene.keys.publish("trustedIssuers/corp", Err(gone.clone()));
        assert_eq!(name(scene.at(&long, NOW + 301)), known());
        scene.keys.expire("trustedIssuers/corp");
        assert_eq!(name(scene.at(&long, NOW + 600)), known(), "for five minutes from when they were last good");
        let unavailable = Unproven::Keys { entry: "trustedIssuers/corp".to_owned(), cause: gone };
        assert_eq!(scene.at(&long, NOW + 601), Err(unavailable));
        assert_eq!(scene.keys.fetches(), 2);

        // The issuer is back, and soon withdraws the key for another.
        scene.publish("corp", &["corp-rs", "corp-es"]);
        assert_eq!(name(scene.at(&long, NOW + 700)), known());
        scene.publish("corp", &["new"]);
        let fresh = scene.sign("new", &claims(CORP, json!({})));
        assert_eq!(name(scene.at(&fresh, NOW + 701)), known(), "an unknown key id is asked for");
        assert_eq!(name(scene.at(&long, NOW + 999)), known());
        assert_eq!(scene.at(&long, NOW + 1000), unsigned());
        assert_eq!(scene.at(&long, NOW + 1001), unsigned(), "and a refusal is not remembered as anything else");
    }

    #[test]
    fn a_token_that_cannot_be_judged_is_refused_wherever_it_stands_and_whoever_else_is_named() {
        let scene = Scene::new();
        scene.keys.publish("trustedIssuers/corp", Err(IssuerKeysError::Waiting));
        let unknown = scene.sign("corp-es", &claims(CORP, json!({})));
        let good = scene.sign("other-es", &claims(OTHER, json!({})));
        let bad = scene.sign("corp-es", &claims(OTHER, json!({})));
        #[rustfmt::skip]
        let cases = [
            // Proxy-Authorization, Authorization => who
            (None,           Some(&good),    "other"),
            (None,           Some(&unknown), "keys of trustedIssuers/corp"),
            (None,           Some(&bad),     "bad credential"),
            (Some(&good),    Some(&unknown), "other"),
            (Some(&bad),     Some(&good),    "other"),
            (Some(&bad),     Some(&unknown), "keys of trustedIssuers/corp"),
            (Some(&bad),     None,           "nobody"),
            (Some(&unknown), None,           "keys of trustedIssuers/corp"),
            (Some(&unknown), Some(&good),    "keys of trustedIssuers/corp"),
        ];
        for (at, (proxy_authorization, authorization, expected)) in cases.into_iter().enumerate() {
            let mut headers = HeaderMap::new();
            let sent = [("proxy-authorization", proxy_authorization), ("authorization", authorization)];
            for (name, token) in sent.into_iter().filter_map(|(name, token)| Some((name, token?))) {
                headers.insert(name, format!("Bearer {token}").parse().unwrap());
            }
            let (site, mut brought) = (scene.world.site(), BroughtKeys::new());
            let found = loop {
                let basis = Basis { brought: &brought, ..scene.world.basis(NOW) };
                match find_caller(&scene.authenticator, &headers, "/", &site, basis) {
                    Err(Undecided::Missing(missing)) => at_once(scene.authenticator.bring(missing, &mut brought)),
                    found => break found,
                }
            };
            let who = match found {
                Ok(Authenticated::Nobody { .. }) => "nobody".to_owned(),
                Ok(Authenticated::Caller { proven, .. }) => match &proven.caller {
                    Caller::Account(_) => "account".to_owned(),
                    Caller::Foreign(foreign) => foreign.issuer.id.as_str().to_owned(),
                },
                Err(Undecided::Refused(Refusal::KeysUnavailable { entry, .. })) => format!("keys of {entry}"),
                Err(Undecided::Refused(Refusal::BadCredential { .. })) => "bad credential".to_owned(),
                Err(other) => panic!("{other:?}"),
            };
            assert_eq!(who, expected, "row {at}");
        }
    }

    #[test]
    fn a_request_waits_for_two_key_documents_at_most_and_for_none_twice() {
        let scene = Scene::new();
        let token = scene.sign("corp-es", &claims(CORP, json!({})));
        let unknown = scene.sign("unknown", &claims(CORP, json!({})));
        let (site, source) = (scene.world.site(), |id: &str| entry(id, &[]).key_source());
        let other = |kid: &str| MissingKeys { source: source("other"), kid: kid.to_owned() };
        let of_corp = |kid: &str| MissingKeys { source: source("corp"), kid: kid.to_owned() };
        let keys_of_corp = |cause| Unproven::Keys { entry: "trustedIssuers/corp".to_owned(), cause };
        let down = || IssuerKeysError::Fetch { what: "the keys", cause: FetchError::TooSlow };
        let empty = || Arc::new(VerifyingKeys::default());
        let unsigned = || Unproven::Token(refused("corp", ForeignTokenError::Signature));
        #[rustfmt::skip]
        let cases = [
            // Waited for so far => why there is no verdict yet, or none
            (&token,   vec![],                                                    Unproven::Missing(of_corp("corp-es"))),
            (&token,   vec![(other("a"), Ok(empty()))],                           Unproven::Missing(of_corp("corp-es"))),
            (&token,   vec![(of_corp("unknown"), Ok(empty()))],                   Unproven::Missing(of_corp("corp-es"))),
            (&token,   vec![(other("a"), Ok(empty())), (other("b"), Err(down()))], keys_of_corp(IssuerKeysError::Waiting)),
            (&token,   vec![(of_corp("corp-es"), Err(down()))],                   keys_of_corp(down())),
            (&unknown, vec![(of_corp("unknown"), Ok(empty()))],                   unsigned()),
        ];
        for (token, waited, expected) in cases {
            let mut brought = BroughtKeys::new();
            waited.into_iter().for_each(|(missing, outcome)| brought.add(missing, outcome));
            let basis = Basis { brought: &brought, ..scene.world.basis(NOW) };
            let verified = scene.authenticator.verify(token, &site, "/", basis);
            assert_eq!(verified, Err(expected), "{brought:?}");
        }
        assert_eq!(scene.keys.fetches(), 0, "looking waits for nothing");
    }

    #[test]
    fn policies_admit_a_foreign_caller_by_principal_set_and_address_and_not_as_an_authenticated_user() {
        let scene = Scene::new();
        let token = |key: &str, issuer: &str, email: &str| {
            scene.sign(key, &claims(issuer, json!({"email": email, "email_verified": true})))
        };
        let callers = [
            ("corp, no address", scene.sign("corp-es", &claims(CORP, json!({})))),
            ("corp, bob", token("corp-es", CORP, "bob@corp.test")),
            ("corp, as alice", token("corp-es", CORP, "alice@example.com")),
            ("corp, as robot", token("corp-es", CORP, "robot@p.iam.gserviceaccount.com")),
            ("other, as bob", token("other-es", OTHER, "bob@corp.test")),
            ("google, robot", token("google-es", GOOGLE, "x@else.iam.gserviceaccount.com")),
        ];
        let columns = [
            "principal://doorward/trustedIssuers/corp/subject/1001",
            "principalSet://doorward/trustedIssuers/corp/*",
            "user:bob@corp.test",
            "domain:corp.test",
            "user:alice@example.com",
            "domain:example.com",
            "serviceAccount:robot@p.iam.gserviceaccount.com",
            "serviceAccount:x@else.iam.gserviceaccount.com",
            "allAuthenticatedUsers",
            "allUsers",
        ];
        let mut picture = String::new();
        for (name, token) in callers {
            let caller = scene.caller(&token).unwrap();
            let marks = columns.map(|member| {
                let snapshot = scene.world.snapshot.with(2, [granting(&[member])]);
                let lineage = snapshot.lineage(&scene.world.site().resource.lineage.resource);
                let context = &RequestContext::new(Timestamp::from_seconds(NOW));
                let question =
                    Question { principal: caller.principal(), permission: Permission::AccessViaIap, context };
                if snapshot.decide(&lineage, &question).is_allowed() { '+' } else { '-' }
            });
            picture += &format!("{name:<18}{}\n", marks.iter().collect::<String>());
        }
        #[rustfmt::skip]
        let expected = [
            "corp, no address  ++-------+",
            "corp, bob         +++------+",
            "corp, as alice    ++-------+",
            "corp, as robot    ++-------+",
            "other, as bob     ---------+",
            "google, robot     -------+-+",
        ];
        assert_eq!(picture, expected.join("\n") + "\n");
    }
}
