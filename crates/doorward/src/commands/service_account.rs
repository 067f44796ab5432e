//! `doorward service-account`: accounts and their keys, through the methods of `iam.googleapis.com`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doorward_core::member::Email;
use doorward_server::dev::description::Description;
use doorward_wire::google_api::{
    CreateKeyRequest, CreateServiceAccountRequest, ListKeysResponse, ListServiceAccountsResponse, NewServiceAccount,
    ServiceAccount, ServiceAccountKey, Status,
};

use super::{Common, service_account_policy};
use crate::api::{Api, ApiError, path_segment};
use crate::output::{json_line, print, printable, table};

/// What to do if there is no such account.
pub(super) const SEE_LIST: &str = "`doorward service-account list` shows the accounts";

/// Create, list and delete service accounts, manage their keys, and say who may act as them
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  doorward service-account create ci-server
  doorward service-account keys create ci-server.json --account ci-server@doorward-dev.iam.gserviceaccount.com")]
pub(crate) enum Command {
    Create(CreateArgs),
    List(ListArgs),
    Delete(DeleteArgs),
    #[command(subcommand)]
    Keys(KeysCommand),
    #[command(subcommand)]
    Policy(service_account_policy::Command),
}

/// Create a service account
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward service-account create ci-server --display-name \"The build server\"")]
pub(crate) struct CreateArgs {
    /// The first part of its address: 6 to 30 small letters, digits and hyphens
    #[arg(value_name = "ACCOUNT_ID")]
    account_id: String,
    /// A name for people
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    display_name: String,
    #[command(flatten)]
    common: Common,
}

/// List the service accounts of the project
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward service-account list --json")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    common: Common,
}

/// Delete a service account with its keys: none of its tokens is accepted any more
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward service-account delete ci-server@doorward-dev.iam.gserviceaccount.com")]
pub(crate) struct DeleteArgs {
    /// The service account's address
    #[arg(value_name = "EMAIL")]
    email: Email,
    #[command(flatten)]
    common: Common,
}

/// Create, list and delete the keys of a service account
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  doorward service-account keys list --account ci-server@doorward-dev.iam.gserviceaccount.com")]
pub(crate) enum KeysCommand {
    Create(CreateKeyArgs),
    List(ListKeysArgs),
    Delete(DeleteKeyArgs),
}

/// Create a key and write its key file, readable by its owner only
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward service-account keys create ci-server.json --account ci-server@doorward-dev.iam.gserviceaccount.com")]
pub(crate) struct CreateKeyArgs {
    /// The key file to write; a file that exists is never overwritten
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    account: AccountArgs,
    #[command(flatten)]
    common: Common,
}

/// List the keys of a service account
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward service-account keys list --account ci-server@doorward-dev.iam.gserviceaccount.com")]
pub(crate) struct ListKeysArgs {
    #[command(flatten)]
    account: AccountArgs,
    #[command(flatten)]
    common: Common,
}

/// Delete a key: nothing that it signs is accepted any more
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward service-account keys delete KEY_ID --account ci-server@doorward-dev.iam.gserviceaccount.com")]
pub(crate) struct DeleteKeyArgs {
    /// The key's id
    #[arg(value_name = "KEY_ID")]
    key_id: String,
    #[command(flatten)]
    account: AccountArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct AccountArgs {
    /// The service account's address
    #[arg(long = "account", value_name = "EMAIL")]
    email: Email,
}

/// Runs one of the commands.
pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(args) => create(args).await,
        Command::List(args) => list(args).await,
        Command::Delete(args) => delete(args).await,
        Command::Keys(KeysCommand::Create(args)) => create_key(args).await,
        Command::Keys(KeysCommand::List(args)) => list_keys(args).await,
        Command::Keys(KeysCommand::Delete(args)) => delete_key(args).await,
        Command::Policy(command) => service_account_policy::run(command).await,
    }
}

fn accounts_path(world: &Description) -> String {
    format!("/iam.googleapis.com/v1/projects/{}/serviceAccounts", path_segment(&world.project.id))
}

fn keys_path(world: &Description, AccountArgs { email }: &AccountArgs) -> String {
    format!("{}/{}/keys", accounts_path(world), path_segment(email.as_str()))
}

/// The last part of a key's name.
fn key_id(key: &ServiceAccountKey) -> &str {
    key.name.rsplit('/').next().unwrap_or(&key.name)
}

async fn create(CreateArgs { account_id, display_name, common }: CreateArgs) -> anyhow::Result<()> {
    let world = common.world.open()?;
    let service_account = NewServiceAccount { display_name, description: String::new() };
    let request = CreateServiceAccountRequest { account_id, service_account };
    let account: ServiceAccount = Api::of(&world)?
        .post(&accounts_path(&world), &request)
        .await
        .map_err(|error| error.advise(Status::AlreadyExists, SEE_LIST))?;
    Ok(print(&if common.json {
        json_line(&account)?
    } else {
        format!(
            "created {email}\nmake a key for it: doorward service-account keys create FILE --account {email}\n",
            email = printable(&account.email)
        )
    })?)
}

