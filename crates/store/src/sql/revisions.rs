//! Up to where the store was written, and what each write touched.
//!
//! Each write draws a mark, and keeps the one that it found: a reader whose mark was not found by the next write has seen a store that
//! is no more.

use std::time::Duration;

use async_trait::async_trait;
use doorward_core::account::UniqueId;
use doorward_core::resource::ClientId;
use doorward_core::store::{Change as Touched, Changed, Revision, RevisionStore, StoreError};

use super::{SqlStore, deny_policies, read_email, read_member};
use crate::db::{Change, Query, Row, query};
use crate::watch::CHANNEL;

/// Of this many writes, the newest, is known what they touched.
const KEPT: i64 = 10_000;
/// After this many writes, what is beyond that is forgotten.
const FORGET_EVERY: i64 = 100;

const ROWS_PER_STATEMENT: usize = 64;
const COLUMNS: usize = 7;

impl SqlStore {
    /// Commits a change and says what it touched, to whoever asks and to whoever waits.
    ///
    /// The row of the revision is the last that a change locks: whoever waits for it holds what nobody needs who has it.
    pub(super) async fn commit(&self, mut change: Change, touched: &[Changed]) -> Result<(), StoreError> {
        if touched.is_empty() {
            return change.commit().await;
        }
        raise(&mut change, touched).await?;
        change.commit().await?;
        self.watch.tell();
        Ok(())
    }

    /// Runs one statement, and says what it touched if it changed a row.
    pub(super) async fn change_one(&self, statement: Query<'_>, touches: Changed) -> Result<bool, StoreError> {
        let mut change = self.db.begin().await?;
        if !statement.changes_one(&mut change).await? {
            return Ok(false);
        }
        self.commit(change, &[touches]).await?;
        Ok(true)
    }
}

/// Raises the revision by one, with a new mark. Gives the number, the mark and the mark before.
pub(crate) const RAISE: &str = "UPDATE revision SET value = value + 1, mark_before = mark,
         mark = /*sqlite*/ random() /*pg (random() * 9007199254740992)::bigint*/
     WHERE id = 1 RETURNING value, mark, mark_before";

async fn raise(change: &mut Change, touched: &[Changed]) -> Result<(), StoreError> {
    let (revision, mark, mark_before): (i64, i64, i64) = query(RAISE).fetch_one(&mut *change).await?;
    for (chunk, touched) in touched.chunks(ROWS_PER_STATEMENT).enumerate() {
        let mut insert = query(insert_text(touched.len()));
        for (place, what) in touched.iter().enumerate() {
            let place = i64::try_from(chunk * ROWS_PER_STATEMENT + place).unwrap_or(i64::MAX);
            let (kind, name, member) = write(what)?;
            insert = insert.bind(revision).bind(place).bind(mark).bind(mark_before).bind(kind).bind(name).bind(member);
        }
        insert.execute(&mut *change).await?;
    }
    if revision % FORGET_EVERY == 0 && revision > KEPT {
        query("DELETE FROM change_log WHERE revision <= $1").bind(revision - KEPT).execute(&mut *change).await?;
    }
    tell_others(change).await
}

/// Wakes the instances that listen, when the change is committed.
pub(crate) async fn tell_others(change: &mut Change) -> Result<(), StoreError> {
    change.on_a_server(query("SELECT pg_notify($1, '')").bind(CHANNEL)).await
}

