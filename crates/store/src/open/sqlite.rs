//! Opening: a database is looked at without touching it, and only then opened for writing. A new one appears whole, under
//! its name, or not at all; so an empty file is never one that we were about to fill.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use doorward_core::entropy::SystemEntropy;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _};

use super::{Age, Damage, Location, OpenError, POLL};
use crate::backup::{Backup, RestoreError};
use crate::db::{Db, begin_sqlite};
use crate::migrations::{APPLICATION_ID, MigrateError, SCHEMA_VERSION, SEALED_SINCE, is_key_of, migrate};
use crate::seal::{KeyFileError, Sealer};
use crate::sql::SqlStore;
use crate::watch::Watch;

/// Spec: <https://www.sqlite.org/fileformat2.html#page_size>
const SMALLEST_PAGE: u64 = 512;

/// One statement of another connection takes milliseconds: after this long, something is stuck.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;

impl SqlStore {
    /// Opens the SQLite database in this file, made new if there is none (mode 0600, in a directory that exists). The key that
    /// seals its secrets is in the file beside it whose name ends in `.key`, which is made with a new database.
    ///
    /// The caller holds the directory against other instances of Doorward: two may not create or open one database at the
    /// same moment.
    ///
    /// # Errors
    /// [`OpenError`]; nothing in the database was changed.
    pub async fn open(path: &Path) -> Result<SqlStore, OpenError> {
        // SQLite takes a name that begins with `file:` for a URI; an absolute path never does.
        let path = &std::path::absolute(path).map_err(|error| unwritable(path, error))?;
        let found = look(path).await?;
        let key_file = beside(path, ".key");
        // A new key would open nothing of what another one sealed.
        let sealed = found.as_ref().is_some_and(|found| found.version >= SEALED_SINCE);
        let sealer =
            if sealed { Sealer::from_file(&key_file) } else { Sealer::from_file_or_new(&key_file, &SystemEntropy) };
        let sealer = sealer.map_err(|cause| match cause {
            KeyFileError::Io(cause) if !sealed => unwritable(path, cause),
            cause => OpenError::KeyFile { location: location(path), path: key_file, cause },
        })?;
        SqlStore::open_found(path, found, sealer).await
    }

    /// As [`SqlStore::open`], with a key that is kept somewhere else.
    ///
    /// # Errors
    /// [`OpenError`]; nothing in the database was changed.
    pub async fn open_sealed(path: &Path, sealer: Sealer) -> Result<SqlStore, OpenError> {
        let path = &std::path::absolute(path).map_err(|error| unwritable(path, error))?;
        let found = look(path).await?;
        SqlStore::open_found(path, found, sealer).await
    }

    async fn open_found(path: &Path, found: Option<Found>, sealer: Sealer) -> Result<SqlStore, OpenError> {
        match found {
            None => create(path, &sealer, |_| async { Ok::<(), OpenError>(()) }).await?,
            Some(Found { check: Some(check), .. }) if !is_key_of(&sealer, &check) => {
                return Err(not_migrated(path, MigrateError::WrongKey, &sealer));
            }
            Some(_) => {}
        }
        let db = connect(path, &sealer).await.map_err(|error| not_migrated(path, error, &sealer))?;
        Ok(SqlStore::new(db, sealer, Watch::new(POLL)))
    }

    /// Makes the SQLite database in this file, which is not there, and fills it from a backup: the file appears whole or not at all.
    ///
    /// # Errors
    /// [`RestoreError`]; no database was made then.
    pub async fn restore_sqlite(path: &Path, sealer: &Sealer, backup: Backup) -> Result<(), RestoreError> {
        let path = &std::path::absolute(path).map_err(|error| unwritable(path, error))?;
        match look(path).await? {
            None => {
                let fill = |only: SqlitePool| async move {
                    let mut change = begin_sqlite(&only).await?;
                    backup.fill(&mut change).await?;
                    Ok(change.commit().await?)
                };
                create(path, sealer, fill).await
            }
            // It came between the caller's look and ours.
            Some(_) => Err(unwritable(path, io::ErrorKind::AlreadyExists.into()).into()),
        }
    }

    /// How old the SQLite database in this file is. Changes nothing.
    ///
    /// # Errors
    /// [`OpenError`] of one that could not be opened either.
    pub async fn age(path: &Path) -> Result<Age, OpenError> {
        let path = &std::path::absolute(path).map_err(|error| unwritable(path, error))?;
        Ok(look(path).await?.map_or(Age::New, |found| Age::of(found.version)))
    }

