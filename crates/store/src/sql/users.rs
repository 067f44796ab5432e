use async_trait::async_trait;
use doorward_core::account::{PasswordHash, UniqueId, User};
use doorward_core::member::Email;
use doorward_core::store::{Changed, StoreError, UserStore};

use super::{SqlStore, names, read_email};
use crate::db::query;

#[async_trait]
impl UserStore for SqlStore {
    async fn add_user(&self, user: &User) -> Result<bool, StoreError> {
        let insert =
            query("INSERT INTO person (unique_id, email, disabled) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                .bind(&user.unique_id.0)
                .bind(user.email.as_str())
                .bind(user.disabled);
        self.change_one(insert, Changed::User(user.unique_id.clone())).await
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

    async fn user_by_id(&self, id: &UniqueId) -> Result<Option<User>, StoreError> {
        let row = query("SELECT unique_id, email, disabled FROM person WHERE unique_id = $1")
            .bind(&id.0)
            .fetch_optional(self.db.readers())
            .await?;
        row.map(read_user).transpose()
    }

    async fn disable_user(&self, id: &UniqueId, disabled: bool) -> Result<bool, StoreError> {
        let update = query("UPDATE person SET disabled = $2 WHERE unique_id = $1").bind(&id.0).bind(disabled);
        self.change_one(update, Changed::User(id.clone())).await
    }

    async fn remove_user(&self, id: &UniqueId) -> Result<bool, StoreError> {
        let _forgetting = self.recent_tokens.forgetting();
        let mut change = self.db.begin().await?;
        names::lock(&mut change).await?;
        let removed: Option<(String,)> = query("DELETE FROM person WHERE unique_id = $1 RETURNING email")
            .bind(&id.0)
            .fetch_optional(&mut change)
            .await?;
        let Some((email,)) = removed else { return Ok(false) };
        // Others who end several grants of a client hold the client: they come before us, or after.
        let clients = "SELECT id FROM oauth_client WHERE id IN (SELECT client FROM person_grant WHERE subject = $1)
             ORDER BY id FOR UPDATE";
        change.lock(query(clients).bind(&id.0)).await?;
        // What was issued from them goes with them, by the references.
        for statement in ["DELETE FROM person_grant WHERE subject = $1", "DELETE FROM access_token WHERE subject = $1"]
        {
            query(statement).bind(&id.0).execute(&mut change).await?;
        }
        let mut touched = names::forget_user(&mut change, &read_email(&email)?).await?;
        touched.push(Changed::User(id.clone()));
        self.commit(change, &touched).await?;
        Ok(true)
    }

    async fn set_password(&self, user: &UniqueId, password: &PasswordHash) -> Result<bool, StoreError> {
        let update = query("UPDATE person SET password = $2 WHERE unique_id = $1").bind(&user.0).bind(&password.0);
        self.change_one(update, Changed::User(user.clone())).await
    }

    async fn set_first_password(&self, user: &UniqueId, password: &PasswordHash) -> Result<bool, StoreError> {
        let update = query("UPDATE person SET password = $2 WHERE unique_id = $1 AND password IS NULL")
            .bind(&user.0)
            .bind(&password.0);
        self.change_one(update, Changed::User(user.clone())).await
    }
}

fn read_user((unique_id, email, disabled): (String, String, bool)) -> Result<User, StoreError> {
    Ok(User { unique_id: UniqueId(unique_id), email: read_email(&email)?, disabled })
}
