//! `doorward login`: a person signs in, in a browser on this machine or at another device.

use std::process::Stdio;

use anyhow::{Context as _, anyhow, bail};
use doorward_core::clock::{Clock as _, SystemClock};
use doorward_core::entropy::{SystemEntropy, random_base64url};
use doorward_core::grant::TokenHash;
use doorward_wire::jose::JwkSet;
use doorward_wire::oauth::{AUTHORIZATION_CODE, with_query};
use serde::Deserialize;
use serde_json::json;

use super::logout;
use crate::api::{get, post_form};
use crate::credentials::{SignIns, SignedIn};
use crate::device;
use crate::loopback::{Expected, Loopback, Redirect};
use crate::output::{json_line, print, printable, say};
use crate::person::{Place, SCOPES, client_parameters, user_info};
use crate::server::ServerArgs;

/// Sign in as a person, in the browser
///
/// Keeps the sign-in in the keyring of your desktop session, or where there is none in a file that only you can read, for `doorward
/// token --as me`, `doorward curl --as me` and `doorward whoami`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file lies in $DOORWARD_CONFIG, else in $XDG_CONFIG_HOME/doorward or ~/.config/doorward, on macOS in
~/Library/Application Support/doorward. With DOORWARD_KEYRING=off everything is in it.

Example:
  doorward login
  doorward login --api-url https://auth.example.com
  doorward login --device          # where there is no browser")]
pub(crate) struct Args {
    /// Sign in at another device, by a code
    #[arg(long)]
    device: bool,
    /// Print the address, and do not open a browser
    #[arg(long)]
    no_browser: bool,
    /// Print who is signed in as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// What the token endpoint gives for a sign-in.
#[derive(Deserialize)]
struct Tokens {
    access_token: String,
    refresh_token: Option<String>,
}

/// Signs in, and keeps that.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let (place, _) = args.server.place()?;
    let sign_ins = SignIns::of_this_user()?;
    // Before anybody signs in: a file that cannot be used would waste that.
    sign_ins.load(&place.api_url)?;
    let tokens =
        if args.device { device::sign_in(&place).await? } else { in_browser(&place, !args.no_browser).await? };
    let email = keep(&place, &sign_ins, tokens).await?;
    Ok(print(&if args.json {
        json_line(&json!({"email": email, "api_url": place.api_url}))?
    } else {
        format!("signed in as {} at {}\n", printable(&email), printable(&place.api_url))
    })?)
}

/// Keeps a sign-in. Gives whose it is.
async fn keep(place: &Place, sign_ins: &SignIns, tokens: Tokens) -> anyhow::Result<String> {
    let person = user_info(place, &tokens.access_token).await?;
    let (Some(email), Some(refresh_token)) = (person.email, tokens.refresh_token) else {
        bail!("the sign-in gave no address or no refresh token: another program serves at {}", place.api_url);
    };
    let before = sign_ins.load(&place.api_url)?;
    // Now, because it is not kept any longer than its sign-in.
    let token_before = before.as_ref().map(|before| sign_ins.refresh_token(before));
    let signed_in = SignedIn {
        email: &email,
        client_id: &place.client.client_id,
        refresh_token: &refresh_token,
        since: SystemClock.now(),
    };
    if let Some(cause) = sign_ins.save(&place.api_url, &signed_in)? {
        say(&format!("note: the sign-in is kept in a file and not in the keyring: {cause}"));
    }
    // What nobody here knows any more must not stay good.
    let ended = match token_before {
        Some(Ok(token)) => logout::revoke(place, &token).await.map_err(|error| error.to_string()),
        Some(Err(error)) => Err(error.to_string()),
        None => Ok(()),
    };
    if let (Some(before), Err(error)) = (before, ended) {
        say(&format!(
            "the sign-in of {} before this one was not ended at the server: {error}",
            printable(&before.email)
        ));
    }
    Ok(email)
}

