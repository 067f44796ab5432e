//! A token that may be sent.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use doorward_wire::jose::{Algorithm, StrictNumber, TOKEN_LIMIT, Unverified};
use http::HeaderValue;
use serde_json::Value;

use crate::clock::{from_micros, from_seconds, micros};

/// A token is replaced this long before it ends, as Google's libraries do: the metadata server has a new one by then.
const REFRESH_AHEAD: Duration = Duration::from_secs(225);

/// A clock that is set back by no more does not matter. By more, a token that lasts "an hour from now" ends later than its server
/// thinks, and is replaced.
const SET_BACK: Duration = Duration::from_secs(30);

/// One that ends sooner is not given out if another can be had: whoever asks wants to use it yet.
pub(crate) const LEFT_AT_LEAST: Duration = Duration::from_secs(10);

/// An ID token, an access token or a self-signed token. `Debug` does not show it, and a clone is the same text.
#[derive(Clone)]
pub struct Token(pub(crate) Arc<TokenInner>);

pub(crate) struct TokenInner {
    /// `Bearer TOKEN`, so that nothing is written anew for a request.
    header: HeaderValue,
    since_micros: u64,
    expires_micros: u64,
    refresh_micros: u64,
}

const SCHEME: &str = "Bearer ";

/// What should have been there: the server's clock or ours is wrong.
pub(crate) const NOT_ENDED: &str = "a token that has not ended by the clock of this machine";

impl Token {
    /// The token that a server answered at `now`; `None` if it holds what is none, or has ended.
    pub(crate) fn new(text: &str, expires: SystemTime, now: SystemTime) -> Option<Self> {
        // What is not visible ASCII would drive terminals or split headers.
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) || expires <= now {
            return None;
        }
        let mut header = HeaderValue::from_maybe_shared(Vec::from([SCHEME, text].concat())).ok()?;
        header.set_sensitive(true);
        let life = expires.duration_since(now).unwrap_or_default();
        let refresh = expires - REFRESH_AHEAD.min(life / 4);
        Some(Token(Arc::new(TokenInner {
            header,
            since_micros: micros(now),
            expires_micros: micros(expires),
            refresh_micros: micros(refresh),
        })))
    }

    /// The token that ends `seconds` after `now`.
    pub(crate) fn lasting(text: &str, seconds: i64, now: SystemTime) -> Option<Self> {
        let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0)?;
        // A year is longer than any token lives, and keeps the sum in range.
        Self::new(text, now + Duration::from_secs(seconds.min(365 * 24 * 3600)), now)
    }

    /// The ID token, if it is one for `audience`.
    pub(crate) fn for_audience(text: &str, audience: &str, now: SystemTime) -> Result<Self, &'static str> {
        let unverified = Unverified::parse(text, TOKEN_LIMIT, &[Algorithm::Rs256, Algorithm::Es256]);
        let unverified = unverified.map_err(|_| "an id_token that is a signed JWT")?;
        let claims = unverified.unproven_claims();
        if claims.get("aud").and_then(Value::as_str) != Some(audience) {
            return Err("an id_token for the audience that was asked for");
        }
        let expires = claims.get("exp").and_then(StrictNumber::integer).ok_or("an id_token that says when it ends")?;
        Self::new(text, from_seconds(expires), now).ok_or(NOT_ENDED)
    }

    /// The token itself. It is a secret: do not write it anywhere.
    pub fn as_str(&self) -> &str {
        // Only visible ASCII was let in.
        self.0.header.to_str().unwrap_or_default().strip_prefix(SCHEME).unwrap_or_default()
    }

    /// `Bearer TOKEN`, marked as sensitive, for `Authorization` or `Proxy-Authorization`.
    pub fn header_value(&self) -> HeaderValue {
        self.0.header.clone()
    }

    /// When it ends.
    pub fn expires_at(&self) -> SystemTime {
        from_micros(self.0.expires_micros)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("expires_at", &self.expires_at()).finish_non_exhaustive()
    }
}

impl TokenInner {
    pub(crate) fn expires(&self) -> u64 {
        self.expires_micros
    }

    /// Whether nothing need be done about it yet.
    pub(crate) fn is_fresh(&self, now: u64) -> bool {
        now < self.refresh_micros && !self.ends_soon(now) && !self.is_of_the_future(now)
    }

    fn is_of_the_future(&self, now: u64) -> bool {
        now.saturating_add(u64::try_from(SET_BACK.as_micros()).unwrap_or(0)) < self.since_micros
    }

    pub(crate) fn ends_soon(&self, now: u64) -> bool {
        now.saturating_add(u64::try_from(LEFT_AT_LEAST.as_micros()).unwrap_or(0)) >= self.expires_micros
    }

    pub(crate) fn has_ended(&self, now: u64) -> bool {
        now >= self.expires_micros
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn a_token_says_when_it_ends_and_does_not_show_itself() {
        let token = Token::lasting("ya29.s3cret", 3600, UNIX_EPOCH).unwrap();
        assert_eq!(token.as_str(), "ya29.s3cret");
        assert_eq!(token.header_value(), "Bearer ya29.s3cret");
        assert!(token.header_value().is_sensitive());
        assert_eq!(token.expires_at(), UNIX_EPOCH + Duration::from_secs(3600));
        assert!(!format!("{token:?} {:?}", token.header_value()).contains("s3cret"));
        for text in ["", "a b", "a\n", "a\x1b[2J", "é"] {
            assert!(Token::lasting(text, 1, UNIX_EPOCH).is_none(), "{text:?}");
        }
        for seconds in [0, -1, i64::MIN] {
            assert!(Token::lasting("a", seconds, UNIX_EPOCH).is_none(), "{seconds}");
        }
        assert!(Token::lasting("a", i64::MAX, UNIX_EPOCH).is_some());
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        assert!(Token::new("a", now, now).is_none(), "it has ended when it comes");
    }

    #[test]
    fn a_token_that_was_got_before_the_clock_was_set_back_is_replaced_but_not_bad() {
        let got = UNIX_EPOCH + Duration::from_secs(1000);
        let token = Token::lasting("a", 3600, got).unwrap().0;
        // asked at (seconds) => fresh
        for (at, fresh) in [(1000, true), (970, true), (969, false), (0, false)] {
            assert_eq!((token.is_fresh(at * 1_000_000), token.ends_soon(at * 1_000_000)), (fresh, false), "{at}");
        }
    }

    #[test]
    fn a_token_is_replaced_ahead_of_its_end_and_a_short_one_in_its_last_quarter() {
        // life, asked at (seconds) => fresh, ends soon, has ended
        #[rustfmt::skip]
        let cases = [
            (3600,    0, true,  false, false),
            (3600, 3374, true,  false, false),
            (3600, 3375, false, false, false),
            (3600, 3589, false, false, false),
            (3600, 3590, false, true,  false),
            (3600, 3600, false, true,  true),
            ( 100,   74, true,  false, false),
            ( 100,   75, false, false, false),
            (  12,    1, true,  false, false),
            (  12,    2, false, true,  false),
        ];
        for (life, at, fresh, soon, ended) in cases {
            let token = Token::lasting("a", life, UNIX_EPOCH).unwrap().0;
            let now = at * 1_000_000;
            assert_eq!(
                (token.is_fresh(now), token.ends_soon(now), token.has_ended(now)),
                (fresh, soon, ended),
                "{life} {at}"
            );
        }
    }
}
