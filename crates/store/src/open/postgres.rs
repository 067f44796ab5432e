//! A database of a PostgreSQL server. Others may use it at the same time: the schema is looked at and changed under a lock.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doorward_core::store::StoreError;
use rustls::RootCertStore;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _};

use super::{Age, Location, OpenError, POLL};
use crate::backup::{Backup, RestoreError};
use crate::db::{Change, Db, query};
use crate::migrations::{APPLICATION_ID, MigrateError, SCHEMA_VERSION, migrate, version};
use crate::seal::Sealer;
use crate::sql::SqlStore;
use crate::watch::Watch;

/// A call that waits for a connection, or opens one, gives up after this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The server ends a statement after this long.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// How much later than the server should have ended a statement it counts as lost.
const SILENCE: Duration = Duration::from_secs(2);
/// The server ends a change that waits for us for this long, with its locks: we are gone.
const IDLE_IN_CHANGE: Duration = Duration::from_secs(60);
/// A migration, and the wait for another instance's, may take longer than a statement.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(600);

const CONNECTIONS: u32 = 10;
const AUDIT_CONNECTIONS: u32 = 2;

/// What a URL may say after its `?`. What is not here would be passed over, and it might be what protects the connection.
/// Spec: <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS>
const PARAMETERS: [&str; 11] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];
/// `allow` is not among them: the driver would never try TLS.
const SSL_MODES: [&str; 5] = ["disable", "prefer", "require", "verify-ca", "verify-full"];

/// Why a URL does not name a database. Says nothing of what is in it: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// It is no such URL.
    #[error("the URL of the database must be postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full, or the like")]
    Malformed,
    /// It does not say which database.
    #[error("the URL of the database names no database after the host")]
    NoDatabase,
    /// A parameter that has no meaning here.
    #[error("the URL of the database has a parameter that is not known: {0:?}; known are {known}", known = PARAMETERS.join(", "))]
    UnknownParameter(String),
    /// A way of protecting the connection that has no meaning here.
    #[error("sslmode in the URL of the database must be one of {modes}", modes = SSL_MODES.join(", "))]
    UnknownSslMode,
    /// The file with the password cannot be read.
    #[error("the password file {} cannot be read: {cause}", path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// Which database of which server, and how it is used.
#[derive(Clone)]
pub struct PostgresOptions {
    connect: PgConnectOptions,
    own_authority: bool,
    connections: u32,
    connect_timeout: Duration,
    statement_timeout: Duration,
    poll: Duration,
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions").field("database", &self.name()).finish_non_exhaustive()
    }
}

