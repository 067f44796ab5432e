//! `doorward group`: groups of our own, which is what `group:EMAIL` in a policy means, through our own API.

use doorward_wire::doorward_api::{ChangeMembersRequest, GroupResource, ListGroupsResponse, ListMembersResponse};
use doorward_wire::google_api::Status;
use serde_json::Value;

use super::Common;
use crate::api::{ApiError, every_page};
use crate::iam_policy::{MemberArg, member, nobody_note};
use crate::output::{json_line, lines, print, printable, say, table};
use crate::server::Server;
use doorward_wire::uri::path_segment;

const PATH: &str = "/doorward/v1/groups";
const SEE_LIST: &str = "`doorward group list` shows the groups";

/// Create, list and delete groups, and say who is in them
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  doorward group create staff@example.com --member user:alice@example.com
  doorward policy add --app app --member group:staff@example.com")]
pub(crate) enum Command {
    Create(CreateArgs),
    List(ListArgs),
    Describe(DescribeArgs),
    Add(AddArgs),
    Remove(RemoveArgs),
    Delete(DeleteArgs),
}

/// Create a group
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward group create staff@example.com --display-name Staff --member user:alice@example.com --member group:ops@example.com")]
pub(crate) struct CreateArgs {
    /// Its address. No mail goes there
    #[arg(value_name = "EMAIL")]
    email: String,
    /// A name for people
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    display_name: String,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
    /// Who is in it: user:EMAIL, serviceAccount:EMAIL, group:EMAIL, principal://... or principalSet://...; may be given several times
    #[arg(long = "member", value_name = "MEMBER", value_parser = member)]
    members: Vec<MemberArg>,
    #[command(flatten)]
    common: Common,
}

/// List the groups
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward group list")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    common: Common,
}

/// Show a group and who is in it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward group describe staff@example.com")]
pub(crate) struct DescribeArgs {
    #[command(flatten)]
    group: GroupArgs,
    #[command(flatten)]
    common: Common,
}

/// Put members into a group, from the next request on; those who are in it stay
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward group add staff@example.com --member user:bob@example.com")]
pub(crate) struct AddArgs {
    #[command(flatten)]
    change: ChangeArgs,
}

/// Take members out of a group, from the next request on
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward group remove staff@example.com --member user:bob@example.com")]
pub(crate) struct RemoveArgs {
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, clap::Args)]
struct ChangeArgs {
    #[command(flatten)]
    group: GroupArgs,
    /// Who; may be given several times
    #[arg(long = "member", value_name = "MEMBER", value_parser = member, required = true)]
    members: Vec<MemberArg>,
    #[command(flatten)]
    common: Common,
}

/// Delete a group, and every mention of it in policies and in other groups
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward group delete staff@example.com")]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    group: GroupArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct GroupArgs {
    /// The group's address
    #[arg(value_name = "EMAIL")]
    email: String,
}

impl GroupArgs {
    fn path(&self) -> String {
        format!("{PATH}/{}", path_segment(&self.email))
    }
}

/// Runs one of the commands.
pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(args) => create(args).await,
        Command::List(args) => list(args).await,
        Command::Describe(args) => describe(args).await,
        Command::Add(AddArgs { change }) => alter(change, "addMembers").await,
        Command::Remove(RemoveArgs { change }) => alter(change, "removeMembers").await,
        Command::Delete(args) => delete(args).await,
    }
}

fn texts(server: &Server, members: Vec<MemberArg>) -> anyhow::Result<Vec<String>> {
    members.into_iter().map(|member| Ok(member.of(server)?.to_string())).collect()
}

/// Says which members nobody here can be.
async fn note_unknown(server: &Server, members: &[String]) {
    for member in members.iter().filter_map(|member| member.parse().ok()) {
        nobody_note(server, &member, "lets nobody in").await.iter().for_each(|note| say(note));
    }
}

async fn create(args: CreateArgs) -> anyhow::Result<()> {
    let CreateArgs { email, display_name, description, members, common } = args;
    let server = common.server.open().await?;
    let members = texts(&server, members)?;
    let request = GroupResource { email, display_name, description, members, ..GroupResource::default() };
    let made: Result<GroupResource, _> = server.api().post(PATH, &request).await;
    let made = made.map_err(|error| error.advise(Status::AlreadyExists, SEE_LIST))?;
    note_unknown(&server, &request.members).await;
    Ok(print(&if common.json { json_line(&made)? } else { format!("created group:{}\n", printable(&made.email)) })?)
}

