use std::collections::BTreeMap;

use async_trait::async_trait;
use doorward_core::access_level::{AccessLevel, AccessLevelName, Definition, Simple};
use doorward_core::store::{AccessLevelStore, Changed, StoreError};
use serde::{Deserialize, Serialize};

use super::{SqlStore, json, names, read_member};
use crate::db::{Query, query};

#[async_trait]
impl AccessLevelStore for SqlStore {
    async fn add_access_level(&self, level: &AccessLevel, seen: &[AccessLevel]) -> Result<bool, StoreError> {
        let insert = query(
            "INSERT INTO access_level (name, title, description, definition) VALUES ($1, $2, $3, $4)
             ON CONFLICT DO NOTHING",
        );
        self.write_fitted(level.name(), bind_level(insert, level)?, seen).await
    }

    async fn replace_access_level(&self, level: &AccessLevel, seen: &[AccessLevel]) -> Result<bool, StoreError> {
        let update = query("UPDATE access_level SET title = $2, description = $3, definition = $4 WHERE name = $1");
        self.write_fitted(level.name(), bind_level(update, level)?, seen).await
    }

    async fn remove_access_level(&self, name: &AccessLevelName, seen: &[AccessLevel]) -> Result<bool, StoreError> {
        let delete = query("DELETE FROM access_level WHERE name = $1").bind(name.as_str());
        self.write_fitted(name, delete, seen).await
    }

    async fn access_levels(&self) -> Result<Vec<AccessLevel>, StoreError> {
        let rows: Vec<(String, String, String, String)> = query(EVERY).fetch_all(self.db.readers()).await?;
        rows.into_iter().map(read_level).collect()
    }
}

impl SqlStore {
    /// Runs a statement that writes this level, if all levels are those that were seen.
    async fn write_fitted(
        &self,
        name: &AccessLevelName,
        statement: Query<'_>,
        seen: &[AccessLevel],
    ) -> Result<bool, StoreError> {
        let seen = seen.iter().map(as_seen).collect::<BTreeMap<_, _>>();
        let mut change = self.db.begin().await?;
        names::lock(&mut change).await?;
        let rows: Vec<(String, String, String, String)> = query(EVERY).fetch_all(&mut change).await?;
        let here = rows.into_iter().map(|(name, title, description, definition)| {
            Ok((name, (title, description, read_definition(&definition)?)))
        });
        if here.collect::<Result<BTreeMap<_, _>, StoreError>>()? != seen || !statement.changes_one(&mut change).await? {
            return Ok(false);
        }
        self.commit(change, &[Changed::AccessLevel(name.clone())]).await?;
        Ok(true)
    }
}

const EVERY: &str = "SELECT name, title, description, definition FROM access_level ORDER BY name";

fn bind_level<'q>(statement: Query<'q>, level: &'q AccessLevel) -> Result<Query<'q>, StoreError> {
    let definition = json(&DefinitionRecord::of(level.definition()))?;
    Ok(statement.bind(level.name().as_str()).bind(level.title()).bind(level.description()).bind(definition))
}

/// A level as it is compared: by what it means, for another version may have written it otherwise.
fn as_seen(level: &AccessLevel) -> (String, (String, String, Definition)) {
    let texts = (level.title().to_owned(), level.description().to_owned(), level.definition().clone());
    (level.name().to_string(), texts)
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum DefinitionRecord {
    Expression(String),
    Simple(SimpleRecord),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SimpleRecord {
    ip_subnetworks: Vec<String>,
    required_access_levels: Vec<String>,
    members: Vec<String>,
}

impl DefinitionRecord {
    fn of(definition: &Definition) -> DefinitionRecord {
        match definition {
            Definition::Expression(source) => DefinitionRecord::Expression(source.clone()),
            Definition::Simple(simple) => DefinitionRecord::Simple(SimpleRecord {
                ip_subnetworks: simple.ip_subnetworks.clone(),
                required_access_levels: simple.required_access_levels.iter().map(ToString::to_string).collect(),
                members: simple.members.iter().map(ToString::to_string).collect(),
            }),
        }
    }
}

fn read_definition(text: &str) -> Result<Definition, StoreError> {
    let damaged = || StoreError::Damaged { what: "access level" };
    Ok(match serde_json::from_str(text).map_err(|_| damaged())? {
        DefinitionRecord::Expression(source) => Definition::Expression(source),
        DefinitionRecord::Simple(simple) => {
            let required = simple.required_access_levels.iter().map(|name| name.parse().map_err(|_| damaged()));
            Definition::Simple(Simple {
                ip_subnetworks: simple.ip_subnetworks,
                required_access_levels: required.collect::<Result<_, _>>()?,
                members: simple.members.iter().map(|member| read_member(member)).collect::<Result<_, _>>()?,
            })
        }
    })
}

/// A level that does not compile any more spoils all: without it nobody could say what a policy that names it grants.
fn read_level(row: (String, String, String, String)) -> Result<AccessLevel, StoreError> {
    let (name, title, description, definition) = row;
    let damaged = || StoreError::Damaged { what: "access level" };
    let name: AccessLevelName = name.parse().map_err(|_| damaged())?;
    AccessLevel::new(name, title, description, read_definition(&definition)?).map_err(|_| damaged())
}