/// The authorization code flow with a loopback redirect (RFC 8252), PKCE (RFC 7636) and a check of who answered (RFC 9207).
async fn in_browser(place: &Place, open_browser: bool) -> anyhow::Result<Tokens> {
    // A page that nobody serves would be waited for without end.
    let _: JwkSet = get(&format!("{}/www.googleapis.com/oauth2/v3/certs", place.api_url)).await?;
    let loopback = Loopback::start().await.context("cannot listen on 127.0.0.1 for the browser; use --device")?;
    let redirect_uri = loopback.redirect_uri();
    let state = random_base64url(&SystemEntropy, 32)?;
    let verifier = random_base64url(&SystemEntropy, 32)?;
    let address = authorization_address(place, &redirect_uri, (&state, &verifier));
    say(&format!("sign in at {address}"));
    // A program that was started may still have found no browser, and its end would not tell that from one that did its work.
    say(match open_browser && open(&address) {
        true => "if no browser opens: open the address yourself, or use `doorward login --device`",
        false if open_browser => {
            "no browser could be started: open the address yourself, or use `doorward login --device`"
        }
        false => "open the address in a browser on this machine; elsewhere, use `doorward login --device`",
    });
    say("waiting for the browser to come back; Ctrl-C ends it");
    let redirect = loopback.wait(Expected { state, issuer: place.api_url.clone() }).await;
    let code = code_of(redirect.context("cannot listen for the browser; use --device")?)?;
    let mut form = client_parameters(&place.client);
    form.extend([
        ("grant_type", AUTHORIZATION_CODE),
        ("code", &code),
        ("redirect_uri", &redirect_uri),
        ("code_verifier", &verifier),
    ]);
    Ok(post_form(&place.oauth2("token"), &form).await?)
}

fn code_of(redirect: Redirect) -> anyhow::Result<String> {
    match redirect {
        Redirect::Code(code) => Ok(code),
        Redirect::Refused { error, description } if description.is_empty() => {
            Err(anyhow!("the sign-in was refused ({error}): `doorward login` tries again"))
        }
        Redirect::Refused { error, description } => {
            Err(anyhow!("the sign-in was refused: {description} ({error}): `doorward login` tries again"))
        }
        Redirect::OtherIssuer => Err(anyhow!(
            "the browser came back from another server than was asked: close its windows, then `doorward login`"
        )),
    }
}

