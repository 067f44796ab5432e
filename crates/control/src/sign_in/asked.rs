//! What an authorization request asks for, once it is known that the client may be told what is wrong with it.

use doorward_core::audit::TokenReason;
use doorward_core::client::OAuthClient;
use doorward_core::grant::Challenge;
use doorward_core::member::Email;
use doorward_wire::oauth::{AuthorizeRequest, OAuthCode, Scopes};

use super::Person;
use crate::tokens::is_pkce_text;

/// A request that can be answered. Made by [`Asked::judge`].
pub(super) struct Asked<'a> {
    pub(super) scopes: Scopes,
    pub(super) prompt: Prompt,
    pub(super) challenge: Option<Challenge>,
    /// The client gets a refresh token.
    pub(super) offline: bool,
    pub(super) nonce: Option<&'a str>,
    /// Only accounts of this domain are wanted.
    pub(super) domain: Option<&'a str>,
    /// The address or the number of the account that is wanted.
    pub(super) login_hint: Option<&'a str>,
    pub(super) cred_ref: bool,
}

/// What the person is to be shown, whether or not it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prompt {
    /// `none`: no page at all.
    Nobody,
    /// Nothing, or `consent`, which has no page yet.
    IfNeeded,
    /// `select_account`
    Choose,
    /// `login`
    SignIn,
}

/// Why a client gets no code. `Display` is for the client's developer, and names no account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denial {
    #[error("response_type is missing")]
    ResponseTypeMissing,
    #[error("response_type is not code")]
    ResponseType,
    #[error("response_mode is not query")]
    ResponseMode,
    #[error("request objects are not served: send the parameters themselves")]
    RequestObject,
    #[error("addresses of request objects are not served: send the parameters themselves")]
    RequestUri,
    #[error("a scope is unknown, or there is none")]
    Scope,
    #[error("prompt has an unknown value, or none beside another")]
    Prompt,
    #[error("access_type is neither online nor offline")]
    AccessType,
    #[error("code_challenge is required of a client without a secret")]
    ChallengeMissing,
    #[error("code_challenge or code_challenge_method is malformed")]
    Challenge,
    #[error("audience is not a client of the same project")]
    Audience,
    #[error("the person must sign in")]
    LoginRequired,
    #[error("the person must choose an account")]
    SelectionRequired,
    #[error("the account may not sign in")]
    AccountGone,
}

impl Denial {
    /// The code for the client.
    pub(super) fn code(self) -> OAuthCode {
        match self {
            Denial::ResponseTypeMissing
            | Denial::Prompt
            | Denial::AccessType
            | Denial::ChallengeMissing
            | Denial::Challenge
            | Denial::ResponseMode
            | Denial::Audience => OAuthCode::InvalidRequest,
            Denial::RequestObject => OAuthCode::RequestNotSupported,
            Denial::RequestUri => OAuthCode::RequestUriNotSupported,
            Denial::ResponseType => OAuthCode::UnsupportedResponseType,
            Denial::Scope => OAuthCode::InvalidScope,
            Denial::LoginRequired => OAuthCode::LoginRequired,
            Denial::SelectionRequired => OAuthCode::AccountSelectionRequired,
            Denial::AccountGone => OAuthCode::AccessDenied,
        }
    }

    /// The code for the record.
    pub(super) fn reason(self) -> TokenReason {
        match self {
            Denial::ResponseTypeMissing
            | Denial::ResponseType
            | Denial::ResponseMode
            | Denial::RequestObject
            | Denial::RequestUri
            | Denial::Prompt
            | Denial::AccessType => TokenReason::InvalidRequest,
            Denial::Scope => TokenReason::InvalidScope,
            Denial::ChallengeMissing | Denial::Challenge => TokenReason::PkceRequired,
            Denial::Audience => TokenReason::InvalidAudience,
            Denial::LoginRequired | Denial::SelectionRequired => TokenReason::LoginRequired,
            Denial::AccountGone => TokenReason::AccountNotFound,
        }
    }
}

impl<'a> Asked<'a> {
    /// Judges all that needs no store.
    pub(super) fn judge(request: &'a AuthorizeRequest, client: &OAuthClient) -> Result<Self, Denial> {
        if request.request.is_some() {
            return Err(Denial::RequestObject);
        }
        if request.request_uri.is_some() {
            return Err(Denial::RequestUri);
        }
        if request.response_mode.as_deref().is_some_and(|mode| mode != "query") {
            return Err(Denial::ResponseMode);
        }
        match request.response_type.as_deref() {
            None => return Err(Denial::ResponseTypeMissing),
            Some("code") => {}
            Some(_) => return Err(Denial::ResponseType),
        }
        let scopes = request.scope.as_deref().and_then(|scope| Scopes::parse(scope).ok()).ok_or(Denial::Scope)?;
        let prompt = prompt(request.prompt.as_deref().unwrap_or_default())?;
        let asks_for_refresh_token = match request.access_type.as_deref() {
            None | Some("online") => false,
            Some("offline") => true,
            Some(_) => return Err(Denial::AccessType),
        };
        Ok(Asked {
            scopes,
            prompt,
            challenge: challenge(request, client)?,
            offline: asks_for_refresh_token || client.kind.is_installed(),
            nonce: request.nonce.as_deref(),
            domain: request.hd.as_deref().filter(|domain| *domain != "*"),
            login_hint: request.login_hint.as_deref(),
            cred_ref: request.cred_ref.as_deref() == Some("true"),
        })
    }

    /// Whether the account is of the domain that is wanted.
    pub(super) fn admits(&self, email: &Email) -> bool {
        self.domain.is_none_or(|domain| email.domain().eq_ignore_ascii_case(domain))
    }

    /// Whether the person is the one that is wanted, if one is.
    pub(super) fn wants(&self, person: &Person) -> bool {
        self.login_hint.is_none_or(|hint| {
            hint == person.subject().0 || hint.parse::<Email>().is_ok_and(|email| email == *person.email())
        })
    }
}

/// Spec: OpenID Connect Core 1.0 section 3.1.2.1.
fn prompt(text: &str) -> Result<Prompt, Denial> {
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    if !words.iter().all(|word| matches!(*word, "none" | "login" | "consent" | "select_account")) {
        return Err(Denial::Prompt);
    }
    match (words.contains(&"none"), words.contains(&"login"), words.contains(&"select_account")) {
        (true, _, _) if words.len() > 1 => Err(Denial::Prompt),
        (true, _, _) => Ok(Prompt::Nobody),
        (false, true, _) => Ok(Prompt::SignIn),
        (false, false, true) => Ok(Prompt::Choose),
        (false, false, false) => Ok(Prompt::IfNeeded),
    }
}

/// Spec: RFC 7636 section 4.3.
fn challenge(request: &AuthorizeRequest, client: &OAuthClient) -> Result<Option<Challenge>, Denial> {
    match (request.code_challenge.as_deref(), request.code_challenge_method.as_deref()) {
        (None, None) if client.secret.is_none() => Err(Denial::ChallengeMissing),
        (None, None) => Ok(None),
        (Some(challenge), method) if is_pkce_text(challenge) => match method {
            Some("S256") => Ok(Some(Challenge::S256(challenge.to_owned()))),
            None | Some("plain") => Ok(Some(Challenge::Plain(challenge.to_owned()))),
            Some(_) => Err(Denial::Challenge),
        },
        (Some(_), _) | (None, Some(_)) => Err(Denial::Challenge),
    }
}