fn insert_text(rows: usize) -> String {
    let row = |row: usize| {
        let places: Vec<String> = (1..=COLUMNS).map(|column| format!("${}", row * COLUMNS + column)).collect();
        format!("({})", places.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!(
        "INSERT INTO change_log (revision, place, mark, mark_before, kind, name, member) VALUES {}",
        rows.join(", ")
    )
}

#[async_trait]
impl RevisionStore for SqlStore {
    async fn revision(&self) -> Result<Revision, StoreError> {
        let (number, mark): (i64, i64) =
            query("SELECT value, mark FROM revision WHERE id = 1").fetch_one(self.db.readers()).await?;
        Ok(Revision { number, mark })
    }

    async fn changes_after(&self, after: Revision, limit: u32) -> Result<Option<Vec<Touched>>, StoreError> {
        // Up to the end of the revision of the last one that the limit admits. One statement: all of it is of one moment.
        let rows: Vec<Row> = query(
            "SELECT now.value AS newest, now.mark AS newest_mark, log.revision, log.mark, log.mark_before, log.kind, log.name,
                    log.member
             FROM revision AS now LEFT JOIN change_log AS log ON log.revision > $1 AND log.revision <= COALESCE(
                 (SELECT revision FROM change_log WHERE revision > $1 ORDER BY revision, place LIMIT 1 OFFSET $2),
                 now.value)
             WHERE now.id = 1 ORDER BY log.revision, log.place",
        )
        .bind(after.number)
        .bind(i64::from(limit.max(1)) - 1)
        .fetch_all(self.db.readers())
        .await?;
        let Some(first) = rows.first() else { return Err(StoreError::Damaged { what: "revision" }) };
        if first.get::<Option<i64>>("revision")?.is_none() {
            let newest = Revision { number: first.get("newest")?, mark: first.get("newest_mark")? };
            // Another one: it is forgotten what led there, or nothing did.
            return Ok((newest == after).then(Vec::new));
        }
        let (mut last, mut changes) = (after, Vec::with_capacity(rows.len()));
        for row in &rows {
            let revision = Revision { number: row.get("revision")?, mark: row.get("mark")? };
            let follows = revision.number == last.number + 1 && row.get::<i64>("mark_before")? == last.mark;
            let belongs = revision == last && last != after;
            if !follows && !belongs {
                return Ok(None);
            }
            last = revision;
            let what = read(&row.get::<String>("kind")?, row.get("name")?, row.get("member")?)?;
            changes.push(Touched { revision, what });
        }
        Ok(Some(changes))
    }

    async fn wait_for_change(&self, after: Revision, patience: Duration) -> Result<(), StoreError> {
        let change = async {
            let mut told = self.watch.subscribe();
            loop {
                // What we are told while we look makes us look again.
                if self.revision().await? != after {
                    return Ok(());
                }
                told.wait().await;
            }
        };
        // That it took too long is no failure.
        tokio::time::timeout(patience, change).await.unwrap_or(Ok(()))
    }
}

/// The kind, the name, and the member where there is one.
fn write(what: &Changed) -> Result<(&'static str, String, Option<String>), StoreError> {
    Ok(match what {
        Changed::Keys => ("keys", String::new(), None),
        Changed::Policy(resource) => ("policy", resource.clone(), None),
        Changed::DenyPolicy(name) => ("deny_policy", deny_policies::write_name(name)?, None),
        Changed::Role(name) => ("role", name.to_string(), None),
        Changed::Group(email) => ("group", email.to_string(), None),
        Changed::GroupMember(email, member) => ("group_member", email.to_string(), Some(member.to_string())),
        Changed::AccessLevel(name) => ("access_level", name.to_string(), None),
        Changed::Settings(resource) => ("settings", resource.clone(), None),
        Changed::Application(number) => ("application", number.clone(), None),
        Changed::OAuthClient(id) => ("oauth_client", id.0.clone(), None),
        Changed::Brand => ("brand", String::new(), None),
        Changed::ServiceAccount(id) => ("service_account", id.0.clone(), None),
        Changed::ServiceAccountKey(id) => ("service_account_key", id.clone(), None),
        Changed::User(id) => ("user", id.0.clone(), None),
        Changed::Federation => ("federation", String::new(), None),
    })
}

fn read(kind: &str, name: String, member: Option<String>) -> Result<Changed, StoreError> {
    let damaged = StoreError::Damaged { what: "change" };
    Ok(match (kind, member) {
        ("keys", None) => Changed::Keys,
        ("policy", None) => Changed::Policy(name),
        ("deny_policy", None) => Changed::DenyPolicy(deny_policies::read_name(&name)?),
        ("role", None) => Changed::Role(name.parse().map_err(|_| damaged)?),
        ("group", None) => Changed::Group(read_email(&name)?),
        ("group_member", Some(member)) => Changed::GroupMember(read_email(&name)?, read_member(&member)?),
        ("access_level", None) => Changed::AccessLevel(name.parse().map_err(|_| damaged)?),
        ("settings", None) => Changed::Settings(name),
        ("application", None) => Changed::Application(name),
        ("oauth_client", None) => Changed::OAuthClient(ClientId(name)),
        ("brand", None) => Changed::Brand,
        ("service_account", None) => Changed::ServiceAccount(UniqueId(name)),
        ("service_account_key", None) => Changed::ServiceAccountKey(name),
        ("user", None) => Changed::User(UniqueId(name)),
        ("federation", None) => Changed::Federation,
        (_, _) => return Err(damaged),
    })
}
