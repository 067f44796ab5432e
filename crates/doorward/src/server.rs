//! Which Doorward a command administers, and as whom: the `doorward dev` of a directory, or any other by its address.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use doorward_server::dev::description::{Description, ProjectDescription};
use doorward_wire::google_api::cloud_resource_manager::ListProjectsResponse;
use http::Uri;

use crate::api::Api;
use crate::credentials::{CredentialsError, SignIns};
use crate::key_file;
use crate::person::{Person, Place};
use crate::sdk;
use crate::world::{WorldArgs, WorldError};

/// Names the Doorward that commands administer, if none is named on the line.
const API_URL: &str = "DOORWARD_API_URL";
/// Names a file that holds a bearer token: the operator's, or an access token of somebody who administers.
pub(crate) const TOKEN_FILE: &str = "DOORWARD_ADMIN_TOKEN_FILE";
/// Names the key file of a service account that administers.
pub(crate) const KEY_FILE: &str = "DOORWARD_KEY_FILE";

/// The options that every administrative command shares.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    world: WorldArgs,
    /// Instead: a running `doorward serve`, by its api_url, as the person of `doorward login`, unless DOORWARD_ADMIN_TOKEN_FILE or
    /// DOORWARD_KEY_FILE says as whom [default: $DOORWARD_API_URL]
    #[arg(long, value_name = "URL", conflicts_with = "dir")]
    api_url: Option<String>,
}

impl ServerArgs {
    /// Finds the server and the credential.
    pub(crate) async fn open(&self) -> anyhow::Result<Server> {
        match self.wanted() {
            Some(url) => {
                let file = |name| variable(name).map(PathBuf::from);
                Server::at(&url, file(TOKEN_FILE).as_deref(), file(KEY_FILE).as_deref()).await
            }
            None => Server::of(self.world()?),
        }
    }

    /// Finds where people sign in; the description too if it is a `doorward dev`.
    pub(crate) fn place(&self) -> anyhow::Result<(Place, Option<Description>)> {
        match self.wanted() {
            Some(url) => Ok((Place::at(&origin(&url)?), None)),
            None => {
                let world = self.world()?;
                Ok((Place::of(&world)?, Some(world)))
            }
        }
    }

    /// The origin of a `doorward serve`, if one is meant.
    pub(crate) fn elsewhere(&self) -> anyhow::Result<Option<String>> {
        self.wanted().map(|url| origin(&url)).transpose()
    }

    /// The `doorward dev` of the directory that is meant.
    pub(crate) fn world(&self) -> anyhow::Result<Description> {
        match self.world.open() {
            Err(error @ WorldError::Missing(_)) => {
                Err(anyhow!("{error}, or name a `doorward serve` with --api-url URL or {API_URL}"))
            }
            opened => Ok(opened?),
        }
    }

    /// The address of a `doorward serve`, if one is meant. What was typed counts before the environment.
    fn wanted(&self) -> Option<String> {
        match &self.api_url {
            Some(url) => Some(url.clone()),
            None if self.world.names_a_directory() => None,
            None => variable(API_URL),
        }
    }

