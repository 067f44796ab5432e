//! `doorward logout`: the end of a sign-in.

use anyhow::{anyhow, bail};
use doorward_server::dev::description::Description;
use doorward_wire::oauth::OAuthCode;
use serde_json::Value;

use crate::api::{ApiError, post_form};
use crate::config_folder::ConfigFolder;
use crate::credentials;
use crate::output::{print, printable};
use crate::person::oauth2;
use crate::token_cache::TokenCache;
use crate::world::WorldArgs;

/// End the sign-in of `doorward login`, here and at the server
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward logout")]
pub(crate) struct Args {
    #[command(flatten)]
    world: WorldArgs,
}

/// Revokes and forgets.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let world = args.world.open()?;
    let folder = ConfigFolder::of_this_user()?;
    let email = end(&folder, &world).await?;
    Ok(print(&format!("{} is signed out\n", printable(&email)))?)
}

/// Ends the sign-in at `world`. Gives whose it was.
///
/// It is forgotten here whatever the server says: whoever signs out wants nothing left on this machine.
async fn end(folder: &ConfigFolder, world: &Description) -> anyhow::Result<String> {
    let Some(credential) = credentials::load(folder, &world.api_url)? else {
        bail!("nobody is signed in at {}: there is nothing to end", world.api_url);
    };
    credentials::remove(folder, &world.api_url)?;
    TokenCache::within(Some(folder.clone()), world).forget(None);
    match revoke(world, &credential.refresh_token).await {
        Ok(()) => Ok(credential.email),
        Err(error) => Err(anyhow!("{} is signed out here, and the server was not told: {error}", credential.email)),
    }
}

/// Ends a sign-in at the server. One that had ended before is ended.
pub(super) async fn revoke(world: &Description, refresh_token: &str) -> Result<(), ApiError> {
    let revoked: Result<Value, _> = post_form(&oauth2(world, "revoke"), &[("token", refresh_token)]).await;
    match revoked {
        Err(error) if !error.is_oauth(OAuthCode::InvalidToken) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    use crate::api::tests::{block_on, replay};
    use crate::person::tests::signed_in;
    use crate::world::tests::description;

    #[test]
    fn a_sign_in_is_revoked_and_forgotten_whatever_the_server_says() {
        let gone = json!({"error": "invalid_token", "error_description": "Token expired or revoked"});
        let (address, asked) = replay(vec![(200, json!({})), (400, gone), (500, json!({}))]);
        let world: Description = serde_json::from_value(description(&format!("http://{address}"))).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let end = || {
            let folder = signed_in(dir.path(), &world, "c");
            let ended = block_on(end(&folder, &world)).map_err(|error| error.to_string());
            assert_eq!(credentials::load(&folder, &world.api_url).unwrap(), None);
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

        let nobody = block_on(super::end(&ConfigFolder::at(&dir.path().join("empty")), &world)).unwrap_err();
        assert_eq!(nobody.to_string(), format!("nobody is signed in at {}: there is nothing to end", world.api_url));
    }
}
