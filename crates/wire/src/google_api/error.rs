//! `{"error":{"code","message","status"}}` (AIP-193).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The canonical codes that Doorward answers with, with their HTTP statuses (google.rpc.Code).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// 400: the request is wrong whatever the state of the system.
    InvalidArgument,
    /// 400: the request is right and the state of the system forbids it.
    FailedPrecondition,
    /// 401: no credential, or one that is not valid.
    Unauthenticated,
    /// 403: a valid credential without the permission.
    PermissionDenied,
    /// 404: no such thing.
    NotFound,
    /// 409: a thing of this name is there already.
    AlreadyExists,
    /// 409: a concurrent change won.
    Aborted,
    /// 429: too often, from this address or for this account.
    ResourceExhausted,
    /// 500: the failure is ours.
    Internal,
    /// 501: a method of Google's that is not built yet.
    Unimplemented,
}

impl Status {
    /// The HTTP status code.
    pub fn http(self) -> u16 {
        match self {
            Status::InvalidArgument | Status::FailedPrecondition => 400,
            Status::Unauthenticated => 401,
            Status::PermissionDenied => 403,
            Status::NotFound => 404,
            Status::AlreadyExists | Status::Aborted => 409,
            Status::ResourceExhausted => 429,
            Status::Internal => 500,
            Status::Unimplemented => 501,
        }
    }

    /// The number in records (google.rpc.Code).
    pub fn number(self) -> i32 {
        match self {
            Status::InvalidArgument => 3,
            Status::NotFound => 5,
            Status::AlreadyExists => 6,
            Status::PermissionDenied => 7,
            Status::ResourceExhausted => 8,
            Status::FailedPrecondition => 9,
            Status::Aborted => 10,
            Status::Unimplemented => 12,
            Status::Internal => 13,
            Status::Unauthenticated => 16,
        }
    }
}

/// The body of a refused call.
#[derive(Debug, Serialize, Deserialize)]
pub struct ApiError {
    /// Its one member.
    pub error: ErrorBody,
}

/// What went wrong.
#[derive(Debug, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The HTTP status code, again.
    pub code: u16,
    /// One or two sentences for people.
    pub message: String,
    /// The canonical code.
    pub status: Status,
    /// What a program may act on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<ErrorInfo>,
}

/// `google.rpc.ErrorInfo`: the cause as a constant.
///
/// Spec: <https://google.aip.dev/193#errorinfo>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorInfo {
    /// `type.googleapis.com/google.rpc.ErrorInfo`.
    #[serde(rename = "@type")]
    pub kind: String,
    /// `IAM_PERMISSION_DENIED` and the like.
    pub reason: String,
    /// The service to which the reason belongs.
    pub domain: String,
    /// What the reason is about.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

impl ErrorInfo {
    /// A cause, and what it is about.
    pub fn new(reason: &str, domain: &str, metadata: &[(&str, &str)]) -> Self {
        ErrorInfo {
            kind: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(),
            reason: reason.to_owned(),
            domain: domain.to_owned(),
            metadata: metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        }
    }
}

impl ApiError {
    /// The body for a status and a message.
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        ApiError { error: ErrorBody { code: status.http(), message: message.into(), status, details: Vec::new() } }
    }

    /// The same body with a cause that programs may act on.
    pub fn with_detail(mut self, detail: ErrorInfo) -> Self {
        self.error.details.push(detail);
        self
    }
}
