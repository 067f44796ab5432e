//! `doorward token`: an ID token, got as any client of Google's gets one.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use doorward_client::{TokenError, TransportError};
use doorward_core::clock::{Clock as _, SystemClock, Timestamp};
use doorward_server::dev::description::Description;
use doorward_wire::google_api::IapSettings;
use doorward_wire::jose::{JwkSet, VerifyingKeys};
use doorward_wire::uri::path_segment;

use super::settings;
use crate::api::{self, Api};
use crate::explain::{Explanation, Known, explain, self_signer};
use crate::id_token::SourceArgs;
use crate::output::{json_line, print};
use crate::runtime::block_on;
use crate::sdk;
use crate::server::ServerArgs;
use crate::world::AppName;

/// More than a token has that is looked at.
const INPUT_LIMIT: u64 = 64 * 1024;

/// Print an ID token for an application
///
/// Gets it with a key file, with the sign-in of a person, by impersonation or from a metadata server, and prints it alone. It is
/// good for one hour; one that was got before and has more than five minutes left is printed again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  curl -H \"Authorization: Bearer $(doorward token --app app)\" http://127.0.0.1:8080/
  doorward token --app app --as stranger
  doorward token --app app --as caller --impersonate target
  doorward token --app app --as me --explain
  pbpaste | doorward token --explain --token-file -
  doorward token --api-url https://auth.example.com --key-file robot.json --audience CLIENT_ID")]
pub(crate) struct Args {
    #[command(flatten)]
    purpose: Purpose,
    #[command(flatten)]
    source: SourceArgs,
    /// Ask a metadata server [default: the one of dev.json, else $GCE_METADATA_HOST]
    #[arg(long, value_name = "HOST:PORT", num_args = 0..=1, conflicts_with_all = ["account", "key_file", "impersonate"])]
    metadata: Option<Option<String>>,
    /// Say what is in the token and how it would be judged, instead of printing it
    #[arg(long)]
    explain: bool,
    /// Print the explanation as JSON
    #[arg(long, requires = "explain")]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Purpose {
    /// The application that the token is for
    #[arg(long, value_name = "NAME")]
    app: Option<AppName>,
    /// The audience that the token is for: a client id
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<String>,
    /// Explain the token in this file, or on standard input with `-`
    #[arg(long, value_name = "FILE", requires = "explain", conflicts_with_all = ["account", "key_file", "impersonate", "metadata"])]
    token_file: Option<PathBuf>,
}

/// Prints the token, or what is to be said of it.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    if let Some(origin) = args.server.elsewhere()? {
        return at(&args, &origin);
    }
    let world = args.server.world()?;
    let now = SystemClock.now();
    let token = match (&args.purpose, args.purpose.app) {
        (Purpose { token_file: Some(path), .. }, _) => read_token(path)?,
        (_, Some(app)) => get(&args, &world, &app.of(&world).client_id, now)?,
        (Purpose { audience, .. }, None) => get(&args, &world, audience.as_deref().unwrap_or_default(), now)?,
    };
    if !args.explain {
        return Ok(print(&format!("{token}\n"))?);
    }
    let explanation: Explanation = block_on(async {
        let known = known(&world, &token, now).await;
        Ok(explain(&token, &known))
    })?;
    Ok(print(&if args.json { json_line(&explanation)? } else { explanation.shown() })?)
}

/// Prints a token of a `doorward serve`, which has neither applications nor accounts by the names of dev.json.
fn at(args: &Args, origin: &str) -> anyhow::Result<()> {
    let Purpose { audience: Some(audience), .. } = &args.purpose else {
        bail!(
            "only `doorward dev` knows applications by the names of --app: give --audience and the clientId that `doorward app list` shows"
        );
    };
    if args.explain {
        bail!(
            "--explain is for `doorward dev`: at {origin}, whoever administers sees with `doorward explain` how a request was judged"
        );
    }
    let token = match &args.metadata {
        None => args.source.id_token_at(origin, audience)?,
        Some(Some(host)) => block_on(from_metadata(host, audience))?,
        Some(None) => bail!("{origin} is no metadata server: name one with --metadata HOST:PORT"),
    };
    Ok(print(&format!("{token}\n"))?)
}

fn get(args: &Args, world: &Description, audience: &str, now: Timestamp) -> anyhow::Result<String> {
    let Some(named) = &args.metadata else { return args.source.id_token(world, audience, now) };
    let of_dev_json = || world.metadata.as_ref().map(|metadata| metadata.host.clone());
    let of_environment = || std::env::var("GCE_METADATA_HOST").ok().filter(|host| !host.is_empty());
    let Some(host) = named.clone().or_else(of_dev_json).or_else(of_environment) else {
        bail!("no metadata server is known: name one with --metadata HOST:PORT");
    };
    block_on(from_metadata(&host, audience))
}

