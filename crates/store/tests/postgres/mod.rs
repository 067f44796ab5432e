//! A PostgreSQL server of our own, from the programs that are installed: in a new folder, on a socket in it, gone with the test
//! process however that ends.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use doorward_core::entropy::SystemEntropy;
use doorward_store::{PostgresOptions, Sealer, SqlStore};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// Runs as the owner of the server, and outlives the test process by the time that it takes to clean up: the end of its
/// standard input is the end of the test process. What the server writes goes to a file: it must not hold our pipes.
const GUARD: &str = r#"
    folder=$(mktemp -d) || exit 1
    initdb -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$folder/log" 2>&1 &&
    sed -i '1i local all +guarded scram-sha-256' "$folder/data/pg_hba.conf" &&
    cat >>"$folder/data/postgresql.conf" <<END
        listen_addresses = ''
        unix_socket_directories = '$folder'
        fsync = off
        full_page_writes = off
        max_connections = 300
END
    pg_ctl -D "$folder/data" -l "$folder/log" -w start >/dev/null 2>&1 &&
    echo "$folder" || cat "$folder/log"
    cat >/dev/null
    pg_ctl -D "$folder/data" -m immediate stop >/dev/null 2>&1
    rm -rf "$folder"
"#;

const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// A server with its databases.
pub(crate) struct Cluster {
    folder: PathBuf,
    databases: AtomicU32,
    guard: Child,
}

impl Cluster {
    /// The one that the tests of this process share.
    pub(crate) fn shared() -> &'static Cluster {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(Cluster::start)
    }

    /// One that may be stopped.
    pub(crate) fn start() -> Cluster {
        let mut guard = as_owner("sh");
        guard.args(["-c", GUARD]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut guard = guard.spawn().expect("a shell");
        let mut told = String::new();
        let output = guard.stdout.take().expect("standard output");
        BufReader::new(output).read_line(&mut told).expect("what the guard says");
        let folder = PathBuf::from(told.trim_end());
        assert!(folder.join("data").exists() || folder.exists(), "PostgreSQL does not start: {told}");
        Cluster { folder, databases: AtomicU32::new(0), guard }
    }

    /// The server stops at once, as if its machine had: connections break, and what was not committed is gone.
    pub(crate) fn stop(&self) {
        self.control(&["-m", "immediate", "stop"]);
    }

    pub(crate) fn start_again(&self) {
        let log = self.folder.join("log");
        self.control(&["-l", log.to_str().expect("text"), "-w", "start"]);
    }

    fn control(&self, words: &[&str]) {
        let mut control = as_owner("pg_ctl");
        control.arg("-D").arg(self.folder.join("data")).args(words).stdin(Stdio::null()).stdout(Stdio::null());
        assert!(control.status().expect("pg_ctl").success(), "{words:?}");
    }

    /// The socket on which the server listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    fn url(&self, user: &str, database: &str) -> String {
        let socket = self.folder.to_str().expect("text").replace('/', "%2F");
        format!("postgres://{user}@{socket}/{database}")
    }

    /// A connection of the server's owner to a database.
    pub(crate) async fn connect(&self, database: &str) -> PgConnection {
        PgConnection::connect(&self.url("postgres", database)).await.expect("a connection")
    }

    /// Runs statements in a database.
    pub(crate) async fn execute(&self, database: &str, statements: &str) {
        let mut connection = self.connect(database).await;
        let statements = AssertSqlSafe(statements.to_owned());
        sqlx::raw_sql(statements).execute(&mut connection).await.expect("the statements run");
        connection.close().await.expect("closing");
    }

    /// A new, empty database. Its order of texts is that of a language, not that of bytes.
    pub(crate) async fn database(&self) -> Database<'_> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let create = format!(
            "CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C.UTF-8'"
        );
        self.execute("postgres", &create).await;
        Database { cluster: self, name, keys: tempfile::tempdir().expect("a folder") }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // It cleans up; that it did is not what is tested.
        let _ = self.guard.wait();
    }
}

/// A database of a cluster, with a key for its secrets.
pub(crate) struct Database<'a> {
    cluster: &'a Cluster,
    pub(crate) name: String,
    keys: tempfile::TempDir,
}

impl Database<'_> {
    pub(crate) fn url(&self, user: &str) -> String {
        self.cluster.url(user, &self.name)
    }

    pub(crate) fn options(&self) -> PostgresOptions {
        PostgresOptions::from_url(&self.url("postgres")).expect("a URL")
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.keys.path().join("key")
    }

    pub(crate) fn sealer(&self) -> Sealer {
        Sealer::from_file_or_new(&self.key_file(), &SystemEntropy).expect("a key")
    }

    pub(crate) async fn open(&self) -> SqlStore {
        SqlStore::open_postgres(&self.options(), self.sealer()).await.expect("the database opens")
    }

    pub(crate) async fn execute(&self, statements: &str) {
        self.cluster.execute(&self.name, statements).await;
    }

    /// The first column of the first row of an answer.
    pub(crate) async fn number(&self, question: &str) -> i64 {
        let mut connection = self.cluster.connect(&self.name).await;
        let question = AssertSqlSafe(question.to_owned());
        let answer = sqlx::query_scalar(question).fetch_one(&mut connection).await.expect("an answer");
        connection.close().await.expect("closing");
        answer
    }
}

/// A program of the server's, as the user to whom it may belong: not root, whom they refuse.
fn as_owner(program: &str) -> Command {
    let folder = programs();
    let mut command = Command::new(if program == "sh" { "sh".into() } else { folder.join(program) });
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder).chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(folders).expect("a path"));
    command.env_remove("PGDATA").current_dir("/tmp").env("TMPDIR", "/tmp");
    if id("-u", None) == Some(0) {
        let missing = "there is no user `postgres`: apt-get install -y postgresql";
        command.uid(id("-u", Some("postgres")).expect(missing)).gid(id("-g", Some("postgres")).expect(missing));
    }
    command
}

fn id(which: &str, user: Option<&str>) -> Option<u32> {
    let output = Command::new("id").arg(which).args(user).output().expect("the program `id`");
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

/// The folder of the server's programs: on the path, or where Debian keeps them.
fn programs() -> PathBuf {
    let complete = |folder: &Path| PROGRAMS.iter().all(|program| folder.join(program).is_file());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<_> = versions.flatten().map(|version| version.path().join("bin")).collect();
        versions.sort();
        folders.extend(versions.into_iter().rev());
    }
    folders.into_iter().find(|folder| complete(folder)).expect(
        "these tests start a PostgreSQL server, and its programs (initdb, pg_ctl, postgres) are not installed: \
         apt-get install -y postgresql",
    )
}
