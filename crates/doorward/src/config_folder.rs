//! The folder of this user in which sign-ins and tokens are kept: readable by its owner alone, and never followed through a link.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::output::quoted;

/// More than any file of ours.
const FILE_LIMIT: u64 = 4 * 1024 * 1024;

/// Why the folder cannot be used. A cause stands within the sentence, before the next step, and is no `source`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    #[error("it is not known where settings of this user are kept: set HOME, or name a folder with DOORWARD_CONFIG")]
    NoHome,
    #[error("{shown} can be read or written by others: `chmod go-rwx {path}`", shown = .0.display(), path = quoted(.0))]
    OpenToOthers(PathBuf),
    #[error("{} is a link or of another kind than it should be: remove it, or name a folder with DOORWARD_CONFIG", .0.display())]
    Kind(PathBuf),
    #[error("cannot read {path} ({cause}): make it readable, or name a folder with DOORWARD_CONFIG")]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error("cannot write {path} ({cause}): make it writable, or name a folder with DOORWARD_CONFIG")]
    Unwritable { path: PathBuf, cause: io::Error },
}

/// The folder. It need not exist.
#[derive(Debug, Clone)]
pub(crate) struct ConfigFolder(PathBuf);

impl ConfigFolder {
    /// The folder of this user, as the environment tells it.
    pub(crate) fn of_this_user() -> Result<Self, FolderError> {
        locate(|name| std::env::var_os(name), cfg!(target_os = "macos")).map(ConfigFolder)
    }

    /// A folder at a place of the caller's choice.
    #[cfg(test)]
    pub(crate) fn at(path: &Path) -> Self {
        ConfigFolder(path.to_owned())
    }

    /// Where the file of this name is.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Reads a file whole; `None` if there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FolderError> {
        match status(&self.0)? {
            None => Ok(None),
            Some(folder) => {
                check(&self.0, &folder, folder.is_dir())?;
                read_private(&self.path_of(name))
            }
        }
    }

    /// Replaces a file whole or not at all, by what `change` makes of what it holds. Two processes do not change it at once.
    pub(crate) fn update<E: From<FolderError>>(
        &self,
        name: &str,
        change: impl FnOnce(Option<Vec<u8>>) -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        // Held until this function ends.
        let _lock = self.lock()?;
        let contents = change(read_private(&self.path_of(name))?)?;
        Ok(replace(&self.path_of(name), &contents)?)
    }

    /// Makes the folder if there is none, and waits for its lock.
    fn lock(&self) -> Result<File, FolderError> {
        let path = &self.0;
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unwritable(path))?;
        let folder = status(path)?.ok_or_else(|| FolderError::Kind(path.clone()))?;
        check(path, &folder, folder.is_dir())?;
        let path = self.path_of("lock");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(unwritable(&path))?;
        file.lock().map_err(unwritable(&path))?;
        Ok(file)
    }
}

/// The platform's folder for settings, ours in it. A path that is not absolute is no setting (XDG Base Directory 0.8), but
/// whoever writes our own variable means it.
fn locate(variable: impl Fn(&str) -> Option<OsString>, macos: bool) -> Result<PathBuf, FolderError> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(own) = set("DOORWARD_CONFIG") {
        return Ok(own);
    }
    let absolute = |name: &str| set(name).filter(|path| path.is_absolute());
    let home = || absolute("HOME").ok_or(FolderError::NoHome);
    let base = match (macos, absolute("XDG_CONFIG_HOME")) {
        (true, _) => home()?.join("Library/Application Support"),
        (false, Some(config)) => config,
        (false, None) => home()?.join(".config"),
    };
    Ok(base.join("doorward"))
}

/// What lies at `path`, links not followed.
fn status(path: &Path) -> Result<Option<Metadata>, FolderError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(FolderError::Unreadable { path: path.to_owned(), cause }),
    }
}

fn check(path: &Path, metadata: &Metadata, of_the_right_kind: bool) -> Result<(), FolderError> {
    match () {
        () if !of_the_right_kind => Err(FolderError::Kind(path.to_owned())),
        () if metadata.permissions().mode() & 0o077 != 0 => Err(FolderError::OpenToOthers(path.to_owned())),
        () => Ok(()),
    }
}

fn read_private(path: &Path) -> Result<Option<Vec<u8>>, FolderError> {
    let Some(seen) = status(path)? else { return Ok(None) };
    check(path, &seen, seen.is_file())?;
    let unreadable = |cause| FolderError::Unreadable { path: path.to_owned(), cause };
    let file = File::open(path).map_err(unreadable)?;
    // What was looked at and what was opened are one file: no link came between.
    let opened = file.metadata().map_err(unreadable)?;
    if (opened.dev(), opened.ino()) != (seen.dev(), seen.ino()) {
        return Err(FolderError::Kind(path.to_owned()));
    }
    let mut contents = Vec::new();
    file.take(FILE_LIMIT).read_to_end(&mut contents).map_err(unreadable)?;
    Ok(Some(contents))
}

/// The new file is never one that was there: not a link to somewhere else, and not one that others may read.
fn replace(path: &Path, contents: &[u8]) -> Result<(), FolderError> {
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(unwritable(&temporary)(cause)),
        _ => {}
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(unwritable(&temporary))?;
    let written = file.write_all(contents).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|cause| {
        // A half of a secret is of no use to anybody. Should this fail too, the file is for its owner alone.
        drop(fs::remove_file(&temporary));
        unwritable(path)(cause)
    })
}

fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    |cause| FolderError::Unwritable { path, cause }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn set(folder: &ConfigFolder, contents: &str) -> Result<(), FolderError> {
        folder.update("f.json", |_| Ok(contents.as_bytes().to_vec()))
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn the_folder_is_where_the_platform_keeps_settings() {
        #[rustfmt::skip]
        let cases = [
            // DOORWARD_CONFIG, XDG_CONFIG_HOME, HOME, on macOS => the folder
            ("",     "",    "/h", false, Some("/h/.config/doorward")),
            ("",     "/x",  "/h", false, Some("/x/doorward")),
            ("",     "rel", "/h", false, Some("/h/.config/doorward")),
            ("/own", "/x",  "/h", false, Some("/own")),
            ("own",  "/x",  "/h", false, Some("own")),
            ("",     "/x",  "/h", true,  Some("/h/Library/Application Support/doorward")),
            ("",     "",    "",   false, None),
            ("",     "",    "rel", true, None),
            ("",     "/x",  "",   false, Some("/x/doorward")),
        ];
        for (own, xdg, home, macos, expected) in cases {
            let variable = |name: &str| {
                let value = match name {
                    "DOORWARD_CONFIG" => own,
                    "XDG_CONFIG_HOME" => xdg,
                    _ => home,
                };
                Some(OsString::from(value))
            };
            let found = locate(variable, macos).ok();
            assert_eq!(found.as_deref(), expected.map(Path::new), "{own} {xdg} {home} {macos}");
        }
        assert!(matches!(locate(|_| None, false), Err(FolderError::NoHome)));
    }

    #[test]
    fn a_file_is_for_its_owner_alone_and_replaced_whole() {
        let base = tempfile::tempdir().unwrap();
        let folder = ConfigFolder::at(&base.path().join("a/b"));
        assert_eq!(folder.read("f.json").unwrap(), None, "nothing is made by reading");
        assert!(!base.path().join("a").exists());
        set(&folder, "one").unwrap();
        assert_eq!((mode(&base.path().join("a/b")), mode(&folder.path_of("f.json"))), (0o700, 0o600));
        // What a killed process left is no obstacle, and is not written into.
        fs::write(folder.path_of("f.new"), "half").unwrap();
        let seen = |before: Option<Vec<u8>>| -> Result<Vec<u8>, FolderError> {
            assert_eq!(before.as_deref(), Some(b"one".as_slice()));
            Ok(b"two".to_vec())
        };
        folder.update("f.json", seen).unwrap();
        assert_eq!(folder.read("f.json").unwrap().as_deref(), Some(b"two".as_slice()));
        assert!(!folder.path_of("f.new").exists());
        let refused = folder.update("f.json", |_| Err::<Vec<u8>, _>(FolderError::NoHome));
        assert!(refused.is_err());
        assert_eq!(folder.read("f.json").unwrap().as_deref(), Some(b"two".as_slice()), "not at all");
    }

    #[test]
    fn a_link_is_not_followed_and_what_others_may_read_is_not_used() {
        let base = tempfile::tempdir().unwrap();
        let elsewhere = base.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("f.json"), "theirs").unwrap();
        fs::set_permissions(elsewhere.join("f.json"), fs::Permissions::from_mode(0o600)).unwrap();

        let folder = ConfigFolder::at(&base.path().join("folder"));
        set(&folder, "ours").unwrap();
        fs::remove_file(folder.path_of("f.json")).unwrap();
        symlink(elsewhere.join("f.json"), folder.path_of("f.json")).unwrap();
        assert!(matches!(folder.read("f.json"), Err(FolderError::Kind(_))));
        assert!(matches!(set(&folder, "x"), Err(FolderError::Kind(_))));
        fs::remove_file(folder.path_of("f.json")).unwrap();
        symlink(base.path().join("nowhere"), folder.path_of("f.json")).unwrap();
        assert!(matches!(set(&folder, "x"), Err(FolderError::Kind(_))), "a link that leads nowhere neither");
        fs::remove_file(folder.path_of("f.json")).unwrap();
        // The place of the new file is a link: the link is replaced, and what it leads to is left alone.
        symlink(elsewhere.join("f.json"), folder.path_of("f.new")).unwrap();
        set(&folder, "ours").unwrap();
        assert_eq!(fs::read(elsewhere.join("f.json")).unwrap(), b"theirs");

        for (path, open) in [(folder.path_of("f.json"), 0o640), (base.path().join("folder"), 0o755)] {
            let before = mode(&path);
            fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
            let message = folder.read("f.json").unwrap_err().to_string();
            let shown = path.display();
            assert_eq!(message, format!("{shown} can be read or written by others: `chmod go-rwx {shown}`"));
            assert!(matches!(set(&folder, "x"), Err(FolderError::OpenToOthers(_))));
            fs::set_permissions(&path, fs::Permissions::from_mode(before)).unwrap();
        }

        let link = base.path().join("link");
        symlink(base.path().join("folder"), &link).unwrap();
        assert!(matches!(ConfigFolder::at(&link).read("f.json"), Err(FolderError::Kind(_))));
        assert!(matches!(set(&ConfigFolder::at(&link), "x"), Err(FolderError::Kind(_))));
    }
}
