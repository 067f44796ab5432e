//! The pages at which people sign in and let devices in.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use super::{html, message};

/// Asks for an address and a password.
#[derive(Template)]
#[template(path = "sign_in.html")]
pub(crate) struct SignInPage<'a> {
    pub(crate) action: &'a str,
    pub(crate) flow: &'a str,
    /// The program that is signed in to; none where it is for something else.
    pub(crate) client_name: Option<&'a str>,
    /// For what it is then, after the words "Sign in".
    pub(crate) purpose: &'a str,
    pub(crate) email: &'a str,
    pub(crate) problem: Option<&'a str>,
}

/// Asks as whom a person goes on.
#[derive(Template)]
#[template(path = "choose_account.html")]
pub(crate) struct ChoicePage<'a> {
    pub(crate) action: &'a str,
    pub(crate) flow: &'a str,
    pub(crate) client_name: Option<&'a str>,
    /// Number and address.
    pub(crate) people: Vec<(&'a str, &'a str)>,
}

/// Asks whether everybody is to be signed out.
#[derive(Template)]
#[template(path = "sign_out.html")]
pub(crate) struct SignOutPage<'a> {
    pub(crate) action: &'a str,
    pub(crate) flow: &'a str,
    pub(crate) people: Vec<&'a str>,
}

/// Asks for the code that a device shows.
#[derive(Template)]
#[template(path = "device_code.html")]
pub(crate) struct DeviceCodePage<'a> {
    pub(crate) action: &'a str,
    pub(crate) flow: &'a str,
    pub(crate) user_code: &'a str,
    pub(crate) problem: Option<&'a str>,
}

/// Asks whether a device is to be let in.
#[derive(Template)]
#[template(path = "device_decision.html")]
pub(crate) struct DeviceDecisionPage<'a> {
    pub(crate) action: &'a str,
    pub(crate) flow: &'a str,
    pub(crate) client_name: &'a str,
    pub(crate) user_code: &'a str,
    pub(crate) email: &'a str,
    /// In words.
    pub(crate) scopes: Vec<&'a str>,
}

/// Shows a code to be copied.
#[derive(Template)]
#[template(path = "code.html")]
struct CodePage<'a> {
    code: &'a str,
}

/// What a scope lets a program do, for people; an unknown one as it is.
pub(crate) fn scope_in_words(scope: &str) -> &str {
    match scope {
        "openid" => "Know that it is you",
        "email" | "https://www.googleapis.com/auth/userinfo.email" => "See your e-mail address",
        "profile" | "https://www.googleapis.com/auth/userinfo.profile" => {
            "See your profile, of which nothing is kept here yet"
        }
        "https://www.googleapis.com/auth/cloud-platform" => {
            "Use Google Cloud's APIs as you, as far as Doorward serves them"
        }
        "https://www.googleapis.com/auth/iam" => "Act as service accounts that you may act as",
        other => other,
    }
}

/// A code, for whoever is to copy it.
pub(crate) fn code(code: &str) -> Response {
    html(StatusCode::OK, &CodePage { code })
}

/// The address holds no code: the person, or we, said no.
pub(crate) fn no_code() -> Response {
    let paragraphs =
        ["No code came with this address. Go back to the program that sent you here, and start again.".into()];
    message(StatusCode::BAD_REQUEST, "There is no code here", &paragraphs, &[])
}

/// Nobody is signed in in this browser.
pub(crate) fn signed_out() -> Response {
    let paragraphs = [
        "Nobody is signed in in this browser now.".into(),
        "Programs that you let in before keep their access until it is revoked.".into(),
    ];
    message(StatusCode::OK, "You are signed out", &paragraphs, &[])
}

/// The person decided about a device.
pub(crate) fn device_decided(allowed: bool) -> Response {
    if allowed {
        let paragraphs = ["The device goes on by itself in a few seconds. You may close this page.".into()];
        message(StatusCode::OK, "The device is let in", &paragraphs, &[])
    } else {
        let paragraphs = ["The device got nothing. You may close this page.".into()];
        message(StatusCode::OK, "The device was turned away", &paragraphs, &[])
    }
}
