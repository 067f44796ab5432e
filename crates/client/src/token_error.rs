//! Why there is no token, and what can be done about it.

use std::io;
use std::sync::Arc;

use doorward_wire::metadata::{FLAVOR, METADATA_FLAVOR};
use http::StatusCode;
use serde::Deserialize;

use crate::transport::{Answer, TransportError};

/// Why there is no token. Shows no secret, and says what to do next.
///
/// All callers that waited for one request get clones of its error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TokenError {
    /// The network, or an address.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The endpoint said no. It would say so again.
    #[error("{endpoint} refused: {description} ({code}); {}", next_step(code))]
    Refused {
        /// Who said so.
        endpoint: String,
        /// The status of the answer.
        status: StatusCode,
        /// The code of RFC 6749 section 5.2, or Google's canonical code (AIP-193).
        code: String,
        /// What the endpoint said, with all that was sent taken out.
        description: String,
    },
    /// A failure without a code that we can read, also after further tries.
    #[error(
        "{endpoint} failed with HTTP {status}{}: try again later, or check that it is the right address",
        in_brackets(description)
    )]
    Failed {
        /// Who failed.
        endpoint: String,
        /// The status of the answer.
        status: StatusCode,
        /// What the endpoint said, with all that was sent taken out; empty if that cannot be read.
        description: String,
    },
    /// Success without what was asked for.
    #[error(
        "the answer of {endpoint} does not hold {wanted}: check that it is the right address, and of a server that offers this"
    )]
    Answer {
        /// Who answered.
        endpoint: String,
        /// What should have been there.
        wanted: &'static str,
    },
    /// Credentials of this type cannot give such a token.
    #[error(
        "{kind} credentials give no ID token of their own: impersonate a service account, with `impersonate` or in the file"
    )]
    NoIdTokens {
        /// The `type` of the file.
        kind: &'static str,
    },
    /// An audience or a scope that is empty or not plain text.
    #[error("an audience or a scope is one word of visible ASCII characters: correct it")]
    Wanted,
    /// The private key of the file cannot sign.
    #[error("the private key of {account} cannot sign: make another key for it")]
    Key {
        /// Whose key it is.
        account: String,
    },
    /// Another issuer's token is not where the file says.
    #[error("cannot read the token file {path:?} ({cause}): check that it is there and may be read")]
    SubjectFile {
        /// The path in the file of credentials.
        path: String,
        /// What the system says.
        cause: Arc<io::Error>,
    },
    /// Another issuer's token is not in the text that should hold it.
    #[error("no token is in {place}: check the `format` of the credential_source")]
    SubjectToken {
        /// The path or the origin.
        place: String,
    },
    /// The task in which the token was asked for ended before it came.
    #[error("the runtime in which the token was asked for was shut down: ask again")]
    Interrupted,
    /// Whoever is to impersonate has no token.
    #[error("{account} cannot be impersonated: {source}")]
    Impersonation {
        /// The account that was to be impersonated.
        account: String,
        /// Why there is no token of the source.
        source: Arc<TokenError>,
    },
}

impl TokenError {
    /// The code of the endpoint's refusal, if that is what happened, also if it was a source's.
    pub fn code(&self) -> Option<&str> {
        match self {
            TokenError::Refused { code, .. } => Some(code),
            TokenError::Impersonation { source, .. } => source.code(),
            TokenError::Transport(_)
            | TokenError::Failed { .. }
            | TokenError::Answer { .. }
            | TokenError::NoIdTokens { .. }
            | TokenError::Wanted
            | TokenError::Key { .. }
            | TokenError::SubjectFile { .. }
            | TokenError::SubjectToken { .. }
            | TokenError::Interrupted => None,
        }
    }
}

fn in_brackets(description: &str) -> String {
    if description.is_empty() { String::new() } else { format!(" ({description})") }
}

fn next_step(code: &str) -> &'static str {
    match code {
        "invalid_grant" => "sign in again, or check that the key still exists and that this machine's clock is right",
        "invalid_client" | "unauthorized_client" => "check the client and its secret, and that it may use this grant",
        "invalid_audience" => "check the audience: it is the client id of the application, of the same project",
        "invalid_scope" => "check the audience and the scopes",
        "invalid_target" => "check the audience of the file: it names the provider",
        "PERMISSION_DENIED" => {
            "let the caller make tokens of the account, with roles/iam.serviceAccountTokenCreator on it"
        }
        "NOT_FOUND" => "check the account, and that the metadata server gives one to this machine",
        _ => "asking again does not help, correct what it says",
    }
}

/// What the endpoint said, without what was sent to it: some quote the token that they refuse.
pub(crate) fn refusal(answer: &Answer, secrets: &[&str]) -> TokenError {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Refusal {
        Google { error: Google },
        OAuth { error: String, error_description: Option<String> },
    }
    #[derive(Deserialize)]
    struct Google {
        #[serde(default)]
        status: String,
        #[serde(default)]
        message: String,
    }
    let endpoint = answer.origin.to_string();
    // Redirects are not followed, and are no answer.
    let (code, description) = match serde_json::from_slice(&answer.body) {
        Ok(Refusal::Google { error }) => (error.status, error.message),
        Ok(Refusal::OAuth { error, error_description }) => (error, error_description.unwrap_or_default()),
        Err(_) if answer.status == StatusCode::NOT_FOUND => ("NOT_FOUND".to_owned(), plain_text(answer)),
        Err(_) if answer.status == StatusCode::FORBIDDEN => ("PERMISSION_DENIED".to_owned(), plain_text(answer)),
        Err(_) => {
            let description = shown(&plain_text(answer), secrets);
            return TokenError::Failed { endpoint, status: answer.status, description };
        }
    };
    if answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS {
        return TokenError::Failed { endpoint, status: answer.status, description: shown(&description, secrets) };
    }
    let description =
        if description.is_empty() { "it gave no reason".to_owned() } else { shown(&description, secrets) };
    TokenError::Refused { endpoint, status: answer.status, code: shown(&code, secrets), description }
}

