use async_trait::async_trait;
use doorward_core::member::Member;
use doorward_core::policy::{Binding, ConditionText, Etag, Policy};
use doorward_core::store::{Changed, Named, PolicyStore, PolicyWrite, StoreError};
use serde::{Deserialize, Serialize};

use super::{SqlStore, json, names, read_member};
use crate::db::{Change, query};

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

    async fn count_policies(&self, name_prefix: &str) -> Result<u64, StoreError> {
        let statement =
            "SELECT COUNT(*) FROM policy WHERE substr(resource, 1, length(CAST($1 AS TEXT))) = CAST($1 AS TEXT)";
        let (count,): (i64,) = query(statement).bind(name_prefix).fetch_one(self.db.readers()).await?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    async fn replace_policy(
        &self,
        resource_name: &str,
        bindings: &[Binding],
        expected: Option<Etag>,
        named: &[Named],
    ) -> Result<PolicyWrite, StoreError> {
        // Each is one statement that compares and sets. A row that is made begins where no row before it has been: with the resource
        // its policy goes, and a writer who saw that one must not be taken for one who saw the policy of the next of its name.
        let statement = match expected {
            None => {
                "INSERT INTO policy (resource, bindings, etag) SELECT $1, $2, value + 1 FROM revision WHERE id = 1
                 ON CONFLICT (resource) DO UPDATE SET bindings = excluded.bindings, etag = policy.etag + 1
                 RETURNING etag"
            }
            Some(Etag::UNWRITTEN) => {
                "INSERT INTO policy (resource, bindings, etag) SELECT $1, $2, value + 1 FROM revision WHERE id = 1
                 ON CONFLICT DO NOTHING RETURNING etag"
            }
            Some(_) => {
                "UPDATE policy SET bindings = $2, etag = etag + 1 WHERE resource = $1 AND etag = $3
                 RETURNING etag"
            }
        };
        let mut replace = query(statement).bind(resource_name).bind(write_bindings(bindings)?);
        if let Some(etag) = expected.filter(|etag| *etag != Etag::UNWRITTEN) {
            replace = replace.bind(etag.0);
        }
        let mut change = self.db.begin().await?;
        names::lock(&mut change).await?;
        for name in named {
            if !names::is_there(&mut change, name).await? {
                return Ok(PolicyWrite::Missing(name.clone()));
            }
        }
        let etag: Option<(i64,)> = replace.fetch_optional(&mut change).await?;
        let Some((etag,)) = etag else { return Ok(PolicyWrite::Conflict) };
        self.commit(change, &[Changed::Policy(resource_name.to_owned())]).await?;
        Ok(PolicyWrite::Written(Etag(etag)))
    }
}

/// Takes the members that go out of every policy, and says which it touched; [`names::lock`] keeps the policies still. `text` is in the
/// text of each of them: policies without it are not read.
pub(super) async fn unbind(
    change: &mut Change,
    text: &str,
    goes: &(impl Fn(&Member) -> bool + Sync),
) -> Result<Vec<Changed>, StoreError> {
    // What is a wildcard in the text finds more policies than it should, and never fewer.
    let rows: Vec<(String, String, i64)> =
        query("SELECT resource, bindings, etag FROM policy WHERE bindings LIKE '%' || $1 || '%' ORDER BY resource")
            .bind(text)
            .fetch_all(&mut *change)
            .await?;
    let mut touched = Vec::new();
    for (resource, bindings, etag) in rows {
        let Policy { mut bindings, .. } = read_policy(&bindings, etag)?;
        if !bindings.iter().flat_map(|binding| &binding.members).any(goes) {
            continue;
        }
        for binding in &mut bindings {
            binding.members.retain(|member| !goes(member));
        }
        bindings.retain(|binding| !binding.members.is_empty());
        query("UPDATE policy SET bindings = $2, etag = etag + 1 WHERE resource = $1")
            .bind(&resource)
            .bind(write_bindings(&bindings)?)
            .execute(&mut *change)
            .await?;
        touched.push(Changed::Policy(resource));
    }
    Ok(touched)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BindingRecord {
    role: String,
    members: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    condition: Option<ConditionRecord>,
}

/// A condition as it is stored. Only the expression must be there: without it, nobody could say when something holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConditionRecord {
    expression: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    title: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    location: String,
}

impl ConditionRecord {
    pub(super) fn of(text: &ConditionText) -> Self {
        let ConditionText { expression, title, description, location } = text.clone();
        ConditionRecord { expression, title, description, location }
    }

    pub(super) fn text(self) -> ConditionText {
        let ConditionRecord { expression, title, description, location } = self;
        ConditionText { expression, title, description, location }
    }
}

fn write_bindings(bindings: &[Binding]) -> Result<String, StoreError> {
    let record = |binding: &Binding| BindingRecord {
        role: binding.role.to_string(),
        members: binding.members.iter().map(ToString::to_string).collect(),
        condition: binding.condition.as_ref().map(ConditionRecord::of),
    };
    json(&bindings.iter().map(record).collect::<Vec<_>>())
}

/// One binding that cannot be read spoils the policy: what is shown to an administrator must be what is in force.
fn read_policy(bindings: &str, etag: i64) -> Result<Policy, StoreError> {
    let records: Vec<BindingRecord> =
        serde_json::from_str(bindings).map_err(|_| StoreError::Damaged { what: "policy" })?;
    let binding = |record: BindingRecord| {
        Ok(Binding {
            role: record.role.parse().map_err(|_| StoreError::Damaged { what: "role of a policy" })?,
            members: record.members.iter().map(|member| read_member(member)).collect::<Result<_, _>>()?,
            condition: record.condition.map(ConditionRecord::text),
        })
    };
    let bindings = records.into_iter().map(binding).collect::<Result<_, StoreError>>()?;
    Ok(Policy { bindings, etag: Etag(etag) })
}
