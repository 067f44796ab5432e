//! `doorward init`: what has to be there before the first start. Doing it again changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use doorward_control::keys::{EnsureKeysError, ensure_keys};
use doorward_control::sign_in::{PasswordError, hash_password};
use doorward_core::account::{UniqueId, User};
use doorward_core::audit::{AdminEvent, AdminKind, AuditEvent};
use doorward_core::clock::Timestamp;
use doorward_core::entropy::{Entropy, EntropyError, random_base64url, random_digits};
use doorward_core::grant::ADMIN_TOKEN_PREFIX;
use doorward_core::member::{Email, Member};
use doorward_core::policy::{Binding, RoleName, RoleNameError};
use doorward_core::resource::Resource;
use doorward_core::store::{PolicyWrite, Store, StoreError};
use doorward_store::{KeyFileError, OpenError, Sealer, SqlStore};
use serde_json::json;

use super::state::{StateDirectory, StateError, replace};
use crate::config::{Config, StoreConfig};

/// What the first administrator holds on the project.
const ROLES: [&str; 2] = ["roles/owner", "roles/doorward.admin"];
/// How often a policy is written that somebody else changes at the same time.
const ATTEMPTS: u32 = 5;

/// Why it was not done. Doing it again does the rest.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The database cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The key file cannot be used.
    #[error("the key file {} cannot be used: {cause}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: KeyFileError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys cannot be put in order.
    #[error(transparent)]
    Keys(#[from] EnsureKeysError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A password could not be set.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// A role of ours has no name: never.
    #[error(transparent)]
    Role(#[from] RoleNameError),
    /// The file of the token cannot be written.
    #[error("cannot write {}: {cause}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// The system's word.
        cause: std::io::Error,
    },
    /// The token is to come from the environment.
    #[error(
        "the token of the operator comes from the environment (admin_token in [server]): make one of at least 32 characters there"
    )]
    TokenInEnvironment,
    /// The project's policy is being changed all the time.
    #[error("the policy of the project is being changed by others; try again")]
    Busy,
}

/// Who administers first.
#[derive(Debug, Clone)]
pub enum FirstAdministrator {
    /// A person, who signs in.
    Person(Email),
    /// The holder of a token in a file.
    Token,
}

/// What was found or done.
#[derive(Debug, PartialEq, Eq)]
pub enum Initialised {
    /// The person administers. The password is shown to the one who asked, this once, and is kept nowhere; `None` if they have one.
    Person {
        /// Their address.
        email: Email,
        /// Their first password.
        password: Option<String>,
    },
    /// The token is in this file, which only its owner reads.
    Token {
        /// The file.
        path: PathBuf,
        /// It was made now.
        made: bool,
    },
}

/// Makes the state directory, the key file, the database with its schema, the keys, and the first administrator, as far as they are
/// not there.
///
/// # Errors
/// [`InitError`].
pub async fn init(
    config: &Config,
    first: FirstAdministrator,
    entropy: Arc<dyn Entropy>,
    now: Timestamp,
) -> Result<Initialised, InitError> {
    let _state = StateDirectory::take(&config.state)?;
    let key_file = config.store.key_file();
    let sealer = Sealer::from_file_or_new(key_file, &*entropy);
    let sealer = sealer.map_err(|cause| InitError::KeyFile { path: key_file.to_owned(), cause })?;
    let store = open(&config.store, sealer).await?;
    ensure_keys(&store, &entropy, now).await?;
    let done = match first {
        FirstAdministrator::Person(email) => {
            let password = administrator(&store, &*entropy, config, (&email, now)).await?;
            Initialised::Person { email, password }
        }
        FirstAdministrator::Token => {
            let path = config.admin_token_file.clone().ok_or(InitError::TokenInEnvironment)?;
            let made = token_file(&path, &*entropy)?;
            Initialised::Token { path, made }
        }
    };
    store.close().await;
    Ok(done)
}

/// Opens the store of a file, and brings it up to date.
///
/// # Errors
/// [`OpenError`]; nothing in the database was changed.
pub async fn open(config: &StoreConfig, sealer: Sealer) -> Result<SqlStore, OpenError> {
    match config {
        StoreConfig::Sqlite { path, .. } => SqlStore::open_sealed(path, sealer).await,
        StoreConfig::Postgres { options, .. } => SqlStore::open_postgres(options, sealer).await,
    }
}

