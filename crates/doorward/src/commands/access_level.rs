//! `doorward access-level`: named conditions on where callers come from, when and how, through our own API.

use doorward_wire::doorward_api::{AccessLevelResource, BasicLevel, CustomLevel, ListAccessLevelsResponse};
use doorward_wire::google_api::{Expr, Status};

use super::Common;
use crate::api::{ApiError, every_page};
use crate::output::{json_line, lines, print, printable, table};
use crate::server::Server;
use doorward_wire::uri::path_segment;

/// Where the access levels are.
pub(crate) const PATH: &str = "/doorward/v1/accessLevels";
const SEE_LIST: &str = "`doorward access-level list` shows the access levels";

/// Create, list, change and delete access levels: named conditions that policies may ask for
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
A condition asks for one by its whole name, as `doorward access-level list` shows it:
  \"accessPolicies/NUMBER/accessLevels/office\" in request.auth.access_levels

Example:
  doorward access-level create office --ip-subnetwork 192.0.2.0/24
  doorward access-level list")]
pub(crate) enum Command {
    Create(CreateArgs),
    List(ListArgs),
    Describe(DescribeArgs),
    Update(UpdateArgs),
    Delete(DeleteArgs),
}

/// Create an access level
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It is met if every list that is given holds, or if the expression does. An expression is CEL over source.ip, request.time,
request.auth.claims, request.auth.strength and device.*.

Example:
  doorward access-level create office --title Office --ip-subnetwork 192.0.2.0/24 --ip-subnetwork 2001:db8::/32
  doorward access-level create daytime --expression 'request.time.getHours(\"Europe/Berlin\") < 20'")]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    level: LevelArgs,
    #[command(flatten)]
    rule: RuleArgs,
    #[command(flatten)]
    texts: TextArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct LevelArgs {
    /// Its name, such as office, or accessPolicies/NUMBER/accessLevels/office
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct RuleArgs {
    /// A condition in CEL
    #[arg(long, value_name = "CEL", conflicts_with_all = ["ip_subnetworks", "required_levels", "members"])]
    expression: Option<String>,
    /// A range that the caller's address is in, with others that are given
    #[arg(long = "ip-subnetwork", value_name = "CIDR")]
    ip_subnetworks: Vec<String>,
    /// A level that must be met too; may be given several times
    #[arg(long = "require", value_name = "NAME")]
    required_levels: Vec<String>,
    /// Somebody who the caller is, with others that are given
    #[arg(long = "member", value_name = "MEMBER")]
    members: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct TextArgs {
    /// A name for people
    #[arg(long, value_name = "TITLE")]
    title: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

/// List the access levels
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward access-level list")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    common: Common,
}

/// Show an access level
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward access-level describe office")]
pub(crate) struct DescribeArgs {
    #[command(flatten)]
    level: LevelArgs,
    #[command(flatten)]
    common: Common,
}

/// Change what an access level demands, from the next request on; its texts stay if none are given
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward access-level update office --ip-subnetwork 192.0.2.0/25")]
pub(crate) struct UpdateArgs {
    #[command(flatten)]
    level: LevelArgs,
    #[command(flatten)]
    rule: RuleArgs,
    #[command(flatten)]
    texts: TextArgs,
    #[command(flatten)]
    common: Common,
}

/// Delete an access level that no other one demands; conditions that ask for it are as if nobody met it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward access-level delete office")]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    level: LevelArgs,
    #[command(flatten)]
    common: Common,
}

impl RuleArgs {
    /// The two forms of a level; names of levels made whole.
    fn forms(self, number: &str) -> (Option<CustomLevel>, Option<BasicLevel>) {
        let RuleArgs { expression, ip_subnetworks, required_levels, members } = self;
        match expression {
            Some(expression) => (Some(CustomLevel { expr: Expr { expression, ..Expr::default() } }), None),
            None => {
                let required_access_levels = required_levels.iter().map(|name| whole(name, number)).collect();
                (None, Some(BasicLevel { ip_subnetworks, required_access_levels, members }))
            }
        }
    }
}

/// The whole name of a level of the project's own access policy.
fn whole(name: &str, number: &str) -> String {
    match name.contains('/') {
        true => name.to_owned(),
        false => format!("accessPolicies/{number}/accessLevels/{name}"),
    }
}

/// The path of a level: its whole name.
async fn path(server: &Server, LevelArgs { name }: &LevelArgs) -> anyhow::Result<String> {
    let name = match name.contains('/') {
        true => name.clone(),
        false => whole(name, &server.project_number().await?),
    };
    let segments: Vec<String> = name.split('/').map(path_segment).collect();
    Ok(format!("/doorward/v1/{}", segments.join("/")))
}

/// Runs one of the commands.
pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(args) => create(args).await,
        Command::List(args) => list(args).await,
        Command::Describe(args) => describe(args).await,
        Command::Update(args) => update(args).await,
        Command::Delete(args) => delete(args).await,
    }
}

