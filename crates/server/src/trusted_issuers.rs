//! The operator's list of issuers beside ourselves, as a file says it: `[[trusted_issuer]]` tables in TOML.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use doorward_core::issuer::{OwnNames, TrustedIssuer, TrustedIssuers, TrustedIssuersError};
use doorward_wire::jose::VerifyingKeys;
use serde::Deserialize;

/// Why a list is not taken. Nothing is served with one that is not.
#[derive(Debug, thiserror::Error)]
pub enum TrustedIssuersFileError {
    /// The file, or a key document that it names, cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Not TOML, or not a list of issuers; says the line.
    #[error("{}, line {line}, column {column}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// Where in the line, from 1, in characters.
        column: usize,
        /// Why, on one line.
        message: String,
    },
    /// An id is malformed.
    #[error("{}: trusted issuer {id:?}: {error}", path.display())]
    Id {
        /// The file.
        path: PathBuf,
        /// As it is written.
        id: String,
        /// Why.
        error: doorward_core::issuer::IssuerIdError,
    },
    /// `insecure_loopback` where it is not taken.
    #[error("{}: trusted issuer {id:?}: insecure_loopback is for `doorward dev`: remove it, and use https", path.display())]
    InsecureLoopback {
        /// The file.
        path: PathBuf,
        /// The entry.
        id: String,
    },
    /// A key document holds no key that can be used.
    #[error("{}: there is no RS256 or ES256 key for signatures in it that has a kid of its own", path.display())]
    Keys {
        /// The key document.
        path: PathBuf,
    },
    /// The entries do not go together.
    #[error("{}: {error}", path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// Why.
        error: TrustedIssuersError,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    trusted_issuer: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    issuer: String,
    audiences: Vec<String>,
    #[serde(default)]
    email_domains: Vec<String>,
    #[serde(default)]
    google: bool,
    #[serde(default)]
    insecure_loopback: bool,
    /// Relative to the list.
    #[serde(default)]
    jwks_file: Option<PathBuf>,
}

/// Reads a list.
///
/// # Errors
/// [`TrustedIssuersFileError`], which says the file and what is wrong in it.
pub(crate) fn read(
    path: &Path,
    own: OwnNames<'_>,
    allows_insecure_loopback: bool,
) -> Result<TrustedIssuers, TrustedIssuersFileError> {
    use TrustedIssuersFileError as E;
    let text = |path: &Path| std::fs::read_to_string(path).map_err(|error| E::Read { path: path.to_owned(), error });
    let list = text(path)?;
    let file: File = toml::from_str(&list).map_err(|error| syntax(path, &list, &error))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut entries = Vec::new();
    for entry in file.trusted_issuer {
        let path = path.to_owned();
        if entry.insecure_loopback && !allows_insecure_loopback {
            return Err(E::InsecureLoopback { path, id: entry.id });
        }
        let id = match entry.id.parse() {
            Ok(id) => id,
            Err(error) => return Err(E::Id { path, id: entry.id, error }),
        };
        let jwks: Option<Arc<str>> = match &entry.jwks_file {
            None => None,
            Some(file) => {
                let path = folder.join(file);
                let document = text(&path)?;
                let keys = VerifyingKeys::from_foreign_document(document.as_bytes());
                if !keys.is_ok_and(|keys| !keys.is_empty()) {
                    return Err(E::Keys { path });
                }
                Some(document.into())
            }
        };
        entries.push(TrustedIssuer {
            id,
            issuer: entry.issuer,
            audiences: entry.audiences,
            email_domains: entry.email_domains,
            google: entry.google,
            insecure_loopback: entry.insecure_loopback,
            jwks,
        });
    }
    TrustedIssuers::new(entries, own).map_err(|error| E::List { path: path.to_owned(), error })
}

/// The mistake in one line. The library's own text draws the place below the line, for a terminal alone.
fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> TrustedIssuersFileError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    TrustedIssuersFileError::Syntax {
        path: path.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message: error.message().lines().collect::<Vec<_>>().join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [[trusted_issuer]]
        id = "corp"
        issuer = "https://login.corp.example"
        audiences = ["https://wiki.corp.example"]
        email_domains = ["corp.example"]
    "#;

    #[test]
    fn a_list_is_read_or_refused_with_the_file_and_the_mistake() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("keys.json"), r#"{"keys":[{"kty":"oct","kid":"a"}]}"#).unwrap();
        let issuers = ["https://accounts.google.com", "https://cloud.google.com/iap"];
        let own = OwnNames { issuers: &issuers, project_id: "doorward-dev" };
        let with = |line: &str| format!("{GOOD}{line}\n");
        let stand_in = |id: &str, port: u16| {
            format!(
                "[[trusted_issuer]]\nid = \"{id}\"\nissuer = \"http://127.0.0.1:{port}\"\naudiences = [\"a\"]\n\
                 google = true\ninsecure_loopback = true\n"
            )
        };
        #[rustfmt::skip]
        let cases = [
            (String::new(),                                                true,  "ok"),
            (GOOD.to_owned(),                                              true,  "ok"),
            (with("insecure_loopback = true"),                             true,  "ok"),
            (with("insecure_loopback = true"),                             false, "insecure_loopback is for `doorward dev`"),
            (with("googel = true"),                                        true,  "unknown field `googel`"),
            (with("google = 1"),                                           true,  "line 7, column 14: invalid type: integer `1`, expected a boolean"),
            ("[[trusted_issuer]\nid = 1".to_owned(),                       true,  "issuers.toml, line 1, column 18: unclosed"),
            (GOOD.replace("https://login.corp.example", "http://127.0.0.1:9000"), true, "set `insecure_loopback = true`"),
            (with("jwks_file = \"keys.json\""),                            true,  "no RS256 or ES256 key"),
            (with("jwks_file = \"gone.json\""),                            true,  "cannot read"),
            (GOOD.replace("\"corp\"", "\"Corp\""),                         true,  "an id has"),
            (GOOD.replace("https://login.corp.example", "https://accounts.google.com"), true, "the real Google cannot be trusted beside"),
            (GOOD.replace("https://login.corp.example", "https://cloud.google.com/iap"), true, "of our own tokens and cannot be trusted as another: remove"),
            (with("google = true"),                                        true,  "neither \"https://accounts.google.com\" nor on this machine"),
            (stand_in("g", 1),                                             true,  "ok"),
            (stand_in("g", 1),                                             false, "insecure_loopback is for `doorward dev`"),
            (stand_in("g", 1) + &stand_in("h", 2),                         true,  "\"g\" and \"h\" are both marked `google = true`"),
            (format!("{GOOD}{}", GOOD.replace("\"corp\"", "\"b\"")),       true,  "both claim the domain corp.example"),
        ];
        for (text, allows, expected) in cases {
            let path = folder.path().join("issuers.toml");
            std::fs::write(&path, &text).unwrap();
            match read(&path, own, allows) {
                Ok(_) => assert_eq!(expected, "ok", "{text}"),
                Err(error) => {
                    let told = error.to_string();
                    assert!(told.contains(expected) && !told.contains('\n'), "{text}: {told}");
                }
            }
        }
        assert!(matches!(read(folder.path(), own, true), Err(TrustedIssuersFileError::Read { .. })));
    }
}
