//! The list as a whole: which entries may stand in it, and beside each other.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{GOOGLE, TrustedIssuer};
use crate::member::Email;
use crate::outbound::is_on_loopback;
use crate::resource::Host;

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
    /// On this machine, and `http`, without leave.
    #[error(
        "{0:?} is on this machine and speaks plain HTTP: set `insecure_loopback = true` in its entry, or use https"
    )]
    PlainLoopback(String),
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
                let only_plain = is_issuer(&entry.issuer, true);
                return Err(if only_plain { E::PlainLoopback(entry.issuer) } else { E::Issuer(entry.issuer) });
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

#[cfg(test)]
mod tests {
    use super::super::entry;
    use super::*;

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
            (vec![google("http://127.0.0.1:9000")],                                    Err(E::PlainLoopback("http://127.0.0.1:9000".into()))),
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
}
