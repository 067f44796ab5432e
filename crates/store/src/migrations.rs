//! The schema, step by step: forward only, all or nothing, under a lock, on both engines from one text.

use std::borrow::Cow;
use std::collections::BTreeSet;

use doorward_core::store::StoreError;

use crate::db::{Change, query};
use crate::open::Damage;
use crate::seal::{Place, Sealer};
use crate::sql::hash_what_was_not;

/// The number of a migration is its place, from 1. `PRAGMA user_version`, or the one row of `doorward_schema`, holds that of the
/// last one that was applied.
const MIGRATIONS: [&str; 5] = [
    include_str!("../migrations/0001_initial.sql"),
    include_str!("../migrations/0002_sign_in.sql"),
    include_str!("../migrations/0003_federation.sql"),
    include_str!("../migrations/0004_sealing.sql"),
    include_str!("../migrations/0005_policies.sql"),
];
pub(crate) const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// The version from which secrets are sealed.
pub(crate) const SEALED_SINCE: i64 = 4;

/// The version from which events are chained.
const CHAINED_SINCE: i64 = 5;

/// The columns that hold secrets, sealed, and the column that names their row.
const SECRETS: [(&str, &str, &str); 2] = [("signing_key", "secret", "id"), ("service_account_key", "secret", "id")];

/// `PRAGMA application_id`: the letters `Drwd`. Tells a database of ours from that of another program. On a server, the lock
/// under which the schema is changed.
pub(crate) const APPLICATION_ID: i64 = 0x4472_7764;

const CHECK: Place<'static> = Place { table: "sealing", column: "value", row: "1" };
const CHECK_TEXT: &[u8] = b"doorward";

/// Why a database was not brought up to date. It is as it was.
#[derive(Debug)]
pub(crate) enum MigrateError {
    Store(StoreError),
    Newer { found: i64 },
    Damaged(Damage),
    WrongKey,
}

impl From<StoreError> for MigrateError {
    fn from(error: StoreError) -> Self {
        MigrateError::Store(error)
    }
}

/// Applies what is missing and gives the version that there was, 0 being none. The caller holds the lock under which nobody else
/// does this, and commits.
pub(crate) async fn migrate(change: &mut Change, sealer: &Sealer) -> Result<i64, MigrateError> {
    let applied = version(change).await?;
    if applied > SCHEMA_VERSION {
        return Err(MigrateError::Newer { found: applied });
    }
    let steps = usize::try_from(applied).unwrap_or(0);
    expect_tables(change, steps).await?;
    for migration in &MIGRATIONS[steps..] {
        let text = match change {
            Change::Sqlite(_) => Cow::from(*migration),
            Change::Postgres(..) => migration.replace(" TEXT", " TEXT COLLATE \"C\"").into(),
        };
        change.run_script(text).await?;
    }
    if applied < SCHEMA_VERSION {
        mark(change, applied).await?;
    }
    if applied < SEALED_SINCE {
        seal_what_was_not(change, sealer).await?;
        query("INSERT INTO sealing (id, value) VALUES (1, $1)")
            .bind(sealer.seal(CHECK, CHECK_TEXT)?)
            .execute(&mut *change)
            .await?;
    }
    if (1..CHAINED_SINCE).contains(&applied) {
        hash_what_was_not(change).await?;
    }
    let check: Option<(Vec<u8>,)> =
        query("SELECT value FROM sealing WHERE id = 1").fetch_optional(&mut *change).await?;
    let Some((check,)) = check else { return Err(MigrateError::Damaged(Damage::HalfMade)) };
    if is_key_of(sealer, &check) { Ok(applied) } else { Err(MigrateError::WrongKey) }
}

/// Whether the secrets of a database are sealed with this key, by the text that is kept for this question.
pub(crate) fn is_key_of(sealer: &Sealer, check: &[u8]) -> bool {
    sealer.open(CHECK, check).is_ok_and(|text| text == CHECK_TEXT)
}

