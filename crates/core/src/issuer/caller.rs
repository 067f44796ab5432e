//! What a token of a trusted issuer becomes.

use std::sync::Arc;

use doorward_wire::jose::Claims;
use serde_json::Value;

use super::TrustedIssuer;
use crate::member::{Email, Member};

/// The domain of consumer accounts of which Google is the mail provider, and so knows whose address is whose.
const GOOGLE_MAIL: &str = "gmail.com";

/// The longest `sub` that is accepted, in bytes (OpenID Connect Core 1.0 section 2).
pub const SUBJECT_LIMIT: usize = 255;
/// The most groups that a token may list.
pub const GROUPS_LIMIT: usize = 400;

/// A caller whom a trusted issuer vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignCaller {
    /// The entry.
    pub issuer: Arc<TrustedIssuer>,
    /// `sub`.
    pub subject: String,
    /// The address, if the entry may vouch for it.
    pub email: Option<Email>,
    /// The members that it matches, the most specific first: its principal, its address if it has one here, its groups, and everybody
    /// of its issuer. Never `domain:`, which is of people that we know ourselves.
    pub members: Arc<[Member]>,
}

/// Why the claims of a foreign token, whose signature was verified, name no caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForeignClaimsError {
    /// `sub` is missing, too long, or holds characters that cannot be shown.
    #[error("sub is missing, longer than {SUBJECT_LIMIT} bytes, or not visible ASCII without spaces at its ends")]
    Subject,
    /// The claim of groups lists more than [`GROUPS_LIMIT`], or something that is no name. A caller without the groups that a deny
    /// rule names would pass it, so such a token names nobody.
    #[error("the claim of groups lists more than {GROUPS_LIMIT}, or something that is no name")]
    Groups,
    /// `aud` is missing or has the wrong type.
    #[error("aud is missing or has the wrong type")]
    AudienceMissing,
    /// `aud` is not one of the entry's. Escaped for the record.
    #[error("for audience {0:?}")]
    Audience(String),
    /// `aud` has several audiences, and `azp`, for which of them it was issued, is not one of the entry's. Escaped for the record.
    #[error("for several audiences, and issued to {0:?}")]
    AuthorizedParty(String),
    /// The claims are those of a security event, such as a logout: not of somebody who signed in.
    #[error("a logout token or another security event")]
    Event,
}

impl TrustedIssuer {
    /// The caller whom these claims name. The signature was verified by a key of this entry, and the times hold.
    ///
    /// The address counts only if `email_verified` is `true`, it is one that we compare, the entry lists its domain, and it is
    /// nobody's here (`is_ours`): an issuer can vouch for its own people and never for ours. Of Google's own people it counts only
    /// where Google gives it out: anybody may have a Google account with an address of elsewhere, which they could once read mail
    /// at. Otherwise the caller is there without it.
    ///
    /// Spec: <https://developers.google.com/identity/gsi/web/guides/verify-google-id-token>,
    /// <https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation> (4 and 5, `azp`), and RFC 8417 section 2.2 (`events`).
    pub fn caller(
        self: &Arc<Self>,
        claims: &Claims,
        is_ours: impl Fn(&Email) -> bool,
    ) -> Result<ForeignCaller, ForeignClaimsError> {
        use ForeignClaimsError as E;
        // By the same keys, to the same audience, and with a `sub`: only `events` tells it from an ID token (OpenID Connect
        // Back-Channel Logout 1.0 section 2.4).
        if claims.as_object().contains_key("events") {
            return Err(E::Event);
        }
        let audiences: Vec<&str> = match claims.as_object().get("aud") {
            Some(Value::String(audience)) => vec![audience],
            Some(Value::Array(list)) => {
                list.iter().map(Value::as_str).collect::<Option<_>>().ok_or(E::AudienceMissing)?
            }
            _ => return Err(E::AudienceMissing),
        };
        let accepts = |audience: &str| self.audiences.iter().any(|accepted| accepted == audience);
        if !audiences.iter().any(|audience| accepts(audience)) {
            return Err(E::Audience(audiences.join(" ")));
        }
        match claims.as_object().get("azp") {
            Some(Value::String(party)) if audiences.len() > 1 && !accepts(party) => {
                return Err(E::AuthorizedParty(party.clone()));
            }
            Some(Value::String(_)) | None => {}
            Some(_) if audiences.len() > 1 => return Err(E::AuthorizedParty(String::new())),
            Some(_) => {}
        }
        let subject = claims.string("sub").filter(|subject| is_subject(subject)).ok_or(E::Subject)?.to_owned();
        let member = match self.verified_email(claims).filter(|email| !is_ours(email)) {
            None => None,
            Some(email) if email.domain().ends_with(".gserviceaccount.com") => {
                self.google.then_some((email.clone(), Member::ServiceAccount(email)))
            }
            Some(email)
                if self.email_domains.iter().any(|domain| domain == email.domain()) && self.gives(&email, claims) =>
            {
                Some((email.clone(), Member::User(email)))
            }
            Some(_) => None,
        };
        let mut members = vec![Member::Principal(format!("{}/subject/{subject}", self.principals()))];
        let email = member.map(|(email, member)| {
            members.push(member);
            email
        });
        let groups = self.groups(claims)?;
        members.extend(groups.map(|group| Member::PrincipalSet(format!("{}/group/{group}", self.principals()))));
        members.push(Member::PrincipalSet(format!("{}/*", self.principals())));
        Ok(ForeignCaller { issuer: self.clone(), subject, email, members: members.into() })
    }

