//! `doorward policy`: who may reach what, through the methods of `iap.googleapis.com`.

use doorward_core::member::Member;
use doorward_server::dev::description::Description;

use crate::api::Api;
use crate::iam_policy::{Change, Governed, member};
use crate::world::{AppName, WorldArgs};

/// Show and change who may reach the applications
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  doorward policy get --app app
  doorward policy add --app app --member user:bob@example.com")]
pub(crate) enum Command {
    Get(GetArgs),
    Add(AddArgs),
    Remove(RemoveArgs),
}

/// Show the bindings of a resource; those of the resources above it count too
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward policy get --app app")]
pub(crate) struct GetArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    common: Common,
}

/// Let a member in, from the next request on
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Members: user:EMAIL, serviceAccount:EMAIL, domain:DOMAIN, allAuthenticatedUsers, allUsers.

Example:
  doorward policy add --app app --member user:bob@example.com
  doorward policy add --project --member domain:example.com")]
pub(crate) struct AddArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    binding: BindingArgs,
    #[command(flatten)]
    common: Common,
}

/// Take a binding away, from the next request on
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward policy remove --app app --member user:bob@example.com")]
pub(crate) struct RemoveArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    binding: BindingArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Target {
    /// An application
    #[arg(long, value_name = "NAME")]
    app: Option<AppName>,
    /// All applications of the project
    #[arg(long)]
    project: bool,
    /// A resource by its name, such as projects/NUMBER/iap_web/compute
    #[arg(long, value_name = "RESOURCE_NAME")]
    resource: Option<String>,
}

#[derive(Debug, clap::Args)]
struct BindingArgs {
    /// Who
    #[arg(long, value_parser = member)]
    member: Member,
    /// What they hold
    #[arg(long, default_value = "roles/iap.httpsResourceAccessor")]
    role: String,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Print the policy as the API answers it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    world: WorldArgs,
}

impl Target {
    /// The resource's name.
    pub(super) fn resource(&self, world: &Description) -> String {
        match (self.app, &self.resource) {
            (Some(app), _) => app.of(world).resource.clone(),
            (None, Some(resource)) => resource.clone(),
            // The group demands one of the three.
            (None, None) => format!("projects/{}/iap_web", world.project.number),
        }
    }
}

/// Runs one of the commands.
pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Get(GetArgs { target, common }) => {
            let world = common.world.open()?;
            governed(target.resource(&world)).show(&Api::of(&world)?, common.json).await
        }
        Command::Add(AddArgs { target, binding, common }) => change(Change::Add, target, binding, common).await,
        Command::Remove(RemoveArgs { target, binding, common }) => {
            change(Change::Remove, target, binding, common).await
        }
    }
}

async fn change(change: Change, target: Target, binding: BindingArgs, common: Common) -> anyhow::Result<()> {
    let world = common.world.open()?;
    let governed = governed(target.resource(&world));
    governed.make(&Api::of(&world)?, change, (&binding.role, &binding.member), common.json).await
}

/// What to do if there is no such resource.
pub(super) const NAME_ANOTHER: &str = "name an application with --app, or a `resource` of dev.json with --resource";

fn governed(resource: String) -> Governed {
    let shown_by = "doorward policy get".to_owned();
    Governed { resource, host: "iap.googleapis.com", if_not_found: NAME_ANOTHER, shown_by }
}
