use async_trait::async_trait;
use doorward_core::account::{UniqueId, User};
use doorward_core::store::{StoreError, UserStore};

use super::{SqliteStore, failed, read_email};

#[async_trait]
impl UserStore for SqliteStore {
    async fn add_user(&self, user: &User) -> Result<bool, StoreError> {
        let added =
            sqlx::query("INSERT INTO person (unique_id, email, disabled) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                .bind(&user.unique_id.0)
                .bind(user.email.as_str())
                .bind(user.disabled)
                .execute(&self.writer)
                .await;
        Ok(added.map_err(failed)?.rows_affected() == 1)
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        let rows = sqlx::query_as("SELECT unique_id, email, disabled FROM person ORDER BY email")
            .fetch_all(&self.readers)
            .await;
        rows.map_err(failed)?.into_iter().map(read_user).collect()
    }
}

fn read_user((unique_id, email, disabled): (String, String, bool)) -> Result<User, StoreError> {
    Ok(User { unique_id: UniqueId(unique_id), email: read_email(&email)?, disabled })
}
