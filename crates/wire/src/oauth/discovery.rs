//! What we say of ourselves: OpenID Connect Discovery 1.0, RFC 8414 and RFC 9728.

use serde::{Deserialize, Serialize};

use super::token::{AUTHORIZATION_CODE, DEVICE_CODE, JWT_BEARER, REFRESH_TOKEN};

/// Where the endpoints are, as seen by the client that asks: Google's own names, or paths on our origin. Each is the base of a
/// host, without a trailing slash.
#[derive(Debug)]
pub struct DiscoveryUrls {
    /// Base of `accounts.google.com`.
    pub accounts: String,
    /// Base of `oauth2.googleapis.com`.
    pub oauth2: String,
    /// Base of `openidconnect.googleapis.com`.
    pub openidconnect: String,
    /// Base of `www.googleapis.com`.
    pub www: String,
}

/// The document of an authorization server (OpenID Connect Discovery 1.0 section 3, RFC 8414 section 2). Only what is served
/// is announced.
#[derive(Debug, Serialize)]
pub struct Discovery {
    issuer: String,
    authorization_endpoint: String,
    device_authorization_endpoint: String,
    token_endpoint: String,
    userinfo_endpoint: String,
    revocation_endpoint: String,
    jwks_uri: String,
    response_types_supported: [&'static str; 1],
    response_modes_supported: [&'static str; 1],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: [&'static str; 1],
    scopes_supported: [&'static str; 2],
    token_endpoint_auth_methods_supported: [&'static str; 3],
    revocation_endpoint_auth_methods_supported: [&'static str; 1],
    claims_supported: [&'static str; 9],
    code_challenge_methods_supported: [&'static str; 2],
    grant_types_supported: [&'static str; 4],
    authorization_response_iss_parameter_supported: bool,
}

impl Discovery {
    /// The document for the issuer string that ID tokens, and the `iss` of redirects, carry.
    pub fn new(issuer: &str, urls: &DiscoveryUrls) -> Self {
        Discovery {
            issuer: issuer.to_owned(),
            authorization_endpoint: format!("{}/o/oauth2/v2/auth", urls.accounts),
            device_authorization_endpoint: format!("{}/device/code", urls.oauth2),
            token_endpoint: format!("{}/token", urls.oauth2),
            userinfo_endpoint: format!("{}/v1/userinfo", urls.openidconnect),
            revocation_endpoint: format!("{}/revoke", urls.oauth2),
            jwks_uri: format!("{}/oauth2/v3/certs", urls.www),
            response_types_supported: ["code"],
            response_modes_supported: ["query"],
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: ["RS256"],
            scopes_supported: ["openid", "email"],
            token_endpoint_auth_methods_supported: ["client_secret_post", "client_secret_basic", "none"],
            revocation_endpoint_auth_methods_supported: ["none"],
            claims_supported: ["aud", "azp", "email", "email_verified", "exp", "hd", "iat", "iss", "sub"],
            code_challenge_methods_supported: ["plain", "S256"],
            grant_types_supported: [AUTHORIZATION_CODE, REFRESH_TOKEN, DEVICE_CODE, JWT_BEARER],
            authorization_response_iss_parameter_supported: true,
        }
    }
}

/// Where a protected resource says whose tokens it takes (RFC 9728 section 3).
pub const PROTECTED_RESOURCE_PATH: &str = "/.well-known/oauth-protected-resource";

/// The document of a protected resource (RFC 9728 section 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectedResourceMetadata {
    /// The resource's own URL.
    pub resource: String,
    /// Whose tokens it takes.
    pub authorization_servers: Vec<String>,
    /// What to ask for.
    pub scopes_supported: Vec<String>,
    /// `header`.
    pub bearer_methods_supported: Vec<String>,
    /// A name for people.
    pub resource_name: String,
    /// Ours: the audience that an ID token must carry.
    pub audience: String,
}
