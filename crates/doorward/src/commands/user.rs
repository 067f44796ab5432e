//! `doorward user`: people, through our own API.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::anyhow;
use doorward_wire::doorward_api::{CreateUserRequest, ListUsersResponse, SetPasswordResponse, UserResource};
use doorward_wire::google_api::Status;
use doorward_wire::uri::path_segment;
use serde_json::{Value, json};

use super::Common;
use super::service_account::state;
use super::service_account_keys::new_private_file;
use crate::api::{ApiError, every_page};
use crate::output::{json_line, print, printable, table};

/// Where the people are.
pub(crate) const PATH: &str = "/doorward/v1/users";
const SEE_LIST: &str = "`doorward user list` shows the people";

/// Create, list, disable and delete people, and give them passwords
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  doorward user create bob@example.com
  doorward user set-password bob@example.com")]
pub(crate) enum Command {
    Create(CreateArgs),
    List(ListArgs),
    /// Show a person
    #[command(after_help = "\
Example:
  doorward user describe bob@example.com")]
    Describe(NamedArgs),
    SetPassword(SetPasswordArgs),
    /// Disable a person: they cannot sign in, and nothing that they have is accepted, until they are enabled
    #[command(after_help = "\
Example:
  doorward user disable bob@example.com")]
    Disable(NamedArgs),
    /// Enable a person who was disabled
    #[command(after_help = "\
Example:
  doorward user enable bob@example.com")]
    Enable(NamedArgs),
    /// Delete a person, and every mention of them in policies and in groups
    #[command(after_help = "\
Example:
  doorward user delete bob@example.com")]
    Delete(NamedArgs),
}

/// Create a person, who has no password yet
///
/// What policies give to their address or to its domain is theirs from then on.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward user create bob@example.com
  doorward user set-password bob@example.com")]
pub(crate) struct CreateArgs {
    /// Their address. No mail goes there
    #[arg(value_name = "EMAIL")]
    email: String,
    #[command(flatten)]
    common: Common,
}

/// List the people
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward user list")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    common: Common,
}

/// Give a person a new password: it is random, shown once, and kept nowhere
///
/// Takes roles/doorward.admin, for whoever knows the password can be that person. Where they are signed in they stay so; `doorward user
/// disable` ends that.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward user set-password bob@example.com
  doorward user set-password bob@example.com --password-out bob.password")]
pub(crate) struct SetPasswordArgs {
    /// Their address
    #[arg(value_name = "EMAIL")]
    email: String,
    /// Write the password to this new file, which only its owner reads, instead of standard output
    #[arg(long, value_name = "FILE")]
    password_out: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// One person.
#[derive(Debug, clap::Args)]
pub(crate) struct NamedArgs {
    /// Their address
    #[arg(value_name = "EMAIL")]
    email: String,
    #[command(flatten)]
    common: Common,
}

/// Runs one of the commands.
pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(args) => create(args).await,
        Command::List(args) => list(args).await,
        Command::Describe(args) => describe(args).await,
        Command::SetPassword(args) => set_password(args).await,
        Command::Disable(args) => disable(args, true).await,
        Command::Enable(args) => disable(args, false).await,
        Command::Delete(args) => delete(args).await,
    }
}

fn path(email: &str) -> String {
    format!("{PATH}/{}", path_segment(email))
}

async fn create(CreateArgs { email, common }: CreateArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let made: Result<UserResource, _> = server.api().post(PATH, &CreateUserRequest { email }).await;
    let made = made.map_err(|error| error.advise(Status::AlreadyExists, SEE_LIST))?;
    Ok(print(&if common.json {
        json_line(&made)?
    } else {
        let email = printable(&made.email);
        format!("created user:{email}\ngive them a password: doorward user set-password {email}\n")
    })?)
}

async fn list(ListArgs { common }: ListArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let page = |page: ListUsersResponse| (page.users, page.next_page_token);
    let users = every_page(server.api(), PATH, page).await?;
    if common.json {
        return Ok(print(&json_line(&ListUsersResponse { users, next_page_token: None })?)?);
    }
    Ok(print(&shown(users))?)
}

async fn describe(NamedArgs { email, common }: NamedArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let found: UserResource = server.api().get(&path(&email)).await.map_err(advise)?;
    Ok(print(&if common.json { json_line(&found)? } else { shown(vec![found]) })?)
}

/// People for people.
fn shown(users: Vec<UserResource>) -> String {
    let row = |user: UserResource| [user.email, user.unique_id, state(user.disabled).to_owned()];
    table(["EMAIL", "UNIQUE ID", "STATE"], &users.into_iter().map(row).collect::<Vec<_>>())
}