async fn from_metadata(host: &str, audience: &str) -> anyhow::Result<String> {
    let token = sdk::builder().metadata(host)?.id_token(audience).await;
    let token = token.map_err(|error| match &error {
        // It need not be the one of `doorward dev`.
        TokenError::Transport(TransportError::Connect { cause, .. }) => anyhow!(
            "cannot connect to the metadata server at {host} ({cause}): start it, or name another with --metadata HOST:PORT"
        ),
        // Whoever does not say so is another server, which was not asked for a token.
        TokenError::Answer { wanted, .. } if wanted.contains("Metadata-Flavor") => {
            anyhow!("{host} is no metadata server: it does not answer with Metadata-Flavor: Google")
        }
        error => anyhow!("no token of the metadata server: {}", sdk::explained(error, &|_, _| None)),
    })?;
    Ok(token.as_str().to_owned())
}

/// A token as it stands in a file, in a copied header, or with spaces around it.
fn read_token(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(INPUT_LIMIT).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(INPUT_LIMIT).read_to_string(&mut text))
    };
    read.map_err(|error| anyhow!("cannot read a token from {} ({error}): name another file", path.display()))?;
    Ok(bare_token(&text).to_owned())
}

fn bare_token(text: &str) -> &str {
    let text = text.trim();
    let (_, text) = text.split_once(": ").unwrap_or(("", text));
    text.strip_prefix("Bearer ").unwrap_or(text).trim()
}

/// Asks the server what an explanation needs. What cannot be learnt is left open.
async fn known<'a>(world: &'a Description, token: &str, now: Timestamp) -> Known<'a> {
    let path = match self_signer(token) {
        Some(account) => format!("service_accounts/v1/jwk/{}", path_segment(&account)),
        None => "oauth2/v3/certs".to_owned(),
    };
    let keys = match api::get::<JwkSet>(&format!("{}/www.googleapis.com/{path}", world.api_url)).await {
        Ok(JwkSet { keys }) => VerifyingKeys::from_jwks(&keys).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let mut programmatic_clients = Vec::new();
    for app in AppName::ALL {
        let Ok(api) = Api::of(world) else { break };
        let settings: Result<IapSettings, _> = api.get(&settings::path(&app.of(world).resource)).await;
        if let Ok(settings) = settings {
            programmatic_clients.push((app, settings.programmatic_clients().unwrap_or_default().to_vec()));
        }
    }
    Known { world, now, keys, programmatic_clients }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use crate::api::tests::block_on;
    use crate::sdk::tests::id_token;

    #[test]
    fn a_token_is_found_in_what_was_copied() {
        for text in ["a.b.c", "a.b.c\n", "Bearer a.b.c", "Authorization: Bearer a.b.c\r\n", " a.b.c "] {
            assert_eq!(bare_token(text), "a.b.c", "{text:?}");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        assert!(read_token(&path).unwrap_err().to_string().starts_with("cannot read a token from "));
        fs::write(&path, "a.b.c\n").unwrap();
        assert_eq!(read_token(&path).unwrap(), "a.b.c");
    }

    #[test]
    fn a_metadata_server_is_asked_as_google_asks_it_and_must_say_that_it_is_one() {
        let token = id_token("https://a/&b");
        let (token, google, other) = (token.as_str(), "Metadata-Flavor: Google\r\n", "Metadata-Flavor: Other\r\n");
        #[rustfmt::skip]
        let cases = [
            ("200 OK",          google, token, Ok(token)),
            ("200 OK",          "",     token, Err("is no metadata server")),
            ("200 OK",          other,  token, Err("is no metadata server")),
            ("200 OK",          google, "x",   Err("does not hold an id_token")),
            ("400 Bad Request", google, "non-empty audience parameter required\nx", Err("failed with HTTP 400 Bad Request (non-empty audience parameter required)")),
        ];
        for (status, flavor, body, expected) in cases {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let host = listener.local_addr().unwrap().to_string();
            let answer = format!("HTTP/1.1 {status}\r\n{flavor}content-length: {}\r\n\r\n{body}", body.len());
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = vec![0; 4096];
                let read = stream.read(&mut asked).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8_lossy(&asked[..read]).into_owned()
            });
            let token = block_on(from_metadata(&host, "https://a/&b"));
            match expected {
                Ok(expected) => assert_eq!(token.unwrap(), expected),
                Err(expected) => {
                    let message = token.unwrap_err().to_string();
                    assert!(message.contains(expected) && message.contains(&host), "{message}");
                }
            }
            let asked = server.join().unwrap();
            let path = "/computeMetadata/v1/instance/service-accounts/default/identity?audience=https%3A%2F%2Fa%2F%26b&format=full";
            assert!(asked.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{asked}");
            assert!(asked.contains("\r\nmetadata-flavor: Google\r\n"), "{asked}");
        }
    }
}
