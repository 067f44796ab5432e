//! A workload whose tokens come from a key file, by way of the token endpoint that the file names.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use doorward_client::{CLOUD_PLATFORM, Clock, Credentials, CredentialsError, SystemClock, TokenError};
use doorward_server::metadata::{Facts, IdentityRequest, TurnedAway, Workload, WorkloadError};
use doorward_wire::credential_file::ServiceAccountFile;
use doorward_wire::metadata::{IdentityFormat, MetadataToken};

use crate::output::say;
use crate::{key_file, sdk};

/// What tokens are for when the program does not say.
const DEFAULT_SCOPES: [&str; 2] = [CLOUD_PLATFORM, "https://www.googleapis.com/auth/userinfo.email"];

/// The workload of a key file.
pub(crate) struct Sidecar {
    email: String,
    project_id: String,
    /// The number of its project, if it is known: no key file tells it.
    project_number: Option<String>,
    /// Tokens are kept, as every metadata server does, and replaced before they end.
    credentials: Credentials,
    clock: Arc<dyn Clock>,
}

impl Sidecar {
    /// The workload of `file`.
    ///
    /// # Errors
    /// [`CredentialsError`] if its key is damaged.
    pub(crate) fn new(file: ServiceAccountFile, project_number: Option<String>) -> Result<Self, CredentialsError> {
        Self::with_clock(file, project_number, Arc::new(SystemClock))
    }

    fn with_clock(
        file: ServiceAccountFile,
        project_number: Option<String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CredentialsError> {
        Ok(Sidecar {
            email: file.client_email.clone(),
            project_id: file.project_id.clone().unwrap_or_default(),
            project_number,
            credentials: key_file::credentials(file, sdk::builder().clock(clock.clone()))?,
            clock,
        })
    }

    /// Gets a token: what a key file is worth shows only in use.
    ///
    /// # Errors
    /// [`WorkloadError::Refused`] if it gives no token, now or later; [`WorkloadError::Unavailable`] if that is not known.
    pub(crate) async fn try_key(&self) -> Result<(), WorkloadError> {
        self.credentials.access_token(&DEFAULT_SCOPES).await.map(drop).map_err(|error| self.failed(&error))
    }

    /// What the token endpoint refused would be refused again, and clients that read 503 would try again. So would a key that is
    /// none.
    fn failed(&self, error: &TokenError) -> WorkloadError {
        use TokenError as E;
        let text = key_file::explained(error, &self.email);
        match error {
            E::Refused { .. } | E::Key { .. } | E::Wanted => WorkloadError::Refused(text),
            E::Transport(_)
            | E::Failed { .. }
            | E::Answer { .. }
            | E::NoIdTokens { .. }
            | E::SubjectFile { .. }
            | E::SubjectToken { .. }
            | E::Interrupted
            | E::Impersonation { .. } => WorkloadError::Unavailable(text),
        }
    }
}

#[async_trait]
impl Workload for Sidecar {
    fn facts(&self) -> Facts {
        Facts {
            project_id: self.project_id.clone(),
            project_number: self.project_number.clone(),
            instance_id: "1".to_owned(),
            instance_name: "doorward-metadata".to_owned(),
            zone: "us-central1-a".to_owned(),
            scopes: DEFAULT_SCOPES.map(str::to_owned).into(),
        }
    }

    fn email(&self) -> Result<String, WorkloadError> {
        Ok(self.email.clone())
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
        let token = self.credentials.id_token(audience).await;
        token.map(|token| token.as_str().to_owned()).map_err(|error| self.failed(&error))
    }

    async fn access_token(&self, scopes: Option<&str>, _: IpAddr) -> Result<MetadataToken, WorkloadError> {
        let asked: Vec<&str> = scopes.unwrap_or_default().split([',', ' ']).filter(|scope| !scope.is_empty()).collect();
        let scopes = if asked.is_empty() { &DEFAULT_SCOPES } else { asked.as_slice() };
        let token = self.credentials.access_token(scopes).await.map_err(|error| self.failed(&error))?;
        let left = token.expires_at().duration_since(self.clock.now()).unwrap_or_default();
        Ok(MetadataToken {
            access_token: token.as_str().to_owned(),
            expires_in: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            token_type: "Bearer".to_owned(),
        })
    }

    async fn turned_away(&self, cause: TurnedAway, peer: IpAddr) {
        say(&format!("refused a request from {peer}: {cause}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::{Duration, UNIX_EPOCH};

    use doorward_client::ManualClock;
    use serde_json::json;

    use crate::api::tests::{block_on, replay};
    use crate::key_file::tests::new_key_file;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_refusal_is_final_and_a_silent_endpoint_is_asked_again() {
        let refused = |text: &str| (400, json!({"error": "invalid_grant", "error_description": text}));
        let broken = (503, json!({"error": "server_error", "error_description": "Busy."}));
        #[rustfmt::skip]
        let cases = [
            (refused("No."),                    true,  "refused: No. (invalid_grant)"),
            (refused("Invalid JWT Signature."), true,  "make a new key with"),
            (broken,                            false, "failed with HTTP 503 Service Unavailable (Busy.)"),
        ];
        for (answer, refused, text) in cases {
            let (address, asked) = replay(vec![answer]);
            let sidecar = Sidecar::new(new_key_file(&format!("http://{address}/token")), None).unwrap();
            let failed = block_on(sidecar.try_key()).unwrap_err();
            assert_eq!(matches!(failed, WorkloadError::Refused(_)), refused, "{failed}");
            assert!(failed.to_string().contains(text), "{failed}");
            assert_eq!(asked.join().unwrap().len(), 1);
        }
    }

    #[test]
    fn tokens_are_kept_for_each_set_of_scopes_and_their_remaining_life_is_told() {
        let answer = |token: &str| (200, json!({"access_token": token, "expires_in": 3600, "token_type": "Bearer"}));
        let (address, asked) = replay(vec![answer("one"), answer("two"), answer("three")]);
        let clock = Arc::new(ManualClock::at(UNIX_EPOCH + Duration::from_secs(1_800_000_000)));
        let file = new_key_file(&format!("http://{address}/token"));
        let sidecar = Sidecar::with_clock(file, None, clock.clone()).unwrap();
        // Seconds after the one before, the scopes => the token, seconds until it ends
        #[rustfmt::skip]
        let cases = [
            (0,    None,               "one",   3600),
            (100,  None,               "one",   3500),
            (0,    Some(""),           "one",   3500),
            (0,    Some("a,b"),        "two",   3600),
            (0,    Some("a b"),        "two",   3600),
            (3500, None,               "three", 3600),
        ];
        for (later, scopes, token, left) in cases {
            clock.advance(Duration::from_secs(later));
            let got = block_on(sidecar.access_token(scopes, PEER)).unwrap();
            assert_eq!((got.access_token.as_str(), got.expires_in), (token, left), "{scopes:?}");
        }
        assert_eq!(asked.join().unwrap().len(), 3);
    }
}
