//! The person who is signed in, and what their sign-in gives.

use std::fmt;

use anyhow::{anyhow, bail};
use doorward_client::{Credentials, Token, TokenError};
use doorward_server::dev::description::{Description, OAuthClientDescription};
use doorward_wire::credential_file::{AuthorizedUserFile, CredentialFile};
use doorward_wire::oauth::UserInfo;

use crate::api::Api;
use crate::credentials::{Credential, SignIns};
use crate::sdk;

/// The client of dev.json for which people sign in at this command line.
const CLIENT: &str = "desktop";

/// What is asked for at a sign-in: who the person is, and the APIs of Google Cloud.
pub(crate) const SCOPES: &str = "openid email https://www.googleapis.com/auth/cloud-platform";

/// The client for which people sign in at this command line.
pub(crate) fn client(world: &Description) -> anyhow::Result<&OAuthClientDescription> {
    world.oauth_clients.get(CLIENT).ok_or_else(|| {
        anyhow!("dev.json names no client {CLIENT:?}: start `doorward dev` again, with the same version as this")
    })
}

/// What tells a server which client asks.
pub(crate) fn client_parameters(client: &OAuthClientDescription) -> Vec<(&str, &str)> {
    let secret = client.client_secret.as_deref().map(|secret| ("client_secret", secret));
    std::iter::once(("client_id", client.client_id.as_str())).chain(secret).collect()
}

/// The address of the endpoint of `oauth2.googleapis.com` with this path.
pub(crate) fn oauth2(world: &Description, path: &str) -> String {
    format!("{}/{path}", world.base("oauth2.googleapis.com"))
}

/// Somebody who is signed in at a world, as far as we know.
pub(crate) struct Person {
    pub(crate) credential: Credential,
    client: OAuthClientDescription,
    sign_ins: SignIns,
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Person({:?})", self.credential)
    }
}

impl Person {
    /// The person who is signed in at `world`.
    pub(crate) fn signed_in(sign_ins: &SignIns, world: &Description) -> anyhow::Result<Self> {
        let Some(credential) = sign_ins.load(&world.api_url)? else {
            bail!("nobody is signed in at {}: `doorward login`", world.api_url);
        };
        let client = client(world)?.clone();
        if client.client_id != credential.client_id {
            bail!("{} signed in at another `doorward dev`: sign in again with `doorward login`", credential.email);
        }
        Ok(Person { credential, client, sign_ins: sign_ins.clone() })
    }

    /// What gets this person's tokens at `world`. Only here is the keyring asked.
    pub(crate) fn credentials(&self, world: &Description) -> anyhow::Result<Credentials> {
        let file = AuthorizedUserFile {
            client_id: self.client.client_id.clone(),
            client_secret: self.client.client_secret.clone(),
            refresh_token: self.sign_ins.refresh_token(&self.credential)?,
            account: Some(self.credential.email.clone()),
        };
        Ok(sdk::builder_at(world)?.from_parsed(CredentialFile::AuthorizedUser(file))?)
    }

    /// An access token of this person for what they allowed.
    pub(crate) async fn access_token(&self, world: &Description) -> anyhow::Result<Token> {
        let token = self.credentials(world)?.access_token(&[]).await;
        token.map_err(|error| anyhow!(explained(&error, &self.credential.email)))
    }
}

/// Why the sign-in of `email` gave no token.
pub(crate) fn explained(error: &TokenError, email: &str) -> String {
    sdk::explained(error, &|code, _| advice(code, email))
}

/// What helps if a sign-in is refused with this code.
pub(crate) fn advice(code: &str, email: &str) -> Option<String> {
    let ended = matches!(code, "invalid_grant" | "invalid_client");
    ended.then(|| format!("the sign-in of {email} has ended, `doorward login`"))
}

