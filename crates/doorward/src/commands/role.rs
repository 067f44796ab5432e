//! `doorward role`: what the roles give, and roles of our own, through the methods of `iam.googleapis.com`.

use anyhow::bail;
use doorward_wire::google_api::Status;
use doorward_wire::google_api::iam_roles::{
    CreateRoleRequest, ListRolesResponse, Role, RoleLaunchStage, UndeleteRoleRequest,
};
use serde_json::json;

use super::Common;
use crate::api::{ApiError, every_page, with_query};
use crate::iam_policy::resource_path;
use crate::output::{json_line, lines, print, printable, table};
use crate::server::Server;

const HOST: &str = "iam.googleapis.com";
const SEE_LIST: &str =
    "`doorward role list` shows the roles of the project, and with --predefined those that are always there";

/// Show what roles give, and make roles of your own
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  doorward role describe roles/iap.admin
  doorward role create wikiEditor --permission iap.webServices.getIamPolicy --permission iap.webServices.setIamPolicy")]
pub(crate) enum Command {
    List(ListArgs),
    Describe(DescribeArgs),
    Create(CreateArgs),
    Update(UpdateArgs),
    Delete(DeleteArgs),
    Undelete(UndeleteArgs),
}

/// List the roles of the project's own
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward role list
  doorward role list --predefined")]
pub(crate) struct ListArgs {
    /// Those that are always there instead
    #[arg(long)]
    predefined: bool,
    /// Those of an organization instead
    #[arg(long, value_name = "NUMBER", conflicts_with = "predefined")]
    organization: Option<String>,
    /// Deleted ones too
    #[arg(long, conflicts_with = "predefined")]
    show_deleted: bool,
    #[command(flatten)]
    common: Common,
}

/// Show a role and its permissions
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward role describe roles/iap.httpsResourceAccessor
  doorward role describe wikiEditor")]
pub(crate) struct DescribeArgs {
    #[command(flatten)]
    role: RoleArgs,
    #[command(flatten)]
    common: Common,
}

/// Create a role of the project's own
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward role create wikiEditor --title 'Edits who may enter' --permission iap.webServices.getIamPolicy --permission iap.webServices.setIamPolicy
  doorward policy add --app wiki --member user:ann@example.com --role projects/PROJECT/roles/wikiEditor")]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    role: RoleArgs,
    /// What it gives, such as iap.webServices.setIamPolicy; may be given several times
    #[arg(long = "permission", value_name = "PERMISSION", required = true)]
    permissions: Vec<String>,
    /// A name for people
    #[arg(long, value_name = "TITLE", default_value = "", hide_default_value = true)]
    title: String,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
    /// How far along it is
    #[arg(long, value_enum, default_value = "ga")]
    stage: Stage,
    #[command(flatten)]
    common: Common,
}

/// Change a role of the project's own: what is given replaces what it was, and the rest stays
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward role update wikiEditor --add-permission iap.webServices.getSettings
  doorward role update wikiEditor --stage disabled")]
pub(crate) struct UpdateArgs {
    #[command(flatten)]
    role: RoleArgs,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Default, clap::Args)]
#[group(required = true, multiple = true)]
struct ChangeArgs {
    /// All that it gives
    #[arg(long = "permission", value_name = "PERMISSION", conflicts_with_all = ["add", "remove"])]
    permissions: Vec<String>,
    /// What it gives besides
    #[arg(long = "add-permission", value_name = "PERMISSION")]
    add: Vec<String>,
    /// What it gives no more
    #[arg(long = "remove-permission", value_name = "PERMISSION")]
    remove: Vec<String>,
    /// A name for people
    #[arg(long, value_name = "TITLE")]
    title: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// How far along it is; a disabled one gives nothing
    #[arg(long, value_enum)]
    stage: Option<Stage>,
}

/// Delete a role of the project's own: it gives nothing from then on, and can be brought back
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward role delete wikiEditor")]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    role: RoleArgs,
    #[command(flatten)]
    common: Common,
}

/// Bring a deleted role back
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward role undelete wikiEditor")]
pub(crate) struct UndeleteArgs {
    #[command(flatten)]
    role: RoleArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct RoleArgs {
    /// The id of a role of the project, or a whole name: roles/ID, projects/PROJECT/roles/ID, organizations/NUMBER/roles/ID
    #[arg(value_name = "ROLE")]
    role: String,
}

impl RoleArgs {
    async fn name(&self, server: &Server) -> anyhow::Result<String> {
        match self.role.contains('/') {
            true => Ok(self.role.clone()),
            false => Ok(format!("projects/{}/roles/{}", server.project().await?.id, self.role)),
        }
    }
}

/// How far along a role is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Stage {
    Alpha,
    Beta,
    Ga,
    Deprecated,
    /// It gives nothing
    Disabled,
    Eap,
}

