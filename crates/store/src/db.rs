//! The thin layer over the two drivers: one text of a statement, values that both know, and rows that both give.
//!
//! Statements keep to the dialect that SQLite and PostgreSQL share. Where they cannot, both forms stand side by side in one
//! text ([`for_postgres`]).

use std::borrow::Cow;
use std::future::Future;
use std::time::Duration;

use doorward_core::store::StoreError;
use sqlx::postgres::{PgConnection, PgPool, PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, ColumnIndex, Decode, Row as _, Transaction, Type};

/// A database that is open.
pub(crate) enum Db {
    /// A file, or the memory of this process.
    Sqlite {
        /// One connection, `synchronous=FULL`: a commit is on the disk.
        writer: SqlitePool,
        /// One connection, `synchronous=NORMAL`: a commit is with the operating system.
        auditor: SqlitePool,
        /// Several connections that cannot write.
        readers: SqlitePool,
    },
    /// A server, which other instances use too.
    Postgres {
        /// For all but the record.
        pool: PgPool,
        /// For the record alone, so that it does not wait behind everything else.
        auditor: PgPool,
        /// After this long without an answer, a statement counts as lost.
        limit: Duration,
    },
}

impl Db {
    /// Where a single statement reads.
    pub(crate) fn readers(&self) -> Target<'_> {
        match self {
            Db::Sqlite { readers, .. } => Target::SqlitePool(readers),
            Db::Postgres { pool, limit, .. } => Target::PostgresPool(pool, *limit),
        }
    }

    /// Where a single statement writes.
    pub(crate) fn writer(&self) -> Target<'_> {
        match self {
            Db::Sqlite { writer, .. } => Target::SqlitePool(writer),
            Db::Postgres { pool, limit, .. } => Target::PostgresPool(pool, *limit),
        }
    }

    /// Begins a durable change. SQLite takes the write lock at once: a transaction that reads first and locks later could
    /// find that what it read has changed. PostgreSQL locks rows (READ COMMITTED): see [`Change::lock`].
    pub(crate) async fn begin(&self) -> Result<Change, StoreError> {
        match self {
            Db::Sqlite { writer, .. } => begin_sqlite(writer).await,
            Db::Postgres { pool, limit, .. } => begin_postgres(pool, *limit).await,
        }
    }

    /// Begins a change of the record.
    pub(crate) async fn begin_record(&self) -> Result<Change, StoreError> {
        match self {
            Db::Sqlite { auditor, .. } => begin_sqlite(auditor).await,
            Db::Postgres { auditor, limit, .. } => begin_postgres(auditor, *limit).await,
        }
    }

    /// Begins a look at everything as it is at one moment, while others write.
    pub(crate) async fn begin_look(&self) -> Result<Change, StoreError> {
        match self {
            Db::Sqlite { readers, .. } => readers.begin_with("BEGIN").await.map(Change::Sqlite).map_err(failed),
            Db::Postgres { pool, limit, .. } => {
                let begun = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
                within(*limit, begun).await.map(|look| Change::Postgres(look, *limit)).map_err(failed)
            }
        }
    }

    /// Waits for running calls and closes every connection. Later calls fail.
    pub(crate) async fn close(&self) {
        match self {
            Db::Sqlite { writer, auditor, readers } => {
                // The last connection to close moves the `-wal` file into the database, and one that cannot write cannot.
                readers.close().await;
                auditor.close().await;
                writer.close().await;
            }
            Db::Postgres { pool, auditor, .. } => {
                auditor.close().await;
                pool.close().await;
            }
        }
    }
}

pub(crate) async fn begin_sqlite(pool: &SqlitePool) -> Result<Change, StoreError> {
    pool.begin_with("BEGIN IMMEDIATE").await.map(Change::Sqlite).map_err(failed)
}

async fn begin_postgres(pool: &PgPool, limit: Duration) -> Result<Change, StoreError> {
    let change = within(limit, pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")).await;
    change.map(|change| Change::Postgres(change, limit)).map_err(failed)
}

/// A transaction. Nothing happened unless it is committed; dropping it undoes it.
pub(crate) enum Change {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>, Duration),
}

