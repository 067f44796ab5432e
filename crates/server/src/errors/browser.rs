//! What goes wrong in front of a person: pages. Nothing here sends a browser anywhere, since the address to which it would go may be an
//! attacker's.

use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use doorward_control::record::Refused;
use doorward_control::sign_in::{AuthorizeError, DeviceError, SignInError};
use doorward_control::throttle::Throttled;
use doorward_core::audit::{AuditClosed, TokenReason};
use doorward_core::entropy::EntropyError;
use doorward_core::keys::KeyError;
use doorward_wire::oauth::ParameterError;
use http::{HeaderValue, StatusCode, header};

use super::Chain;
use crate::pages;

/// A page that says what went wrong, and what to do.
pub(crate) struct BrowserFailure {
    status: StatusCode,
    title: String,
    paragraphs: Vec<String>,
    commands: Vec<String>,
    /// When to try again, in whole seconds.
    retry_after: Option<u64>,
}

impl BrowserFailure {
    fn new(status: StatusCode, title: impl Into<String>, paragraphs: Vec<String>) -> Self {
        BrowserFailure { status, title: title.into(), paragraphs, commands: Vec::new(), retry_after: None }
    }

    /// A code of OAuth's, as Google writes it above such a page.
    fn oauth(status: StatusCode, code: &str, paragraphs: Vec<String>) -> Self {
        BrowserFailure::new(status, format!("Error {}: {code}", status.as_u16()), paragraphs)
    }

    fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = %Chain(error), "a person could not be served");
        BrowserFailure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Something went wrong here",
            vec!["This was not your doing, and nothing was changed. Try again; the server's log has the cause.".into()],
        )
    }
}

