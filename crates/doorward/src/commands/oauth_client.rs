//! `doorward oauth-client`: the clients for which people sign in, through our own API.

use anyhow::anyhow;
use doorward_wire::doorward_api::{ListOAuthClientsResponse, OAuthClientResource};
use doorward_wire::google_api::Status;
use doorward_wire::uri::path_segment;
use serde_json::json;

use super::Common;
use crate::api::ApiError;
use crate::output::{json_line, print, printable, table};
use crate::server::Server;

const PATH: &str = "/v1/oauthClients";
const SEE_LIST: &str = "`doorward oauth-client list` shows the clients";

/// Create, list, describe and delete OAuth clients: the programs for which people sign in
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  doorward oauth-client create \"My command line\" --type desktop
  doorward oauth-client list")]
pub(crate) enum Command {
    Create(CreateArgs),
    List(ListArgs),
    Describe(DescribeArgs),
    ResetSecret(ResetSecretArgs),
    Delete(DeleteArgs),
}

/// Create an OAuth client, and print its secret, which is never shown again
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A web client needs its redirect URIs, an Android client its package and the fingerprint of its certificate, an iOS client its
bundle id. A desktop client may use any port of localhost, 127.0.0.1 and [::1]. Android and iOS clients have no secret.

Example:
  doorward oauth-client create \"My command line\" --type desktop
  doorward oauth-client create \"My site\" --type web --redirect-uri https://app.example.com/callback
  doorward oauth-client create \"My phone\" --type ios --bundle-id com.example.app")]
pub(crate) struct CreateArgs {
    /// A name for people
    #[arg(value_name = "NAME")]
    name: String,
    /// What kind of program it is
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    kind: Kind,
    /// Where the answer to a sign-in may go, exactly; may be given several times
    #[arg(long = "redirect-uri", value_name = "URI", required_if_eq("kind", "web"))]
    redirect_uris: Vec<String>,
    /// The package of an Android application, such as com.example.app
    #[arg(long, value_name = "PACKAGE", required_if_eq("kind", "android"))]
    package: Option<String>,
    /// The SHA-1 fingerprint of its certificate, as 20 pairs of hexadecimal digits joined by colons
    #[arg(long, value_name = "FINGERPRINT", required_if_eq("kind", "android"))]
    sha1: Option<String>,
    /// The bundle id of an iOS application, such as com.example.app
    #[arg(long, value_name = "BUNDLE_ID", required_if_eq("kind", "ios"))]
    bundle_id: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// What kind of program a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// A site: it keeps a secret, and names its redirect URIs
    Web,
    /// A program on a computer: it listens on loopback for the answer
    Desktop,
    /// An application on Android: it has no secret
    Android,
    /// An application on iOS: it has no secret
    Ios,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Web => "web",
            Kind::Desktop => "desktop",
            Kind::Android => "android",
            Kind::Ios => "ios",
        }
    }
}

/// List the OAuth clients, without their secrets
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward oauth-client list --json")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    common: Common,
}

/// Show one OAuth client, without its secret
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward oauth-client describe desktop
  doorward oauth-client describe 123-x.apps.googleusercontent.com")]
pub(crate) struct DescribeArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    common: Common,
}

/// Give a client a new secret, and print it; the old one ends at once
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward oauth-client reset-secret 123-x.apps.googleusercontent.com")]
pub(crate) struct ResetSecretArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    common: Common,
}

/// Delete a client: what people allowed it ends with it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward oauth-client delete 123-x.apps.googleusercontent.com")]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct ClientArgs {
    /// The client's id, or its name in dev.json, such as desktop
    #[arg(value_name = "CLIENT")]
    client: String,
}

impl ClientArgs {
    /// No id is a name of dev.json: ids end with a domain.
    fn id<'a>(&'a self, server: &'a Server) -> &'a str {
        let known = server.dev().and_then(|world| world.oauth_clients.get(&self.client));
        known.map_or(&self.client, |known| &known.client_id)
    }

    fn path(&self, server: &Server) -> String {
        client_path(self.id(server))
    }
}

/// The path of one client.
pub(super) fn client_path(client_id: &str) -> String {
    format!("{PATH}/{}", path_segment(client_id))
}

/// Runs one of the commands.
pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(args) => create(args).await,
        Command::List(args) => list(args).await,
        Command::Describe(args) => describe(args).await,
        Command::ResetSecret(args) => reset_secret(args).await,
        Command::Delete(args) => delete(args).await,
    }
}

