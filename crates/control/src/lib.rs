//! The control plane's use cases: tokens, sign-in, accounts, keys, clients, policies. No HTTP types, no SQL.
//!
//! Every method that changes or shows something of the operator's takes an [`admin::Admin`], demands a permission of it, and is
//! recorded; every method that acts as an account takes an [`callers::ApiCaller`].

pub mod access_levels;
pub mod admin;
pub mod applications;
pub mod brands;
pub mod callers;
pub mod certificates;
pub mod deny_policies;
pub(crate) mod etags;
pub mod explain;
pub mod groups;
pub mod iam_credentials;
pub mod instance;
pub mod issuer_keys;
pub mod keys;
pub mod oauth_clients;
pub mod policies;
pub mod projects;
pub mod record;
pub mod roles;
pub mod service_accounts;
pub mod settings;
pub mod sign_in;
pub mod simulate;
pub mod snapshots;
pub mod sts;
mod tasks;
pub mod throttle;
pub mod tokens;
pub mod tunnel_dest_groups;
pub mod users;
pub mod workload_identity;
pub mod world;
