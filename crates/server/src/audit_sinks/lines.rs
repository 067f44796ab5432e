//! Entries as JSON lines, in a file or on standard output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use doorward_wire::google_api::audit_log::LogEntry;

/// One line for each entry.
///
/// # Errors
/// The error of serde if an entry cannot be written as JSON.
pub(super) fn lines(entries: &[LogEntry]) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut text, entry)?;
        text.push(b'\n');
    }
    Ok(text)
}

/// A file to which lines are appended. Whatever moves it away (`logrotate`) finds a new one in its place with the next lines.
#[derive(Debug)]
pub(super) struct LinesFile {
    path: PathBuf,
    open: Option<File>,
}

impl LinesFile {
    pub(super) fn new(path: PathBuf) -> Self {
        LinesFile { path, open: None }
    }

    /// Appends, and returns when the lines are on the disk.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut file = match self.open.take() {
            Some(file) if is_still_there(&file, &self.path) => file,
            Some(_) | None => open(&self.path)?,
        };
        // One that fails is opened anew: a part of a line may stand at its end.
        file.write_all(lines)?;
        file.sync_data()?;
        self.open = Some(file);
        Ok(())
    }

    /// Opens it anew with the next lines.
    pub(super) fn reopen(&mut self) {
        self.open = None;
    }
}

/// Opens a file of mode 0600 at its end, and ends a line that a killed process left there.
///
/// One that is there keeps its mode: a group may read it, which is how the record is given to whoever ships it. But others must not
/// read who was where, and nobody else write it.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(0o600);
    let mut file = match options.clone().create_new(true).open(path) {
        Ok(file) => {
            synced(path)?;
            file
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(path)?,
        Err(error) => return Err(error),
    };
    let found = file.metadata()?;
    if found.is_file() && found.permissions().mode() & 0o026 != 0 {
        let problem = format!("others may read or write it: `chmod g-w,o= {}`", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
    }
    if found.is_file() && file.seek(SeekFrom::End(0))? > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

/// The name of a new file is on the disk when its folder is. Before that, the sink must not count as having what is in it.
fn synced(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn is_still_there(file: &File, path: &Path) -> bool {
    let identity = |found: fs::Metadata| (found.dev(), found.ino());
    let (open, there) = (file.metadata().map(identity), fs::metadata(path).map(identity));
    matches!((open, there), (Ok(open), Ok(there)) if open == there)
}

/// Writes lines to standard output.
pub(super) fn print(lines: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(lines)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_appended_and_a_file_that_was_moved_away_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("audit.jsonl"), folder.path().join("audit.jsonl.1"));
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        let mut file = LinesFile::new(path.clone());
        file.append(b"1\n").unwrap();
        file.append(b"2\n").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::rename(&path, &moved).unwrap();
        file.append(b"3\n").unwrap();
        assert_eq!((read(&moved).as_str(), read(&path).as_str()), ("1\n2\n", "3\n"));
        fs::remove_file(&path).unwrap();
        file.append(b"4\n").unwrap();
        assert_eq!(read(&path), "4\n");
        file.reopen();
        file.append(b"5\n").unwrap();
        assert_eq!(read(&path), "4\n5\n");
    }

    #[test]
    fn a_file_that_others_may_read_or_write_is_refused_and_one_that_a_group_may_read_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        for (mode, taken) in
            [(0o600, true), (0o640, true), (0o644, false), (0o660, false), (0o602, false), (0o604, false)]
        {
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let outcome = LinesFile::new(path.clone()).append(b"1\n");
            assert_eq!(outcome.is_ok(), taken, "{mode:o}");
            let told = outcome.map_err(|error| error.to_string()).err().unwrap_or_default();
            assert_eq!(told.contains("`chmod g-w,o= "), !taken, "{told}");
            assert_eq!(fs::read_to_string(&path).unwrap(), if taken { "1\n" } else { "" });
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "it is not ours to change");
        }
    }

    #[test]
    fn half_a_line_of_a_killed_process_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        LinesFile::new(path.clone()).append(b"1\n{\"half").unwrap();
        LinesFile::new(path.clone()).append(b"2\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n{\"half\n2\n");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("later/audit.jsonl");
        let mut file = LinesFile::new(path.clone());
        assert!(file.append(b"1\n").is_err());
        fs::create_dir(path.parent().unwrap()).unwrap();
        file.append(b"1\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    }
}
