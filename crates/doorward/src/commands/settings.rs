//! `doorward settings`: what else is set on a resource, through the methods of `iap.googleapis.com`.

use anyhow::{anyhow, bail};
use doorward_wire::doorward_api::OAuthClientResource;
use doorward_wire::google_api::field_mask::camel_case;
use doorward_wire::google_api::{IapSettings, Status};
use serde_json::{Map, Value};

use super::Common;
use super::oauth_client::client_path;
use super::policy::{NAME_ANOTHER, Target};
use crate::api::{Api, ApiError, with_query};
use crate::file;
use crate::iam_policy::resource_path;
use crate::output::{json_line, print, printable, say, table};
use crate::server::Server;

/// Show and change the settings of the applications
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  doorward settings get --app app
  doorward settings set --app app --programmatic-client desktop")]
pub(crate) enum Command {
    Get(GetArgs),
    Set(SetArgs),
}

/// Show what is set on a resource; what is not set there comes from the resources above it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward settings get --app app
  doorward settings get --web --json > settings.json")]
pub(crate) struct GetArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    common: Common,
}

/// Change settings of a resource, from the next request on
///
/// Options change what they name and leave the rest; a file replaces all that is set there.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A setting is named by its path, in either case: access_settings.cors_settings.allow_http_options. A value is JSON, or a text as it is.
An ID token that a person got for a programmatic client opens the application, without its own client id as audience.
The file is what `doorward settings get --json` and `gcloud iap settings get` print, in JSON, YAML or TOML.

Example:
  doorward settings set --app app --programmatic-client desktop
  doorward settings set --app app --set application_settings.access_denied_page_settings.access_denied_page_uri=https://example.com/no
  doorward settings set --web --unset doorward_settings.email_claim
  doorward settings set --web -f settings.yaml")]
pub(crate) struct SetArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Default, clap::Args)]
#[group(required = true, multiple = true)]
struct ChangeArgs {
    /// A client id, or the name of a client in dev.json, such as desktop, whose ID tokens are accepted too; may be given several times.
    /// The list replaces the whole old one
    #[arg(long = "programmatic-client", value_name = "CLIENT")]
    programmatic_clients: Vec<String>,
    /// Set no such list here: one that is set above then holds
    #[arg(long, conflicts_with = "programmatic_clients")]
    no_programmatic_clients: bool,
    /// Set this; may be given several times
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = pair)]
    set: Vec<(String, Value)>,
    /// Set this no more, so that what is set above holds; may be given several times
    #[arg(long = "unset", value_name = "PATH", value_parser = path_of)]
    unset: Vec<String>,
    /// Replace everything by the settings of this file; - is standard input
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    #[arg(conflicts_with_all = ["programmatic_clients", "no_programmatic_clients", "set", "unset"])]
    file: Option<std::path::PathBuf>,
}

/// The path of the programmatic clients.
const PROGRAMMATIC_CLIENTS: &str = "accessSettings.oauthSettings.programmaticClients";

/// Reads `PATH=VALUE`.
fn pair(text: &str) -> Result<(String, Value), String> {
    let (path, value) = text.split_once('=').ok_or("not PATH=VALUE: write a setting, =, and what it is to be")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok((path_of(path)?, value))
}

/// Reads the path of a setting, or of several together, in either case.
fn path_of(text: &str) -> Result<String, String> {
    let path: Vec<String> = text.split('.').map(camel_case).collect();
    let path = path.join(".");
    let below =
        |known: &&str| known.strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    match path != "name" && IapSettings::PATHS.iter().any(below) {
        true => Ok(path),
        false => {
            let last = path.rsplit('.').next().unwrap_or_default();
            let near =
                IapSettings::PATHS.iter().find(|known| !last.is_empty() && known.ends_with(last) && **known != "name");
            let advice = near
                .map_or_else(|| "`doorward settings set --help` has examples".to_owned(), |near| format!("use {near}"));
            Err(format!("there is no setting {path}: {advice}"))
        }
    }
}

