use async_trait::async_trait;
use doorward_core::account::{PasswordHash, UniqueId, User};
use doorward_core::member::Email;
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

    async fn user_by_email(&self, email: &Email) -> Result<Option<(User, Option<PasswordHash>)>, StoreError> {
        let row: Option<(String, String, bool, Option<String>)> =
            sqlx::query_as("SELECT unique_id, email, disabled, password FROM person WHERE email = $1")
                .bind(email.as_str())
                .fetch_optional(&self.readers)
                .await
                .map_err(failed)?;
        row.map(|(unique_id, email, disabled, password)| {
            Ok((read_user((unique_id, email, disabled))?, password.map(PasswordHash)))
        })
        .transpose()
    }

    async fn set_password(&self, user: &UniqueId, password: &PasswordHash) -> Result<bool, StoreError> {
        let set = sqlx::query("UPDATE person SET password = $2 WHERE unique_id = $1")
            .bind(&user.0)
            .bind(&password.0)
            .execute(&self.writer)
            .await;
        Ok(set.map_err(failed)?.rows_affected() == 1)
    }
}

fn read_user((unique_id, email, disabled): (String, String, bool)) -> Result<User, StoreError> {
    Ok(User { unique_id: UniqueId(unique_id), email: read_email(&email)?, disabled })
}
