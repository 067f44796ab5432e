//! `doorward init`: what has to be there before the first start. Doing it again changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use doorward_control::keys::{EnsureKeysError, ensure_keys};
use doorward_control::sign_in::{PasswordError, hash_password};
use doorward_core::account::{PasswordHash, UniqueId, User};
use doorward_core::audit::{AdminEvent, AdminKind, AuditEvent};
use doorward_core::clock::Timestamp;
use doorward_core::entropy::{Entropy, EntropyError, random_base64url, random_digits};
use doorward_core::grant::ADMIN_TOKEN_PREFIX;
use doorward_core::member::{Email, Member};
use doorward_core::policy::{Binding, RoleName, RoleNameError};
use doorward_core::resource::Resource;
use doorward_core::store::{AuditStore as _, PolicyWrite, Store, StoreError, UserStore as _};
use doorward_store::{Age, KeyFileError, OpenError, Sealer, SqlStore};
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
    State(StateError),
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
    /// There is a store, and not the key with which its secrets are sealed. A new one would open nothing.
    #[error(
        "the key file {} is not there, and the store was sealed with it: restore it from your copy, or name it in [store], as key_file. \
         Nothing was changed",
        .0.display()
    )]
    KeyFileGone(PathBuf),
    /// A server runs.
    #[error(
        "{} is in use: a server runs there, and nobody else writes its store. Stop it, do this again, and start it",
        .0.display()
    )]
    Serving(PathBuf),
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
    /// They have a password, which somebody gave them at the same moment.
    #[error("somebody gave them another password at the same moment, and the one that was shown is not in force")]
    HasPassword,
    /// The project's policy is being changed all the time.
    #[error("the policy of the project is being changed by others; try again")]
    Busy,
}

/// Who administers first.
#[derive(Debug, Clone)]
pub enum FirstAdministrator {
    /// A person, who signs in.
    Person {
        /// Their address.
        email: Email,
        /// They are given a new password, even if they have one: somebody who lost theirs.
        new_password: bool,
    },
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
        /// Their new password, which is not in force before [`Prepared::finish`].
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

/// Everything is made but the password. It is set when the one who asked was shown it: one that nobody saw, in a database that says
/// that there is one, would keep them out.
pub struct Prepared {
    done: Initialised,
    password: Option<NewPassword>,
    store: SqlStore,
    /// What is recorded of the password.
    event: Option<AdminEvent>,
    keep_events: u64,
    /// What was not there before.
    made: Vec<PathBuf>,
    _state: StateDirectory,
}

/// A password that is to be set.
struct NewPassword {
    of: UniqueId,
    hash: PasswordHash,
    /// In place of the one that they have.
    replaces: bool,
}

impl Prepared {
    /// What was found or done: to be shown before [`Prepared::finish`].
    pub fn initialised(&self) -> &Initialised {
        &self.done
    }

    /// The state directory, the key file and the database, as far as they were made now.
    pub fn made(&self) -> &[PathBuf] {
        &self.made
    }

