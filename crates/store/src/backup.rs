//! Backups: everything as it was at one moment, as lines of JSON, from either engine and for either. Secrets stay sealed.
//!
//! ```text
//! {"doorward_backup":1,"schema":5,"revision":17,"sealing":"AX…"}
//! {"table":"person","columns":["unique_id","email","disabled","password"]}
//! ["1","alice@example.com",false,null]
//! …
//! {"rows":1,"sha256":"…"}
//! ```
//!
//! The last line has SHA-256 of all bytes before it. Bytes are in base64.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doorward_core::store::StoreError;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::db::{Change, Query, Row, query};
use crate::migrations::{APPLICATION_ID, SCHEMA_VERSION, is_key_of};
use crate::open::OpenError;
use crate::seal::Sealer;
use crate::sql::{RAISE, SqlStore, lock_names, tell_others};

/// Every table that is kept, with its key: those to which others refer come first.
const TABLES: [(&str, &[&str]); 27] = [
    ("service_account", &["unique_id"]),
    ("service_account_key", &["id"]),
    ("person", &["unique_id"]),
    ("policy", &["resource"]),
    ("signing_key", &["id"]),
    ("oauth_client", &["id"]),
    ("sign_in_session", &["hash"]),
    ("iap_settings", &["resource"]),
    ("person_grant", &["id"]),
    ("authorization_code", &["hash"]),
    ("refresh_token", &["hash"]),
    ("device_code", &["hash"]),
    ("workload_identity_pool", &["id"]),
    ("workload_identity_provider", &["name"]),
    ("access_token", &["hash"]),
    ("used_assertion", &["issuer", "jti"]),
    ("registered_application", &["service_id"]),
    ("application_place", &["host", "prefix"]),
    ("brand", &["id"]),
    ("tunnel_dest_group", &["location", "id"]),
    ("deny_policy", &["attachment", "id"]),
    ("custom_role", &["name"]),
    ("principal_group", &["email"]),
    ("group_member", &["group_email", "member"]),
    ("access_level", &["name"]),
    ("audit_event", &["sequence"]),
    (HEAD, &["id"]),
];

/// The one of them that is never empty: it says what the record is chained to.
const HEAD: &str = "audit_head";

/// Tables that are not kept: what is in them is made anew, or belongs to the database and not to what it holds.
#[cfg(test)]
const LEFT_OUT: [&str; 4] = ["sealing", "name_lock", "revision", "change_log"];

const FORM: u32 = 1;
const ROWS_AT_ONCE: i64 = 1000;
const ROWS_PER_STATEMENT: usize = 64;

/// Why there is no backup. The file is not there.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file is there already, or cannot be written.
    #[error("the backup cannot be written: {0}")]
    File(#[from] io::Error),
    /// The store failed.
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
}