    /// The names in the claim of groups: a text, or a list of texts. None at all if there is no such claim.
    fn groups<'c>(&self, claims: &'c Claims) -> Result<impl Iterator<Item = &'c str> + use<'c>, ForeignClaimsError> {
        let claim = self.groups_claim.as_ref().and_then(|name| claims.as_object().get(name));
        let listed: &[Value] = match claim {
            None => &[],
            Some(Value::Array(listed)) => listed,
            Some(one) => std::slice::from_ref(one),
        };
        let plain = |name: &str| !name.is_empty() && name.len() <= SUBJECT_LIMIT && !name.chars().any(char::is_control);
        if listed.len() > GROUPS_LIMIT || !listed.iter().all(|name| name.as_str().is_some_and(plain)) {
            return Err(ForeignClaimsError::Groups);
        }
        Ok(listed.iter().filter_map(Value::as_str))
    }

    fn verified_email(&self, claims: &Claims) -> Option<Email> {
        let verified = claims.as_object().get("email_verified") == Some(&Value::Bool(true));
        claims.string("email").filter(|_| verified)?.parse().ok()
    }

    /// Whether this issuer is the one who gives out such an address, and so knows whose it is today. Of an issuer of the operator's
    /// own that was said with its domains. A Google account belongs to who once read a mail; but not one of an organisation, whose
    /// domain is then `hd`.
    fn gives(&self, email: &Email, claims: &Claims) -> bool {
        let hosted = || claims.string("hd").is_some_and(|domain| domain.eq_ignore_ascii_case(email.domain()));
        !self.google || email.domain() == GOOGLE_MAIL || hosted()
    }
}

impl ForeignCaller {
    /// As records name it and policies may: the principal.
    pub fn principal(&self) -> String {
        // The first member is always there.
        self.members.first().map_or_else(String::new, ToString::to_string)
    }
}

/// It stands in a header, in records and in the names of principals: visible ASCII only, so that two that look alike are one. Spaces
/// stand inside only: readers of a header cut them off at its ends (RFC 9110 section 5.5), and two subjects would become one.
fn is_subject(text: &str) -> bool {
    let visible = text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    !text.is_empty() && text.len() <= SUBJECT_LIMIT && visible && text.trim_matches(' ') == text
}

#[cfg(test)]
mod tests {
    use super::super::{GOOGLE, entry};
    use super::*;
    use doorward_wire::jose::{Algorithm, SigningKey, Unverified, VerifyingKey};
    use serde_json::json;

    use crate::entropy::generate_private_key;

