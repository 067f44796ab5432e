//! `/device`: where a person lets a device in that has no browser (RFC 8628 section 3.3).

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use doorward_control::sign_in::{DeviceError, Person};
use doorward_core::account::UniqueId;
use doorward_core::audit::TokenMethod;
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode, Uri};

use super::sign_in;
use crate::errors::browser::{BrowserFailure, counted};
use crate::hosts::browser::{Browser, Flow};
use crate::hosts::{Body, Routes, Services, parameters};
use crate::pages;

/// Longer texts are no codes, and are not shown again.
const CODE_LIMIT: usize = 32;

pub(super) fn router() -> Routes {
    Routes::new().route("/device", get(code_page).post(with_code)).route("/device/decision", post(decide))
}

/// `GET /device?user_code=`: asks for the code. One that comes with the address is only filled in: whoever was sent here by somebody else
/// is to see it, and to compare it with their device (RFC 8628 section 5.4).
async fn code_page(
    State(services): State<Arc<Services>>,
    browser: Browser,
    uri: Uri,
) -> Result<Response, BrowserFailure> {
    let user_code = parameters(&uri, b"").ok().and_then(|mut given| given.take("user_code")).unwrap_or_default();
    ask_for_code(&services, &browser, &user_code, None)
}

/// Why the code is asked for again.
enum Problem {
    UnknownCode,
    Throttled { seconds: u64 },
}

fn ask_for_code(
    services: &Services,
    browser: &Browser,
    user_code: &str,
    problem: Option<Problem>,
) -> Result<Response, BrowserFailure> {
    let (status, text, wait) = match problem {
        None => (StatusCode::OK, None, None),
        Some(Problem::UnknownCode) => {
            let text = "No device waits with this code. Compare it with what the device shows; if it shows none any more, \
                        start again there.";
            (StatusCode::BAD_REQUEST, Some(text.to_owned()), None)
        }
        Some(Problem::Throttled { seconds }) => (
            StatusCode::TOO_MANY_REQUESTS,
            Some(format!("Too many attempts. Wait {}, then try again.", counted(seconds))),
            Some(seconds),
        ),
    };
    let carried = browser.carry(services, &Flow::DeviceCode)?;
    let page = pages::sign_in::DeviceCodePage {
        action: &browser.reached.accounts_path("/device"),
        flow: &carried.text,
        user_code: if user_code.len() <= CODE_LIMIT { user_code } else { "" },
        problem: text.as_deref(),
    };
    let mut response = pages::form(status, &page, None);
    if let Some(seconds) = wait {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    Ok(carried.with(response))
}

/// `POST /device`: a code. Whether a device waits with it is told only to those who are signed in.
async fn with_code(
    State(services): State<Arc<Services>>,
    browser: Browser,
    body: Body,
) -> Result<Response, BrowserFailure> {
    let (flow, mut form) = browser.receive(&services, TokenMethod::DeviceAuthorization, body).await?;
    if flow != Flow::DeviceCode {
        return Err(browser.refuse_flow(&services, TokenMethod::DeviceAuthorization).await);
    }
    let user_code = form.take("user_code").unwrap_or_default();
    if user_code.len() > CODE_LIMIT {
        return ask_for_code(&services, &browser, "", Some(Problem::UnknownCode));
    }
    let people = services.sign_in.people(browser.visitor()).await?;
    match &people[..] {
        [] => sign_in::page(&services, &browser, &Flow::Device { user_code }, sign_in::Asked::default()),
        [person] => question(&services, &browser, &user_code, person).await,
        [_, _, ..] => sign_in::choice(&services, &browser, &Flow::Device { user_code }, &people),
    }
}

/// What the device asks, for this person to decide.
pub(super) async fn question(
    services: &Services,
    browser: &Browser,
    user_code: &str,
    person: &Person,
) -> Result<Response, BrowserFailure> {
    let asked = services.sign_in.device_question(user_code, browser.reached.connection.peer).await;
    let asked = match asked {
        Ok(asked) => asked,
        Err(error) => return ask_again(services, browser, user_code, error),
    };
    let subject = person.subject().0.clone();
    let carried = browser.carry(services, &Flow::DeviceDecision { user_code: asked.user_code.clone(), subject })?;
    let page = pages::sign_in::DeviceDecisionPage {
        action: &browser.reached.accounts_path("/device/decision"),
        flow: &carried.text,
        client_name: &asked.client_name,
        user_code: &asked.user_code,
        email: person.email().as_str(),
        scopes: asked.scopes.split(' ').map(pages::sign_in::scope_in_words).collect(),
    };
    let response = pages::form(StatusCode::OK, &page, None);
    Ok(carried.with(response))
}

/// `POST /device/decision`: yes, no, or as somebody else.
async fn decide(
    State(services): State<Arc<Services>>,
    browser: Browser,
    body: Body,
) -> Result<Response, BrowserFailure> {
    let (flow, mut form) = browser.receive(&services, TokenMethod::DeviceAuthorization, body).await?;
    let Flow::DeviceDecision { user_code, subject } = flow else {
        return Err(browser.refuse_flow(&services, TokenMethod::DeviceAuthorization).await);
    };
    // Whoever was to decide may have been signed out meanwhile.
    let person = services.sign_in.person(browser.visitor(), &UniqueId(subject)).await?;
    let allow = match form.take("decision").as_deref() {
        Some("allow") => Some(true),
        Some("deny") => Some(false),
        _ => None,
    };
    let (Some(allow), Some(person)) = (allow, person) else {
        return sign_in::page(&services, &browser, &Flow::Device { user_code }, sign_in::Asked::default());
    };
    match services.sign_in.decide_device(&user_code, &person, allow, browser.reached.connection.peer).await {
        Ok(()) => Ok(pages::sign_in::device_decided(allow)),
        Err(error) => ask_again(&services, &browser, &user_code, error),
    }
}

fn ask_again(
    services: &Services,
    browser: &Browser,
    user_code: &str,
    error: DeviceError,
) -> Result<Response, BrowserFailure> {
    let problem = match error {
        DeviceError::UnknownCode => Problem::UnknownCode,
        DeviceError::Throttled(throttled) => Problem::Throttled { seconds: throttled.wait.as_secs() },
        error @ (DeviceError::Store(_) | DeviceError::Entropy(_) | DeviceError::AuditClosed(_)) => {
            return Err(error.into());
        }
    };
    ask_for_code(services, browser, user_code, Some(problem))
}
