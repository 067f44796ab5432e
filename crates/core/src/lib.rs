//! The domain: pure rules and data, and the traits of the outside world. No network, no disk, no async runtime.

pub mod account;
pub mod audit;
pub mod clock;
pub mod entropy;
pub mod grant;
pub mod keys;
pub mod member;
pub mod policy;
pub mod resource;
pub mod snapshot;
pub mod store;