    /// A database in memory, on one connection: it ends with the store.
    ///
    /// # Errors
    /// [`OpenError`] if SQLite cannot start.
    pub async fn in_memory() -> Result<SqlStore, OpenError> {
        let path = Path::new(":memory:");
        let key = |cause| OpenError::KeyFile { location: location(path), path: path.to_owned(), cause };
        let sealer = Sealer::ephemeral(&SystemEntropy).map_err(key)?;
        let only = one_connection().connect_with(SqliteConnectOptions::new().filename(path)).await;
        let only = only.map_err(|error| classified(location(path), error))?;
        bring_up_to_date(&only, &sealer).await.map_err(|error| not_migrated(path, error, &sealer))?;
        Ok(SqlStore::new(
            Db::Sqlite { writer: only.clone(), auditor: only.clone(), readers: only },
            sealer,
            Watch::new(POLL),
        ))
    }
}

/// What is known of a database that was not opened for writing.
struct Found {
    version: i64,
    /// The text by which a key is known.
    check: Option<Vec<u8>>,
}

/// What the database is, `None` if there is none. Changes nothing.
async fn look(path: &Path) -> Result<Option<Found>, OpenError> {
    match (file_length(path)?, file_length(&beside(path, "-wal"))?) {
        (None, None | Some(0)) => Ok(None),
        // Without this, SQLite would play the old log into the new database.
        (None, Some(_)) => Err(damaged(path, Damage::Missing)),
        (Some(0), _) => Err(damaged(path, Damage::Empty)),
        // SQLite takes these for empty.
        (Some(1..SMALLEST_PAGE), _) => Err(damaged(path, Damage::NotADatabase)),
        (Some(_), _) => inspect(path).await.map(Some),
    }
}

/// Makes the database under another name, has it filled, and gives it its own name when it is whole and on the disk.
async fn create<E, F>(path: &Path, sealer: &Sealer, fill: impl FnOnce(SqlitePool) -> F) -> Result<(), E>
where
    E: From<OpenError>,
    F: Future<Output = Result<(), E>>,
{
    let io = |error| unwritable(path, error);
    let unfinished = beside(path, ".new");
    // What a process left that was killed here.
    for left in [&unfinished, &beside(&unfinished, "-journal")] {
        match fs::remove_file(left) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error).into()),
            Ok(()) | Err(_) => {}
        }
    }
    // SQLite gives the files that it makes beside the database the database's own mode.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished).map_err(io)?;
    let built = async {
        let options = SqliteConnectOptions::new().filename(&unfinished).synchronous(SqliteSynchronous::Full);
        let only = one_connection().connect_with(options).await.map_err(|error| classified(location(path), error))?;
        let built = bring_up_to_date(&only, sealer).await.map_err(|error| not_migrated(path, error, sealer).into());
        let filled = match built {
            Ok(()) => fill(only.clone()).await,
            Err(error) => Err(error),
        };
        only.close().await;
        filled
    };
    let finished = match built.await {
        Ok(()) => fs::rename(&unfinished, path).map_err(|error| io(error).into()),
        Err(error) => Err(error),
    };
    if finished.is_err() {
        // Best effort: the next start removes it too.
        let _ = fs::remove_file(&unfinished);
    }
    finished?;
    let directory = path.parent().unwrap_or(path);
    Ok(fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)?)
}

/// Says what an existing database is, if we can use it, and leaves no trace: not in it, nor beside it.
async fn inspect(path: &Path) -> Result<Found, OpenError> {
    let (log, index) = (&beside(path, "-wal"), &beside(path, "-shm"));
    loop {
        let has_log = file_length(log)?.unwrap_or(0) > 0;
        let has_index = file_length(index)?.is_some();
        let options = SqliteConnectOptions::new().read_only(true).busy_timeout(BUSY_TIMEOUT);
        let outcome = match (has_log, has_index) {
            // Closed properly: the database is one file. `immutable` makes SQLite neither lock nor create anything.
            (false, _) => judge(path, options.filename(path).immutable(true)).await,
            // Left by a killed process: what counts is the database with its log.
            (true, true) => judge(path, options.filename(format!("file:{}?readonly_shm=1", uri_path(path)))).await,
            (true, false) => {
                let outcome = judge(path, options.filename(path)).await;
                // SQLite made an index to read the log. Nobody else uses it: an open database has one.
                let _ = fs::remove_file(index);
                outcome
            }
        };
        // A store of this process that was dropped closes in the background: it took its files away under our eyes.
        let vanished = has_log && has_index && file_length(index)?.is_none();
        if outcome.is_ok() || !vanished {
            return outcome;
        }
    }
}

async fn judge(path: &Path, options: SqliteConnectOptions) -> Result<Found, OpenError> {
    let mut connection = options.connect().await.map_err(|error| classified(location(path), error))?;
    let verdict = verdict(path, &mut connection).await;
    // It only read: nothing can be lost by what goes wrong here.
    let _ = connection.close().await;
    verdict
}

