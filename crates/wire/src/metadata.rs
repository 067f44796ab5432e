//! The metadata server: names, and the documents that clients parse.
//!
//! Spec: <https://cloud.google.com/compute/docs/metadata/predefined-metadata-keys>

use http::HeaderName;
use serde::{Deserialize, Serialize};

/// Demanded of requests, and set on every answer.
pub const METADATA_FLAVOR: HeaderName = HeaderName::from_static("metadata-flavor");
/// The one value of [`METADATA_FLAVOR`].
pub const FLAVOR: &str = "Google";

/// Answer of `…/service-accounts/EMAIL/token`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MetadataToken {
    /// The opaque token.
    pub access_token: String,
    /// Whole seconds.
    pub expires_in: i64,
    /// `Bearer`.
    pub token_type: String,
}

/// `format` of an identity token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityFormat {
    /// Without an address, which IAP refuses.
    Standard,
    /// With the address and the instance.
    Full {
        /// With the licences of the instance.
        licenses: bool,
    },
}

impl IdentityFormat {
    /// Reads `format` and `licenses` of a query; `None` if either is not one of their values.
    pub fn parse(format: Option<&str>, licenses: Option<&str>) -> Option<Self> {
        let licenses = match licenses {
            None => false,
            Some(text) if text.eq_ignore_ascii_case("true") => true,
            Some(text) if text.eq_ignore_ascii_case("false") => false,
            Some(_) => return None,
        };
        match format {
            None | Some("standard") => Some(IdentityFormat::Standard),
            Some("full") => Some(IdentityFormat::Full { licenses }),
            Some(_) => None,
        }
    }
}
