//! Passwords: Argon2id (RFC 9106).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use doorward_core::account::PasswordHash;
use doorward_core::entropy::{Entropy, EntropyError};
use subtle::ConstantTimeEq as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::tasks::{Stopping, join};

/// The shortest password, in characters.
const SHORTEST: usize = 8;
/// The longest password, in bytes.
const LONGEST: usize = 1024;
/// Bytes of a salt.
const SALT: usize = 16;
/// Passwords that are looked at side by side: each takes 19 MiB, so a flood of them must wait.
const AT_ONCE: usize = 2;
/// Passwords that may wait for their turn, which comes within two seconds.
const WAITING: usize = 64;
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

/// Where passwords are looked at and hashed, a few at a time. Its clones are the same desk.
#[derive(Clone)]
pub struct PasswordDesk {
    places: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    /// The memory of the places, kept from one turn to the next: blocks of this size that are given back to the system's
    /// allocator stay with each of its threads' arenas, so that a flood would pin hundreds of MiB for good.
    memory: Arc<Mutex<Vec<Vec<Block>>>>,
}

impl Default for PasswordDesk {
    fn default() -> Self {
        PasswordDesk { places: Arc::new(Semaphore::new(AT_ONCE)), waiting: Arc::default(), memory: Arc::default() }
    }
}

/// Why there was no turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoTurn {
    /// Too many wait already.
    Crowded,
    /// The process is stopping.
    Stopping,
}

/// A turn at the desk. It ends when the work does, not when the one who asked goes away: or hanging up would be a way round.
pub(crate) struct Turn {
    blocks: Vec<Block>,
    memory: Arc<Mutex<Vec<Vec<Block>>>>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let blocks = std::mem::take(&mut self.blocks);
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).push(blocks);
    }
}

/// One of those who wait, for as long as they do.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl PasswordDesk {
    /// Waits for a turn. Whoever came in before from where they are waits in any crowd.
    pub(crate) async fn turn(&self, came_in_before: bool) -> Result<Turn, NoTurn> {
        let ahead = self.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(self.waiting.clone());
        if ahead >= WAITING && !came_in_before {
            return Err(NoTurn::Crowded);
        }
        let place = self.places.clone().acquire_owned().await.map_err(|_| NoTurn::Stopping)?;
        let blocks = self.memory.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        Ok(Turn { blocks, memory: self.memory.clone(), _place: place })
    }
}

impl Turn {
    /// Whether a password is the stored one. Without one it is wrong, and takes the same time. The turn is given back, so that
    /// whoever counts the failure does it before the next one's turn.
    pub(super) async fn verify(
        mut self,
        password: &str,
        stored: Option<PasswordHash>,
    ) -> Result<(bool, Self), Stopping> {
        if password.len() > LONGEST {
            return Ok((false, self));
        }
        let password = password.to_owned();
        let work = move || {
            let hash = stored.as_ref().map_or(OF_NOBODY, |stored| stored.0.as_str());
            let matches = matches(password.as_bytes(), hash, &mut self.blocks).unwrap_or(false);
            (matches && stored.is_some(), self)
        };
        join(tokio::task::spawn_blocking(work)).await
    }

    /// Hashes a new password, as [`hash_password`] does.
    pub(crate) async fn hash(
        self,
        password: String,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Result<PasswordHash, PasswordError>, Stopping> {
        let work = move || {
            let hash = hash_password(&password, &*entropy);
            // Not before: the next one has its turn when this one is done.
            drop(self);
            hash
        };
        join(tokio::task::spawn_blocking(work)).await
    }
}

/// Whether a password is that of a hash; `None` if the hash is none of ours.
fn matches(password: &[u8], hash: &str, blocks: &mut Vec<Block>) -> Option<bool> {
    let hash = phc::PasswordHash::new(hash).ok()?;
    if hash.algorithm.as_str() != "argon2id" || hash.version != Some(Version::V0x13.into()) {
        return None;
    }
    let (salt, expected) = (hash.salt.as_ref()?, hash.hash.as_ref()?);
    let params = Params::try_from(&hash).ok()?;
    if blocks.len() < params.block_count() {
        blocks.resize(params.block_count(), Block::default());
    }
    let mut made = vec![0; expected.as_bytes().len()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into_with_memory(password, salt.as_ref(), &mut made, &mut blocks[..]).ok()?;
    Some(made.ct_eq(expected.as_bytes()).into())
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
            let turn = desk.turn(false).await.unwrap();
            let (matches, _) = turn.verify(password, stored.cloned()).await.unwrap();
            assert_eq!(matches, expected, "{password:?} {stored:?}");
        }
        let damaged = Some(PasswordHash("$argon2id$".to_owned()));
        assert!(!desk.turn(false).await.unwrap().verify("", damaged).await.unwrap().0);
    }

    #[tokio::test]
    async fn a_crowd_waits_for_few_places_whose_memory_is_kept_and_what_is_beyond_it_is_sent_away() {
        let desk = PasswordDesk::default();
        let stored = hash_password("correct horse", &SeededEntropy::default()).unwrap();
        for _ in 0..5 {
            let (matches, _) =
                desk.turn(false).await.unwrap().verify("wrong horse", Some(stored.clone())).await.unwrap();
            assert!(!matches);
        }
        assert_eq!(desk.memory.lock().unwrap().len(), 1, "one after the other use the same");

        let taken = [desk.turn(false).await.unwrap(), desk.turn(false).await.unwrap()];
        let mut crowd: Vec<_> = (0..WAITING).map(|_| Box::pin(desk.turn(false))).collect();
        for waiting in &mut crowd {
            assert!(futures_now(waiting.as_mut()).is_none());
        }
        assert_eq!(desk.turn(false).await.err(), Some(NoTurn::Crowded));
        assert!(futures_now(Box::pin(desk.turn(true)).as_mut()).is_none(), "an owner waits");
        drop(crowd.pop());
        assert!(futures_now(Box::pin(desk.turn(false)).as_mut()).is_none(), "who goes away makes room");
        drop(taken);
        drop(crowd);
        assert!(desk.turn(false).await.is_ok());
        assert_eq!(desk.memory.lock().unwrap().len(), AT_ONCE);
    }

    /// What a future gives at once, if it does.
    fn futures_now<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        match future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
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
