//! The two people of `dev`: passwords, browsers that are signed in already, and files for programs that act for them.

use std::collections::BTreeMap;

use doorward_control::sign_in::hash_password;
use doorward_core::account::{UniqueId, User};
use doorward_core::clock::Timestamp;
use doorward_core::entropy::{Entropy, EntropyError, random_base64url, random_digits};
use doorward_core::grant::{CODE_TTL, CodeGrant, GrantId, PersonGrant, REFRESH_TOKEN_PREFIX, TakenCode, TokenHash};
use doorward_core::keys::KeyRing;
use doorward_core::resource::ClientId;
use doorward_core::session::{SIGN_IN_SESSION_TTL, SignInSession, SignedIn};
use doorward_core::store::Store;
use doorward_wire::headers::{HOST_COOKIE_PREFIX, SIGN_IN_COOKIE};
use doorward_wire::oauth::Scopes;
use serde_json::json;

use super::description::UserDescription;
use super::directory::Directory;
use super::seed::SeedError;
use crate::tool_clients::{DEFAULT_CREDENTIALS, GCLOUD, ToolClient};

/// Address, and whether `app` admits them at first.
pub(super) const PEOPLE: [(&str, bool); 2] = [("alice@example.com", true), ("bob@example.com", false)];

/// What `gcloud auth login` asks for.
const GCLOUD_SCOPES: &str = "openid https://www.googleapis.com/auth/userinfo.email \
                             https://www.googleapis.com/auth/cloud-platform \
                             https://www.googleapis.com/auth/appengine.admin \
                             https://www.googleapis.com/auth/sqlservice.login \
                             https://www.googleapis.com/auth/compute \
                             https://www.googleapis.com/auth/accounts.reauth";
/// What `gcloud auth application-default login` asks for.
const DEFAULT_CREDENTIALS_SCOPES: &str = "openid https://www.googleapis.com/auth/userinfo.email \
                                          https://www.googleapis.com/auth/cloud-platform \
                                          https://www.googleapis.com/auth/sqlservice.login";

/// Where people are put, and what with.
pub(super) struct Seeding<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) entropy: &'a dyn Entropy,
    pub(super) keys: &'a KeyRing,
    pub(super) directory: &'a Directory,
    /// Passwords are easy to remember where only this machine can use them, and random where others could.
    pub(super) reachable_by_others: bool,
    pub(super) now: Timestamp,
}

/// Adds the people, unless they are there, and describes them. Who is allowed is not known here yet.
pub(super) async fn seed(seeding: &Seeding<'_>) -> Result<BTreeMap<String, UserDescription>, SeedError> {
    let mut described = BTreeMap::new();
    for (email, _) in PEOPLE {
        let user = seeding.person(email).await?;
        described.insert(email.to_owned(), seeding.describe(&user).await?);
    }
    Ok(described)
}

