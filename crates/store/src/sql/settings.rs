use async_trait::async_trait;
use doorward_core::resource::ClientId;
use doorward_core::settings::Settings;
use doorward_core::store::{SettingsStore, StoreError};
use serde::{Deserialize, Serialize};

use super::{SqlStore, json};
use crate::db::query;

#[async_trait]
impl SettingsStore for SqlStore {
    async fn settings(&self, resource_name: &str) -> Result<Settings, StoreError> {
        let row: Option<(String,)> = query("SELECT settings FROM iap_settings WHERE resource = $1")
            .bind(resource_name)
            .fetch_optional(self.db.readers())
            .await?;
        row.map_or_else(|| Ok(Settings::default()), |(settings,)| read_settings(&settings))
    }

    async fn every_settings(&self) -> Result<Vec<(String, Settings)>, StoreError> {
        let rows: Vec<(String, String)> =
            query("SELECT resource, settings FROM iap_settings ORDER BY resource").fetch_all(self.db.readers()).await?;
        rows.into_iter().map(|(resource, settings)| Ok((resource, read_settings(&settings)?))).collect()
    }

    async fn replace_settings(&self, resource_name: &str, settings: &Settings) -> Result<(), StoreError> {
        query(
            "INSERT INTO iap_settings (resource, settings) VALUES ($1, $2)
             ON CONFLICT (resource) DO UPDATE SET settings = excluded.settings",
        )
        .bind(resource_name)
        .bind(write_settings(settings)?)
        .execute(self.db.writer())
        .await?;
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    programmatic_clients: Option<Vec<String>>,
}

fn write_settings(settings: &Settings) -> Result<String, StoreError> {
    let Settings { programmatic_clients } = settings;
    let ids = |clients: &Vec<ClientId>| clients.iter().map(|client| client.0.clone()).collect();
    json(&SettingsRecord { programmatic_clients: programmatic_clients.as_ref().map(ids) })
}

/// A setting that is not known spoils all: it may be one that restricts.
fn read_settings(settings: &str) -> Result<Settings, StoreError> {
    let record: SettingsRecord =
        serde_json::from_str(settings).map_err(|_| StoreError::Damaged { what: "IAP settings" })?;
    let clients = |ids: Vec<String>| ids.into_iter().map(ClientId).collect();
    Ok(Settings { programmatic_clients: record.programmatic_clients.map(clients) })
}
