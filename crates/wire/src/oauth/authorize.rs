//! The authorization endpoint (RFC 6749 section 4.1.1, OpenID Connect Core 1.0 section 3.1.2.1): parameters in, redirect out.

use serde::{Deserialize, Serialize};

use super::parameters::{ParameterError, Parameters};

/// An authorization request as it was sent. Values are not judged here: which of them lead to a page and which to a redirect
/// is known only after the client is.
///
/// `include_granted_scopes` and parameters that are not known are let pass, as Google lets them (`token_usage` of gcloud).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthorizeRequest {
    /// The client that asks.
    pub client_id: String,
    /// Where the answer goes.
    pub redirect_uri: Option<String>,
    /// `code`.
    pub response_type: Option<String>,
    /// Scopes, separated by spaces.
    pub scope: Option<String>,
    /// Given back as it is.
    pub state: Option<String>,
    /// Becomes a claim of the ID token.
    pub nonce: Option<String>,
    /// `offline` asks for a refresh token.
    pub access_type: Option<String>,
    /// `none`, or any of `login`, `consent` and `select_account`, separated by spaces.
    pub prompt: Option<String>,
    /// Only accounts of this domain are wanted; `*` stands for any.
    pub hd: Option<String>,
    /// The address or the number of the account that is wanted.
    pub login_hint: Option<String>,
    /// RFC 7636.
    pub code_challenge: Option<String>,
    /// `S256` or `plain`, which is what no value means.
    pub code_challenge_method: Option<String>,
    /// The client that the ID token is to be for, as mobile SDKs ask here and others at the token endpoint.
    pub audience: Option<String>,
    /// `true` in IAP's own redirect and in its recipe for desktop applications; kept in the record of the grant.
    ///
    /// Spec: <https://cloud.google.com/iap/docs/authentication-howto#signing_in_to_the_application>
    pub cred_ref: Option<String>,
    /// How the answer is sent: `query`, or nothing.
    pub response_mode: Option<String>,
    /// A request object (RFC 9101), which is not served: carried so that it can be refused.
    pub request: Option<String>,
    /// The address of a request object, likewise.
    pub request_uri: Option<String>,
}

impl AuthorizeRequest {
    /// Reads a query. Without a client there is nobody to answer.
    pub fn parse(query: &[u8]) -> Result<Self, ParameterError> {
        let mut query = Parameters::parse(query)?;
        Ok(AuthorizeRequest {
            client_id: query.require("client_id")?,
            redirect_uri: query.take("redirect_uri"),
            response_type: query.take("response_type"),
            scope: query.take("scope"),
            state: query.take("state"),
            nonce: query.take("nonce"),
            access_type: query.take("access_type"),
            prompt: query.take("prompt"),
            hd: query.take("hd"),
            login_hint: query.take("login_hint"),
            code_challenge: query.take("code_challenge"),
            code_challenge_method: query.take("code_challenge_method"),
            audience: query.take("audience"),
            cred_ref: query.take("cred_ref"),
            response_mode: query.take("response_mode"),
            request: query.take("request"),
            request_uri: query.take("request_uri"),
        })
    }
}

/// An address with parameters added to its query, which may be empty or not be there. The address has no fragment.
pub fn with_query<'a>(address: &str, parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let separator = match address.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    // A space as `%20` is read by every client; `+` only by those who know that this is a form.
    format!("{address}{separator}{}", query.replace('+', "%20"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_with_every_parameter_once_and_unknown_ones_passed_over() {
        let request = AuthorizeRequest::parse(
            b"client_id=c&scope=openid%20email&redirect_uri=http://localhost:4444&cred_ref=true&token_usage=remote",
        )
        .unwrap();
        let expected = AuthorizeRequest {
            client_id: "c".into(),
            scope: Some("openid email".into()),
            redirect_uri: Some("http://localhost:4444".into()),
            cred_ref: Some("true".into()),
            ..AuthorizeRequest::default()
        };
        assert_eq!(request, expected);
        assert_eq!(AuthorizeRequest::parse(b"client_id=c&client_id=c"), Err(ParameterError::Malformed));
        assert_eq!(AuthorizeRequest::parse(b"redirect_uri=x"), Err(ParameterError::Missing("client_id")));
    }

    #[test]
    fn parameters_are_added_to_what_the_address_has() {
        let added = |address| with_query(address, [("code", "a/b"), ("scope", "openid email")]);
        for (address, expected) in [
            ("http://localhost:1", "http://localhost:1?code=a%2Fb&scope=openid%20email"),
            ("http://localhost:1/?", "http://localhost:1/?code=a%2Fb&scope=openid%20email"),
            ("app:/back?x=1", "app:/back?x=1&code=a%2Fb&scope=openid%20email"),
        ] {
            assert_eq!(added(address), expected);
        }
        assert_eq!(with_query("x:/", [("a", "1+1 &")]), "x:/?a=1%2B1%20%26");
    }
}