impl PostgresOptions {
    /// Reads `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=MODE`. A host that begins with `/` is the folder of a socket.
    /// A password that is not in the URL may be in `PGPASSWORD` or `~/.pgpass`, as with PostgreSQL's own programs.
    ///
    /// Without `sslmode` the connection is TLS with a certificate for the host's name, unless the host is this machine.
    /// Authorities are those that the system trusts and Mozilla's, or with `sslrootcert` those of that file and Mozilla's.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn from_url(url: &str) -> Result<PostgresOptions, UrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::Malformed)?;
        if !["postgres", "postgresql"].contains(&scheme) {
            return Err(UrlError::Malformed);
        }
        let parameters = rest.split_once('?').map_or("", |(_, parameters)| parameters);
        let (mut mode, mut own_authority) = (None, false);
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name {
                "sslmode" if SSL_MODES.contains(&value) => mode = Some(value),
                "sslmode" => return Err(UrlError::UnknownSslMode),
                "sslrootcert" => own_authority = true,
                name if PARAMETERS.contains(&name) => {}
                name => return Err(UrlError::UnknownParameter(name.to_owned())),
            }
        }
        let mut connect: PgConnectOptions = url.parse().map_err(|_| UrlError::Malformed)?;
        if connect.get_database().is_none_or(str::is_empty) {
            return Err(UrlError::NoDatabase);
        }
        if mode.is_none() {
            let near = is_this_machine(&connect);
            connect = connect.ssl_mode(if near { PgSslMode::Prefer } else { PgSslMode::VerifyFull });
        }
        Ok(PostgresOptions {
            connect,
            own_authority,
            connections: CONNECTIONS,
            connect_timeout: CONNECT_TIMEOUT,
            statement_timeout: STATEMENT_TIMEOUT,
            poll: POLL,
        })
    }

    /// Takes the password from here.
    #[must_use]
    pub fn password(self, password: &str) -> PostgresOptions {
        PostgresOptions { connect: self.connect.password(password), ..self }
    }

    /// Takes the password from the first line of a file.
    ///
    /// # Errors
    /// [`UrlError::PasswordFile`].
    pub fn password_file(self, path: &Path) -> Result<PostgresOptions, UrlError> {
        let text = fs::read_to_string(path).map_err(|cause| UrlError::PasswordFile { path: path.to_owned(), cause })?;
        Ok(self.password(text.lines().next().unwrap_or("")))
    }

    /// Opens at most this many connections (10 without this), two more for the record of decisions, and one that listens.
    #[must_use]
    pub fn connections(self, connections: u32) -> PostgresOptions {
        PostgresOptions { connections: connections.max(1), ..self }
    }

    /// A call gives up when it has waited for a connection for this long (5 s without this).
    #[must_use]
    pub fn connect_timeout(self, connect_timeout: Duration) -> PostgresOptions {
        PostgresOptions { connect_timeout, ..self }
    }

    /// The server ends a statement after this long (30 s without this).
    #[must_use]
    pub fn statement_timeout(self, statement_timeout: Duration) -> PostgresOptions {
        PostgresOptions { statement_timeout, ..self }
    }

    /// Whoever waits for a change asks the server after this long at the latest (500 ms without this), in case that it did not tell.
    #[must_use]
    pub fn poll(self, poll: Duration) -> PostgresOptions {
        PostgresOptions { poll, ..self }
    }

    /// Host, port and database: what may be shown.
    fn name(&self) -> String {
        let connect = &self.connect;
        let database = connect.get_database().unwrap_or_default();
        match connect.get_socket() {
            Some(socket) => format!("{}:{}/{database}", socket.display(), connect.get_port()),
            None => format!("{}:{}/{database}", connect.get_host(), connect.get_port()),
        }
    }

    /// What the driver needs to know.
    fn for_driver(&self) -> PgConnectOptions {
        let mut connect = self.connect.clone();
        if connect.get_application_name().is_none() {
            connect = connect.application_name("doorward");
        }
        if !self.own_authority && matches!(connect.get_ssl_mode(), PgSslMode::VerifyCa | PgSslMode::VerifyFull) {
            connect = connect.ssl_root_cert_from_pem(system_authorities());
        }
        connect.options([
            ("statement_timeout", self.statement_timeout.as_millis().to_string()),
            ("idle_in_transaction_session_timeout", IDLE_IN_CHANGE.as_millis().to_string()),
        ])
    }
}

