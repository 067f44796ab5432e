//! A person's sign-in (RFC 6749 section 6; <https://google.aip.dev/auth/4113>).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use doorward_wire::credential_file::{AuthorizedUserFile, GOOGLE_TOKEN_URI};
use doorward_wire::oauth::REFRESH_TOKEN;
use serde::Deserialize;

use super::Surroundings;
use crate::exchange::{access_token, id_token, success};
use crate::token::Token;
use crate::token_error::TokenError;
use crate::transport::{Answer, Call};

pub(super) struct AuthorizedUser {
    client_id: String,
    client_secret: Option<String>,
    account: Option<String>,
    /// A server may replace it, and then the old one is worth nothing.
    refresh_token: Mutex<String>,
    /// Whether the server leaves the refresh token as it is, as usual for clients with a secret. One that replaces it takes each one
    /// once, and ends the whole sign-in if it comes twice (RFC 9700 section 4.14.2).
    is_left: AtomicBool,
    /// Held by who asks a server that replaces it: two audiences must not be asked for with the same one.
    turn: tokio::sync::Mutex<()>,
}

impl AuthorizedUser {
    pub(super) fn new(file: AuthorizedUserFile) -> Self {
        AuthorizedUser {
            is_left: AtomicBool::new(file.client_secret.is_some()),
            turn: tokio::sync::Mutex::default(),
            client_id: file.client_id,
            client_secret: file.client_secret,
            account: file.account,
            refresh_token: Mutex::new(file.refresh_token),
        }
    }

    pub(super) fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// For another client than the person's own the audience is asked for; without it, the token is for the person's client.
    pub(super) async fn id_token(&self, surroundings: &Surroundings, audience: &str) -> Result<Token, TokenError> {
        let asked = (audience != self.client_id).then_some(("audience", audience));
        let (answer, now) = self.refresh(surroundings, asked).await?;
        id_token(&answer, audience, now)
    }

    pub(super) async fn access_token(&self, surroundings: &Surroundings, scopes: &str) -> Result<Token, TokenError> {
        let asked = (!scopes.is_empty()).then_some(("scope", scopes));
        let (answer, now) = self.refresh(surroundings, asked).await?;
        access_token(&answer, now)
    }

    async fn refresh(
        &self,
        surroundings: &Surroundings,
        asked: Option<(&str, &str)>,
    ) -> Result<(Answer, SystemTime), TokenError> {
        #[derive(Deserialize)]
        struct Replaced {
            refresh_token: Option<String>,
        }
        let _turn = if self.is_left.load(Ordering::SeqCst) { None } else { Some(self.turn.lock().await) };
        let now = surroundings.clock.now();
        let refresh_token = self.refresh_token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let secret = self.client_secret.as_deref();
        let parameters = [
            Some(("client_id", self.client_id.as_str())),
            secret.map(|secret| ("client_secret", secret)),
            Some(("grant_type", REFRESH_TOKEN)),
            Some(("refresh_token", refresh_token.as_str())),
            asked,
        ];
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters.iter().flatten()).finish();
        let call = Call::post_form(surroundings.endpoints.resolve(GOOGLE_TOKEN_URI), form);
        let answer = success(&surroundings.http, &call, &[&refresh_token, secret.unwrap_or_default()]).await?;
        let replaced = serde_json::from_slice(&answer.body).ok().and_then(|Replaced { refresh_token }| refresh_token);
        let new = replaced.filter(|new| *new != refresh_token);
        self.is_left.store(new.is_none(), Ordering::SeqCst);
        if let Some(new) = new {
            *self.refresh_token.lock().unwrap_or_else(PoisonError::into_inner) = new;
        }
        Ok((answer, now))
    }
}
