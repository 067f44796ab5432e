//! `doorward service-account`: accounts, through the methods of `iam.googleapis.com`.

use doorward_core::member::Email;
use doorward_wire::google_api::{
    CreateServiceAccountRequest, ListServiceAccountsResponse, NewServiceAccount, ServiceAccount, Status,
};
use doorward_wire::uri::path_segment;
use serde_json::{Value, json};

use super::{Common, policy, service_account_keys};
use crate::account::{Account, AccountArgs};
use crate::api::{Api, ApiError};
use crate::output::{json_line, print, printable, table};
use crate::server::Server;

/// What to do if there is no such account.
pub(super) const SEE_LIST: &str = "`doorward service-account list` shows the accounts";

/// Create, list, disable and delete service accounts, manage their keys, and say who may act as them
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  doorward service-account create ci-server
  doorward service-account keys create ci-server.json --account ci-server@doorward-dev.iam.gserviceaccount.com")]
pub(crate) enum Command {
    Create(CreateArgs),
    List(ListArgs),
    /// Disable a service account: none of its tokens is accepted until it is enabled
    #[command(after_help = "\
Example:
  doorward service-account disable robot")]
    Disable(NamedArgs),
    /// Enable a service account that was disabled
    #[command(after_help = "\
Example:
  doorward service-account enable robot")]
    Enable(NamedArgs),
    /// Delete a service account with its keys: none of its tokens is accepted any more
    #[command(after_help = "\
Example:
  doorward service-account delete ci-server@doorward-dev.iam.gserviceaccount.com")]
    Delete(NamedArgs),
    #[command(subcommand)]
    Keys(service_account_keys::Command),
    #[command(subcommand)]
    Policy(policy::Command<AccountArgs>),
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

/// One account.
#[derive(Debug, clap::Args)]
pub(crate) struct NamedArgs {
    /// The service account, by its name in dev.json or its address
    #[arg(value_name = "ACCOUNT")]
    account: Account,
    #[command(flatten)]
    common: Common,
}

/// Runs one of the commands.
pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(args) => create(args).await,
        Command::List(args) => list(args).await,
        Command::Disable(args) => change(args, Change::Disable).await,
        Command::Enable(args) => change(args, Change::Enable).await,
        Command::Delete(args) => change(args, Change::Delete).await,
        Command::Keys(command) => service_account_keys::run(command).await,
        Command::Policy(command) => policy::run(command).await,
    }
}

async fn accounts_path(server: &Server) -> anyhow::Result<String> {
    let id = server.project().await?.id;
    Ok(format!("/iam.googleapis.com/v1/projects/{}/serviceAccounts", path_segment(&id)))
}

/// The path of one account.
pub(super) async fn account_path(server: &Server, email: &Email) -> anyhow::Result<String> {
    Ok(format!("{}/{}", accounts_path(server).await?, path_segment(email.as_str())))
}

async fn create(CreateArgs { account_id, display_name, common }: CreateArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let service_account = NewServiceAccount { display_name, description: String::new() };
    let request = CreateServiceAccountRequest { account_id, service_account };
    let account: ServiceAccount = server
        .api()
        .post(&accounts_path(&server).await?, &request)
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
    let server = common.server.open().await?;
    let accounts = every_account(server.api(), &accounts_path(&server).await?).await?;
    if common.json {
        return Ok(print(&json_line(&ListServiceAccountsResponse { accounts, next_page_token: None })?)?);
    }
    Ok(print(&shown(accounts))?)
}

/// Accounts for people.
fn shown(accounts: Vec<ServiceAccount>) -> String {
    let row = |account: ServiceAccount| {
        [account.email, account.unique_id, state(account.disabled).to_owned(), account.display_name]
    };
    table(["EMAIL", "UNIQUE ID", "STATE", "DISPLAY NAME"], &accounts.into_iter().map(row).collect::<Vec<_>>())
}

