//! JSON Web Signatures, strict: one spelling of a token is valid and no other (RFC 7515, RFC 7519, RFC 8725).
//!
//! General JOSE libraries accept published vectors that an access proxy must refuse, so parsing, header rules and claim
//! checks are ours; the primitives are aws-lc's. [`tolerant`] is the one exception, for one published script.

mod claims;
mod json;
mod jwk;
mod jws;
mod keys;
pub mod tolerant;

pub use claims::{ClaimError, Claims};
pub use json::{ObjectError, StrictNumber, parse_object};
pub use jwk::{Jwk, JwkSet, PublicKeyPem};
pub use jws::{Algorithm, JwsError, TokenKind, Unverified, decode_base64url, encode_base64url};
pub use keys::{KeyMaterialError, SigningKey, VerifyingKey, VerifyingKeys};

/// The longest token that is read, in bytes: tokens of 16 KiB and more are refused before anything is decoded.
pub const TOKEN_LIMIT: usize = 16 * 1024 - 1;