fn authorization_address(place: &Place, redirect_uri: &str, (state, verifier): (&str, &str)) -> String {
    // The base64url of the SHA-256: this is the method S256.
    let TokenHash(challenge) = TokenHash::of(verifier);
    with_query(
        &format!("{}/o/oauth2/v2/auth", place.api_url),
        [
            ("client_id", place.client.client_id.as_str()),
            ("redirect_uri", redirect_uri),
            ("response_type", "code"),
            ("scope", SCOPES),
            ("access_type", "offline"),
            ("state", state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ],
    )
}

/// Opens a browser with the first program that can be started. It gets none of our input and output, and is not waited for.
fn open(address: &str) -> bool {
    let chosen = std::env::var("BROWSER").unwrap_or_default();
    let of_platform = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    browsers(&chosen, of_platform, address).into_iter().any(|(program, arguments)| {
        let mut command = std::process::Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().is_ok()
    })
}

/// The programs of `BROWSER`, separated by colons, in which `%s` stands for the address; without it the address comes last. Then
/// the one of the platform.
fn browsers(chosen: &str, of_platform: &str, address: &str) -> Vec<(String, Vec<String>)> {
    let command = |text: &str| {
        let has_place = text.contains("%s");
        let mut words = text.split_whitespace().map(|word| word.replace("%s", address));
        let program = words.next()?;
        let mut arguments: Vec<String> = words.collect();
        if !has_place {
            arguments.push(address.to_owned());
        }
        Some((program, arguments))
    };
    chosen.split(':').chain([of_platform]).filter_map(command).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::api::tests::{block_on, replay};
    use crate::config_folder::ConfigFolder;
    use crate::keyring::{KeyringError, Unused};
    use crate::world::tests::description;
    use doorward_server::dev::description::Description;

    #[test]
    fn the_address_asks_for_what_a_command_line_needs() {
        let world: Description = serde_json::from_value(description("http://127.0.0.1:8081")).unwrap();
        // The verifier and its challenge of RFC 7636 appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let address = authorization_address(&Place::of(&world).unwrap(), "http://127.0.0.1:5/", ("s", verifier));
        assert_eq!(
            address,
            "http://127.0.0.1:8081/o/oauth2/v2/auth?client_id=123-desktop.apps.googleusercontent.com\
             &redirect_uri=http%3A%2F%2F127.0.0.1%3A5%2F&response_type=code\
             &scope=openid%20email%20https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform&access_type=offline&state=s\
             &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256"
        );
    }

    #[test]
    fn the_browser_of_the_environment_comes_before_the_one_of_the_platform() {
        let listed = |chosen: &str| {
            let of = |(program, arguments): (String, Vec<String>)| format!("{program} {}", arguments.join(" "));
            browsers(chosen, "xdg-open", "URL").into_iter().map(of).collect::<Vec<_>>().join(" | ")
        };
        #[rustfmt::skip]
        let cases = [
            ("",                      "xdg-open URL"),
            ("firefox",               "firefox URL | xdg-open URL"),
            ("a --new %s -x:b --tab", "a --new URL -x | b --tab URL | xdg-open URL"),
            (":",                     "xdg-open URL"),
        ];
        for (chosen, expected) in cases {
            assert_eq!(listed(chosen), expected, "{chosen}");
        }
    }

    #[test]
    fn a_sign_in_is_kept_under_the_address_that_the_server_knows() {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Arc::new(Unused(KeyringError::None));
        let sign_ins = SignIns::new(ConfigFolder::at(&dir.path().join("c")), keyring);
        let alice = json!({"sub": "1", "email": "alice@example.com", "email_verified": true});
        let (address, asked) = replay(vec![(200, alice.clone()), (200, json!({"sub": "1"})), (200, alice)]);
        let world: Description = serde_json::from_value(description(&format!("http://{address}"))).unwrap();
        let tokens =
            |refresh: Option<&str>| Tokens { access_token: "a".into(), refresh_token: refresh.map(str::to_owned) };
        let keep = |tokens| block_on(keep(&Place::of(&world).unwrap(), &sign_ins, tokens));
        assert_eq!(keep(tokens(Some("r"))).unwrap(), "alice@example.com");
        let kept = || sign_ins.load(&world.api_url).unwrap().unwrap();
        assert_eq!(kept().email, "alice@example.com");
        assert_eq!(sign_ins.refresh_token(&kept()).unwrap(), "r");
        for incomplete in [tokens(Some("r2")), tokens(None)] {
            assert!(
                keep(incomplete)
                    .unwrap_err()
                    .to_string()
                    .starts_with("the sign-in gave no address or no refresh token")
            );
        }
        assert_eq!(sign_ins.refresh_token(&kept()).unwrap(), "r");
        assert!(asked.join().unwrap()[0].contains("\r\nauthorization: Bearer a\r\n"));
    }

    #[test]
    fn a_refused_sign_in_is_said_in_one_line() {
        let refused =
            |description: &str| Redirect::Refused { error: "access_denied".into(), description: description.into() };
        #[rustfmt::skip]
        let cases = [
            (refused(""),           "the sign-in was refused (access_denied): `doorward login` tries again"),
            (refused("Not you."),   "the sign-in was refused: Not you. (access_denied): `doorward login` tries again"),
            (Redirect::OtherIssuer, "the browser came back from another server than was asked: close its windows, then `doorward login`"),
        ];
        for (redirect, expected) in cases {
            assert_eq!(code_of(redirect).unwrap_err().to_string(), expected);
        }
        assert_eq!(code_of(Redirect::Code("c".into())).unwrap(), "c");
    }
}