async fn list(ListArgs { common }: ListArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let page = |page: ListGroupsResponse| (page.groups, page.next_page_token);
    let groups = every_page(server.api(), PATH, page).await?;
    if common.json {
        return Ok(print(&json_line(&ListGroupsResponse { groups, next_page_token: None })?)?);
    }
    let rows: Vec<_> = groups.into_iter().map(|group| [group.email, group.display_name, group.description]).collect();
    Ok(print(&table(["EMAIL", "NAME", "ABOUT"], &rows))?)
}

async fn describe(DescribeArgs { group, common }: DescribeArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let mut found: GroupResource = server.api().get(&group.path()).await.map_err(advise)?;
    let page = |page: ListMembersResponse| (page.members, page.next_page_token);
    found.members = every_page(server.api(), &format!("{}/members", group.path()), page).await.map_err(advise)?;
    Ok(print(&if common.json { json_line(&found)? } else { shown(&found) })?)
}

async fn alter(ChangeArgs { group, members, common }: ChangeArgs, method: &str) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let members = texts(&server, members)?;
    let text =
        format!("{} {} {}\n", members.join(", "), if method == "addMembers" { "in" } else { "not in" }, group.email);
    let request = ChangeMembersRequest { members };
    let answer: Value = server.api().post(&format!("{}:{method}", group.path()), &request).await.map_err(advise)?;
    if method == "addMembers" {
        note_unknown(&server, &request.members).await;
    }
    Ok(print(&if common.json { json_line(&answer)? } else { text })?)
}

async fn delete(DeleteArgs { group, common }: DeleteArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    server.api().delete(&group.path()).await.map_err(advise)?;
    let text = format!("deleted {}, and every mention of it\n", printable(&group.email));
    Ok(print(if common.json { "{}\n" } else { &text })?)
}

fn advise(error: ApiError) -> anyhow::Error {
    error.advise(Status::NotFound, SEE_LIST)
}

/// A group for people.
fn shown(group: &GroupResource) -> String {
    let known = lines(&[("email", &group.email), ("name", &group.display_name), ("about", &group.description)]);
    let members: Vec<_> = group.members.iter().map(|member| ("member", member.as_str())).collect();
    known + &lines(&members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use serde_json::json;

    use crate::api::tests::{block_on, replay};

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    #[test]
    fn every_command_calls_its_method() {
        let dir = tempfile::tempdir().unwrap();
        let group = || json!({"email": "s@x.com", "displayName": "S"});
        #[rustfmt::skip]
        let cases: [(&str, Vec<Value>, &str); 6] = [
            ("create s@x.com --member user:a@x.com",  vec![group()],                                     r#"POST /doorward/v1/groups {"email":"s@x.com","members":["user:a@x.com"]}"#),
            ("list",                                  vec![json!({"groups": [group()]})],                "GET /doorward/v1/groups "),
            ("describe s@x.com",                      vec![group(), json!({"members": ["user:a@x.com"]})], "GET /doorward/v1/groups/s@x.com GET /doorward/v1/groups/s@x.com/members "),
            ("add s@x.com --member user:a@x.com",     vec![json!({})],                                   r#"POST /doorward/v1/groups/s@x.com:addMembers {"members":["user:a@x.com"]}"#),
            ("remove s@x.com --member group:b@x.com", vec![json!({})],                                   r#"POST /doorward/v1/groups/s@x.com:removeMembers {"members":["group:b@x.com"]}"#),
            ("delete s@x.com",                        vec![json!({})],                                   "DELETE /doorward/v1/groups/s@x.com "),
        ];
        for (line, answers, expected) in cases {
            let (address, asked) = replay(answers.into_iter().map(|answer| (200, answer)).collect());
            crate::world::tests::described(dir.path(), &format!("http://{address}"));
            let words = std::iter::once("group").chain(line.split(' ')).chain(["--dir", dir.path().to_str().unwrap()]);
            block_on(run(Line::try_parse_from(words).unwrap().command)).unwrap();
            let sent = |asked: &String| {
                let (head, body) = asked.split_once("\r\n\r\n").unwrap();
                format!("{} {body}", head.split(" HTTP").next().unwrap())
            };
            let asked: Vec<String> = asked.join().unwrap().iter().map(sent).collect();
            assert_eq!(asked.join(""), expected, "{line}");
        }
    }

    #[test]
    fn a_group_is_shown_with_its_members() {
        let group: GroupResource = serde_json::from_value(json!({
            "email": "s@x.com", "displayName": "S", "members": ["user:a@x.com", "group:b@x.com"],
        }))
        .unwrap();
        let expected = "email      s@x.com\n\
                        name       S\n\
                        member     user:a@x.com\n\
                        member     group:b@x.com\n";
        assert_eq!(shown(&group), expected);
    }
}
