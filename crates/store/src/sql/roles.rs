use async_trait::async_trait;
use doorward_core::policy::{CustomRole, Etag, LaunchStage, Permission, PermissionSet, RoleName};
use doorward_core::store::{Changed, Replaced, RoleStore, StoreError};

use super::{SqlStore, json};
use crate::db::{Change, Query, Row, query};

const SELECT: &str = "SELECT name, title, description, stage, permissions, deleted, etag FROM custom_role";

#[async_trait]
impl RoleStore for SqlStore {
    async fn add_role(&self, role: &CustomRole) -> Result<Option<Etag>, StoreError> {
        let insert = query(
            "INSERT INTO custom_role (name, title, description, stage, permissions, deleted, etag)
             VALUES ($1, $2, $3, $4, $5, $6, 1) ON CONFLICT DO NOTHING",
        );
        let added = self.change_one(bind(insert, role)?, Changed::Role(role.name.clone())).await?;
        Ok(added.then_some(Etag(1)))
    }

    async fn replace_role(&self, role: &CustomRole, expected: Option<Etag>) -> Result<Replaced, StoreError> {
        let mut change = self.db.begin().await?;
        let update = query(
            "UPDATE custom_role SET title = $2, description = $3, stage = $4, permissions = $5, deleted = $6,
                                    etag = etag + 1
             WHERE name = $1 AND ($7 IS NULL OR etag = $7) RETURNING etag",
        );
        let update = bind(update, role)?.bind(expected.map(|etag| etag.0));
        let is_there = query("SELECT COUNT(*) FROM custom_role WHERE name = $1").bind(role.name.as_str());
        let replaced = replaced(&mut change, update, is_there).await?;
        if let Replaced::Done(_) = replaced {
            self.commit(change, &[Changed::Role(role.name.clone())]).await?;
        }
        Ok(replaced)
    }

    async fn role(&self, name: &RoleName) -> Result<Option<CustomRole>, StoreError> {
        let row: Option<Row> =
            query(format!("{SELECT} WHERE name = $1")).bind(name.as_str()).fetch_optional(self.db.readers()).await?;
        row.as_ref().map(read_role).transpose()
    }

    async fn roles(&self) -> Result<Vec<CustomRole>, StoreError> {
        let rows: Vec<Row> = query(format!("{SELECT} ORDER BY name")).fetch_all(self.db.readers()).await?;
        rows.iter().map(read_role).collect()
    }
}

/// What came of a statement that compares a state, and returns the new one where it was the expected. `is_there` counts what it is
/// about.
pub(super) async fn replaced(
    change: &mut Change,
    statement: Query<'_>,
    is_there: Query<'_>,
) -> Result<Replaced, StoreError> {
    let etag: Option<(i64,)> = statement.fetch_optional(&mut *change).await?;
    if let Some((etag,)) = etag {
        return Ok(Replaced::Done(Etag(etag)));
    }
    let (found,): (i64,) = is_there.fetch_one(change).await?;
    Ok(if found == 0 { Replaced::NotFound } else { Replaced::Stale })
}

fn bind<'q>(statement: Query<'q>, role: &'q CustomRole) -> Result<Query<'q>, StoreError> {
    let permissions: Vec<&str> = role.permissions.iter().map(Permission::name).collect();
    Ok(statement
        .bind(role.name.as_str())
        .bind(&role.title)
        .bind(&role.description)
        .bind(role.stage.name())
        .bind(json(&permissions)?)
        .bind(role.deleted))
}

/// A permission that is not known spoils the role: what is shown to an administrator must be what is in force.
fn read_role(row: &Row) -> Result<CustomRole, StoreError> {
    let text = |column: &'static str| row.get::<String>(column);
    let damaged = || StoreError::Damaged { what: "custom role" };
    let permissions: Vec<String> = serde_json::from_str(&text("permissions")?).map_err(|_| damaged())?;
    let permissions = permissions.iter().map(|name| name.parse::<Permission>().map_err(|_| damaged()));
    Ok(CustomRole {
        name: text("name")?.parse().map_err(|_| damaged())?,
        title: text("title")?,
        description: text("description")?,
        stage: LaunchStage::from_name(&text("stage")?).ok_or_else(damaged)?,
        permissions: permissions.collect::<Result<PermissionSet, _>>()?,
        deleted: row.get("deleted")?,
        etag: Etag(row.get("etag")?),
    })
}