    /// The claims as a verified token carries them.
    fn verified(claims: serde_json::Value) -> Claims {
        let der = generate_private_key(Algorithm::Es256).unwrap();
        let key = SigningKey::from_pkcs8("k", Algorithm::Es256, &der).unwrap();
        let token = key.sign(claims.as_object().unwrap()).unwrap();
        let public = VerifyingKey::from_jwk(&key.public_jwk()).unwrap();
        Unverified::parse(&token, 16 * 1024, &[Algorithm::Es256]).unwrap().verify(&public).unwrap()
    }

    #[test]
    fn a_foreign_token_becomes_a_principal_and_an_address_only_where_the_operator_said_so() {
        let plain = Arc::new(entry("corp", "https://corp.example", &["corp.example"]));
        let google =
            Arc::new(TrustedIssuer { google: true, ..entry("google", GOOGLE, &["corp.example", "gmail.com"]) });
        let ours = |email: &Email| {
            email.as_str() == "carol@corp.example" || email.domain() == "doorward-dev.iam.gserviceaccount.com"
        };
        let (p, s) = ("principal://doorward/trustedIssuers", "principalSet://doorward/trustedIssuers");
        let corp = || vec![format!("{p}/corp/subject/7"), format!("{s}/corp/*")];
        let with = |member: &str| vec![corp()[0].clone(), member.to_owned(), corp()[1].clone()];
        let of_google = |members: &[&str]| {
            let named = [format!("{p}/google/subject/7"), format!("{s}/google/*")];
            [&[named[0].as_str()], members, &[named[1].as_str()]].concat().into_iter().map(str::to_owned).collect()
        };
        let ann = ["user:ann@corp.example"];
        let robot = "r@p.iam.gserviceaccount.com";
        #[rustfmt::skip]
        let cases: Vec<(&Arc<TrustedIssuer>, serde_json::Value, Vec<String>)> = vec![
            (&plain,  json!({"email": "ann@corp.example", "email_verified": true}),        with("user:ann@corp.example")),
            (&plain,  json!({"email": "Ann@Corp.Example", "email_verified": true}),        with("user:ann@corp.example")),
            (&plain,  json!({}),                                                           corp()),
            (&plain,  json!({"email": "ann@corp.example"}),                                corp()),
            (&plain,  json!({"email": "ann@corp.example", "email_verified": false}),       corp()),
            (&plain,  json!({"email": "ann@corp.example", "email_verified": "true"}),      corp()),
            (&plain,  json!({"email": "ann@corp.example", "email_verified": 1}),           corp()),
            (&plain,  json!({"email": "carol@corp.example", "email_verified": true}),      corp()),
            (&plain,  json!({"email": "ann@other.example", "email_verified": true}),       corp()),
            (&plain,  json!({"email": "ann@sub.corp.example", "email_verified": true}),    corp()),
            (&plain,  json!({"email": "a@b@corp.example", "email_verified": true}),        corp()),
            (&plain,  json!({"email": "ann\u{1}@corp.example", "email_verified": true}),      corp()),
            (&plain,  json!({"email": "änn@corp.example", "email_verified": true}),        corp()),
            (&plain,  json!({"email": ["ann@corp.example"], "email_verified": true}),      corp()),
            (&plain,  json!({"email": robot, "email_verified": true}),                     corp()),
            (&google, json!({"email": robot, "email_verified": true}),                     of_google(&["serviceAccount:r@p.iam.gserviceaccount.com"])),
            (&google, json!({"email": robot}),                                             of_google(&[])),
            (&google, json!({"email": "x@doorward-dev.iam.gserviceaccount.com", "email_verified": true}), of_google(&[])),
            // Of an organisation's own accounts only: anybody can have a Google account with an address of elsewhere.
            (&google, json!({"email": "ann@corp.example", "email_verified": true}),        of_google(&[])),
            (&google, json!({"email": "ann@corp.example", "email_verified": true, "hd": "corp.example"}), of_google(&ann)),
            (&google, json!({"email": "Ann@Corp.Example", "email_verified": true, "hd": "Corp.Example"}), of_google(&ann)),
            (&google, json!({"email": "ann@corp.example", "hd": "corp.example"}),          of_google(&[])),
            (&google, json!({"email": "ann@corp.example", "email_verified": true, "hd": "evil.example"}), of_google(&[])),
            (&google, json!({"email": "ann@corp.example", "email_verified": true, "hd": "gmail.com"}), of_google(&[])),
            (&google, json!({"email": "ann@corp.example", "email_verified": true, "hd": "sub.corp.example"}), of_google(&[])),
            (&google, json!({"email": "ann@corp.example", "email_verified": true, "hd": ""}), of_google(&[])),
            (&google, json!({"email": "ann@corp.example", "email_verified": true, "hd": ["corp.example"]}), of_google(&[])),
            (&google, json!({"email": "carol@corp.example", "email_verified": true, "hd": "corp.example"}), of_google(&[])),
            (&google, json!({"email": "ann@other.example", "email_verified": true, "hd": "other.example"}), of_google(&[])),
            (&google, json!({"email": "ann@gmail.com", "email_verified": true}),           of_google(&["user:ann@gmail.com"])),
            (&google, json!({"email": "ann@gmail.com", "email_verified": false}),          of_google(&[])),
            (&plain,  json!({"email": "ann@corp.example", "email_verified": true, "hd": "evil.example"}), with("user:ann@corp.example")),
        ];
        for (issuer, mut claims, expected) in cases {
            let object = claims.as_object_mut().unwrap();
            object.insert("sub".into(), "7".into());
            object.insert("aud".into(), "wiki".into());
            let caller = issuer.caller(&verified(claims.clone()), ours).unwrap();
            let members: Vec<String> = caller.members.iter().map(ToString::to_string).collect();
            assert_eq!(members, expected, "{claims}");
        }
    }

