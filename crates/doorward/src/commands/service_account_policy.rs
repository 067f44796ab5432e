//! `doorward service-account policy`: who may act as a service account, through the methods of `iam.googleapis.com`.

use doorward_core::member::{Email, Member};

use super::Common;
use super::service_account::SEE_LIST;
use crate::api::Api;
use crate::iam_policy::{Change, Governed, member};

/// Show and change who may make tokens of a service account
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  doorward service-account policy get --account target@doorward-dev.iam.gserviceaccount.com")]
pub(crate) enum Command {
    Get(GetArgs),
    Add(AddArgs),
    Remove(RemoveArgs),
}

/// Show the bindings on a service account
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward service-account policy get --account target@doorward-dev.iam.gserviceaccount.com")]
pub(crate) struct GetArgs {
    #[command(flatten)]
    account: AccountArgs,
    #[command(flatten)]
    common: Common,
}

/// Let a member act as a service account, from the next call on
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Roles: roles/iam.serviceAccountTokenCreator (tokens and signatures), roles/iam.serviceAccountOpenIdTokenCreator (ID tokens
alone), roles/iam.workloadIdentityUser (access and ID tokens).

Example:
  doorward service-account policy add --account target@doorward-dev.iam.gserviceaccount.com --member user:bob@example.com")]
pub(crate) struct AddArgs {
    #[command(flatten)]
    account: AccountArgs,
    #[command(flatten)]
    binding: BindingArgs,
    #[command(flatten)]
    common: Common,
}

/// Take a binding on a service account away, from the next call on
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward service-account policy remove --account target@doorward-dev.iam.gserviceaccount.com --member user:bob@example.com")]
pub(crate) struct RemoveArgs {
    #[command(flatten)]
    account: AccountArgs,
    #[command(flatten)]
    binding: BindingArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct AccountArgs {
    /// The address of the service account that others act as
    #[arg(long = "account", value_name = "EMAIL")]
    email: Email,
}

#[derive(Debug, clap::Args)]
struct BindingArgs {
    /// Who
    #[arg(long, value_parser = member)]
    member: Member,
    /// What they hold
    #[arg(long, default_value = "roles/iam.serviceAccountTokenCreator")]
    role: String,
}

/// Runs one of the commands.
pub(super) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Get(GetArgs { account, common }) => {
            let world = common.world.open()?;
            governed(&account.email).show(&Api::of(&world)?, common.json).await
        }
        Command::Add(AddArgs { account, binding, common }) => change(Change::Add, account, binding, common).await,
        Command::Remove(RemoveArgs { account, binding, common }) => {
            change(Change::Remove, account, binding, common).await
        }
    }
}

async fn change(
    change: Change,
    AccountArgs { email }: AccountArgs,
    BindingArgs { member, role }: BindingArgs,
    common: Common,
) -> anyhow::Result<()> {
    let world = common.world.open()?;
    governed(&email).make(&Api::of(&world)?, change, (&role, &member), common.json).await
}

fn governed(email: &Email) -> Governed {
    Governed {
        // Google's clients write `-` for the project, and demand it where tokens are made.
        resource: format!("projects/-/serviceAccounts/{email}"),
        host: "iam.googleapis.com",
        if_not_found: SEE_LIST,
        shown_by: format!("doorward service-account policy get --account {email}"),
    }
}
