//! The account of this machine (<https://google.aip.dev/auth/4115>).

use std::time::Duration;

use doorward_wire::metadata::{FLAVOR, METADATA_FLAVOR};
use http::HeaderValue;

use super::{CredentialsError, Surroundings};
use crate::exchange::{access_token, missing, success};
use crate::origin::{Origin, without_secrets};
use crate::token::Token;
use crate::token_error::TokenError;
use crate::transport::{Answer, Call, HttpClient};

/// The name of the metadata server.
pub(super) const HOST: &str = "metadata.google.internal";
/// Its address, which is asked whether it is there: where it is not, the name is looked up for seconds.
pub(super) const ADDRESS: &str = "169.254.169.254";

/// A metadata server is next door; where there is none, packets vanish.
const DETECTION_TIMEOUT: Duration = Duration::from_secs(1);
const DETECTION_ATTEMPTS: u32 = 3;

const FLAVOR_VALUE: HeaderValue = HeaderValue::from_static(FLAVOR);

pub(super) struct Metadata {
    host: Origin,
}

impl Metadata {
    /// `host` is `HOST`, `HOST:PORT`, or either after `http://`.
    pub(super) fn at(host: &str) -> Result<Self, CredentialsError> {
        let bare = host.strip_prefix("http://").unwrap_or(host);
        let host = format!("http://{bare}").parse();
        Ok(Metadata { host: host.map_err(|_| CredentialsError::MetadataHost(without_secrets(bare)))? })
    }

    /// Whether a metadata server is there.
    pub(super) async fn answers(&self, http: &HttpClient) -> bool {
        let call = self.call("/");
        for _ in 0..DETECTION_ATTEMPTS {
            if let Ok(answer) = http.send_once(&call, DETECTION_TIMEOUT).await {
                return answer.status.is_success() && is_flavoured(&answer);
            }
        }
        false
    }

    /// With the address of the account, which the proxy demands: that is `format=full`.
    pub(super) async fn id_token(&self, surroundings: &Surroundings, audience: &str) -> Result<Token, TokenError> {
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("audience", audience), ("format", "full")])
            .finish();
        let now = surroundings.clock.now();
        let answer = self.ask(surroundings, &format!("identity?{query}")).await?;
        let text = std::str::from_utf8(&answer.body).unwrap_or_default().trim();
        Token::for_audience(text, audience, now).map_err(|wanted| missing(&answer, wanted))
    }

    pub(super) async fn access_token(&self, surroundings: &Surroundings, scopes: &str) -> Result<Token, TokenError> {
        let target = if scopes.is_empty() {
            "token".to_owned()
        } else {
            let scopes = scopes.replace(' ', ",");
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("scopes", &scopes).finish();
            format!("token?{query}")
        };
        let now = surroundings.clock.now();
        access_token(&self.ask(surroundings, &target).await?, now)
    }

    async fn ask(&self, surroundings: &Surroundings, target: &str) -> Result<Answer, TokenError> {
        let call = self.call(&format!("/computeMetadata/v1/instance/service-accounts/default/{target}"));
        let answer = success(&surroundings.http, &call, &[]).await?;
        // Another server that answers at this address gives tokens of anybody's choice.
        if is_flavoured(&answer) { Ok(answer) } else { Err(missing(&answer, "the header Metadata-Flavor: Google")) }
    }

    fn call(&self, target: &str) -> Call {
        let mut call = Call::get(format!("{}{target}", self.host));
        call.headers.push((METADATA_FLAVOR, FLAVOR_VALUE));
        call.plain = true;
        call
    }
}

fn is_flavoured(answer: &Answer) -> bool {
    answer.headers.get(METADATA_FLAVOR).is_some_and(|flavor| flavor == FLAVOR_VALUE)
}
