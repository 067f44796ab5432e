//! `doorward logout`: the end of a sign-in.

use anyhow::{anyhow, bail};
use doorward_server::dev::description::Description;
use doorward_wire::oauth::OAuthCode;
use serde_json::Value;

use crate::api::{ApiError, post_form};
use crate::credentials::{CredentialsError, SignIns};
use crate::keyring::KeyringError;
use crate::output::{print, printable};
use crate::person::Place;
use crate::server::ServerArgs;
use crate::token_cache::TokenCache;

/// End the sign-in of `doorward login`, here and at the server
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward logout")]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
}

/// Revokes and forgets.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let (place, world) = args.server.place()?;
    let email = end(&SignIns::of_this_user()?, &place, world.as_ref()).await?;
    Ok(print(&format!("{} is signed out\n", printable(&email)))?)
}

/// Ends the sign-in there. Gives whose it was.
///
/// It is forgotten here whatever the server says: whoever signs out wants nothing left on this machine.
async fn end(sign_ins: &SignIns, place: &Place, world: Option<&Description>) -> anyhow::Result<String> {
    let Some(credential) = sign_ins.load(&place.api_url)? else {
        bail!("nobody is signed in at {}: there is nothing to end", place.api_url);
    };
    let refresh_token = sign_ins.refresh_token(&credential);
    let left = sign_ins.remove(&place.api_url)?;
    if let Some(world) = world {
        TokenCache::within(Some(sign_ins.folder().clone()), world).forget(None);
    }
    let told = match refresh_token {
        Ok(token) => revoke(place, &token).await.map_err(anyhow::Error::from),
        Err(CredentialsError::Keyring { cause, .. }) => Err(anyhow!("the sign-in is in the keyring, and {cause}")),
        Err(CredentialsError::Gone(_)) => Err(anyhow!("the sign-in was in the keyring no more")),
        Err(error) => Err(error.into()),
    };
    let email = credential.email;
    match (told, left) {
        (Ok(()), None) => Ok(email),
        (Ok(()), Some(left)) => Err(anyhow!("{email} is signed out: {}", advice(&left))),
        (Err(error), None) => Err(anyhow!("{email} is signed out here, and the server was not told: {error}")),
        (Err(error), Some(left)) => {
            Err(anyhow!("{email} is signed out here, and the server was not told: {error}: {}", advice(&left)))
        }
    }
}

fn advice((name, cause): &(String, KeyringError)) -> String {
    format!("the entry {name:?} is left in the keyring ({cause}), remove it there")
}

/// Ends a sign-in at the server. One that had ended before is ended.
pub(super) async fn revoke(place: &Place, refresh_token: &str) -> Result<(), ApiError> {
    let revoked: Result<Value, _> = post_form(&place.oauth2("revoke"), &[("token", refresh_token)]).await;
    match revoked {
        Err(error) if !error.is_oauth(OAuthCode::InvalidToken) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use doorward_core::clock::Timestamp;
    use serde_json::json;

    use crate::api::tests::{block_on, replay};
    use crate::config_folder::ConfigFolder;
    use crate::credentials::SignedIn;
    use crate::keyring::tests::InMemory;
    use crate::person::tests::signed_in;
    use crate::world::tests::description;

    #[test]
    fn a_sign_in_is_revoked_and_forgotten_whatever_the_server_says() {
        let gone = json!({"error": "invalid_token", "error_description": "Token expired or revoked"});
        let (address, asked) = replay(vec![(200, json!({})), (400, gone), (500, json!({}))]);
        let world: Description = serde_json::from_value(description(&format!("http://{address}"))).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let end = || {
            let sign_ins = signed_in(dir.path(), &world, "c");
            let ended =
                block_on(end(&sign_ins, &Place::of(&world).unwrap(), Some(&world))).map_err(|error| error.to_string());
            assert_eq!(sign_ins.load(&world.api_url).unwrap(), None);
            ended
        };
        assert_eq!(end().unwrap(), "alice@example.com");
        assert_eq!(end().unwrap(), "alice@example.com", "it had ended before");
        let message = end().unwrap_err();
        assert!(
            message.starts_with("alice@example.com is signed out here, and the server was not told: "),
            "{message}"
        );
        let asked = asked.join().unwrap();
        assert!(asked[0].starts_with("POST /oauth2.googleapis.com/revoke HTTP/1.1\r\n"));
        assert!(asked[0].ends_with("\r\n\r\ntoken=doorward_rt_x"));

        let sign_ins = signed_in(dir.path(), &world, "c");
        sign_ins.remove(&world.api_url).unwrap();
        let nobody = block_on(super::end(&sign_ins, &Place::of(&world).unwrap(), None)).unwrap_err();
        assert_eq!(nobody.to_string(), format!("nobody is signed in at {}: there is nothing to end", world.api_url));
    }

    #[test]
    fn whoever_signs_out_is_forgotten_here_also_while_the_keyring_is_locked() {
        let (address, asked) = replay(vec![(200, json!({}))]);
        let world: Description = serde_json::from_value(description(&format!("http://{address}"))).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let keyring = Arc::new(InMemory::default());
        let sign_ins = SignIns::new(ConfigFolder::at(&dir.path().join("config")), keyring.clone());
        let since = Timestamp::from_seconds(1000);
        let signed_in = SignedIn { email: "a@x.com", client_id: "c", refresh_token: "doorward_rt_x", since };
        let (mut named, left) = (String::new(), "is left in the keyring (it is locked), remove it there");
        for (failure, told) in [(Some(KeyringError::Locked), false), (None, true)] {
            keyring.fail(None);
            sign_ins.save(&world.api_url, &signed_in).unwrap();
            keyring.fail(failure);
            match block_on(end(&sign_ins, &Place::of(&world).unwrap(), Some(&world))) {
                Ok(email) => assert!(told && email == "a@x.com"),
                Err(error) => named = error.to_string(),
            }
            assert_eq!(sign_ins.load(&world.api_url).unwrap(), None);
        }
        let start = "a@x.com is signed out here, and the server was not told: the sign-in is in the keyring, and it is locked: \
                     the entry \"a@x.com at http://127.0.0.1:";
        assert!(named.starts_with(start) && named.ends_with(left), "{named}");
        assert_eq!(keyring.secrets(), ["doorward_rt_x"], "that of the first, which is named");
        assert_eq!(asked.join().unwrap().len(), 1);
    }
}
