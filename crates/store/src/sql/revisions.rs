//! How often the store was written, and what each write touched.

use std::time::Duration;

use async_trait::async_trait;
use doorward_core::account::UniqueId;
use doorward_core::resource::ClientId;
use doorward_core::store::{Change as Touched, Changed, Revision, RevisionStore, StoreError};

use super::{SqlStore, deny_policies, read_email, read_member};
use crate::db::{Change, Query, query};
use crate::watch::CHANNEL;

/// Of this many writes, the newest, is known what they touched.
const KEPT: i64 = 10_000;
/// After this many writes, what is beyond that is forgotten.
const FORGET_EVERY: i64 = 100;

const ROWS_PER_STATEMENT: usize = 64;

impl SqlStore {
    /// Commits a change and says what it touched, to whoever asks and to whoever waits.
    ///
    /// The row of the revision is the last that a change locks: whoever waits for it holds what nobody needs who has it.
    pub(super) async fn commit(&self, mut change: Change, touched: &[Changed]) -> Result<(), StoreError> {
        if touched.is_empty() {
            return change.commit().await;
        }
        let revision = raise(&mut change, touched).await?;
        change.commit().await?;
        self.watch.saw(revision);
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

async fn raise(change: &mut Change, touched: &[Changed]) -> Result<i64, StoreError> {
    let (revision,): (i64,) =
        query("UPDATE revision SET value = value + 1 WHERE id = 1 RETURNING value").fetch_one(&mut *change).await?;
    for (chunk, touched) in touched.chunks(ROWS_PER_STATEMENT).enumerate() {
        let rows: Vec<String> = (0..touched.len())
            .map(|row| 5 * row)
            .map(|row| format!("(${}, ${}, ${}, ${}, ${})", row + 1, row + 2, row + 3, row + 4, row + 5))
            .collect();
        let text = format!("INSERT INTO change_log (revision, place, kind, name, member) VALUES {}", rows.join(", "));
        let mut insert = query(text);
        for (place, what) in touched.iter().enumerate() {
            let place = i64::try_from(chunk * ROWS_PER_STATEMENT + place).unwrap_or(i64::MAX);
            let (kind, name, member) = write(what)?;
            insert = insert.bind(revision).bind(place).bind(kind).bind(name).bind(member);
        }
        insert.execute(&mut *change).await?;
    }
    if revision % FORGET_EVERY == 0 && revision > KEPT {
        for statement in
            ["DELETE FROM change_log WHERE revision <= $1", "UPDATE revision SET forgotten = $1 WHERE id = 1"]
        {
            query(statement).bind(revision - KEPT).execute(&mut *change).await?;
        }
    }
    let tell = query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(revision.to_string());
    change.on_a_server(tell).await?;
    Ok(revision)
}

#[async_trait]
impl RevisionStore for SqlStore {
    async fn revision(&self) -> Result<Revision, StoreError> {
        let (value,): (i64,) = query("SELECT value FROM revision WHERE id = 1").fetch_one(self.db.readers()).await?;
        Ok(Revision(value))
    }

    async fn changes_after(&self, after: Revision, limit: u32) -> Result<Option<Vec<Touched>>, StoreError> {
        // Up to the end of the revision of the last one that the limit admits.
        let rows: Vec<(i64, String, String, Option<String>)> = query(
            "SELECT revision, kind, name, member FROM change_log WHERE revision > $1 AND revision <= COALESCE(
                 (SELECT revision FROM change_log WHERE revision > $1 ORDER BY revision, place LIMIT 1 OFFSET $2),
                 (SELECT value FROM revision WHERE id = 1))
             ORDER BY revision, place",
        )
        .bind(after.0)
        .bind(i64::from(limit.max(1)) - 1)
        .fetch_all(self.db.readers())
        .await?;
        // Asked afterwards: what is not forgotten now was not when the rows were read.
        let (value, forgotten): (i64, i64) =
            query("SELECT value, forgotten FROM revision WHERE id = 1").fetch_one(self.db.readers()).await?;
        if after.0 < forgotten || after.0 > value {
            return Ok(None);
        }
        let change = |(revision, kind, name, member): (i64, String, String, Option<String>)| {
            Ok(Touched { revision: Revision(revision), what: read(&kind, name, member)? })
        };
        rows.into_iter().map(change).collect::<Result<Vec<_>, _>>().map(Some)
    }

    async fn wait_for_change(&self, after: Revision, patience: Duration) -> Result<(), StoreError> {
        let change = async {
            loop {
                // Also what was told before we listened, or to nobody.
                self.watch.saw(self.revision().await?.0);
                if self.watch.wait(after.0).await {
                    return Ok(());
                }
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
