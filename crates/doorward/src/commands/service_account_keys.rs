//! `doorward service-account keys`: the keys of accounts, through the methods of `iam.googleapis.com`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doorward_core::member::Email;
use doorward_wire::google_api::{CreateKeyRequest, ListKeysResponse, ServiceAccountKey, Status};
use doorward_wire::uri::path_segment;

use super::Common;
use super::service_account::{SEE_LIST, account_path, call, state};
use crate::account::AccountArgs;
use crate::api::Api;
use crate::output::{json_line, print, printable, table};
use crate::server::Server;

/// Create, list, disable and delete the keys of a service account
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  doorward service-account keys list --account robot")]
pub(crate) enum Command {
    Create(CreateArgs),
    List(ListArgs),
    /// Disable a key: nothing that it signs is accepted until it is enabled
    #[command(after_help = "\
Example:
  doorward service-account keys disable KEY_ID --account robot")]
    Disable(KeyArgs),
    /// Enable a key that was disabled
    #[command(after_help = "\
Example:
  doorward service-account keys enable KEY_ID --account robot")]
    Enable(KeyArgs),
    /// Delete a key: nothing that it signs is accepted any more
    #[command(after_help = "\
Example:
  doorward service-account keys delete KEY_ID --account robot")]
    Delete(KeyArgs),
}

/// Create a key and write its key file, readable by its owner only
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward service-account keys create ci-server.json --account ci-server@doorward-dev.iam.gserviceaccount.com")]
pub(crate) struct CreateArgs {
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
  doorward service-account keys list --account robot")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    account: AccountArgs,
    #[command(flatten)]
    common: Common,
}

/// One key.
#[derive(Debug, clap::Args)]
pub(crate) struct KeyArgs {
    /// The key's id
    #[arg(value_name = "KEY_ID")]
    key_id: String,
    #[command(flatten)]
    account: AccountArgs,
    #[command(flatten)]
    common: Common,
}

/// Runs one of the commands.
pub(super) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(args) => create(args).await,
        Command::List(args) => list(args).await,
        Command::Disable(args) => change(args, Change::Disable).await,
        Command::Enable(args) => change(args, Change::Enable).await,
        Command::Delete(args) => change(args, Change::Delete).await,
    }
}

async fn keys_path(server: &Server, email: &Email) -> anyhow::Result<String> {
    Ok(format!("{}/keys", account_path(server, email).await?))
}

/// The last part of a key's name.
fn key_id(key: &ServiceAccountKey) -> &str {
    key.name.rsplit('/').next().unwrap_or(&key.name)
}

async fn create(CreateArgs { file, account, common }: CreateArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let email = account.account.address(server.dev())?;
    let key = key_into_file(server.api(), &keys_path(&server, &email).await?, &file).await?;
    Ok(print(&if common.json {
        json_line(&key)?
    } else {
        format!("created key {} of {email} in {}\n", printable(key_id(&key)), file.display())
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

/// Makes a file that only its owner reads.
pub(super) fn new_private_file(path: &Path) -> anyhow::Result<File> {
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

async fn list(ListArgs { account, common }: ListArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let email = account.account.address(server.dev())?;
    let answer: ListKeysResponse = server
        .api()
        .get(&keys_path(&server, &email).await?)
        .await
        .map_err(|error| error.advise(Status::NotFound, SEE_LIST))?;
    Ok(print(&if common.json { json_line(&answer)? } else { shown(&answer.keys) })?)
}

/// Keys for people.
fn shown(keys: &[ServiceAccountKey]) -> String {
    let row = |key: &ServiceAccountKey| {
        let (id, state) = (key_id(key).to_owned(), state(key.disabled).to_owned());
        [id, state, key.valid_after_time.clone(), key.valid_before_time.clone()]
    };
    table(["KEY ID", "STATE", "VALID AFTER", "VALID BEFORE"], &keys.iter().map(row).collect::<Vec<_>>())
}

/// What is done to one key.
#[derive(Debug, Clone, Copy)]
enum Change {
    Disable,
    Enable,
    Delete,
}

async fn change(KeyArgs { key_id, account, common }: KeyArgs, change: Change) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let email = account.account.address(server.dev())?;
    let api = server.api();
    let path = format!("{}/{}", keys_path(&server, &email).await?, path_segment(&key_id));
    let (done, ended) = match change {
        Change::Disable => ("disabled", call(api, &format!("{path}:disable")).await),
        Change::Enable => ("enabled", call(api, &format!("{path}:enable")).await),
        Change::Delete => ("deleted", api.delete(&path).await),
    };
    let advice = format!("`doorward service-account keys list --account {email}` shows its keys");
    ended.map_err(|error| error.advise(Status::NotFound, &advice))?;
    Ok(print(&if common.json { "{}\n".to_owned() } else { format!("{done} key {} of {email}\n", printable(&key_id)) })?)
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
    fn a_key_is_shown_in_a_row_with_its_state() {
        let enabled: ServiceAccountKey = serde_json::from_value(key(None)).unwrap();
        let keys = [enabled.clone(), ServiceAccountKey { disabled: true, ..enabled }];
        let expected = "KEY ID  STATE     VALID AFTER           VALID BEFORE\n\
                        1f      enabled   2026-01-01T00:00:00Z  9999-12-31T23:59:59Z\n\
                        1f      disabled  2026-01-01T00:00:00Z  9999-12-31T23:59:59Z\n";
        assert_eq!(shown(&keys), expected);
    }

    #[test]
    fn a_change_of_a_key_is_one_call_and_an_unknown_key_is_answered_with_where_they_are_listed() {
        #[rustfmt::skip]
        let cases = [
            (Change::Disable, "POST", ":disable"),
            (Change::Enable,  "POST", ":enable"),
            (Change::Delete,  "DELETE", ""),
        ];
        for (wanted, method, verb) in cases {
            let refusal = json!({"error": {"code": 404, "message": "No key.", "status": "NOT_FOUND"}});
            let (address, asked) = replay(vec![(200, json!({})), (404, refusal)]);
            let dir = tempfile::tempdir().unwrap();
            let args = || KeyArgs {
                key_id: "1f".into(),
                account: AccountArgs { account: "robot".parse().unwrap() },
                common: Common::at(dir.path(), &format!("http://{address}")),
            };
            block_on(change(args(), wanted)).unwrap();
            let message = block_on(change(args(), wanted)).unwrap_err().to_string();
            let robot = "robot@p.iam.gserviceaccount.com";
            let expected =
                format!("No key. (NOT_FOUND): `doorward service-account keys list --account {robot}` shows its keys");
            assert_eq!(message, expected);
            let path = format!("/iam.googleapis.com/v1/projects/dev-project/serviceAccounts/{robot}/keys/1f{verb}");
            assert!(asked.join().unwrap()[0].starts_with(&format!("{method} {path} HTTP/1.1\r\n")), "{wanted:?}");
        }
    }
}
