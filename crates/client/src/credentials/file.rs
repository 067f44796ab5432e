//! Files that hold credentials, read within bounds.

use std::fs::{self, File};
use std::io::{Error, ErrorKind, Read as _, Result};
use std::path::Path;

use crate::transport::ANSWER_LIMIT;

/// The bytes of a file of at most 1 MiB.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(ANSWER_LIMIT).unwrap_or(u64::MAX);
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > ANSWER_LIMIT {
        return Err(Error::new(ErrorKind::FileTooLarge, "it is longer than 1 MiB"));
    }
    Ok(bytes)
}

/// As [`read`], of a regular file alone: opening a pipe into which nobody writes waits for ever, and with it would all who wait for
/// the token.
pub(super) fn read_regular(path: &Path) -> Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    read(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_a_mebibyte() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        // bytes => whether they are read
        for (length, good) in [(0, true), (ANSWER_LIMIT, true), (ANSWER_LIMIT + 1, false)] {
            fs::write(&path, vec![b'x'; length]).unwrap();
            let lengths = [read(&path), read_regular(&path)].map(|bytes| bytes.ok().map(|bytes| bytes.len()));
            assert_eq!(lengths, [good.then_some(length); 2]);
        }
        assert_eq!(read_regular(dir.path()).unwrap_err().to_string(), "it is no regular file");
    }

    #[cfg(unix)]
    #[test]
    fn what_never_ends_is_no_file_of_credentials() {
        let endless = Path::new("/dev/zero");
        assert_eq!(read(endless).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!(read_regular(endless).unwrap_err().to_string(), "it is no regular file");
    }
}
