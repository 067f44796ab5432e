//! Issuers beside ourselves whose ID tokens are callers: what an operator lists, and what their tokens become.
//!
//! A foreign token never becomes an account of ours. It becomes a principal that is named by the entry and `sub`; and where the
//! operator gave a domain to the issuer, the e-mail address of that domain besides.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;
use std::sync::Arc;

use doorward_wire::jose::Claims;
use serde_json::Value;

use crate::member::{Email, Member};
use crate::outbound::{KeySource, Reach, is_on_loopback};
use crate::resource::Host;

/// The one issuer that is Google's own.
const GOOGLE: &str = "https://accounts.google.com";
/// The domain of consumer accounts of which Google is the mail provider, and so knows whose address is whose.
const GOOGLE_MAIL: &str = "gmail.com";

/// The longest `sub` that is accepted, in bytes (OpenID Connect Core 1.0 section 2).
pub const SUBJECT_LIMIT: usize = 255;
/// The most groups that a token may list.
pub const GROUPS_LIMIT: usize = 400;

/// The id of an entry: 1 to 32 of `a-z`, `0-9` and `-`. It stands in the names of principals, so it is never reused for another
/// issuer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IssuerId(String);

/// A text that is not an [`IssuerId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id has 1 to 32 characters of a-z, 0-9 and '-'")]
pub struct IssuerIdError;

impl FromStr for IssuerId {
    type Err = IssuerIdError;

    fn from_str(text: &str) -> Result<Self, IssuerIdError> {
        let allowed = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !(1..=32).contains(&text.len()) || !allowed {
            return Err(IssuerIdError);
        }
        Ok(IssuerId(text.to_owned()))
    }
}

impl IssuerId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An entry of the operator's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedIssuer {
    /// Its id.
    pub id: IssuerId,
    /// `iss` of its tokens, exactly.
    pub issuer: String,
    /// `aud` of its tokens: one of these.
    pub audiences: Vec<String>,
    /// Its verified e-mail addresses of these domains are `user:EMAIL`. Lower case.
    pub email_domains: Vec<String>,
    /// The claim of its tokens that lists the caller's groups, if any is believed: each is
    /// `principalSet://doorward/trustedIssuers/ID/group/NAME`.
    pub groups_claim: Option<String>,
    /// It is Google's own: its tokens may be those of Google's service accounts, and an address is a person's only where Google is
    /// the one who gives it out.
    pub google: bool,
    /// It may be on this machine, and speak plain HTTP.
    pub insecure_loopback: bool,
    /// Its key document, if it is not to be fetched.
    pub jwks: Option<Arc<str>>,
}

/// Why a list is refused at start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustedIssuersError {
    /// Two entries have one id.
    #[error("two trusted issuers have the id {0:?}: give each its own")]
    TwiceNamed(String),
    /// Two entries have one issuer.
    #[error("the issuer {0:?} is listed twice: put its audiences into one entry")]
    TwiceListed(String),
    /// Two entries claim one domain.
    #[error("{0:?} and {1:?} both claim the domain {2}: only one issuer can vouch for a domain")]
    DomainTwice(String, String, String),
    /// Our own issuer.
    #[error("{0:?} is the issuer of our own tokens and cannot be trusted as another: remove the entry")]
    Own(String),
    /// The real Google, where our own tokens carry its name.
    #[error(
        "{0:?} is the issuer of our own tokens, because Google's names are used here, as in `dev` and `run`: the real Google \
         cannot be trusted beside. Remove the entry; to try tokens of Google, let an issuer of yours at http://127.0.0.1:PORT \
         stand for it, with `google = true` and `insecure_loopback = true`"
    )]
    OwnAsGoogle(String),
    /// Marked as Google's own, and is not.
    #[error(
        "trusted issuer {0:?} is marked `google = true`, and is neither {GOOGLE:?} nor on this machine with \
         `insecure_loopback = true`: remove the mark"
    )]
    NotGoogle(String),
    /// Two entries are marked as Google's own.
    #[error("{0:?} and {1:?} are both marked `google = true`: there is one Google, so mark one of them")]
    GoogleTwice(String, String),
    /// Nothing would be accepted.
    #[error("trusted issuer {0:?} lists no audience: name the `aud` of the tokens that it issues for you")]
    NoAudience(String),
    /// Not `https`, or not a URL without query and fragment.
    #[error("{0:?} is not an issuer: it is an https URL without a query (OpenID Connect Core 1.0 section 2)")]
    Issuer(String),
    /// Not a domain.
    #[error("{0:?} is not a domain")]
    Domain(String),
    /// The domain of our own service accounts.
    #[error("{0:?} is the domain of our own service accounts: no other issuer can vouch for it")]
    OwnDomain(String),
}

