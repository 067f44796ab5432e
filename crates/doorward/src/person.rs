//! The person who is signed in, and what their sign-in gives.

use anyhow::{anyhow, bail};
use doorward_server::dev::description::{Description, OAuthClientDescription};
use doorward_wire::oauth::{OAuthCode, REFRESH_TOKEN, UserInfo};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::api::{Api, ApiError, post_form};
use crate::config_folder::ConfigFolder;
use crate::credentials::{self, Credential};

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
    format!("{}/oauth2.googleapis.com/{path}", world.api_url)
}

/// Somebody who is signed in at a world, as far as we know.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) credential: Credential,
    client: OAuthClientDescription,
}

impl Person {
    /// The person who is signed in at `world`.
    pub(crate) fn signed_in(folder: &ConfigFolder, world: &Description) -> anyhow::Result<Self> {
        let Some(credential) = credentials::load(folder, &world.api_url)? else {
            bail!("nobody is signed in at {}: `doorward login`", world.api_url);
        };
        let client = client(world)?.clone();
        if client.client_id != credential.client_id {
            bail!("{} signed in at another `doorward dev`: sign in again with `doorward login`", credential.email);
        }
        Ok(Person { credential, client })
    }

    /// An ID token of this person for `audience`.
    pub(crate) async fn id_token(&self, world: &Description, audience: &str) -> anyhow::Result<String> {
        #[derive(Deserialize)]
        struct Answer {
            id_token: String,
        }
        let Answer { id_token } = self.refresh(world, &[("audience", audience)]).await?;
        Ok(id_token)
    }

    /// An access token of this person for the APIs of Google Cloud.
    pub(crate) async fn access_token(&self, world: &Description) -> anyhow::Result<String> {
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
        }
        let Answer { access_token } = self.refresh(world, &[]).await?;
        Ok(access_token)
    }

    async fn refresh<T: DeserializeOwned>(&self, world: &Description, more: &[(&str, &str)]) -> anyhow::Result<T> {
        let mut form = client_parameters(&self.client);
        form.extend([("grant_type", REFRESH_TOKEN), ("refresh_token", &self.credential.refresh_token)]);
        form.extend(more);
        post_form(&oauth2(world, "token"), &form).await.map_err(|error| self.advise(error))
    }

    fn advise(&self, error: ApiError) -> anyhow::Error {
        if error.is_oauth(OAuthCode::InvalidGrant) || error.is_oauth(OAuthCode::InvalidClient) {
            anyhow!("{error}: the sign-in of {} has ended, `doorward login`", self.credential.email)
        } else {
            error.into()
        }
    }
}

/// Whose an access token is, as the server says.
pub(crate) async fn user_info(world: &Description, access_token: &str) -> anyhow::Result<UserInfo> {
    Ok(Api::with_access_token(world, access_token)?.get("/openidconnect.googleapis.com/v1/userinfo").await?)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use doorward_core::clock::Timestamp;
    use serde_json::json;

    use crate::api::tests::{block_on, replay};
    use crate::world::tests::description;

    /// A folder in which alice is signed in at `world`, with this client.
    pub(crate) fn signed_in(dir: &std::path::Path, world: &Description, client_id: &str) -> ConfigFolder {
        let folder = ConfigFolder::at(&dir.join("config"));
        let credential = Credential {
            email: "alice@example.com".into(),
            client_id: client_id.into(),
            refresh_token: "doorward_rt_x".into(),
            since: Timestamp::from_seconds(1000),
        };
        credentials::save(&folder, &world.api_url, &credential).unwrap();
        folder
    }

    const DESKTOP: &str = "123-desktop.apps.googleusercontent.com";

    #[test]
    fn a_sign_in_is_refreshed_for_an_audience_and_its_end_is_said() {
        let ended = json!({"error": "invalid_grant", "error_description": "Token has been expired or revoked."});
        let broken = json!({"error": "server_error", "error_description": "No."});
        let answer = (200, json!({"id_token": "i", "access_token": "a", "expires_in": 1, "scope": "s"}));
        let (address, asked) = replay(vec![answer.clone(), answer, (400, ended), (500, broken)]);
        let dir = tempfile::tempdir().unwrap();
        let world: Description = serde_json::from_value(description(&format!("http://{address}"))).unwrap();
        let person = Person::signed_in(&signed_in(dir.path(), &world, DESKTOP), &world).unwrap();
        assert_eq!(block_on(person.id_token(&world, "app&x")).unwrap(), "i");
        assert_eq!(block_on(person.access_token(&world)).unwrap(), "a");
        let refused = || block_on(person.access_token(&world)).unwrap_err().to_string();
        assert_eq!(
            refused(),
            "the token endpoint refused: Token has been expired or revoked. (invalid_grant): \
             the sign-in of alice@example.com has ended, `doorward login`"
        );
        assert_eq!(refused(), "the token endpoint refused: No. (server_error)");
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
        let folder = signed_in(dir.path(), &world, "9-old.apps.googleusercontent.com");
        let message = |world: &Description| Person::signed_in(&folder, world).unwrap_err().to_string();
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
