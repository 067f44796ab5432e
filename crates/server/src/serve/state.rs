//! The directory of what is ours on this machine: one instance at a time, readable by its owner alone.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Why the directory cannot be used. Nothing in it was overwritten.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another instance runs on it.
    #[error("{} is in use by another doorward: stop it, or give this one another `state` in [server]", .0.display())]
    InUse(PathBuf),
    /// Others could put their own keys and database into it.
    #[error("{} can be written by others: `chmod go-w` it", .0.display())]
    WritableByOthers(PathBuf),
    /// It cannot be made or written.
    #[error("cannot write {}: {cause}; it must belong to the user that starts doorward", path.display())]
    Unwritable {
        /// What cannot be written.
        path: PathBuf,
        /// The system's word.
        cause: io::Error,
    },
}

/// The directory, taken until this value is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct StateDirectory {
    /// Absolute.
    path: PathBuf,
    _lock: File,
}

impl StateDirectory {
    /// Makes the directory if there is none (0700), and takes it.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn take(path: &Path) -> Result<Self, StateError> {
        let unwritable = |path: &Path| {
            let path = path.to_owned();
            move |cause| StateError::Unwritable { path, cause }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unwritable(path))?;
        let path = path.canonicalize().map_err(unwritable(path))?;
        let mode = fs::metadata(&path).map_err(unwritable(&path))?.permissions().mode();
        if mode & 0o022 != 0 {
            return Err(StateError::WritableByOthers(path));
        }
        let lock_path = path.join("lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock_path);
        let lock = lock.map_err(unwritable(&lock_path))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StateError::InUse(path.clone()),
            TryLockError::Error(cause) => StateError::Unwritable { path: lock_path.clone(), cause },
        })?;
        Ok(StateDirectory { path, _lock: lock })
    }

    /// Where it is, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Writes a file of mode 0600, whole and on the disk or not at all: a reader never sees a half, and neither does the next start.
///
/// # Errors
/// The system's. What was there before is there.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let unfinished = PathBuf::from(name);
    // What a killed process left is in the way. The new file is never one that was there: not a link to somewhere else, and not one
    // that others may read.
    match fs::remove_file(&unfinished) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    // The new name is on the disk when the folder is.
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_taken_once_and_by_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/state");
        let taken = StateDirectory::take(&path).unwrap();
        assert_eq!(fs::metadata(taken.path()).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(matches!(StateDirectory::take(&path), Err(StateError::InUse(_))));
        drop(taken);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(StateDirectory::take(&path), Err(StateError::WritableByOthers(_))));
    }

    #[test]
    fn a_file_is_replaced_whole_and_nobody_else_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(folder.path().join("a.new"), "left by a killed process").unwrap();
        for contents in ["one", "two"] {
            replace(&path, contents.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), contents);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(replace(&folder.path().join("gone/a"), b"x").is_err());
    }
}
