//! Tokens of another account, made by whoever holds a role on it.
//!
//! Spec: <https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts>

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use doorward_wire::iam_credentials::{GenerateAccessTokenResponse, GenerateIdTokenResponse};
use doorward_wire::uri::path_segment;
use http::StatusCode;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};

use super::{Credentials, CredentialsError, Source, Surroundings, or_cloud_platform};
use crate::exchange::{json as decode, missing, success};
use crate::token::{NOT_ENDED, Token};
use crate::token_error::TokenError;
use crate::transport::{Answer, Call};

const ACCOUNTS: &str = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/";

/// How long access tokens are asked for: the longest without a policy of the organisation.
const LIFE: Duration = Duration::from_secs(3600);

/// Another service account that is to be impersonated: [`Credentials::impersonate`].
#[derive(Debug, Clone)]
#[must_use = "it is no credentials yet: call `credentials()`"]
pub struct Impersonation {
    source: Credentials,
    account: String,
    delegates: Vec<String>,
    life: Duration,
}

impl Impersonation {
    pub(super) fn new(source: Credentials, account: &str) -> Self {
        Impersonation { source, account: account.to_owned(), delegates: Vec::new(), life: LIFE }
    }

    /// The accounts between the source and the one to be impersonated, in this order, each holding a role on the next.
    pub fn delegates<T: Into<String>>(mut self, delegates: impl IntoIterator<Item = T>) -> Self {
        self.delegates = delegates.into_iter().map(Into::into).collect();
        self
    }

    /// How long access tokens are to live, in whole seconds: an hour if not said.
    pub fn lifetime(mut self, life: Duration) -> Self {
        self.life = life;
        self
    }

    /// The credentials of that account. They keep its tokens; keep them.
    pub fn credentials(self) -> Credentials {
        let surroundings = self.source.0.surroundings.clone();
        let url = format!("{ACCOUNTS}{}", path_segment(&self.account));
        let impersonated = Impersonated {
            source: self.source,
            url,
            account: self.account,
            delegates: self.delegates.into_iter().map(resource_name).collect(),
            life: self.life,
        };
        Credentials::new(Source::Impersonated(impersonated), surroundings)
    }
}

fn resource_name(delegate: String) -> String {
    if delegate.starts_with("projects/") { delegate } else { format!("projects/-/serviceAccounts/{delegate}") }
}

pub(super) struct Impersonated {
    source: Credentials,
    /// The account's address at `iamcredentials`, without a method.
    url: String,
    account: String,
    delegates: Vec<String>,
    life: Duration,
}

impl Impersonated {
    /// `url` is that of `:generateAccessToken`, as files hold it.
    pub(super) fn by_url(
        source: Credentials,
        url: &str,
        delegates: Vec<String>,
        life: Option<u32>,
    ) -> Result<Self, CredentialsError> {
        let base = url.strip_suffix(":generateAccessToken").ok_or(CredentialsError::ImpersonationUrl)?;
        let (_, account) = base.rsplit_once("/serviceAccounts/").ok_or(CredentialsError::ImpersonationUrl)?;
        // What is after a `?` or below the account is no account, and is shown as one.
        let is_account = |byte: u8| byte.is_ascii_alphanumeric() || b"@.-_:%".contains(&byte);
        if account.is_empty() || !account.bytes().all(is_account) {
            return Err(CredentialsError::ImpersonationUrl);
        }
        Ok(Impersonated {
            source,
            url: base.to_owned(),
            account: account.to_owned(),
            delegates: delegates.into_iter().map(resource_name).collect(),
            life: life.map_or(LIFE, |seconds| Duration::from_secs(seconds.into())),
        })
    }

    pub(super) fn account(&self) -> &str {
        &self.account
    }

    /// With the address of the account, without which the proxy refuses it.
    pub(super) async fn id_token(&self, surroundings: &Surroundings, audience: &str) -> Result<Token, TokenError> {
        let body = json!({"audience": audience, "delegates": self.delegates, "includeEmail": true});
        let (answer, now) = self.call(surroundings, "generateIdToken", &body).await?;
        let GenerateIdTokenResponse { token } = decode(&answer, "a token")?;
        Token::for_audience(&token, audience, now).map_err(|wanted| missing(&answer, wanted))
    }

    pub(super) async fn access_token(&self, surroundings: &Surroundings, scopes: &str) -> Result<Token, TokenError> {
        let scopes: Vec<&str> = or_cloud_platform(scopes).split(' ').collect();
        let lifetime = format!("{}s", self.life.as_secs());
        let body = json!({"scope": scopes, "delegates": self.delegates, "lifetime": lifetime});
        let (answer, now) = self.call(surroundings, "generateAccessToken", &body).await?;
        let wanted = "an accessToken and its expireTime";
        let GenerateAccessTokenResponse { access_token, expire_time } = decode(&answer, wanted)?;
        let expires = humantime::parse_rfc3339(&expire_time).map_err(|_| missing(&answer, wanted))?;
        let wanted = if expires > now { wanted } else { NOT_ENDED };
        Token::new(&access_token, expires, now).ok_or_else(|| missing(&answer, wanted))
    }

    async fn call(
        &self,
        surroundings: &Surroundings,
        method: &str,
        body: &Value,
    ) -> Result<(Answer, SystemTime), TokenError> {
        let call = Call::post_json(surroundings.endpoints.resolve(&format!("{}:{method}", self.url)), body);
        let now = surroundings.clock.now();
        let (token, first) = self.call_as_source(surroundings, call.clone()).await?;
        // The source's token may have been revoked since it was kept: that is worth one more question.
        match first {
            Err(TokenError::Refused { status: StatusCode::UNAUTHORIZED, .. }) => {
                self.source.forget(&token);
                let (_, second) = self.call_as_source(surroundings, call).await?;
                Ok((second?, now))
            }
            answer => Ok((answer?, now)),
        }
    }

    async fn call_as_source(
        &self,
        surroundings: &Surroundings,
        mut call: Call,
    ) -> Result<(Token, Result<Answer, TokenError>), TokenError> {
        let failed = |source| TokenError::Impersonation { account: self.account.clone(), source: Arc::new(source) };
        let token = self.source.access_token(&[]).await.map_err(failed)?;
        call.headers.push((AUTHORIZATION, token.header_value()));
        let answer = success(&surroundings.http, &call, &[token.as_str()]).await;
        Ok((token, answer))
    }
}
