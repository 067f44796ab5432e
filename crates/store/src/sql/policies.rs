use async_trait::async_trait;
use doorward_core::member::Member;
use doorward_core::policy::{Binding, Policy, PolicyEtag, Role};
use doorward_core::store::{Named, PolicyStore, PolicyWrite, StoreError};
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

<<<<<<< HEAD:crates/store/src/sqlite/policies.rs
use super::{SqliteStore, failed, json, lock_names};
=======
use super::{SqlStore, json};
use crate::db::query;
>>>>>>> issue5-store:crates/store/src/sql/policies.rs

#[async_trait]
impl PolicyStore for SqlStore {
    async fn policy(&self, resource_name: &str) -> Result<Policy, StoreError> {
        let row: Option<(String, i64)> = query("SELECT bindings, etag FROM policy WHERE resource = $1")
            .bind(resource_name)
            .fetch_optional(self.db.readers())
            .await?;
        row.map_or_else(|| Ok(Policy::default()), |(bindings, etag)| read_policy(&bindings, etag))
    }

    async fn policies(&self) -> Result<Vec<(String, Policy)>, StoreError> {
        let rows: Vec<(String, String, i64)> =
            query("SELECT resource, bindings, etag FROM policy ORDER BY resource").fetch_all(self.db.readers()).await?;
        rows.into_iter().map(|(resource, bindings, etag)| Ok((resource, read_policy(&bindings, etag)?))).collect()
    }

    async fn replace_policy(
        &self,
        resource_name: &str,
        bindings: &[Binding],
        expected: Option<PolicyEtag>,
        named: &[Named],
    ) -> Result<PolicyWrite, StoreError> {
        // Each is one statement that compares and sets.
        let statement = match expected {
            None => {
                "INSERT INTO policy (resource, bindings, etag) VALUES ($1, $2, 1)
                 ON CONFLICT (resource) DO UPDATE SET bindings = excluded.bindings, etag = policy.etag + 1
                 RETURNING etag"
            }
            Some(PolicyEtag::UNWRITTEN) => {
                "INSERT INTO policy (resource, bindings, etag) VALUES ($1, $2, 1) ON CONFLICT DO NOTHING
                 RETURNING etag"
            }
            Some(_) => {
                "UPDATE policy SET bindings = $2, etag = etag + 1 WHERE resource = $1 AND etag = $3
                 RETURNING etag"
            }
        };
        let mut replace = query(statement).bind(resource_name).bind(write_bindings(bindings)?);
        if let Some(etag) = expected.filter(|etag| *etag != PolicyEtag::UNWRITTEN) {
            replace = replace.bind(etag.0);
        }
<<<<<<< HEAD:crates/store/src/sqlite/policies.rs
        let mut change = self.begin().await?;
        lock_names(&mut change).await?;
        for name in named {
            if !is_there(&mut change, name).await? {
                return Ok(PolicyWrite::Missing(name.clone()));
            }
        }
        let etag: Option<i64> = query.fetch_optional(&mut *change).await.map_err(failed)?;
        // Only now it counts: a statement that returns a row has not yet committed when the row is there.
        change.commit().await.map_err(failed)?;
        Ok(etag.map_or(PolicyWrite::Conflict, |etag| PolicyWrite::Written(PolicyEtag(etag))))
=======
        // In a transaction, because a statement that returns a row has not yet committed when the row is there.
        let mut change = self.db.begin().await?;
        let etag: Option<(i64,)> = replace.fetch_optional(&mut change).await?;
        change.commit().await?;
        Ok(etag.map(|(etag,)| PolicyEtag(etag)))
>>>>>>> issue5-store:crates/store/src/sql/policies.rs
    }
}

async fn is_there(change: &mut SqliteConnection, name: &Named) -> Result<bool, StoreError> {
    let (statement, key) = match name {
        Named::ServiceAccount(email) => ("SELECT COUNT(*) FROM service_account WHERE email = $1", email.as_str()),
        Named::ServiceAccountId(id) => ("SELECT COUNT(*) FROM service_account WHERE unique_id = $1", id.0.as_str()),
        Named::Pool(id) => ("SELECT COUNT(*) FROM workload_identity_pool WHERE id = $1", id.as_str()),
    };
    let found: i64 = sqlx::query_scalar(statement).bind(key).fetch_one(change).await.map_err(failed)?;
    Ok(found == 1)
}

/// Takes the members that go out of every policy, which [`lock_names`] keeps still. `text` is in the text of each of them: policies
/// without it are not read.
pub(super) async fn unbind(
    change: &mut SqliteConnection,
    text: &str,
    goes: impl Fn(&Member) -> bool,
) -> Result<(), StoreError> {
    // What is a wildcard in the text finds more policies than it should, and never fewer.
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT resource, bindings, etag FROM policy WHERE bindings LIKE '%' || $1 || '%' ORDER BY resource",
    )
    .bind(text)
    .fetch_all(&mut *change)
    .await
    .map_err(failed)?;
    for (resource, bindings, etag) in rows {
        let Policy { mut bindings, .. } = read_policy(&bindings, etag)?;
        if !bindings.iter().flat_map(|binding| &binding.members).any(&goes) {
            continue;
        }
        for binding in &mut bindings {
            binding.members.retain(|member| !goes(member));
        }
        bindings.retain(|binding| !binding.members.is_empty());
        sqlx::query("UPDATE policy SET bindings = $2, etag = etag + 1 WHERE resource = $1")
            .bind(resource)
            .bind(write_bindings(&bindings)?)
            .execute(&mut *change)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BindingRecord {
    role: String,
    members: Vec<String>,
}

fn write_bindings(bindings: &[Binding]) -> Result<String, StoreError> {
    let record = |binding: &Binding| BindingRecord {
        role: binding.role.name().to_owned(),
        members: binding.members.iter().map(ToString::to_string).collect(),
    };
    json(&bindings.iter().map(record).collect::<Vec<_>>())
}

/// One binding that cannot be read spoils the policy: what is shown to an administrator must be what is in force.
fn read_policy(bindings: &str, etag: i64) -> Result<Policy, StoreError> {
    let records: Vec<BindingRecord> =
        serde_json::from_str(bindings).map_err(|_| StoreError::Damaged { what: "policy" })?;
    let binding = |record: BindingRecord| {
        let role = Role::from_name(&record.role).ok_or(StoreError::Damaged { what: "role of a policy" })?;
        let members = record.members.iter().map(|member| member.parse()).collect::<Result<_, _>>();
        Ok(Binding { role, members: members.map_err(|_| StoreError::Damaged { what: "member of a policy" })? })
    };
    let bindings = records.into_iter().map(binding).collect::<Result<_, StoreError>>()?;
    Ok(Policy { bindings, etag: PolicyEtag(etag) })
}
