//! Who is signed in, at which server: what `doorward login` keeps, in a file and in the platform's keyring.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use doorward_core::clock::Timestamp;
use doorward_core::entropy::{EntropyError, SystemEntropy, random_base64url};
use serde::{Deserialize, Serialize};

use crate::config_folder::{ConfigFolder, FolderError};
use crate::keyring::{self, Keyring, KeyringError};
use crate::output::quoted;

const FILE_NAME: &str = "credentials.json";

/// The version that is written. In version 1 every secret lay in the file, as it still may.
const VERSION: u32 = 2;

/// Why it is not known who is signed in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("{path} is damaged ({cause}): `rm {quoted}`, then sign in again with `doorward login`", quoted = quoted(.path))]
    Damaged { path: PathBuf, cause: serde_json::Error },
    #[error(
        "{path} is of version {version}, and this `doorward` reads versions 1 and 2: use the `doorward` that wrote it"
    )]
    Version { path: PathBuf, version: u32 },
    #[error("cannot make a name for the entry in the keyring")]
    Entropy(#[from] EntropyError),
    #[error("{0}: set it to off to keep sign-ins in a file")]
    Variable(KeyringError),
    #[error("the sign-in of {email} is in the keyring, and {cause}: {}", next_step(.cause))]
    Keyring { email: String, cause: KeyringError },
    #[error("the sign-in of {0} is in the keyring no more: sign in again with `doorward login`")]
    Gone(String),
}

fn next_step(cause: &KeyringError) -> &'static str {
    match cause {
        KeyringError::None => "use the session in which you signed in, or sign in again with `doorward login`",
        KeyringError::Off => "unset it, or sign in again with `doorward login`",
        KeyringError::Variable(_) => "correct it",
        KeyringError::Locked => "unlock it, or sign in again with `doorward login`",
        KeyringError::Silent | KeyringError::Failed(_) => "try again, or sign in again with `doorward login`",
    }
}

/// A person's sign-in at one server. `Debug` does not show the token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credential {
    /// Whose it is.
    pub(crate) email: String,
    /// The client for which they signed in.
    pub(crate) client_id: String,
    /// What proves it.
    #[serde(flatten)]
    pub(crate) secret: Secret,
    /// When they signed in.
    pub(crate) since: Timestamp,
}

/// The refresh token of a sign-in, or where it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Secret {
    /// Here.
    RefreshToken(String),
    /// In the entry of this name in the keyring.
    Keyring(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.email)
    }
}

/// What a sign-in gave.
pub(crate) struct SignedIn<'a> {
    /// Who signed in.
    pub(crate) email: &'a str,
    /// For which client.
    pub(crate) client_id: &'a str,
    /// What proves it.
    pub(crate) refresh_token: &'a str,
    /// When.
    pub(crate) since: Timestamp,
}

/// The file.
#[derive(Default, Serialize, Deserialize)]
struct Contents {
    version: u32,
    /// By the address of the server.
    servers: BTreeMap<String, Credential>,
}

/// The sign-ins of this user.
#[derive(Clone)]
pub(crate) struct SignIns {
    folder: ConfigFolder,
    keyring: Arc<dyn Keyring>,
}

impl SignIns {
    /// Where the environment says that they are.
    pub(crate) fn of_this_user() -> Result<Self, FolderError> {
        Ok(Self::new(ConfigFolder::of_this_user()?, keyring::of_this_user()))
    }

    pub(crate) fn new(folder: ConfigFolder, keyring: Arc<dyn Keyring>) -> Self {
        SignIns { folder, keyring }
    }

    /// The folder in which the file is.
    pub(crate) fn folder(&self) -> &ConfigFolder {
        &self.folder
    }

    /// Who is signed in at the server of this address. The keyring is not asked.
    pub(crate) fn load(&self, api_url: &str) -> Result<Option<Credential>, CredentialsError> {
        Ok(self.parse(self.folder.read(FILE_NAME)?)?.servers.remove(api_url))
    }

