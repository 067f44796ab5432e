//! `doorward workload-identity-pool`: pools of identities from elsewhere, through the IAM API.

use doorward_core::federation::FederationId;
use doorward_wire::google_api::{ListPoolsResponse, WorkloadIdentityPool};

use super::Common;
use super::workload_identity::{advise_pool, change, full_name, last, pool_path, pools_path, state};
use crate::output::{json_line, lines, print, table};

/// Create, list, describe and delete pools of identities from elsewhere
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
A pool holds identities that other systems vouch for: pipelines, clusters, other clouds. Who vouches is a provider of the pool.

Example:
  doorward workload-identity-pool create ci-pool
  doorward workload-identity-pool list")]
pub(crate) enum Command {
    Create(CreateArgs),
    List(ListArgs),
    Describe(DescribeArgs),
    Delete(DeleteArgs),
}

/// Create a pool; nobody belongs to it before it has a provider
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward workload-identity-pool create ci-pool --display-name \"Pipelines\"")]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    pool: PoolArgs,
    /// A name for people
    #[arg(long, default_value = "", hide_default_value = true)]
    display_name: String,
    /// Free text
    #[arg(long, default_value = "", hide_default_value = true)]
    description: String,
    #[command(flatten)]
    common: Common,
}

/// List the pools
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward workload-identity-pool list --json")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    common: Common,
}

/// Show a pool, and the members that policies name its identities by
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward workload-identity-pool describe ci-pool")]
pub(crate) struct DescribeArgs {
    #[command(flatten)]
    pool: PoolArgs,
    #[command(flatten)]
    common: Common,
}

/// Delete a pool with its providers; the tokens of its identities and the bindings that name them end with it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward workload-identity-pool delete ci-pool")]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    pool: PoolArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct PoolArgs {
    /// The pool's id: 4 to 32 of a-z, 0-9 and '-'
    #[arg(value_name = "POOL")]
    pool: FederationId,
}

/// Runs one of the commands.
pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(args) => create(args).await,
        Command::List(args) => list(args).await,
        Command::Describe(args) => describe(args).await,
        Command::Delete(args) => delete(args).await,
    }
}

async fn create(args: CreateArgs) -> anyhow::Result<()> {
    let CreateArgs { pool, display_name, description, common } = args;
    let server = common.server.open().await?;
    let path = format!("{}?workloadIdentityPoolId={}", pools_path(&server).await?, pool.pool.as_str());
    let made = WorkloadIdentityPool { display_name, description, ..WorkloadIdentityPool::default() };
    let made: WorkloadIdentityPool = change(server.api().post(&path, &made).await?)?;
    Ok(print(&if common.json { json_line(&made)? } else { format!("created a pool\n{}", shown(&made)) })?)
}

async fn list(ListArgs { common }: ListArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let answer: ListPoolsResponse = server.api().get(&pools_path(&server).await?).await?;
    if common.json {
        return Ok(print(&json_line(&answer)?)?);
    }
    let rows: Vec<_> = answer
        .workload_identity_pools
        .into_iter()
        .map(|pool| [last(&pool.name).to_owned(), state(pool.disabled).to_owned(), pool.display_name])
        .collect();
    Ok(print(&table(["POOL", "STATE", "NAME"], &rows))?)
}

async fn describe(DescribeArgs { pool, common }: DescribeArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let pool: WorkloadIdentityPool =
        server.api().get(&pool_path(&server, &pool.pool).await?).await.map_err(advise_pool)?;
    Ok(print(&if common.json { json_line(&pool)? } else { shown(&pool) })?)
}

async fn delete(DeleteArgs { pool, common }: DeleteArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    server.api().delete(&pool_path(&server, &pool.pool).await?).await.map_err(advise_pool)?;
    let text = format!("deleted {}, its providers, and what was given to its identities\n", pool.pool.as_str());
    Ok(print(if common.json { "{}\n" } else { &text })?)
}

/// A pool for people, with the members that policies name its identities by.
fn shown(pool: &WorkloadIdentityPool) -> String {
    let members = format!("principalSet:{}/*", full_name(&pool.name));
    lines(&[
        ("pool", last(&pool.name)),
        ("name", &pool.display_name),
        ("about", &pool.description),
        ("state", state(pool.disabled)),
        ("all of it", &members),
    ])
}