impl Stage {
    fn wire(self) -> RoleLaunchStage {
        match self {
            Stage::Alpha => RoleLaunchStage::Alpha,
            Stage::Beta => RoleLaunchStage::Beta,
            Stage::Ga => RoleLaunchStage::Ga,
            Stage::Deprecated => RoleLaunchStage::Deprecated,
            Stage::Disabled => RoleLaunchStage::Disabled,
            Stage::Eap => RoleLaunchStage::Eap,
        }
    }
}

/// Runs one of the commands.
pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(args) => list(args).await,
        Command::Describe(args) => describe(args).await,
        Command::Create(args) => create(args).await,
        Command::Update(args) => update(args).await,
        Command::Delete(args) => delete(args).await,
        Command::Undelete(args) => undelete(args).await,
    }
}

async fn list(ListArgs { predefined, organization, show_deleted, common }: ListArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let parent = match organization {
        _ if predefined => "roles".to_owned(),
        Some(number) => format!("organizations/{number}/roles"),
        None => format!("projects/{}/roles", server.project().await?.id),
    };
    let mut path = resource_path(HOST, &parent);
    if show_deleted {
        path = with_query(&path, &[("showDeleted", "true")]);
    }
    let page = |page: ListRolesResponse| (page.roles, page.next_page_token);
    let roles = every_page(server.api(), &path, page).await?;
    if common.json {
        return Ok(print(&json_line(&ListRolesResponse { roles, next_page_token: None })?)?);
    }
    let rows: Vec<_> = roles.into_iter().map(|role| [stage(&role), role.name, role.title]).collect();
    let rows: Vec<_> = rows.into_iter().map(|[stage, name, title]| [name, title, stage]).collect();
    Ok(print(&table(["NAME", "TITLE", "STAGE"], &rows))?)
}

async fn describe(DescribeArgs { role, common }: DescribeArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let path = resource_path(HOST, &role.name(&server).await?);
    let found: Role = server.api().get(&path).await.map_err(advise)?;
    Ok(print(&if common.json { json_line(&found)? } else { shown(&found) })?)
}

async fn create(args: CreateArgs) -> anyhow::Result<()> {
    let CreateArgs { role, permissions, title, description, stage, common } = args;
    let server = common.server.open().await?;
    let name = role.name(&server).await?;
    let Some((parent, role_id)) = name.split_once("/roles/") else {
        bail!("{name} is one of those that are always there: name a role of the project by an id, such as wikiEditor");
    };
    let role =
        Role { title, description, included_permissions: permissions, stage: Some(stage.wire()), ..Role::default() };
    let request = CreateRoleRequest { role_id: role_id.to_owned(), role };
    let made: Result<Role, _> = server.api().post(&resource_path(HOST, &format!("{parent}/roles")), &request).await;
    let made = made.map_err(|error| error.advise(Status::AlreadyExists, "`doorward role update` changes it"))?;
    Ok(print(&if common.json { json_line(&made)? } else { format!("created a role\n{}", shown(&made)) })?)
}

async fn update(UpdateArgs { role, change, common }: UpdateArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let path = resource_path(HOST, &role.name(&server).await?);
    let old: Role = server.api().get(&path).await.map_err(advise)?;
    let (new, mask) = change.on(old)?;
    let changed: Role = server.api().patch(&with_query(&path, &[("updateMask", &mask)]), &new).await.map_err(advise)?;
    Ok(print(&if common.json { json_line(&changed)? } else { format!("changed a role\n{}", shown(&changed)) })?)
}

impl ChangeArgs {
    /// The role as it is to be, with the etag of what was read, and the mask of what changes.
    fn on(self, old: Role) -> anyhow::Result<(Role, String)> {
        let ChangeArgs { permissions, add, remove, title, description, stage } = self;
        let mut mask = Vec::new();
        let mut new = Role { name: String::new(), ..old };
        if !(permissions.is_empty() && add.is_empty() && remove.is_empty()) {
            mask.push("includedPermissions");
        }
        if !permissions.is_empty() {
            new.included_permissions = permissions;
        }
        for permission in remove {
            let before = new.included_permissions.len();
            new.included_permissions.retain(|held| *held != permission);
            if new.included_permissions.len() == before {
                bail!("the role does not give {permission}: `doorward role describe` shows what it gives");
            }
        }
        for permission in add {
            if !new.included_permissions.contains(&permission) {
                new.included_permissions.push(permission);
            }
        }
        if let Some(title) = title {
            new.title = title;
            mask.push("title");
        }
        if let Some(description) = description {
            new.description = description;
            mask.push("description");
        }
        if let Some(stage) = stage {
            new.stage = Some(stage.wire());
            mask.push("stage");
        }
        Ok((new, mask.join(",")))
    }
}

async fn delete(DeleteArgs { role, common }: DeleteArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let name = role.name(&server).await?;
    server.api().delete(&resource_path(HOST, &name)).await.map_err(advise)?;
    let text = format!("deleted {}; `doorward role undelete` brings it back\n", printable(&name));
    Ok(print(if common.json { "{}\n" } else { &text })?)
}

