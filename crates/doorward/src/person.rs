//! The person who is signed in, and what their sign-in gives.

use std::fmt;

use anyhow::{anyhow, bail};
use doorward_client::{Credentials, Token, TokenError};
use doorward_server::dev::description::{Description, OAuthClientDescription};
use doorward_server::tool_clients;
use doorward_wire::credential_file::{AuthorizedUserFile, CredentialFile};
use doorward_wire::oauth::UserInfo;

use crate::api::Api;
use crate::credentials::{Credential, SignIns};
use crate::sdk;

/// The client of dev.json for which people sign in at this command line.
const CLIENT: &str = "desktop";

/// What is asked for at a sign-in: who the person is, and the APIs of Google Cloud.
pub(crate) const SCOPES: &str = "openid email https://www.googleapis.com/auth/cloud-platform";

/// A Doorward at which people sign in at this command line, and the client for which they do.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Its own origin, without a trailing slash.
    pub(crate) api_url: String,
    /// The base URL of `oauth2.googleapis.com`.
    oauth2: String,
    pub(crate) client: OAuthClientDescription,
}

impl Place {
    /// A `doorward dev`, by its description.
    pub(crate) fn of(world: &Description) -> anyhow::Result<Self> {
        let client = world.oauth_clients.get(CLIENT).cloned().ok_or_else(|| {
            anyhow!("dev.json names no client {CLIENT:?}: start `doorward dev` again, with the same version as this")
        })?;
        Ok(Place { api_url: world.api_url.clone(), oauth2: world.base("oauth2.googleapis.com"), client })
    }

    /// A `doorward serve`, by its origin. Its client is the one that every `doorward` knows.
    pub(crate) fn at(origin: &str) -> Self {
        let client = OAuthClientDescription {
            client_id: tool_clients::DOORWARD.to_owned(),
            client_secret: Some(tool_clients::DOORWARD_SECRET.to_owned()),
        };
        Place { api_url: origin.to_owned(), oauth2: format!("{origin}/oauth2.googleapis.com"), client }
    }

    /// The command by which somebody signs in there.
    fn login(&self) -> String {
        match self.client.client_id == tool_clients::DOORWARD {
            true => format!("doorward login --api-url {}", self.api_url),
            false => "doorward login".to_owned(),
        }
    }

    /// The address of the endpoint of `oauth2.googleapis.com` with this path.
    pub(crate) fn oauth2(&self, path: &str) -> String {
        format!("{}/{path}", self.oauth2)
    }
}

/// What tells a server which client asks.
pub(crate) fn client_parameters(client: &OAuthClientDescription) -> Vec<(&str, &str)> {
    let secret = client.client_secret.as_deref().map(|secret| ("client_secret", secret));
    std::iter::once(("client_id", client.client_id.as_str())).chain(secret).collect()
}

/// Somebody who is signed in at a world, as far as we know.
pub(crate) struct Person {
    pub(crate) credential: Credential,
    place: Place,
    sign_ins: SignIns,
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Person({:?})", self.credential)
    }
}

impl Person {
    /// The person who is signed in there.
    pub(crate) fn signed_in(sign_ins: &SignIns, place: &Place) -> anyhow::Result<Self> {
        let Some(credential) = sign_ins.load(&place.api_url)? else {
            bail!("nobody is signed in at {}: `{}`", place.api_url, place.login());
        };
        if place.client.client_id != credential.client_id {
            bail!("{} signed in at another `doorward dev`: sign in again with `doorward login`", credential.email);
        }
        Ok(Person { credential, place: place.clone(), sign_ins: sign_ins.clone() })
    }

    /// What gets this person's tokens. Only here is the keyring asked.
    pub(crate) fn credentials(&self) -> anyhow::Result<Credentials> {
        let file = AuthorizedUserFile {
            client_id: self.place.client.client_id.clone(),
            client_secret: self.place.client.client_secret.clone(),
            refresh_token: self.sign_ins.refresh_token(&self.credential)?,
            account: Some(self.credential.email.clone()),
        };
        Ok(sdk::builder_at(&self.place.api_url)?.from_parsed(CredentialFile::AuthorizedUser(file))?)
    }

    /// An access token of this person for what they allowed.
    pub(crate) async fn access_token(&self) -> anyhow::Result<Token> {
        let token = self.credentials()?.access_token(&[]).await;
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
pub(crate) async fn user_info(place: &Place, access_token: &str) -> anyhow::Result<UserInfo> {
    Ok(Api::with_access_token(&place.api_url, access_token)?.get("/openidconnect.googleapis.com/v1/userinfo").await?)
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
        let place = Place::of(&world).unwrap();
        let person = Person::signed_in(&signed_in(dir.path(), &world, DESKTOP), &place).unwrap();
        block_on(person.credentials().unwrap().id_token("app&x")).unwrap();
        assert_eq!(block_on(person.access_token()).unwrap().as_str(), "a");
        assert_eq!(
            block_on(person.access_token()).unwrap_err().to_string(),
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
        let signed_in = |world: &Description| Person::signed_in(&sign_ins, &Place::of(world)?);
        let message = |world: &Description| signed_in(world).unwrap_err().to_string();
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
