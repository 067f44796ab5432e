//! What policies name. Whoever makes or removes something of it, and whoever writes a policy, waits for the others: no policy names
//! what is not there, and whoever is made under an old name has nothing of what was given to the one before.

use doorward_core::federation::{FederationId, Pool};
use doorward_core::member::{Email, Member};
use doorward_core::store::{Changed, Named, StoreError};

use super::{deny_policies, groups, policies};
use crate::db::{Change, query};

/// Locks the one row for which everybody waits who writes a policy or an access level, or makes or removes something that policies name. To be called
/// before anything else is locked or read.
pub(crate) async fn lock(change: &mut Change) -> Result<(), StoreError> {
    let row: Option<(i64,)> =
        query("SELECT id FROM name_lock WHERE id = 1 /*pg FOR UPDATE*/").fetch_optional(change).await?;
    row.map(drop).ok_or(StoreError::Damaged { what: "lock of names" })
}

/// Whether something is there. What is found while [`lock`] is held stays true until the commit.
pub(super) async fn is_there(change: &mut Change, name: &Named) -> Result<bool, StoreError> {
    let (statement, key) = match name {
        Named::ServiceAccount(email) => ("SELECT COUNT(*) FROM service_account WHERE email = $1", email.as_str()),
        Named::ServiceAccountId(id) => ("SELECT COUNT(*) FROM service_account WHERE unique_id = $1", id.0.as_str()),
        Named::Pool(id) => ("SELECT COUNT(*) FROM workload_identity_pool WHERE id = $1", id.as_str()),
        Named::Group(email) => ("SELECT COUNT(*) FROM principal_group WHERE email = $1", email.as_str()),
        Named::Application(number) => {
            ("SELECT COUNT(*) FROM registered_application WHERE service_id = $1", number.as_str())
        }
    };
    Ok(count(change, query(statement).bind(key)).await? == 1)
}

/// What a statement counts.
pub(super) async fn count(change: &mut Change, statement: crate::db::Query<'_>) -> Result<i64, StoreError> {
    let (count,): (i64,) = statement.fetch_one(change).await?;
    Ok(count)
}

/// Takes a service account out of whatever gives something to its address, and says what was touched.
pub(super) async fn forget_account(change: &mut Change, email: &Email) -> Result<Vec<Changed>, StoreError> {
    forget_member(change, &Member::ServiceAccount(email.clone())).await
}

/// As [`forget_account`], of a person.
pub(super) async fn forget_user(change: &mut Change, email: &Email) -> Result<Vec<Changed>, StoreError> {
    forget_member(change, &Member::User(email.clone())).await
}

/// As [`forget_account`], of a group.
pub(super) async fn forget_group(change: &mut Change, email: &Email) -> Result<Vec<Changed>, StoreError> {
    forget_member(change, &Member::Group(email.clone())).await
}

async fn forget_member(change: &mut Change, member: &Member) -> Result<Vec<Changed>, StoreError> {
    let text = member.to_string();
    let mut touched = forget_in_policies(change, &text, |it| it == member).await?;
    touched.extend(groups::take_out(change, member).await?);
    Ok(touched)
}

/// As [`forget_account`], of all identities of a pool.
pub(super) async fn forget_pool(change: &mut Change, pool: &FederationId) -> Result<Vec<Changed>, StoreError> {
    let inside = format!("/workloadIdentityPools/{}/", pool.as_str());
    let is_of = |member: &Member| Pool::of(member).is_some_and(|(_, id)| id == *pool);
    let mut touched = forget_in_policies(change, &inside, is_of).await?;
    touched.extend(groups::take_out_identities(change, &inside, is_of).await?);
    Ok(touched)
}

/// `text` is in the text of each member that goes: policies without it are not read.
async fn forget_in_policies(
    change: &mut Change,
    text: &str,
    goes: impl Fn(&Member) -> bool + Sync,
) -> Result<Vec<Changed>, StoreError> {
    let mut touched = policies::unbind(change, text, &goes).await?;
    touched.extend(deny_policies::end_exceptions(change, text, &goes).await?);
    Ok(touched)
}