async fn create(args: CreateArgs) -> anyhow::Result<()> {
    let CreateArgs { name, kind, redirect_uris, package, sha1, bundle_id, common } = args;
    let request = OAuthClientResource {
        display_name: name,
        kind: kind.name().to_owned(),
        redirect_uris,
        package_name: package,
        sha1,
        bundle_id,
        ..OAuthClientResource::default()
    };
    let server = common.server.open().await?;
    let client: OAuthClientResource = server.api().post(PATH, &request).await?;
    Ok(print(&if common.json { json_line(&client)? } else { format!("created a client\n{}", shown(&client)) })?)
}

async fn list(ListArgs { common }: ListArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let answer: ListOAuthClientsResponse = server.api().get(PATH).await?;
    if common.json {
        return Ok(print(&json_line(&answer)?)?);
    }
    let rows: Vec<_> =
        answer.oauth_clients.into_iter().map(|client| [client.client_id, client.kind, client.display_name]).collect();
    Ok(print(&table(["CLIENT ID", "TYPE", "NAME"], &rows))?)
}

async fn describe(DescribeArgs { client, common }: DescribeArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let client: OAuthClientResource = server.api().get(&client.path(&server)).await.map_err(advise)?;
    Ok(print(&if common.json { json_line(&client)? } else { shown(&client) })?)
}

async fn reset_secret(ResetSecretArgs { client, common }: ResetSecretArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let path = format!("{}:resetSecret", client.path(&server));
    let client: OAuthClientResource = server.api().post(&path, &json!({})).await.map_err(advise)?;
    Ok(print(&if common.json {
        json_line(&client)?
    } else {
        let secret = client.client_secret.as_deref().ok_or_else(|| anyhow!("the answer holds no secret: try again"))?;
        format!("new secret of {}: {}\n", printable(&client.client_id), printable(secret))
    })?)
}

async fn delete(DeleteArgs { client, common }: DeleteArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    server.api().delete(&client.path(&server)).await.map_err(advise)?;
    Ok(print(&if common.json {
        "{}\n".to_owned()
    } else {
        format!("deleted {}, and what people allowed it\n", printable(client.id(&server)))
    })?)
}

fn advise(error: ApiError) -> anyhow::Error {
    error.advise(Status::NotFound, SEE_LIST)
}

/// A client for people, a line for each thing that is known of it.
fn shown(client: &OAuthClientResource) -> String {
    let uris = client.redirect_uris.join(" ");
    let lines = [
        ("client id", Some(client.client_id.as_str())),
        ("secret", client.client_secret.as_deref()),
        ("name", Some(client.display_name.as_str())),
        ("type", Some(client.kind.as_str())),
        ("redirect", Some(uris.as_str())),
        ("package", client.package_name.as_deref()),
        ("sha-1", client.sha1.as_deref()),
        ("bundle id", client.bundle_id.as_deref()),
        ("created", Some(client.create_time.as_str())),
    ];
    let known = lines.into_iter().filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
    known.map(|(name, value)| format!("{name:<10} {}\n", printable(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::server::tests::silent_server;

    #[test]
    fn a_client_is_named_by_its_id_or_as_dev_json_names_it() {
        let server = silent_server();
        #[rustfmt::skip]
        let cases = [
            ("desktop",                          "/v1/oauthClients/123-desktop.apps.googleusercontent.com"),
            ("9-y.apps.googleusercontent.com",   "/v1/oauthClients/9-y.apps.googleusercontent.com"),
            ("dekstop",                          "/v1/oauthClients/dekstop"),
        ];
        for (client, expected) in cases {
            assert_eq!(ClientArgs { client: client.to_owned() }.path(&server), expected);
        }
    }

    #[test]
    fn a_client_is_shown_by_what_is_known_of_it() {
        let client = OAuthClientResource {
            client_id: "1-x.apps.googleusercontent.com".into(),
            client_secret: Some("doorward_cs_x".into()),
            display_name: "A\x1b[2Jb".into(),
            kind: "web".into(),
            redirect_uris: vec!["https://a.example/1".into(), "https://a.example/2".into()],
            create_time: "2026-11-25T20:51:17Z".into(),
            ..OAuthClientResource::default()
        };
        let expected = "client id  1-x.apps.googleusercontent.com\n\
                        secret     doorward_cs_x\n\
                        name       A\\u{1b}[2Jb\n\
                        type       web\n\
                        redirect   https://a.example/1 https://a.example/2\n\
                        created    2026-11-25T20:51:17Z\n";
        assert_eq!(shown(&client), expected);
    }
}
