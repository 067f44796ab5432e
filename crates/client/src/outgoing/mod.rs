//! Which requests get an ID token, and in which header.

#[cfg(feature = "reqwest")]
mod reqwest;
mod tower;

use std::sync::Arc;

use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

#[cfg(feature = "reqwest")]
pub use reqwest::IdTokenMiddleware;
pub use tower::{IdTokenLayer, IdTokenService, SendError};

use crate::credentials::Credentials;
use crate::origin::{Origin, OriginError};
use crate::token_error::TokenError;

/// The ID token for one application: for which origins, and in which header.
///
/// A request gets it only if its scheme, host and port are those of an origin that was allowed, and only if it has no such header
/// yet. All others go out as they are. International host names are written as on the wire: `xn--caf-dma.example`.
///
/// ```
/// use doorward_client::{Credentials, IdTokenHeader, OriginError};
///
/// # let file = r#"{"type":"authorized_user","client_id":"c","refresh_token":"r"}"#;
/// let credentials = Credentials::from_json(file)?;
/// let header = IdTokenHeader::new(credentials, "123-app.apps.googleusercontent.com")
///     .allow("https://app.example.com")?
///     .allow("http://127.0.0.1:8080")?
///     .in_proxy_authorization();
/// assert!(matches!(header.allow("http://app.example.com"), Err(OriginError::Insecure(_))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct IdTokenHeader {
    credentials: Credentials,
    audience: Arc<str>,
    origins: Vec<Origin>,
    name: HeaderName,
}

impl IdTokenHeader {
    /// The token of `credentials` for `audience`, in `Authorization`, for no origin yet.
    pub fn new(credentials: Credentials, audience: &str) -> Self {
        IdTokenHeader { credentials, audience: audience.into(), origins: Vec::new(), name: AUTHORIZATION }
    }

    /// Lets requests to this origin have the token.
    ///
    /// # Errors
    /// [`OriginError`] if it is none, or plain http to another machine than this.
    pub fn allow(mut self, origin: &str) -> Result<Self, OriginError> {
        self.origins.push(origin.parse::<Origin>()?.secure()?);
        Ok(self)
    }

    /// Lets requests to this origin have the token also over plain http. Only for networks that are encrypted themselves.
    ///
    /// # Errors
    /// [`OriginError::Malformed`] if it is no origin.
    pub fn allow_insecure(mut self, origin: &str) -> Result<Self, OriginError> {
        self.origins.push(origin.parse()?);
        Ok(self)
    }

    /// Puts the token into `Proxy-Authorization`, which the identity-aware proxy looks at first and takes out, so that `Authorization`
    /// is left to the application.
    ///
    /// Over plain http, a forward proxy in between would take the header for its own: use none there.
    pub fn in_proxy_authorization(mut self) -> Self {
        self.name = PROXY_AUTHORIZATION;
        self
    }

    /// The header for a request to `uri` that has `headers`; `None` if it gets none.
    ///
    /// # Errors
    /// [`TokenError`] if it should get one and there is none: the request must not be sent without.
    pub async fn header_for(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Option<(HeaderName, HeaderValue)>, TokenError> {
        if headers.contains_key(&self.name) || !Origin::of(uri).is_some_and(|origin| self.origins.contains(&origin)) {
            return Ok(None);
        }
        let token = self.credentials.id_token(&self.audience).await?;
        Ok(Some((self.name.clone(), token.header_value())))
    }
}