async fn undelete(UndeleteArgs { role, common }: UndeleteArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let path = resource_path(HOST, &role.name(&server).await?);
    let request = json!(UndeleteRoleRequest::default());
    let back: Role = server.api().post(&format!("{path}:undelete"), &request).await.map_err(advise)?;
    Ok(print(&if common.json { json_line(&back)? } else { format!("brought a role back\n{}", shown(&back)) })?)
}

fn advise(error: ApiError) -> anyhow::Error {
    error.advise(Status::NotFound, SEE_LIST)
}

/// The stage for people.
fn stage(role: &Role) -> String {
    let stage = serde_json::to_value(role.stage.unwrap_or_default()).ok();
    let stage = stage.as_ref().and_then(|stage| stage.as_str()).unwrap_or_default().to_lowercase();
    if role.deleted == Some(true) { "deleted".to_owned() } else { stage }
}

fn shown(role: &Role) -> String {
    let known =
        lines(&[("name", &role.name), ("title", &role.title), ("about", &role.description), ("stage", &stage(role))]);
    let gives: Vec<_> = role.included_permissions.iter().map(|permission| ("gives", permission.as_str())).collect();
    known + &lines(&gives)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use serde_json::Value;

    use crate::api::tests::{block_on, replay};

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    #[test]
    fn every_command_calls_its_method() {
        let dir = tempfile::tempdir().unwrap();
        let role = || json!({"name": "projects/dev-project/roles/r", "title": "R", "etag": "AAE=", "includedPermissions": ["a.b.c"], "stage": "GA"});
        let base = "/iam.googleapis.com/v1";
        let of = format!("{base}/projects/dev-project/roles");
        #[rustfmt::skip]
        let cases: [(&str, Vec<Value>, String, Value); 8] = [
            ("list",                                  vec![json!({"roles": [role()]})], format!("GET {of}"), Value::Null),
            ("list --show-deleted",                   vec![json!({"roles": []})],       format!("GET {of}?showDeleted=true"), Value::Null),
            ("list --predefined",                     vec![json!({"roles": []})],       format!("GET {base}/roles"), Value::Null),
            ("describe roles/iap.admin",              vec![role()],                     format!("GET {base}/roles/iap.admin"), Value::Null),
            ("create r --permission a.b.c",           vec![role()],                     format!("POST {of}"), json!({"roleId": "r", "role": {"includedPermissions": ["a.b.c"], "stage": "GA"}})),
            ("update r --add-permission d.e.f --title T", vec![role(), role()],         format!("PATCH {of}/r?updateMask=includedPermissions%2Ctitle"),
             json!({"title": "T", "etag": "AAE=", "includedPermissions": ["a.b.c", "d.e.f"], "stage": "GA"})),
            ("delete organizations/1/roles/r",        vec![role()],                     format!("DELETE {base}/organizations/1/roles/r"), Value::Null),
            ("undelete r",                            vec![role()],                     format!("POST {of}/r:undelete"), json!({})),
        ];
        for (line, answers, expected, body) in cases {
            let (address, asked) = replay(answers.into_iter().map(|answer| (200, answer)).collect());
            crate::world::tests::described(dir.path(), &format!("http://{address}"));
            let words = std::iter::once("role").chain(line.split(' ')).chain(["--dir", dir.path().to_str().unwrap()]);
            block_on(run(Line::try_parse_from(words).unwrap().command)).unwrap();
            let asked = asked.join().unwrap();
            let (head, sent) = asked.last().unwrap().split_once("\r\n\r\n").unwrap();
            assert_eq!(head.split(" HTTP").next().unwrap(), expected, "{line}");
            assert_eq!(serde_json::from_str::<Value>(sent).unwrap_or_default(), body, "{line}");
        }
    }

    #[test]
    fn what_a_role_does_not_give_cannot_be_taken_from_it() {
        let old = || Role { included_permissions: vec!["a.b.c".into(), "d.e.f".into()], ..Role::default() };
        let remove = |permission: &str| ChangeArgs { remove: vec![permission.into()], ..ChangeArgs::default() };
        let (new, mask) = remove("a.b.c").on(old()).unwrap();
        assert_eq!((new.included_permissions, mask.as_str()), (vec!["d.e.f".to_owned()], "includedPermissions"));
        assert!(remove("x").on(old()).unwrap_err().to_string().starts_with("the role does not give x: "));
    }

    #[test]
    fn a_role_is_shown_with_what_it_gives() {
        let role = Role {
            name: "roles/x".into(),
            included_permissions: vec!["a.b.c".into()],
            deleted: Some(true),
            ..Role::default()
        };
        assert_eq!(shown(&role), "name       roles/x\nstage      deleted\ngives      a.b.c\n");
    }
}
