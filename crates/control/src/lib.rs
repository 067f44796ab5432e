//! The control plane's use cases: tokens, sign-in, accounts, keys, clients, policies. No HTTP types, no SQL.
//!
//! Every method that changes or shows something of the operator's takes an [`callers::Administrator`], which is proof that the
//! caller was authenticated; every method that acts as an account takes an [`callers::ApiCaller`].

pub mod callers;
pub mod certificates;
pub mod iam_credentials;
pub mod instance;
pub mod issuer_keys;
pub mod keys;
pub mod oauth_clients;
pub mod policies;
pub mod record;
pub mod service_accounts;
pub mod settings;
pub mod sign_in;
pub mod snapshots;
pub mod sts;
mod tasks;
pub mod throttle;
pub mod tokens;
pub mod workload_identity;
