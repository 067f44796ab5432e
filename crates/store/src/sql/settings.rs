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

    async fn replace_settings(
        &self,
        resource_name: &str,
        seen: &Settings,
        settings: &Settings,
    ) -> Result<bool, StoreError> {
        let row: Option<(String,)> = query("SELECT settings FROM iap_settings WHERE resource = $1")
            .bind(resource_name)
            .fetch_optional(self.db.readers())
            .await?;
        let stored = row.map(|(stored,)| stored);
        if stored.as_deref().map_or_else(|| Ok(Settings::default()), read_settings)? != *seen {
            return Ok(false);
        }
        let is_nothing = *settings == Settings::default();
        // What is compared is the text that was read, not one that we would write now: another version may have written it.
        let write = match (stored, is_nothing) {
            // Nothing was and nothing is now.
            (None, true) => return Ok(true),
            (None, false) => {
                query("INSERT INTO iap_settings (resource, settings) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                    .bind(resource_name)
                    .bind(json(settings)?)
            }
            (Some(stored), true) => {
                query("DELETE FROM iap_settings WHERE resource = $1 AND settings = $2").bind(resource_name).bind(stored)
            }
            (Some(stored), false) => {
                query("UPDATE iap_settings SET settings = $3 WHERE resource = $1 AND settings = $2")
                    .bind(resource_name)
                    .bind(stored)
                    .bind(json(settings)?)
            }
        };
        self.change_one(write, Changed::Settings(resource_name.to_owned())).await
    }
}

/// A setting that is not known spoils all: it may be one that restricts.
fn read_settings(settings: &str) -> Result<Settings, StoreError> {
    serde_json::from_str(settings).map_err(|_| StoreError::Damaged { what: "IAP settings" })
}
