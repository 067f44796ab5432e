//! Credentials: where they come from, and the tokens that they give.

mod authorized_user;
mod builder;
mod external_account;
mod file;
mod find;
mod impersonated;
mod metadata;
mod service_account;

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

pub use builder::{CredentialsBuilder, CredentialsError};
pub use impersonated::Impersonation;
pub use service_account::SelfSignedError;

use crate::cache::TokenCache;
use crate::clock::{Clock, micros};
use crate::endpoints::Endpoints;
use crate::flight::Question;
use crate::token::Token;
use crate::token_error::TokenError;
use crate::transport::HttpClient;

/// What access tokens are for if nothing is said: the APIs of Google Cloud.
pub const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";

/// What proves who this program is, and the tokens that it gave so far.
///
/// Cheap to clone; all clones share their tokens. `Debug` shows no secret. The methods that get tokens are called within a Tokio
/// runtime with I/O and time enabled. A request runs in the runtime of the call that started it, and whoever joins it waits for that
/// one: use the same credentials in one runtime, or in several that all go on running.
#[derive(Clone)]
pub struct Credentials(Arc<Inner>);

struct Inner {
    source: Source,
    surroundings: Arc<Surroundings>,
    id_tokens: TokenCache,
    access_tokens: TokenCache,
    self_signed: TokenCache,
}

/// What all sources use.
struct Surroundings {
    http: HttpClient,
    clock: Arc<dyn Clock>,
    endpoints: Endpoints,
}

/// What proves who this program is.
enum Source {
    ServiceAccount(service_account::ServiceAccount),
    AuthorizedUser(authorized_user::AuthorizedUser),
    Metadata(metadata::Metadata),
    ExternalAccount(external_account::ExternalAccount),
    Impersonated(impersonated::Impersonated),
}

impl Credentials {
    /// Says how credentials are found and used, where that differs from the defaults.
    pub fn builder() -> CredentialsBuilder {
        CredentialsBuilder::default()
    }

    /// The default credentials, in Google's order: the file that `GOOGLE_APPLICATION_CREDENTIALS` names; the well-known file of
    /// `gcloud auth application-default login`; the metadata server.
    ///
    /// # Errors
    /// [`CredentialsError`]. A file that is there and cannot be used is an error: another identity than the one that was meant is
    /// worse than none.
    ///
    /// Spec: <https://google.aip.dev/auth/4110>
    pub async fn find_default() -> Result<Self, CredentialsError> {
        Self::builder().find_default().await
    }

    /// The credentials of a file of any type.
    ///
    /// # Errors
    /// [`CredentialsError`] if it cannot be read, or is none of the types that are read.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, CredentialsError> {
        Self::builder().from_file(path)
    }

    /// The credentials of a file's text.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, CredentialsError> {
        Self::builder().from_json(json)
    }

    /// The account of this machine, as the metadata server at `host` (`HOST` or `HOST:PORT`) gives it. It is not asked yet.
    ///
    /// # Errors
    /// [`CredentialsError::MetadataHost`].
    pub fn metadata(host: &str) -> Result<Self, CredentialsError> {
        Self::builder().metadata(host)
    }

    fn new(source: Source, surroundings: Arc<Surroundings>) -> Self {
        Credentials(Arc::new(Inner {
            source,
            surroundings,
            id_tokens: TokenCache::default(),
            access_tokens: TokenCache::default(),
            self_signed: TokenCache::default(),
        }))
    }

    /// An ID token for `audience`: at an identity-aware proxy, the OAuth client id of the application.
    ///
    /// A good one is there at once, without a lock or a copy. It is replaced in the background before it ends; only if there is none
    /// does the caller wait, and all that wait for one audience wait for one request. A person's credentials ask for the audience
    /// with the parameter `audience`, and without it if it is their own client.
    ///
    /// # Errors
    /// [`TokenError`], after further tries where they may help. While an older token is good there is none.
    pub async fn id_token(&self, audience: &str) -> Result<Token, TokenError> {
        let fetch = || id_token_question(self.0.clone(), audience.to_owned());
        self.0.id_tokens.get(audience, &*self.0.surroundings.clock, fetch).await
    }

    /// An access token for `scopes`, kept and replaced as [`id_token`](Self::id_token) does.
    ///
    /// Without scopes it is for the APIs of Google Cloud; a person's is for what they allowed, and the metadata server's for what the
    /// machine may do.
    ///
    /// # Errors
    /// As [`id_token`](Self::id_token).
    pub async fn access_token(&self, scopes: &[&str]) -> Result<Token, TokenError> {
        let joined = match scopes {
            [] => Cow::Borrowed(""),
            [scope] => Cow::Borrowed(*scope),
            scopes => Cow::Owned(scopes.join(" ")),
        };
        let fetch = || access_token_question(self.0.clone(), joined.clone().into_owned());
        self.0.access_tokens.get(&joined, &*self.0.surroundings.clock, fetch).await
    }

    /// A JWT of an hour that the key itself signs, for one URL of an application, or for all that begin with a prefix that ends in
    /// `/*`. No request is made; the application accepts it without an OAuth client.
    ///
    /// # Errors
    /// [`SelfSignedError`] if these credentials are not a service account's key.
    ///
    /// Spec: <https://cloud.google.com/iap/docs/authentication-howto#authenticating_with_a_self-signed_jwt>
    pub fn self_signed(&self, url_or_prefix: &str) -> Result<Token, SelfSignedError> {
        let now = self.0.surroundings.clock.now();
        if let Some(token) = self.0.self_signed.fresh(url_or_prefix, micros(now)) {
            return Ok(token);
        }
        let Source::ServiceAccount(account) = &self.0.source else {
            return Err(SelfSignedError::NoKey { kind: self.0.source.kind() });
        };
        let token = account.self_signed(url_or_prefix, now)?;
        self.0.self_signed.keep(url_or_prefix, &token, micros(now));
        Ok(token)
    }

    /// Another service account, whose tokens these credentials may make: `EMAIL`, or its number.
    pub fn impersonate(&self, account: &str) -> Impersonation {
        Impersonation::new(self.clone(), account)
    }

    /// Forgets a token that a server refused before its end, because its key or the account was removed. The next call gets another.
    pub fn forget(&self, token: &Token) {
        for cache in [&self.0.id_tokens, &self.0.access_tokens, &self.0.self_signed] {
            cache.forget(token);
        }
    }

    /// The address of the account, where the credentials tell it.
    pub fn account(&self) -> Option<&str> {
        match &self.0.source {
            Source::ServiceAccount(account) => Some(account.email()),
            Source::AuthorizedUser(user) => user.account(),
            Source::Impersonated(impersonated) => Some(impersonated.account()),
            Source::Metadata(_) | Source::ExternalAccount(_) => None,
        }
    }

    /// The id of the project, where a key file tells it.
    pub fn project_id(&self) -> Option<&str> {
        match &self.0.source {
            Source::ServiceAccount(account) => account.project_id(),
            Source::AuthorizedUser(_) | Source::Impersonated(_) | Source::Metadata(_) | Source::ExternalAccount(_) => {
                None
            }
        }
    }

    /// The type as files write it, or `metadata`.
    pub fn kind(&self) -> &'static str {
        self.0.source.kind()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Credentials");
        shown.field("kind", &self.kind());
        if let Some(account) = self.account() {
            shown.field("account", &account);
        }
        shown.finish_non_exhaustive()
    }
}

