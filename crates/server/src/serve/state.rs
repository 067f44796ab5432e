//! The directory of what is ours on this machine: one instance at a time, readable by its owner alone.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::config::{Config, StoreConfig};

/// Why the directory cannot be used. Nothing in it was overwritten.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another instance runs on it.
    #[error("{} is in use by another doorward: stop it, or give this one another `state` in [server]", .0.display())]
    InUse(PathBuf),
    /// Others could put their own keys and database into it.
    #[error("{} can be written by others: `chmod go-w` it", .0.display())]
    WritableByOthers(PathBuf),
    /// Somebody else could give it other modes at any time.
    #[error(
        "{} belongs to user {owner}, and this process runs as user {user}: run as {owner}, or `chown` the directory and what is in it",
        path.display()
    )]
    OfAnother {
        /// The directory.
        path: PathBuf,
        /// The number of its owner.
        owner: u32,
        /// Our own.
        user: u32,
    },
    /// Another instance has the database open.
    #[error(
        "the database {} is in use by another doorward: stop it; two that are to run together share a PostgreSQL database",
        .0.display()
    )]
    DatabaseInUse(PathBuf),
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
    /// That of the directory, and that of a database that is somewhere else.
    _locks: (File, Option<File>),
}

impl StateDirectory {
    /// Makes the directory of a file if there is none (0700), and takes it, and with it the SQLite database that the file names: two
    /// servers with a directory each would not see each other's changes in it at once.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn take(config: &Config) -> Result<Self, StateError> {
        let database = match &config.store {
            StoreConfig::Sqlite { path, .. } => Some(&**path),
            StoreConfig::Postgres { .. } => None,
        };
        StateDirectory::take_at(&config.state, database)
    }

    fn take_at(path: &Path, database: Option<&Path>) -> Result<Self, StateError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unwritable(path))?;
        let path = path.canonicalize().map_err(unwritable(path))?;
        let found = fs::metadata(&path).map_err(unwritable(&path))?;
        of_this_user(&path, found.uid(), rustix::process::geteuid().as_raw())?;
        if found.permissions().mode() & 0o022 != 0 {
            return Err(StateError::WritableByOthers(path));
        }
        let lock = lock(&path.join("lock"), StateError::InUse(path.clone()))?;
        let elsewhere = database.map(whole).transpose()?.filter(|database| database.parent() != Some(&*path));
        let beside = elsewhere.map(|database| {
            let mut name = database.clone().into_os_string();
            name.push("-lock");
            self::lock(Path::new(&name), StateError::DatabaseInUse(database))
        });
        Ok(StateDirectory { path, _locks: (lock, beside.transpose()?) })
    }

    /// Where it is, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |cause| StateError::Unwritable { path, cause }
}

fn of_this_user(path: &Path, owner: u32, user: u32) -> Result<(), StateError> {
    match owner == user {
        true => Ok(()),
        false => Err(StateError::OfAnother { path: path.to_owned(), owner, user }),
    }
}

/// The one path of a database, whatever links lead to it. Its folder is there; the database may not be.
fn whole(database: &Path) -> Result<PathBuf, StateError> {
    if let Ok(path) = database.canonicalize() {
        return Ok(path);
    }
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.canonicalize().map_err(unwritable(database))?;
    Ok(folder.join(database.file_name().unwrap_or_default()))
}

/// Makes a file and locks it, until it is dropped; `in_use` if somebody else has it.
fn lock(path: &Path, in_use: StateError) -> Result<File, StateError> {
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    let lock = lock.map_err(unwritable(path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(in_use),
        Err(TryLockError::Error(cause)) => Err(unwritable(path)(cause)),
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
        let take = || StateDirectory::take_at(&path, Some(&path.join("doorward.db")));
        let taken = take().unwrap();
        assert_eq!(fs::metadata(taken.path()).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(matches!(take(), Err(StateError::InUse(_))));
        drop(taken);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(take(), Err(StateError::WritableByOthers(_))));
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "one lock is enough for both");
    }

    #[test]
    fn a_directory_of_somebody_else_is_not_taken() {
        let path = Path::new("/s");
        assert!(of_this_user(path, 1000, 1000).is_ok());
        for (owner, user) in [(65534, 0), (0, 1000)] {
            let told = of_this_user(path, owner, user).unwrap_err().to_string();
            assert!(told.starts_with(&format!("/s belongs to user {owner}, and this process runs as user {user}")));
        }
    }

    #[test]
    fn a_database_outside_is_taken_with_the_directory_by_whatever_path() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let take = |state: &str, database: &str| StateDirectory::take_at(&at(state), Some(&at(database)));
        let in_use = |outcome: Result<StateDirectory, StateError>| match outcome {
            Err(StateError::DatabaseInUse(path)) => path,
            other => panic!("{other:?}"),
        };
        let canonical = folder.path().canonicalize().unwrap().join("data.db");
        for made in [false, true] {
            if made {
                fs::write(at("data.db"), "").unwrap();
                std::os::unix::fs::symlink(at("data.db"), at("link.db")).unwrap();
            }
            let first = take("a", "data.db").unwrap();
            assert_eq!(in_use(take("b", "data.db")), canonical);
            assert_eq!(in_use(take("b", "b/../data.db")), canonical);
            if made {
                assert_eq!(in_use(take("b", "link.db")), canonical);
            }
            take("b", "other.db").unwrap();
            drop(first);
            take("b", "data.db").unwrap();
        }
        assert!(matches!(take("b", "gone/data.db"), Err(StateError::Unwritable { .. })));
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
