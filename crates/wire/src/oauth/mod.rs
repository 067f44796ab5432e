//! OAuth 2.0 shapes: the token endpoint's form and answers (RFC 6749), scopes, and discovery (OpenID Connect Discovery 1.0).

mod discovery;
mod scope;
mod token;

pub use discovery::{Discovery, DiscoveryUrls};
pub use scope::{Scopes, UnknownScope};
pub use token::{JWT_BEARER, OAuthCode, OAuthError, TokenForm, TokenFormError, TokenRequest, TokenResponse};
