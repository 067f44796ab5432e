//! OAuth clients: the programs for which people sign in, and where the answer to a sign-in may go.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::grant::TokenHash;
use crate::resource::ClientId;

/// Every client secret that we make starts with this: `doorward_cs_[A-Za-z0-9_-]{43}`.
pub const CLIENT_SECRET_PREFIX: &str = "doorward_cs_";

/// A registered client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthClient {
    /// `NUMBER-x.apps.googleusercontent.com`.
    pub id: ClientId,
    /// The number of the project that it belongs to. gcloud's own clients belong to a project of Google's.
    pub project: String,
    /// A name for people: the sign-in page shows it.
    pub display_name: String,
    /// What it is, and what restricts it.
    pub kind: ClientKind,
    /// The hash of its secret. A client without one is public.
    pub secret: Option<TokenHash>,
    /// When it was registered.
    pub created: Timestamp,
}

/// What a client is, and what restricts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientKind {
    /// A web server.
    Web {
        /// Compared byte for byte.
        redirect_uris: Vec<String>,
    },
    /// A program on a person's computer: loopback on any port.
    Desktop {
        /// Pages that show the code to be copied: gcloud's clients have some. Compared byte for byte.
        #[serde(default)]
        redirect_uris: Vec<String>,
    },
    /// An Android application.
    Android {
        /// Its package, such as `com.example.app`.
        package: String,
        /// The SHA-1 fingerprint of its signing certificate: 20 pairs of hexadecimal digits in upper case, joined by colons.
        /// Kept for the reader: a server cannot see who signed an application.
        sha1: String,
    },
    /// An iOS application.
    Ios {
        /// Its bundle id, such as `com.example.App`.
        bundle_id: String,
    },
}

impl ClientKind {
    /// The word for the type.
    pub fn name(&self) -> &'static str {
        match self {
            ClientKind::Web { .. } => "web",
            ClientKind::Desktop { .. } => "desktop",
            ClientKind::Android { .. } => "android",
            ClientKind::Ios { .. } => "ios",
        }
    }

    /// Whether a client of this kind keeps a secret. What is shipped to phones has none (RFC 8252 section 8.5).
    pub fn has_secret(&self) -> bool {
        matches!(self, ClientKind::Web { .. } | ClientKind::Desktop { .. })
    }

    /// Whether it is a program on a person's device, which gets a refresh token without asking, as Google gives it.
    pub fn is_installed(&self) -> bool {
        !matches!(self, ClientKind::Web { .. })
    }
}

/// Why a client cannot be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestrictionError {
    /// A web client without a redirect URI.
    #[error("a web client needs at least one redirect URI")]
    RedirectUriMissing,
    /// A redirect URI that is not absolute, has a fragment or user information, or is http beyond this machine.
    #[error("a redirect URI is https, or http on localhost, 127.0.0.1 or [::1], without fragment and user information")]
    RedirectUri,
    /// Not a package or bundle id: words of letters, digits, `_` and `-`, at least two, joined by dots.
    #[error("a package or bundle id has at least two words joined by dots")]
    ApplicationId,
    /// Not a SHA-1 fingerprint.
    #[error("a SHA-1 fingerprint has 20 pairs of hexadecimal digits joined by colons")]
    Fingerprint,
}

impl ClientKind {
    /// Checks what restricts the client, and brings it into its one spelling.
    pub fn checked(self) -> Result<Self, RestrictionError> {
        match self {
            ClientKind::Web { redirect_uris } if redirect_uris.is_empty() => Err(RestrictionError::RedirectUriMissing),
            ClientKind::Web { redirect_uris } => {
                redirect_uris.iter().try_for_each(|uri| check_web_redirect(uri))?;
                Ok(ClientKind::Web { redirect_uris })
            }
            ClientKind::Desktop { redirect_uris } => {
                redirect_uris.iter().try_for_each(|uri| check_web_redirect(uri))?;
                Ok(ClientKind::Desktop { redirect_uris })
            }
            ClientKind::Android { package, sha1 } => {
                let sha1 = sha1.to_ascii_uppercase();
                let pairs: Vec<&str> = sha1.split(':').collect();
                let pair = |pair: &&str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
                if pairs.len() != 20 || !pairs.iter().all(pair) {
                    return Err(RestrictionError::Fingerprint);
                }
                check_application_id(&package)?;
                Ok(ClientKind::Android { package, sha1 })
            }
            ClientKind::Ios { bundle_id } => {
                check_application_id(&bundle_id)?;
                Ok(ClientKind::Ios { bundle_id })
            }
        }
    }
}

fn check_application_id(id: &str) -> Result<(), RestrictionError> {
    let word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    let starts = id.starts_with(|first: char| first.is_ascii_alphabetic());
    if id.len() > 255 || !id.contains('.') || !starts || !id.split('.').all(word) {
        return Err(RestrictionError::ApplicationId);
    }
    Ok(())
}

