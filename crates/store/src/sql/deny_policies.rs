use async_trait::async_trait;
use doorward_core::clock::Timestamp;
use doorward_core::member::Member;
use doorward_core::policy::{DenyPolicy, DenyPolicyName, DenyRule, Etag, PermissionPattern};
use doorward_core::resource::Resource;
use doorward_core::store::{Changed, DenyPolicyStore, Replaced, StoreError};
use serde::{Deserialize, Serialize};

use super::policies::ConditionRecord;
use super::roles::replaced;
use super::{SqlStore, json, names, read_member};
use crate::db::{Change, Row, query};

const SELECT: &str = "SELECT attachment, id, uid, display_name, rules, created, updated, etag FROM deny_policy";

#[async_trait]
impl DenyPolicyStore for SqlStore {
    async fn add_deny_policy(&self, policy: &DenyPolicy) -> Result<Option<Etag>, StoreError> {
        let mut change = self.db.begin().await?;
        names::lock(&mut change).await?;
        // The first state is one that no policy of this name had before.
        let etag: Option<(i64,)> = query(
            "INSERT INTO deny_policy (attachment, id, uid, display_name, rules, created, updated, etag)
             SELECT $1, $2, $3, $4, $5, $6, $7, value + 1 FROM revision WHERE id = 1
             ON CONFLICT DO NOTHING RETURNING etag",
        )
        .bind(write_attachment(&policy.name.attachment)?)
        .bind(&policy.name.id)
        .bind(&policy.uid)
        .bind(&policy.display_name)
        .bind(write_rules(&policy.rules)?)
        .bind(policy.created.micros())
        .bind(policy.updated.micros())
        .fetch_optional(&mut change)
        .await?;
        let Some((etag,)) = etag else { return Ok(None) };
        self.commit(change, &[Changed::DenyPolicy(policy.name.clone())]).await?;
        Ok(Some(Etag(etag)))
    }

    async fn replace_deny_policy(&self, policy: &DenyPolicy, expected: Option<Etag>) -> Result<Replaced, StoreError> {
        let mut change = self.db.begin().await?;
        names::lock(&mut change).await?;
        let update = query(
            "UPDATE deny_policy SET display_name = $3, rules = $4, updated = $5, etag = etag + 1
             WHERE attachment = $1 AND id = $2 AND ($6 IS NULL OR etag = $6) RETURNING etag",
        )
        .bind(write_attachment(&policy.name.attachment)?)
        .bind(&policy.name.id)
        .bind(&policy.display_name)
        .bind(write_rules(&policy.rules)?)
        .bind(policy.updated.micros())
        .bind(expected.map(|etag| etag.0));
        self.finish(change, update, &policy.name).await
    }

    async fn remove_deny_policy(&self, name: &DenyPolicyName, expected: Option<Etag>) -> Result<Replaced, StoreError> {
        let mut change = self.db.begin().await?;
        names::lock(&mut change).await?;
        let delete = query(
            "DELETE FROM deny_policy WHERE attachment = $1 AND id = $2 AND ($3 IS NULL OR etag = $3) RETURNING etag",
        )
        .bind(write_attachment(&name.attachment)?)
        .bind(&name.id)
        .bind(expected.map(|etag| etag.0));
        self.finish(change, delete, name).await
    }

    async fn deny_policy(&self, name: &DenyPolicyName) -> Result<Option<DenyPolicy>, StoreError> {
        let row: Option<Row> = query(format!("{SELECT} WHERE attachment = $1 AND id = $2"))
            .bind(write_attachment(&name.attachment)?)
            .bind(&name.id)
            .fetch_optional(self.db.readers())
            .await?;
        row.as_ref().map(read_policy).transpose()
    }

    async fn deny_policies(&self) -> Result<Vec<DenyPolicy>, StoreError> {
        let rows: Vec<Row> = query(SELECT).fetch_all(self.db.readers()).await?;
        let mut policies: Vec<DenyPolicy> = rows.iter().map(read_policy).collect::<Result<_, _>>()?;
        policies.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(policies)
    }
}

impl SqlStore {
    async fn finish(
        &self,
        mut change: Change,
        statement: crate::db::Query<'_>,
        name: &DenyPolicyName,
    ) -> Result<Replaced, StoreError> {
        let is_there = query("SELECT COUNT(*) FROM deny_policy WHERE attachment = $1 AND id = $2")
            .bind(write_attachment(&name.attachment)?)
            .bind(&name.id);
        let replaced = replaced(&mut change, statement, is_there).await?;
        if let Replaced::Done(_) = replaced {
            self.commit(change, &[Changed::DenyPolicy(name.clone())]).await?;
        }
        Ok(replaced)
    }
}

/// Takes the members that go out of the exceptions of every policy, and says which it touched. Among those who are denied they stay:
/// what is denied to nobody harms nobody. `text` is in the text of each of them: policies without it are not read.
pub(super) async fn end_exceptions(
    change: &mut Change,
    text: &str,
    goes: &(impl Fn(&Member) -> bool + Sync),
) -> Result<Vec<Changed>, StoreError> {
    // What is a wildcard in the text finds more policies than it should, and never fewer.
    let rows: Vec<Row> = query(format!("{SELECT} WHERE rules LIKE '%' || $1 || '%' ORDER BY attachment, id"))
        .bind(text)
        .fetch_all(&mut *change)
        .await?;
    let mut touched = Vec::new();
    for row in &rows {
        let mut policy = read_policy(row)?;
        if !policy.rules.iter().flat_map(|rule| &rule.exception_principals).any(goes) {
            continue;
        }
        for rule in &mut policy.rules {
            rule.exception_principals.retain(|member| !goes(member));
        }
        query("UPDATE deny_policy SET rules = $3, etag = etag + 1 WHERE attachment = $1 AND id = $2")
            .bind(write_attachment(&policy.name.attachment)?)
            .bind(&policy.name.id)
            .bind(write_rules(&policy.rules)?)
            .execute(&mut *change)
            .await?;
        touched.push(Changed::DenyPolicy(policy.name));
    }
    Ok(touched)
}

