//! `oauth2.googleapis.com`: the token endpoint and its kin.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Json};
use doorward_control::tokens::{DeviceCodes, InspectError, Inspected, Issued, RedeemError, TokenInfo};
use doorward_core::audit::TokenMethod;
use doorward_core::clock::whole_seconds;
use doorward_wire::oauth::{
    ClientCredentials, DeviceAuthorization, ParameterError, Parameters, TokenFormError, TokenRequest, TokenResponse,
};
use http::header::AUTHORIZATION;
use http::{HeaderMap, Uri};

use super::{Reached, Routes, Services, parameters, secret, single_bearer};
use crate::errors::oauth::OAuthFailure;

pub(super) fn router() -> Routes {
    Routes::new()
        .route("/token", post(token))
        .route("/revoke", get(revoke).post(revoke))
        .route("/tokeninfo", get(token_info).post(token_info))
        .route("/device/code", post(device_code))
}

type Body = Result<Bytes, BytesRejection>;
type Answer = Result<Response, OAuthFailure>;

/// `POST https://oauth2.googleapis.com/token`, and its older addresses `https://www.googleapis.com/oauth2/v4/token` and
/// `https://accounts.google.com/o/oauth2/token` (RFC 6749 section 3.2).
///
/// The body is read as a form whatever `Content-Type` says, as Google does: some of its samples send none.
pub(super) async fn token(
    State(services): State<Arc<Services>>,
    Extension(reached): Extension<Reached>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let request = token_request(&headers, &body?);
    let issued = services.tokens.redeem(request, reached.connection.peer).await?;
    Ok(secret(Json(encode(issued))))
}

/// `POST https://oauth2.googleapis.com/revoke`, and its older address `https://accounts.google.com/o/oauth2/revoke`; the token stands
/// in the query or in the form, also of a GET, as Google's older libraries send it (RFC 7009).
pub(super) async fn revoke(
    State(services): State<Arc<Services>>,
    Extension(reached): Extension<Reached>,
    uri: Uri,
    body: Body,
) -> Answer {
    let peer = reached.connection.peer.address;
    let token = match parameters(&uri, &body?).and_then(|mut given| given.require("token")) {
        Ok(token) => token,
        Err(error) => return Err(refuse(&services, TokenMethod::Revoke, &reached, error).await.into()),
    };
    services.tokens.revoke(&token, peer).await.map_err(OAuthFailure::at_revocation)?;
    Ok(secret(Json(serde_json::json!({}))))
}

/// `GET` or `POST https://oauth2.googleapis.com/tokeninfo`: what an ID token or an access token says.
///
/// Spec: <https://developers.google.com/identity/sign-in/web/backend-auth#calling-the-tokeninfo-endpoint>
pub(super) async fn token_info(
    State(services): State<Arc<Services>>,
    Extension(reached): Extension<Reached>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let given = parameters(&uri, &body.map_err(OAuthFailure::from)?);
    let (id_token, access_token) = match given {
        Ok(mut given) => (given.take("id_token"), given.take("access_token")),
        Err(_) => (None, None),
    };
    // One token in one place: of two it would not be clear of which the answer tells.
    let inspected = match (&id_token, &access_token, single_bearer(&headers), headers.contains_key(AUTHORIZATION)) {
        (Some(token), None, None, false) => Some(Inspected::IdToken(token)),
        (None, Some(token), None, false) => Some(Inspected::AccessToken(token)),
        (None, None, Some(token), _) => Some(Inspected::Bearer(token)),
        _ => None,
    };
    let info = services.tokens.token_info(inspected, reached.connection.peer.address).await;
    Ok(match info.map_err(OAuthFailure::at_token_info)? {
        TokenInfo::IdToken(claims) => secret(Json(claims)),
        TokenInfo::AccessToken(info) => secret(Json(info)),
    })
}