async fn create(CreateArgs { level, rule, texts, common }: CreateArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let number = server.project_number().await?;
    let (custom, basic) = rule.forms(&number);
    // A level has a title: its short name, if none is given.
    let short = level.name.rsplit('/').next().unwrap_or_default().to_owned();
    let (title, description) = (texts.title.unwrap_or(short), texts.description.unwrap_or_default());
    let name = whole(&level.name, &number);
    let request = AccessLevelResource { name, title, description, custom, basic, etag: String::new() };
    let made: Result<AccessLevelResource, _> = server.api().post(PATH, &request).await;
    let made = made.map_err(|error| error.advise(Status::AlreadyExists, SEE_LIST))?;
    Ok(print(&if common.json { json_line(&made)? } else { format!("created an access level\n{}", shown(&made)) })?)
}

async fn list(ListArgs { common }: ListArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let page = |page: ListAccessLevelsResponse| (page.access_levels, page.next_page_token);
    let access_levels = every_page(server.api(), PATH, page).await?;
    if common.json {
        return Ok(print(&json_line(&ListAccessLevelsResponse { access_levels, next_page_token: None })?)?);
    }
    let rows: Vec<_> = access_levels.into_iter().map(|level| [rule(&level), level.title, level.name]).collect();
    let rows: Vec<_> = rows.into_iter().map(|[rule, title, name]| [name, title, rule]).collect();
    Ok(print(&table(["NAME", "TITLE", "DEMANDS"], &rows))?)
}

async fn describe(DescribeArgs { level, common }: DescribeArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let found: AccessLevelResource = server.api().get(&path(&server, &level).await?).await.map_err(advise)?;
    Ok(print(&if common.json { json_line(&found)? } else { shown(&found) })?)
}

async fn update(UpdateArgs { level, rule, texts, common }: UpdateArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let path = path(&server, &level).await?;
    let old: AccessLevelResource = server.api().get(&path).await.map_err(advise)?;
    let (custom, basic) = rule.forms(&server.project_number().await?);
    let title = texts.title.unwrap_or(old.title);
    let description = texts.description.unwrap_or(old.description);
    // The etag of what was read, so that nobody's change between the two is lost.
    let new = AccessLevelResource { title, description, custom, basic, name: old.name, etag: old.etag };
    let changed: AccessLevelResource = server.api().patch(&path, &new).await.map_err(advise)?;
    Ok(print(&if common.json {
        json_line(&changed)?
    } else {
        format!("changed an access level\n{}", shown(&changed))
    })?)
}

async fn delete(DeleteArgs { level, common }: DeleteArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    server.api().delete(&path(&server, &level).await?).await.map_err(advise)?;
    Ok(print(&if common.json { "{}\n".to_owned() } else { format!("deleted {}\n", printable(&level.name)) })?)
}

fn advise(error: ApiError) -> anyhow::Error {
    error.advise(Status::NotFound, SEE_LIST)
}

/// What a level demands, on one line.
fn rule(level: &AccessLevelResource) -> String {
    if let Some(custom) = &level.custom {
        return custom.expr.expression.clone();
    }
    let BasicLevel { ip_subnetworks, required_access_levels, members } = level.basic.clone().unwrap_or_default();
    let lists = [("from", ip_subnetworks), ("meets", required_access_levels), ("is", members)];
    let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
    lists.map(|(name, list)| format!("{name} {}", list.join(" "))).collect::<Vec<_>>().join(", ")
}

