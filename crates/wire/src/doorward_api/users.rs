//! People.

use serde::{Deserialize, Serialize};

/// A person: what `user:EMAIL` in a policy means.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UserResource {
    /// Their address.
    pub email: String,
    /// Their number for life: `sub` in their tokens.
    pub unique_id: String,
    /// They may neither sign in nor use tokens.
    pub disabled: bool,
}

/// Body of `POST /doorward/v1/users`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CreateUserRequest {
    /// Their address.
    pub email: String,
}

/// Answer of `GET /doorward/v1/users`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListUsersResponse {
    /// One page, by address.
    pub users: Vec<UserResource>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// Answer of `POST /doorward/v1/users/EMAIL:setPassword`. `Debug` does not show the password.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SetPasswordResponse {
    /// Their new password: never told again.
    pub password: String,
}

impl std::fmt::Debug for SetPasswordResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SetPasswordResponse(..)")
    }
}
