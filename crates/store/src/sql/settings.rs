use async_trait::async_trait;
use doorward_core::settings::Settings;
use doorward_core::store::{Changed, SettingsStore, StoreError};

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
        let write = match *settings == Settings::default() {
            true => query("DELETE FROM iap_settings WHERE resource = $1").bind(resource_name),
            false => query(
                "INSERT INTO iap_settings (resource, settings) VALUES ($1, $2)
                 ON CONFLICT (resource) DO UPDATE SET settings = excluded.settings",
            )
            .bind(resource_name)
            .bind(json(settings)?),
        };
        // Where nothing was and nothing is now, nothing was touched.
        self.change_one(write, Changed::Settings(resource_name.to_owned())).await.map(drop)
    }
}

/// A setting that is not known spoils all: it may be one that restricts.
fn read_settings(settings: &str) -> Result<Settings, StoreError> {
    serde_json::from_str(settings).map_err(|_| StoreError::Damaged { what: "IAP settings" })
}
