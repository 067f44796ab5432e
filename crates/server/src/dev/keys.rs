//! The keys of the signed header, for an application that is outside of the network in which everything else is served.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::HOST;
use http::{HeaderValue, Request, Uri};

use super::StartError;
use super::surfaces::failed;
use crate::errors::google_api::ApiFailure;
use crate::hosts::Api;
use crate::listen::{self, Listener, Room, Stop};

const OPTION: &str = "--keys-listen";

/// Where the keys are served, and nothing else: at the addresses that `doorward dev` has for them.
pub(super) struct KeysSocket {
    listener: Listener,
    /// The JWK set.
    pub(super) url: String,
}

impl KeysSocket {
    /// Takes the address.
    ///
    /// # Errors
    /// [`StartError::KeysNotLoopback`] if other machines reach it, [`StartError::Listen`] if it is taken.
    pub(super) fn bind(address: SocketAddr) -> Result<Self, StartError> {
        if !address.ip().is_loopback() {
            return Err(StartError::KeysNotLoopback(address));
        }
        let socket = listen::bind(address).map_err(failed(OPTION, address))?;
        let address = socket.local_addr().map_err(StartError::Worker)?;
        let url = format!("http://{address}/www.gstatic.com/iap/verify/public_key-jwk");
        Ok(KeysSocket { listener: Listener::plain(socket), url })
    }

    /// Answers by `api` until `stop`.
    pub(super) async fn serve(self, room: Room, api: Arc<Api>, stop: Stop) {
        let answer = move |request| answer(api.clone(), request);
        listen::serve(self.listener, room, stop, listen::API_DRAIN, answer).await;
    }
}

async fn answer(api: Arc<Api>, mut request: Request<Body>) -> Response {
    let Some(uri) = document(request.uri().path()) else { return ApiFailure::no_such_method().into_response() };
    *request.uri_mut() = uri;
    request.headers_mut().insert(HOST, HeaderValue::from_static("www.gstatic.com"));
    api.handle(request).await
}

/// The document that is at this path, by its path at Google's host. Nothing else of ours is reached from outside.
fn document(path: &str) -> Option<Uri> {
    Some(Uri::from_static(match path {
        "/www.gstatic.com/iap/verify/public_key-jwk" => "/iap/verify/public_key-jwk",
        "/www.gstatic.com/iap/verify/public_key" => "/iap/verify/public_key",
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_documents_are_reached_by_their_paths_and_nothing_else_is() {
        #[rustfmt::skip]
        let cases = [
            ("/www.gstatic.com/iap/verify/public_key-jwk",        Some("/iap/verify/public_key-jwk")),
            ("/www.gstatic.com/iap/verify/public_key",            Some("/iap/verify/public_key")),
            ("/iap/verify/public_key",                            None),
            ("/www.gstatic.com/iap/verify/public_key/",           None),
            ("/www.gstatic.com/iap/verify/../../decisions",       None),
            ("/oauth2.googleapis.com/token",                      None),
            ("/decisions",                                        None),
            ("/",                                                 None),
        ];
        for (path, expected) in cases {
            assert_eq!(document(path).map(|uri| uri.to_string()).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn no_other_machine_reaches_them() {
        let refused = KeysSocket::bind(SocketAddr::from(([0, 0, 0, 0], 0)));
        assert!(matches!(refused, Err(StartError::KeysNotLoopback(_))));
    }
}
