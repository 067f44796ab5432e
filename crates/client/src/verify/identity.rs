//! Who is calling, proven.

use std::time::SystemTime;

use doorward_wire::jose::Claims;
use serde_json::{Map, Value};

/// Who is calling, as the signed header proves it. Only a [`Verifier`](crate::Verifier) makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    claims: Claims,
    expires_at: SystemTime,
}

impl Identity {
    pub(super) fn new(claims: Claims, expires_at: SystemTime) -> Self {
        Identity { claims, expires_at }
    }

    /// Who it is, for good: `accounts.google.com:NUMBER`, or with the prefix of another source of identities.
    ///
    /// `None` where the application is open to everybody (`allUsers`) and nobody was proven.
    pub fn subject(&self) -> Option<&str> {
        self.claims.string("sub")
    }

    /// The e-mail address, which may pass to another person: keep records by [`subject`](Self::subject). At identities of Identity
    /// Platform it has a prefix, `securetoken.google.com/PROJECT:`.
    pub fn email(&self) -> Option<&str> {
        self.claims.string("email")
    }

    /// The organisation of a person, `hd`.
    pub fn hosted_domain(&self) -> Option<&str> {
        self.claims.string("hd")
    }

    /// The access levels that the request meets.
    pub fn access_levels(&self) -> Vec<&str> {
        let levels = self.claims.as_object().get("google").and_then(|google| google.get("access_levels"));
        let levels = levels.and_then(Value::as_array).into_iter().flatten();
        levels.filter_map(Value::as_str).collect()
    }

    /// When the statement ends. It is about this request: sessions of your own do not hang on it.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// All claims, such as `gcip` and `additional_claims`.
    pub fn claims(&self) -> &Map<String, Value> {
        self.claims.as_object()
    }
}