async fn list(ListArgs { common }: ListArgs) -> anyhow::Result<()> {
    let world = common.world.open()?;
    let accounts = every_account(&Api::of(&world)?, &accounts_path(&world)).await?;
    if common.json {
        return Ok(print(&json_line(&ListServiceAccountsResponse { accounts, next_page_token: None })?)?);
    }
    let rows: Vec<_> =
        accounts.into_iter().map(|account| [account.email, account.unique_id, account.display_name]).collect();
    Ok(print(&table(["EMAIL", "UNIQUE ID", "DISPLAY NAME"], &rows))?)
}

async fn delete(DeleteArgs { email, common }: DeleteArgs) -> anyhow::Result<()> {
    let world = common.world.open()?;
    let path = format!("{}/{}", accounts_path(&world), path_segment(email.as_str()));
    Api::of(&world)?.delete(&path).await.map_err(|error| error.advise(Status::NotFound, SEE_LIST))?;
    Ok(print(&if common.json { "{}\n".to_owned() } else { format!("deleted {email} and its keys\n") })?)
}

/// All pages.
async fn every_account(api: &Api, path: &str) -> Result<Vec<ServiceAccount>, ApiError> {
    let mut accounts = Vec::new();
    let mut page: ListServiceAccountsResponse = api.get(path).await?;
    loop {
        accounts.append(&mut page.accounts);
        let Some(token) = page.next_page_token.filter(|token| !token.is_empty()) else { return Ok(accounts) };
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("pageToken", &token).finish();
        page = api.get(&format!("{path}?{query}")).await?;
    }
}

async fn create_key(CreateKeyArgs { file, account, common }: CreateKeyArgs) -> anyhow::Result<()> {
    let world = common.world.open()?;
    let key = key_into_file(&Api::of(&world)?, &keys_path(&world, &account), &file).await?;
    Ok(print(&if common.json {
        json_line(&key)?
    } else {
        format!("created key {} of {} in {}\n", printable(key_id(&key)), account.email, file.display())
    })?)
}

/// Makes a key and writes its file. Gives the key without its private half.
///
/// The file is made before the key is, so that whatever forbids it (a file of that name, no such directory, no permission)
/// leaves no key behind that nobody holds.
async fn key_into_file(api: &Api, keys: &str, path: &Path) -> anyhow::Result<ServiceAccountKey> {
    let mut file = new_private_file(path)?;
    let mut key: ServiceAccountKey = match api.post(keys, &CreateKeyRequest::default()).await {
        Ok(key) => key,
        Err(error) => {
            // It is ours, new and empty. Should this fail, the file is empty still.
            drop(fs::remove_file(path));
            return Err(error.advise(Status::NotFound, SEE_LIST));
        }
    };
    let written = private_half(&mut key).and_then(|bytes| {
        file.write_all(&bytes)?;
        Ok(file.sync_all()?)
    });
    let Err(error) = written else { return Ok(key) };
    drop(fs::remove_file(path));
    let id = key_id(&key);
    Err(match api.delete(&format!("{keys}/{}", path_segment(id))).await {
        Ok(()) => error.context(format!("the key could not be written to {}; it was deleted again", path.display())),
        Err(_) => error.context(format!(
            "the key could not be written to {}; delete it with `doorward service-account keys delete {id}`",
            path.display()
        )),
    })
}

fn new_private_file(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
        let shown = path.display();
        match error.kind() {
            io::ErrorKind::AlreadyExists => anyhow!("{shown} exists and is not overwritten: name another file"),
            io::ErrorKind::NotFound => anyhow!("the directory of {shown} does not exist: make it first"),
            _ => anyhow!("cannot create {shown} ({error}): name another file"),
        }
    })
}

/// Takes the key file's bytes out of the answer.
fn private_half(key: &mut ServiceAccountKey) -> anyhow::Result<Vec<u8>> {
    key.private_key_type = None;
    let data = key.private_key_data.take().context("the answer holds no private key")?;
    STANDARD.decode(data).context("the private key in the answer is not base64")
}

async fn list_keys(ListKeysArgs { account, common }: ListKeysArgs) -> anyhow::Result<()> {
    let world = common.world.open()?;
    let answer: ListKeysResponse = Api::of(&world)?
        .get(&keys_path(&world, &account))
        .await
        .map_err(|error| error.advise(Status::NotFound, SEE_LIST))?;
    if common.json {
        return Ok(print(&json_line(&answer)?)?);
    }
    let rows: Vec<_> = answer
        .keys
        .iter()
        .map(|key| [key_id(key).to_owned(), key.valid_after_time.clone(), key.valid_before_time.clone()])
        .collect();
    Ok(print(&table(["KEY ID", "VALID AFTER", "VALID BEFORE"], &rows))?)
}

