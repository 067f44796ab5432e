//! The state directory: one instance at a time, readable by its owner alone.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use doorward_wire::google_api::KeyFile;
use doorward_wire::x509::CertificatePem;

use super::description::{self, Description};
use super::names::Addressing;

/// The folder for what programs read where Google's names lead to us.
const NAMES_FOLDER: &str = "names";

/// Why the directory cannot be used. Nothing in it was overwritten.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another instance runs on it.
    #[error("{} is in use by another doorward: stop it, or choose another directory with --dir", .0.display())]
    InUse(PathBuf),
    /// Others could put their own keys and database into it.
    #[error("{} can be written by others: `chmod go-w` it, or choose another directory with --dir", .0.display())]
    WritableByOthers(PathBuf),
    /// It cannot be made or written.
    #[error("cannot write {}: {cause}; make it writable, or choose another directory with --dir", path.display())]
    Unwritable {
        /// What cannot be written.
        path: PathBuf,
        /// The system's word.
        cause: io::Error,
    },
}

/// The directory, taken until this value is dropped or the process ends, however it ends.
pub(super) struct Directory {
    /// Absolute.
    path: PathBuf,
    /// Where what programs read is written. The addresses in it are those of one mode.
    files: PathBuf,
    /// Where it is written in the other mode: the keys in it are as good.
    other_files: PathBuf,
    _lock: File,
}

impl Directory {
    /// Makes the directory if there is none (0700, with a `.gitignore` that keeps it out of every repository), and takes
    /// it. What programs read lies in a folder of its own if Google's names lead here: with other addresses, so that each mode
    /// finds its files as it left them.
    pub(super) fn take(path: &Path, addressing: Addressing) -> Result<Self, DirectoryError> {
        let unwritable = |path: &Path| {
            let path = path.to_owned();
            move |cause| DirectoryError::Unwritable { path, cause }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unwritable(path))?;
        let path = path.canonicalize().map_err(unwritable(path))?;
        let mode = fs::metadata(&path).map_err(unwritable(&path))?.permissions().mode();
        if mode & 0o022 != 0 {
            return Err(DirectoryError::WritableByOthers(path));
        }
        let lock_path = path.join("lock");
        let mut lock_options = OpenOptions::new();
        lock_options.write(true).create(true).truncate(false).mode(0o600);
        let lock = lock_options.open(&lock_path).map_err(unwritable(&lock_path))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => DirectoryError::InUse(path.clone()),
            TryLockError::Error(cause) => DirectoryError::Unwritable { path: lock_path.clone(), cause },
        })?;
        let named = path.join(NAMES_FOLDER);
        let (files, other_files) = match addressing {
            Addressing::OwnOrigin => (path.clone(), named),
            Addressing::GoogleNames => (named, path.clone()),
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&files).map_err(unwritable(&files))?;
        let directory = Directory { path, files, other_files, _lock: lock };
        let ignore = directory.path.join(".gitignore");
        if !ignore.exists() {
            replace(&ignore, b"# State of `doorward dev`: keys and secrets. Never commit it.\n*\n")?;
        }
        Ok(directory)
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join("doorward.db")
    }

    pub(super) fn key_file(&self, name: &str) -> PathBuf {
        self.files.join(key_file_name(name))
    }

    /// The key file of this name, if there is one that can be read: in the other mode's folder, if not in ours.
    pub(super) fn read_key_file(&self, name: &str) -> Option<KeyFile> {
        let candidates = [self.key_file(name), self.other_files.join(key_file_name(name))];
        candidates.iter().find_map(|path| serde_json::from_slice(&fs::read(path).ok()?).ok())
    }

    pub(super) fn write_key_file(&self, name: &str, file: &KeyFile) -> Result<(), DirectoryError> {
        self.write_json(&self.key_file(name), file)
    }

    /// Writes a file for application default credentials, and gives its path.
    pub(super) fn write_credentials(&self, name: &str, file: &serde_json::Value) -> Result<PathBuf, DirectoryError> {
        let path = self.files.join(format!("{name}.json"));
        self.write_json(&path, file)?;
        Ok(path)
    }

    /// Writes the certificate that clients are to trust, and gives its path.
    pub(super) fn write_authority(&self, authority: &CertificatePem) -> Result<PathBuf, DirectoryError> {
        let path = self.files.join("ca.pem");
        replace(&path, authority.0.as_bytes())?;
        Ok(path)
    }

    /// Writes the description, and gives its path.
    pub(super) fn write_description(&self, description: &Description) -> Result<PathBuf, DirectoryError> {
        let path = self.files.join(description::FILE_NAME);
        self.write_json(&path, description)?;
        Ok(path)
    }

    fn write_json(&self, path: &Path, value: &impl serde::Serialize) -> Result<(), DirectoryError> {
        let mut text = serde_json::to_vec_pretty(value)
            .map_err(|error| DirectoryError::Unwritable { path: path.to_owned(), cause: error.into() })?;
        text.push(b'\n');
        replace(path, &text)
    }
}

fn key_file_name(name: &str) -> String {
    format!("{name}-key.json")
}

/// Writes a file of mode 0600, whole or not at all.
fn replace(path: &Path, contents: &[u8]) -> Result<(), DirectoryError> {
    let unwritable = |cause| DirectoryError::Unwritable { path: path.to_owned(), cause };
    crate::serve::state::replace(path, contents).map_err(unwritable)
}