fn check_web_redirect(uri: &str) -> Result<(), RestrictionError> {
    let Some(Redirect { scheme, authority: Some(authority), .. }) = Redirect::read(uri) else {
        return Err(RestrictionError::RedirectUri);
    };
    let host = crate::resource::Host::parse(authority).map_err(|_| RestrictionError::RedirectUri)?;
    match scheme {
        "https" => Ok(()),
        "http" if LOOPBACK.contains(&host.name()) => Ok(()),
        _ => Err(RestrictionError::RedirectUri),
    }
}

/// Names of this machine that a browser reaches without asking anybody (RFC 8252 section 7.3).
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

impl OAuthClient {
    /// Whether the answer to a sign-in may go to `uri`. Web: byte for byte one of those registered. Desktop: also loopback, on
    /// any port and path. Android and iOS: a private-use scheme that is the application's id, or the client's id backwards.
    ///
    /// Spec: <https://developers.google.com/identity/protocols/oauth2/native-app>, RFC 8252 sections 7.1, 7.3 and 8.4.
    pub fn may_redirect_to(&self, uri: &str) -> bool {
        let Some(redirect) = Redirect::read(uri) else { return false };
        match &self.kind {
            ClientKind::Web { redirect_uris } => redirect_uris.iter().any(|registered| registered == uri),
            ClientKind::Desktop { redirect_uris } => {
                redirect_uris.iter().any(|registered| registered == uri) || redirect.is_loopback()
            }
            ClientKind::Android { package, .. } => self.owns_scheme(&redirect, package),
            ClientKind::Ios { bundle_id } => self.owns_scheme(&redirect, bundle_id),
        }
    }

    /// Schemes are compared without case (RFC 3986 section 3.1).
    fn owns_scheme(&self, redirect: &Redirect<'_>, application: &str) -> bool {
        let words: Vec<&str> = self.id.0.split('.').rev().collect();
        let backwards = words.join(".");
        redirect.scheme.eq_ignore_ascii_case(application) || redirect.scheme.eq_ignore_ascii_case(&backwards)
    }
}

/// The parts of a redirect URI that are compared.
struct Redirect<'a> {
    scheme: &'a str,
    /// What follows `//`, if that is there.
    authority: Option<&'a str>,
}

