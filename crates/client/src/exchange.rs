//! What token endpoints have in common: a refusal is an error, and success holds a token.

use std::time::SystemTime;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::token::Token;
use crate::token_error::{TokenError, refusal};
use crate::transport::{Answer, Call, HttpClient};

/// Asks, and gives the answer only if it is success. `secrets` are what was sent, which no error may show.
pub(crate) async fn success(http: &HttpClient, call: &Call, secrets: &[&str]) -> Result<Answer, TokenError> {
    let answer = http.send(call).await?;
    if answer.status.is_success() { Ok(answer) } else { Err(refusal(&answer, secrets)) }
}

/// The body as JSON of this shape. The message of the parser is not shown: it quotes values.
pub(crate) fn json<T: DeserializeOwned>(answer: &Answer, wanted: &'static str) -> Result<T, TokenError> {
    serde_json::from_slice(&answer.body).map_err(|_| missing(answer, wanted))
}

pub(crate) fn missing(answer: &Answer, wanted: &'static str) -> TokenError {
    TokenError::Answer { endpoint: answer.origin.to_string(), wanted }
}

/// The `id_token` of an answer of the token endpoint.
pub(crate) fn id_token(answer: &Answer, audience: &str, now: SystemTime) -> Result<Token, TokenError> {
    #[derive(Deserialize)]
    struct Body {
        id_token: String,
    }
    let body: Body = json(answer, "an id_token")?;
    Token::for_audience(&body.id_token, audience, now).map_err(|wanted| missing(answer, wanted))
}

/// The `access_token` of an answer of the token endpoint, of token exchange, or of the metadata server.
pub(crate) fn access_token(answer: &Answer, now: SystemTime) -> Result<Token, TokenError> {
    #[derive(Deserialize)]
    struct Body {
        access_token: String,
        expires_in: i64,
    }
    let wanted = "an access_token and expires_in";
    let body: Body = json(answer, wanted)?;
    Token::lasting(&body.access_token, body.expires_in, now).ok_or_else(|| missing(answer, wanted))
}
