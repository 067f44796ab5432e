//! A layer that lets nobody through whom the signed header does not prove.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use super::{Verifier, VerifyError};

/// Verifies each request. What goes on has an [`Identity`](crate::Identity) among its extensions. All else is answered with an empty
/// 401, or 503 where there are no keys to verify with, and the reason is in the log.
#[derive(Debug, Clone)]
pub struct VerifyLayer(Verifier);

impl VerifyLayer {
    /// The layer of this verifier.
    pub fn new(verifier: Verifier) -> Self {
        VerifyLayer(verifier)
    }
}

impl<S> Layer<S> for VerifyLayer {
    type Service = VerifyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        VerifyService { inner, verifier: self.0.clone() }
    }
}

/// The service that [`VerifyLayer`] makes.
#[derive(Debug, Clone)]
pub struct VerifyService<S> {
    inner: S,
    verifier: Verifier,
}

impl<S, B, R> Service<Request<B>> for VerifyService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The one that was found ready goes with the request, and its clone waits for the next.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let verifier = self.verifier.clone();
        Box::pin(async move {
            let headers = request.headers();
            match verifier.verify(headers).await {
                Ok(identity) => {
                    request.extensions_mut().insert(identity);
                    inner.call(request).await
                }
                Err(error) => {
                    // Strangers are not told which check failed.
                    tracing::warn!(%error, "a request was refused");
                    let mut response = Response::new(R::default());
                    *response.status_mut() = status(&error);
                    Ok(response)
                }
            }
        })
    }
}

fn status(error: &VerifyError) -> StatusCode {
    use VerifyError as E;
    match error {
        E::Keys(_) => StatusCode::SERVICE_UNAVAILABLE,
        E::Missing
        | E::Duplicate(_)
        | E::Malformed(_)
        | E::UnknownKey
        | E::Signature
        | E::Issuer
        | E::Audience { .. }
        | E::Time(_)
        | E::Life(_)
        | E::Claim(_)
        | E::Mismatch(_) => StatusCode::UNAUTHORIZED,
    }
}