    /// What proves a sign-in, wherever it is.
    pub(crate) fn refresh_token(&self, credential: &Credential) -> Result<String, CredentialsError> {
        let email = || credential.email.clone();
        match &credential.secret {
            Secret::RefreshToken(token) => Ok(token.clone()),
            Secret::Keyring(name) => match self.keyring.find(name) {
                Ok(Some(token)) => Ok(token),
                Ok(None) => Err(CredentialsError::Gone(email())),
                Err(cause) => Err(CredentialsError::Keyring { email: email(), cause }),
            },
        }
    }

    /// Keeps a sign-in in the place of the one before it: the refresh token in the keyring, or in the file if that is of no use. Why it
    /// is of no use is given if somebody should know: it is there, and is not open.
    pub(crate) fn save(
        &self,
        api_url: &str,
        signed_in: &SignedIn<'_>,
    ) -> Result<Option<KeyringError>, CredentialsError> {
        let SignedIn { email, client_id, refresh_token, since } = *signed_in;
        // One name for each sign-in: another folder may hold one of the same person at the same address.
        let name = format!("{email} at {api_url}, {}", random_base64url(&SystemEntropy, 9)?);
        let (secret, unused) = match self.keyring.keep(&name, refresh_token) {
            Ok(()) => (Secret::Keyring(name.clone()), None),
            Err(error @ KeyringError::Variable(_)) => return Err(CredentialsError::Variable(error)),
            Err(KeyringError::None | KeyringError::Off) => (Secret::RefreshToken(refresh_token.to_owned()), None),
            Err(error @ (KeyringError::Locked | KeyringError::Silent | KeyringError::Failed(_))) => {
                (Secret::RefreshToken(refresh_token.to_owned()), Some(error))
            }
        };
        let credential = Credential { email: email.to_owned(), client_id: client_id.to_owned(), secret, since };
        let mut before = None;
        let changed = self.change(|servers| before = servers.insert(api_url.to_owned(), credential));
        // An entry that no file knows any more is of use to nobody. Should this fail, it is one that its owner can read and remove.
        let stray = match &changed {
            Ok(()) => before.and_then(|before| before.secret.entry()),
            Err(_) => Some(name),
        };
        drop(stray.map(|name| self.keyring.remove(&name)));
        changed.map(|()| unused)
    }

    /// Forgets the sign-in at the server of this address. Gives the name of its entry in the keyring, and why that is left there, if it
    /// is.
    pub(crate) fn remove(&self, api_url: &str) -> Result<Option<(String, KeyringError)>, CredentialsError> {
        let mut removed = None;
        self.change(|servers| removed = servers.remove(api_url))?;
        let Some(name) = removed.and_then(|removed| removed.secret.entry()) else { return Ok(None) };
        Ok(self.keyring.remove(&name).err().map(|cause| (name, cause)))
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Credential>)) -> Result<(), CredentialsError> {
        self.folder.update(FILE_NAME, |before| {
            let mut contents = self.parse(before)?;
            contents.version = VERSION;
            change(&mut contents.servers);
            let damaged = |cause| CredentialsError::Damaged { path: self.folder.path_of(FILE_NAME), cause };
            let mut text = serde_json::to_vec_pretty(&contents).map_err(damaged)?;
            text.push(b'\n');
            Ok(text)
        })
    }

    /// A file that cannot be read is never taken for an empty one: it would be overwritten.
    fn parse(&self, bytes: Option<Vec<u8>>) -> Result<Contents, CredentialsError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Some(bytes) = bytes else { return Ok(Contents::default()) };
        let path = || self.folder.path_of(FILE_NAME);
        let damaged = |cause| CredentialsError::Damaged { path: path(), cause };
        match serde_json::from_slice(&bytes).map_err(damaged)? {
            Version { version: 1 | VERSION } => serde_json::from_slice(&bytes).map_err(damaged),
            Version { version } => Err(CredentialsError::Version { path: path(), version }),
        }
    }
}

