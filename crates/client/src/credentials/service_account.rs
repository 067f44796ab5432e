//! A service account by its private key (RFC 7523; <https://google.aip.dev/auth/4112>).

use std::time::{Duration, SystemTime};

use doorward_wire::credential_file::ServiceAccountFile;
use doorward_wire::jose::{Algorithm, SigningKey};
use doorward_wire::oauth::JWT_BEARER;
use http::Uri;
use serde_json::{Map, Value, json};

use super::{CredentialsError, Surroundings, or_cloud_platform};
use crate::clock::{from_seconds, seconds};
use crate::exchange::{access_token, id_token, success};
use crate::token::Token;
use crate::token_error::TokenError;
use crate::transport::Call;

/// The `aud` of every assertion, whatever the address of the token endpoint, as Google's clients write it.
///
/// Spec: <https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests>
const ASSERTION_AUDIENCE: &str = "https://oauth2.googleapis.com/token";

/// The longest life that the token endpoint and the proxy accept.
const LIFE: Duration = Duration::from_secs(3600);

pub(super) struct ServiceAccount {
    email: String,
    project_id: Option<String>,
    token_uri: String,
    key: SigningKey,
}

/// Why there is no self-signed token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelfSignedError {
    /// There is no private key to sign with.
    #[error("{kind} credentials hold no private key: use a service account's key file, or get an ID token")]
    NoKey {
        /// The `type` of the file.
        kind: &'static str,
    },
    /// Not an address of http or https.
    #[error("a self-signed token is for an address of http or https: write it whole, and end it in /* for all below")]
    Url,
    /// The private key cannot sign.
    #[error("the private key of {account} cannot sign: make another key for it")]
    Key {
        /// Whose key it is.
        account: String,
    },
}

impl ServiceAccount {
    pub(super) fn new(file: ServiceAccountFile) -> Result<Self, CredentialsError> {
        let key = SigningKey::from_pkcs8_pem(&file.private_key_id, Algorithm::Rs256, &file.private_key);
        let key = key.map_err(|_| CredentialsError::Key { account: file.client_email.clone() })?;
        Ok(ServiceAccount { email: file.client_email, project_id: file.project_id, token_uri: file.token_uri, key })
    }

    pub(super) fn email(&self) -> &str {
        &self.email
    }

    pub(super) fn project_id(&self) -> Option<&str> {
        self.project_id.as_deref()
    }

    pub(super) async fn id_token(&self, surroundings: &Surroundings, audience: &str) -> Result<Token, TokenError> {
        let (answer, now) = self.exchange(surroundings, ("target_audience", audience)).await?;
        id_token(&answer, audience, now)
    }

    pub(super) async fn access_token(&self, surroundings: &Surroundings, scopes: &str) -> Result<Token, TokenError> {
        let (answer, now) = self.exchange(surroundings, ("scope", or_cloud_platform(scopes))).await?;
        access_token(&answer, now)
    }

    async fn exchange(
        &self,
        surroundings: &Surroundings,
        (name, value): (&str, &str),
    ) -> Result<(crate::transport::Answer, SystemTime), TokenError> {
        let now = surroundings.clock.now();
        let assertion = self.sign((name, value), ASSERTION_AUDIENCE, now);
        let assertion = assertion.ok_or_else(|| TokenError::Key { account: self.email.clone() })?;
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("grant_type", JWT_BEARER), ("assertion", &assertion)])
            .finish();
        let call = Call::post_form(surroundings.endpoints.resolve(&self.token_uri), form);
        Ok((success(&surroundings.http, &call, &[&assertion]).await?, now))
    }

    pub(super) fn self_signed(&self, url: &str, now: SystemTime) -> Result<Token, SelfSignedError> {
        let uri: Uri = url.parse().map_err(|_| SelfSignedError::Url)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.authority().is_none() || url.contains('#') {
            return Err(SelfSignedError::Url);
        }
        let ends = from_seconds(seconds(now + LIFE));
        let signed = self.sign(("sub", &self.email), url, now).and_then(|signed| Token::new(&signed, ends, now));
        signed.ok_or_else(|| SelfSignedError::Key { account: self.email.clone() })
    }

    /// A statement of this account about itself, for an hour.
    fn sign(&self, (name, value): (&str, &str), audience: &str, now: SystemTime) -> Option<String> {
        let claims: Map<String, Value> = [
            ("iss", json!(self.email)),
            ("sub", json!(self.email)),
            ("aud", json!(audience)),
            ("iat", json!(seconds(now))),
            ("exp", json!(seconds(now + LIFE))),
            (name, json!(value)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        self.key.sign(&claims).ok()
    }
}
