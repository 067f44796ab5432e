//! The data plane: what happens to one request for a protected application. Read [`pipeline`] first.
//!
//! Takes and gives `http` types and is driven by whatever listens. Reads the snapshot and its own caches; it makes no
//! storage call, and cannot reach code that mints tokens.

mod api_urls;
mod assert;
mod authenticate;
mod authorize;
mod body;
mod denied;
mod describe;
mod forward;
mod outages;
pub mod pipeline;
mod record;
mod refusal;
mod resolve;
mod sanitize;
#[cfg(test)]
mod scenarios;
mod sign_in;
#[cfg(test)]
mod testing;

pub use api_urls::ApiUrls;
pub use body::ProxyBody;
pub use forward::Upstream;
pub use pipeline::{Config, Inputs, Proxy, Shared};
pub use record::{FromIntermediary, record_broken_request};
pub use sanitize::ServerName;
