//! `openidconnect.googleapis.com`: whose an access token is.

use axum::routing::get;

use super::{Routes, oauth2_googleapis_com};

pub(super) fn router() -> Routes {
    Routes::new().route("/v1/userinfo", get(oauth2_googleapis_com::user_info).post(oauth2_googleapis_com::user_info))
}
