//! Another issuer's token in exchange for one of ours (RFC 8693; <https://google.aip.dev/auth/4117>).

use std::path::Path;
use std::sync::Arc;

use doorward_wire::credential_file::{CredentialSource, ExternalAccountFile, SubjectTokenFormat};
use doorward_wire::oauth::{ACCESS_TOKEN_TYPE, TOKEN_EXCHANGE, TokenExchangeRequest};
use http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::file::read_regular;
use super::{CredentialsError, Surroundings, or_cloud_platform};
use crate::exchange::{access_token, success};
use crate::token::Token;
use crate::token_error::TokenError;
use crate::transport::Call;

pub(super) struct ExternalAccount {
    audience: String,
    subject_token_type: String,
    token_url: String,
    source: CredentialSource,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl ExternalAccount {
    pub(super) fn new(file: ExternalAccountFile) -> Result<Self, CredentialsError> {
        let headers = match &file.credential_source {
            CredentialSource::File { .. } => Vec::new(),
            CredentialSource::Url { headers, .. } => {
                let read = headers.iter().map(|(name, value)| header(name, value).ok_or(CredentialsError::Headers));
                read.collect::<Result<_, _>>()?
            }
        };
        Ok(ExternalAccount {
            audience: file.audience,
            subject_token_type: file.subject_token_type,
            token_url: file.token_url,
            source: file.credential_source,
            headers,
        })
    }

    pub(super) async fn access_token(&self, surroundings: &Surroundings, scopes: &str) -> Result<Token, TokenError> {
        let now = surroundings.clock.now();
        let request = TokenExchangeRequest {
            grant_type: TOKEN_EXCHANGE.to_owned(),
            audience: self.audience.clone(),
            scope: Some(or_cloud_platform(scopes).to_owned()),
            requested_token_type: Some(ACCESS_TOKEN_TYPE.to_owned()),
            subject_token: self.subject_token(surroundings).await?,
            subject_token_type: self.subject_token_type.clone(),
            options: None,
        };
        let call = Call::post_form(surroundings.endpoints.resolve(&self.token_url), request.to_form());
        access_token(&success(&surroundings.http, &call, &[&request.subject_token]).await?, now)
    }

    /// The issuer's token, read anew each time: its owner replaces it.
    async fn subject_token(&self, surroundings: &Surroundings) -> Result<String, TokenError> {
        match &self.source {
            CredentialSource::File { path, format } => {
                let failed = |cause| TokenError::SubjectFile { path: path.clone(), cause: Arc::new(cause) };
                let owned = path.clone();
                let read = tokio::task::spawn_blocking(move || read_regular(Path::new(&owned))).await;
                let bytes = read.map_err(|_| TokenError::Interrupted)?.map_err(failed)?;
                token_in(&bytes, format).ok_or_else(|| TokenError::SubjectToken { place: path.clone() })
            }
            CredentialSource::Url { url, format, .. } => {
                let mut call = Call::get(url.clone());
                call.headers.clone_from(&self.headers);
                // The metadata servers of other clouds have no https.
                call.plain = true;
                // Of `Bearer SECRET` a server may quote the second word alone.
                let values = self.headers.iter().filter_map(|(_, value)| value.to_str().ok());
                let secrets: Vec<&str> = values.flat_map(str::split_whitespace).collect();
                let answer = success(&surroundings.http, &call, &secrets).await?;
                token_in(&answer.body, format)
                    .ok_or_else(|| TokenError::SubjectToken { place: answer.origin.to_string() })
            }
        }
    }
}

/// The value may be a secret.
fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some((HeaderName::try_from(name).ok()?, value))
}

fn token_in(bytes: &[u8], format: &SubjectTokenFormat) -> Option<String> {
    let text = match format {
        SubjectTokenFormat::Text => std::str::from_utf8(bytes).ok()?.trim().to_owned(),
        SubjectTokenFormat::Json { field } => {
            let value: Value = serde_json::from_slice(bytes).ok()?;
            value.get(field)?.as_str()?.trim().to_owned()
        }
    };
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_text_or_the_named_member() {
        let json = SubjectTokenFormat::Json { field: "t".into() };
        #[rustfmt::skip]
        let cases = [
            (&b"a.b.c\n"[..],       &SubjectTokenFormat::Text, Some("a.b.c")),
            (b" \n",                &SubjectTokenFormat::Text, None),
            (b"\xff",               &SubjectTokenFormat::Text, None),
            (br#"{"t": "a.b.c"}"#,  &json,                     Some("a.b.c")),
            (br#"{"u": "a.b.c"}"#,  &json,                     None),
            (br#"{"t": 1}"#,        &json,                     None),
            (b"a.b.c",              &json,                     None),
        ];
        for (bytes, format, expected) in cases {
            assert_eq!(token_in(bytes, format).as_deref(), expected, "{bytes:?}");
        }
    }
}