    #[test]
    fn a_foreign_token_is_for_an_audience_of_its_entry_and_names_its_subject_plainly() {
        use ForeignClaimsError as E;
        let issuer = Arc::new(entry("corp", "https://corp.example", &[]));
        let long = "s".repeat(SUBJECT_LIMIT);
        #[rustfmt::skip]
        let cases = [
            (json!({"aud": "wiki", "sub": "7"}),                     Ok(())),
            (json!({"aud": ["other", "blog"], "sub": "7"}),          Ok(())),
            (json!({"aud": "wiki", "sub": long}),                    Ok(())),
            (json!({"aud": "other", "sub": "7"}),                    Err(E::Audience("other".into()))),
            (json!({"aud": "Wiki", "sub": "7"}),                     Err(E::Audience("Wiki".into()))),
            (json!({"aud": [], "sub": "7"}),                         Err(E::Audience("".into()))),
            (json!({"aud": ["wiki", 7], "sub": "7"}),                Err(E::AudienceMissing)),
            (json!({"aud": {"wiki": true}, "sub": "7"}),             Err(E::AudienceMissing)),
            (json!({"sub": "7"}),                                    Err(E::AudienceMissing)),
            (json!({"aud": "wiki"}),                                 Err(E::Subject)),
            (json!({"aud": "wiki", "sub": ""}),                      Err(E::Subject)),
            // To whom it was issued counts where the audience does not say it.
            (json!({"aud": "wiki", "sub": "7", "azp": "other"}),     Ok(())),
            (json!({"aud": ["wiki"], "sub": "7", "azp": "other"}),   Ok(())),
            (json!({"aud": "wiki", "sub": "7", "azp": 7}),           Ok(())),
            (json!({"aud": ["other", "wiki"], "sub": "7", "azp": "wiki"}), Ok(())),
            (json!({"aud": ["other", "wiki"], "sub": "7", "azp": "blog"}), Ok(())),
            (json!({"aud": ["other", "wiki"], "sub": "7", "azp": "other"}), Err(E::AuthorizedParty("other".into()))),
            (json!({"aud": ["wiki", "blog"], "sub": "7", "azp": "evil"}), Err(E::AuthorizedParty("evil".into()))),
            (json!({"aud": ["wiki", "wiki"], "sub": "7", "azp": "WIKI"}), Err(E::AuthorizedParty("WIKI".into()))),
            (json!({"aud": ["other", "wiki"], "sub": "7", "azp": ["wiki"]}), Err(E::AuthorizedParty("".into()))),
            (json!({"aud": ["other", "wiki"], "sub": "7", "azp": null}), Err(E::AuthorizedParty("".into()))),
            (json!({"aud": ["other", "evil"], "sub": "7", "azp": "wiki"}), Err(E::Audience("other evil".into()))),
            // What somebody did, not who they are.
            (json!({"aud": "wiki", "sub": "7", "events": {"http://schemas.openid.net/event/backchannel-logout": {}}}), Err(E::Event)),
            (json!({"aud": "wiki", "sub": "7", "events": {}}),       Err(E::Event)),
            (json!({"aud": "wiki", "sub": "7", "events": null}),     Err(E::Event)),
            (json!({"aud": "other", "events": []}),                  Err(E::Event)),
            (json!({"aud": "wiki", "sub": 7}),                       Err(E::Subject)),
            (json!({"aud": "wiki", "sub": "a\nb"}),                  Err(E::Subject)),
            (json!({"aud": "wiki", "sub": "ä"}),                     Err(E::Subject)),
            (json!({"aud": "wiki", "sub": format!("{long}s")}),      Err(E::Subject)),
        ];
        for (claims, expected) in cases {
            assert_eq!(issuer.caller(&verified(claims.clone()), |_| false).map(drop), expected, "{claims}");
        }
    }

