//! Shapes of Google's JSON APIs: the error envelope (AIP-193), IAM policies, roles and deny policies, IAP settings,
//! brands and clients, service accounts and their keys, workload identity pools, backend services, App Engine
//! applications, projects, and entries of the audit log.
//!
//! Names of several APIs are the same (`Operation`, `Policy`, `Application`): those stay in their modules.

pub mod appengine;
pub mod audit_log;
pub mod batch;
pub mod cloud_resource_manager;
pub mod compute;
mod error;
pub mod field_mask;
pub mod iam_deny;
mod iam_policy;
pub mod iam_roles;
pub mod iap_admin;
pub mod iap_settings;
mod identity_aware_proxy;
pub mod operation;
pub mod otlp;
mod proto_json;
mod service_account;
mod workload_identity;

pub use error::{ApiError, ErrorBody, ErrorInfo, Status};
pub use field_mask::{FieldMask, FieldMaskError};
pub use iam_policy::{
    Binding, Etag, Expr, GetIamPolicyQuery, GetIamPolicyRequest, GetPolicyOptions, Policy, SetIamPolicyRequest,
    TestIamPermissionsRequest, TestIamPermissionsResponse, WITH_CONDITIONS,
};
pub use iap_settings::{AccessSettings, IapSettings, OAuthSettings};
pub use identity_aware_proxy::{IdentityAwareProxy, secret_sha256};
pub use operation::LongRunningOperation;
pub use proto_json::{InputSecret, ProtoDuration};
pub use service_account::{
    CreateKeyRequest, CreateServiceAccountRequest, GetKeyQuery, KeyFile, ListKeysResponse, ListServiceAccountsResponse,
    NewServiceAccount, PatchServiceAccountRequest, PublicKeyType, ServiceAccount, ServiceAccountKey,
};
pub use workload_identity::{
    ListPoolsResponse, ListProvidersResponse, Oidc, Operation, WorkloadIdentityPool, WorkloadIdentityPoolProvider,
};