/// Runs one of the commands.
pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    let (resource, answer, common) = match command {
        Command::Get(GetArgs { target, common }) => {
            let server = common.server.open().await?;
            let resource = target.resource(&server).await?;
            let answer: IapSettings = server.api().get(&path(&resource)).await.map_err(advise)?;
            (resource, answer, common)
        }
        Command::Set(SetArgs { target, change, common }) => {
            let from_file = change.file.as_deref().map(file::read::<IapSettings>).transpose()?;
            let server = common.server.open().await?;
            let resource = target.resource(&server).await?;
            let (settings, mask) = match from_file {
                // Its name is that of where it was read, which need not be here.
                Some(settings) => (IapSettings { name: resource.clone(), ..settings }, String::new()),
                None => {
                    let (settings, mask) = changed(&server, change)?;
                    warn_of_unknown(server.api(), settings.programmatic_clients().unwrap_or_default()).await;
                    (IapSettings { name: resource.clone(), ..settings }, mask.join(","))
                }
            };
            let path = match mask.is_empty() {
                true => path(&resource),
                false => with_query(&path(&resource), &[("updateMask", &mask)]),
            };
            let answer: IapSettings = server.api().patch(&path, &settings).await.map_err(advise)?;
            (resource, answer, common)
        }
    };
    Ok(print(&if common.json { json_line(&answer)? } else { shown(&resource, &answer) })?)
}

/// The path of the settings of a resource.
pub(crate) fn path(resource: &str) -> String {
    format!("{}:iapSettings", resource_path("iap.googleapis.com", resource))
}

fn advise(error: ApiError) -> anyhow::Error {
    error.advise(Status::NotFound, NAME_ANOTHER)
}

/// The settings that a line sets, and the mask of all that it changes.
fn changed(server: &Server, change: ChangeArgs) -> anyhow::Result<(IapSettings, Vec<String>)> {
    let ChangeArgs { programmatic_clients, no_programmatic_clients, set, unset, file: _ } = change;
    let mut settings = Value::Object(Map::new());
    let mut mask = unset;
    if no_programmatic_clients {
        mask.push(PROGRAMMATIC_CLIENTS.to_owned());
    }
    let clients = client_ids(server, programmatic_clients)?;
    let clients = (!clients.is_empty()).then(|| (PROGRAMMATIC_CLIENTS.to_owned(), Value::from(clients)));
    for (path, value) in set.into_iter().chain(clients) {
        put(&mut settings, &path, value);
        mask.push(path);
    }
    if let Some(twice) = mask.iter().enumerate().find(|(index, path)| mask[..*index].contains(path)) {
        bail!("{} is changed twice: say what it is to be once", twice.1);
    }
    let settings =
        serde_json::from_value(settings).map_err(|error| anyhow!("a value is not one of its setting ({error})"))?;
    Ok((settings, mask))
}

/// Puts a value at a path, making the objects on the way to it.
fn put(object: &mut Value, path: &str, value: Value) {
    let mut place = object;
    for name in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[name];
    }
    *place = value;
}

/// Says which clients are not registered: one may be, later. What cannot be asked shows when the settings are sent.
async fn warn_of_unknown(api: &Api, ids: &[String]) {
    for id in ids {
        let found: Result<OAuthClientResource, ApiError> = api.get(&client_path(id)).await;
        if found.is_err_and(|error| error.is(Status::NotFound)) {
            say(&format!(
                "note: no client {id} is registered here, so nobody gets a token for it; `doorward oauth-client list` \
                 shows the clients"
            ));
        }
    }
}

/// How every client id ends.
const CLIENT_ID_END: &str = ".apps.googleusercontent.com";

/// Names of dev.json replaced by the ids that they stand for. An id that nobody has would let nobody in, and never be found out.
fn client_ids(server: &Server, clients: Vec<String>) -> anyhow::Result<Vec<String>> {
    let id = |client: String| {
        if let Some(known) = server.dev().and_then(|world| world.oauth_clients.get(&client)) {
            return Ok(known.client_id.clone());
        }
        if client.strip_suffix(CLIENT_ID_END).is_some_and(|start| !start.is_empty()) {
            return Ok(client);
        }
        let names =
            server.dev().map(|world| world.oauth_clients.keys().map(String::as_str).collect::<Vec<_>>().join(", "));
        let names = names.map_or_else(String::new, |names| format!("one of {names}, or "));
        Err(anyhow!("{client:?} is no client: use {names}a client id that `doorward oauth-client list` shows"))
    };
    clients.into_iter().map(id).collect()
}

