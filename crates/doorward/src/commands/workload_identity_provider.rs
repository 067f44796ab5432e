//! `doorward workload-identity-provider`: the issuers that vouch for identities of a pool, through the IAM API.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use doorward_core::federation::FederationId;
use doorward_core::issuer::is_issuer;
use doorward_wire::google_api::{ListProvidersResponse, Oidc, Status, WorkloadIdentityPoolProvider};
use doorward_wire::oauth::JWT_TYPE;

use super::Common;
use super::workload_identity::{HOST, advise_pool, change, full_name, last, pool_name, pool_path, state};
use crate::account::Account;
use crate::api::ApiError;
use crate::iam_policy::resource_path;
use crate::output::{json_line, lines, print, table};
use crate::server::Server;

/// Create, list, describe and delete providers: the issuers that vouch for identities of a pool
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  doorward workload-identity-provider create github --pool ci-pool \\
      --issuer https://token.actions.githubusercontent.com \\
      --map attribute.repository=assertion.repository --condition \"assertion.repository_owner == 'octo-org'\"
  doorward workload-identity-provider list --pool ci-pool")]
pub(crate) enum Command {
    Create(Box<CreateArgs>),
    List(ListArgs),
    Describe(DescribeArgs),
    CreateCredFile(CreateCredFileArgs),
    Delete(DeleteArgs),
}

/// Create a provider: an OpenID Connect issuer, and what its tokens must say
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Expressions are CEL over `assertion`, the claims of the token. Without --map, google.subject is assertion.sub. Without --audience, a
token must name the provider itself as its audience, as the command prints it.

Example:
  doorward workload-identity-provider create cluster --pool ci-pool --issuer https://k8s.example.com
  doorward workload-identity-provider create laptop --pool ci-pool --issuer http://127.0.0.1:9000 --insecure-loopback")]
pub(crate) struct CreateArgs {
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
pub(crate) struct ListArgs {
    /// The pool
    #[arg(long, value_name = "POOL")]
    pool: FederationId,
    #[command(flatten)]
    common: Common,
}

/// Show a provider
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward workload-identity-provider describe github --pool ci-pool")]
pub(crate) struct DescribeArgs {
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
pub(crate) struct DeleteArgs {
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
    provider: FederationId,
    /// The pool
    #[arg(long, value_name = "POOL")]
    pool: FederationId,
}

impl ProviderArgs {
    /// `projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER`
    async fn name(&self, server: &Server) -> anyhow::Result<String> {
        Ok(format!("{}/providers/{}", pool_name(server, &self.pool).await?, self.provider.as_str()))
    }

    async fn path(&self, server: &Server) -> anyhow::Result<String> {
        Ok(resource_path(HOST, &self.name(server).await?))
    }
}

/// Whether only `--insecure-loopback` makes this URL one of an issuer. The server says the same in the words of its API.
fn needs_insecure_loopback(issuer: &str) -> bool {
    is_issuer(issuer, true) && !is_issuer(issuer, false)
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (attribute, expression) =
        text.split_once('=').ok_or("write ATTRIBUTE=EXPRESSION, such as google.subject=assertion.sub")?;
    Ok((attribute.trim().to_owned(), expression.trim().to_owned()))
}

/// Runs one of the commands.
pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(args) => create(*args).await,
        Command::List(args) => list(args).await,
        Command::Describe(args) => describe(args).await,
        Command::CreateCredFile(args) => create_cred_file(args).await,
        Command::Delete(args) => delete(args).await,
    }
}

async fn create(args: CreateArgs) -> anyhow::Result<()> {
    let CreateArgs { provider, issuer, audiences, mapping, condition, jwks_file, common, .. } = args;
    if needs_insecure_loopback(&issuer) && !args.insecure_loopback {
        bail!("{issuer} is on this machine and speaks plain HTTP: allow that with --insecure-loopback, or use https");
    }
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
    let ProviderArgs { provider, pool } = provider;
    let pool = pool_path(&server, &pool).await?;
    let path = format!("{pool}/providers?workloadIdentityPoolProviderId={}", provider.as_str());
    let made: WorkloadIdentityPoolProvider = change(server.api().post(&path, &made).await.map_err(advise_pool)?)?;
    Ok(print(&if common.json { json_line(&made)? } else { format!("created a provider\n{}", shown(&made)) })?)
}

async fn list(ListArgs { pool, common }: ListArgs) -> anyhow::Result<()> {
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

async fn describe(DescribeArgs { provider, common }: DescribeArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let path = provider.path(&server).await?;
    let found: WorkloadIdentityPoolProvider = server.api().get(&path).await.map_err(advise)?;
    Ok(print(&if common.json { json_line(&found)? } else { shown(&found) })?)
}

async fn delete(DeleteArgs { provider, common }: DeleteArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    server.api().delete(&provider.path(&server).await?).await.map_err(advise)?;
    let text = format!("deleted {}, and what was given for its tokens\n", provider.provider.as_str());
    Ok(print(if common.json { "{}\n" } else { &text })?)
}

/// Makes the file from what is known here: it names addresses, and nothing in it is asked for.
async fn create_cred_file(args: CreateCredFileArgs) -> anyhow::Result<()> {
    let CreateCredFileArgs { provider, service_account, token_file, common } = args;
    let server = common.server.open().await?;
    let account = service_account.address(server.dev())?;
    let token_file = std::path::absolute(&token_file).context("the current folder is not known")?;
    let file = serde_json::json!({
        "type": "external_account",
        "audience": full_name(&provider.name(&server).await?),
        "subject_token_type": JWT_TYPE,
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

fn advise(error: ApiError) -> anyhow::Error {
    let see = "`doorward workload-identity-provider list --pool POOL` shows the providers of a pool";
    error.advise(Status::NotFound, see)
}

fn shown(provider: &WorkloadIdentityPoolProvider) -> String {
    let oidc = provider.oidc.clone().unwrap_or_default();
    let name = full_name(&provider.name);
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
    fn an_issuer_on_this_machine_that_speaks_plain_http_needs_the_option() {
        #[rustfmt::skip]
        let cases = [
            ("http://127.0.0.1:9000",   true),
            ("http://localhost:9000/a", true),
            ("https://127.0.0.1:9000",  false),
            ("https://k8s.example.com", false),
            ("http://k8s.example.com",  false),
            ("nonsense",                false),
        ];
        for (issuer, needed) in cases {
            assert_eq!(needs_insecure_loopback(issuer), needed, "{issuer}");
        }
    }

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
