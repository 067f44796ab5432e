//! The domain: pure rules and data, and the traits of the outside world. No network, no disk, no async runtime.

pub mod access_level;
pub mod account;
pub mod audit;
pub mod client;
pub mod clock;
pub mod dest_group;
pub mod entropy;
pub mod federation;
pub mod freshness;
pub mod grant;
pub mod group;
pub mod issuer;
pub mod keys;
pub mod member;
pub mod outbound;
pub mod policy;
pub mod resource;
pub mod self_signed;
pub mod session;
pub mod settings;
mod sharded;
pub mod snapshot;
pub mod store;