impl Secret {
    /// The entry in the keyring, if it is there.
    fn entry(self) -> Option<String> {
        match self {
            Secret::RefreshToken(_) => None,
            Secret::Keyring(name) => Some(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use crate::keyring::Unused;
    use crate::keyring::tests::InMemory;

    const ONE: &str = "http://127.0.0.1:1";
    const TWO: &str = "http://127.0.0.1:2";

    fn signed_in(email: &str) -> SignedIn<'_> {
        let since = Timestamp::from_seconds(1000);
        SignedIn { email, client_id: "c", refresh_token: "doorward_rt_x", since }
    }

    fn sign_ins(dir: &Path, keyring: Arc<dyn Keyring>) -> SignIns {
        SignIns::new(ConfigFolder::at(&dir.join("c")), keyring)
    }

    fn email(sign_ins: &SignIns, api_url: &str) -> Option<String> {
        sign_ins.load(api_url).unwrap().map(|credential| credential.email)
    }

    #[test]
    fn each_server_has_its_own_sign_in_and_the_last_one_counts() {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Arc::new(InMemory::default());
        for keyring in [keyring.clone() as Arc<dyn Keyring>, Arc::new(Unused(KeyringError::None))] {
            let sign_ins = sign_ins(dir.path(), keyring);
            assert_eq!(email(&sign_ins, ONE), None);
            for (api_url, email) in [(ONE, "a@x.com"), (TWO, "b@x.com"), (ONE, "c@x.com")] {
                assert_eq!(sign_ins.save(api_url, &signed_in(email)).unwrap(), None);
            }
            let last = sign_ins.load(ONE).unwrap().unwrap();
            assert_eq!((last.email.as_str(), last.since), ("c@x.com", Timestamp::from_seconds(1000)));
            assert_eq!(sign_ins.refresh_token(&last).unwrap(), "doorward_rt_x");
            assert_eq!(sign_ins.remove(ONE).unwrap(), None);
            assert_eq!((email(&sign_ins, ONE), email(&sign_ins, TWO).as_deref()), (None, Some("b@x.com")));
            assert!(!format!("{last:?}").contains("doorward_rt_x"));
            let path = sign_ins.folder().path_of(FILE_NAME);
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(sign_ins.remove(TWO).unwrap(), None);
        }
        assert_eq!(keyring.secrets(), [""; 0], "what was replaced or ended is not left there");
    }

    #[test]
    fn what_is_in_the_keyring_is_not_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Arc::new(InMemory::default());
        let silent = || KeyringError::Silent;
        // why the keyring is of no use => what somebody is told, whether the token is in the file
        #[rustfmt::skip]
        let cases = [
            (None,                       None,                       false),
            (Some(KeyringError::None),   None,                       true),
            (Some(KeyringError::Off),    None,                       true),
            (Some(KeyringError::Locked), Some(KeyringError::Locked), true),
            (Some(silent()),             Some(silent()),             true),
            (None,                       None,                       false),
        ];
        let sign_ins = sign_ins(dir.path(), keyring.clone());
        for (failure, told, in_file) in cases {
            keyring.fail(failure.clone());
            assert_eq!(sign_ins.save(ONE, &signed_in("a@x.com")).unwrap(), told, "{failure:?}");
            let text = fs::read_to_string(sign_ins.folder().path_of(FILE_NAME)).unwrap();
            assert_eq!(text.contains("doorward_rt_x"), in_file, "{failure:?}: {text}");
            let kept = sign_ins.load(ONE).unwrap().unwrap();
            assert_eq!(sign_ins.refresh_token(&kept).unwrap(), "doorward_rt_x", "{failure:?}");
        }
        keyring.fail(Some(KeyringError::Variable("no".into())));
        assert_eq!(
            sign_ins.save(ONE, &signed_in("b@x.com")).unwrap_err().to_string(),
            "DOORWARD_KEYRING is \"no\", and can be off or on: set it to off to keep sign-ins in a file"
        );
        assert_eq!(email(&sign_ins, ONE).as_deref(), Some("a@x.com"));
    }

    #[test]
    fn a_keyring_that_does_not_give_the_token_is_answered_with_the_next_step() {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Arc::new(InMemory::default());
        let sign_ins = sign_ins(dir.path(), keyring.clone());
        sign_ins.save(ONE, &signed_in("a@x.com")).unwrap();
        let kept = sign_ins.load(ONE).unwrap().unwrap();
        let again = "sign in again with `doorward login`";
        #[rustfmt::skip]
        let cases = [
            (KeyringError::Locked,              format!("it is locked: unlock it, or {again}")),
            (KeyringError::Silent,              format!("it did not answer within 2 seconds: try again, or {again}")),
            (KeyringError::None,                format!("there is none in this session: use the session in which you signed in, or {again}")),
            (KeyringError::Off,                 format!("DOORWARD_KEYRING=off forbids to use it: unset it, or {again}")),
            (KeyringError::Variable("x".into()), "DOORWARD_KEYRING is \"x\", and can be off or on: correct it".to_owned()),
        ];
        for (failure, expected) in cases {
            keyring.fail(Some(failure));
            assert_eq!(
                sign_ins.refresh_token(&kept).unwrap_err().to_string(),
                format!("the sign-in of a@x.com is in the keyring, and {expected}")
            );
        }
        // It is forgotten all the same, and what is left is named.
        let Secret::Keyring(name) = kept.secret.clone() else { panic!("it is not in the keyring") };
        assert!(name.starts_with("a@x.com at http://127.0.0.1:1, "), "{name}");
        keyring.fail(Some(KeyringError::Locked));
        assert_eq!(sign_ins.remove(ONE).unwrap(), Some((name, KeyringError::Locked)));
        assert_eq!(email(&sign_ins, ONE), None);
        keyring.fail(None);
        keyring.entries.lock().unwrap().clear();
        assert_eq!(
            sign_ins.refresh_token(&kept).unwrap_err().to_string(),
            format!("the sign-in of a@x.com is in the keyring no more: {again}")
        );
    }

    #[test]
    fn a_sign_in_that_is_not_kept_leaves_nothing_in_the_keyring() {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Arc::new(InMemory::default());
        let sign_ins = sign_ins(dir.path(), keyring.clone());
        sign_ins.save(ONE, &signed_in("a@x.com")).unwrap();
        fs::write(sign_ins.folder().path_of(FILE_NAME), "damaged").unwrap();
        sign_ins.save(ONE, &signed_in("b@x.com")).unwrap_err();
        let names: Vec<String> = keyring.entries.lock().unwrap().keys().cloned().collect();
        assert!(names.len() == 1 && names[0].starts_with("a@x.com"), "{names:?}");
    }

    #[test]
    fn a_file_of_version_1_is_read_and_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let sign_ins = sign_ins(dir.path(), Arc::new(Unused(KeyringError::None)));
        sign_ins.save(TWO, &signed_in("b@x.com")).unwrap();
        let path = sign_ins.folder().path_of(FILE_NAME);
        let since = serde_json::to_value(Timestamp::from_seconds(5)).unwrap();
        let entry = serde_json::json!({"email": "a@x.com", "client_id": "c", "refresh_token": "old", "since": since});
        fs::write(&path, serde_json::json!({"version": 1, "servers": {ONE: entry}}).to_string()).unwrap();
        let kept = sign_ins.load(ONE).unwrap().unwrap();
        assert_eq!(sign_ins.refresh_token(&kept).unwrap(), "old");
        sign_ins.save(TWO, &signed_in("b@x.com")).unwrap();
        assert_eq!(email(&sign_ins, ONE).as_deref(), Some("a@x.com"));
        assert!(fs::read_to_string(&path).unwrap().contains("\"version\": 2"));
    }

    #[test]
    fn a_damaged_file_is_named_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let sign_ins = sign_ins(dir.path(), Arc::new(Unused(KeyringError::None)));
        sign_ins.save(ONE, &signed_in("a@x.com")).unwrap();
        let path = sign_ins.folder().path_of(FILE_NAME);
        let shown = path.display();
        let again = format!("`rm {shown}`, then sign in again with `doorward login`");
        #[rustfmt::skip]
        let cases = [
            ("",                              format!("{shown} is damaged (EOF while parsing a value at line 1 column 0): {again}")),
            (r#"{"version":1,"servers":1}"#,  format!("{shown} is damaged (invalid type: integer `1`, expected a map at line 1 column 24): {again}")),
            (r#"{"version":3}"#,              format!("{shown} is of version 3, and this `doorward` reads versions 1 and 2: use the `doorward` that wrote it")),
        ];
        for (text, expected) in cases {
            fs::write(&path, text).unwrap();
            assert_eq!(sign_ins.load(ONE).unwrap_err().to_string(), expected);
            assert_eq!(sign_ins.save(ONE, &signed_in("b@x.com")).unwrap_err().to_string(), expected);
            assert_eq!(fs::read(&path).unwrap(), text.as_bytes());
        }
    }
}