impl Source {
    fn kind(&self) -> &'static str {
        match self {
            Source::ServiceAccount(_) => "service_account",
            Source::AuthorizedUser(_) => "authorized_user",
            Source::Metadata(_) => "metadata",
            Source::ExternalAccount(_) => "external_account",
            Source::Impersonated(_) => "impersonated_service_account",
        }
    }
}

// Functions of their own and with a named type: an impersonated account asks its source in turn, and a future that holds another of
// its own kind has no type.
fn id_token_question(inner: Arc<Inner>, audience: String) -> Question<Result<Token, TokenError>> {
    Box::pin(async move { inner.fetch_id_token(&audience).await })
}

fn access_token_question(inner: Arc<Inner>, scopes: String) -> Question<Result<Token, TokenError>> {
    Box::pin(async move { inner.fetch_access_token(&scopes).await })
}

impl Inner {
    async fn fetch_id_token(&self, audience: &str) -> Result<Token, TokenError> {
        if audience.is_empty() || !audience.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Wanted);
        }
        let surroundings = &*self.surroundings;
        match &self.source {
            Source::ServiceAccount(account) => account.id_token(surroundings, audience).await,
            Source::AuthorizedUser(user) => user.id_token(surroundings, audience).await,
            Source::Metadata(metadata) => metadata.id_token(surroundings, audience).await,
            Source::Impersonated(impersonated) => impersonated.id_token(surroundings, audience).await,
            Source::ExternalAccount(_) => Err(TokenError::NoIdTokens { kind: self.source.kind() }),
        }
    }

    /// `scopes` are separated by spaces.
    async fn fetch_access_token(&self, scopes: &str) -> Result<Token, TokenError> {
        if !scopes.split(' ').all(|scope| scope.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(TokenError::Wanted);
        }
        let surroundings = &*self.surroundings;
        match &self.source {
            Source::ServiceAccount(account) => account.access_token(surroundings, scopes).await,
            Source::AuthorizedUser(user) => user.access_token(surroundings, scopes).await,
            Source::Metadata(metadata) => metadata.access_token(surroundings, scopes).await,
            Source::ExternalAccount(external) => external.access_token(surroundings, scopes).await,
            Source::Impersonated(impersonated) => impersonated.access_token(surroundings, scopes).await,
        }
    }
}

/// The scopes that were asked for, or those of Google Cloud.
fn or_cloud_platform(scopes: &str) -> &str {
    if scopes.is_empty() { CLOUD_PLATFORM } else { scopes }
}
