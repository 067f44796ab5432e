//! Secrets at rest: private keys are sealed before they are written, with a key that is not in the database.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doorward_core::entropy::Entropy;
use doorward_core::store::StoreError;

const KEY_LENGTH: usize = 32;

/// The first byte of a sealed value: another way of sealing would have another.
const FORM: u8 = 1;

/// Why a key file gives no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// There is no such file.
    #[error("it is not there")]
    Missing,
    /// The file is there and cannot be read, or it cannot be made.
    #[error("{0}")]
    Io(io::Error),
    /// The file holds something else.
    #[error("it holds something else than 32 bytes in base64")]
    NotAKey,
    /// The system gave no randomness for a new key.
    #[error("the system gave no randomness")]
    NoRandomness,
}

/// Seals secrets for the database and opens them again: AES-256-GCM, bound to the place of each value, so that one that was
/// moved to another row or column does not open.
pub struct Sealer {
    key: RandomizedNonceKey,
    /// Where the key is from, for messages.
    source: String,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Sealer {
    /// Reads the key of a file: 32 bytes in base64, with or without an end of line.
    ///
    /// # Errors
    /// [`KeyFileError`]: the database must not be opened.
    pub fn from_file(path: &Path) -> Result<Sealer, KeyFileError> {
        let text = fs::read_to_string(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => KeyFileError::Missing,
            io::ErrorKind::InvalidData => KeyFileError::NotAKey,
            _ => KeyFileError::Io(error),
        })?;
        let key = STANDARD.decode(text.trim_end()).map_err(|_| KeyFileError::NotAKey)?;
        Sealer::new(&key, path.display().to_string())
    }

    /// Reads the key of a file, which is made first if it is not there: mode 0600, whole and on the disk, or not at all.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn from_file_or_new(path: &Path, entropy: &dyn Entropy) -> Result<Sealer, KeyFileError> {
        match Sealer::from_file(path) {
            Err(KeyFileError::Missing) => {}
            known => return known,
        }
        let mut key = [0; KEY_LENGTH];
        entropy.fill(&mut key).map_err(|_| KeyFileError::NoRandomness)?;
        write_new(path, &STANDARD.encode(key)).map_err(KeyFileError::Io)?;
        Sealer::from_file(path)
    }

    /// A key that ends with the process, for a database that does.
    pub(crate) fn ephemeral(entropy: &dyn Entropy) -> Result<Sealer, KeyFileError> {
        let mut key = [0; KEY_LENGTH];
        entropy.fill(&mut key).map_err(|_| KeyFileError::NoRandomness)?;
        Sealer::new(&key, "memory".to_owned())
    }

    fn new(key: &[u8], source: String) -> Result<Sealer, KeyFileError> {
        if key.len() != KEY_LENGTH {
            return Err(KeyFileError::NotAKey);
        }
        let key = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| KeyFileError::NotAKey)?;
        Ok(Sealer { key, source })
    }

    /// Where the key is from, in words for a message.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The form in which a secret is written to this place.
    pub(crate) fn seal(&self, place: Place<'_>, secret: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut text = secret.to_vec();
        // Fails for want of randomness alone.
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(place.name().as_bytes()), &mut text)
            .map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        Ok([&[FORM][..], nonce.as_ref(), &text].concat())
    }

    /// The secret that was sealed for this place.
    pub(crate) fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        let damaged = StoreError::Damaged { what: "sealed secret" };
        let Some((&[FORM], rest)) = sealed.split_first_chunk() else { return Err(damaged) };
        let Some((nonce, text)) = rest.split_first_chunk::<NONCE_LEN>() else { return Err(damaged) };
        let mut text = text.to_vec();
        let (nonce, place) = (Nonce::assume_unique_for_key(*nonce), place.name());
        match self.key.open_in_place(nonce, Aad::from(place.as_bytes()), &mut text) {
            Ok(secret) => Ok(secret.to_vec()),
            Err(_) => Err(damaged),
        }
    }
}