async fn verdict(path: &Path, connection: &mut SqliteConnection) -> Result<Found, OpenError> {
    let number = async |connection: &mut SqliteConnection, pragma: &'static str| {
        sqlx::query_scalar::<_, i64>(pragma)
            .fetch_one(connection)
            .await
            .map_err(|error| classified(location(path), error))
    };
    if number(connection, "PRAGMA application_id").await? != APPLICATION_ID {
        return Err(damaged(path, Damage::Foreign));
    }
    let found = number(connection, "PRAGMA user_version").await?;
    if found > SCHEMA_VERSION {
        return Err(OpenError::Newer { location: location(path), found, known: SCHEMA_VERSION });
    }
    let findings: Vec<String> = sqlx::query_scalar("PRAGMA quick_check(1)")
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| classified(location(path), error))?;
    if findings != ["ok"] {
        return Err(damaged(path, Damage::Inconsistent));
    }
    // Without such a table there is no key to compare; that it should be there is found when the schema is.
    let check = sqlx::query_scalar("SELECT value FROM sealing WHERE id = 1").fetch_optional(connection).await;
    Ok(Found { version: found, check: check.unwrap_or(None) })
}

async fn connect(path: &Path, sealer: &Sealer) -> Result<Db, MigrateError> {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT).foreign_keys(true);
    let writing = options.clone().journal_mode(SqliteJournalMode::Wal);
    let open = async |options| one_connection().connect_with(options).await.map_err(crate::db::failed);
    let writer = open(writing.clone().synchronous(SqliteSynchronous::Full)).await?;
    bring_up_to_date(&writer, sealer).await?;
    let auditor = open(writing.synchronous(SqliteSynchronous::Normal)).await?;
    let readers = pool(READERS).connect_lazy_with(options.read_only(true));
    Ok(Db::Sqlite { writer, auditor, readers })
}

/// Applies what is missing, all or nothing. Takes the write lock in any case, so that a database that cannot be written is
/// found out now.
async fn bring_up_to_date(writer: &SqlitePool, sealer: &Sealer) -> Result<(), MigrateError> {
    let run = async |text: &'static str| sqlx::raw_sql(text).execute(writer).await.map_err(crate::db::failed);
    // What is overwritten or removed is overwritten with zeros: secrets that were not sealed.
    run("PRAGMA secure_delete = ON").await?;
    let mut change = begin_sqlite(writer).await?;
    let found = migrate(&mut change, sealer).await?;
    change.commit().await?;
    if (1..SEALED_SINCE).contains(&found) {
        // The log still has the pages as they were.
        run("PRAGMA wal_checkpoint(TRUNCATE)").await?;
    }
    run("PRAGMA secure_delete = OFF").await?;
    Ok(())
}

fn one_connection() -> SqlitePoolOptions {
    pool(1)
}

/// A connection is a thread in this process: it does not go stale, so it is neither tested nor replaced. But when the disk
/// is full, SQLite ends a transaction by itself, and the driver goes on to count it as open: no other could ever begin on
/// that connection. So one that still counts a transaction after it was given back, and after the rollback that a ping waits
/// for, is closed, and the next use opens another.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_release(|connection, _| {
            Box::pin(async move { Ok(connection.ping().await.is_ok() && !connection.is_in_transaction()) })
        })
}

fn file_length(path: &Path) -> Result<Option<u64>, OpenError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(unwritable(path, io::ErrorKind::IsADirectory.into())),
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unwritable(path, error)),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// A path in a URI of SQLite (<https://www.sqlite.org/uri.html>).
fn uri_path(path: &Path) -> String {
    let mut encoded = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => encoded.push(char::from(*byte)),
            byte => encoded.push_str(&format!("%{byte:02x}")),
        }
    }
    encoded
}

fn location(path: &Path) -> Location {
    Location::File(path.to_owned())
}

fn damaged(path: &Path, damage: Damage) -> OpenError {
    OpenError::Damaged { location: location(path), damage }
}

fn unwritable(path: &Path, cause: io::Error) -> OpenError {
    OpenError::Unwritable { location: location(path), cause: Box::new(cause) }
}

fn not_migrated(path: &Path, error: MigrateError, sealer: &Sealer) -> OpenError {
    location(path).not_migrated(error, sealer.source(), classified)
}

/// Sorts by SQLite's primary result codes (<https://www.sqlite.org/rescode.html>).
fn classified(location: Location, error: sqlx::Error) -> OpenError {
    const PERM: i32 = 3;
    const READONLY: i32 = 8;
    const CORRUPT: i32 = 11;
    const FULL: i32 = 13;
    const CANTOPEN: i32 = 14;
    const NOTADB: i32 = 26;
    let code = error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<i32>().ok());
    match code.map(|extended| extended & 0xff) {
        Some(NOTADB) => OpenError::Damaged { location, damage: Damage::NotADatabase },
        Some(CORRUPT) => OpenError::Damaged { location, damage: Damage::Inconsistent },
        Some(PERM | READONLY | FULL | CANTOPEN) => OpenError::Unwritable { location, cause: Box::new(error) },
        _ => OpenError::Unavailable { location, cause: Box::new(error) },
    }
}
