//! Issuers beside ourselves whose ID tokens are callers: what an operator lists, and what their tokens become.
//!
//! A foreign token never becomes an account of ours. It becomes a principal that is named by the entry and `sub`; and where the
//! operator gave a domain to the issuer, the e-mail address of that domain besides.

mod caller;
mod list;

pub use caller::{ForeignCaller, ForeignClaimsError, GROUPS_LIMIT, SUBJECT_LIMIT};
pub use list::{OwnNames, TrustedIssuers, TrustedIssuersError, is_issuer, is_same_issuer};

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::outbound::{KeySource, Reach};

/// The one issuer that is Google's own.
const GOOGLE: &str = "https://accounts.google.com";

/// The longest time from `iat` to `exp` of a token of an issuer beside ourselves, whether it is exchanged or is itself a credential.
/// Issuers elsewhere give more than our hour, and the common ones at most a day.
///
/// Spec: <https://cloud.google.com/iam/docs/workload-identity-federation-with-other-providers>, "Prepare your external IdP".
pub const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

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

    /// The name that all its callers stand under.
    fn principals(&self) -> String {
        format!("//doorward/trustedIssuers/{}", self.id.as_str())
    }
}

#[cfg(test)]
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