/// `GET` or `POST https://openidconnect.googleapis.com/v1/userinfo`, and its older addresses at `www.googleapis.com` (OpenID Connect Core
/// 1.0 section 5.3.1). The token stands in the header, in the query or in the form (RFC 6750 section 2).
pub(super) async fn user_info(
    State(services): State<Arc<Services>>,
    Extension(reached): Extension<Reached>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let given = parameters(&uri, &body?).map(|mut given| given.take("access_token"));
    let token = match (given, single_bearer(&headers), headers.contains_key(AUTHORIZATION)) {
        (Ok(None), Some(token), _) => Some(token.to_owned()),
        (Ok(Some(token)), None, false) => Some(token),
        _ => None,
    };
    let info = services.tokens.user_info(token.as_deref(), reached.connection.peer.address).await;
    Ok(secret(Json(info.map_err(|error: InspectError| OAuthFailure::at_user_info(error))?)))
}

/// `POST https://oauth2.googleapis.com/device/code` (RFC 8628 section 3.1).
async fn device_code(
    State(services): State<Arc<Services>>,
    Extension(reached): Extension<Reached>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let peer = reached.connection.peer;
    let (client, scope) = match device_request(&headers, &body?) {
        Ok(request) => request,
        Err(error) => return Err(refuse(&services, TokenMethod::DeviceAuthorization, &reached, error).await.into()),
    };
    let codes = services.tokens.authorize_device(client, scope.as_deref(), peer).await?;
    Ok(secret(Json(encode_device(codes, &reached))))
}

async fn refuse(services: &Services, method: TokenMethod, reached: &Reached, error: ParameterError) -> RedeemError {
    let error = RedeemError::Form(TokenFormError::Parameter(error));
    services.refuse(method, reached.connection.peer.address, error).await
}

fn token_request(headers: &HeaderMap, body: &[u8]) -> Result<TokenRequest, TokenFormError> {
    TokenRequest::read(Parameters::parse(body)?, basic(headers)?)
}

fn device_request(headers: &HeaderMap, body: &[u8]) -> Result<(ClientCredentials, Option<String>), ParameterError> {
    let mut form = Parameters::parse(body)?;
    Ok((ClientCredentials::take(&mut form, basic(headers)?)?, form.take("scope")))
}

/// The client's credentials in the header, if they stand there. Two of them are none that could be believed.
fn basic(headers: &HeaderMap) -> Result<Option<ClientCredentials>, ParameterError> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    match (fields.next(), fields.next()) {
        (None, _) => Ok(None),
        (Some(field), None) => ClientCredentials::from_basic(field.as_bytes()).transpose(),
        (Some(_), Some(_)) => Err(ParameterError::Malformed),
    }
}

fn encode(issued: Issued) -> TokenResponse {
    match issued {
        Issued::IdToken(id_token) => TokenResponse::IdToken { id_token },
        Issued::AccessToken { token, expires_in } => TokenResponse::AccessToken {
            access_token: token,
            expires_in: whole_seconds(expires_in),
            token_type: "Bearer",
        },
        Issued::Person { access_token, expires_in, refresh_token, scopes, id_token } => TokenResponse::Person {
            access_token,
            expires_in: whole_seconds(expires_in),
            refresh_token,
            scope: scopes.as_str().to_owned(),
            token_type: "Bearer",
            id_token,
        },
    }
}

fn encode_device(codes: DeviceCodes, reached: &Reached) -> DeviceAuthorization {
    let page = format!("{}/device", reached.base("accounts.google.com"));
    DeviceAuthorization {
        // The code is letters and a hyphen: nothing in it has to be encoded.
        verification_uri_complete: format!("{page}?user_code={}", codes.user_code),
        verification_uri: page.clone(),
        verification_url: page,
        device_code: codes.device_code,
        user_code: codes.user_code,
        expires_in: whole_seconds(codes.expires_in),
        interval: whole_seconds(codes.interval),
    }
}