/// The list, by issuer.
#[derive(Debug, Default)]
pub struct TrustedIssuers(HashMap<String, Arc<TrustedIssuer>>);

/// What decides whether an entry may stand in the list.
#[derive(Debug, Clone, Copy)]
pub struct OwnNames<'a> {
    /// Every `iss` that our own tokens carry, or could: at start, and by the setting of names.
    pub issuers: &'a [&'a str],
    /// The project's id: `PROJECT.iam.gserviceaccount.com` is the domain of our accounts.
    pub project_id: &'a str,
}

impl TrustedIssuers {
    /// Checks a list as a whole.
    ///
    /// # Errors
    /// [`TrustedIssuersError`]: nothing may be served with such a list.
    pub fn new(
        entries: impl IntoIterator<Item = TrustedIssuer>,
        own: OwnNames<'_>,
    ) -> Result<Self, TrustedIssuersError> {
        use TrustedIssuersError as E;
        let own_domain = format!("{}.iam.gserviceaccount.com", own.project_id);
        let mut list: HashMap<String, Arc<TrustedIssuer>> = HashMap::new();
        let mut ids = BTreeMap::new();
        let mut google: Option<String> = None;
        let mut domains: BTreeMap<String, String> = BTreeMap::new();
        for entry in entries {
            let id = entry.id.as_str().to_owned();
            if own.issuers.iter().any(|own| is_same_issuer(own, &entry.issuer)) {
                let is_google = is_same_issuer(&entry.issuer, GOOGLE);
                return Err(if is_google { E::OwnAsGoogle(entry.issuer) } else { E::Own(entry.issuer) });
            }
            if !is_issuer(&entry.issuer, entry.insecure_loopback) {
                return Err(E::Issuer(entry.issuer));
            }
            if entry.google {
                let stands_for_it = entry.insecure_loopback && is_on_loopback(&entry.issuer);
                if entry.issuer != GOOGLE && !stands_for_it {
                    return Err(E::NotGoogle(id));
                }
                if let Some(other) = google.replace(id.clone()) {
                    return Err(E::GoogleTwice(other, id));
                }
            }
            if entry.audiences.is_empty() || entry.audiences.iter().any(String::is_empty) {
                return Err(E::NoAudience(id));
            }
            if ids.insert(id.clone(), ()).is_some() {
                return Err(E::TwiceNamed(id));
            }
            for domain in &entry.email_domains {
                if format!("x@{domain}").parse::<Email>().is_ok_and(|email| email.domain() != domain)
                    || format!("x@{domain}").parse::<Email>().is_err()
                {
                    return Err(E::Domain(domain.clone()));
                }
                if *domain == own_domain || domain.ends_with(".gserviceaccount.com") {
                    return Err(E::OwnDomain(domain.clone()));
                }
                if let Some(other) = domains.insert(domain.clone(), id.clone()) {
                    return Err(E::DomainTwice(other, id, domain.clone()));
                }
            }
            let issuer = entry.issuer.clone();
            if list.insert(issuer.clone(), Arc::new(entry)).is_some() {
                return Err(E::TwiceListed(issuer));
            }
        }
        Ok(TrustedIssuers(list))
    }

    /// The entry of this issuer, compared exactly.
    pub fn find(&self, issuer: &str) -> Option<&Arc<TrustedIssuer>> {
        self.0.get(issuer)
    }

    /// Every entry, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TrustedIssuer>> {
        self.0.values()
    }
}

/// Whether two texts name one issuer, however it is spelled. Readers of `iss` must not: they compare the texts.
pub fn is_same_issuer(one: &str, other: &str) -> bool {
    bare(one) == bare(other)
}

/// An issuer as one who means well or ill may spell it: readers of `iss` have always taken Google's with and without a scheme, and
/// who fetches asks the same place with a port and without.
fn bare(issuer: &str) -> String {
    let lower = issuer.to_ascii_lowercase();
    let (rest, port) = match (lower.strip_prefix("https://"), lower.strip_prefix("http://")) {
        (Some(rest), _) => (rest, ":443"),
        (None, Some(rest)) => (rest, ":80"),
        (None, None) => (lower.as_str(), ":443"),
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let host = authority.strip_suffix(port).unwrap_or(authority);
    format!("{}{}", host.trim_end_matches('.'), path.trim_end_matches('/'))
}

/// The longest URL of an issuer, in bytes.
const ISSUER_LIMIT: usize = 2000;

/// Whether a text is a URL that an issuer may have: `https`, or `http` on this machine where that is allowed (OpenID Connect
/// Core 1.0 section 2).
pub fn is_issuer(text: &str, insecure_loopback: bool) -> bool {
    let plain = insecure_loopback && is_on_loopback(text);
    let rest = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => rest,
        (None, Some(rest)) if plain => rest,
        (None, Some(_) | None) => return false,
    };
    let authority = rest.split_once('/').map_or(rest, |(authority, _)| authority);
    let visible = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'@' | b'\\'));
    visible && Host::parse(authority).is_ok() && text.len() <= ISSUER_LIMIT
}