impl Seeding<'_> {
    async fn person(&self, email: &str) -> Result<User, SeedError> {
        let email = email.parse().map_err(|_| SeedError::Missing)?;
        let unique_id = UniqueId(random_digits(self.entropy, 21)?);
        let user = User { unique_id, email, disabled: false };
        // `false` means that they are there, with the number that they have for life.
        self.store.add_user(&user).await?;
        let (user, have) = self.store.user_by_email(&user.email).await?.ok_or(SeedError::Missing)?;
        let password = self.password(&user)?;
        let salt = Salt(self.keys.derive(&format!("salt for {password} of {}", user.email))?);
        // The salt is made of the password, so it tells whether the hash is that of this password: hashing again would cost
        // every start some tens of milliseconds.
        if !have.is_some_and(|have| have.0.contains(&format!("${}$", salt.encoded()))) {
            let hash = {
                let password = password.clone();
                tokio::task::spawn_blocking(move || hash_password(&password, &salt))
            };
            let hash = hash.await.map_err(|_| SeedError::Missing)??;
            self.store.set_password(&user.unique_id, &hash).await?;
        }
        Ok(user)
    }

    fn password(&self, user: &User) -> Result<String, SeedError> {
        Ok(match self.reachable_by_others {
            true => self.keys.derive(&format!("password of {}", user.email))?,
            false => "password".to_owned(),
        })
    }

    async fn describe(&self, user: &User) -> Result<UserDescription, SeedError> {
        let default_credentials = self.refresh_token(user, &DEFAULT_CREDENTIALS, DEFAULT_CREDENTIALS_SCOPES).await?;
        let file = json!({
            "type": "authorized_user",
            "account": user.email.as_str(),
            "client_id": DEFAULT_CREDENTIALS.id,
            "client_secret": DEFAULT_CREDENTIALS.secret,
            "refresh_token": default_credentials,
            "universe_domain": "googleapis.com",
        });
        let name = user.email.as_str().split('@').next().unwrap_or_default();
        Ok(UserDescription {
            password: self.password(user)?,
            allowed: false,
            sign_in_cookie: self.session(user).await?,
            authorized_user_file: self.directory.write_credentials(&format!("{name}-credentials"), &file)?,
            gcloud_refresh_token: self.refresh_token(user, &GCLOUD, GCLOUD_SCOPES).await?,
        })
    }

    /// A browser of theirs that is signed in. Its cookie is the same for as long as the directory is.
    async fn session(&self, user: &User) -> Result<String, SeedError> {
        let cookie = self.keys.derive(&format!("sign-in cookie of {}", user.email))?;
        let session = SignInSession {
            accounts: vec![SignedIn { subject: user.unique_id.clone(), auth_time: self.now }],
            expires: self.now + SIGN_IN_SESSION_TTL,
            loopback_only: true,
        };
        self.store.put_session(None, &TokenHash::of(&cookie), &session, self.now).await?;
        // Under both names: the one is read on http, the other on https.
        Ok(format!("{SIGN_IN_COOKIE}={cookie}; {HOST_COOKIE_PREFIX}{SIGN_IN_COOKIE}={cookie}"))
    }

    /// A refresh token of a tool, as if they had signed in with it. One that was revoked is there again after a start.
    async fn refresh_token(&self, user: &User, tool: &ToolClient, scopes: &str) -> Result<String, SeedError> {
        let token = format!(
            "{REFRESH_TOKEN_PREFIX}{}",
            self.keys.derive(&format!("refresh token of {} for {}", user.email, tool.id))?
        );
        let hash = TokenHash::of(&token);
        if self.store.refresh_token(&hash).await?.is_some() {
            return Ok(token);
        }
        let client = ClientId(tool.id.to_owned());
        let grant = PersonGrant {
            id: GrantId(random_base64url(self.entropy, 16)?),
            client: client.clone(),
            subject: user.unique_id.clone(),
            scopes: Scopes::parse(scopes).map_err(|_| SeedError::Missing)?,
            audience: None,
            nonce: None,
            offline: true,
            cred_ref: false,
            auth_time: self.now,
            created: self.now,
        };
        let code = TokenHash::of(&random_base64url(self.entropy, 32)?);
        let expires = self.now + CODE_TTL;
        let code_grant = CodeGrant { grant, redirect_uri: String::new(), challenge: None, expires };
        self.store.add_code(&code, &code_grant, self.now).await?;
        let TakenCode::Taken(taken) = self.store.take_code(&code, &client, self.now).await? else {
            return Err(SeedError::Missing);
        };
        self.store.add_refresh_token(&hash, &taken.grant.id).await?;
        Ok(token)
    }
}

/// Gives the bytes of one salt, again and again.
struct Salt(String);

impl Salt {
    fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.0.as_bytes()[..16]);
        bytes
    }

    /// As a PHC string holds it: base64 without padding.
    fn encoded(&self) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD_NO_PAD.encode(self.bytes())
    }
}

impl Entropy for Salt {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        let salt = self.bytes();
        if bytes.len() != salt.len() {
            return Err(EntropyError);
        }
        bytes.copy_from_slice(&salt);
        Ok(())
    }
}
