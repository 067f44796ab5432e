//! A middleware for `reqwest`.

use async_trait::async_trait;
use http::{Extensions, Uri};
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next, Result};

use super::IdTokenHeader;

/// Adds an ID token to requests of `reqwest`, as its [`IdTokenHeader`] says.
///
/// `reqwest` follows redirects beneath its middleware, and takes `Authorization` and `Proxy-Authorization` off at the first one to
/// another scheme, host or port, also if that one was allowed too. A token error is [`Error::Middleware`], with a
/// [`TokenError`](crate::TokenError) in it, which `downcast_ref` finds.
#[derive(Debug, Clone)]
pub struct IdTokenMiddleware(IdTokenHeader);

impl IdTokenMiddleware {
    /// The middleware for one application.
    pub fn new(header: IdTokenHeader) -> Self {
        IdTokenMiddleware(header)
    }
}

#[async_trait]
impl Middleware for IdTokenMiddleware {
    async fn handle(&self, mut request: Request, extensions: &mut Extensions, next: Next<'_>) -> Result<Response> {
        // What `http` cannot read has no origin that could have been allowed.
        if let Ok(uri) = request.url().as_str().parse::<Uri>() {
            let header = self.0.header_for(&uri, request.headers()).await.map_err(Error::middleware)?;
            if let Some((name, value)) = header {
                request.headers_mut().insert(name, value);
            }
        }
        next.run(request, extensions).await
    }
}
