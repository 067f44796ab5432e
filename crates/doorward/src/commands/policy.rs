//! `doorward policy`: who may do what, through the methods that every Google API has for it. And what it shares with
//! `doorward service-account policy`.

use std::path::PathBuf;

use doorward_wire::doorward_api::ApplicationResource;
use doorward_wire::google_api::{Expr, Policy, Status};

use super::{Common, app};
use crate::condition::{FORM, condition};
use crate::file::{self, Input};
use crate::iam_policy::{Change, Governed, MemberArg, Named, member, member_forms};
use crate::server::Server;
use doorward_wire::uri::path_segment;

/// What a command line says of a place that has a policy.
pub(crate) trait Place: clap::Args {
    /// What is held there if no role is named.
    const DEFAULT_ROLE: &'static str;
    /// Of the commands together.
    const HELP: Help;
    /// Of `show`.
    const SHOW: Help;
    /// Of `add`.
    const ADD: Help;
    /// Of `remove`.
    const REMOVE: Help;
    /// Of `set`.
    const SET: Help;
    /// Of `test`.
    const TEST: Help;

    /// The resource whose policy it is.
    async fn governed(&self, server: &Server) -> anyhow::Result<Governed>;
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
    #[command(about = P::SHOW.about, after_help = P::SHOW.after, visible_alias = "get")]
    Show(ShowArgs<P>),
    #[command(about = P::ADD.about, after_help = P::ADD.after)]
    Add(ChangeArgs<P>),
    #[command(about = P::REMOVE.about, after_help = P::REMOVE.after)]
    Remove(ChangeArgs<P>),
    #[command(about = P::SET.about, after_help = P::SET.after)]
    Set(SetArgs<P>),
    #[command(about = P::TEST.about, after_help = P::TEST.after)]
    Test(TestArgs<P>),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs<P: Place> {
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
    /// When they hold it; only the expression must be there
    #[arg(long, value_name = FORM, value_parser = condition)]
    condition: Option<Expr>,
    /// Instead: a file of such a condition, in YAML, JSON or TOML
    #[arg(long, value_name = "FILE", conflicts_with = "condition")]
    condition_file: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SetArgs<P: Place> {
    #[command(flatten)]
    place: P,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TestArgs<P: Place> {
    #[command(flatten)]
    place: P,
    /// A permission, such as iap.webServiceVersions.accessViaIAP; may be given several times
    #[arg(long = "permission", value_name = "PERMISSION", required = true)]
    permissions: Vec<String>,
    #[command(flatten)]
    common: Common,
}

/// Runs one of the commands.
pub(crate) async fn run<P: Place>(command: Command<P>) -> anyhow::Result<()> {
    match command {
        Command::Show(ShowArgs { place, common }) => {
            let server = common.server.open().await?;
            place.governed(&server).await?.show(server.api(), common.json).await
        }
        Command::Add(args) => change(Change::Add, args).await,
        Command::Remove(args) => change(Change::Remove, args).await,
        Command::Set(SetArgs { place, input, common }) => {
            // A file that cannot be read is told before anybody is asked.
            let policy: Policy = input.read()?;
            let server = common.server.open().await?;
            place.governed(&server).await?.set(server.api(), policy, common.json).await
        }
        Command::Test(TestArgs { place, permissions, common }) => {
            let server = common.server.open().await?;
            place.governed(&server).await?.test(server.api(), permissions, common.json).await
        }
    }
}

async fn change<P: Place>(change: Change, args: ChangeArgs<P>) -> anyhow::Result<()> {
    let ChangeArgs { place, member, role, condition, condition_file, common } = args;
    let condition = match condition_file {
        Some(path) => Some(file::read(&path)?),
        None => condition,
    };
    let server = common.server.open().await?;
    let named = Named { role, member: member.of(&server)?, condition };
    place.governed(&server).await?.make(&server, change, &named, common.json).await
}

/// The applications and what is above them.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Target {
    /// An application, by its name; `app` and `other_app` are those of dev.json
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// All applications together
    #[arg(long)]
    web: bool,
    /// The project, with all that is in it
    #[arg(long)]
    project: bool,
    /// A resource by its name, such as projects/NUMBER/iap_web/compute or organizations/NUMBER
    #[arg(long, value_name = "RESOURCE_NAME")]
    resource: Option<String>,
}

impl Target {
    /// The resource's name.
    pub(super) async fn resource(&self, server: &Server) -> anyhow::Result<String> {
        if let Some(name) = &self.app {
            return application_resource(server, name).await;
        }
        if let Some(resource) = &self.resource {
            return Ok(resource.clone());
        }
        let number = server.project_number().await?;
        // The group demands one of the four.
        Ok(if self.web { format!("projects/{number}/iap_web") } else { format!("projects/{number}") })
    }
}

/// The resource of an application.
async fn application_resource(server: &Server, name: &str) -> anyhow::Result<String> {
    let known = server.dev().and_then(|world| match name {
        "app" => Some(&world.app),
        "other_app" | "other-app" => Some(&world.other_app),
        _ => None,
    });
    if let Some(app) = known {
        return Ok(app.resource.clone());
    }
    let found: Result<ApplicationResource, _> =
        server.api().get(&format!("{}/{}", app::PATH, path_segment(name))).await;
    Ok(found.map_err(|error| error.advise(Status::NotFound, app::SEE_LIST))?.resource)
}

/// What to do if there is no such resource.
pub(super) const NAME_ANOTHER: &str =
    "`doorward app list` shows the applications, and `doorward app describe` the resource of one";

impl Place for Target {
    const DEFAULT_ROLE: &'static str = "roles/iap.httpsResourceAccessor";
    const HELP: Help = Help {
        about: "Show and change who may reach the applications, and who may administer them",
        after: "\
Example:
  doorward policy show --app app
  doorward policy add --app app --member user:bob@example.com",
    };
    const SHOW: Help = Help {
        about: "Show the bindings of a resource; those of the resources above it count too",
        after: "\
Example:
  doorward policy show --app app
  doorward policy show --project --json > policy.json",
    };
    const ADD: Help = Help {
        about: "Let a member in, from the next request on",
        after: concat!(
            "Members: ",
            member_forms!(),
            ".\n
Example:
  doorward policy add --app app --member user:bob@example.com
  doorward policy add --web --member domain:example.com
  doorward policy add --app app --member group:staff@example.com --condition 'expression=request.path.startsWith(\"/docs\"),title=docs'"
        ),
    };
    const REMOVE: Help = Help {
        about: "Take a binding away, from the next request on",
        after: "\
A binding with a condition is named by its expression: without --condition, only one that has none is taken away.

Example:
  doorward policy remove --app app --member user:bob@example.com",
    };
    const SET: Help = Help {
        about: "Replace the whole policy of a resource by that of a file",
        after: "\
The file is what `doorward policy show --json` and `gcloud iap web get-iam-policy` print. With its etag, it replaces only the policy that
was read; without one, whatever is there.

Example:
  doorward policy show --app app --json > policy.json
  doorward policy set --app app -f policy.json",
    };
    const TEST: Help = Help {
        about: "Show which of some permissions you hold on a resource",
        after: "\
Example:
  doorward policy test --app app --permission iap.webServices.setIamPolicy --permission iap.webServices.getIamPolicy",
    };

    async fn governed(&self, server: &Server) -> anyhow::Result<Governed> {
        let shown_by = match self {
            Target { app: Some(name), .. } => format!("doorward policy show --app {name}"),
            Target { resource: Some(name), .. } => format!("doorward policy show --resource {name}"),
            Target { web: true, .. } => "doorward policy show --web".to_owned(),
            Target { .. } => "doorward policy show --project".to_owned(),
        };
        Ok(Governed::named(self.resource(server).await?, shown_by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    use crate::api::tests::{block_on, replay};
    use crate::server::tests::server_at;

    #[test]
    fn a_resource_is_named_by_what_it_is_and_an_application_is_asked_for_by_its_name() {
        let (address, asked) = replay(vec![
            (200, json!({"name": "wiki", "resource": "projects/123/iap_web/compute/services/7"})),
            (404, json!({"error": {"code": 404, "message": "No such thing.", "status": "NOT_FOUND"}})),
        ]);
        let server = server_at(address);
        let none = || Target { app: None, web: false, project: false, resource: None };
        let app = |name: &str| Target { app: Some(name.to_owned()), ..none() };
        #[rustfmt::skip]
        let cases = [
            (app("app"),                                              Ok("projects/123/iap_web/compute/services/app")),
            (app("other_app"),                                        Ok("projects/123/iap_web/compute/services/other-app")),
            (Target { web: true, ..none() },                          Ok("projects/123/iap_web")),
            (Target { project: true, ..none() },                      Ok("projects/123")),
            (Target { resource: Some("folders/1".into()), ..none() }, Ok("folders/1")),
            (app("wiki"),                                             Ok("projects/123/iap_web/compute/services/7")),
            (app("a/b"),                                              Err("No such thing. (NOT_FOUND): `doorward app list` shows the applications")),
        ];
        for (target, expected) in cases {
            let resource = block_on(target.resource(&server)).map_err(|error| error.to_string());
            assert_eq!(resource, expected.map(str::to_owned).map_err(str::to_owned));
        }
        let asked = asked.join().unwrap();
        assert!(asked[0].starts_with("GET /doorward/v1/applications/wiki HTTP/1.1\r\n"));
        assert!(asked[1].starts_with("GET /doorward/v1/applications/a%2Fb HTTP/1.1\r\n"));
    }
}