impl IntoResponse for BrowserFailure {
    fn into_response(self) -> Response {
        let commands: Vec<&str> = self.commands.iter().map(String::as_str).collect();
        let mut response = pages::message(self.status, &self.title, &self.paragraphs, &commands);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Why what a browser sent is refused before it reaches a service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormRefusal {
    /// The parameters cannot be read, or one is missing.
    #[error(transparent)]
    Parameters(#[from] ParameterError),
    /// The form was sent by a page that is not ours, or by one whose origin the browser hides.
    #[error("the form was sent by another site's page")]
    CrossSite,
    /// The page was shown to another browser or too long ago, is not the one that belongs to this form, or was never ours.
    #[error("the page was shown to another browser, or too long ago")]
    UnknownFlow,
    /// The flow could not be sealed.
    #[error("could not seal a sign-in page")]
    Key(#[from] KeyError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The record cannot be written.
    #[error(transparent)]
    AuditClosed(#[from] AuditClosed),
}

impl Refused for FormRefusal {
    fn reason(&self) -> TokenReason {
        use FormRefusal as E;
        match self {
            E::Parameters(ParameterError::Missing("client_id")) => TokenReason::InvalidClient,
            E::Parameters(_) | E::CrossSite | E::UnknownFlow => TokenReason::InvalidRequest,
            E::Key(_) | E::Entropy(_) | E::AuditClosed(_) => TokenReason::Internal,
        }
    }
}

impl From<FormRefusal> for BrowserFailure {
    fn from(error: FormRefusal) -> Self {
        use FormRefusal as E;
        match &error {
            E::Parameters(ParameterError::Missing("client_id")) => BrowserFailure::oauth(
                StatusCode::UNAUTHORIZED,
                "invalid_client",
                vec![
                    "The OAuth client was not found.".into(),
                    "The program that sent you here did not say who it is: its request has no client_id.".into(),
                ],
            ),
            E::Parameters(ParameterError::Missing(name)) => BrowserFailure::oauth(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                vec![format!("Required parameter is missing: {name}.")],
            ),
            E::Parameters(ParameterError::Malformed) => BrowserFailure::oauth(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                vec!["A parameter occurs twice, or is not text. The program that sent you here has to be corrected.".into()],
            ),
            E::CrossSite => BrowserFailure::new(
                StatusCode::FORBIDDEN,
                "This was not sent from our own page",
                vec![
                    "Another site, or a browser that hides from where it sends, asked for this in your name. Nothing was \
                     changed."
                        .into(),
                    "If it was you: go back to the program that you want to use, and start from there.".into(),
                ],
            ),
            E::UnknownFlow => BrowserFailure::new(
                StatusCode::BAD_REQUEST,
                "This page cannot be used any more",
                vec![
                    "It was open for more than an hour, or was shown to another browser, or this browser takes no cookies. \
                     Nothing was changed."
                        .into(),
                    "Go back to the program that sent you here, and start again.".into(),
                ],
            ),
            E::Key(_) | E::Entropy(_) | E::AuditClosed(_) => BrowserFailure::internal(&error),
        }
    }
}

impl From<BytesRejection> for BrowserFailure {
    /// The body was too large or did not arrive whole.
    fn from(rejection: BytesRejection) -> Self {
        let paragraph = "What was sent is too large, or did not arrive whole.";
        BrowserFailure::oauth(rejection.status(), "invalid_request", vec![paragraph.into()])
    }
}

impl From<AuthorizeError> for BrowserFailure {
    fn from(error: AuthorizeError) -> Self {
        use AuthorizeError as E;
        match error {
            E::UnknownClient(client) => BrowserFailure::oauth(
                StatusCode::UNAUTHORIZED,
                "invalid_client",
                vec![
                    "The OAuth client was not found.".into(),
                    format!("The program that sent you here says that it is {}.", shortened(&client)),
                    "If the program is yours: see which clients are registered, and put one of their ids into it.".into(),
                ],
            )
            .with_commands(&["doorward oauth-client list"]),
            E::ApplicationClient(client) => BrowserFailure::new(
                StatusCode::NOT_IMPLEMENTED,
                "People cannot sign in yet",
                vec![
                    "This version of Doorward has no sign-in for people at an application's own address yet. You were sent \
                     here because the request carried no credential."
                        .into(),
                    "A program gets in, and so does a person with one: in a terminal, sign in and send your token. URL is the \
                     application's address, and API_URL the beginning of this page's, up to the first single slash. The first two commands \
                     are for `doorward dev`, in its directory; elsewhere it is the other two."
                        .into(),
                ],
            )
            .with_commands(&[
                "doorward login",
                "doorward curl --as me URL",
                "doorward login --api-url API_URL",
                &format!(
                    "curl -H \"Authorization: Bearer $(doorward token --api-url API_URL --audience {})\" URL",
                    shortened(&client)
                ),
            ]),
            E::RedirectMismatch { client, sent } => BrowserFailure::oauth(
                StatusCode::BAD_REQUEST,
                "redirect_uri_mismatch",
                vec![
                    format!("The answer was to go to this address, which is not registered for the client: {}", shown(&sent)),
                    format!("The client is {}.", shortened(&client)),
                    "If the program is yours: register the address with a client of type web, byte for byte; a client of type \
                     desktop may use http://localhost, http://127.0.0.1 or http://[::1] with any port. Otherwise somebody may \
                     have sent you here to get at your tokens: close this page."
                        .into(),
                ],
            )
            .with_commands(&["doorward oauth-client describe CLIENT_ID"]),
            E::WrongDomain(domain) => BrowserFailure::oauth(
                StatusCode::FORBIDDEN,
                "org_internal",
                vec![format!("The program takes accounts of {} only. Sign in with one of those.", shortened(&domain))],
            ),
            E::SignIn(error) => error.into(),
            E::Store(_) | E::Entropy(_) | E::AuditClosed(_) => BrowserFailure::internal(&error),
        }
    }
}

impl From<SignInError> for BrowserFailure {
    fn from(error: SignInError) -> Self {
        use SignInError as E;
        match &error {
            E::Rejected => BrowserFailure::new(
                StatusCode::UNAUTHORIZED,
                "You are not signed in",
                vec!["The address or the password is wrong.".into()],
            ),
            E::Throttled(throttled) => throttled.into(),
            E::Store(_) | E::Entropy(_) | E::AuditClosed(_) => BrowserFailure::internal(&error),
        }
    }
}

impl From<DeviceError> for BrowserFailure {
    fn from(error: DeviceError) -> Self {
        use DeviceError as E;
        match &error {
            E::UnknownCode => BrowserFailure::new(
                StatusCode::BAD_REQUEST,
                "That code is not waiting for you",
                vec!["It is wrong, was used before, or has ended. Start again on the device to get a new one.".into()],
            ),
            E::Throttled(throttled) => throttled.into(),
            E::Store(_) | E::Entropy(_) | E::AuditClosed(_) => BrowserFailure::internal(&error),
        }
    }
}

impl From<&Throttled> for BrowserFailure {
    fn from(throttled: &Throttled) -> Self {
        let seconds = throttled.wait.as_secs();
        let failure = BrowserFailure::new(
            StatusCode::TOO_MANY_REQUESTS,
            "Too many attempts, try again later",
            vec![format!("Wait {}, then try again.", counted(seconds))],
        );
        BrowserFailure { retry_after: Some(seconds), ..failure }
    }
}

impl BrowserFailure {
    fn with_commands(mut self, commands: &[&str]) -> Self {
        self.commands = commands.iter().map(|command| (*command).to_owned()).collect();
        self
    }
}

/// `1 second`, `30 seconds`.
pub(crate) fn counted(seconds: u64) -> String {
    format!("{seconds} second{}", if seconds == 1 { "" } else { "s" })
}

/// A stranger's text, not longer than a page can show.
fn shortened(text: &str) -> String {
    const LIMIT: usize = 300;
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn shown(uri: &str) -> String {
    if uri.is_empty() { "(none was sent)".to_owned() } else { shortened(uri) }
}
