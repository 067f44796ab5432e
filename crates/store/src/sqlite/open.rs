//! Opening: a database is looked at without touching it, and only then opened for writing. A new one appears whole, under
//! its name, or not at all; so an empty file is never one that we were about to fill.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::SqliteStore;
use super::recent_tokens::RecentTokens;

/// The number of a migration is its place, from 1; `PRAGMA user_version` holds that of the last one that was applied.
const MIGRATIONS: [&str; 3] = [
    include_str!("../../migrations/0001_initial.sql"),
    include_str!("../../migrations/0002_sign_in.sql"),
    include_str!("../../migrations/0003_federation.sql"),
];
const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// `PRAGMA application_id`: the letters `Drwd`. Tells a database of ours from that of another program.
const APPLICATION_ID: i64 = 0x4472_7764;

/// Spec: <https://www.sqlite.org/fileformat2.html#page_size>
const SMALLEST_PAGE: u64 = 512;

/// One statement of another connection takes milliseconds: after this long, something is stuck.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;

/// Why a database was not opened. Nothing on the disk was changed. Each message is one line for the person who started us.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database cannot be used, and we do not repair it.
    #[error(
        "the database {} is damaged: {damage}. Nothing was changed. Restore it from a backup, or move it away, together \
         with the files beside it whose names begin with its name, to start with a new one",
        path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// In what way.
        damage: Damage,
    },
    /// The database was written by a later version of Doorward.
    #[error(
        "the database {} was written by a newer version of doorward (schema {found}; this one knows up to {known}). \
         Nothing was changed. Start that version or a later one",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The last one that we know.
        known: i64,
    },
    /// The database or its directory cannot be written, or is not there.
    #[error(
        "the database {} cannot be written ({cause}). Its directory must exist, and both must belong to the user that \
         starts doorward",
        path.display()
    )]
    Unwritable {
        /// The database.
        path: PathBuf,
        /// What the system said.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database could not be opened now: it is locked, or the disk fails.
    #[error(
        "the database {} could not be opened ({cause}). Stop other programs that use it, then try again",
        path.display()
    )]
    Unavailable {
        /// The database.
        path: PathBuf,
        /// What the system said.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// In what way a database is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The file has no bytes.
    #[error("it is empty")]
    Empty,
    /// The file has not the form of a database.
    #[error("it is not a SQLite database")]
    NotADatabase,
    /// A SQLite database, but not one that we made.
    #[error("it is a SQLite database of another program")]
    Foreign,
    /// Its inner structure is broken.
    #[error("its pages are not consistent")]
    Inconsistent,
    /// The `-wal` file is there, the database is not.
    #[error("only its -wal file is there")]
    Missing,
}

impl SqliteStore {
    /// Opens the database in this file, made new if there is none (mode 0600, in a directory that exists).
    ///
    /// The caller holds the directory against other instances of Doorward: two may not create or open one database at the
    /// same moment.
    ///
    /// # Errors
    /// [`OpenError`]; nothing on the disk was changed.
    pub async fn open(path: &Path) -> Result<SqliteStore, OpenError> {
        // SQLite takes a name that begins with `file:` for a URI; an absolute path never does.
        let path = &std::path::absolute(path).map_err(|error| unwritable(path, error))?;
        match (file_length(path)?, file_length(&beside(path, "-wal"))?) {
            (None, None | Some(0)) => create(path).await?,
            // Without this, SQLite would play the old log into the new database.
            (None, Some(_)) => return Err(damaged(path, Damage::Missing)),
            (Some(0), _) => return Err(damaged(path, Damage::Empty)),
            // SQLite takes these for empty.
            (Some(1..SMALLEST_PAGE), _) => return Err(damaged(path, Damage::NotADatabase)),
            (Some(_), _) => inspect(path).await?,
        }
        connect(path).await.map_err(|error| classified(path, error))
    }

    /// A database in memory, on one connection: it ends with the store.
    ///
    /// # Errors
    /// [`OpenError`] if SQLite cannot start.
    pub async fn in_memory() -> Result<SqliteStore, OpenError> {
        let path = Path::new(":memory:");
        let only = one_connection().connect_with(SqliteConnectOptions::new().filename(path)).await;
        let only = only.map_err(|error| classified(path, error))?;
        let mut connection = only.acquire().await.map_err(|error| classified(path, error))?;
        migrate(&mut connection).await.map_err(|error| classified(path, error))?;
        drop(connection);
        Ok(SqliteStore {
            writer: only.clone(),
            auditor: only.clone(),
            readers: only,
            recent_tokens: RecentTokens::default(),
        })
    }
}

