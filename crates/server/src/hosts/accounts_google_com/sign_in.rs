//! Signing in with a password, choosing among those who are signed in, and signing out.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use doorward_control::sign_in::{AuthorizeError, Person, SignInError};
use doorward_core::account::UniqueId;
use doorward_core::audit::TokenMethod;
use http::header::{RETRY_AFTER, SET_COOKIE};
use http::{HeaderValue, StatusCode};

use super::go_on;
use crate::errors::browser::{BrowserFailure, counted};
use crate::hosts::browser::{Browser, Flow};
use crate::hosts::{Body, Routes, Services};
use crate::pages;

/// Longer texts are not shown again in the field for the address.
const EMAIL_LIMIT: usize = 254;

pub(super) fn router() -> Routes {
    Routes::new()
        .route("/signin", post(with_password))
        .route("/signin/account", post(with_account))
        .route("/signout", get(sign_out_page).post(sign_out))
}

/// What the sign-in page says.
#[derive(Default)]
pub(super) struct Asked {
    /// In the field for the address.
    pub(super) email: String,
    /// What went wrong.
    pub(super) problem: Option<Problem>,
}

/// Why a person is asked again.
pub(super) enum Problem {
    /// The same for a person who does not exist.
    Rejected,
    Throttled {
        seconds: u64,
    },
    WrongDomain(String),
}

/// The sign-in page.
pub(super) fn page(
    services: &Services,
    browser: &Browser,
    flow: &Flow,
    asked: Asked,
) -> Result<Response, BrowserFailure> {
    let (status, problem, wait) = match &asked.problem {
        None => (StatusCode::OK, None, None),
        Some(Problem::Rejected) => {
            (StatusCode::UNAUTHORIZED, Some("The address or the password is wrong. Try again.".to_owned()), None)
        }
        Some(Problem::Throttled { seconds }) => (
            StatusCode::TOO_MANY_REQUESTS,
            Some(format!("Too many attempts. Wait {}, then try again.", counted(*seconds))),
            Some(*seconds),
        ),
        Some(Problem::WrongDomain(domain)) => (
            StatusCode::FORBIDDEN,
            Some(format!("This program takes accounts of {domain} only. Sign in with one of those.")),
            None,
        ),
    };
    let carried = browser.carry(services, flow)?;
    let email = if asked.email.len() <= EMAIL_LIMIT { asked.email.as_str() } else { "" };
    let page = pages::sign_in::SignInPage {
        action: &browser.reached.accounts_path("/signin"),
        flow: &carried.text,
        client_name: flow.client_name(),
        purpose: flow.purpose(),
        email,
        problem: problem.as_deref(),
    };
    let mut response = pages::form(status, &page, flow.form_target().as_deref());
    if let Some(seconds) = wait {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    Ok(carried.with(response))
}

/// The page on which a person says as whom they go on.
pub(super) fn choice(
    services: &Services,
    browser: &Browser,
    flow: &Flow,
    people: &[Person],
) -> Result<Response, BrowserFailure> {
    let carried = browser.carry(services, flow)?;
    let page = pages::sign_in::ChoicePage {
        action: &browser.reached.accounts_path("/signin/account"),
        flow: &carried.text,
        client_name: flow.client_name(),
        people: people.iter().map(|person| (person.subject().0.as_str(), person.email().as_str())).collect(),
    };
    let response = pages::form(StatusCode::OK, &page, flow.form_target().as_deref());
    Ok(carried.with(response))
}

/// `POST /signin`: an address and a password. The session is a new one, whatever cookie the browser had.
async fn with_password(
    State(services): State<Arc<Services>>,
    browser: Browser,
    body: Body,
) -> Result<Response, BrowserFailure> {
    let (flow, mut form) = browser.receive(&services, TokenMethod::SignIn, body).await?;
    if !matches!(flow, Flow::Client { .. } | Flow::Device { .. } | Flow::Decision { .. }) {
        return Err(browser.refuse_flow(&services, TokenMethod::SignIn).await);
    }
    let email = form.take("email").unwrap_or_default();
    let password = form.take("password").unwrap_or_default();
    let session = match services.sign_in.with_password(browser.visitor(), &email, &password).await {
        Ok(session) => session,
        Err(SignInError::Rejected) => {
            return page(&services, &browser, &flow, Asked { email, problem: Some(Problem::Rejected) });
        }
        Err(SignInError::Throttled(throttled)) => {
            let problem = Some(Problem::Throttled { seconds: throttled.wait.as_secs() });
            return page(&services, &browser, &flow, Asked { email, problem });
        }
        Err(error @ (SignInError::Store(_) | SignInError::Entropy(_) | SignInError::AuditClosed(_))) => {
            return Err(error.into());
        }
    };
    let answer = go_on(&services, &browser, flow, &session.person, TokenMethod::SignIn).await;
    // They are signed in, whatever the client is told.
    let mut response = answer.into_response();
    if let Some(cookie) = browser.signed_in(&session.cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// `POST /signin/account`: one of those who are signed in in this browser, or somebody else.
async fn with_account(
    State(services): State<Arc<Services>>,
    browser: Browser,
    body: Body,
) -> Result<Response, BrowserFailure> {
    let (flow, mut form) = browser.receive(&services, TokenMethod::SignIn, body).await?;
    if !matches!(flow, Flow::Client { .. } | Flow::Device { .. }) {
        return Err(browser.refuse_flow(&services, TokenMethod::SignIn).await);
    }
    let person = match form.take("account") {
        Some(subject) => services.sign_in.person(browser.visitor(), &UniqueId(subject)).await?,
        None => None,
    };
    match person {
        Some(person) => go_on(&services, &browser, flow, &person, TokenMethod::SignIn).await,
        // Somebody else, or somebody who was signed out meanwhile.
        None => page(&services, &browser, &flow, Asked::default()),
    }
}

/// What is shown if a client cannot be answered for this person.
pub(super) fn refused_by_client(
    services: &Services,
    browser: &Browser,
    flow: &Flow,
    error: AuthorizeError,
) -> Result<Response, BrowserFailure> {
    match error {
        AuthorizeError::WrongDomain(domain) => {
            let asked = Asked { email: String::new(), problem: Some(Problem::WrongDomain(domain)) };
            page(services, browser, flow, asked)
        }
        error => Err(error.into()),
    }
}

/// `GET /signout`: asks first. A link, or a picture on another site's page, must not sign anybody out.
async fn sign_out_page(State(services): State<Arc<Services>>, browser: Browser) -> Result<Response, BrowserFailure> {
    let people = services.sign_in.people(browser.visitor()).await?;
    if people.is_empty() {
        return Ok(pages::sign_in::signed_out());
    }
    let carried = browser.carry(&services, &Flow::SignOut)?;
    let page = pages::sign_in::SignOutPage {
        action: &browser.reached.accounts_path("/signout"),
        flow: &carried.text,
        people: people.iter().map(|person| person.email().as_str()).collect(),
    };
    let response = pages::form(StatusCode::OK, &page, None);
    Ok(carried.with(response))
}

/// `POST /signout`: everybody in this browser.
async fn sign_out(
    State(services): State<Arc<Services>>,
    browser: Browser,
    body: Body,
) -> Result<Response, BrowserFailure> {
    let (flow, _) = browser.receive(&services, TokenMethod::SignIn, body).await?;
    if flow != Flow::SignOut {
        return Err(browser.refuse_flow(&services, TokenMethod::SignIn).await);
    }
    services.sign_in.sign_out(browser.visitor()).await?;
    let mut response = pages::sign_in::signed_out();
    if let Some(cookie) = browser.signed_out() {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}
