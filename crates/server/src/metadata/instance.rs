//! The workload of `dev`: tokens come from our own minter.

use std::net::IpAddr;

use async_trait::async_trait;
use doorward_control::instance::{IdentityRequest, Instance, InstanceError, TurnedAway};
use doorward_core::clock::whole_seconds;
use doorward_wire::metadata::MetadataToken;

use super::{Facts, Workload, WorkloadError};
use crate::errors::Chain;

#[async_trait]
impl Workload for Instance {
    fn facts(&self) -> Facts {
        let (project_id, project_number) = self.project();
        let config = self.config();
        Facts {
            project_id,
            project_number: Some(project_number),
            instance_id: config.id.clone(),
            instance_name: config.name.clone(),
            zone: config.zone.clone(),
            scopes: Instance::scopes(),
        }
    }

    fn email(&self) -> Result<String, WorkloadError> {
        Ok(Instance::email(self)?.to_string())
    }

    async fn identity(&self, request: IdentityRequest<'_>, peer: IpAddr) -> Result<String, WorkloadError> {
        Ok(Instance::identity(self, request, peer).await?)
    }

    async fn access_token(&self, scopes: Option<&str>, peer: IpAddr) -> Result<MetadataToken, WorkloadError> {
        let token = Instance::access_token(self, scopes, peer).await?;
        Ok(MetadataToken {
            access_token: token.access_token,
            expires_in: whole_seconds(token.expires_in),
            token_type: "Bearer".to_owned(),
        })
    }

    async fn turned_away(&self, cause: TurnedAway, peer: IpAddr) {
        // The answer is a refusal either way; that it could not be recorded is said by the record's own alarm.
        let _ = self.turn_away(cause, peer).await;
    }
}

impl From<InstanceError> for WorkloadError {
    fn from(error: InstanceError) -> Self {
        use InstanceError as E;
        match error {
            // What many emulators say, and clients look for.
            E::Audience => WorkloadError::Refused("non-empty audience parameter required".to_owned()),
            E::Format => WorkloadError::Refused("format is standard or full, and licenses is TRUE or FALSE".to_owned()),
            E::Scope => {
                WorkloadError::Refused("A scope is unknown: leave scopes out to get the account's own.".to_owned())
            }
            E::AccountGone => {
                WorkloadError::Unavailable("The instance's service account is disabled or deleted.".to_owned())
            }
            E::TurnedAway(_) | E::Mint(_) | E::Entropy(_) | E::AuditClosed(_) => {
                tracing::error!(error = %Chain(&error), "the metadata server could give no token");
                WorkloadError::Unavailable("No token could be made; try again later.".to_owned())
            }
        }
    }
}
