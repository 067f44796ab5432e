//! `doorward apply` and `doorward export`: a file of everything, and what of it is otherwise than what is there.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::google_api::Status;
use crate::world_file::WorldFile;

/// Body of `POST /v1/world:apply`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ApplyRequest {
    /// What is to be.
    pub file: WorldFile,
    /// Only say what would be changed.
    pub dry_run: bool,
    /// Also remove what is there and not in a list of the file. A list that the file has not is left alone.
    pub prune: bool,
}

/// Answer of `POST /v1/world:apply`. Things are changed one after the other, each whole or not at all, in the order of this answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplyResponse {
    /// What was changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<WorldChange>,
    /// What was not: all of it in a dry run, and what came after a failure.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_done: Vec<WorldChange>,
    /// What is there and not in the file, and stays because nobody asked to prune.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<WorldChange>,
    /// Why it stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<ApplyFailure>,
}

impl ApplyResponse {
    /// Whether what is there is what the file says, things that are kept not counted.
    pub fn is_in_force(&self) -> bool {
        self.not_done.is_empty() && self.failure.is_none()
    }
}

/// One thing that is, or was, otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorldChange {
    /// What happens to it.
    pub action: WorldAction,
    /// The list of the file that it is in, such as `applications`.
    pub list: WorldList,
    /// Its name in that list, such as `app wiki`.
    pub name: String,
    /// As it was, in the form of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// As it is to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// What happens to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WorldAction {
    /// It is made.
    Add,
    /// It is there, and becomes another.
    Change,
    /// It goes.
    Remove,
}

/// A list of [`WorldFile`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorldList {
    /// [`WorldFile::roles`]
    Roles,
    /// [`WorldFile::access_levels`]
    AccessLevels,
    /// [`WorldFile::service_accounts`]
    ServiceAccounts,
    /// [`WorldFile::groups`]
    Groups,
    /// [`WorldFile::applications`]
    Applications,
    /// [`WorldFile::settings`]
    Settings,
    /// [`WorldFile::deny_policies`]
    DenyPolicies,
    /// [`WorldFile::policies`]
    Policies,
}

/// Why the file was not applied to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApplyFailure {
    /// The thing that could not be changed: the first of `notDone`.
    pub name: String,
    /// The canonical code.
    pub status: Status,
    /// The cause.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_is_written_as_it_is_read_and_says_whether_all_is_in_force() {
        let change = json!({"action": "ADD", "list": "access_levels", "name": "office", "after": {"name": "office"}});
        let whole = json!({
            "done": [change], "notDone": [change], "kept": [change],
            "failure": {"name": "office", "status": "INVALID_ARGUMENT", "message": "m"},
        });
        let read: ApplyResponse = serde_json::from_value(whole.clone()).unwrap();
        assert!(!read.is_in_force());
        assert_eq!(serde_json::to_value(read).unwrap(), whole);
        let kept: ApplyResponse = serde_json::from_value(json!({"done": [change], "kept": [change]})).unwrap();
        assert!(kept.is_in_force());
        assert!(serde_json::from_value::<ApplyRequest>(json!({"file": {}, "prunes": true})).is_err());
    }
}
