//! Reading claims (RFC 7519 section 4.1) without ever mistaking one type for another.

use serde_json::{Map, Value};

use super::json::StrictNumber;

/// The claims of a token whose signature was verified.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims(Map<String, Value>);

/// Why claims do not hold at a given time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// The claim is missing or not of its type.
    #[error("claim {0:?} is missing or has the wrong type")]
    Missing(&'static str),
    /// `exp` lies more than the skew in the past.
    #[error("token expired at {0}")]
    Expired(i64),
    /// `iat` or `nbf` lies more than the skew in the future.
    #[error("token is not valid before {0}")]
    NotYetValid(i64),
}

impl Claims {
    pub(super) fn new(claims: Map<String, Value>) -> Self {
        Claims(claims)
    }

    /// The whole object.
    pub fn as_object(&self) -> &Map<String, Value> {
        &self.0
    }

    /// A claim that is a string; anything else is `None`.
    pub fn string(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// A claim that is a whole number of seconds since the Unix epoch.
    pub fn seconds(&self, name: &'static str) -> Result<i64, ClaimError> {
        self.0.get(name).and_then(StrictNumber::integer).ok_or(ClaimError::Missing(name))
    }

    /// Checks `exp` and `iat`, both demanded, and `nbf` where present, at `now` (seconds) with `skew` seconds of grace in
    /// both directions: valid while `now < exp + skew` and `iat - skew <= now`.
    pub fn check_time(&self, now: i64, skew: i64) -> Result<(), ClaimError> {
        let expires = self.seconds("exp")?;
        if now >= expires.saturating_add(skew) {
            return Err(ClaimError::Expired(expires));
        }
        let issued = self.seconds("iat")?;
        let starts = match self.0.get("nbf") {
            None => issued,
            Some(_) => issued.max(self.seconds("nbf")?),
        };
        if starts.saturating_sub(skew) > now {
            return Err(ClaimError::NotYetValid(starts));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(value: Value) -> Claims {
        Claims::new(value.as_object().unwrap().clone())
    }

    #[test]
    fn time_is_checked_with_thirty_seconds_of_grace_to_the_second() {
        use ClaimError::{Expired, Missing, NotYetValid};
        #[rustfmt::skip]
        let cases = [
            (json!({"iat": 1000, "exp": 4600}),              1000, Ok(())),
            (json!({"iat": 1000, "exp": 4600}),              4629, Ok(())),
            (json!({"iat": 1000, "exp": 4600}),              4630, Err(Expired(4600))),
            (json!({"iat": 1000, "exp": 4600}),               970, Ok(())),
            (json!({"iat": 1000, "exp": 4600}),               969, Err(NotYetValid(1000))),
            (json!({"iat": 1000, "exp": 4600, "nbf": 2000}), 1969, Err(NotYetValid(2000))),
            (json!({"iat": 1000}),                           1000, Err(Missing("exp"))),
            (json!({"exp": 4600}),                           1000, Err(Missing("iat"))),
            (json!({"iat": 1000, "exp": "4600"}),            1000, Err(Missing("exp"))),
            (json!({"iat": 1000, "exp": 4600.5}),            1000, Err(Missing("exp"))),
            (json!({"iat": 1000, "exp": 4600, "nbf": "x"}),  1000, Err(Missing("nbf"))),
        ];
        for (object, now, expected) in cases {
            assert_eq!(claims(object.clone()).check_time(now, 30), expected, "{object} at {now}");
        }
    }
}
