use async_trait::async_trait;
use doorward_core::store::{Brand, BrandStore, Changed, StoreError};

use super::{SqlStore, read_email};
use crate::db::query;

#[async_trait]
impl BrandStore for SqlStore {
    async fn add_brand(&self, brand: &Brand) -> Result<bool, StoreError> {
        let insert = query(
            "INSERT INTO brand (id, application_title, support_email, org_internal_only) VALUES (1, $1, $2, $3)
             ON CONFLICT DO NOTHING",
        )
        .bind(&brand.application_title)
        .bind(brand.support_email.as_str())
        .bind(brand.org_internal_only);
        self.change_one(insert, Changed::Brand).await
    }

    async fn brand(&self) -> Result<Option<Brand>, StoreError> {
        let row: Option<(String, String, bool)> =
            query("SELECT application_title, support_email, org_internal_only FROM brand WHERE id = 1")
                .fetch_optional(self.db.readers())
                .await?;
        row.map(|(application_title, support_email, org_internal_only)| {
            Ok(Brand { application_title, support_email: read_email(&support_email)?, org_internal_only })
        })
        .transpose()
    }
}
