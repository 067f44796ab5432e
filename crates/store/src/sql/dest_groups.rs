use async_trait::async_trait;
use doorward_core::dest_group::{DestGroup, DestGroupName};
use doorward_core::store::{Changed, DestGroupStore, StoreError};

use super::{SqlStore, json, names};
use crate::db::{Row, query};

const SELECT: &str = "SELECT location, id, cidrs, fqdns FROM tunnel_dest_group";

#[async_trait]
impl DestGroupStore for SqlStore {
    async fn add_dest_group(&self, group: &DestGroup) -> Result<bool, StoreError> {
        let insert = query(
            "INSERT INTO tunnel_dest_group (location, id, cidrs, fqdns) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        )
        .bind(group.name.location())
        .bind(group.name.id())
        .bind(write(&group.cidrs)?)
        .bind(write(&group.fqdns)?);
        let mut change = self.db.begin().await?;
        let added = insert.changes_one(&mut change).await?;
        self.commit(change, &[]).await?;
        Ok(added)
    }

    async fn replace_dest_group(&self, seen: &DestGroup, group: &DestGroup) -> Result<bool, StoreError> {
        let update = query(
            "UPDATE tunnel_dest_group SET cidrs = $5, fqdns = $6
             WHERE location = $1 AND id = $2 AND cidrs = $3 AND fqdns = $4",
        )
        .bind(group.name.location())
        .bind(group.name.id())
        .bind(write(&seen.cidrs)?)
        .bind(write(&seen.fqdns)?)
        .bind(write(&group.cidrs)?)
        .bind(write(&group.fqdns)?);
        let mut change = self.db.begin().await?;
        let replaced = update.changes_one(&mut change).await?;
        self.commit(change, &[]).await?;
        Ok(replaced)
    }

    async fn remove_dest_group(&self, name: &DestGroupName, resource_name: &str) -> Result<bool, StoreError> {
        let mut change = self.db.begin().await?;
        names::lock(&mut change).await?;
        let delete = query("DELETE FROM tunnel_dest_group WHERE location = $1 AND id = $2");
        if !delete.bind(name.location()).bind(name.id()).changes_one(&mut change).await? {
            return Ok(false);
        }
        let policy = query("DELETE FROM policy WHERE resource = $1").bind(resource_name);
        let had_policy = policy.changes_one(&mut change).await?;
        let touched = had_policy.then(|| Changed::Policy(resource_name.to_owned()));
        self.commit(change, touched.as_slice()).await?;
        Ok(true)
    }

    async fn dest_group(&self, name: &DestGroupName) -> Result<Option<DestGroup>, StoreError> {
        let row: Option<Row> = query(format!("{SELECT} WHERE location = $1 AND id = $2"))
            .bind(name.location())
            .bind(name.id())
            .fetch_optional(self.db.readers())
            .await?;
        row.as_ref().map(read_group).transpose()
    }

    async fn dest_groups(&self, location: Option<&str>) -> Result<Vec<DestGroup>, StoreError> {
        let rows: Vec<Row> = match location {
            Some(location) => {
                let of_it = query(format!("{SELECT} WHERE location = $1")).bind(location);
                of_it.fetch_all(self.db.readers()).await?
            }
            None => query(SELECT).fetch_all(self.db.readers()).await?,
        };
        let mut groups: Vec<DestGroup> = rows.iter().map(read_group).collect::<Result<_, _>>()?;
        groups.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(groups)
    }
}

fn write<T: ToString>(entries: &[T]) -> Result<String, StoreError> {
    json(&entries.iter().map(ToString::to_string).collect::<Vec<_>>())
}

fn read_group(row: &Row) -> Result<DestGroup, StoreError> {
    let damaged = || StoreError::Damaged { what: "destination group" };
    let texts = |column: &str| -> Result<Vec<String>, StoreError> {
        serde_json::from_str(&row.get::<String>(column)?).map_err(|_| damaged())
    };
    let name = DestGroupName::new(&row.get::<String>("location")?, &row.get::<String>("id")?);
    let name = name.map_err(|_| damaged())?;
    DestGroup::read(name, &texts("cidrs")?, &texts("fqdns")?).map_err(|_| damaged())
}
