//! The platform's keyring: the secret service of the desktop session (GNOME Keyring, KWallet, KeePassXC), or the keychain of macOS.

#[cfg(target_os = "macos")]
mod keychain;
#[cfg(not(target_os = "macos"))]
mod secret_service;

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

#[cfg(target_os = "macos")]
use keychain as platform;
#[cfg(not(target_os = "macos"))]
use secret_service as platform;

/// Says whether there is to be one at all.
pub(crate) const VARIABLE: &str = "DOORWARD_KEYRING";

/// Under which all our entries are.
const SERVICE: &str = "doorward";

/// Whoever waits at a terminal is not kept waiting for a service of the desktop that hangs, or for one that is just being started.
/// A keychain asks the person itself, and waits for their answer.
const LIMIT: Duration = Duration::from_secs(if cfg!(target_os = "macos") { 60 } else { 2 });

/// Why the keyring was of no use. Says what it is, for the middle of a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyringError {
    #[error("there is none in this session")]
    None,
    #[error("DOORWARD_KEYRING=off forbids to use it")]
    Off,
    #[error("DOORWARD_KEYRING is {0:?}, and can be off or on")]
    Variable(String),
    #[error("it is locked")]
    Locked,
    #[error("it did not answer within {} seconds", LIMIT.as_secs())]
    Silent,
    #[error("it failed: {0}")]
    Failed(String),
}

/// Secrets by name, kept where other users and backups do not get at them. Calls may take as long as [`LIMIT`]; none asks for a
/// password where that can be helped.
pub(crate) trait Keyring: Send + Sync {
    /// Keeps a secret under a name that is new.
    ///
    /// # Errors
    /// [`KeyringError`] if it is not kept, or not known to be.
    fn keep(&self, name: &str, secret: &str) -> Result<(), KeyringError>;

    /// The secret of this name; `None` if there is none.
    ///
    /// # Errors
    /// [`KeyringError`] if that is not known.
    fn find(&self, name: &str) -> Result<Option<String>, KeyringError>;

    /// Removes the secret of this name. That there is none is no error.
    ///
    /// # Errors
    /// [`KeyringError`] if it may still be there.
    fn remove(&self, name: &str) -> Result<(), KeyringError>;
}

/// The keyring of this user, as the environment tells it.
pub(crate) fn of_this_user() -> Arc<dyn Keyring> {
    match std::env::var(VARIABLE).unwrap_or_default().as_str() {
        "" | "on" => Arc::new(Platform),
        "off" => Arc::new(Unused(KeyringError::Off)),
        other => Arc::new(Unused(KeyringError::Variable(other.to_owned()))),
    }
}

/// The platform's own.
struct Platform;

impl Keyring for Platform {
    fn keep(&self, name: &str, secret: &str) -> Result<(), KeyringError> {
        let (name, secret) = (name.to_owned(), secret.to_owned());
        within(LIMIT, move || platform::keep(&name, &secret))
    }

    fn find(&self, name: &str) -> Result<Option<String>, KeyringError> {
        let name = name.to_owned();
        within(LIMIT, move || platform::find(&name))
    }

    fn remove(&self, name: &str) -> Result<(), KeyringError> {
        let name = name.to_owned();
        within(LIMIT, move || platform::remove(&name))
    }
}

/// None, for one reason.
pub(crate) struct Unused(pub(crate) KeyringError);

impl Keyring for Unused {
    fn keep(&self, _: &str, _: &str) -> Result<(), KeyringError> {
        Err(self.0.clone())
    }

    fn find(&self, _: &str) -> Result<Option<String>, KeyringError> {
        Err(self.0.clone())
    }

    fn remove(&self, _: &str) -> Result<(), KeyringError> {
        Err(self.0.clone())
    }
}

/// What `work` gives, if it gives it in time. It goes on in a thread of its own, which ends with the process at the latest.
fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> Result<T, KeyringError> + Send + 'static,
) -> Result<T, KeyringError> {
    let (send, receive) = mpsc::channel();
    let started = thread::Builder::new().name("keyring".to_owned()).spawn(move || drop(send.send(work())));
    started.map_err(|error| KeyringError::Failed(error.to_string()))?;
    match receive.recv_timeout(limit) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => Err(KeyringError::Silent),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(KeyringError::Failed("its thread ended early".to_owned())),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    /// A keyring in memory, which can be locked.
    #[derive(Default)]
    pub(crate) struct InMemory {
        pub(crate) entries: Mutex<BTreeMap<String, String>>,
        pub(crate) failure: Mutex<Option<KeyringError>>,
    }

    impl InMemory {
        fn open(&self) -> Result<(), KeyringError> {
            self.failure.lock().unwrap().clone().map_or(Ok(()), Err)
        }

        /// Makes all calls fail from now on, or none.
        pub(crate) fn fail(&self, failure: Option<KeyringError>) {
            *self.failure.lock().unwrap() = failure;
        }

        /// The secrets in it.
        pub(crate) fn secrets(&self) -> Vec<String> {
            self.entries.lock().unwrap().values().cloned().collect()
        }
    }

    impl Keyring for InMemory {
        fn keep(&self, name: &str, secret: &str) -> Result<(), KeyringError> {
            self.open()?;
            self.entries.lock().unwrap().insert(name.to_owned(), secret.to_owned());
            Ok(())
        }

        fn find(&self, name: &str) -> Result<Option<String>, KeyringError> {
            self.open()?;
            Ok(self.entries.lock().unwrap().get(name).cloned())
        }

        fn remove(&self, name: &str) -> Result<(), KeyringError> {
            self.open()?;
            self.entries.lock().unwrap().remove(name);
            Ok(())
        }
    }

    #[test]
    fn a_keyring_that_does_not_answer_keeps_nobody_waiting() {
        let (held, release) = mpsc::channel::<()>();
        let silent = within(Duration::from_millis(1), move || Ok(release.recv().is_ok()));
        assert_eq!(silent, Err(KeyringError::Silent));
        drop(held);
        assert_eq!(within(LIMIT, || Ok(1)), Ok(1));
        assert_eq!(within(LIMIT, || Err::<(), _>(KeyringError::Locked)), Err(KeyringError::Locked));
    }
}