/// What a metadata server says, which speaks no JSON when it refuses: the first line, unless that begins a page.
fn plain_text(answer: &Answer) -> String {
    if answer.headers.get(METADATA_FLAVOR).is_none_or(|flavor| flavor != FLAVOR) {
        return String::new();
    }
    let text = String::from_utf8_lossy(&answer.body);
    let line = text.lines().next().unwrap_or_default().trim();
    if line.starts_with('<') { String::new() } else { line.to_owned() }
}

/// At most 300 characters on one line, with secrets left out. A word that is as long as a token is taken for one.
fn shown(text: &str, secrets: &[&str]) -> String {
    const LONG: usize = 80;
    // A shorter one may be part of any word, and is looked for as a whole one.
    const SHORT: usize = 8;
    let long = secrets.iter().filter(|secret| secret.len() >= SHORT);
    let without = long.fold(text.to_owned(), |text, secret| text.replace(secret, "…"));
    let words = without.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let hidden = |word: &str| word.len() > LONG || word.contains("eyJ") || secrets.contains(&word);
    words.map(|word| if hidden(word) { "…" } else { word }).collect::<Vec<_>>().join(" ").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            origin: "https://oauth2.googleapis.com".parse().unwrap(),
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.to_owned().into(),
        }
    }

    #[test]
    fn a_refusal_is_one_sentence_with_a_next_step_and_without_what_was_sent() {
        let long = "a".repeat(81);
        #[rustfmt::skip]
        let cases = [
            (400, r#"{"error":"invalid_grant","error_description":"Bad."}"#.to_owned(),
                "https://oauth2.googleapis.com refused: Bad. (invalid_grant); sign in again, or check that the key"),
            (403, r#"{"error":{"code":403,"message":"Permission 'x' denied.","status":"PERMISSION_DENIED"}}"#.to_owned(),
                "https://oauth2.googleapis.com refused: Permission 'x' denied. (PERMISSION_DENIED); let the caller make"),
            (400, r#"{"error":"x","error_description":"token s3cret\nis\u001b[2J eyJhbGciOi.J9.x bad"}"#.to_owned(),
                "https://oauth2.googleapis.com refused: token … is [2J … bad (x); asking again does not help"),
            (400, format!(r#"{{"error":"x","error_description":"no {long}"}}"#),
                "https://oauth2.googleapis.com refused: no … (x);"),
            (400, r#"{"error":"x","error_description":"'a-long-secret' was sent"}"#.to_owned(),
                "https://oauth2.googleapis.com refused: '…' was sent (x);"),
            (401, r#"{"error":"invalid_client"}"#.to_owned(),
                "https://oauth2.googleapis.com refused: it gave no reason (invalid_client);"),
            (404, "Not found".to_owned(), "https://oauth2.googleapis.com refused: it gave no reason (NOT_FOUND);"),
            (503, r#"{"error":"server_error"}"#.to_owned(), "https://oauth2.googleapis.com failed with HTTP 503"),
            (503, r#"{"error":"server_error","error_description":"No. s3cret"}"#.to_owned(),
                "https://oauth2.googleapis.com failed with HTTP 503 Service Unavailable (No. …): try again later"),
            (302, "".to_owned(),                "https://oauth2.googleapis.com failed with HTTP 302"),
            (200, "<html>".to_owned(),          "https://oauth2.googleapis.com failed with HTTP 200"),
        ];
        for (status, body, expected) in cases {
            let text = refusal(&answer(status, &body), &["s3cret", "a-long-secret", "r", ""]).to_string();
            assert!(text.starts_with(expected), "{status} {body}: {text}");
        }
    }
    #[test]
    fn a_metadata_server_says_in_plain_text_why_there_is_no_token() {
        let page = "<!DOCTYPE html>\n<p>Not found";
        #[rustfmt::skip]
        let cases = [
            (400, FLAVOR,  "non-empty audience parameter required\nx", "https://oauth2.googleapis.com failed with HTTP 400 Bad Request (non-empty audience parameter required): "),
            (503, FLAVOR,  "the account is \u{1b}[2J gone",           "https://oauth2.googleapis.com failed with HTTP 503 Service Unavailable (the account is [2J gone): "),
            (404, FLAVOR,  "no account",                              "https://oauth2.googleapis.com refused: no account (NOT_FOUND); "),
            (404, FLAVOR,  page,                                      "https://oauth2.googleapis.com refused: it gave no reason (NOT_FOUND); "),
            (404, "Other", "no account",                              "https://oauth2.googleapis.com refused: it gave no reason (NOT_FOUND); "),
        ];
        for (status, flavor, body, expected) in cases {
            let mut answer = answer(status, body);
            answer.headers.insert(METADATA_FLAVOR, flavor.parse().unwrap());
            let text = refusal(&answer, &[]).to_string();
            assert!(text.starts_with(expected), "{status} {body}: {text}");
        }
    }
}