/// `project/ID`, `folders/NUMBER/ID`, `organizations/NUMBER/ID`: there is one project, whose number the store does not know.
pub(super) fn write_name(name: &DenyPolicyName) -> Result<String, StoreError> {
    Ok(format!("{}/{}", write_attachment(&name.attachment)?, name.id))
}

pub(super) fn read_name(text: &str) -> Result<DenyPolicyName, StoreError> {
    let (attachment, id) = text.rsplit_once('/').ok_or(StoreError::Damaged { what: "name of a deny policy" })?;
    Ok(DenyPolicyName { attachment: read_attachment(attachment)?, id: id.to_owned() })
}

const PROJECT: &str = "project";
const FOLDERS: &str = "folders/";
const ORGANIZATIONS: &str = "organizations/";

fn write_attachment(attachment: &Resource) -> Result<String, StoreError> {
    match attachment {
        Resource::Project => Ok(PROJECT.to_owned()),
        Resource::Folder(number) => Ok(format!("{FOLDERS}{number}")),
        Resource::Organization(number) => Ok(format!("{ORGANIZATIONS}{number}")),
        // A name of this kind cannot be read from a request.
        Resource::Web
        | Resource::WebType(_)
        | Resource::WebService(..)
        | Resource::WebServiceVersion(..)
        | Resource::Tunnel
        | Resource::TunnelZone(_)
        | Resource::TunnelInstance(..)
        | Resource::TunnelLocation(_)
        | Resource::TunnelDestGroup(..)
        | Resource::ServiceAccount { .. } => Err(StoreError::Damaged { what: "attachment of a deny policy" }),
    }
}

fn read_attachment(text: &str) -> Result<Resource, StoreError> {
    if text == PROJECT {
        Ok(Resource::Project)
    } else if let Some(number) = text.strip_prefix(FOLDERS) {
        Ok(Resource::Folder(number.to_owned()))
    } else if let Some(number) = text.strip_prefix(ORGANIZATIONS) {
        Ok(Resource::Organization(number.to_owned()))
    } else {
        Err(StoreError::Damaged { what: "attachment of a deny policy" })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleRecord {
    description: String,
    denied_principals: Vec<String>,
    exception_principals: Vec<String>,
    denied_permissions: Vec<String>,
    exception_permissions: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    condition: Option<ConditionRecord>,
}

fn write_rules(rules: &[DenyRule]) -> Result<String, StoreError> {
    let members = |members: &[Member]| members.iter().map(ToString::to_string).collect();
    let patterns = |patterns: &[PermissionPattern]| patterns.iter().map(ToString::to_string).collect();
    let record = |rule: &DenyRule| RuleRecord {
        description: rule.description.clone(),
        denied_principals: members(&rule.denied_principals),
        exception_principals: members(&rule.exception_principals),
        denied_permissions: patterns(&rule.denied_permissions),
        exception_permissions: patterns(&rule.exception_permissions),
        condition: rule.condition.as_ref().map(ConditionRecord::of),
    };
    json(&rules.iter().map(record).collect::<Vec<_>>())
}

/// One rule that cannot be read spoils all: it forbids something.
fn read_rules(rules: &str) -> Result<Vec<DenyRule>, StoreError> {
    let records: Vec<RuleRecord> =
        serde_json::from_str(rules).map_err(|_| StoreError::Damaged { what: "deny policy" })?;
    let members = |texts: &[String]| texts.iter().map(|text| read_member(text)).collect::<Result<Vec<_>, _>>();
    let patterns = |texts: &[String]| -> Result<Vec<PermissionPattern>, StoreError> {
        let pattern = |text: &String| text.parse().map_err(|_| StoreError::Damaged { what: "denied permission" });
        texts.iter().map(pattern).collect()
    };
    let rule = |record: RuleRecord| {
        Ok(DenyRule {
            denied_principals: members(&record.denied_principals)?,
            exception_principals: members(&record.exception_principals)?,
            denied_permissions: patterns(&record.denied_permissions)?,
            exception_permissions: patterns(&record.exception_permissions)?,
            description: record.description,
            condition: record.condition.map(ConditionRecord::text),
        })
    };
    records.into_iter().map(rule).collect()
}

fn read_policy(row: &Row) -> Result<DenyPolicy, StoreError> {
    Ok(DenyPolicy {
        name: DenyPolicyName { attachment: read_attachment(&row.get::<String>("attachment")?)?, id: row.get("id")? },
        uid: row.get("uid")?,
        display_name: row.get("display_name")?,
        rules: read_rules(&row.get::<String>("rules")?)?,
        created: Timestamp::from_micros(row.get("created")?),
        updated: Timestamp::from_micros(row.get("updated")?),
        etag: Etag(row.get("etag")?),
    })
}