async fn set_password(SetPasswordArgs { email, password_out, common }: SetPasswordArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    // Made before the password is: whatever forbids the file changes no password.
    let mut file = password_out.as_deref().map(new_private_file).transpose()?;
    let method = format!("{}:setPassword", path(&email));
    let made: Result<SetPasswordResponse, _> = server.api().post(&method, &json!({})).await;
    let made = made.map_err(|error| {
        // It is ours, new and empty. Should this fail, the file is empty still.
        password_out.as_deref().map(fs::remove_file);
        advise(error)
    })?;
    let email = printable(&email);
    let lost = |error: &dyn fmt::Display| anyhow!("{error}: {email} has a new password that nobody saw; do it again");
    if let (Some(file), Some(path)) = (&mut file, &password_out) {
        writeln!(file, "{}", made.password).and_then(|()| file.sync_all()).map_err(|error| lost(&error))?;
        let text = format!("the new password of {email} is in {}\n", path.display());
        return Ok(print(&if common.json { json_line(&json!({ "passwordFile": path }))? } else { text })?);
    }
    let text = match common.json {
        true => json_line(&made)?,
        false => format!("the new password of {email}, shown this once: {}\n", printable(&made.password)),
    };
    print(&text).map_err(|error| lost(&error))
}

async fn disable(NamedArgs { email, common }: NamedArgs, disabled: bool) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let method = format!("{}:{}", path(&email), if disabled { "disable" } else { "enable" });
    let answer: Value = server.api().post(&method, &json!({})).await.map_err(advise)?;
    let text = format!("{} {}\n", state(disabled), printable(&email));
    Ok(print(&if common.json { json_line(&answer)? } else { text })?)
}

async fn delete(NamedArgs { email, common }: NamedArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    server.api().delete(&path(&email)).await.map_err(advise)?;
    let text = format!("deleted {}, and every mention of them\n", printable(&email));
    Ok(print(if common.json { "{}\n" } else { &text })?)
}

fn advise(error: ApiError) -> anyhow::Error {
    error.advise(Status::NotFound, SEE_LIST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use crate::api::tests::{block_on, replay};

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    /// What one command asks a server that answers with this status and body, and how it ended.
    fn asks(dir: &Path, line: &str, (status, answer): (u16, Value)) -> (String, anyhow::Result<()>) {
        let (address, asked) = replay(vec![(status, answer)]);
        crate::world::tests::described(dir, &format!("http://{address}"));
        let words = std::iter::once("user").chain(line.split(' ')).chain(["--dir", dir.to_str().unwrap()]);
        let ended = block_on(run(Line::try_parse_from(words).unwrap().command));
        let asked = asked.join().unwrap();
        let (head, body) = asked[0].split_once("\r\n\r\n").unwrap();
        (format!("{} {body}", head.split(" HTTP").next().unwrap()), ended)
    }

    #[test]
    fn every_command_calls_its_method() {
        let dir = tempfile::tempdir().unwrap();
        let user = || json!({"email": "b@x.com", "uniqueId": "1", "disabled": false});
        #[rustfmt::skip]
        let cases = [
            ("create b@x.com",       user(),                    r#"POST /doorward/v1/users {"email":"b@x.com"}"#),
            ("list",                 json!({"users": [user()]}), "GET /doorward/v1/users "),
            ("describe b@x.com",     user(),                    "GET /doorward/v1/users/b@x.com "),
            ("set-password b@x.com", json!({"password": "p"}),  "POST /doorward/v1/users/b@x.com:setPassword {}"),
            ("disable b@x.com",      json!({}),                 "POST /doorward/v1/users/b@x.com:disable {}"),
            ("enable b@x.com",       json!({}),                 "POST /doorward/v1/users/b@x.com:enable {}"),
            ("delete b@x.com",       json!({}),                 "DELETE /doorward/v1/users/b@x.com "),
        ];
        for (line, answer, expected) in cases {
            let (asked, ended) = asks(dir.path(), line, (200, answer));
            ended.unwrap();
            assert_eq!(asked, expected, "{line}");
        }
    }

    #[test]
    fn a_password_goes_into_a_new_file_of_its_owner_and_no_file_is_left_if_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bob.password");
        let line = format!("set-password b@x.com --password-out {}", file.display());
        let refused = json!({"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "no"}});
        assert!(asks(dir.path(), &line, (403, refused)).1.is_err());
        assert!(!file.exists());
        asks(dir.path(), &line, (200, json!({"password": "p4ss"}))).1.unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "p4ss\n");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let again = new_private_file(&file).unwrap_err().to_string();
        assert!(again.contains("is not overwritten"), "{again}");
    }
}