/// Makes the database under another name and gives it its own when it is whole and on the disk.
async fn create(path: &Path) -> Result<(), OpenError> {
    let io = |error| unwritable(path, error);
    let unfinished = beside(path, ".new");
    // What a process left that was killed here.
    for left in [&unfinished, &beside(&unfinished, "-journal")] {
        match fs::remove_file(left) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            Ok(()) | Err(_) => {}
        }
    }
    // SQLite gives the files that it makes beside the database the database's own mode.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished).map_err(io)?;
    let built = async {
        let options = SqliteConnectOptions::new().filename(&unfinished).synchronous(SqliteSynchronous::Full);
        let mut connection = options.connect().await?;
        migrate(&mut connection).await?;
        connection.close().await
    };
    let finished = match built.await {
        Ok(()) => fs::rename(&unfinished, path).map_err(io),
        Err(error) => Err(classified(path, error)),
    };
    if finished.is_err() {
        // Best effort: the next start removes it too.
        let _ = fs::remove_file(&unfinished);
    }
    finished?;
    let directory = path.parent().unwrap_or(path);
    fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)
}

/// Says whether we can use an existing database, and leaves no trace: not in it, nor beside it.
async fn inspect(path: &Path) -> Result<(), OpenError> {
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

async fn judge(path: &Path, options: SqliteConnectOptions) -> Result<(), OpenError> {
    let mut connection = options.connect().await.map_err(|error| classified(path, error))?;
    let verdict = verdict(path, &mut connection).await;
    // It only read: nothing can be lost by what goes wrong here.
    let _ = connection.close().await;
    verdict
}

async fn verdict(path: &Path, connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let number = async |connection: &mut SqliteConnection, pragma: &'static str| {
        sqlx::query_scalar::<_, i64>(pragma).fetch_one(connection).await.map_err(|error| classified(path, error))
    };
    if number(connection, "PRAGMA application_id").await? != APPLICATION_ID {
        return Err(damaged(path, Damage::Foreign));
    }
    let found = number(connection, "PRAGMA user_version").await?;
    if found > SCHEMA_VERSION {
        return Err(OpenError::Newer { path: path.to_owned(), found, known: SCHEMA_VERSION });
    }
    let findings: Vec<String> = sqlx::query_scalar("PRAGMA quick_check(1)")
        .fetch_all(connection)
        .await
        .map_err(|error| classified(path, error))?;
    if findings != ["ok"] {
        return Err(damaged(path, Damage::Inconsistent));
    }
    Ok(())
}

async fn connect(path: &Path) -> Result<SqliteStore, sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT).foreign_keys(true);
    let writing = options.clone().journal_mode(SqliteJournalMode::Wal);
    let writer = one_connection().connect_with(writing.clone().synchronous(SqliteSynchronous::Full)).await?;
    let mut connection = writer.acquire().await?;
    migrate(&mut connection).await?;
    drop(connection);
    let auditor = one_connection().connect_with(writing.synchronous(SqliteSynchronous::Normal)).await?;
    let readers = pool(READERS).connect_lazy_with(options.read_only(true));
    Ok(SqliteStore { writer, auditor, readers, recent_tokens: RecentTokens::default() })
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

/// Applies what is missing, all or nothing. Takes the write lock in any case, so that a database that cannot be written is
/// found out now.
async fn migrate(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut change = connection.begin_with("BEGIN IMMEDIATE").await?;
    let applied: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *change).await?;
    let missing = MIGRATIONS.iter().skip(usize::try_from(applied).unwrap_or(0));
    for migration in missing.clone() {
        sqlx::raw_sql(*migration).execute(&mut *change).await?;
    }
    if missing.len() > 0 {
        // A pragma takes no parameters; both numbers are ours.
        let marks = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}");
        sqlx::raw_sql(AssertSqlSafe(marks)).execute(&mut *change).await?;
    }
    change.commit().await
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

fn damaged(path: &Path, damage: Damage) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), damage }
}

fn unwritable(path: &Path, cause: io::Error) -> OpenError {
    OpenError::Unwritable { path: path.to_owned(), cause: Box::new(cause) }
}

/// Sorts by SQLite's primary result codes (<https://www.sqlite.org/rescode.html>).
fn classified(path: &Path, error: sqlx::Error) -> OpenError {
    const PERM: i32 = 3;
    const READONLY: i32 = 8;
    const CORRUPT: i32 = 11;
    const FULL: i32 = 13;
    const CANTOPEN: i32 = 14;
    const NOTADB: i32 = 26;
    let code = error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<i32>().ok());
    let path = path.to_owned();
    match code.map(|extended| extended & 0xff) {
        Some(NOTADB) => OpenError::Damaged { path, damage: Damage::NotADatabase },
        Some(CORRUPT) => OpenError::Damaged { path, damage: Damage::Inconsistent },
        Some(PERM | READONLY | FULL | CANTOPEN) => OpenError::Unwritable { path, cause: Box::new(error) },
        _ => OpenError::Unavailable { path, cause: Box::new(error) },
    }
}
