//! Groups. There may be a million members: each is a row, and no call reads them all.

use async_trait::async_trait;
use doorward_core::group::Group;
use doorward_core::member::{Email, Member};
use doorward_core::policy::Etag;
use doorward_core::store::{Changed, GroupStore, Replaced, StoreError};

use super::roles::replaced;
use super::{SqlStore, names, read_email, read_member};
use crate::db::{Change, query};

#[async_trait]
impl GroupStore for SqlStore {
    async fn add_group(&self, group: &Group) -> Result<Option<Etag>, StoreError> {
        let mut change = self.db.begin().await?;
        names::lock(&mut change).await?;
        // The first state is one that no group of this address had before.
        let etag: Option<(i64,)> = query(
            "INSERT INTO principal_group (email, display_name, description, etag)
             SELECT $1, $2, $3, value + 1 FROM revision WHERE id = 1 ON CONFLICT DO NOTHING RETURNING etag",
        )
        .bind(group.email.as_str())
        .bind(&group.display_name)
        .bind(&group.description)
        .fetch_optional(&mut change)
        .await?;
        let Some((etag,)) = etag else { return Ok(None) };
        let mut touched = names::forget_group(&mut change, &group.email).await?;
        touched.push(Changed::Group(group.email.clone()));
        self.commit(change, &touched).await?;
        Ok(Some(Etag(etag)))
    }

    async fn replace_group(&self, group: &Group, expected: Option<Etag>) -> Result<Replaced, StoreError> {
        let mut change = self.db.begin().await?;
        let update = query(
            "UPDATE principal_group SET display_name = $2, description = $3, etag = etag + 1
             WHERE email = $1 AND ($4 IS NULL OR etag = $4) RETURNING etag",
        )
        .bind(group.email.as_str())
        .bind(&group.display_name)
        .bind(&group.description)
        .bind(expected.map(|etag| etag.0));
        let is_there = query("SELECT COUNT(*) FROM principal_group WHERE email = $1").bind(group.email.as_str());
        let replaced = replaced(&mut change, update, is_there).await?;
        if let Replaced::Done(_) = replaced {
            // The group is there as before: whoever is told of it would read all of its members again.
            change.commit().await?;
        }
        Ok(replaced)
    }

    async fn remove_group(&self, group: &Email) -> Result<bool, StoreError> {
        let mut change = self.db.begin().await?;
        names::lock(&mut change).await?;
        // Its members go with it, by the reference.
        let removed = query("DELETE FROM principal_group WHERE email = $1").bind(group.as_str());
        if !removed.changes_one(&mut change).await? {
            return Ok(false);
        }
        let mut touched = names::forget_group(&mut change, group).await?;
        touched.push(Changed::Group(group.clone()));
        self.commit(change, &touched).await?;
        Ok(true)
    }

    async fn group(&self, group: &Email) -> Result<Option<Group>, StoreError> {
        let row = query("SELECT email, display_name, description, etag FROM principal_group WHERE email = $1")
            .bind(group.as_str())
            .fetch_optional(self.db.readers())
            .await?;
        row.map(read_group).transpose()
    }

    async fn groups(&self, after: Option<&Email>, limit: u32) -> Result<Vec<Group>, StoreError> {
        let rows = query(
            "SELECT email, display_name, description, etag FROM principal_group WHERE email > $1
             ORDER BY email LIMIT $2",
        )
        // No address is empty: all come after it.
        .bind(after.map_or("", Email::as_str))
        .bind(i64::from(limit))
        .fetch_all(self.db.readers())
        .await?;
        rows.into_iter().map(read_group).collect()
    }

    async fn add_group_member(&self, group: &Email, member: &Member) -> Result<bool, StoreError> {
        let insert = query(
            "INSERT INTO group_member (group_email, member)
             SELECT email, $2 FROM principal_group WHERE email = $1 /*pg FOR KEY SHARE*/ ON CONFLICT DO NOTHING",
        )
        .bind(group.as_str())
        .bind(member.to_string());
        self.change_one(insert, Changed::GroupMember(group.clone(), member.clone())).await
    }