async fn delete_key(DeleteKeyArgs { key_id, account, common }: DeleteKeyArgs) -> anyhow::Result<()> {
    let world = common.world.open()?;
    let path = format!("{}/{}", keys_path(&world, &account), path_segment(&key_id));
    let advice = format!("`doorward service-account keys list --account {}` shows its keys", account.email);
    Api::of(&world)?.delete(&path).await.map_err(|error| error.advise(Status::NotFound, &advice))?;
    Ok(print(&if common.json {
        "{}\n".to_owned()
    } else {
        format!("deleted key {} of {}\n", printable(&key_id), account.email)
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::{Value, json};

    use crate::api::tests::{api_at, block_on, replay};

    fn key(data: Option<&str>) -> Value {
        json!({
            "name": "projects/p/serviceAccounts/a@p.example/keys/1f", "privateKeyData": data, "keyAlgorithm": "KEY_ALG_RSA_2048",
            "privateKeyType": "TYPE_GOOGLE_CREDENTIALS_FILE", "validAfterTime": "2026-01-01T00:00:00Z",
            "validBeforeTime": "9999-12-31T23:59:59Z", "keyOrigin": "GOOGLE_PROVIDED", "keyType": "USER_MANAGED",
        })
    }

    #[test]
    fn a_key_file_is_written_once_for_its_owner_and_the_private_half_is_not_printed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k.json");
        let (address, asked) = replay(vec![(200, key(Some("e30=")))]);
        let made = block_on(key_into_file(&api_at(address), "/keys", &path)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!((made.private_key_data.as_deref(), key_id(&made)), (None, "1f"));
        assert_eq!(asked.join().unwrap().len(), 1);
    }

    #[test]
    fn no_key_is_made_for_a_file_that_cannot_be_and_no_file_stays_without_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let taken = dir.path().join("taken");
        fs::write(&taken, "mine").unwrap();
        let dangling = dir.path().join("dangling");
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &dangling).unwrap();
        // Nothing is asked of this server: a call would fail with another message.
        let (address, asked) = replay(vec![]);
        #[rustfmt::skip]
        let cases = [
            (taken.clone(),              "exists and is not overwritten: name another file"),
            (dangling,                   "exists and is not overwritten: name another file"),
            (dir.path().join("no/file"), "does not exist: make it first"),
        ];
        for (path, expected) in cases {
            let message = block_on(key_into_file(&api_at(address), "/keys", &path)).unwrap_err().to_string();
            assert!(message.ends_with(expected), "{message}");
        }
        assert_eq!(fs::read(&taken).unwrap(), b"mine");
        assert_eq!(asked.join().unwrap(), [""; 0]);

        let refusal = json!({"error": {"code": 404, "message": "No account.", "status": "NOT_FOUND"}});
        let (address, _) = replay(vec![(404, refusal)]);
        let path = dir.path().join("k.json");
        let message = block_on(key_into_file(&api_at(address), "/keys", &path)).unwrap_err().to_string();
        assert_eq!(message, "No account. (NOT_FOUND): `doorward service-account list` shows the accounts");
        assert!(!path.exists());
    }

    #[test]
    fn a_key_that_could_not_be_kept_is_deleted_again_or_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k.json");
        #[rustfmt::skip]
        let cases = [
            (200, "it was deleted again"),
            (500, "delete it with `doorward service-account keys delete 1f`"),
        ];
        for (status, expected) in cases {
            let (address, asked) = replay(vec![(200, key(Some("!"))), (status, json!({}))]);
            let message = block_on(key_into_file(&api_at(address), "/keys", &path)).unwrap_err().to_string();
            assert!(message.ends_with(expected), "{message}");
            assert!(asked.join().unwrap()[1].starts_with("DELETE /keys/1f HTTP/1.1\r\n"));
            assert!(!path.exists());
        }
    }

    #[test]
    fn accounts_are_read_page_by_page() {
        let account = |id: &str| json!({"name": id, "projectId": "p", "uniqueId": id, "email": format!("{id}@p.example"), "oauth2ClientId": id});
        let first = json!({"accounts": [account("a"), account("b")], "nextPageToken": "b&c"});
        let (address, asked) = replay(vec![(200, first), (200, json!({"accounts": [account("c")]}))]);
        let accounts = block_on(every_account(&api_at(address), "/accounts")).unwrap();
        assert_eq!(accounts.iter().map(|account| account.unique_id.as_str()).collect::<String>(), "abc");
        assert!(asked.join().unwrap()[1].starts_with("GET /accounts?pageToken=b%26c HTTP/1.1\r\n"));
    }
}
