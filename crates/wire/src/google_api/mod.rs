//! Shapes of Google's JSON APIs: the error envelope (AIP-193), IAM policies, service accounts and their keys.

mod error;
mod iam_policy;
mod service_account;

pub use error::{ApiError, ErrorBody, Status};
pub use iam_policy::{Binding, Etag, GetIamPolicyRequest, Policy, SetIamPolicyRequest};
pub use service_account::{
    CreateKeyRequest, CreateServiceAccountRequest, KeyFile, ListKeysResponse, ListServiceAccountsResponse,
    NewServiceAccount, ServiceAccount, ServiceAccountKey,
};