/// Where a sealed value stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) table: &'static str,
    pub(crate) column: &'static str,
    /// The key of the row. It comes last, so that whatever it holds is not taken for a border.
    pub(crate) row: &'a str,
}

impl Place<'_> {
    fn name(self) -> String {
        let Place { table, column, row } = self;
        format!("{table}|{column}|{row}")
    }
}

/// Writes a file that was not there. Another process may do so at the same time: then the first one counts.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    // A bare name is in this directory, and its parent is no name at all.
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".new-{}", std::process::id()));
    let unfinished = Path::new(&unfinished);
    let written = (|| {
        // What a process left that was killed here and had our number.
        if let Err(error) = fs::remove_file(unfinished)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(unfinished)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        match fs::hard_link(unfinished, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Ok(()) | Err(_) => fs::File::open(directory)?.sync_all(),
        }
    })();
    // Best effort: it holds what the file holds, for the same reader.
    let _ = fs::remove_file(unfinished);
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use doorward_core::entropy::{SeededEntropy, SystemEntropy};

    use super::*;

    const PLACE: Place<'_> = Place { table: "t", column: "c", row: "1" };

    #[test]
    fn a_secret_opens_in_its_place_with_its_key_and_nowhere_else() {
        let entropy = SeededEntropy::default();
        let (sealer, other) = (Sealer::ephemeral(&entropy).unwrap(), Sealer::ephemeral(&entropy).unwrap());
        let sealed = sealer.seal(PLACE, b"secret").unwrap();
        assert_eq!(sealer.open(PLACE, &sealed).unwrap(), b"secret");
        assert_ne!(sealed, sealer.seal(PLACE, b"secret").unwrap(), "twice the same secret does not look the same");
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_eq!(sealer.open(PLACE, &sealer.seal(PLACE, b"").unwrap()).unwrap(), b"");

        assert!(other.open(PLACE, &sealed).is_err());
        for place in [Place { table: "u", ..PLACE }, Place { column: "d", ..PLACE }, Place { row: "2", ..PLACE }] {
            assert!(sealer.open(place, &sealed).is_err(), "{place:?}");
        }
        for length in 0..sealed.len() {
            assert!(sealer.open(PLACE, &sealed[..length]).is_err(), "{length}");
            let mut changed = sealed.clone();
            changed[length] ^= 1;
            assert!(sealer.open(PLACE, &changed).is_err(), "{length}");
        }
    }

    #[test]
    fn a_key_file_is_made_once_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.key");
        assert!(matches!(Sealer::from_file(&path), Err(KeyFileError::Missing)));
        let made = Sealer::from_file_or_new(&path, &SystemEntropy).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let sealed = made.seal(PLACE, b"secret").unwrap();
        for again in [Sealer::from_file(&path), Sealer::from_file_or_new(&path, &SystemEntropy)] {
            assert_eq!(again.unwrap().open(PLACE, &sealed).unwrap(), b"secret");
        }
    }

    #[test]
    fn a_key_file_is_made_by_a_bare_name() {
        // In the directory in which cargo starts tests; what is there by this name is ours.
        let name = format!("test-{}.key", std::process::id());
        let made = Sealer::from_file_or_new(Path::new(&name), &SystemEntropy);
        fs::remove_file(&name).unwrap();
        made.unwrap();
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused_and_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.key");
        for text in [&b""[..], b"\n", b"secret", &[b'A'; 42], &[b'A'; 44], &[0xff; 44]] {
            fs::write(&path, text).unwrap();
            assert!(matches!(Sealer::from_file_or_new(&path, &SystemEntropy), Err(KeyFileError::NotAKey)), "{text:?}");
            assert_eq!(fs::read(&path).unwrap(), text);
        }
        let key = STANDARD.encode([7; KEY_LENGTH]);
        for end in ["", "\n", "\r\n"] {
            fs::write(&path, format!("{key}{end}")).unwrap();
            assert!(Sealer::from_file(&path).is_ok());
        }
    }
}
