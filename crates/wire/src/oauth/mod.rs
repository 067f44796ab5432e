//! OAuth 2.0 shapes: the authorization and token endpoints (RFC 6749), scopes, device authorization (RFC 8628), and what a
//! server says of itself (OpenID Connect Discovery 1.0, RFC 8414, RFC 9728).

mod answers;
mod authorize;
mod client;
mod discovery;
mod parameters;
mod scope;
mod token;
mod token_exchange;

pub use answers::{AccessTokenInfo, DeviceAuthorization, UserInfo, id_token_info};
pub use authorize::{AuthorizeRequest, with_query};
pub use client::ClientCredentials;
pub use discovery::{Discovery, DiscoveryUrls, PROTECTED_RESOURCE_PATH, ProtectedResourceMetadata};
pub use parameters::{ParameterError, Parameters};
pub use scope::{Scopes, UnknownScope};
pub use token::{
    AUTHORIZATION_CODE, AuthorizationCodeRequest, DEVICE_CODE, DeviceCodeRequest, JWT_BEARER, JwtBearerRequest,
    OAuthCode, OAuthError, REFRESH_TOKEN, RefreshTokenRequest, TokenFormError, TokenRequest, TokenResponse,
};
pub use token_exchange::{
    ACCESS_TOKEN_TYPE, AWS4_REQUEST_TYPE, ID_TOKEN_TYPE, JWT_TYPE, SAML2_TYPE, TOKEN_EXCHANGE, TokenExchangeRequest,
    TokenExchangeResponse,
};
