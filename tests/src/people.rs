//! People in browsers, and the OAuth clients for which they sign in.

use crate::{Dev, Request, Response};

/// An OAuth client as its program knows it.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its secret; `None` of a public one.
    pub secret: Option<&'a str>,
}

impl<'a> Client<'a> {
    /// Its id and its secret, as parameters of the token endpoint, and more of them.
    pub fn form(&self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let secret = self.secret.map(|secret| ("client_secret", secret));
        [("client_id", self.id)].into_iter().chain(secret).chain(more.iter().copied()).collect()
    }
}

/// A person whose browser is signed in, by the cookie of the description.
#[derive(Debug, Clone, Copy)]
pub struct Person<'a> {
    dev: &'a Dev,
    /// Their address.
    pub email: &'a str,
}

impl<'a> Person<'a> {
    pub(crate) fn new(dev: &'a Dev, email: &str) -> Self {
        let users = dev.description()["users"].as_object().expect("users");
        let (email, _) = users.get_key_value(email).unwrap_or_else(|| panic!("nobody has the address {email}"));
        Person { dev, email }
    }

    /// The value of a `Cookie` field of theirs.
    pub fn cookie(&self) -> &'a str {
        self.text("sign_in_cookie")
    }

    /// A string of their description.
    pub fn text(&self, member: &str) -> &'a str {
        self.dev.text(&format!("/users/{}/{member}", self.email))
    }

    /// What the authorization endpoint answers this person's browser.
    pub fn authorize(&self, parameters: &[(&str, &str)]) -> Response {
        Request::get(&authorize_url(self.dev, parameters)).header("Cookie", self.cookie()).send()
    }

    /// A code for a client: these parameters, beside those that every request has.
    pub fn code(&self, client: Client<'_>, redirect_uri: &str, more: &[(&str, &str)]) -> String {
        let every = [
            ("client_id", client.id),
            ("response_type", "code"),
            ("scope", "openid email"),
            ("redirect_uri", redirect_uri),
        ];
        let answer = self.authorize(&[&every, more].concat()).expect(302);
        let location = answer.header("location").expect("a redirect");
        assert!(location.starts_with(redirect_uri), "{location}");
        query_of(location).into_iter().find(|(name, _)| name == "code").unwrap_or_else(|| panic!("{location}")).1
    }
}

/// The address of the authorization endpoint with parameters.
pub fn authorize_url(dev: &Dev, parameters: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    dev.google(&format!("accounts.google.com/o/oauth2/v2/auth?{query}"))
}

/// The parameters of a URL's query, decoded, in their order.
pub fn query_of(url: &str) -> Vec<(String, String)> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}