impl Change {
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Change::Sqlite(change) => change.commit().await,
            Change::Postgres(change, limit) => within(limit, change.commit()).await,
        }
        .map_err(failed)
    }

    /// Locks rows where rows are locked, to the end of the change. SQLite has one writer, which needs no lock.
    ///
    /// Whoever changes a row and the rows that refer to it locks the row first, as the cascade of a deletion does: two changes
    /// that lock in opposite orders would end one of them.
    pub(crate) async fn lock(&mut self, rows: Query<'_>) -> Result<(), StoreError> {
        match self {
            Change::Sqlite(_) => Ok(()),
            Change::Postgres(..) => rows.execute(self).await.map(drop),
        }
    }

    /// Runs a statement that only PostgreSQL knows, and only there.
    pub(crate) async fn on_a_server(&mut self, statement: Query<'_>) -> Result<(), StoreError> {
        self.lock(statement).await
    }

    /// Runs the statements of a text, which is ours.
    pub(crate) async fn run_script(&mut self, text: Cow<'static, str>) -> Result<(), StoreError> {
        match self {
            Change::Sqlite(change) => sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut **change).await.map(drop),
            Change::Postgres(change, _) => {
                sqlx::raw_sql(AssertSqlSafe(for_postgres(text))).execute(&mut **change).await.map(drop)
            }
        }
        .map_err(failed)
    }
}

/// What runs a statement.
pub(crate) enum Target<'a> {
    SqlitePool(&'a SqlitePool),
    PostgresPool(&'a PgPool, Duration),
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection, Duration),
}

impl<'a> From<&'a mut Change> for Target<'a> {
    fn from(change: &'a mut Change) -> Self {
        match change {
            Change::Sqlite(change) => Target::Sqlite(change),
            Change::Postgres(change, limit) => Target::Postgres(change, *limit),
        }
    }
}

/// A value that goes to the database. An absent one keeps its type, which PostgreSQL wants to know.
pub(crate) enum Value<'q> {
    Text(Option<Cow<'q, str>>),
    Integer(Option<i64>),
    Flag(bool),
    Bytes(Option<Cow<'q, [u8]>>),
}

macro_rules! value {
    ($($from:ty => |$value:ident| $into:expr;)*) => {
        $(impl<'q> From<$from> for Value<'q> {
            fn from($value: $from) -> Self {
                $into
            }
        })*
    };
}

value! {
    &'q str => |text| Value::Text(Some(text.into()));
    &'q String => |text| Value::Text(Some(text.as_str().into()));
    String => |text| Value::Text(Some(text.into()));
    Option<&'q str> => |text| Value::Text(text.map(Cow::from));
    Option<&'q String> => |text| Value::Text(text.map(|text| text.as_str().into()));
    Option<String> => |text| Value::Text(text.map(Cow::from));
    i64 => |number| Value::Integer(Some(number));
    Option<i64> => |number| Value::Integer(number);
    bool => |flag| Value::Flag(flag);
    Vec<u8> => |bytes| Value::Bytes(Some(bytes.into()));
    Option<Vec<u8>> => |bytes| Value::Bytes(bytes.map(Cow::from));
}

/// A statement with its values. Placeholders are `$1`, `$2`: both engines read them as numbered.
pub(crate) struct Query<'q> {
    text: Cow<'static, str>,
    values: Vec<Value<'q>>,
}

/// A statement of ours. Values never stand in its text.
pub(crate) fn query<'q>(text: impl Into<Cow<'static, str>>) -> Query<'q> {
    Query { text: text.into(), values: Vec::new() }
}

/// The statement of a driver: `$text` with all values bound.
macro_rules! native {
    ($engine:ty, $text:expr, $values:expr) => {{
        let mut native: sqlx::query::Query<'_, $engine, _> = sqlx::query(AssertSqlSafe($text));
        for value in $values {
            native = match value {
                Value::Text(text) => native.bind(text.as_deref()),
                Value::Integer(number) => native.bind(*number),
                Value::Flag(flag) => native.bind(*flag),
                Value::Bytes(bytes) => native.bind(bytes.as_deref()),
            };
        }
        native
    }};
}

/// Runs `$query` by `$method` of the driver, and gives what `$wrap` makes of its answer.
macro_rules! run {
    ($query:expr, $on:expr, $method:ident, $sqlite:expr, $postgres:expr) => {{
        let Query { text, values } = $query;
        match $on.into() {
            Target::SqlitePool(pool) => native!(Sqlite, text, &values).$method(pool).await.map($sqlite),
            Target::Sqlite(connection) => native!(Sqlite, text, &values).$method(connection).await.map($sqlite),
            Target::PostgresPool(pool, limit) => {
                let native = native!(Postgres, for_postgres(text), &values);
                within(limit, native.$method(pool)).await.map($postgres)
            }
            Target::Postgres(connection, limit) => {
                let native = native!(Postgres, for_postgres(text), &values);
                within(limit, native.$method(connection)).await.map($postgres)
            }
        }
        .map_err(failed)
    }};
}

