use async_trait::async_trait;
use doorward_core::account::{PasswordHash, UniqueId, User};
use doorward_core::member::Email;
use doorward_core::store::{StoreError, UserStore};

use super::{SqlStore, read_email};
use crate::db::query;

#[async_trait]
impl UserStore for SqlStore {
    async fn add_user(&self, user: &User) -> Result<bool, StoreError> {
        query("INSERT INTO person (unique_id, email, disabled) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(&user.unique_id.0)
            .bind(user.email.as_str())
            .bind(user.disabled)
            .changes_one(self.db.writer())
            .await
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        let rows =
            query("SELECT unique_id, email, disabled FROM person ORDER BY email").fetch_all(self.db.readers()).await?;
        rows.into_iter().map(read_user).collect()
    }

    async fn user_by_email(&self, email: &Email) -> Result<Option<(User, Option<PasswordHash>)>, StoreError> {
        let row: Option<(String, String, bool, Option<String>)> =
            query("SELECT unique_id, email, disabled, password FROM person WHERE email = $1")
                .bind(email.as_str())
                .fetch_optional(self.db.readers())
                .await?;
        row.map(|(unique_id, email, disabled, password)| {
            Ok((read_user((unique_id, email, disabled))?, password.map(PasswordHash)))
        })
        .transpose()
    }

    async fn set_password(&self, user: &UniqueId, password: &PasswordHash) -> Result<bool, StoreError> {
        query("UPDATE person SET password = $2 WHERE unique_id = $1")
            .bind(&user.0)
            .bind(&password.0)
            .changes_one(self.db.writer())
            .await
    }
}

fn read_user((unique_id, email, disabled): (String, String, bool)) -> Result<User, StoreError> {
    Ok(User { unique_id: UniqueId(unique_id), email: read_email(&email)?, disabled })
}