/// Why a backup was not restored. The store is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file cannot be read.
    #[error("the backup cannot be read: {0}")]
    File(#[from] io::Error),
    /// The file is not what was written: cut off, changed, or something else.
    #[error("the file is no backup, or not all of it: its checksum does not fit")]
    Damaged,
    /// The file is what was written, and not what this version writes.
    #[error("line {0} of the backup is not understood")]
    Line(usize),
    /// This table is not there, or not as it is in every store.
    #[error("the backup has no table {0}, or not all of it")]
    Table(&'static str),
    /// The backup is of another version's store.
    #[error("the backup is of schema {found}, and this version has {known}: restore it with the version that made it")]
    Schema {
        /// The backup's schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The secrets in the backup were sealed with another key.
    #[error(
        "the private keys in the backup were sealed with another key than that of {0}: use the key file that belongs to it"
    )]
    WrongKey(String),
    /// There is something in the store.
    #[error("the store is not empty: there are rows in {0}. A backup is restored into a new one")]
    NotEmpty(&'static str),
    /// The store failed.
    #[error("the store cannot be written")]
    Store(#[from] StoreError),
    /// The store to restore into cannot be made.
    #[error(transparent)]
    Open(#[from] OpenError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    doorward_backup: u32,
    schema: i64,
    revision: i64,
    sealing: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TableLine {
    table: String,
    columns: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    rows: u64,
    sha256: String,
}

/// What a column holds.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Integer,
    Flag,
    Bytes,
}

struct Column {
    name: String,
    kind: Kind,
}

impl SqlStore {
    /// Writes everything as it is at this moment to a new file, mode 0600. Others read and write meanwhile. Does not write the key with
    /// which secrets are sealed: without it the backup is worth little.
    ///
    /// Takes some seconds for a million rows, and little memory.
    ///
    /// # Errors
    /// [`BackupError`]; the file is not there then, unless it was before.
    pub async fn backup(&self, path: &Path) -> Result<(), BackupError> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let written = self.write_backup(file).await;
        if written.is_err() {
            // Best effort: without its last line it is no backup.
            let _ = fs::remove_file(path);
        }
        written
    }

    async fn write_backup(&self, file: File) -> Result<(), BackupError> {
        let mut lines = Lines { to: BufWriter::new(file), sum: digest::Context::new(&digest::SHA256) };
        let mut look = self.db.begin_look().await?;
        let (sealing,): (Vec<u8>,) = query("SELECT value FROM sealing WHERE id = 1").fetch_one(&mut look).await?;
        let (revision,): (i64,) = query("SELECT value FROM revision WHERE id = 1").fetch_one(&mut look).await?;
        let sealing = STANDARD.encode(sealing);
        lines.write(&Head { doorward_backup: FORM, schema: SCHEMA_VERSION, revision, sealing })?;
        let mut rows = 0;
        for (table, key) in TABLES {
            let columns = columns(&mut look, table).await?;
            let names = columns.iter().map(|column| column.name.clone()).collect();
            lines.write(&TableLine { table: table.to_owned(), columns: names })?;
            let mut last: Option<Vec<Json>> = None;
            loop {
                let page = page(&mut look, table, key, &columns, last.as_deref()).await?;
                let Some(end) = page.last() else { break };
                last = Some(key_of(end, key, &columns)?);
                for row in &page {
                    rows += 1;
                    lines.write(row)?;
                }
            }
        }
        let sha256 = hex(lines.sum.clone().finish().as_ref());
        lines.write(&End { rows, sha256 })?;
        Ok(lines.to.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?)
    }

    /// Fills an empty store from a backup, all or nothing. The store was opened with the key with which the backup's secrets are sealed.
    ///
    /// # Errors
    /// [`RestoreError`]; nothing was written then.
    pub async fn restore(&self, path: &Path) -> Result<(), RestoreError> {
        let backup = Backup::read(path, &self.sealer)?;
        let mut change = self.db.begin().await?;
        change.on_a_server(query("SELECT pg_advisory_xact_lock($1)").bind(APPLICATION_ID)).await?;
        backup.fill(&mut change).await?;
        change.commit().await?;
        self.tell();
        Ok(())
    }
}

/// A backup that is whole, of this version, and whose secrets the key opens.
pub struct Backup {
    file: File,
    revision: i64,
}

impl Backup {
    /// Reads and checks a backup, before anything is made for it.
    ///
    /// # Errors
    /// [`RestoreError`] of a file that is no backup, is not whole, is another version's, or belongs to another key.
    pub fn read(path: &Path, sealer: &Sealer) -> Result<Backup, RestoreError> {
        let mut file = File::open(path)?;
        check_sum(&file)?;
        io::Seek::rewind(&mut file)?;
        let head = BufReader::new(&file).lines().next().ok_or(RestoreError::Damaged)??;
        let head: Head = serde_json::from_str(&head).map_err(|_| RestoreError::Line(1))?;
        if head.doorward_backup != FORM || head.schema != SCHEMA_VERSION {
            return Err(RestoreError::Schema { found: head.schema, known: SCHEMA_VERSION });
        }
        let sealing = STANDARD.decode(&head.sealing).map_err(|_| RestoreError::Line(1))?;
        if !is_key_of(sealer, &sealing) {
            return Err(RestoreError::WrongKey(sealer.source().to_owned()));
        }
        Ok(Backup { file, revision: head.revision })
    }

    /// Writes everything that the backup holds into an empty database. Nothing is there before the change is committed.
    pub(crate) async fn fill(mut self, change: &mut Change) -> Result<(), RestoreError> {
        io::Seek::rewind(&mut self.file)?;
        let lines = BufReader::new(self.file).lines().enumerate().skip(1);
        let line = |number: usize| RestoreError::Line(number + 1);
        lock_names(change).await?;
        expect_empty(change).await?;
        query(format!("DELETE FROM {HEAD}")).execute(&mut *change).await?;
        let mut filling: Option<Filling> = None;
        let (mut filled, mut ended) = (BTreeSet::new(), false);
        for (number, text) in lines {
            let value: Json = serde_json::from_str(&text?).map_err(|_| line(number))?;
            if ended {
                return Err(line(number));
            }
            match (value, &mut filling) {
                (Json::Array(row), Some(filling)) => filling.push(change, row, number).await?,
                (Json::Array(_), None) => return Err(line(number)),
                (value, _) => {
                    if let Some(mut full) = filling.take() {
                        full.write(change).await?;
                    }
                    // What it says was looked at; whether it stands at the end was not.
                    ended = End::deserialize(&value).is_ok();
                    if !ended {
                        let table = TableLine::deserialize(&value).map_err(|_| line(number))?;
                        let begun = Filling::begin(change, &table).await?.ok_or_else(|| line(number))?;
                        if !filled.insert(begun.table) {
                            return Err(line(number));
                        }
                        filling = Some(begun);
                    }
                }
            }
        }
        if let Some((missing, _)) = TABLES.iter().find(|(table, _)| !filled.contains(table)) {
            return Err(RestoreError::Table(missing));
        }
        let (heads,): (i64,) =
            query(format!("SELECT COUNT(*) FROM {HEAD} WHERE id = 1")).fetch_one(&mut *change).await?;
        if heads != 1 {
            return Err(RestoreError::Table(HEAD));
        }
        // Whoever read the store when it was empty, or another one, reads everything again.
        query("UPDATE revision SET value = $1 WHERE id = 1 AND value < $1")
            .bind(self.revision)
            .execute(&mut *change)
            .await?;
        // No change leads there.
        query(RAISE).execute(&mut *change).await?;
        Ok(tell_others(change).await?)
    }
}

struct Lines {
    to: BufWriter<File>,
    sum: digest::Context,
}

impl Lines {
    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.sum.update(&text);
        self.to.write_all(&text)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the file is whole and as it was written.
fn check_sum(file: &File) -> Result<(), RestoreError> {
    let mut lines = BufReader::new(file);
    let (mut sum, mut last, mut rows) = (digest::Context::new(&digest::SHA256), Vec::new(), 0);
    loop {
        let mut line = Vec::new();
        if lines.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        sum.update(&last);
        rows += u64::from(line.starts_with(b"["));
        last = line;
    }
    let end: End = serde_json::from_slice(&last).map_err(|_| RestoreError::Damaged)?;
    let fits = end.sha256 == hex(sum.finish().as_ref()) && end.rows == rows;
    if fits { Ok(()) } else { Err(RestoreError::Damaged) }
}

/// The columns of a table, in their order.
async fn columns(change: &mut Change, table: &str) -> Result<Vec<Column>, StoreError> {
    let rows: Vec<(String, String)> = query(
        "SELECT name, type FROM /*sqlite*/ pragma_table_info($1) ORDER BY cid /*pg
         (SELECT column_name::text AS name, data_type::text AS type, ordinal_position
          FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1) AS columns
         ORDER BY ordinal_position*/",
    )
    .bind(table)
    .fetch_all(change)
    .await?;
    let column = |(name, kind): (String, String)| {
        let kind = match kind.to_ascii_lowercase().as_str() {
            "text" => Kind::Text,
            "bigint" | "integer" => Kind::Integer,
            "boolean" => Kind::Flag,
            "bytea" => Kind::Bytes,
            _ => return Err(StoreError::Damaged { what: "type of a column" }),
        };
        Ok(Column { name, kind })
    };
    rows.into_iter().map(column).collect()
}

/// The rows that come after a key.
async fn page(
    look: &mut Change,
    table: &str,
    key: &[&str],
    columns: &[Column],
    after: Option<&[Json]>,
) -> Result<Vec<Vec<Json>>, StoreError> {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let (names, key) = (names.join(", "), key.join(", "));
    let beyond = after.map_or_else(String::new, |after| {
        let places: Vec<String> = (1..=after.len()).map(|place| format!("${place}")).collect();
        format!("WHERE ({key}) > ({})", places.join(", "))
    });
    // The table and its columns are ours.
    let mut select = query(format!("SELECT {names} FROM {table} {beyond} ORDER BY {key} LIMIT {ROWS_AT_ONCE}"));
    for value in after.unwrap_or_default() {
        select = match value {
            Json::Number(number) => select.bind(number.as_i64()),
            value => select.bind(value.as_str()),
        };
    }
    let rows: Vec<Row> = select.fetch_all(look).await?;
    let row = |row: &Row| -> Result<Vec<Json>, StoreError> {
        columns.iter().enumerate().map(|(place, column)| read(row, place, column.kind)).collect()
    };
    rows.iter().map(row).collect()
}

/// The values of the key's columns.
fn key_of(row: &[Json], key: &[&str], columns: &[Column]) -> Result<Vec<Json>, StoreError> {
    let value = |name: &&str| {
        let place = columns.iter().position(|column| column.name == **name)?;
        row.get(place).cloned()
    };
    key.iter().map(value).collect::<Option<_>>().ok_or(StoreError::Damaged { what: "key of a table" })
}

fn read(row: &Row, place: usize, kind: Kind) -> Result<Json, StoreError> {
    Ok(match kind {
        Kind::Text => row.get::<Option<String>>(place)?.into(),
        Kind::Integer => row.get::<Option<i64>>(place)?.into(),
        Kind::Flag => row.get::<Option<bool>>(place)?.into(),
        Kind::Bytes => row.get::<Option<Vec<u8>>>(place)?.map(|bytes| STANDARD.encode(bytes)).into(),
    })
}

async fn expect_empty(change: &mut Change) -> Result<(), RestoreError> {
    for (table, _) in TABLES {
        let (rows,): (i64,) = query(format!("SELECT COUNT(*) FROM (SELECT 1 FROM {table} LIMIT 1) AS one"))
            .fetch_one(&mut *change)
            .await?;
        if rows > 0 && table != HEAD {
            return Err(RestoreError::NotEmpty(table));
        }
    }
    Ok(())
}

/// A table that is filled.
struct Filling {
    table: &'static str,
    columns: Vec<Column>,
    rows: Vec<Vec<Json>>,
}

impl Filling {
    /// `None` if there is no such table, or it has other columns.
    async fn begin(change: &mut Change, line: &TableLine) -> Result<Option<Filling>, StoreError> {
        let Some((table, _)) = TABLES.into_iter().find(|(table, _)| *table == line.table) else { return Ok(None) };
        let mut known = columns(change, table).await?;
        let mut columns = Vec::new();
        // In another order, if the two stores came to this schema in different ways.
        for name in &line.columns {
            let Some(place) = known.iter().position(|column| column.name == *name) else { return Ok(None) };
            columns.push(known.remove(place));
        }
        Ok(known.is_empty().then_some(Filling { table, columns, rows: Vec::new() }))
    }

    async fn push(&mut self, change: &mut Change, row: Vec<Json>, number: usize) -> Result<(), RestoreError> {
        if row.len() != self.columns.len() {
            return Err(RestoreError::Line(number + 1));
        }
        self.rows.push(row);
        if self.rows.len() == ROWS_PER_STATEMENT {
            self.write(change).await?;
        }
        Ok(())
    }

    async fn write(&mut self, change: &mut Change) -> Result<(), RestoreError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let mut place = 0;
        let mut row = || {
            let places = names.iter().map(|_| {
                place += 1;
                format!("${place}")
            });
            format!("({})", places.collect::<Vec<_>>().join(", "))
        };
        let rows: Vec<String> = self.rows.iter().map(|_| row()).collect();
        let text = format!("INSERT INTO {} ({}) VALUES {}", self.table, names.join(", "), rows.join(", "));
        let mut insert = query(text);
        for row in self.rows.drain(..) {
            for (value, column) in row.into_iter().zip(&self.columns) {
                insert = bind(insert, value, column.kind).ok_or(StoreError::Damaged { what: "value in a backup" })?;
            }
        }
        insert.execute(change).await?;
        Ok(())
    }
}

/// `None` if the value is none of a column of this kind.
fn bind<'q>(statement: Query<'q>, value: Json, kind: Kind) -> Option<Query<'q>> {
    Some(match (kind, value) {
        (Kind::Text, Json::Null) => statement.bind(None::<String>),
        (Kind::Text, Json::String(text)) => statement.bind(text),
        (Kind::Integer, Json::Null) => statement.bind(None::<i64>),
        (Kind::Integer, Json::Number(number)) => statement.bind(number.as_i64()?),
        (Kind::Flag, Json::Bool(flag)) => statement.bind(flag),
        (Kind::Bytes, Json::Null) => statement.bind(None::<Vec<u8>>),
        (Kind::Bytes, Json::String(text)) => statement.bind(STANDARD.decode(text).ok()?),
        (_, _) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_in_a_backup_or_left_out_for_a_reason() {
        let named: BTreeSet<&str> = TABLES.iter().map(|(table, _)| *table).chain(LEFT_OUT).collect();
        assert_eq!(named, crate::migrations::current_tables());
    }
}