    #[test]
    fn groups_are_taken_from_the_claim_that_the_operator_named_and_a_broken_one_names_nobody() {
        let many = vec!["g"; GROUPS_LIMIT + 1];
        #[rustfmt::skip]
        let cases = [
            (json!({}),                          Some("groups"), Some("")),
            (json!({"groups": ["a", "b c"]}),    Some("groups"), Some("a,b c")),
            (json!({"groups": "a"}),             Some("groups"), Some("a")),
            (json!({"groups": ["a"]}),           None,           Some("")),
            (json!({"roles": ["a"]}),            Some("groups"), Some("")),
            (json!({"groups": []}),              Some("groups"), Some("")),
            (json!({"groups": ["a", 7]}),        Some("groups"), None),
            (json!({"groups": [""]}),            Some("groups"), None),
            (json!({"groups": ["a\nb"]}),       Some("groups"), None),
            (json!({"groups": {"a": 1}}),        Some("groups"), None),
            (json!({"groups": many}),            Some("groups"), None),
        ];
        for (mut claims, claim, expected) in cases {
            let object = claims.as_object_mut().unwrap();
            object.insert("sub".into(), "7".into());
            object.insert("aud".into(), "wiki".into());
            let groups_claim = claim.map(str::to_owned);
            let issuer = Arc::new(TrustedIssuer { groups_claim, ..entry("corp", "https://corp.example", &[]) });
            let groups = issuer.caller(&verified(claims.clone()), |_| false).ok().map(|caller| {
                let names = caller.members.iter().filter_map(|member| match member {
                    Member::PrincipalSet(name) => name.strip_prefix("//doorward/trustedIssuers/corp/group/"),
                    _ => None,
                });
                names.collect::<Vec<_>>().join(",")
            });
            assert_eq!(groups.as_deref(), expected, "{claims}");
        }
    }

    #[test]
    fn a_subject_is_one_text_to_every_reader_of_a_header() {
        let longest = "s".repeat(SUBJECT_LIMIT);
        #[rustfmt::skip]
        let cases = [
            ("1234",                                  true),
            ("repo:org/app:ref:refs/heads/main",      true),
            ("CN=Ann Lee,O=Example",                  true),
            ("alice@example.com",                     true),
            ("'; rm -rf / #<b>\"",                    true),
            (longest.as_str(),                        true),
            ("",                                      false),
            (" ",                                     false),
            (" 1234",                                 false),
            ("1234 ",                                 false),
            ("12\t34",                                false),
            ("12\r\nx: y",                            false),
            ("1234\0",                                false),
            ("1234\u{7f}",                            false),
            ("\u{430}lice",                           false),
            ("1234\u{a0}",                            false),
        ];
        for (text, accepted) in cases {
            assert_eq!(is_subject(text), accepted, "{text:?}");
        }
        assert!(!is_subject(&format!("{longest}s")));
    }
}