/// Settings for people: a row for each that is set.
fn shown(resource: &str, settings: &IapSettings) -> String {
    let value = serde_json::to_value(settings).unwrap_or_default();
    let of = |path: &String| {
        let found = path.split('.').try_fold(&value, |value, name| value.get(name));
        let text = match found {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        };
        [path.clone(), text]
    };
    let rows: Vec<_> = settings.set_paths().iter().map(of).collect();
    if rows.is_empty() {
        return format!("{} has no settings of its own\n", printable(resource));
    }
    table(["SETTING", "VALUE"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    use crate::server::tests::silent_server;

    #[test]
    fn a_name_of_dev_json_stands_for_its_client_a_client_id_for_itself_and_nothing_else_is_sent() {
        let server = silent_server();
        let ids = client_ids(&server, vec!["desktop".into(), "9-y.apps.googleusercontent.com".into()]).unwrap();
        assert_eq!(ids, ["123-desktop.apps.googleusercontent.com", "9-y.apps.googleusercontent.com"]);
        for wrong in ["", "dekstop", ".apps.googleusercontent.com", "9-y.apps.googleusercontent.com.evil.example"] {
            let message = client_ids(&server, vec!["desktop".into(), wrong.into()]).unwrap_err().to_string();
            let next = "use one of android, desktop, or a client id that `doorward oauth-client list` shows";
            assert_eq!(message, format!("{wrong:?} is no client: {next}"));
        }
        assert_eq!(path("projects/1/iap_web"), "/iap.googleapis.com/v1/projects/1/iap_web:iapSettings");
    }

    #[test]
    fn a_line_changes_what_it_names_and_the_mask_says_so() {
        let (cors, claim) = ("accessSettings.corsSettings.allowHttpOptions", "doorwardSettings.emailClaim");
        let set = |text: &str| ChangeArgs { set: vec![pair(text).unwrap()], ..ChangeArgs::default() };
        let clients = vec!["desktop".to_owned()];
        #[rustfmt::skip]
        let cases = [
            (set("access_settings.cors_settings.allow_http_options=true"), json!({"accessSettings": {"corsSettings": {"allowHttpOptions": true}}}), vec![cors]),
            (set("doorwardSettings.emailClaim=REQUIRED"),                  json!({"doorwardSettings": {"emailClaim": "REQUIRED"}}),               vec![claim]),
            (ChangeArgs { unset: vec![claim.into()], ..set("accessSettings.corsSettings.allowHttpOptions=false") },
             json!({"accessSettings": {"corsSettings": {"allowHttpOptions": false}}}), vec![claim, cors]),
            (ChangeArgs { no_programmatic_clients: true, ..ChangeArgs::default() }, json!({}), vec![PROGRAMMATIC_CLIENTS]),
            (ChangeArgs { programmatic_clients: clients, ..ChangeArgs::default() },
             json!({"accessSettings": {"oauthSettings": {"programmaticClients": ["123-desktop.apps.googleusercontent.com"]}}}), vec![PROGRAMMATIC_CLIENTS]),
        ];
        for (change, settings, mask) in cases {
            let (sent, named) = changed(&silent_server(), change).unwrap();
            assert_eq!(
                (serde_json::to_value(sent).unwrap(), named),
                (settings, mask.into_iter().map(str::to_owned).collect())
            );
        }
        let twice = ChangeArgs { unset: vec![claim.into()], ..set("doorwardSettings.emailClaim=REQUIRED") };
        assert!(changed(&silent_server(), twice).unwrap_err().to_string().contains("is changed twice"));
        let wrong = set("doorwardSettings.emailClaim=SOMETIMES");
        assert!(changed(&silent_server(), wrong).unwrap_err().to_string().contains("is not one of its setting"));
    }

    #[test]
    fn what_is_no_setting_is_refused_with_the_one_that_was_meant() {
        #[rustfmt::skip]
        let cases = [
            ("access_settings.oauth_settings.login_hint", Ok("accessSettings.oauthSettings.loginHint")),
            ("accessSettings.corsSettings",               Ok("accessSettings.corsSettings")),
            ("allow_http_options",                        Err("there is no setting allowHttpOptions: use accessSettings.corsSettings.allowHttpOptions")),
            ("name",                                      Err("there is no setting name: `doorward settings set --help` has examples")),
            ("",                                          Err("there is no setting : `doorward settings set --help` has examples")),
        ];
        for (text, expected) in cases {
            assert_eq!(path_of(text), expected.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn settings_are_shown_a_row_each() {
        let settings: IapSettings = serde_json::from_value(json!({
            "name": "r", "accessSettings": {"oauthSettings": {"programmaticClients": ["a"]}}, "doorwardSettings": {"emailClaim": "REQUIRED"},
        }))
        .unwrap();
        let expected = "SETTING                                           VALUE\n\
                        accessSettings.oauthSettings.programmaticClients  [\"a\"]\n\
                        doorwardSettings.emailClaim                       REQUIRED\n";
        assert_eq!(shown("r", &settings), expected);
        assert_eq!(shown("r", &IapSettings::default()), "r has no settings of its own\n");
    }
}