fn shown(level: &AccessLevelResource) -> String {
    lines(&[("name", &level.name), ("title", &level.title), ("about", &level.description), ("demands", &rule(level))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use serde_json::{Value, json};

    use crate::api::tests::{block_on, replay};

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    fn asked(line: &[&str], answers: Vec<Value>) -> Vec<(String, String)> {
        let dir = tempfile::tempdir().unwrap();
        let (address, asked) = replay(answers.into_iter().map(|answer| (200, answer)).collect());
        crate::world::tests::described(dir.path(), &format!("http://{address}"));
        let words = [&["access-level"], line, &["--dir", dir.path().to_str().unwrap()]].concat();
        block_on(run(Line::try_parse_from(words).unwrap().command)).unwrap();
        let sent = |asked: &String| {
            let (head, body) = asked.split_once("\r\n\r\n").unwrap();
            (head.split(" HTTP").next().unwrap().to_owned(), body.to_owned())
        };
        asked.join().unwrap().iter().map(sent).collect()
    }

    #[test]
    fn every_command_calls_its_method_with_whole_names() {
        let office = "accessPolicies/123/accessLevels/office";
        let level =
            || json!({"name": office, "title": "Office", "etag": "AAE=", "basic": {"ipSubnetworks": ["192.0.2.0/24"]}});
        let path = format!("/doorward/v1/{office}");
        let sent = asked(&["create", "office", "--ip-subnetwork", "192.0.2.0/24", "--require", "day"], vec![level()]);
        let body: Value = serde_json::from_str(&sent[0].1).unwrap();
        assert_eq!(sent[0].0, "POST /doorward/v1/accessLevels");
        let basic =
            json!({"ipSubnetworks": ["192.0.2.0/24"], "requiredAccessLevels": ["accessPolicies/123/accessLevels/day"]});
        assert_eq!(body, json!({"name": office, "title": "office", "basic": basic}));

        let sent = asked(&["update", "office", "--expression", "true"], vec![level(), level()]);
        assert_eq!((&*sent[0].0, &*sent[1].0), (&*format!("GET {path}"), &*format!("PATCH {path}")));
        let body: Value = serde_json::from_str(&sent[1].1).unwrap();
        let expected =
            json!({"name": office, "title": "Office", "etag": "AAE=", "custom": {"expr": {"expression": "true"}}});
        assert_eq!(body, expected);

        assert_eq!(asked(&["describe", office], vec![level()])[0].0, format!("GET {path}"));
        assert_eq!(asked(&["delete", "office"], vec![json!({})])[0].0, format!("DELETE {path}"));
        assert_eq!(asked(&["list"], vec![json!({"accessLevels": [level()]})])[0].0, "GET /doorward/v1/accessLevels");
    }

    #[test]
    fn a_level_is_either_an_expression_or_lists_and_never_nothing() {
        let parse = |line: &str| Line::try_parse_from(std::iter::once("x").chain(line.split(' '))).is_ok();
        #[rustfmt::skip]
        let cases = [
            ("create a --expression true",                          true),
            ("create a --member user:a@x.com --require b",          true),
            ("create a",                                            false),
            ("create a --title t",                                  false),
            ("create a --expression true --ip-subnetwork ::/0",     false),
            ("update a --title t",                                  false),
        ];
        for (line, good) in cases {
            assert_eq!(parse(line), good, "{line}");
        }
    }

    #[test]
    fn a_level_says_what_it_demands_on_one_line() {
        #[rustfmt::skip]
        let cases = [
            (json!({"custom": {"expr": {"expression": "true"}}}),                                    "true"),
            (json!({"basic": {"ipSubnetworks": ["a", "b"], "members": ["allUsers"]}}),               "from a b, is allUsers"),
            (json!({"basic": {"requiredAccessLevels": ["x"]}}),                                      "meets x"),
        ];
        for (level, expected) in cases {
            assert_eq!(rule(&serde_json::from_value(level).unwrap()), expected);
        }
    }
}