/// The state of an account or a key, for people.
pub(super) fn state(disabled: bool) -> &'static str {
    if disabled { "disabled" } else { "enabled" }
}

/// What is done to one account.
#[derive(Debug, Clone, Copy)]
enum Change {
    Disable,
    Enable,
    Delete,
}

async fn change(NamedArgs { account, common }: NamedArgs, change: Change) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let email = account.address(server.dev())?;
    let api = server.api();
    let path = account_path(&server, &email).await?;
    let (done, ended) = match change {
        Change::Disable => (format!("disabled {email}"), call(api, &format!("{path}:disable")).await),
        Change::Enable => (format!("enabled {email}"), call(api, &format!("{path}:enable")).await),
        Change::Delete => (format!("deleted {email} and its keys"), api.delete(&path).await),
    };
    ended.map_err(|error| error.advise(Status::NotFound, SEE_LIST))?;
    Ok(print(&if common.json { "{}\n".to_owned() } else { format!("{done}\n") })?)
}

/// Calls a method that takes nothing and answers nothing.
pub(super) async fn call(api: &Api, method: &str) -> Result<(), ApiError> {
    api.post(method, &json!({})).await.map(|_: Value| ())
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

#[cfg(test)]
mod tests {
    use super::*;

    use crate::api::tests::{api_at, block_on, replay};

    fn account(id: &str) -> Value {
        json!({"name": id, "projectId": "p", "uniqueId": id, "email": format!("{id}@p.example"), "oauth2ClientId": id})
    }

    #[test]
    fn accounts_are_read_page_by_page() {
        let first = json!({"accounts": [account("a"), account("b")], "nextPageToken": "b&c"});
        let (address, asked) = replay(vec![(200, first), (200, json!({"accounts": [account("c")]}))]);
        let accounts = block_on(every_account(&api_at(address), "/accounts")).unwrap();
        assert_eq!(accounts.iter().map(|account| account.unique_id.as_str()).collect::<String>(), "abc");
        assert!(asked.join().unwrap()[1].starts_with("GET /accounts?pageToken=b%26c HTTP/1.1\r\n"));
    }

    #[test]
    fn an_account_is_shown_in_a_row_with_its_state() {
        let enabled: ServiceAccount = serde_json::from_value(account("a")).unwrap();
        let disabled = ServiceAccount { disabled: true, display_name: "A".into(), ..enabled.clone() };
        let expected = "EMAIL        UNIQUE ID  STATE     DISPLAY NAME\n\
                        a@p.example  a          enabled\n\
                        a@p.example  a          disabled  A\n";
        assert_eq!(shown(vec![enabled, disabled]), expected);
    }

    #[test]
    fn a_change_of_an_account_is_one_call_and_an_unknown_account_is_answered_with_where_they_are_listed() {
        #[rustfmt::skip]
        let cases = [
            (Change::Disable, "POST", ":disable"),
            (Change::Enable,  "POST", ":enable"),
            (Change::Delete,  "DELETE", ""),
        ];
        for (wanted, method, verb) in cases {
            let refusal = json!({"error": {"code": 404, "message": "No account.", "status": "NOT_FOUND"}});
            let (address, asked) = replay(vec![(200, json!({})), (404, refusal)]);
            let dir = tempfile::tempdir().unwrap();
            let args = || NamedArgs {
                account: "robot".parse().unwrap(),
                common: Common::at(dir.path(), &format!("http://{address}")),
            };
            block_on(change(args(), wanted)).unwrap();
            let message = block_on(change(args(), wanted)).unwrap_err().to_string();
            assert_eq!(message, format!("No account. (NOT_FOUND): {SEE_LIST}"));
            let path = "/iam.googleapis.com/v1/projects/dev-project/serviceAccounts/robot@p.iam.gserviceaccount.com";
            assert!(asked.join().unwrap()[0].starts_with(&format!("{method} {path}{verb} HTTP/1.1\r\n")), "{wanted:?}");
        }
    }
}
