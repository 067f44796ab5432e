//! Passwords: Argon2id (RFC 9106).

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use doorward_core::account::PasswordHash;
use doorward_core::entropy::{Entropy, EntropyError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::tasks::{Stopping, join};

/// The shortest password, in characters.
const SHORTEST: usize = 8;
/// The longest password, in bytes.
const LONGEST: usize = 1024;
/// Bytes of a salt.
const SALT: usize = 16;
/// Passwords that are looked at side by side: each takes 19 MiB, so a flood of them must wait.
const AT_ONCE: usize = 4;
/// Takes as long as a real one, and no password is known for it: there may be none.
const OF_NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password could not be hashed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Shorter than eight characters, or longer than 1,024 bytes.
    #[error("a password has at least 8 characters and at most 1,024 bytes")]
    Length,
    /// No salt.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The library could not hash it.
    #[error("the password could not be hashed")]
    Hash,
}

/// Hashes a new password. Takes tens of milliseconds and 19 MiB: call it where blocking is allowed.
pub fn hash_password(password: &str, entropy: &dyn Entropy) -> Result<PasswordHash, PasswordError> {
    if password.chars().count() < SHORTEST || password.len() > LONGEST {
        return Err(PasswordError::Length);
    }
    let mut salt = [0; SALT];
    entropy.fill(&mut salt)?;
    let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
    Ok(PasswordHash(hash.map_err(|_| PasswordError::Hash)?.to_string()))
}

/// Where passwords are looked at, a few at a time.
pub(super) struct PasswordDesk(Arc<Semaphore>);

impl Default for PasswordDesk {
    fn default() -> Self {
        PasswordDesk(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// A turn at the desk. It ends when the work does, not when the one who asked goes away: or hanging up would be a way round.
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl PasswordDesk {
    /// Waits for a turn.
    pub(super) async fn turn(&self) -> Result<Turn, Stopping> {
        Ok(Turn { _permit: self.0.clone().acquire_owned().await.map_err(|_| Stopping)? })
    }
}

impl Turn {
    /// Whether a password is the stored one. Without one it is wrong, and takes the same time. The turn is given back, so that
    /// whoever counts the failure does it before the next one's turn.
    pub(super) async fn verify(self, password: &str, stored: Option<PasswordHash>) -> Result<(bool, Self), Stopping> {
        if password.len() > LONGEST {
            return Ok((false, self));
        }
        let password = password.to_owned();
        let work = move || {
            let hash = stored.as_ref().map_or(OF_NOBODY, |stored| stored.0.as_str());
            let Ok(hash) = phc::PasswordHash::new(hash) else { return (false, self) };
            let matches = Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
            (matches && stored.is_some(), self)
        };
        join(tokio::task::spawn_blocking(work)).await
    }
}

#[cfg(test)]
mod tests {
    use doorward_core::entropy::SeededEntropy;

    use super::*;

    #[tokio::test]
    async fn only_the_password_itself_is_taken_and_nobody_has_one() {
        let entropy = SeededEntropy::default();
        let stored = hash_password("correct horse", &entropy).unwrap();
        assert_ne!(hash_password("correct horse", &entropy).unwrap(), stored, "each has a salt of its own");
        let desk = PasswordDesk::default();
        #[rustfmt::skip]
        let cases = [
            ("correct horse",  Some(&stored), true),
            ("correct horse ", Some(&stored), false),
            ("Correct horse",  Some(&stored), false),
            ("",               Some(&stored), false),
            ("correct horse",  None,          false),
            ("",               None,          false),
        ];
        for (password, stored, expected) in cases {
            let turn = desk.turn().await.unwrap();
            let (matches, _) = turn.verify(password, stored.cloned()).await.unwrap();
            assert_eq!(matches, expected, "{password:?} {stored:?}");
        }
        let damaged = Some(PasswordHash("$argon2id$".to_owned()));
        assert!(!desk.turn().await.unwrap().verify("", damaged).await.unwrap().0);
    }

    #[test]
    fn the_hash_of_nobody_takes_the_work_of_a_real_one() {
        let cost = |hash: &str| hash.split('$').take(4).map(str::to_owned).collect::<Vec<_>>();
        let made = hash_password("correct horse", &SeededEntropy::default()).unwrap();
        assert_eq!(cost(OF_NOBODY), cost(&made.0));
        assert_eq!(OF_NOBODY.len(), made.0.len());
        assert!(phc::PasswordHash::new(OF_NOBODY).is_ok());
    }

    #[test]
    fn a_password_has_a_least_and_a_greatest_length() {
        let length = |password: &str| hash_password(password, &SeededEntropy::default()).is_ok();
        assert!(!length("seven77") && length("eight888") && length(&"\u{e9}".repeat(8)));
        assert!(length(&"x".repeat(1024)) && !length(&"x".repeat(1025)));
    }
}
