//! `accounts.google.com`: discovery, and the pages at which people sign in.

mod device;
mod sign_in;

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Json};
use doorward_control::sign_in::{AuthorizeStep, Person};
use doorward_core::audit::TokenMethod;
use doorward_wire::oauth::{AuthorizeRequest, Discovery, DiscoveryUrls};
use http::{Method, StatusCode, Uri};

use super::browser::{Browser, Flow};
use super::{Body, KEYS_MAX_AGE, Reached, Routes, Services, cacheable, oauth2_googleapis_com};
use crate::errors::browser::{BrowserFailure, FormRefusal};

pub(super) fn router() -> Routes {
    Routes::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/.well-known/oauth-authorization-server", get(discovery))
        .route("/o/oauth2/token", post(oauth2_googleapis_com::token))
        .route("/o/oauth2/revoke", get(oauth2_googleapis_com::revoke).post(oauth2_googleapis_com::revoke))
        .route("/o/oauth2/v2/auth", get(authorize).post(authorize))
        .route("/o/oauth2/auth", get(authorize).post(authorize))
        .merge(sign_in::router())
        .merge(device::router())
}

/// `GET /.well-known/openid-configuration` (OpenID Connect Discovery 1.0 section 4), and the same under the name of RFC 8414.
async fn discovery(State(services): State<Arc<Services>>, Extension(reached): Extension<Reached>) -> Response {
    described(&services.issuer, &reached, &reached.base("accounts.google.com"))
}

/// The document of the issuer of this name, whose authorization endpoint is below `accounts`.
pub(super) fn described(issuer: &str, reached: &Reached, accounts: &str) -> Response {
    let urls = DiscoveryUrls {
        accounts: accounts.to_owned(),
        oauth2: reached.base("oauth2.googleapis.com"),
        openidconnect: reached.base("openidconnect.googleapis.com"),
        www: reached.base("www.googleapis.com"),
    };
    cacheable(Json(Discovery::new(issuer, &urls)), KEYS_MAX_AGE)
}

/// `GET` or `POST /o/oauth2/v2/auth`, and its older address `/o/oauth2/auth` (RFC 6749 section 3.1).
async fn authorize(
    State(services): State<Arc<Services>>,
    browser: Browser,
    method: Method,
    uri: Uri,
    body: Body,
) -> Result<Response, BrowserFailure> {
    authorize_as(&services.issuer, &services, &browser, (method, uri), body).await
}

/// The authorization endpoint of the issuer of this name. Of a POST the parameters stand in the form, of a GET in the query (OpenID
/// Connect Core 1.0 section 3.1.2.1).
pub(super) async fn authorize_as(
    issuer: &str,
    services: &Services,
    browser: &Browser,
    (method, uri): (Method, Uri),
    body: Body,
) -> Result<Response, BrowserFailure> {
    let body = body?;
    let is_post = method == Method::POST;
    let sent = if is_post { &body[..] } else { uri.query().unwrap_or_default().as_bytes() };
    let request = match AuthorizeRequest::parse(sent) {
        Ok(request) => request,
        Err(error) => {
            let error = FormRefusal::Parameters(error);
            return Err(services
                .refuse(TokenMethod::Authorize, browser.reached.connection.peer.address, error)
                .await
                .into());
        }
    };
    let step = services.sign_in.authorize(&request, issuer, browser.visitor()).await?;
    let flow = |client_name: &str| Flow::Client {
        request: Box::new(request.clone()),
        issuer: issuer.to_owned(),
        client_name: client_name.to_owned(),
    };
    match step {
        AuthorizeStep::Redirect(location) => {
            // After a form the browser is to fetch the address, and not to send the form there (RFC 9700 section 4.12).
            let status = if is_post { StatusCode::SEE_OTHER } else { StatusCode::FOUND };
            Ok(browser.redirect(status, &location))
        }
        AuthorizeStep::SignIn { client_name, email } => {
            let asked = sign_in::Asked { email: email.unwrap_or_default(), problem: None };
            sign_in::page(services, browser, &flow(&client_name), asked)
        }
        AuthorizeStep::Choose { client_name, people } => {
            sign_in::choice(services, browser, &flow(&client_name), &people)
        }
    }
}

/// The page that asks for an address and a password, for whatever comes after it.
pub(super) fn sign_in_page(services: &Services, browser: &Browser, flow: &Flow) -> Result<Response, BrowserFailure> {
    sign_in::page(services, browser, flow, sign_in::Asked::default())
}

/// Goes on where a person was going, now that it is known who they are.
async fn go_on(
    services: &Services,
    browser: &Browser,
    flow: Flow,
    person: &Person,
    method: TokenMethod,
) -> Result<Response, BrowserFailure> {
    match flow {
        // The consent step will stand here: what the client asks for is shown, and a code is made for what the person allows.
        Flow::Client { request, issuer, client_name } => {
            let peer = browser.reached.connection.peer.address;
            match services.sign_in.answer(&request, &issuer, person, peer).await {
                Ok(location) => Ok(browser.redirect(StatusCode::SEE_OTHER, &location)),
                Err(error) => {
                    let flow = Flow::Client { request, issuer, client_name };
                    sign_in::refused_by_client(services, browser, &flow, error)
                }
            }
        }
        // Where it was shown: only our own origin shows that flow.
        Flow::Decision { id } => Ok(browser.redirect(StatusCode::SEE_OTHER, &format!("/decisions/{id}"))),
        Flow::Device { user_code } => device::question(services, browser, &user_code, person).await,
        Flow::DeviceCode | Flow::DeviceDecision { .. } | Flow::SignOut => {
            Err(browser.refuse_flow(services, method).await)
        }
    }
}
