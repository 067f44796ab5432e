//! What the commands of pools and those of providers share: names, and how both are shown.

use anyhow::Context as _;
use doorward_core::federation::{FederationId, Pool};
use doorward_core::resource::Project;
use doorward_server::dev::description::ProjectDescription;
use doorward_wire::google_api::{Operation, Status};

use crate::api::ApiError;
use crate::iam_policy::resource_path;
use crate::server::Server;

/// The Google host that serves both.
pub(super) const HOST: &str = "iam.googleapis.com";

/// `projects/NUMBER/locations/global/workloadIdentityPools/POOL`
pub(super) async fn pool_name(server: &Server, pool: &FederationId) -> anyhow::Result<String> {
    let ProjectDescription { id, number } = server.project().await?;
    Ok(Pool::name(&Project { id, number, ..Project::default() }, pool))
}

/// The path of a pool.
pub(super) async fn pool_path(server: &Server, pool: &FederationId) -> anyhow::Result<String> {
    Ok(resource_path(HOST, &pool_name(server, pool).await?))
}

/// The path of all pools.
pub(super) async fn pools_path(server: &Server) -> anyhow::Result<String> {
    let number = server.project_number().await?;
    Ok(resource_path(HOST, &format!("projects/{number}/locations/global/workloadIdentityPools")))
}

/// The name of a resource of IAM as audiences and members write it.
pub(super) fn full_name(resource: &str) -> String {
    format!("//{HOST}/{resource}")
}

/// Changes are done when they are answered.
pub(super) fn change<T: serde::de::DeserializeOwned>(operation: Operation) -> anyhow::Result<T> {
    serde_json::from_value(operation.response).context("the answer is not what was made: are both of one version?")
}

/// What to do if there is no such pool.
pub(super) fn advise_pool(error: ApiError) -> anyhow::Error {
    error.advise(Status::NotFound, "`doorward workload-identity-pool list` shows the pools")
}

/// The id at the end of a name.
pub(super) fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// A state in a word.
pub(super) fn state(disabled: bool) -> &'static str {
    if disabled { "disabled" } else { "active" }
}