    /// Of the world that is described in `dir`.
    #[cfg(test)]
    pub(crate) fn of_world(world: WorldArgs) -> Self {
        ServerArgs { world, api_url: None }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A running Doorward, and as whom it is called.
#[derive(Debug)]
pub(crate) struct Server {
    api: Api,
    dev: Option<Description>,
}

impl Server {
    /// The server of a description, called as its operator.
    pub(crate) fn of(world: Description) -> anyhow::Result<Self> {
        Ok(Server { api: Api::of(&world)?, dev: Some(world) })
    }

    /// The server at an address, called with the token of a file, or else with one of the account of a key file, or else as the person
    /// who is signed in there.
    async fn at(url: &str, token_file: Option<&Path>, key_file: Option<&Path>) -> anyhow::Result<Self> {
        let origin = origin(url)?;
        let token = match (token_file, key_file) {
            (Some(path), _) => read_token(path)?,
            (None, Some(path)) => {
                let file = key_file::read(path)?;
                let email = file.client_email.clone();
                let credentials = key_file::credentials(file, sdk::builder().endpoint(&origin)?)?;
                let token = credentials.access_token(&[]).await;
                token.map_err(|error| anyhow!(key_file::explained(&error, &email)))?.as_str().to_owned()
            }
            (None, None) => {
                let place = Place::at(&origin);
                let sign_ins = SignIns::of_this_user().ok();
                let known = sign_ins
                    .map(|sign_ins| Ok::<_, CredentialsError>((sign_ins.load(&origin)?, sign_ins)))
                    .transpose()?;
                let Some((Some(_), sign_ins)) = known else {
                    bail!(
                        "it is not said as whom {origin} is to be called: sign in with `doorward login --api-url {origin}`, name a file that \
                         holds the operator's token with {TOKEN_FILE}, or the key file of a service account that administers with {KEY_FILE}"
                    )
                };
                let token = Person::signed_in(&sign_ins, &place)?.access_token().await?;
                return Ok(Server { api: Api::with_access_token(&origin, token.as_str())?, dev: None });
            }
        };
        Ok(Server { api: Api::at(&origin, &token)?, dev: None })
    }

    /// Its API.
    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    /// What dev.json says, if it is a `doorward dev`.
    pub(crate) fn dev(&self) -> Option<&Description> {
        self.dev.as_ref()
    }

    /// The base URL of a Google host, without a trailing slash.
    pub(crate) fn base(&self, host: &str) -> String {
        match &self.dev {
            Some(world) => world.base(host),
            None => format!("{}/{host}", self.api.origin()),
        }
    }

    /// Its one project: as dev.json says, or as the server does.
    pub(crate) async fn project(&self) -> anyhow::Result<ProjectDescription> {
        if let Some(world) = &self.dev {
            return Ok(world.project.clone());
        }
        let answer: ListProjectsResponse = self.api.get("/cloudresourcemanager.googleapis.com/v1/projects").await?;
        let [project] = &*answer.projects else {
            bail!("the server shows you no project: whoever administers must hold roles/browser or more on it");
        };
        Ok(ProjectDescription { id: project.project_id.clone(), number: project.project_number.clone() })
    }

    /// The number of its project, as resources are named by it.
    pub(crate) async fn project_number(&self) -> anyhow::Result<String> {
        Ok(self.project().await?.number)
    }
}

/// The origin of an address to which a credential may go: over TLS, or to this machine by its address.
fn origin(url: &str) -> anyhow::Result<String> {
    let invalid =
        || anyhow!("{url:?} is not the address of a Doorward: write its api_url, such as https://iap.example.com");
    let uri: Uri = url.parse().map_err(|_| invalid())?;
    let authority = uri.authority().ok_or_else(invalid)?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let bare = matches!(uri.path(), "" | "/") && uri.query().is_none() && !authority.as_str().contains('@');
    match uri.scheme_str() {
        Some("https") if bare => Ok(format!("https://{authority}")),
        Some("http") if bare && is_here => Ok(format!("http://{authority}")),
        Some("http") if bare => {
            bail!(
                "{url} would get a credential in the clear: use its address of https, or one of this machine such as 127.0.0.1"
            )
        }
        _ => Err(invalid()),
    }
}

fn read_token(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {shown}, which {TOKEN_FILE} names"))?;
    let token = text.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        bail!("{shown}, which {TOKEN_FILE} names, holds no token: `doorward init` makes the file");
    }
    Ok(token.to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    use crate::api::tests::{block_on, replay};
    use crate::world::tests::description;

    /// The `doorward dev` whose server is at `address`.
    pub(crate) fn server_at(address: std::net::SocketAddr) -> Server {
        Server::of(serde_json::from_value(description(&format!("http://{address}"))).unwrap()).unwrap()
    }

    /// The `doorward dev` whose server is never asked.
    pub(crate) fn silent_server() -> Server {
        server_at("127.0.0.1:1".parse().unwrap())
    }

    #[test]
    fn a_credential_goes_over_tls_or_to_this_machine_and_nowhere_else() {
        #[rustfmt::skip]
        let cases = [
            ("https://iap.example.com",        Ok("https://iap.example.com")),
            ("https://iap.example.com:8443/",  Ok("https://iap.example.com:8443")),
            ("http://127.0.0.1:8081",          Ok("http://127.0.0.1:8081")),
            ("http://[::1]:8081/",             Ok("http://[::1]:8081")),
            ("http://localhost:8081",          Err("in the clear")),
            ("http://iap.example.com",         Err("in the clear")),
            ("http://127.0.0.1.example.com",   Err("in the clear")),
            ("https://iap.example.com/x",      Err("is not the address of a Doorward")),
            ("https://a@iap.example.com",      Err("is not the address of a Doorward")),
            ("iap.example.com",                Err("is not the address of a Doorward")),
            ("",                               Err("is not the address of a Doorward")),
        ];
        for (url, expected) in cases {
            match (origin(url).map_err(|error| error.to_string()), expected) {
                (Ok(origin), Ok(expected)) => assert_eq!(origin, expected),
                (Err(message), Err(expected)) => assert!(message.contains(expected), "{url}: {message}"),
                (got, _) => panic!("{url}: {got:?}"),
            }
        }
    }

    #[test]
    fn a_server_is_called_with_the_token_of_the_file_and_says_its_project() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin-token");
        fs::write(&path, "doorward_admin_y\n").unwrap();
        let project = json!({"projects": [{"projectId": "p", "projectNumber": "123", "lifecycleState": "ACTIVE", "createTime": "2026-01-01T00:00:00Z"}]});
        let refused = json!({"error": {"code": 401, "message": "No.", "status": "UNAUTHENTICATED"}});
        let (address, asked) = replay(vec![(200, project), (200, json!({})), (401, refused)]);
        let server = block_on(Server::at(&format!("http://{address}/"), Some(&path), None)).unwrap();
        assert!(server.dev().is_none());
        assert_eq!(block_on(server.project()).unwrap(), ProjectDescription { id: "p".into(), number: "123".into() });
        let message = block_on(server.project_number()).unwrap_err().to_string();
        assert!(message.starts_with("the server shows you no project"), "{message}");
        let message = block_on(server.project()).unwrap_err().to_string();
        assert!(message.contains("DOORWARD_ADMIN_TOKEN_FILE"), "{message}");
        let asked = asked.join().unwrap();
        assert!(asked[0].starts_with("GET /cloudresourcemanager.googleapis.com/v1/projects HTTP/1.1\r\n"));
        assert!(asked[0].contains("\r\nauthorization: Bearer doorward_admin_y\r\n"));
    }

    #[test]
    fn who_does_not_say_as_whom_is_told_how() {
        let message = |token: Option<&Path>| {
            block_on(Server::at("https://iap.example.com", token, None)).unwrap_err().to_string()
        };
        assert!(message(None).contains("DOORWARD_ADMIN_TOKEN_FILE, or the key file"), "{}", message(None));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        assert!(message(Some(&path)).starts_with("cannot read "), "{}", message(Some(&path)));
        for text in ["", " \n", "a b"] {
            fs::write(&path, text).unwrap();
            assert!(message(Some(&path)).ends_with("holds no token: `doorward init` makes the file"));
        }
    }
}
