use async_trait::async_trait;
use doorward_core::access_level::{AccessLevel, AccessLevelName, Definition, Simple};
use doorward_core::store::{AccessLevelStore, Changed, StoreError};
use serde::{Deserialize, Serialize};

use super::{SqlStore, json, read_member};
use crate::db::{Query, query};

#[async_trait]
impl AccessLevelStore for SqlStore {
    async fn add_access_level(&self, level: &AccessLevel) -> Result<bool, StoreError> {
        let insert = query(
            "INSERT INTO access_level (name, title, description, definition) VALUES ($1, $2, $3, $4)
             ON CONFLICT DO NOTHING",
        );
        self.write_level(insert, level).await
    }

    async fn replace_access_level(&self, level: &AccessLevel) -> Result<bool, StoreError> {
        let update = query("UPDATE access_level SET title = $2, description = $3, definition = $4 WHERE name = $1");
        self.write_level(update, level).await
    }

    async fn remove_access_level(&self, name: &AccessLevelName) -> Result<bool, StoreError> {
        let delete = query("DELETE FROM access_level WHERE name = $1").bind(name.as_str());
        self.change_one(delete, Changed::AccessLevel(name.clone())).await
    }

    async fn access_levels(&self) -> Result<Vec<AccessLevel>, StoreError> {
        let rows: Vec<(String, String, String, String)> =
            query("SELECT name, title, description, definition FROM access_level ORDER BY name")
                .fetch_all(self.db.readers())
                .await?;
        rows.into_iter().map(read_level).collect()
    }
}

impl SqlStore {
    async fn write_level<'q>(&self, statement: Query<'q>, level: &'q AccessLevel) -> Result<bool, StoreError> {
        let statement = statement
            .bind(level.name().as_str())
            .bind(level.title())
            .bind(level.description())
            .bind(write_definition(level.definition())?);
        self.change_one(statement, Changed::AccessLevel(level.name().clone())).await
    }
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

fn write_definition(definition: &Definition) -> Result<String, StoreError> {
    json(&match definition {
        Definition::Expression(source) => DefinitionRecord::Expression(source.clone()),
        Definition::Simple(simple) => DefinitionRecord::Simple(SimpleRecord {
            ip_subnetworks: simple.ip_subnetworks.clone(),
            required_access_levels: simple.required_access_levels.iter().map(ToString::to_string).collect(),
            members: simple.members.iter().map(ToString::to_string).collect(),
        }),
    })
}

/// A level that does not compile any more spoils all: without it nobody could say what a policy that names it grants.
fn read_level(row: (String, String, String, String)) -> Result<AccessLevel, StoreError> {
    let (name, title, description, definition) = row;
    let damaged = || StoreError::Damaged { what: "access level" };
    let name: AccessLevelName = name.parse().map_err(|_| damaged())?;
    let definition = match serde_json::from_str(&definition).map_err(|_| damaged())? {
        DefinitionRecord::Expression(source) => Definition::Expression(source),
        DefinitionRecord::Simple(simple) => {
            let required = simple.required_access_levels.iter().map(|name| name.parse().map_err(|_| damaged()));
            Definition::Simple(Simple {
                ip_subnetworks: simple.ip_subnetworks,
                required_access_levels: required.collect::<Result<_, _>>()?,
                members: simple.members.iter().map(|member| read_member(member)).collect::<Result<_, _>>()?,
            })
        }
    };
    AccessLevel::new(name, title, description, definition).map_err(|_| damaged())
}