impl<'q> Query<'q> {
    pub(crate) fn bind(mut self, value: impl Into<Value<'q>>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Runs it and gives how many rows it changed.
    pub(crate) async fn execute<'a>(self, on: impl Into<Target<'a>>) -> Result<u64, StoreError> {
        run!(self, on, execute, |done| done.rows_affected(), |done| done.rows_affected())
    }

    /// Runs it and says whether it changed one row.
    pub(crate) async fn changes_one<'a>(self, on: impl Into<Target<'a>>) -> Result<bool, StoreError> {
        Ok(self.execute(on).await? == 1)
    }

    pub(crate) async fn fetch_all<'a, T: FromRow>(self, on: impl Into<Target<'a>>) -> Result<Vec<T>, StoreError> {
        let rows: Vec<Row> =
            run!(self, on, fetch_all, |rows| rows.into_iter().map(Row::Sqlite).collect(), |rows| rows
                .into_iter()
                .map(Row::Postgres)
                .collect())?;
        rows.into_iter().map(T::from_row).collect()
    }

    pub(crate) async fn fetch_optional<'a, T: FromRow>(
        self,
        on: impl Into<Target<'a>>,
    ) -> Result<Option<T>, StoreError> {
        let row: Option<Row> =
            run!(self, on, fetch_optional, |row| row.map(Row::Sqlite), |row| row.map(Row::Postgres))?;
        row.map(T::from_row).transpose()
    }

    /// The one row that there is.
    pub(crate) async fn fetch_one<'a, T: FromRow>(self, on: impl Into<Target<'a>>) -> Result<T, StoreError> {
        T::from_row(run!(self, on, fetch_one, Row::Sqlite, Row::Postgres)?)
    }
}

/// A row that the database gave.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A type that a column may have: `String`, `i64`, `bool`, `Vec<u8>`, and each of them as an `Option`.
pub(crate) trait Column:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

impl<T> Column for T where T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres> {}

impl Row {
    /// The value of a column, by name or by place.
    pub(crate) fn get<T: Column>(
        &self,
        column: impl ColumnIndex<SqliteRow> + ColumnIndex<PgRow>,
    ) -> Result<T, StoreError> {
        match self {
            Row::Sqlite(row) => row.try_get(column),
            Row::Postgres(row) => row.try_get(column),
        }
        .map_err(failed)
    }
}

/// What can be read from a row.
pub(crate) trait FromRow: Sized {
    fn from_row(row: Row) -> Result<Self, StoreError>;
}

impl FromRow for Row {
    fn from_row(row: Row) -> Result<Self, StoreError> {
        Ok(row)
    }
}

macro_rules! tuples {
    ($(($($column:ident $place:tt),*))*) => {
        $(impl<$($column: Column),*> FromRow for ($($column,)*) {
            fn from_row(row: Row) -> Result<Self, StoreError> {
                Ok(($(row.get::<$column>($place)?,)*))
            }
        })*
    };
}

tuples! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
}

/// A text as PostgreSQL gets it: of `/*sqlite*/ A /*pg B*/` it gets B, and of `/*pg B*/` alone too. SQLite gets the text as it
/// is, and the comments are none of its business.
fn for_postgres(text: Cow<'static, str>) -> Cow<'static, str> {
    const SQLITE: &str = "/*sqlite*/";
    const POSTGRES: &str = "/*pg";
    if !text.contains(POSTGRES) {
        return text;
    }
    let mut rewritten = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some((before, after)) = rest.split_once(POSTGRES) {
        rewritten.push_str(before.split_once(SQLITE).map_or(before, |(shared, _)| shared));
        let (ours, after) = after.split_once("*/").unwrap_or((after, ""));
        rewritten.push_str(ours.trim_start());
        rest = after;
    }
    rewritten.push_str(rest);
    rewritten.into()
}

/// A server that vanished without a word would keep a call waiting for as long as the system keeps a connection: a quarter
/// of an hour.
async fn within<T>(limit: Duration, call: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let late = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    tokio::time::timeout(limit, call).await.map_err(late)?
}

/// What the callers of the store are told of a driver's error.
pub(crate) fn failed(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => StoreError::Damaged { what: "column" },
        error => StoreError::Unavailable(Box::new(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_may_say_the_same_in_two_ways() {
        let cases = [
            ("SELECT 1", "SELECT 1"),
            ("SELECT 1 /*pg FOR UPDATE*/", "SELECT 1 FOR UPDATE"),
            ("a /*sqlite*/ b /*pg c*/, d", "a c, d"),
            ("a /*pg\n x*/ b /*sqlite*/c/*pg d*/ e /*f*/", "a x b d e /*f*/"),
        ];
        for (text, expected) in cases {
            assert_eq!(for_postgres(text.into()), expected);
        }
    }
}
