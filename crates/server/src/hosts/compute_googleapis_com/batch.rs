//! Several calls in one request, as gcloud makes them for several resources, and for one if it is told to.
//!
//! Spec: <https://cloud.google.com/compute/docs/api/how-tos/batch>

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{FromRequest as _, FromRequestParts as _, Request, State};
use axum::response::{IntoResponse as _, Response};
use doorward_core::entropy::random_hex;
use doorward_wire::google_api::Status;
use doorward_wire::google_api::batch::{BatchedRequest, read, write_answer, write_end};
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, Uri};
use tower::ServiceExt as _;

use super::{HOST, methods};
use crate::errors::google_api::ApiFailure;
use crate::hosts::{BODY_LIMIT, Credential, Reached, Services};

/// What a part that does not say it itself has from the whole.
const SHARED: [HeaderName; 2] = [AUTHORIZATION, USER_AGENT];
/// The answers to one batch, at most, in bytes.
const ANSWERS_LIMIT: usize = 32 * 1024 * 1024;

/// `POST /batch/compute/v1`, at this host and, because clients put it at the root of the address that they are given, on our own origin.
///
/// The parts are done one after the other, in their order, each as a request of its own: one that is refused stops no other.
pub(in crate::hosts) async fn batch(
    State(services): State<Arc<Services>>,
    Extension(reached): Extension<Reached>,
    request: Request,
) -> Result<Response, ApiFailure> {
    let reached = Reached { surface: Some(HOST), ..reached };
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert(reached.clone());
    let credential = Credential::from_request_parts(&mut parts, &()).await?;
    // Before anything is read: strangers would have a thousand refusals recorded for one request.
    services.admin(&credential).await?;
    let shared = parts.headers.clone();
    let body = axum::body::Bytes::from_request(Request::from_parts(parts, body), &()).await?;
    let content_type = shared.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let requests = read(content_type, &body).map_err(|error| {
        ApiFailure::new(Status::InvalidArgument, format!("Invalid batch: {error}. Nothing was done."))
    })?;
    let boundary = random_hex(&*services.entropy, 16).map_err(|error| ApiFailure::internal(&error))?;
    let boundary = format!("batch_{boundary}");
    let router = methods().fallback(no_such_method).method_not_allowed_fallback(no_such_method).with_state(services);
    let mut answers = Vec::new();
    for part in requests {
        let id = part.id.clone();
        let answer = match one(part, &shared, &reached) {
            Some(request) => match router.clone().oneshot(request).await {
                Ok(answer) => answer,
                Err(infallible) => match infallible {},
            },
            None => ApiFailure::no_such_method().into_response(),
        };
        let (head, body) = answer.into_parts();
        let left = ANSWERS_LIMIT.saturating_sub(answers.len());
        let body = axum::body::to_bytes(body, left).await.map_err(|error| ApiFailure::internal(&error))?;
        let kind = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/json");
        write_answer(&mut answers, &boundary, &id, (head.status, kind, &body));
    }
    write_end(&mut answers, &boundary);
    Ok(([(CONTENT_TYPE, format!("multipart/mixed; boundary={boundary}"))], answers).into_response())
}

async fn no_such_method() -> ApiFailure {
    ApiFailure::no_such_method()
}

/// A part as a request to this host; `None` if it leads elsewhere.
fn one(part: BatchedRequest, shared: &HeaderMap, reached: &Reached) -> Option<Request> {
    let BatchedRequest { id: _, method, target, headers, body } = part;
    let path = target.path_and_query()?.as_str();
    // On our own origin the path says the host first.
    let path = path.strip_prefix('/').and_then(|path| path.strip_prefix(HOST)).unwrap_or(path);
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse::<Uri>().ok()?;
    *request.headers_mut() = headers;
    for name in SHARED {
        if !request.headers().contains_key(&name) {
            for value in shared.get_all(&name) {
                request.headers_mut().append(&name, value.clone());
            }
        }
    }
    request.extensions_mut().insert(reached.clone());
    (request.headers().len() <= 100 && path.len() <= BODY_LIMIT).then_some(request)
}
