//! `doorward settings`: what else is set on an application, through the methods of `iap.googleapis.com`.

use anyhow::anyhow;
use doorward_server::dev::description::Description;
use doorward_wire::doorward_api::OAuthClientResource;
use doorward_wire::google_api::{AccessSettings, IapSettings, OAuthSettings, Status};

use super::Common;
use super::oauth_client::client_path;
use super::policy::{NAME_ANOTHER, Target};
use crate::api::{Api, ApiError};
use crate::iam_policy::resource_path;
use crate::output::{json_line, print, printable, say};

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
  doorward settings get --app app")]
pub(crate) struct GetArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    common: Common,
}

/// Set which other clients' ID tokens are accepted, from the next request on
///
/// Replaces the whole list. An ID token that a person got for such a client opens the application, without its own client id as
/// audience.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward settings set --app app --programmatic-client desktop
  doorward settings set --app app --no-programmatic-clients")]
pub(crate) struct SetArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    clients: ClientsArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct ClientsArgs {
    /// A client id, or the name of a client in dev.json, such as desktop; may be given several times
    #[arg(long = "programmatic-client", value_name = "CLIENT")]
    programmatic_clients: Vec<String>,
    /// Set no list here: one that is set above it, on the project, then holds
    #[arg(long)]
    no_programmatic_clients: bool,
}

/// Runs one of the commands.
pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    let (resource, answer, common) = match command {
        Command::Get(GetArgs { target, common }) => {
            let world = common.world.open()?;
            let resource = target.resource(&world);
            let answer: IapSettings = Api::of(&world)?.get(&path(&resource)).await.map_err(advise)?;
            (resource, answer, common)
        }
        Command::Set(SetArgs { target, clients, common }) => {
            let world = common.world.open()?;
            let resource = target.resource(&world);
            let ids = client_ids(&world, clients.programmatic_clients)?;
            let api = Api::of(&world)?;
            warn_of_unknown(&api, &ids).await;
            let settings = settings(&resource, ids);
            let answer: IapSettings = api.patch(&path(&resource), &settings).await.map_err(advise)?;
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
fn client_ids(world: &Description, clients: Vec<String>) -> anyhow::Result<Vec<String>> {
    let id = |client: String| {
        if let Some(known) = world.oauth_clients.get(&client) {
            return Ok(known.client_id.clone());
        }
        if client.strip_suffix(CLIENT_ID_END).is_some_and(|start| !start.is_empty()) {
            return Ok(client);
        }
        let names: Vec<&str> = world.oauth_clients.keys().map(String::as_str).collect();
        Err(anyhow!(
            "{client:?} is no client: use one of {}, or a client id that `doorward oauth-client list` shows",
            names.join(", ")
        ))
    };
    clients.into_iter().map(id).collect()
}

/// Settings with nothing but the clients. No other setting is served, so replacing all of them loses none.
fn settings(resource: &str, clients: Vec<String>) -> IapSettings {
    let oauth = OAuthSettings { programmatic_clients: Some(clients), ..OAuthSettings::default() };
    let access = AccessSettings { oauth_settings: Some(oauth), ..AccessSettings::default() };
    IapSettings { name: resource.to_owned(), access_settings: Some(access), ..IapSettings::default() }
}

/// Settings for people.
fn shown(resource: &str, settings: &IapSettings) -> String {
    let resource = printable(resource);
    match settings.programmatic_clients() {
        None => format!("{resource} sets no programmatic clients of its own\n"),
        Some([]) => format!("{resource} accepts its own client only\n"),
        Some(clients) => clients.iter().map(|client| format!("{resource} accepts {}\n", printable(client))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    use crate::world::tests::description;

    #[test]
    fn a_name_of_dev_json_stands_for_its_client_a_client_id_for_itself_and_nothing_else_is_sent() {
        let world: Description = serde_json::from_value(description("http://127.0.0.1:1")).unwrap();
        let ids = client_ids(&world, vec!["desktop".into(), "9-y.apps.googleusercontent.com".into()]).unwrap();
        assert_eq!(ids, ["123-desktop.apps.googleusercontent.com", "9-y.apps.googleusercontent.com"]);
        for wrong in ["", "dekstop", ".apps.googleusercontent.com", "9-y.apps.googleusercontent.com.evil.example"] {
            let message = client_ids(&world, vec!["desktop".into(), wrong.into()]).unwrap_err().to_string();
            let next = "use one of android, desktop, or a client id that `doorward oauth-client list` shows";
            assert_eq!(message, format!("{wrong:?} is no client: {next}"));
        }
        let sent = serde_json::to_value(settings("projects/1/iap_web", vec!["c".into()])).unwrap();
        let expected = json!({
            "name": "projects/1/iap_web", "accessSettings": {"oauthSettings": {"programmaticClients": ["c"]}},
        });
        assert_eq!(sent, expected);
        assert_eq!(path("projects/1/iap_web"), "/iap.googleapis.com/v1/projects/1/iap_web:iapSettings");
    }

    #[test]
    fn what_is_not_set_is_told_from_what_is_set_to_nobody() {
        #[rustfmt::skip]
        let cases = [
            (IapSettings::default(),                      "r sets no programmatic clients of its own\n"),
            (settings("r", vec![]),                       "r accepts its own client only\n"),
            (settings("r", vec!["a".into(), "b".into()]), "r accepts a\nr accepts b\n"),
        ];
        for (settings, expected) in cases {
            assert_eq!(shown("r", &settings), expected);
        }
    }
}
