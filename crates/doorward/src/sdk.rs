//! The SDK as commands use it: where it asks, how long it waits, and what is said when it gets nothing.

use std::time::Duration;

use anyhow::anyhow;
use doorward_client::{Credentials, CredentialsBuilder, TokenError, TransportError};

use crate::transport::TIMEOUT;
use crate::world::if_unreachable;

/// Credentials that ask whom their file names. They ask once: whoever waits at a terminal is told at once that nobody answers.
pub(crate) fn builder() -> CredentialsBuilder {
    Credentials::builder().timeout(TIMEOUT).retry(1, Duration::ZERO)
}

/// Credentials that ask the Doorward of this origin in the place of Google.
pub(crate) fn builder_at(origin: &str) -> anyhow::Result<CredentialsBuilder> {
    let damaged = |error| anyhow!("{error}: start `doorward dev` again, which writes dev.json anew");
    builder().endpoint(origin).map_err(damaged)
}

/// What a person at a terminal is told. `advice` is for a refusal, by its code and what the endpoint said; without any, the SDK
/// has its own.
pub(crate) fn explained(error: &TokenError, advice: &dyn Fn(&str, &str) -> Option<String>) -> String {
    use TokenError as E;
    use TransportError as T;
    match error {
        E::Refused { endpoint, code, description, .. } => match advice(code, description) {
            Some(advice) => format!("{endpoint} refused: {description} ({code}): {advice}"),
            None => error.to_string(),
        },
        E::Impersonation { account, source } => {
            format!("{account} cannot be impersonated: {}", explained(source, advice))
        }
        E::Transport(T::Connect { address, cause }) => {
            format!("cannot connect to {address} ({cause}): {}", if_unreachable())
        }
        E::Transport(T::Timeout { address, after }) => {
            let seconds = after.as_secs();
            format!("{address} did not answer within {seconds} seconds: stop `doorward dev` and start it again")
        }
        E::Transport(T::Broken { address, cause }) => {
            format!("{address} broke the connection ({cause}): is Doorward still running there?")
        }
        E::Transport(T::Insecure(address)) => {
            format!("{address} would get a credential in the clear: use an address of https, or one of this machine")
        }
        E::Transport(T::Tls { address, cause }) => format!(
            "{address} and this program do not agree on TLS ({cause}): if a private authority signed its certificate, add \
             that to the system's, or name it with SSL_CERT_FILE"
        ),
        E::Transport(T::Address | T::Trust(_) | T::TooLong { .. })
        | E::Failed { .. }
        | E::Answer { .. }
        | E::NoIdTokens { .. }
        | E::Wanted
        | E::Key { .. }
        | E::SubjectFile { .. }
        | E::SubjectToken { .. }
        | E::Interrupted => error.to_string(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use doorward_wire::jose::{Algorithm, SigningKey};
    use serde_json::json;

    use crate::api::tests::{block_on, replay};
    use crate::key_file::tests::new_key_file;

    /// When the tokens of these tests end: long after anybody runs them.
    pub(crate) const END: i64 = 4_102_444_800;

    /// An ID token as a server gives it, for `audience`.
    pub(crate) fn id_token(audience: &str) -> String {
        let key = SigningKey::from_pkcs8_pem("1f", Algorithm::Rs256, &new_key_file("").private_key).unwrap();
        key.sign(json!({"aud": audience, "exp": END}).as_object().unwrap()).unwrap()
    }

    #[test]
    fn what_went_wrong_is_said_with_what_helps_at_this_command_line() {
        let refused = |code: &str, text: &str| json!({"error": code, "error_description": text});
        let advice = |code: &str, text: &str| (code == "invalid_grant").then(|| format!("about {text:?}, do this"));
        #[rustfmt::skip]
        let cases = [
            (400, refused("invalid_grant", "Bad."),  "refused: Bad. (invalid_grant): about \"Bad.\", do this"),
            (400, refused("invalid_scope", "Bad."),  "refused: Bad. (invalid_scope); check the audience and the scopes"),
            (500, refused("server_error", "No."),    "failed with HTTP 500 Internal Server Error (No.): try again later, or check that it is the right address"),
        ];
        for (status, answer, expected) in cases {
            let (address, _) = replay(vec![(status, answer)]);
            let file = r#"{"type":"authorized_user","client_id":"c","refresh_token":"r"}"#;
            let credentials = builder_at(&format!("http://{address}")).unwrap().from_json(file).unwrap();
            let error = block_on(credentials.access_token(&[])).unwrap_err();
            assert_eq!(explained(&error, &advice), format!("http://{address} {expected}"));
            let source = TokenError::Impersonation { account: "a@p".into(), source: error.into() };
            let expected = format!("a@p cannot be impersonated: http://{address} {expected}");
            assert_eq!(explained(&source, &advice), expected);
        }
        let silent = TransportError::Timeout { address: "http://127.0.0.1:1".parse().unwrap(), after: TIMEOUT };
        assert_eq!(
            explained(&silent.into(), &advice),
            "http://127.0.0.1:1 did not answer within 30 seconds: stop `doorward dev` and start it again"
        );
        let damaged = builder_at("127.0.0.1:1").unwrap_err().to_string();
        assert!(damaged.starts_with("\"127.0.0.1:1\" is no origin: ") && damaged.contains("doorward dev"), "{damaged}");
    }
}