/// The schema's version, 0 if there is none.
pub(crate) async fn version(change: &mut Change) -> Result<i64, MigrateError> {
    if let Change::Sqlite(_) = change {
        let (version,) = query("PRAGMA user_version").fetch_one(&mut *change).await?;
        return Ok(version);
    }
    if !tables(change).await?.contains("doorward_schema") {
        return Ok(0);
    }
    let versions: Vec<(i64,)> = query("SELECT version FROM doorward_schema").fetch_all(&mut *change).await?;
    match versions[..] {
        [(version,)] if version > 0 => Ok(version),
        _ => Err(MigrateError::Damaged(Damage::HalfMade)),
    }
}

/// Writes down that every migration was applied.
async fn mark(change: &mut Change, applied: i64) -> Result<(), StoreError> {
    // A pragma takes no parameters; all numbers are ours.
    let marks = match change {
        Change::Sqlite(_) => {
            format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}")
        }
        Change::Postgres(..) if applied == 0 => format!(
            "CREATE TABLE doorward_schema (version BIGINT NOT NULL);
             INSERT INTO doorward_schema (version) VALUES ({SCHEMA_VERSION})"
        ),
        Change::Postgres(..) => format!("UPDATE doorward_schema SET version = {SCHEMA_VERSION}"),
    };
    change.run_script(marks.into()).await
}

/// Of a schema of which `steps` were applied, all tables are there, and none of those that are yet to come.
async fn expect_tables(change: &mut Change, steps: usize) -> Result<(), MigrateError> {
    let found = tables(change).await?;
    let here = tables_after(&MIGRATIONS[..steps]);
    let all: BTreeSet<&str> = (steps..=MIGRATIONS.len()).flat_map(|steps| tables_after(&MIGRATIONS[..steps])).collect();
    let missing = here.iter().any(|table| !found.contains(*table));
    let early = all.difference(&here).any(|table| found.contains(*table));
    if missing || early {
        return Err(MigrateError::Damaged(Damage::HalfMade));
    }
    Ok(())
}

/// The tables that are there after these migrations.
fn tables_after(migrations: &[&'static str]) -> BTreeSet<&'static str> {
    let mut tables = BTreeSet::new();
    for line in migrations.iter().flat_map(|migration| migration.lines()) {
        if let Some(made) = line.strip_prefix("CREATE TABLE ") {
            tables.extend(made.split(' ').next());
        } else if let Some(dropped) = line.strip_prefix("DROP TABLE ") {
            tables.remove(dropped.trim_end_matches(';'));
        }
    }
    tables
}

/// The tables of the newest schema.
#[cfg(test)]
pub(crate) fn current_tables() -> BTreeSet<&'static str> {
    tables_after(&MIGRATIONS)
}

/// The names of all tables.
async fn tables(change: &mut Change) -> Result<BTreeSet<String>, StoreError> {
    let names: Vec<(String,)> = query(
        "SELECT name FROM /*sqlite*/ sqlite_schema WHERE type = 'table' /*pg
         (SELECT tablename::text AS name FROM pg_catalog.pg_tables WHERE schemaname = current_schema()) AS tables*/",
    )
    .fetch_all(change)
    .await?;
    Ok(names.into_iter().map(|(name,)| name).collect())
}

async fn seal_what_was_not(change: &mut Change, sealer: &Sealer) -> Result<(), StoreError> {
    for (table, column, key) in SECRETS {
        let rows: Vec<(String, Vec<u8>)> =
            query(format!("SELECT {key}, {column} FROM {table} WHERE {column} IS NOT NULL"))
                .fetch_all(&mut *change)
                .await?;
        for (row, secret) in rows {
            let sealed = sealer.seal(Place { table, column, row: &row }, &secret)?;
            query(format!("UPDATE {table} SET {column} = $2 WHERE {key} = $1"))
                .bind(&row)
                .bind(sealed)
                .execute(&mut *change)
                .await?;
        }
    }
    Ok(())
}
