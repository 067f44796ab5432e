//! Opening: what is there is looked at first, and changed only if it is ours and we know it.

mod postgres;
mod sqlite;

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use doorward_core::store::StoreError;

use crate::migrations::{MigrateError, SCHEMA_VERSION, SEALED_SINCE};
use crate::seal::KeyFileError;

pub use postgres::{PostgresOptions, UrlError};

/// How old a database is, found out without changing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// There is none, or nothing is in it: opening makes it.
    New,
    /// It has the schema of this version.
    Current,
    /// It has this older schema: opening brings it up to date, and older versions cannot use it any more.
    Older(i64),
}

impl Age {
    /// Whether private keys are sealed in it, so that a new key opens nothing of them.
    pub fn is_sealed(self) -> bool {
        match self {
            Age::New => false,
            Age::Current => true,
            Age::Older(version) => version >= SEALED_SINCE,
        }
    }

    /// Of a database with this schema, which is not newer than ours.
    fn of(version: i64) -> Age {
        match version {
            0 => Age::New,
            SCHEMA_VERSION => Age::Current,
            older => Age::Older(older),
        }
    }
}

/// Whoever waits for a change asks after this long at the latest: for changes of which nobody told.
const POLL: Duration = Duration::from_millis(500);

/// A database in words: its file, or its server, port and name. Never a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file of SQLite's.
    File(PathBuf),
    /// A database of a PostgreSQL server.
    Server(String),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::File(path) => write!(f, "the database {}", path.display()),
            Location::Server(name) => write!(f, "the PostgreSQL database {name}"),
        }
    }
}

impl Location {
    fn away(&self) -> &'static str {
        match self {
            Location::File(_) => {
                "or move it away, together with the files beside it whose names begin with its name, to start with a new one"
            }
            Location::Server(_) => "or name an empty database to start with a new one",
        }
    }

    fn writable(&self) -> &'static str {
        match self {
            Location::File(_) => "Its directory must exist, and both must belong to the user that starts doorward",
            Location::Server(_) => {
                "It must be the primary, and its user must own the schema: `GRANT CREATE ON SCHEMA public TO` that user"
            }
        }
    }

    fn available(&self) -> &'static str {
        match self {
            Location::File(_) => "Stop other programs that use it, then try again",
            Location::Server(_) => {
                "Check that the server runs, its address, the user and the password, and that the database was made (`createdb`)"
            }
        }
    }
}

/// Why a database was not opened. Nothing in it was changed. Each message is one line for the person who started us.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database cannot be used, and we do not repair it.
    #[error(
        "{location} is damaged: {damage}. Nothing was changed. Restore it from a backup, {}", location.away()
    )]
    Damaged {
        /// The database.
        location: Location,
        /// In what way.
        damage: Damage,
    },
    /// The database was written by a later version of Doorward.
    #[error(
        "{location} was written by a newer version of doorward (schema {found}; this one knows up to {known}). \
         Nothing was changed. Start that version or a later one"
    )]
    Newer {
        /// The database.
        location: Location,
        /// Its schema version.
        found: i64,
        /// The last one that we know.
        known: i64,
    },
    /// The database or its directory cannot be written, or is not there.
    #[error("{location} cannot be written ({cause}). {}", location.writable())]
    Unwritable {
        /// The database.
        location: Location,
        /// What the system said.
        cause: Box<dyn Error + Send + Sync>,
    },
    /// The database could not be opened now: it is locked, the disk fails, or the server does not let us in.
    #[error("{location} could not be opened ({cause}). {}", location.available())]
    Unavailable {
        /// The database.
        location: Location,
        /// What the system said.
        cause: Box<dyn Error + Send + Sync>,
    },
    /// There is no key that seals the secrets of the database.
    #[error(
        "the key file {} of {location} cannot be used: {cause}. Without it the private keys in the database cannot be read: \
         restore it from a backup",
        path.display()
    )]
    KeyFile {
        /// The database.
        location: Location,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: KeyFileError,
    },
    /// The secrets of the database were sealed with another key.
    #[error(
        "the key of {key} is not the one with which the private keys in {location} were sealed. Nothing was changed. \
         Restore the key file that belongs to it"
    )]
    WrongKey {
        /// The database.
        location: Location,
        /// Where the key is from.
        key: String,
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
    /// Its tables are not those of the schema version that it claims: some are missing, or are there too early.
    #[error(
        "its tables are not those of its schema version: half of a migration or of a restored backup, or another program's"
    )]
    HalfMade,
}

impl Location {
    /// What is said of a database that was not brought up to date; `key` is where the key is from, and
    /// `classify` sorts what a driver said.
    fn not_migrated(
        self,
        error: MigrateError,
        key: &str,
        classify: impl FnOnce(Location, sqlx::Error) -> OpenError,
    ) -> OpenError {
        match error {
            MigrateError::Newer { found } => OpenError::Newer { location: self, found, known: SCHEMA_VERSION },
            MigrateError::Damaged(damage) => OpenError::Damaged { location: self, damage },
            MigrateError::WrongKey => OpenError::WrongKey { location: self, key: key.to_owned() },
            MigrateError::Store(StoreError::Damaged { .. }) => {
                OpenError::Damaged { location: self, damage: Damage::Inconsistent }
            }
            MigrateError::Store(StoreError::Unavailable(cause)) => match cause.downcast() {
                Ok(error) => classify(self, *error),
                Err(cause) => OpenError::Unavailable { location: self, cause },
            },
        }
    }
}