/// Whose an access token is, as the server says.
pub(crate) async fn user_info(world: &Description, access_token: &str) -> anyhow::Result<UserInfo> {
    Ok(Api::with_access_token(world, access_token)?.get("/openidconnect.googleapis.com/v1/userinfo").await?)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::Arc;

    use doorward_core::clock::Timestamp;
    use serde_json::json;

    use crate::api::tests::{block_on, replay};
    use crate::config_folder::ConfigFolder;
    use crate::credentials::SignedIn;
    use crate::keyring::{KeyringError, Unused};
    use crate::sdk::tests::id_token;
    use crate::world::tests::description;

    /// A folder in which alice is signed in at `world`, with this client.
    pub(crate) fn signed_in(dir: &std::path::Path, world: &Description, client_id: &str) -> SignIns {
        let keyring = Arc::new(Unused(KeyringError::None));
        let sign_ins = SignIns::new(ConfigFolder::at(&dir.join("config")), keyring);
        let since = Timestamp::from_seconds(1000);
        let signed_in = SignedIn { email: "alice@example.com", client_id, refresh_token: "doorward_rt_x", since };
        sign_ins.save(&world.api_url, &signed_in).unwrap();
        sign_ins
    }

    const DESKTOP: &str = "123-desktop.apps.googleusercontent.com";

    #[test]
    fn a_sign_in_is_refreshed_for_an_audience_and_its_end_is_said() {
        let ended = json!({"error": "invalid_grant", "error_description": "Token has been expired or revoked."});
        let id_token = (200, json!({"id_token": id_token("app&x"), "access_token": "a", "expires_in": 1}));
        let access_token = (200, json!({"access_token": "a", "expires_in": 3599, "scope": "s"}));
        let (address, asked) = replay(vec![id_token, access_token, (400, ended)]);
        let dir = tempfile::tempdir().unwrap();
        let world: Description = serde_json::from_value(description(&format!("http://{address}"))).unwrap();
        let person = Person::signed_in(&signed_in(dir.path(), &world, DESKTOP), &world).unwrap();
        block_on(person.credentials(&world).unwrap().id_token("app&x")).unwrap();
        assert_eq!(block_on(person.access_token(&world)).unwrap().as_str(), "a");
        assert_eq!(
            block_on(person.access_token(&world)).unwrap_err().to_string(),
            format!(
                "http://{address} refused: Token has been expired or revoked. (invalid_grant): the sign-in of \
                 alice@example.com has ended, `doorward login`"
            )
        );
        let asked = asked.join().unwrap();
        let form = format!(
            "client_id={DESKTOP}&client_secret=desktop-secret&grant_type=refresh_token&refresh_token=doorward_rt_x"
        );
        assert!(asked[0].starts_with("POST /oauth2.googleapis.com/token HTTP/1.1\r\n"));
        assert!(asked[0].ends_with(&format!("\r\n\r\n{form}&audience=app%26x")), "{}", asked[0]);
        assert!(asked[1].ends_with(&format!("\r\n\r\n{form}")), "{}", asked[1]);
    }

    #[test]
    fn a_sign_in_elsewhere_is_none_here() {
        let dir = tempfile::tempdir().unwrap();
        let world: Description = serde_json::from_value(description("http://127.0.0.1:1")).unwrap();
        let sign_ins = signed_in(dir.path(), &world, "9-old.apps.googleusercontent.com");
        let message = |world: &Description| Person::signed_in(&sign_ins, world).unwrap_err().to_string();
        assert_eq!(
            message(&world),
            "alice@example.com signed in at another `doorward dev`: sign in again with `doorward login`"
        );
        let mut another: Description = serde_json::from_value(description("http://127.0.0.1:2")).unwrap();
        assert_eq!(message(&another), "nobody is signed in at http://127.0.0.1:2: `doorward login`");
        another.api_url = world.api_url;
        another.oauth_clients.clear();
        assert!(message(&another).starts_with("dev.json names no client \"desktop\""));
    }
}
