//! How a client says who it is (RFC 6749 section 2.3.1).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::parameters::{ParameterError, Parameters, is_text};

/// A client's id, and its secret if it has one. `Debug` does not show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCredentials {
    /// `NUMBER-x.apps.googleusercontent.com`.
    pub client_id: String,
    /// Absent for public clients.
    pub client_secret: Option<String>,
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientCredentials({})", self.client_id)
    }
}

impl ClientCredentials {
    /// Reads the value of `Authorization: Basic …`; `None` if it is of another scheme.
    ///
    /// # Errors
    /// [`ParameterError::Malformed`] if it is of this scheme and holds no id.
    pub fn from_basic(value: &[u8]) -> Option<Result<Self, ParameterError>> {
        let (scheme, encoded) = value.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return None;
        }
        let read = || {
            let decoded = STANDARD.decode(encoded.trim_ascii()).ok()?;
            let text = String::from_utf8(decoded).ok()?;
            let (id, secret) = text.split_once(':')?;
            // Both are form-encoded before they are joined.
            let decoded = |part: &str| {
                let mut pairs = form_urlencoded::parse(part.as_bytes());
                pairs.next().map(|(name, _)| name.into_owned()).filter(|name| is_text(name))
            };
            Some(ClientCredentials { client_id: decoded(id)?, client_secret: decoded(secret) })
        };
        Some(read().ok_or(ParameterError::Malformed))
    }

    /// Takes `client_id` and `client_secret` out of a form, or uses those of the header. A client that sends a secret in both
    /// places uses more than one method, which is refused (RFC 6749 section 2.3).
    pub fn take(form: &mut Parameters, basic: Option<Self>) -> Result<Self, ParameterError> {
        let (client_id, client_secret) = (form.take("client_id"), form.take("client_secret"));
        match (basic, client_id) {
            (None, None) => Err(ParameterError::Missing("client_id")),
            (None, Some(client_id)) => Ok(ClientCredentials { client_id, client_secret }),
            (Some(basic), client_id) => {
                let same = client_id.is_none_or(|client_id| client_id == basic.client_id);
                if same && client_secret.is_none() { Ok(basic) } else { Err(ParameterError::Malformed) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_names_itself_in_one_place() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text)).into_bytes();
        let header = |text: &str| ClientCredentials::from_basic(&basic(text));
        let read = header("a%3Ab:s%20c").unwrap().unwrap();
        assert_eq!((read.client_id.as_str(), read.client_secret.as_deref()), ("a:b", Some("s c")));
        assert!(header("no colon").unwrap().is_err());
        assert!(header(":secret").unwrap().is_err());
        assert!(header("a%00:secret").unwrap().is_err());
        assert!(ClientCredentials::from_basic(b"Basic ***").unwrap().is_err());
        assert!(ClientCredentials::from_basic(b"Bearer abc").is_none());

        let take = |form: &str, basic: Option<&str>| {
            let mut form = Parameters::parse(form.as_bytes()).unwrap();
            let basic = basic.map(|text| header(text).unwrap().unwrap());
            ClientCredentials::take(&mut form, basic).map(|it| (it.client_id, it.client_secret))
        };
        let known = |id: &str, secret: Option<&str>| Ok((id.to_owned(), secret.map(str::to_owned)));
        assert_eq!(take("client_id=a&client_secret=s", None), known("a", Some("s")));
        assert_eq!(take("client_id=a", None), known("a", None));
        assert_eq!(take("", Some("a:s")), known("a", Some("s")));
        assert_eq!(take("client_id=a", Some("a:s")), known("a", Some("s")));
        assert_eq!(take("client_id=b", Some("a:s")), Err(ParameterError::Malformed));
        assert_eq!(take("client_secret=s", Some("a:s")), Err(ParameterError::Malformed));
        assert_eq!(take("client_secret=s", None), Err(ParameterError::Missing("client_id")));
    }
}