/// A socket, or an address that no other machine answers.
fn is_this_machine(connect: &PgConnectOptions) -> bool {
    let host = connect.get_host();
    connect.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The authorities that the system trusts, as PEM. One that the TLS library cannot read is left out: the driver would refuse all.
fn system_authorities() -> Vec<u8> {
    let readable = |certificate: &_| RootCertStore::empty().add(Clone::clone(certificate)).is_ok();
    let found = rustls_native_certs::load_native_certs().certs;
    let pem = found.iter().filter(|certificate| readable(certificate)).map(|certificate| {
        let text = STANDARD.encode(certificate);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    });
    pem.collect::<String>().into_bytes()
}

impl SqlStore {
    /// Opens a database of a PostgreSQL server, which must exist; it is filled if it is empty, and brought up to date if an
    /// older version filled it. Any number of instances may use it, and may open it at the same time.
    ///
    /// # Errors
    /// [`OpenError`]; nothing in the database was changed.
    pub async fn open_postgres(options: &PostgresOptions, sealer: Sealer) -> Result<SqlStore, OpenError> {
        let location = Location::Server(options.name());
        let driver = options.for_driver();
        examine(options, &driver, &location).await?;
        let limit = options.statement_timeout + SILENCE;
        let pool = |connections| pool(options, &driver, connections);
        let db = Db::Postgres { pool: pool(options.connections), auditor: pool(AUDIT_CONNECTIONS), limit };
        match bring_up_to_date(options, &driver, &sealer, async |_| Ok::<(), MigrateError>(())).await {
            Ok(()) => Ok(SqlStore::new(db, sealer, Watch::listening(options.poll, pool(1), SILENCE))),
            Err(error) => Err(location.not_migrated(error, sealer.source(), classified)),
        }
    }

    /// Fills an empty database of a PostgreSQL server, without a table, from a backup, all or nothing.
    ///
    /// # Errors
    /// [`RestoreError`]; nothing in the database was changed.
    pub async fn restore_postgres(
        options: &PostgresOptions,
        sealer: &Sealer,
        backup: Backup,
    ) -> Result<(), RestoreError> {
        let location = Location::Server(options.name());
        let driver = options.for_driver();
        examine(options, &driver, &location).await?;
        // In one change with the making of the tables: what is refused here leaves none, nor a key that they would be bound to.
        let fill = async |change: &mut Change| backup.fill(change).await.map_err(Unfilled::Restore);
        bring_up_to_date(options, &driver, sealer, fill).await.map_err(|error| match error {
            Unfilled::Restore(error) => error,
            Unfilled::Migrate(error) => location.not_migrated(error, sealer.source(), classified).into(),
        })
    }
}

/// Why a database was not made and filled.
enum Unfilled {
    Migrate(MigrateError),
    Restore(RestoreError),
}

impl From<MigrateError> for Unfilled {
    fn from(error: MigrateError) -> Self {
        Unfilled::Migrate(error)
    }
}

impl From<StoreError> for Unfilled {
    fn from(error: StoreError) -> Self {
        Unfilled::Migrate(error.into())
    }
}

impl SqlStore {
    /// How old a database of a PostgreSQL server is. Changes nothing.
    ///
    /// # Errors
    /// [`OpenError`] of one that could not be opened either.
    pub async fn postgres_age(options: &PostgresOptions) -> Result<Age, OpenError> {
        let location = Location::Server(options.name());
        let driver = options.for_driver();
        examine(options, &driver, &location).await?;
        let only = pool(options, &driver, 1);
        let db = Db::Postgres { pool: only.clone(), auditor: only.clone(), limit: options.statement_timeout + SILENCE };
        let found = async { version(&mut db.begin_look().await?).await };
        let found = found.await;
        only.close().await;
        match found {
            Ok(newer) if newer > SCHEMA_VERSION => {
                Err(OpenError::Newer { location, found: newer, known: SCHEMA_VERSION })
            }
            Ok(version) => Ok(Age::of(version)),
            Err(error) => Err(location.not_migrated(error, "", classified)),
        }
    }
}

/// Connects once, for the sake of what the server says if it does not let us in: a pool would try again and tell of its
/// waiting alone.
async fn examine(options: &PostgresOptions, driver: &PgConnectOptions, location: &Location) -> Result<(), OpenError> {
    let unavailable =
        |cause: Box<dyn Error + Send + Sync>| OpenError::Unavailable { location: location.clone(), cause };
    let sort = |error| classified(location.clone(), error);
    let examined = tokio::time::timeout(options.connect_timeout, async {
        let mut connection = driver.connect().await.map_err(sort)?;
        let (encoding, read_only): (String, String) =
            sqlx::query_as("SELECT current_setting('server_encoding'), current_setting('transaction_read_only')")
                .fetch_one(&mut connection)
                .await
                .map_err(sort)?;
        // It only read: nothing can be lost by what goes wrong here.
        let _ = connection.close().await;
        if encoding != "UTF8" {
            return Err(unavailable(format!("its encoding is {encoding}, and must be UTF8").into()));
        }
        if read_only != "off" {
            return Err(OpenError::Unwritable { location: location.clone(), cause: "it is read-only".into() });
        }
        Ok(())
    });
    let late = |_| unavailable(format!("no answer within {} s", options.connect_timeout.as_secs_f32()).into());
    examined.await.unwrap_or_else(|elapsed| Err(late(elapsed)))
}

/// Connections are made when they are needed. One is tested before it is used: after the server was away, calls work again. It is
/// tested after its use too: that is when a change that was dropped is undone. The driver would wait there for a server that
/// fell silent, and the pool would have a connection less.
fn pool(options: &PostgresOptions, driver: &PgConnectOptions, connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(options.connect_timeout)
        .test_before_acquire(true)
        .after_release(|connection, _| {
            Box::pin(async move {
                let late = |_| sqlx::Error::Io(io::ErrorKind::TimedOut.into());
                tokio::time::timeout(SILENCE, connection.ping()).await.map_err(late)?.map(|()| true)
            })
        })
        .connect_lazy_with(driver.clone())
}

/// Applies what is missing and fills it, all or nothing, alone.
async fn bring_up_to_date<E: From<MigrateError> + From<StoreError>>(
    options: &PostgresOptions,
    driver: &PgConnectOptions,
    sealer: &Sealer,
    fill: impl AsyncFnOnce(&mut Change) -> Result<(), E>,
) -> Result<(), E> {
    let patient = driver.clone().options([("statement_timeout", MIGRATION_TIMEOUT.as_millis().to_string())]);
    let only = pool(options, &patient, 1);
    let db = Db::Postgres { pool: only.clone(), auditor: only.clone(), limit: MIGRATION_TIMEOUT + SILENCE };
    let migrated = async {
        let mut change = db.begin().await?;
        change.lock(query("SELECT pg_advisory_xact_lock($1)").bind(APPLICATION_ID)).await?;
        migrate(&mut change, sealer).await?;
        fill(&mut change).await?;
        Ok(change.commit().await?)
    };
    let migrated = migrated.await;
    only.close().await;
    migrated
}

/// Sorts by PostgreSQL's classes of errors (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
fn classified(location: Location, error: sqlx::Error) -> OpenError {
    const INSUFFICIENT_PRIVILEGE: &str = "42501";
    const READ_ONLY: &str = "25006";
    const DISK_FULL: &str = "53100";
    let code = error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned());
    match code.as_deref() {
        Some(INSUFFICIENT_PRIVILEGE | READ_ONLY | DISK_FULL) => {
            OpenError::Unwritable { location, cause: Box::new(error) }
        }
        _ => OpenError::Unavailable { location, cause: Box::new(error) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_to_another_machine_is_tls_with_a_certificate_for_its_name_unless_the_url_says_otherwise() {
        // (after `postgres://`) => what the driver is told
        let cases = [
            ("db.example.com/d", "VerifyFull"),
            ("me@10.0.0.7:6432/d", "VerifyFull"),
            ("localhost.example.com/d", "VerifyFull"),
            ("db.example.com/d?sslmode=disable", "Disable"),
            ("db.example.com/d?sslmode=require", "Require"),
            ("db.example.com/d?sslmode=prefer&sslmode=verify-ca", "VerifyCa"),
            ("localhost/d", "Prefer"),
            ("127.0.0.1/d", "Prefer"),
            ("[::1]:5432/d", "Prefer"),
            ("%2Frun%2Fpostgresql/d", "Prefer"),
            ("localhost/d?host=db.example.com", "VerifyFull"),
            ("localhost/d?hostaddr=10.0.0.7", "VerifyFull"),
            ("localhost/d?sslmode=verify-full", "VerifyFull"),
        ];
        for (rest, expected) in cases {
            let options = PostgresOptions::from_url(&format!("postgres://{rest}")).unwrap();
            assert_eq!(format!("{:?}", options.for_driver().get_ssl_mode()), expected, "{rest}");
        }
    }

    #[test]
    fn a_url_that_would_not_be_understood_whole_is_refused_without_being_shown() {
        let cases = [
            "",
            "db.example.com/d",
            "mysql://me:s3cret@db.example.com/d",
            "postgres://me:s3cret@db.example.com",
            "postgres://me:s3cret@db.example.com/",
            "postgres://me:s3cret@db.example.com:port/d",
            "postgres://me:s3cret@db.example.com/d?sslmode=allow",
            "postgres://me:s3cret@db.example.com/d?sslmode=s3cret",
            "postgres://me:s3cret@db.example.com/d?channel_binding=require",
            "postgres://db.example.com/d?passwort=s3cret",
            "postgres://db.example.com/d?options=-c%20synchronous_commit%3Doff",
        ];
        for url in cases {
            let error = PostgresOptions::from_url(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        }
        let options = PostgresOptions::from_url("postgres://me:s3cret@db.example.com/d").unwrap();
        assert_eq!(options.name(), "db.example.com:5432/d");
        assert!(!format!("{options:?}").contains("s3cret"));
    }

    #[test]
    fn the_authorities_of_the_system_are_a_text_that_the_driver_reads() {
        let pem = String::from_utf8(system_authorities()).unwrap();
        let found = rustls_native_certs::load_native_certs().certs.len();
        assert!(pem.matches("BEGIN CERTIFICATE").count() <= found);
        assert_eq!(pem.is_empty(), found == 0);
    }
}
