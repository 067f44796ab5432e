//! `/.well-known/openid-configuration` of `accounts.google.com`.

use serde::Serialize;

/// Where the endpoints are, as seen by the client that asks: Google's own names, or paths on our origin.
#[derive(Debug)]
pub struct DiscoveryUrls {
    /// Base of `accounts.google.com`, without a trailing slash.
    pub accounts: String,
    /// Base of `oauth2.googleapis.com`, without a trailing slash.
    pub oauth2: String,
    /// Base of `www.googleapis.com`, without a trailing slash.
    pub www: String,
}

/// The document (OpenID Connect Discovery 1.0 section 3). Only what is served is announced.
#[derive(Debug, Serialize)]
pub struct Discovery {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    response_types_supported: [&'static str; 1],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: [&'static str; 1],
    grant_types_supported: [&'static str; 1],
    claims_supported: [&'static str; 8],
}

impl Discovery {
    /// The document for the issuer string that ID tokens carry.
    pub fn new(issuer: &str, urls: &DiscoveryUrls) -> Self {
        Discovery {
            issuer: issuer.to_owned(),
            authorization_endpoint: format!("{}/o/oauth2/v2/auth", urls.accounts),
            token_endpoint: format!("{}/token", urls.oauth2),
            jwks_uri: format!("{}/oauth2/v3/certs", urls.www),
            response_types_supported: ["code"],
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: ["RS256"],
            grant_types_supported: [super::JWT_BEARER],
            claims_supported: ["aud", "azp", "email", "email_verified", "exp", "iat", "iss", "sub"],
        }
    }
}