    async fn remove_group_member(&self, group: &Email, member: &Member) -> Result<bool, StoreError> {
        let delete = query("DELETE FROM group_member WHERE group_email = $1 AND member = $2")
            .bind(group.as_str())
            .bind(member.to_string());
        self.change_one(delete, Changed::GroupMember(group.clone(), member.clone())).await
    }

    async fn is_group_member(&self, group: &Email, member: &Member) -> Result<bool, StoreError> {
        let (found,): (i64,) = query("SELECT COUNT(*) FROM group_member WHERE group_email = $1 AND member = $2")
            .bind(group.as_str())
            .bind(member.to_string())
            .fetch_one(self.db.readers())
            .await?;
        Ok(found == 1)
    }

    async fn group_members(
        &self,
        group: &Email,
        after: Option<&Member>,
        limit: u32,
    ) -> Result<Vec<Member>, StoreError> {
        let rows: Vec<(String,)> =
            query("SELECT member FROM group_member WHERE group_email = $1 AND member > $2 ORDER BY member LIMIT $3")
                .bind(group.as_str())
                .bind(after.map_or_else(String::new, ToString::to_string))
                .bind(i64::from(limit))
                .fetch_all(self.db.readers())
                .await?;
        rows.into_iter().map(|(member,)| read_member(&member)).collect()
    }

    async fn every_group_member(
        &self,
        after: Option<(&Email, &Member)>,
        limit: u32,
    ) -> Result<Vec<(Email, Member)>, StoreError> {
        let (group, member) = after.map_or(("", String::new()), |(group, member)| (group.as_str(), member.to_string()));
        let rows: Vec<(String, String)> = query(
            "SELECT group_email, member FROM group_member WHERE (group_email, member) > ($1, $2)
             ORDER BY group_email, member LIMIT $3",
        )
        .bind(group)
        .bind(member)
        .bind(i64::from(limit))
        .fetch_all(self.db.readers())
        .await?;
        rows.into_iter().map(|(group, member)| Ok((read_email(&group)?, read_member(&member)?))).collect()
    }

    async fn groups_of_member(&self, member: &Member) -> Result<Vec<Email>, StoreError> {
        let rows: Vec<(String,)> = query("SELECT group_email FROM group_member WHERE member = $1 ORDER BY group_email")
            .bind(member.to_string())
            .fetch_all(self.db.readers())
            .await?;
        rows.into_iter().map(|(group,)| read_email(&group)).collect()
    }
}

/// Takes a member out of every group, and says which.
pub(super) async fn take_out(change: &mut Change, member: &Member) -> Result<Vec<Changed>, StoreError> {
    let groups: Vec<(String,)> = query("DELETE FROM group_member WHERE member = $1 RETURNING group_email")
        .bind(member.to_string())
        .fetch_all(change)
        .await?;
    groups.into_iter().map(|(group,)| Ok(Changed::GroupMember(read_email(&group)?, member.clone()))).collect()
}

/// Takes those identities from elsewhere out of every group that go. `text` is in the text of each of them.
pub(super) async fn take_out_identities(
    change: &mut Change,
    text: &str,
    goes: impl Fn(&Member) -> bool,
) -> Result<Vec<Changed>, StoreError> {
    // From `principal:` to the last `principalSet:`: of a million people none is read.
    let rows: Vec<(String,)> = query(
        "SELECT DISTINCT member FROM group_member
         WHERE member >= 'principal:' AND member < 'principalSet;' AND member LIKE '%' || $1 || '%' ORDER BY member",
    )
    .bind(text)
    .fetch_all(&mut *change)
    .await?;
    let mut touched = Vec::new();
    for (member,) in rows {
        let member = read_member(&member)?;
        if goes(&member) {
            touched.extend(take_out(change, &member).await?);
        }
    }
    Ok(touched)
}

fn read_group(row: (String, String, String, i64)) -> Result<Group, StoreError> {
    let (email, display_name, description, etag) = row;
    Ok(Group { email: read_email(&email)?, display_name, description, etag: Etag(etag) })
}
