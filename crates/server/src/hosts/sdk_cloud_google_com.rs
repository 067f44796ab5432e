//! `sdk.cloud.google.com`: the page that shows a code to whoever signs in for a program on another machine.

use axum::response::Response;
use axum::routing::get;
use doorward_wire::oauth::Parameters;
use http::Uri;

use super::Routes;
use crate::pages;

/// Where gcloud's clients send a code that a person is to copy.
pub(super) const CODE_PAGES: [&str; 2] = ["/authcode.html", "/applicationdefaultauthcode.html"];

/// The longest code that is shown, in bytes.
const CODE_LIMIT: usize = 512;

pub(super) fn router() -> Routes {
    CODE_PAGES.iter().fold(Routes::new(), |routes, path| routes.route(path, get(code)))
}

/// `GET /authcode.html?code=` and its like. Of the address only the code is shown: everything else in it is a stranger's word.
async fn code(uri: Uri) -> Response {
    let parameters = Parameters::parse(uri.query().unwrap_or_default().as_bytes());
    let code = parameters.ok().and_then(|mut parameters| parameters.take("code"));
    let visible = |code: &String| code.len() <= CODE_LIMIT && code.bytes().all(|byte| byte.is_ascii_graphic());
    match code.filter(visible) {
        Some(code) => pages::sign_in::code(&code),
        None => pages::sign_in::no_code(),
    }
}
