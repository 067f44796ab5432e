//! Who is signed in, at which server: what `doorward login` keeps.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use doorward_core::clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config_folder::{ConfigFolder, FolderError};
use crate::output::quoted;

const FILE_NAME: &str = "credentials.json";

/// Why it is not known who is signed in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("{path} is damaged ({cause}): `rm {quoted}`, then sign in again with `doorward login`", quoted = quoted(.path))]
    Damaged { path: PathBuf, cause: serde_json::Error },
    #[error("{path} is of version {version}, and this `doorward` reads version 1: use the `doorward` that wrote it")]
    Version { path: PathBuf, version: u32 },
}

/// A person's sign-in at one server. `Debug` does not show the token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credential {
    /// Whose it is.
    pub(crate) email: String,
    /// The client for which they signed in.
    pub(crate) client_id: String,
    /// What proves it.
    pub(crate) refresh_token: String,
    /// When they signed in.
    pub(crate) since: Timestamp,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.email)
    }
}

/// The file.
#[derive(Default, Serialize, Deserialize)]
struct Contents {
    version: u32,
    /// By the address of the server.
    servers: BTreeMap<String, Credential>,
}

/// Who is signed in at the server of this address.
pub(crate) fn load(folder: &ConfigFolder, api_url: &str) -> Result<Option<Credential>, CredentialsError> {
    Ok(parse(folder, folder.read(FILE_NAME)?)?.servers.remove(api_url))
}

/// Keeps a sign-in in the place of the one before it.
pub(crate) fn save(folder: &ConfigFolder, api_url: &str, credential: &Credential) -> Result<(), CredentialsError> {
    change(folder, |servers| drop(servers.insert(api_url.to_owned(), credential.clone())))
}

/// Forgets the sign-in at the server of this address.
pub(crate) fn remove(folder: &ConfigFolder, api_url: &str) -> Result<(), CredentialsError> {
    change(folder, |servers| drop(servers.remove(api_url)))
}

fn change(
    folder: &ConfigFolder,
    change: impl FnOnce(&mut BTreeMap<String, Credential>),
) -> Result<(), CredentialsError> {
    folder.update(FILE_NAME, |before| {
        let mut contents = parse(folder, before)?;
        change(&mut contents.servers);
        let damaged = |cause| CredentialsError::Damaged { path: folder.path_of(FILE_NAME), cause };
        let mut text = serde_json::to_vec_pretty(&contents).map_err(damaged)?;
        text.push(b'\n');
        Ok(text)
    })
}

/// A file that cannot be read is never taken for an empty one: it would be overwritten.
fn parse(folder: &ConfigFolder, bytes: Option<Vec<u8>>) -> Result<Contents, CredentialsError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let Some(bytes) = bytes else { return Ok(Contents { version: 1, ..Contents::default() }) };
    let path = || folder.path_of(FILE_NAME);
    let damaged = |cause| CredentialsError::Damaged { path: path(), cause };
    match serde_json::from_slice(&bytes).map_err(damaged)? {
        Version { version: 1 } => serde_json::from_slice(&bytes).map_err(damaged),
        Version { version } => Err(CredentialsError::Version { path: path(), version }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn credential(email: &str) -> Credential {
        Credential {
            email: email.into(),
            client_id: "c".into(),
            refresh_token: "doorward_rt_x".into(),
            since: Timestamp::from_seconds(1000),
        }
    }

    #[test]
    fn each_server_has_its_own_sign_in_and_the_last_one_counts() {
        let dir = tempfile::tempdir().unwrap();
        let folder = ConfigFolder::at(&dir.path().join("c"));
        let (one, two) = ("http://127.0.0.1:1", "http://127.0.0.1:2");
        assert_eq!(load(&folder, one).unwrap(), None);
        save(&folder, one, &credential("a@x.com")).unwrap();
        save(&folder, two, &credential("b@x.com")).unwrap();
        save(&folder, one, &credential("c@x.com")).unwrap();
        assert_eq!(load(&folder, one).unwrap(), Some(credential("c@x.com")));
        remove(&folder, one).unwrap();
        assert_eq!((load(&folder, one).unwrap(), load(&folder, two).unwrap()), (None, Some(credential("b@x.com"))));
        assert!(!format!("{:?}", credential("a@x.com")).contains("doorward_rt_x"));
        let mode = fs::metadata(folder.path_of(FILE_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_file_is_named_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let folder = ConfigFolder::at(&dir.path().join("c"));
        save(&folder, "http://127.0.0.1:1", &credential("a@x.com")).unwrap();
        let path = folder.path_of(FILE_NAME);
        let shown = path.display();
        let again = format!("`rm {shown}`, then sign in again with `doorward login`");
        #[rustfmt::skip]
        let cases = [
            ("",                              format!("{shown} is damaged (EOF while parsing a value at line 1 column 0): {again}")),
            (r#"{"version":1,"servers":1}"#,  format!("{shown} is damaged (invalid type: integer `1`, expected a map at line 1 column 24): {again}")),
            (r#"{"version":2}"#,              format!("{shown} is of version 2, and this `doorward` reads version 1: use the `doorward` that wrote it")),
        ];
        for (text, expected) in cases {
            fs::write(&path, text).unwrap();
            assert_eq!(load(&folder, "u").unwrap_err().to_string(), expected);
            assert_eq!(save(&folder, "u", &credential("b@x.com")).unwrap_err().to_string(), expected);
            assert_eq!(fs::read(&path).unwrap(), text.as_bytes());
        }
    }
}
