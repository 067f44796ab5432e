//! A layer for clients that are services of `http::Request`.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::IdTokenHeader;
use crate::token_error::TokenError;

/// Adds an ID token to requests, as its [`IdTokenHeader`] says.
///
/// Addresses of requests must be whole (`https://app.example.com/orders`), as those of pooled clients are: one without scheme and
/// host gets no token. Put a layer that follows redirects *outside* of this one: then each step is looked at by itself.
#[derive(Debug, Clone)]
pub struct IdTokenLayer(IdTokenHeader);

impl IdTokenLayer {
    /// The layer for one application.
    pub fn new(header: IdTokenHeader) -> Self {
        IdTokenLayer(header)
    }
}

impl<S> Layer<S> for IdTokenLayer {
    type Service = IdTokenService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        IdTokenService { inner, header: self.0.clone() }
    }
}

/// The service that [`IdTokenLayer`] makes.
#[derive(Debug, Clone)]
pub struct IdTokenService<S> {
    inner: S,
    header: IdTokenHeader,
}

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub enum SendError<E> {
    /// There is no token, and the request was not sent.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The client failed.
    #[error("{0}")]
    Client(E),
}

impl<S, B> Service<Request<B>> for IdTokenService<S>
where
    S: Service<Request<B>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = SendError<S::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, SendError<S::Error>>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(SendError::Client)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The one that was found ready goes with the request, and its clone waits for the next.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let header = self.header.clone();
        Box::pin(async move {
            let (uri, headers) = (request.uri().clone(), request.headers());
            if let Some((name, value)) = header.header_for(&uri, headers).await? {
                request.headers_mut().insert(name, value);
            }
            inner.call(request).await.map_err(SendError::Client)
        })
    }
}
