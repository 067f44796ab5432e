//! The domain: pure rules and data, and the traits of the outside world. No network, no disk, no async runtime.

pub mod account;
pub mod audit;
pub mod client;
pub mod clock;
pub mod entropy;
pub mod federation;
pub mod grant;
pub mod issuer;
pub mod keys;
pub mod member;
pub mod outbound;
pub mod policy;
pub mod resource;
pub mod self_signed;
pub mod session;
pub mod settings;
pub mod snapshot;
pub mod store;
