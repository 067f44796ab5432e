//! The world beyond us that we ask: documents of foreign issuers, as traits.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use doorward_wire::jose::VerifyingKeys;

use crate::resource::Host;

/// Which addresses a fetch may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// `https`, and public addresses only.
    Public,
    /// What [`Reach::Public`] reaches, and loopback besides, there by plain `http` too. For a laptop and for tests.
    Loopback,
}

/// A document that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The body, at most 1 MiB.
    pub body: Vec<u8>,
    /// For how long it may be used, if the answer says (`Cache-Control: max-age`, RFC 9111 section 5.2.2.1); zero for
    /// `no-store` and `no-cache`.
    pub max_age: Option<Duration>,
}

/// Why a document was not fetched. `Display` is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Not an absolute URL, or one with a user, a password or a fragment.
    #[error("not a URL that is fetched")]
    Url,
    /// Not `https`.
    #[error("only https is fetched")]
    Scheme,
    /// The name leads to an address that is private, local or otherwise not public. It was not connected to.
    #[error("the host's address is not public")]
    Address,
    /// The host has no address, or cannot be connected to, or its certificate does not hold.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The answer is a redirect. None is followed: it could lead anywhere.
    #[error("the answer is a redirect, which is not followed")]
    Redirect,
    /// The answer has another status than 200.
    #[error("the answer has status {0}")]
    Status(u16),
    /// The body is longer than 1 MiB.
    #[error("the answer is longer than 1 MiB")]
    TooLarge,
    /// It took longer than 5 seconds.
    #[error("the answer took longer than 5 seconds")]
    TooSlow,
    /// The answer ended in its middle, or was not HTTP.
    #[error("the answer is broken")]
    Broken,
}

/// Fetches documents over HTTP. The one implementation keeps the rules against forged requests.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// The document at this URL, by one `GET` without credentials.
    async fn fetch(&self, url: &str, reach: Reach) -> Result<Document, FetchError>;
}

/// Where the keys of an issuer come from. Keys are found by this and never by what a token says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeySource {
    /// The entry that an operator configured: a provider's resource name with its generation (`NAME@GENERATION`), or `trustedIssuers/ID`.
    pub entry: String,
    /// The issuer: its discovery document names where the keys are (OpenID Connect Discovery 1.0 section 4).
    pub issuer: String,
    /// The key document itself (RFC 7517 section 5), if the operator gave it: then nothing is fetched.
    pub inline: Option<Arc<str>>,
    /// Which addresses may be asked.
    pub reach: Reach,
}

impl KeySource {
    /// Which addresses the discovery document may lead to. This machine only if the issuer itself is on it, by its name: else anybody
    /// who is asked as an issuer could have us ask what listens here and only here.
    pub fn reach_of_keys(&self) -> Reach {
        match self.reach {
            Reach::Loopback if is_on_loopback(&self.issuer) => Reach::Loopback,
            Reach::Loopback | Reach::Public => Reach::Public,
        }
    }
}

/// Whether a URL names this machine: its host is `localhost` or a loopback address. Nothing is looked up to know.
pub fn is_on_loopback(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else { return false };
    let authority = rest.find(['/', '?', '#']).map_or(rest, |end| &rest[..end]);
    let Ok(host) = Host::parse(authority) else { return false };
    let bracketed = host.name().strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback()),
        None => host.name() == "localhost" || host.name().parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
    }
}

/// Why there are no keys. `Display` is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuerKeysError {
    /// A document could not be fetched, and no keys are at hand that are still good.
    #[error("could not fetch {what} of the issuer: {cause}")]
    Fetch {
        /// The discovery document, or the keys.
        what: &'static str,
        /// Why.
        cause: FetchError,
    },
    /// The document is not what it should be.
    #[error("{0} of the issuer cannot be used")]
    Document(&'static str),
    /// Nothing is fetched now, because it was tried a moment ago.
    #[error("the issuer's keys could not be fetched a moment ago, and it is not tried again yet")]
    Waiting,
}

