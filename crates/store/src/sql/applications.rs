use async_trait::async_trait;
use doorward_core::resource::{Application, ClientId};
use doorward_core::store::{ApplicationStore, StoreError};

use super::SqlStore;
use crate::db::query;

#[async_trait]
impl ApplicationStore for SqlStore {
    async fn add_application(&self, application: &Application) -> Result<bool, StoreError> {
        query("INSERT INTO application (name, service_id, client_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(&application.name)
            .bind(&application.service_id)
            .bind(&application.client_id.0)
            .changes_one(self.db.writer())
            .await
    }

    async fn applications(&self) -> Result<Vec<Application>, StoreError> {
        let rows: Vec<(String, String, String)> =
            query("SELECT name, service_id, client_id FROM application ORDER BY name")
                .fetch_all(self.db.readers())
                .await?;
        let application =
            |(name, service_id, client_id)| Application { name, service_id, client_id: ClientId(client_id) };
        Ok(rows.into_iter().map(application).collect())
    }
}
