//! A workload whose tokens come from a key file, by way of the token endpoint that the file names.

use std::net::IpAddr;

use async_trait::async_trait;
use doorward_core::clock::{Clock as _, SystemClock};
use doorward_server::metadata::{Facts, IdentityRequest, TurnedAway, Workload, WorkloadError};
use doorward_wire::google_api::KeyFile;
use doorward_wire::metadata::{IdentityFormat, MetadataToken};

use crate::api::ApiError;
use crate::key_file::{self, ExchangeError};
use crate::output::say;

/// What tokens are for when the program does not say.
const DEFAULT_SCOPES: [&str; 2] = [key_file::CLOUD_PLATFORM, "https://www.googleapis.com/auth/userinfo.email"];

/// The workload of a key file.
pub(crate) struct Sidecar {
    pub(crate) key_file: KeyFile,
    /// The number of its project, if it is known: no key file tells it.
    pub(crate) project_number: Option<String>,
}

impl Sidecar {
    /// Gets a token and forgets it: what a key file is worth shows only in use.
    ///
    /// # Errors
    /// [`WorkloadError::Refused`] if it gives no token, now or later; [`WorkloadError::Unavailable`] if that is not known.
    pub(crate) async fn try_key(&self) -> Result<(), WorkloadError> {
        key_file::access_token(&self.key_file, SystemClock.now()).await.map(drop).map_err(failed)
    }
}

#[async_trait]
impl Workload for Sidecar {
    fn facts(&self) -> Facts {
        Facts {
            project_id: self.key_file.project_id.clone(),
            project_number: self.project_number.clone(),
            instance_id: "1".to_owned(),
            instance_name: "doorward-metadata".to_owned(),
            zone: "us-central1-a".to_owned(),
            scopes: DEFAULT_SCOPES.map(str::to_owned).into(),
        }
    }

    fn email(&self) -> Result<String, WorkloadError> {
        Ok(self.key_file.client_email.clone())
    }

    /// A token that a key file gets has an e-mail and tells no instance, whatever the format.
    async fn identity(&self, request: IdentityRequest<'_>, _: IpAddr) -> Result<String, WorkloadError> {
        let audience = request.audience.unwrap_or_default();
        if audience.is_empty() {
            return Err(WorkloadError::Refused("non-empty audience parameter required".to_owned()));
        }
        if IdentityFormat::parse(request.format, request.licenses).is_none() {
            let text = "format is standard or full, and licenses is TRUE or FALSE";
            return Err(WorkloadError::Refused(text.to_owned()));
        }
        key_file::id_token(&self.key_file, audience, SystemClock.now()).await.map_err(failed)
    }

    async fn access_token(&self, scopes: Option<&str>, _: IpAddr) -> Result<MetadataToken, WorkloadError> {
        let asked = scopes.filter(|scopes| !scopes.is_empty()).map(|scopes| scopes.replace(',', " "));
        let scopes = asked.unwrap_or_else(|| DEFAULT_SCOPES.join(" "));
        let token = key_file::access_token_for(&self.key_file, &scopes, SystemClock.now()).await;
        token.map_err(failed)
    }

    async fn turned_away(&self, cause: TurnedAway, peer: IpAddr) {
        say(&format!("refused a request from {peer}: {cause}"));
    }
}

/// What the token endpoint refused would be refused again, and clients that read 503 would try again. So would a key that is none.
fn failed(error: ExchangeError) -> WorkloadError {
    use ApiError as E;
    let text = error.to_string();
    match error {
        ExchangeError::Key { .. } | ExchangeError::NotAccepted { .. } | ExchangeError::Endpoint(E::OAuth { .. }) => {
            WorkloadError::Refused(text)
        }
        ExchangeError::Endpoint(
            E::Address(_)
            | E::Https(_)
            | E::AdminToken
            | E::AccessToken
            | E::Connect { .. }
            | E::Timeout { .. }
            | E::Broken { .. }
            | E::Google { .. }
            | E::Unauthenticated
            | E::Unexpected(_)
            | E::Shape(_),
        ) => WorkloadError::Unavailable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_wire::jose::KeyMaterialError;

    #[test]
    fn a_refusal_is_final_and_a_silent_endpoint_is_asked_again() {
        let oauth = ApiError::OAuth { code: "invalid_grant".into(), description: "No.".into() };
        let gone = ExchangeError::NotAccepted {
            cause: ApiError::OAuth { code: "invalid_grant".into(), description: "Gone.".into() },
            advice: "make a new key".into(),
        };
        let silent = ApiError::Timeout { address: "127.0.0.1:1".into() };
        let no_key = ExchangeError::Key { cause: KeyMaterialError, email: "a@p.example".into() };
        #[rustfmt::skip]
        let cases = [
            (ExchangeError::Endpoint(oauth),  true,  "the token endpoint refused: No. (invalid_grant)"),
            (gone,                            true,  "the token endpoint refused: Gone. (invalid_grant): make a new key"),
            (no_key,                          true,  "make another key for a@p.example"),
            (ExchangeError::Endpoint(silent), false, "127.0.0.1:1 did not answer within 30 seconds"),
        ];
        for (error, refused, text) in cases {
            let failed = failed(error);
            assert_eq!(matches!(failed, WorkloadError::Refused(_)), refused, "{failed}");
            assert!(failed.to_string().contains(text), "{failed}");
        }
    }
}