/// A caller whom a trusted issuer vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignCaller {
    /// The entry.
    pub issuer: Arc<TrustedIssuer>,
    /// `sub`.
    pub subject: String,
    /// The address, if the entry may vouch for it.
    pub email: Option<Email>,
    /// The members that it matches, the most specific first.
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
    /// Where its keys come from.
    pub fn key_source(&self) -> KeySource {
        KeySource {
            entry: format!("trustedIssuers/{}", self.id.as_str()),
            issuer: self.issuer.clone(),
            inline: self.jwks.clone(),
            reach: if self.insecure_loopback { Reach::Loopback } else { Reach::Public },
        }
    }

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
            if let Member::User(_) = member {
                members.extend([member, Member::Domain(email.domain().to_owned())]);
            } else {
                members.push(member);
            }
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

    fn principals(&self) -> String {
        format!("//doorward/trustedIssuers/{}", self.id.as_str())
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
    use super::*;
    use doorward_wire::jose::{Algorithm, SigningKey, Unverified, VerifyingKey};
    use serde_json::json;

    use crate::entropy::generate_private_key;

    fn entry(id: &str, issuer: &str, domains: &[&str]) -> TrustedIssuer {
        TrustedIssuer {
            id: id.parse().unwrap(),
            issuer: issuer.to_owned(),
            audiences: vec!["wiki".to_owned(), "blog".to_owned()],
            email_domains: domains.iter().map(|&domain| domain.to_owned()).collect(),
            groups_claim: None,
            google: false,
            insecure_loopback: false,
            jwks: None,
        }
    }

    fn own() -> OwnNames<'static> {
        OwnNames { issuers: &["https://accounts.google.com", "http://127.0.0.1:8081"], project_id: "doorward-dev" }
    }

    #[test]
    fn a_list_that_could_confuse_two_issuers_is_refused_whole() {
        use TrustedIssuersError as E;
        let a = || entry("a", "https://a.example", &["a.example"]);
        let loopback = |issuer: &str| TrustedIssuer { insecure_loopback: true, ..entry("l", issuer, &[]) };
        let google = |issuer: &str| TrustedIssuer { google: true, ..entry("g", issuer, &[]) };
        let here =
            |id: &str, issuer: &str| TrustedIssuer { google: true, insecure_loopback: true, ..entry(id, issuer, &[]) };
        #[rustfmt::skip]
        let cases = [
            (vec![a()],                                                                Ok(())),
            (vec![a(), entry("b", "https://b.example", &["b.example"])],               Ok(())),
            (vec![a(), entry("b", "https://b.example", &["a.example"])],               Err(E::DomainTwice("a".into(), "b".into(), "a.example".into()))),
            (vec![a(), entry("a", "https://b.example", &[])],                          Err(E::TwiceNamed("a".into()))),
            (vec![a(), entry("b", "https://a.example", &[])],                          Err(E::TwiceListed("https://a.example".into()))),
            (vec![entry("g", "https://accounts.google.com", &[])],                     Err(E::OwnAsGoogle("https://accounts.google.com".into()))),
            (vec![entry("g", "accounts.google.com", &[])],                             Err(E::OwnAsGoogle("accounts.google.com".into()))),
            (vec![entry("g", "https://Accounts.Google.com/", &[])],                    Err(E::OwnAsGoogle("https://Accounts.Google.com/".into()))),
            (vec![entry("g", "http://accounts.google.com:80", &[])],                   Err(E::OwnAsGoogle("http://accounts.google.com:80".into()))),
            (vec![entry("g", "https://accounts.google.com.:443//", &[])],              Err(E::OwnAsGoogle("https://accounts.google.com.:443//".into()))),
            (vec![google("https://accounts.google.com")],                              Err(E::OwnAsGoogle("https://accounts.google.com".into()))),
            (vec![loopback("HTTP://127.0.0.1:8081/")],                                 Err(E::Own("HTTP://127.0.0.1:8081/".into()))),
            (vec![TrustedIssuer { audiences: vec![], ..a() }],                         Err(E::NoAudience("a".into()))),
            (vec![TrustedIssuer { audiences: vec!["".into()], ..a() }],                Err(E::NoAudience("a".into()))),
            (vec![entry("a", "http://a.example", &[])],                                Err(E::Issuer("http://a.example".into()))),
            (vec![entry("a", "https://a.example?x", &[])],                             Err(E::Issuer("https://a.example?x".into()))),
            (vec![entry("a", "https://u@a.example", &[])],                             Err(E::Issuer("https://u@a.example".into()))),
            (vec![entry("a", "https://", &[])],                                        Err(E::Issuer("https://".into()))),
            (vec![loopback("http://127.0.0.1:9000")],                                  Ok(())),
            (vec![loopback("http://a.example")],                                       Err(E::Issuer("http://a.example".into()))),
            (vec![TrustedIssuer { google: true, ..a() }],                              Err(E::NotGoogle("a".into()))),
            (vec![google("https://accounts.google.example")],                          Err(E::NotGoogle("g".into()))),
            (vec![google("http://127.0.0.1:9000")],                                    Err(E::Issuer("http://127.0.0.1:9000".into()))),
            (vec![google("https://127.0.0.1:9000")],                                   Err(E::NotGoogle("g".into()))),
            (vec![here("g", "http://127.0.0.1:9000")],                                 Ok(())),
            (vec![TrustedIssuer { insecure_loopback: true, google: true, ..a() }],     Err(E::NotGoogle("a".into()))),
            (vec![here("g", "http://[::1]:1"), a(), here("h", "http://localhost:2")],  Err(E::GoogleTwice("g".into(), "h".into()))),
            (vec![entry("a", "https://a.example", &["A.example"])],                    Err(E::Domain("A.example".into()))),
            (vec![entry("a", "https://a.example", &["a..example"])],                   Err(E::Domain("a..example".into()))),
            (vec![entry("a", "https://a.example", &["doorward-dev.iam.gserviceaccount.com"])], Err(E::OwnDomain("doorward-dev.iam.gserviceaccount.com".into()))),
            (vec![entry("a", "https://a.example", &["p.iam.gserviceaccount.com"])],    Err(E::OwnDomain("p.iam.gserviceaccount.com".into()))),
        ];
        for (entries, expected) in cases {
            let issuers: Vec<String> = entries.iter().map(|entry| entry.issuer.clone()).collect();
            assert_eq!(TrustedIssuers::new(entries, own()).map(drop), expected, "{issuers:?}");
        }
    }

    #[test]
    fn the_real_google_is_listed_once_and_only_where_our_own_tokens_carry_another_name() {
        use TrustedIssuersError as E;
        let google = || TrustedIssuer { google: true, ..entry("g", GOOGLE, &["corp.example"]) };
        let stand_in = TrustedIssuer { insecure_loopback: true, ..entry("h", "http://127.0.0.1:9000", &[]) };
        let stand_in = || TrustedIssuer { google: true, ..stand_in.clone() };
        let elsewhere = OwnNames { issuers: &["https://iap.corp.example"], project_id: "corp" };
        #[rustfmt::skip]
        let cases = [
            (elsewhere, vec![google()],                                          Ok(())),
            (elsewhere, vec![TrustedIssuer { google: false, ..google() }],       Ok(())),
            (elsewhere, vec![google(), stand_in()],                              Err(E::GoogleTwice("g".into(), "h".into()))),
            (own(),     vec![google()],                                          Err(E::OwnAsGoogle(GOOGLE.into()))),
            (own(),     vec![stand_in()],                                        Ok(())),
        ];
        for (own, entries, expected) in cases {
            let listed = TrustedIssuers::new(entries, own).map(drop);
            assert_eq!(listed, expected, "{own:?}");
        }
        let told = E::OwnAsGoogle(GOOGLE.into()).to_string();
        assert!(told.contains("Remove the entry") && told.contains("`dev`"), "{told}");
    }

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
        let with = |member: &str| {
            vec![corp()[0].clone(), member.to_owned(), "domain:corp.example".to_owned(), corp()[1].clone()]
        };
        let of_google = |members: &[&str]| {
            let named = [format!("{p}/google/subject/7"), format!("{s}/google/*")];
            [&[named[0].as_str()], members, &[named[1].as_str()]].concat().into_iter().map(str::to_owned).collect()
        };
        let ann = ["user:ann@corp.example", "domain:corp.example"];
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
            (&plain,  json!({"email": "ann\0@corp.example", "email_verified": true}),      corp()),
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
            (&google, json!({"email": "ann@gmail.com", "email_verified": true}),           of_google(&["user:ann@gmail.com", "domain:gmail.com"])),
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
