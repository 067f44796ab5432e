//! `doorward workload-identity-pool` and `doorward workload-identity-provider`: identities from elsewhere, through the IAM API.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use doorward_wire::google_api::{
    ListPoolsResponse, ListProvidersResponse, Oidc, Operation, Status, WorkloadIdentityPool,
    WorkloadIdentityPoolProvider,
};

use super::Common;
use crate::account::Account;
use crate::api::{ApiError, path_segment};
use crate::output::{json_line, lines, print, printable, table};
use crate::server::Server;

/// Create, list, describe and delete pools of identities from elsewhere
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
A pool holds identities that other systems vouch for: pipelines, clusters, other clouds. Who vouches is a provider of the pool.

Example:
  doorward workload-identity-pool create ci-pool
  doorward workload-identity-pool list")]
pub(crate) enum PoolCommand {
    Create(CreatePoolArgs),
    List(ListPoolsArgs),
    Describe(DescribePoolArgs),
    Delete(DeletePoolArgs),
}

/// Create a pool; nobody belongs to it before it has a provider
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward workload-identity-pool create ci-pool --display-name \"Pipelines\"")]
pub(crate) struct CreatePoolArgs {
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
pub(crate) struct ListPoolsArgs {
    #[command(flatten)]
    common: Common,
}

/// Show a pool, and the members that policies name its identities by
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward workload-identity-pool describe ci-pool")]
pub(crate) struct DescribePoolArgs {
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
pub(crate) struct DeletePoolArgs {
    #[command(flatten)]
    pool: PoolArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct PoolArgs {
    /// The pool's id: 4 to 32 of a-z, 0-9 and '-'
    #[arg(value_name = "POOL")]
    pool: String,
}

/// Create, list, describe and delete providers: the issuers that vouch for identities of a pool
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  doorward workload-identity-provider create github --pool ci-pool \\
      --issuer https://token.actions.githubusercontent.com \\
      --map attribute.repository=assertion.repository --condition \"assertion.repository_owner == 'octo-org'\"
  doorward workload-identity-provider list --pool ci-pool")]
pub(crate) enum ProviderCommand {
    Create(Box<CreateProviderArgs>),
    List(ListProvidersArgs),
    Describe(DescribeProviderArgs),
    CreateCredFile(CreateCredFileArgs),
    Delete(DeleteProviderArgs),
}

/// Create a provider: an OpenID Connect issuer, and what its tokens must say
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Expressions are CEL over `assertion`, the claims of the token. Without --map, google.subject is assertion.sub. Without --audience, a
token must name the provider itself as its audience, as the command prints it.

Example:
  doorward workload-identity-provider create cluster --pool ci-pool --issuer https://k8s.example.com
  doorward workload-identity-provider create laptop --pool ci-pool --issuer http://127.0.0.1:9000 --insecure-loopback")]
pub(crate) struct CreateProviderArgs {
    #[command(flatten)]
    provider: ProviderArgs,
    /// `iss` of its tokens: an https URL, whose discovery document names its keys
    #[arg(long, value_name = "URL")]
    issuer: String,
    /// `aud` of its tokens; may be given several times
    #[arg(long = "audience", value_name = "AUDIENCE")]
    audiences: Vec<String>,
    /// An attribute and the expression that makes it, such as attribute.repository=assertion.repository; may be given several times
    #[arg(long = "map", value_name = "ATTRIBUTE=EXPRESSION", value_parser = pair)]
    mapping: Vec<(String, String)>,
    /// An expression that must be true for a token to be taken
    #[arg(long, value_name = "EXPRESSION")]
    condition: Option<String>,
    /// Its key document (JWKS), if it cannot be fetched
    #[arg(long, value_name = "FILE")]
    jwks_file: Option<PathBuf>,
    /// The issuer may be on this machine, and speak plain HTTP
    #[arg(long)]
    insecure_loopback: bool,
    /// A name for people
    #[arg(long, default_value = "", hide_default_value = true)]
    display_name: String,
    #[command(flatten)]
    common: Common,
}

/// List the providers of a pool
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward workload-identity-provider list --pool ci-pool --json")]
pub(crate) struct ListProvidersArgs {
    /// The pool
    #[arg(long, value_name = "POOL")]
    pool: String,
    #[command(flatten)]
    common: Common,
}

/// Show a provider
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward workload-identity-provider describe github --pool ci-pool")]
pub(crate) struct DescribeProviderArgs {
    #[command(flatten)]
    provider: ProviderArgs,
    #[command(flatten)]
    common: Common,
}

/// Delete a provider; the tokens that were given for its tokens end with it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward workload-identity-provider delete github --pool ci-pool")]
pub(crate) struct DeleteProviderArgs {
    #[command(flatten)]
    provider: ProviderArgs,
    #[command(flatten)]
    common: Common,
}

/// Print a file of type external_account for GOOGLE_APPLICATION_CREDENTIALS; it holds no secret
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The program reads the other system's token from --token-file whenever it needs one, exchanges it, and acts as --service-account.

Example:
  doorward workload-identity-provider create-cred-file github --pool ci-pool \\
      --service-account target --token-file /run/token > credentials.json")]
pub(crate) struct CreateCredFileArgs {
    #[command(flatten)]
    provider: ProviderArgs,
    /// The service account to act as, by its address or its name in dev.json
    #[arg(long, value_name = "ACCOUNT")]
    service_account: Account,
    /// Where the program finds the other system's token
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct ProviderArgs {
    /// The provider's id: 4 to 32 of a-z, 0-9 and '-'
    #[arg(value_name = "PROVIDER")]
    provider: String,
    /// The pool
    #[arg(long, value_name = "POOL")]
    pool: String,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (attribute, expression) =
        text.split_once('=').ok_or("write ATTRIBUTE=EXPRESSION, such as google.subject=assertion.sub")?;
    Ok((attribute.trim().to_owned(), expression.trim().to_owned()))
}

/// Runs one of the commands of pools.
pub(crate) async fn run_pool(command: PoolCommand) -> anyhow::Result<()> {
    match command {
        PoolCommand::Create(args) => create_pool(args).await,
        PoolCommand::List(args) => list_pools(args).await,
        PoolCommand::Describe(args) => describe_pool(args).await,
        PoolCommand::Delete(args) => delete_pool(args).await,
    }
}

/// Runs one of the commands of providers.
pub(crate) async fn run_provider(command: ProviderCommand) -> anyhow::Result<()> {
    match command {
        ProviderCommand::Create(args) => create_provider(*args).await,
        ProviderCommand::List(args) => list_providers(args).await,
        ProviderCommand::Describe(args) => describe_provider(args).await,
        ProviderCommand::CreateCredFile(args) => create_cred_file(args).await,
        ProviderCommand::Delete(args) => delete_provider(args).await,
    }
}

async fn create_pool(args: CreatePoolArgs) -> anyhow::Result<()> {
    let CreatePoolArgs { pool, display_name, description, common } = args;
    let server = common.server.open().await?;
    let path = format!("{}?workloadIdentityPoolId={}", pools(&server).await?, path_segment(&pool.pool));
    let made = WorkloadIdentityPool { display_name, description, ..WorkloadIdentityPool::default() };
    let made: WorkloadIdentityPool = change(server.api().post(&path, &made).await?)?;
    Ok(print(&if common.json { json_line(&made)? } else { format!("created a pool\n{}", shown_pool(&made)) })?)
}

async fn list_pools(ListPoolsArgs { common }: ListPoolsArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let answer: ListPoolsResponse = server.api().get(&pools(&server).await?).await?;
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

async fn describe_pool(DescribePoolArgs { pool, common }: DescribePoolArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let pool: WorkloadIdentityPool =
        server.api().get(&pool_path(&server, &pool.pool).await?).await.map_err(advise_pool)?;
    Ok(print(&if common.json { json_line(&pool)? } else { shown_pool(&pool) })?)
}

async fn delete_pool(DeletePoolArgs { pool, common }: DeletePoolArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    server.api().delete(&pool_path(&server, &pool.pool).await?).await.map_err(advise_pool)?;
    let text = format!("deleted {}, its providers, and what was given to its identities\n", printable(&pool.pool));
    Ok(print(if common.json { "{}\n" } else { &text })?)
}

async fn create_provider(args: CreateProviderArgs) -> anyhow::Result<()> {
    let CreateProviderArgs { provider, issuer, audiences, mapping, condition, jwks_file, common, .. } = args;
    let server = common.server.open().await?;
    let jwks_json = jwks_file.as_deref().map(read).transpose()?;
    let mut attribute_mapping: BTreeMap<String, String> = mapping.into_iter().collect();
    attribute_mapping.entry("google.subject".to_owned()).or_insert_with(|| "assertion.sub".to_owned());
    let made = WorkloadIdentityPoolProvider {
        display_name: args.display_name,
        attribute_mapping,
        attribute_condition: condition,
        oidc: Some(Oidc {
            issuer_uri: issuer,
            allowed_audiences: audiences,
            jwks_json,
            insecure_loopback: args.insecure_loopback,
        }),
        ..WorkloadIdentityPoolProvider::default()
    };
    let path = format!(
        "{}/providers?workloadIdentityPoolProviderId={}",
        pool_path(&server, &provider.pool).await?,
        path_segment(&provider.provider)
    );
    let made: WorkloadIdentityPoolProvider = change(server.api().post(&path, &made).await.map_err(advise_pool)?)?;
    Ok(print(&if common.json { json_line(&made)? } else { format!("created a provider\n{}", shown_provider(&made)) })?)
}

async fn list_providers(ListProvidersArgs { pool, common }: ListProvidersArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let path = format!("{}/providers", pool_path(&server, &pool).await?);
    let answer: ListProvidersResponse = server.api().get(&path).await.map_err(advise_pool)?;
    if common.json {
        return Ok(print(&json_line(&answer)?)?);
    }
    let row = |provider: WorkloadIdentityPoolProvider| {
        let issuer = provider.oidc.map_or_else(String::new, |oidc| oidc.issuer_uri);
        [last(&provider.name).to_owned(), state(provider.disabled).to_owned(), issuer]
    };
    let rows: Vec<_> = answer.workload_identity_pool_providers.into_iter().map(row).collect();
    Ok(print(&table(["PROVIDER", "STATE", "ISSUER"], &rows))?)
}

async fn describe_provider(DescribeProviderArgs { provider, common }: DescribeProviderArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let path = provider_path(&server, &provider).await?;
    let found: WorkloadIdentityPoolProvider = server.api().get(&path).await.map_err(advise_provider)?;
    Ok(print(&if common.json { json_line(&found)? } else { shown_provider(&found) })?)
}

async fn delete_provider(DeleteProviderArgs { provider, common }: DeleteProviderArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    server.api().delete(&provider_path(&server, &provider).await?).await.map_err(advise_provider)?;
    let text = format!("deleted {}, and what was given for its tokens\n", printable(&provider.provider));
    Ok(print(if common.json { "{}\n" } else { &text })?)
}

/// Makes the file from what is known here: it names addresses, and nothing in it is asked for.
async fn create_cred_file(args: CreateCredFileArgs) -> anyhow::Result<()> {
    let CreateCredFileArgs { provider, service_account, token_file, common } = args;
    let server = common.server.open().await?;
    let account = service_account.address(server.dev())?;
    let token_file = std::path::absolute(&token_file).context("the current folder is not known")?;
    let (number, ProviderArgs { provider, pool }) = (server.project_number().await?, provider);
    let file = serde_json::json!({
        "type": "external_account",
        "audience": format!(
            "//iam.googleapis.com/projects/{number}/locations/global/workloadIdentityPools/{pool}/providers/{provider}"
        ),
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": format!("{}/v1/token", server.base("sts.googleapis.com")),
        "service_account_impersonation_url": format!(
            "{}/v1/projects/-/serviceAccounts/{account}:generateAccessToken",
            server.base("iamcredentials.googleapis.com")
        ),
        "credential_source": {"file": token_file},
    });
    Ok(print(&(serde_json::to_string_pretty(&file)? + "\n"))?)
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Changes are done when they are answered.
fn change<T: serde::de::DeserializeOwned>(operation: Operation) -> anyhow::Result<T> {
    serde_json::from_value(operation.response).context("the answer is not what was made: are both of one version?")
}

async fn pools(server: &Server) -> anyhow::Result<String> {
    let number = server.project_number().await?;
    Ok(format!("/iam.googleapis.com/v1/projects/{number}/locations/global/workloadIdentityPools"))
}

async fn pool_path(server: &Server, pool: &str) -> anyhow::Result<String> {
    Ok(format!("{}/{}", pools(server).await?, path_segment(pool)))
}

async fn provider_path(server: &Server, ProviderArgs { provider, pool }: &ProviderArgs) -> anyhow::Result<String> {
    Ok(format!("{}/providers/{}", pool_path(server, pool).await?, path_segment(provider)))
}

fn advise_pool(error: ApiError) -> anyhow::Error {
    error.advise(Status::NotFound, "`doorward workload-identity-pool list` shows the pools")
}

fn advise_provider(error: ApiError) -> anyhow::Error {
    let see = "`doorward workload-identity-provider list --pool POOL` shows the providers of a pool";
    error.advise(Status::NotFound, see)
}

fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

fn state(disabled: bool) -> &'static str {
    if disabled { "disabled" } else { "active" }
}

/// A pool for people, with the members that policies name its identities by.
fn shown_pool(pool: &WorkloadIdentityPool) -> String {
    let members = format!("principalSet://iam.googleapis.com/{}/*", pool.name);
    lines(&[
        ("pool", last(&pool.name)),
        ("name", &pool.display_name),
        ("about", &pool.description),
        ("state", state(pool.disabled)),
        ("all of it", &members),
    ])
}

fn shown_provider(provider: &WorkloadIdentityPoolProvider) -> String {
    let oidc = provider.oidc.clone().unwrap_or_default();
    let name = format!("//iam.googleapis.com/{}", provider.name);
    let audiences = match oidc.allowed_audiences.is_empty() {
        true => format!("https:{name}"),
        false => oidc.allowed_audiences.join(" "),
    };
    let mapping: Vec<String> =
        provider.attribute_mapping.iter().map(|(attribute, expression)| format!("{attribute}={expression}")).collect();
    lines(&[
        ("provider", last(&provider.name)),
        ("name", &provider.display_name),
        ("state", state(provider.disabled)),
        ("issuer", &oidc.issuer_uri),
        ("audience", &audiences),
        ("mapping", &mapping.join(", ")),
        ("condition", provider.attribute_condition.as_deref().unwrap_or_default()),
        ("exchange", &name),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_an_attribute_and_an_expression() {
        #[rustfmt::skip]
        let cases = [
            ("google.subject=assertion.sub",             Some(("google.subject", "assertion.sub"))),
            ("attribute.main=assertion.ref == 'main'",   Some(("attribute.main", "assertion.ref == 'main'"))),
            (" attribute.a = assertion.b ",              Some(("attribute.a", "assertion.b"))),
            ("assertion.sub",                            None),
        ];
        for (text, expected) in cases {
            let read = pair(text).ok();
            assert_eq!(read.as_ref().map(|(a, b)| (a.as_str(), b.as_str())), expected, "{text}");
        }
    }
}