/// The keys of foreign issuers.
#[async_trait]
pub trait IssuerKeys: Send + Sync {
    /// The keys at hand, if they are good now and hold this key id. Does not wait and fetches nothing.
    fn at_hand(&self, source: &KeySource, kid: &str) -> Option<Arc<VerifyingKeys>>;

    /// The keys of the issuer: at hand, or fetched if there are none or if they lack this key id. The answer may lack it still.
    ///
    /// # Errors
    /// [`IssuerKeysError`]: it is not known whether a signature holds. Callers refuse.
    async fn keys(&self, source: &KeySource, kid: &str) -> Result<Arc<VerifyingKeys>, IssuerKeysError>;
}

/// Keys for tests: what each entry's issuer publishes is said by [`FixedIssuerKeys::publish`], and nothing leaves the process.
#[derive(Debug, Default)]
pub struct FixedIssuerKeys {
    entries: Mutex<HashMap<String, FixedEntry>>,
    fetches: AtomicU64,
}

#[derive(Debug, Default)]
struct FixedEntry {
    at_hand: Option<Arc<VerifyingKeys>>,
    published: Option<Result<Arc<VerifyingKeys>, IssuerKeysError>>,
}

impl FixedIssuerKeys {
    /// What a fetch for this entry gives from now on. What is at hand stays.
    pub fn publish(&self, entry: &str, keys: Result<Arc<VerifyingKeys>, IssuerKeysError>) {
        self.with(entry, |it| it.published = Some(keys));
    }

    /// The keys that are at hand for this entry are good no longer.
    pub fn expire(&self, entry: &str) {
        self.with(entry, |it| it.at_hand = None);
    }

    /// How often an issuer was asked.
    pub fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::SeqCst)
    }

    fn with<T>(&self, entry: &str, change: impl FnOnce(&mut FixedEntry) -> T) -> T {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        change(entries.entry(entry.to_owned()).or_default())
    }
}

#[async_trait]
impl IssuerKeys for FixedIssuerKeys {
    fn at_hand(&self, source: &KeySource, kid: &str) -> Option<Arc<VerifyingKeys>> {
        self.with(&source.entry, |it| it.at_hand.clone()).filter(|keys| keys.find(kid).is_some())
    }

    async fn keys(&self, source: &KeySource, kid: &str) -> Result<Arc<VerifyingKeys>, IssuerKeysError> {
        if let Some(keys) = self.at_hand(source, kid) {
            return Ok(keys);
        }
        self.fetches.fetch_add(1, Ordering::SeqCst);
        self.with(&source.entry, |it| {
            let keys = it.published.clone().unwrap_or(Err(IssuerKeysError::Waiting))?;
            it.at_hand = Some(keys.clone());
            Ok(keys)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_an_issuer_are_on_this_machine_only_if_the_issuer_is() {
        #[rustfmt::skip]
        let cases = [
            ("http://127.0.0.1:9000",           true),
            ("https://127.0.0.1",               true),
            ("http://127.8.8.8/tenant",         true),
            ("http://localhost:9000/a",         true),
            ("http://[::1]:9000/",              true),
            ("https://issuer.test",             false),
            ("https://localhost.issuer.test",   false),
            ("https://127.0.0.1.issuer.test",   false),
            ("https://issuer.test/127.0.0.1",   false),
            ("https://issuer.test?//localhost", false),
            ("https://localhost@issuer.test",   false),
            ("https://issuer.test:1@localhost", false),
            ("http://[::ffff:127.0.0.1]:9000",  false),
            ("http://0.0.0.0:9000",             false),
            ("http://10.0.0.1",                 false),
            ("http://2130706433",               false),
            ("ftp://localhost",                 false),
            ("localhost",                       false),
            ("",                                false),
        ];
        for (issuer, here) in cases {
            for (reach, expected) in
                [(Reach::Loopback, if here { Reach::Loopback } else { Reach::Public }), (Reach::Public, Reach::Public)]
            {
                let source = KeySource { entry: "entry".into(), issuer: issuer.to_owned(), inline: None, reach };
                assert_eq!(source.reach_of_keys(), expected, "{issuer} {reach:?}");
            }
        }
    }
}
