//! Up to where a sink has the record: kept in a file, so that nothing is left out when the process ends.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use doorward_core::audit::ChainLink;
use serde::{Deserialize, Serialize};

use crate::serve::state::replace;

/// Why it is not known up to where.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// The file cannot be read or written.
    #[error("cannot read or write {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        cause: io::Error,
    },
    /// The file holds something else.
    #[error(
        "{} does not say up to where the sink has the record: remove it to send everything that is kept again",
        .0.display()
    )]
    Damaged(PathBuf),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    sequence: i64,
    hash: String,
}

/// The place of one sink in the record. Entries are sent before it moves: after a crash some are sent twice, and none is left out.
#[derive(Debug)]
pub(super) struct Cursor {
    path: PathBuf,
    at: ChainLink,
}

impl Cursor {
    /// Reads the place of this sink; the beginning if it has none.
    ///
    /// # Errors
    /// [`CursorError`]: nothing may be sent, for it is not known what was.
    pub(super) fn open(folder: &Path, sink: &str) -> Result<Self, CursorError> {
        let path = folder.join(format!("{sink}.cursor"));
        let at = match fs::read(&path) {
            Ok(text) => match serde_json::from_slice(&text) {
                Ok(Written { sequence, hash }) => ChainLink { sequence, hash },
                Err(_) => return Err(CursorError::Damaged(path)),
            },
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => ChainLink::start(),
            Err(cause) => return Err(CursorError::Io { path, cause }),
        };
        Ok(Cursor { path, at })
    }

    /// The last event that the sink has.
    pub(super) fn at(&self) -> &ChainLink {
        &self.at
    }

    /// Moves on. Not before the sink has everything up to there.
    ///
    /// # Errors
    /// [`CursorError`]: what was sent will be sent again.
    pub(super) fn move_to(&mut self, at: ChainLink) -> Result<(), CursorError> {
        let written = Written { sequence: at.sequence, hash: at.hash.clone() };
        let text = serde_json::to_vec(&written).map_err(io::Error::from);
        text.and_then(|text| replace(&self.path, &text))
            .map_err(|cause| CursorError::Io { path: self.path.clone(), cause })?;
        self.at = at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_again_and_a_damaged_one_is_no_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let mut cursor = Cursor::open(folder.path(), "file").unwrap();
        assert_eq!(*cursor.at(), ChainLink::start());
        let link = ChainLink { sequence: 7, hash: "ab".into() };
        cursor.move_to(link.clone()).unwrap();
        assert_eq!(*Cursor::open(folder.path(), "file").unwrap().at(), link);
        assert_eq!(*Cursor::open(folder.path(), "other").unwrap().at(), ChainLink::start());
        for text in ["", "7", r#"{"sequence": 7}"#, r#"{"sequence":7,"hash":"ab","x":1}"#] {
            fs::write(folder.path().join("file.cursor"), text).unwrap();
            assert!(matches!(Cursor::open(folder.path(), "file"), Err(CursorError::Damaged(_))), "{text:?}");
        }
    }
}
