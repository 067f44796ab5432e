//! `doorward policy`: who may reach what, through the methods of `iap.googleapis.com`. And what it shares with
//! `doorward service-account policy`.

use doorward_server::dev::description::Description;

use super::Common;
use crate::api::Api;
use crate::iam_policy::{Change, Governed, MemberArg, member, member_forms};
use crate::world::AppName;

/// What a command line says of a place that has a policy.
pub(crate) trait Place: clap::Args {
    /// What is held there if no role is named.
    const DEFAULT_ROLE: &'static str;
    /// Of the commands together.
    const HELP: Help;
    /// Of `get`.
    const GET: Help;
    /// Of `add`.
    const ADD: Help;
    /// Of `remove`.
    const REMOVE: Help;

    /// The resource whose policy it is.
    fn governed(&self, world: &Description) -> anyhow::Result<Governed>;
}

/// How a command explains itself.
pub(crate) struct Help {
    /// In one line.
    pub(crate) about: &'static str,
    /// More, and an example.
    pub(crate) after: &'static str,
}

#[derive(Debug, clap::Subcommand)]
#[command(about = P::HELP.about, after_help = P::HELP.after)]
pub(crate) enum Command<P: Place> {
    #[command(about = P::GET.about, after_help = P::GET.after)]
    Get(GetArgs<P>),
    #[command(about = P::ADD.about, after_help = P::ADD.after)]
    Add(ChangeArgs<P>),
    #[command(about = P::REMOVE.about, after_help = P::REMOVE.after)]
    Remove(ChangeArgs<P>),
}

#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs<P: Place> {
    #[command(flatten)]
    place: P,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ChangeArgs<P: Place> {
    #[command(flatten)]
    place: P,
    /// Who
    #[arg(long, value_parser = member)]
    member: MemberArg,
    /// What they hold
    #[arg(long, default_value = P::DEFAULT_ROLE)]
    role: String,
    #[command(flatten)]
    common: Common,
}

/// Runs one of the commands.
pub(crate) async fn run<P: Place>(command: Command<P>) -> anyhow::Result<()> {
    match command {
        Command::Get(GetArgs { place, common }) => {
            let world = common.world.open()?;
            place.governed(&world)?.show(&Api::of(&world)?, common.json).await
        }
        Command::Add(args) => change(Change::Add, args).await,
        Command::Remove(args) => change(Change::Remove, args).await,
    }
}

async fn change<P: Place>(change: Change, args: ChangeArgs<P>) -> anyhow::Result<()> {
    let ChangeArgs { place, member, role, common } = args;
    let world = common.world.open()?;
    let member = member.of(&world)?;
    place.governed(&world)?.make(&world, change, (&role, &member), common.json).await
}

/// The applications and what is above them.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Target {
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

/// What to do if there is no such resource.
pub(super) const NAME_ANOTHER: &str = "name an application with --app, or a `resource` of dev.json with --resource";

impl Place for Target {
    const DEFAULT_ROLE: &'static str = "roles/iap.httpsResourceAccessor";
    const HELP: Help = Help {
        about: "Show and change who may reach the applications",
        after: "\
Example:
  doorward policy get --app app
  doorward policy add --app app --member user:bob@example.com",
    };
    const GET: Help = Help {
        about: "Show the bindings of a resource; those of the resources above it count too",
        after: "\
Example:
  doorward policy get --app app",
    };
    const ADD: Help = Help {
        about: "Let a member in, from the next request on",
        after: concat!(
            "Members: ",
            member_forms!(),
            ".\n
Example:
  doorward policy add --app app --member user:bob@example.com
  doorward policy add --project --member domain:example.com"
        ),
    };
    const REMOVE: Help = Help {
        about: "Take a binding away, from the next request on",
        after: "\
Example:
  doorward policy remove --app app --member user:bob@example.com",
    };

    fn governed(&self, world: &Description) -> anyhow::Result<Governed> {
        let (resource, shown_by) = (self.resource(world), "doorward policy get".to_owned());
        Ok(Governed { resource, host: "iap.googleapis.com", if_not_found: NAME_ANOTHER, shown_by })
    }
}