    /// Sets the password that was shown, if there is one.
    ///
    /// # Errors
    /// [`InitError`]: it is not set. Doing all of it again shows another one.
    pub async fn finish(self) -> Result<(), InitError> {
        if let Some(NewPassword { of, hash, replaces }) = &self.password {
            let set = match replaces {
                true => self.store.set_password(of, hash).await?,
                false => self.store.set_first_password(of, hash).await?,
            };
            if !set {
                return Err(InitError::HasPassword);
            }
        }
        if let Some(event) = self.event {
            self.store.append(&[AuditEvent::Admin(Box::new(event))], self.keep_events).await?;
        }
        self.store.close().await;
        Ok(())
    }
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
) -> Result<Prepared, InitError> {
    let mut made = Vec::new();
    let mut missing = |path: &Path| {
        if matches!(path.try_exists(), Ok(false)) {
            made.push(path.to_owned());
        }
    };
    missing(&config.state);
    let state = StateDirectory::take(config).map_err(|error| match error {
        StateError::InUse(path) | StateError::DatabaseInUse(path) => InitError::Serving(path),
        error @ (StateError::WritableByOthers(_) | StateError::OfAnother { .. } | StateError::Unwritable { .. }) => {
            InitError::State(error)
        }
    })?;
    let key_file = config.store.key_file();
    missing(key_file);
    if let StoreConfig::Sqlite { path, .. } = &config.store {
        missing(path);
    }
    let sealer = match Sealer::from_file(key_file) {
        Err(KeyFileError::Missing) if age(&config.store).await?.is_sealed() => {
            return Err(InitError::KeyFileGone(key_file.to_owned()));
        }
        Err(KeyFileError::Missing) => Sealer::from_file_or_new(key_file, &*entropy),
        read => read,
    };
    let sealer = sealer.map_err(|cause| InitError::KeyFile { path: key_file.to_owned(), cause })?;
    let store = open(&config.store, sealer).await?;
    ensure_keys(&store, &entropy, now).await?;
    let keep_events = config.keep_events;
    let prepared =
        |done, store, password, event| Prepared { done, password, store, event, keep_events, made, _state: state };
    match first {
        FirstAdministrator::Person { email, new_password } => {
            let (user, has_password) = person(&store, &*entropy, &email).await?;
            administers(&store, &*entropy, config, (&email, now)).await?;
            if has_password && !new_password {
                return Ok(prepared(Initialised::Person { email, password: None }, store, None, None));
            }
            let shown = random_base64url(&*entropy, 18)?;
            let hash = hash_password(&shown, &*entropy)?;
            let password = NewPassword { of: user.unique_id, hash, replaces: new_password };
            let event = event(&*entropy, config, "doorward.init.SetPassword", (&email, now))?;
            let done = Initialised::Person { email, password: Some(shown) };
            Ok(prepared(done, store, Some(password), Some(event)))
        }
        FirstAdministrator::Token => {
            let path = config.admin_token_file.clone().ok_or(InitError::TokenInEnvironment)?;
            let made = token_file(&path, &*entropy)?;
            Ok(prepared(Initialised::Token { path, made }, store, None, None))
        }
    }
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

/// How old the store of a file is. Changes nothing.
///
/// # Errors
/// [`OpenError`]
pub async fn age(config: &StoreConfig) -> Result<Age, OpenError> {
    match config {
        StoreConfig::Sqlite { path, .. } => SqlStore::age(path).await,
        StoreConfig::Postgres { options, .. } => SqlStore::postgres_age(options).await,
    }
}

/// Whether there is no store where a file says that it is: opening would make one. Changes nothing.
///
/// # Errors
/// [`OpenError`] of one that could not be opened either.
pub(super) async fn is_missing(config: &StoreConfig) -> Result<bool, OpenError> {
    match config {
        // Whether it is good is found when it is opened: to read all of it twice would take twice as long.
        StoreConfig::Sqlite { path, .. } => Ok(matches!(path.try_exists(), Ok(false))),
        StoreConfig::Postgres { .. } => Ok(age(config).await? == Age::New),
    }
}

/// A person, made if they are not there, and whether they have a password.
async fn person(store: &dyn Store, entropy: &dyn Entropy, email: &Email) -> Result<(User, bool), InitError> {
    loop {
        if let Some((user, password)) = store.user_by_email(email).await? {
            return Ok((user, password.is_some()));
        }
        // The first digit is not 0: a number of 21 digits.
        let unique_id = UniqueId(format!("1{}", random_digits(entropy, 20)?));
        store.add_user(&User { unique_id, email: email.clone(), disabled: false }).await?;
    }
}

/// Lets a person administer.
async fn administers(
    store: &dyn Store,
    entropy: &dyn Entropy,
    config: &Config,
    (email, now): (&Email, Timestamp),
) -> Result<(), InitError> {
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
            return Ok(());
        }
        match store.replace_policy(&name, &bindings, Some(policy.etag), &[]).await? {
            PolicyWrite::Written(_) => {
                let mut event = event(entropy, config, "doorward.init.AddAdministrator", (email, now))?;
                event.after = Some(json!({"member": member.to_string(), "roles": ROLES}));
                store.append(&[AuditEvent::Admin(Box::new(event))], config.keep_events).await?;
                return Ok(());
            }
            PolicyWrite::Conflict | PolicyWrite::Missing(_) => {}
        }
    }
    Err(InitError::Busy)
}

