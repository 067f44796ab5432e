//! Shapes of Google's JSON APIs: the error envelope (AIP-193), IAM policies, IAP settings, service accounts and their keys,
//! workload identity pools.

mod error;
mod iam_policy;
mod iap_settings;
mod service_account;
mod workload_identity;

pub use error::{ApiError, ErrorBody, ErrorInfo, Status};
pub use iam_policy::{Binding, Etag, GetIamPolicyRequest, Policy, SetIamPolicyRequest};
pub use iap_settings::{AccessSettings, IapSettings, OAuthSettings};
pub use service_account::{
    CreateKeyRequest, CreateServiceAccountRequest, KeyFile, ListKeysResponse, ListServiceAccountsResponse,
    NewServiceAccount, ServiceAccount, ServiceAccountKey,
};
pub use workload_identity::{
    ListPoolsResponse, ListProvidersResponse, Oidc, Operation, WorkloadIdentityPool, WorkloadIdentityPoolProvider,
};
