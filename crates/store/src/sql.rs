//! The promises, kept on SQL: one file per aggregate.
//!
//! The queries keep to the dialect that SQLite and PostgreSQL share, and a promise about concurrency rests on conditional
//! statements and row locks, never on SQLite's having one writer.

mod access_levels;
mod applications;
mod audit;
mod brand;
mod codes;
mod deny_policies;
mod dest_groups;
mod devices;
mod federation;
mod grants;
mod groups;
mod keys;
mod names;
mod oauth_clients;
mod person_grants;
mod policies;
mod recent_tokens;
mod refresh_tokens;
mod revisions;
mod roles;
mod service_accounts;
mod sessions;
mod settings;
mod users;

use doorward_core::clock::Timestamp;
use doorward_core::member::{Email, Member};
use doorward_core::store::StoreError;
use doorward_wire::oauth::Scopes;

use crate::db::{Change, Db, query};
use crate::seal::Sealer;
use crate::watch::Watch;
use recent_tokens::RecentTokens;

/// Everything that Doorward stores, in one database: SQLite's, or a PostgreSQL server's.
///
/// Dropping it is safe at any time: what was answered with `Ok` is with the server, or in the `-wal` file of SQLite, from where
/// the next [`SqlStore::open`] reads it.
pub struct SqlStore {
    pub(crate) db: Db,
    pub(crate) sealer: Sealer,
    recent_tokens: RecentTokens,
    watch: Watch,
}

impl SqlStore {
    pub(crate) fn new(db: Db, sealer: Sealer, watch: Watch) -> SqlStore {
        // Others change what is on a server.
        let recent_tokens = match &db {
            Db::Sqlite { .. } => RecentTokens::default(),
            Db::Postgres { .. } => RecentTokens::none(),
        };
        SqlStore { db, sealer, recent_tokens, watch }
    }

    /// Wakes whoever waits for a change.
    pub(crate) fn tell(&self) {
        self.watch.tell();
    }

    /// Waits for running calls and closes the database; of SQLite's, moves the `-wal` file into it. Later calls fail.
    pub async fn close(&self) {
        self.watch.close().await;
        self.db.close().await;
    }
}

/// Runs one of the statements that forget what ended. Each finds it through an index and takes ten rows at most: it runs
/// inside somebody's request, and whatever it leaves is ignored by its readers and is the next one's.
///
/// Where rows are locked, it passes over those that others hold, and looks again at each that it locks: what was taken anew
/// meanwhile has not ended. It comes last in a change, what has a cascade first: nobody waits while holding rows that another
/// change forgets.
async fn forget(change: &mut Change, statement: &'static str, ended: Timestamp) -> Result<(), StoreError> {
    query(statement).bind(ended.micros()).execute(change).await.map(drop)
}

fn read_email(text: &str) -> Result<Email, StoreError> {
    text.parse().map_err(|_| StoreError::Damaged { what: "e-mail address" })
}

fn read_member(text: &str) -> Result<Member, StoreError> {
    text.parse().map_err(|_| StoreError::Damaged { what: "member" })
}

fn read_scopes(text: &str) -> Result<Scopes, StoreError> {
    Scopes::parse(text).map_err(|_| StoreError::Damaged { what: "scopes" })
}

/// JSON of one of our own types: writing it cannot fail but for a bug, and then nothing is written.
fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Unavailable(Box::new(error)))
}

pub(crate) use audit::hash_what_was_not;
pub(crate) use names::lock as lock_names;
pub(crate) use revisions::{RAISE, tell_others};

#[cfg(test)]
mod tests {
    use super::*;

    /// The plan of a statement, a line a step.
    async fn plan(store: &SqlStore, statement: &str) -> String {
        let explain = query(format!("EXPLAIN QUERY PLAN {statement}"));
        let steps: Vec<(i64, i64, i64, String)> = explain.fetch_all(store.db.readers()).await.unwrap();
        steps.into_iter().map(|(_, _, _, step)| step).collect::<Vec<_>>().join("\n")
    }

    #[tokio::test]
    async fn what_ended_and_members_of_groups_are_found_through_an_index() {
        let store = SqlStore::in_memory().await.unwrap();
        let cases = [
            (grants::FORGET_ACCESS_TOKENS, "access_token_by_expires (expires<?)"),
            (grants::FORGET_ASSERTIONS, "used_assertion_by_expires (expires<?)"),
            (codes::FORGET, "authorization_code_by_expires (expires<?)"),
            (person_grants::FORGET, "person_grant_by_ends (ends<?)"),
            (devices::FORGET, "device_code_by_expires (expires<?)"),
            (sessions::FORGET, "sign_in_session_by_expires (expires<?)"),
        ];
        for (statement, index) in cases {
            let plan = plan(&store, statement).await;
            assert!(plan.contains(index) && !plan.contains("SCAN"), "{statement}:\n{plan}");
        }
        let paged = [
            (
                "SELECT member FROM group_member WHERE group_email = $1 AND member > $2 ORDER BY member LIMIT $3",
                "member>?",
            ),
            (
                "SELECT group_email, member FROM group_member WHERE (group_email, member) > ($1, $2)
                 ORDER BY group_email, member LIMIT $3",
                "(group_email,member)>(?,?)",
            ),
            ("SELECT group_email FROM group_member WHERE member = $1 ORDER BY group_email", "group_member_by_member"),
            ("DELETE FROM group_member WHERE member = $1 RETURNING group_email", "group_member_by_member"),
            ("SELECT event FROM audit_event WHERE id = $1 ORDER BY sequence LIMIT 1", "audit_event_by_id"),
        ];
        for (statement, index) in paged {
            let plan = plan(&store, statement).await;
            let sorted = plan.contains("TEMP B-TREE");
            assert!(plan.contains(index) && !plan.contains("SCAN") && !sorted, "{statement}:\n{plan}");
        }
        let scanning = plan(&store, "DELETE FROM refresh_token WHERE rotated").await;
        assert!(scanning.contains("SCAN"), "a plan without an index is recognised: {scanning}");
    }

    #[tokio::test]
    async fn whatever_goes_with_something_else_is_found_through_an_index() {
        let store = SqlStore::in_memory().await.unwrap();
        let references: Vec<(String, String)> = query(
            "SELECT t.name, r.\"from\" FROM sqlite_schema t, pragma_foreign_key_list(t.name) r WHERE t.type = 'table'",
        )
        .fetch_all(store.db.readers())
        .await
        .unwrap();
        assert!(references.len() >= 7, "{references:?}");
        for (table, column) in references {
            // What SQLite runs when the row goes to which this one refers.
            let plan = plan(&store, &format!("DELETE FROM {table} WHERE {column} = $1")).await;
            assert!(plan.starts_with("SEARCH") && !plan.contains("SCAN"), "{table}.{column}:\n{plan}");
        }
    }
}
