//! From causes to codes: one exhaustive mapping for each family of errors on the wire.

pub(crate) mod google_api;
pub(crate) mod oauth;
