//! What the commands of pools and those of providers share: names, and how both are shown.

use anyhow::Context as _;
use doorward_core::federation::{FederationId, Pool};
use doorward_core::resource::Project;
use doorward_server::dev::description::Description;
use doorward_wire::google_api::{Operation, Status};

use crate::api::ApiError;
use crate::iam_policy::resource_path;
use crate::output::printable;

/// The Google host that serves both.
pub(super) const HOST: &str = "iam.googleapis.com";

/// `projects/NUMBER/locations/global/workloadIdentityPools/POOL`
pub(super) fn pool_name(world: &Description, pool: &FederationId) -> String {
    let project = Project { id: world.project.id.clone(), number: world.project.number.clone() };
    Pool::name(&project, pool)
}

/// The path of a pool.
pub(super) fn pool_path(world: &Description, pool: &FederationId) -> String {
    resource_path(HOST, &pool_name(world, pool))
}

/// The path of all pools.
pub(super) fn pools_path(world: &Description) -> String {
    resource_path(HOST, &format!("projects/{}/locations/global/workloadIdentityPools", world.project.number))
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

/// What is known, a line each.
pub(super) fn lines(known: &[(&str, &str)]) -> String {
    let known = known.iter().filter(|(_, value)| !value.is_empty());
    known.map(|(name, value)| format!("{name:<10} {}\n", printable(value))).collect()
}