/// Lets a person administer, and gives their first password if they have none.
async fn administrator(
    store: &dyn Store,
    entropy: &dyn Entropy,
    config: &Config,
    (email, now): (&Email, Timestamp),
) -> Result<Option<String>, InitError> {
    let (user, has_password) = loop {
        if let Some((user, password)) = store.user_by_email(email).await? {
            break (user, password.is_some());
        }
        // The first digit is not 0: a number of 21 digits.
        let unique_id = UniqueId(format!("1{}", random_digits(entropy, 20)?));
        store.add_user(&User { unique_id, email: email.clone(), disabled: false }).await?;
    };
    let password = match has_password {
        true => None,
        false => {
            let password = random_base64url(entropy, 18)?;
            store.set_password(&user.unique_id, &hash_password(&password, entropy)?).await?;
            Some(password)
        }
    };
    let name = Resource::Project.name(&config.project);
    let member = Member::User(email.clone());
    for _ in 0..ATTEMPTS {
        let policy = store.policy(&name).await?;
        let mut bindings = policy.bindings.clone();
        for role in ROLES {
            let role: RoleName = role.parse()?;
            match bindings.iter_mut().find(|binding| binding.role == role && binding.condition.is_none()) {
                Some(binding) if binding.members.contains(&member) => {}
                Some(binding) => binding.members.push(member.clone()),
                None => bindings.push(Binding { role, members: vec![member.clone()], condition: None }),
            }
        }
        if bindings == policy.bindings {
            return Ok(password);
        }
        match store.replace_policy(&name, &bindings, Some(policy.etag), &[]).await? {
            PolicyWrite::Written(_) => {
                let event = AdminEvent {
                    id: random_base64url(entropy, 16)?,
                    time: now,
                    service: "doorward".to_owned(),
                    method: "doorward.init.AddAdministrator".to_owned(),
                    kind: AdminKind::Write,
                    resource: name,
                    caller: Some("operator".to_owned()),
                    peer: None,
                    user_agent: Some("doorward init".to_owned()),
                    permissions: Vec::new(),
                    before: None,
                    after: Some(json!({"member": member.to_string(), "roles": ROLES})),
                    code: 0,
                    message: String::new(),
                };
                store.append(&[AuditEvent::Admin(Box::new(event))], config.keep_events).await?;
                return Ok(password);
            }
            PolicyWrite::Conflict | PolicyWrite::Missing(_) => {}
        }
    }
    Err(InitError::Busy)
}

/// Makes the token of the operator, unless there is one; `true` if it was made.
fn token_file(path: &Path, entropy: &dyn Entropy) -> Result<bool, InitError> {
    if path.exists() {
        return Ok(false);
    }
    let token = format!("{ADMIN_TOKEN_PREFIX}{}\n", random_base64url(entropy, 32)?);
    replace(path, token.as_bytes()).map_err(|cause| InitError::TokenFile { path: path.to_owned(), cause })?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_core::entropy::SystemEntropy;
    use doorward_core::store::{KeyStore as _, PolicyStore as _, UserStore as _};

    fn config(folder: &Path) -> Config {
        let path = folder.join("doorward.toml");
        let text = "[server]\napi_url = 'http://127.0.0.1:8081'\napi = { listen = '127.0.0.1:8081' }\napps = { listen = '127.0.0.1:8080' }\n";
        std::fs::write(&path, text).unwrap();
        crate::config::read(&path, &|_| None).unwrap()
    }

    #[tokio::test]
    async fn the_first_administrator_is_made_once_and_nothing_changes_the_second_time() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let email: Email = "admin@example.com".parse().unwrap();
        let init = || async {
            let first = FirstAdministrator::Person(email.clone());
            init(&config, first, Arc::new(SystemEntropy), Timestamp::from_seconds(1_800_000_000)).await.unwrap()
        };
        let state = || async {
            let sealer = Sealer::from_file(config.store.key_file()).unwrap();
            let store = open(&config.store, sealer).await.unwrap();
            let policy = store.policy("projects/100000000001").await.unwrap();
            let (user, password) = store.user_by_email(&email).await.unwrap().unwrap();
            let keys = store.keys().await.unwrap().len();
            store.close().await;
            (policy, user, password.map(|it| it.0), keys)
        };
        let Initialised::Person { password: Some(password), .. } = init().await else { panic!("no password") };
        let first = state().await;
        let roles: Vec<&str> = first.0.bindings.iter().map(|it| it.role.as_str()).collect();
        assert_eq!((roles, password.len()), (ROLES.to_vec(), 24));
        assert_eq!(init().await, Initialised::Person { email: email.clone(), password: None });
        assert_eq!(state().await, first);
    }

    #[tokio::test]
    async fn a_token_is_made_once_and_the_file_finds_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/admin-token");
        for made in [true, false] {
            let config = config(folder.path());
            let first = FirstAdministrator::Token;
            let now = Timestamp::from_seconds(1_800_000_000);
            let done = init(&config, first, Arc::new(SystemEntropy), now).await.unwrap();
            assert_eq!(done, Initialised::Token { path: path.clone(), made });
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let token = std::fs::read_to_string(&path).unwrap();
        assert_eq!(config(folder.path()).admin_token.unwrap().expose(), token.trim_end());
    }
}