impl<'a> Redirect<'a> {
    /// Reads an absolute URI of visible ASCII, at most 2,048 bytes. A fragment is refused (RFC 6749 section 3.1.2), and so is a
    /// backslash, which a browser takes for a slash and we would not.
    fn read(uri: &'a str) -> Option<Self> {
        let visible =
            uri.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\\' | b'"' | b'<' | b'>'));
        if uri.len() > 2048 || !visible {
            return None;
        }
        let (scheme, rest) = uri.split_once(':')?;
        let letters = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
        if !letters || !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return None;
        }
        let authority = rest.strip_prefix("//").map(|rest| &rest[..rest.find(['/', '?']).unwrap_or(rest.len())]);
        Some(Redirect { scheme, authority })
    }

    fn is_loopback(&self) -> bool {
        let Some(authority) = self.authority.filter(|_| self.scheme == "http") else { return false };
        // Only these spellings: `Host` would also read `LOCALHOST.`, and user information is part of the authority here.
        let (name, port) = match authority.rfind(':') {
            Some(colon) if !authority[colon..].contains(']') => (&authority[..colon], Some(&authority[colon + 1..])),
            _ => (authority, None),
        };
        let port_is_good = port.is_none_or(|port| {
            !port.is_empty()
                && port.bytes().all(|byte| byte.is_ascii_digit())
                && port.parse::<u16>().is_ok_and(|it| it > 0)
        });
        LOOPBACK.contains(&name) && port_is_good
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(kind: ClientKind) -> OAuthClient {
        OAuthClient {
            id: ClientId("123-x.apps.googleusercontent.com".into()),
            project: "123".into(),
            display_name: "App".into(),
            kind: kind.checked().unwrap(),
            secret: None,
            created: Timestamp::from_seconds(0),
        }
    }

    fn fingerprint() -> String {
        vec!["aB"; 20].join(":")
    }

    #[test]
    fn an_answer_goes_where_the_kind_of_client_allows_and_nowhere_else() {
        let web = client(ClientKind::Web { redirect_uris: vec!["https://app.example/back?x=1".into()] });
        let desktop =
            client(ClientKind::Desktop { redirect_uris: vec!["https://sdk.cloud.google.com/authcode.html".into()] });
        let android = client(ClientKind::Android { package: "com.example.App".into(), sha1: fingerprint() });
        let ios = client(ClientKind::Ios { bundle_id: "com.example.ios".into() });
        // uri => web, desktop, android, ios
        #[rustfmt::skip]
        let cases = [
            ("https://app.example/back?x=1",                [true,  false, false, false]),
            ("https://app.example/back?x=1&y=2",            [false, false, false, false]),
            ("https://app.example/back",                    [false, false, false, false]),
            ("https://app.example.evil.test/back?x=1",      [false, false, false, false]),
            ("https://sdk.cloud.google.com/authcode.html",  [false, true,  false, false]),
            ("http://localhost:4444",                       [false, true,  false, false]),
            ("http://localhost",                            [false, true,  false, false]),
            ("http://127.0.0.1:1/any/path?q=1",             [false, true,  false, false]),
            ("http://[::1]:65535/",                         [false, true,  false, false]),
            ("https://localhost:4444",                      [false, false, false, false]),
            ("HTTP://localhost:4444",                       [false, false, false, false]),
            ("http://localhost.:4444",                      [false, false, false, false]),
            ("http://localhost:",                           [false, false, false, false]),
            ("http://localhost:0",                          [false, false, false, false]),
            ("http://localhost:65536",                      [false, false, false, false]),
            ("http://localhost:80@evil.test/",              [false, false, false, false]),
            ("http://localhost@evil.test/",                 [false, false, false, false]),
            ("http://localhost\\@evil.test/",               [false, false, false, false]),
            ("http://localhost#@evil.test/",                [false, false, false, false]),
            ("http://localhost.evil.test/",                 [false, false, false, false]),
            ("http://evil.test/localhost",                  [false, false, false, false]),
            ("http://127.0.0.2/",                           [false, false, false, false]),
            ("http://127.1/",                               [false, false, false, false]),
            ("http://0.0.0.0/",                             [false, false, false, false]),
            ("http://[::ffff:127.0.0.1]/",                  [false, false, false, false]),
            ("//localhost/",                                [false, false, false, false]),
            ("/back",                                       [false, false, false, false]),
            ("javascript:alert(1)",                         [false, false, false, false]),
            ("data:text/html,x",                            [false, false, false, false]),
            ("com.example.app:/back",                       [false, false, true,  false]),
            ("COM.example.APP:back",                        [false, false, true,  false]),
            ("com.example.ios://back",                      [false, false, false, true]),
            ("com.example.appx:/back",                      [false, false, false, false]),
            ("com.googleusercontent.apps.123-x:/back",      [false, false, true,  true]),
            ("com.googleusercontent.apps.123-y:/back",      [false, false, false, false]),
            ("com.example.app:/back#x",                     [false, false, false, false]),
            ("com.example.app:/ba ck",                      [false, false, false, false]),
            ("com.example.app:/b\r\nSet-Cookie: a=b",       [false, false, false, false]),
            ("urn:ietf:wg:oauth:2.0:oob",                   [false, false, false, false]),
            ("",                                            [false, false, false, false]),
        ];
        for (uri, expected) in cases {
            let decided = [&web, &desktop, &android, &ios].map(|client| client.may_redirect_to(uri));
            assert_eq!(decided, expected, "{uri}");
        }
    }

    #[test]
    fn what_restricts_a_client_is_checked_when_it_is_registered() {
        use RestrictionError as E;
        let web = |uri: &str| ClientKind::Web { redirect_uris: vec![uri.into()] };
        let android = |package: &str, sha1: &str| ClientKind::Android { package: package.into(), sha1: sha1.into() };
        let fingerprint = fingerprint();
        #[rustfmt::skip]
        let cases = [
            (ClientKind::Web { redirect_uris: vec![] },     Some(E::RedirectUriMissing)),
            (web("https://app.example/back"),               None),
            (web("http://localhost:3000/back"),             None),
            (web("http://app.example/back"),                Some(E::RedirectUri)),
            (web("https://user@app.example/"),              Some(E::RedirectUri)),
            (web("https:///back"),                          Some(E::RedirectUri)),
            (web("app.example/back"),                       Some(E::RedirectUri)),
            (web("com.example.app:/back"),                  Some(E::RedirectUri)),
            (web("https://app.example/#x"),                 Some(E::RedirectUri)),
            (android("com.example.app", &fingerprint),      None),
            (android("app", &fingerprint),                  Some(E::ApplicationId)),
            (android("https", &fingerprint),                Some(E::ApplicationId)),
            (android("com..app", &fingerprint),             Some(E::ApplicationId)),
            (android("1com.app", &fingerprint),             Some(E::ApplicationId)),
            (android("com.example.app", "ab:cd"),           Some(E::Fingerprint)),
            (ClientKind::Ios { bundle_id: "com.x".into() }, None),
            (ClientKind::Ios { bundle_id: "".into() },      Some(E::ApplicationId)),
        ];
        for (kind, refused) in cases {
            assert_eq!(kind.clone().checked().err(), refused, "{kind:?}");
        }
        let ClientKind::Android { sha1, .. } = android("com.example.app", &fingerprint).checked().unwrap() else {
            panic!()
        };
        assert!(sha1.starts_with("AB:AB"));
    }
}