/// What is recorded of something that was done for a person.
fn event(
    entropy: &dyn Entropy,
    config: &Config,
    method: &str,
    (email, now): (&Email, Timestamp),
) -> Result<AdminEvent, EntropyError> {
    Ok(AdminEvent {
        id: random_base64url(entropy, 16)?,
        time: now,
        service: "doorward".to_owned(),
        method: method.to_owned(),
        kind: AdminKind::Write,
        resource: Resource::Project.name(&config.project),
        caller: Some("operator".to_owned()),
        peer: None,
        user_agent: Some("doorward init".to_owned()),
        permissions: Vec::new(),
        before: None,
        after: Some(json!({"member": Member::User(email.clone()).to_string()})),
        code: 0,
        message: String::new(),
    })
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
    use doorward_core::store::{KeyStore as _, PolicyStore as _};

    fn config(folder: &Path) -> Config {
        let path = folder.join("doorward.toml");
        let text = "[server]\napi_url = 'http://127.0.0.1:8081'\napi = { listen = '127.0.0.1:8081' }\napps = { listen = '127.0.0.1:8080' }\n";
        std::fs::write(&path, text).unwrap();
        crate::config::read(&path, &|_| None).unwrap()
    }

    /// What is kept of the one person.
    type Kept = (Vec<Binding>, Option<User>, Option<String>, usize, Vec<String>);

    async fn kept(config: &Config, email: &Email) -> Kept {
        let sealer = Sealer::from_file(config.store.key_file()).unwrap();
        let store = open(&config.store, sealer).await.unwrap();
        let policy = store.policy("projects/100000000001").await.unwrap();
        let (user, password) = store.user_by_email(email).await.unwrap().unzip();
        let keys = store.keys().await.unwrap().len();
        let events = store.latest_events(9).await.unwrap();
        let methods = events.iter().map(|stored| match &stored.event {
            AuditEvent::Admin(event) => event.method.clone(),
            other => panic!("{other:?}"),
        });
        let methods = methods.collect();
        store.close().await;
        (policy.bindings, user, password.flatten().map(|it| it.0), keys, methods)
    }

    /// Does it for a person. Their password is set if it was shown.
    async fn prepare(config: &Config, email: &Email, new_password: bool) -> Prepared {
        let first = FirstAdministrator::Person { email: email.clone(), new_password };
        init(config, first, Arc::new(SystemEntropy), Timestamp::from_seconds(1_800_000_000)).await.unwrap()
    }

    fn password(prepared: &Prepared) -> Option<&str> {
        match prepared.initialised() {
            Initialised::Person { password, .. } => password.as_deref(),
            Initialised::Token { .. } => panic!("a person"),
        }
    }

    #[tokio::test]
    async fn the_first_administrator_is_made_once_and_nothing_changes_the_second_time() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let email: Email = "admin@example.com".parse().unwrap();
        let prepared = prepare(&config, &email, false).await;
        assert_eq!(password(&prepared).map(str::len), Some(24));
        prepared.finish().await.unwrap();
        let first = kept(&config, &email).await;
        let roles: Vec<&str> = first.0.iter().map(|it| it.role.as_str()).collect();
        assert_eq!(roles, ROLES);
        assert_eq!(first.4, ["doorward.init.AddAdministrator", "doorward.init.SetPassword"]);
        let again = prepare(&config, &email, false).await;
        assert_eq!(password(&again), None);
        again.finish().await.unwrap();
        assert_eq!(kept(&config, &email).await, first);
    }

    #[tokio::test]
    async fn a_password_that_nobody_saw_is_not_set_and_one_that_was_lost_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let email: Email = "admin@example.com".parse().unwrap();
        // It could not be printed.
        let unseen = prepare(&config, &email, false).await;
        assert!(password(&unseen).is_some());
        unseen.store.close().await;
        drop(unseen);
        assert_eq!(kept(&config, &email).await.2, None);
        let seen = prepare(&config, &email, false).await;
        assert!(password(&seen).is_some(), "it is offered again");
        seen.finish().await.unwrap();
        let set = kept(&config, &email).await.2;
        assert!(set.is_some());
        let replaced = prepare(&config, &email, true).await;
        assert!(password(&replaced).is_some());
        replaced.finish().await.unwrap();
        assert_ne!(kept(&config, &email).await.2, set);
    }

    #[tokio::test]
    async fn of_two_who_give_a_first_password_at_once_the_second_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let email: Email = "admin@example.com".parse().unwrap();
        let late = prepare(&config, &email, false).await;
        let (user, _) = late.store.user_by_email(&email).await.unwrap().unwrap();
        let other = PasswordHash("other".into());
        assert!(late.store.set_first_password(&user.unique_id, &other).await.unwrap());
        assert!(matches!(late.finish().await, Err(InitError::HasPassword)));
        assert_eq!(kept(&config, &email).await.2.as_deref(), Some("other"));
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
            let prepared = init(&config, first, Arc::new(SystemEntropy), now).await.unwrap();
            assert_eq!(*prepared.initialised(), Initialised::Token { path: path.clone(), made });
            prepared.finish().await.unwrap();
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let token = std::fs::read_to_string(&path).unwrap();
        assert_eq!(config(folder.path()).admin_token.unwrap().expose(), token.trim_end());
    }
}
