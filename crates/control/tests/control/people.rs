//! People and the clients for which they sign in.

use doorward_control::sign_in::{Person, Visitor};
use doorward_control::tokens::{Issued, RedeemError};
use doorward_core::account::{UniqueId, User};
use doorward_core::client::{ClientKind, OAuthClient};
use doorward_core::entropy::random_base64url;
use doorward_core::grant::TokenHash;
use doorward_core::resource::ClientId;
use doorward_core::session::{SIGN_IN_SESSION_TTL, SignInSession, SignedIn};
use doorward_wire::oauth::{
    AuthorizationCodeRequest, AuthorizeRequest, ClientCredentials, RefreshTokenRequest, TokenRequest,
};

use crate::{ISSUER, PEER, Stack, cause};

/// Of RFC 7636, appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// The same, by S256.
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub(crate) const LOOPBACK: &str = "http://127.0.0.1:4711/";
const WEB: &str = "https://web.example.com/callback";
const PRIVATE_USE: &str = "com.example.app:/oauth2redirect";

/// A registered client, with the secret that its owner was shown.
#[derive(Clone)]
pub(crate) struct TestClient {
    pub(crate) id: String,
    pub(crate) secret: Option<String>,
    redirect_uri: &'static str,
}

impl TestClient {
    pub(crate) fn credentials(&self) -> ClientCredentials {
        ClientCredentials { client_id: self.id.clone(), client_secret: self.secret.clone() }
    }

    /// What it asks the authorization endpoint: as little as it can.
    pub(crate) fn asks(&self) -> AuthorizeRequest {
        let public = self.secret.is_none();
        AuthorizeRequest {
            client_id: self.id.clone(),
            redirect_uri: Some(self.redirect_uri.to_owned()),
            response_type: Some("code".to_owned()),
            scope: Some("openid email".to_owned()),
            code_challenge: public.then(|| CHALLENGE.to_owned()),
            code_challenge_method: public.then(|| "S256".to_owned()),
            ..AuthorizeRequest::default()
        }
    }

    /// How it redeems a code.
    pub(crate) fn redeems(&self, code: &str) -> AuthorizationCodeRequest {
        AuthorizationCodeRequest {
            client: self.credentials(),
            code: code.to_owned(),
            redirect_uri: Some(self.redirect_uri.to_owned()),
            code_verifier: self.secret.is_none().then(|| VERIFIER.to_owned()),
            audience: None,
        }
    }

    /// How it refreshes.
    pub(crate) fn refreshes(&self, refresh_token: &str) -> RefreshTokenRequest {
        RefreshTokenRequest {
            client: self.credentials(),
            refresh_token: refresh_token.to_owned(),
            scope: None,
            audience: None,
        }
    }
}

/// What a person's client gets.
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) scopes: String,
}

impl Tokens {
    /// What there is, in a few letters.
    pub(crate) fn kinds(&self) -> String {
        let all = [("access", true), ("refresh", self.refresh.is_some()), ("id", self.id.is_some())];
        all.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect::<Vec<_>>().join(" ")
    }
}

impl Stack {
    /// `NAME@example.com`, enabled, without a password.
    pub(crate) async fn add_person(&self, name: &str) -> UniqueId {
        self.add_user(&format!("{name}@example.com"), false).await
    }

    pub(crate) async fn add_user(&self, email: &str, disabled: bool) -> UniqueId {
        let number = 100 + self.store.users().await.unwrap().len();
        let user = User { unique_id: UniqueId(format!("{number:0>21}")), email: email.parse().unwrap(), disabled };
        assert!(self.store.add_user(&user).await.unwrap());
        self.publisher.refresh().await.unwrap();
        user.unique_id
    }

    /// A browser's cookie in which these people are signed in, latest first.
    pub(crate) async fn signed_in(&self, people: &[&UniqueId], loopback_only: bool) -> String {
        let cookie = random_base64url(&*self.entropy, 32).unwrap();
        let now = self.now();
        let accounts = people.iter().map(|id| SignedIn { subject: (*id).clone(), auth_time: now }).collect();
        let session = SignInSession { accounts, expires: now + SIGN_IN_SESSION_TTL, loopback_only };
        self.store.put_session(None, &TokenHash::of(&cookie), &session, now).await.unwrap();
        cookie
    }

    /// Somebody who has just signed in.
    pub(crate) async fn person(&self, id: &UniqueId) -> Person {
        let cookie = self.signed_in(&[id], false).await;
        self.sign_in.person(Visitor { cookie: Some(&cookie), peer: PEER.into() }, id).await.unwrap().unwrap()
    }

    pub(crate) async fn alice(&self) -> Person {
        let id = self.add_person("alice").await;
        self.person(&id).await
    }

    pub(crate) async fn desktop(&self) -> TestClient {
        self.client(ClientKind::Desktop { redirect_uris: vec![] }, LOOPBACK).await
    }

    pub(crate) async fn web(&self) -> TestClient {
        self.client(ClientKind::Web { redirect_uris: vec![WEB.to_owned()] }, WEB).await
    }

    pub(crate) async fn android(&self) -> TestClient {
        let sha1 = vec!["0A"; 20].join(":");
        self.client(ClientKind::Android { package: "com.example.app".to_owned(), sha1 }, PRIVATE_USE).await
    }

    async fn client(&self, kind: ClientKind, redirect_uri: &'static str) -> TestClient {
        let made = self.clients.create(&self.admin, &format!("A {} client", kind.name()), Ok(kind)).await.unwrap();
        TestClient { id: made.client.id.0, secret: made.secret, redirect_uri }
    }

    /// A client like gcloud's: of a project that is not ours.
    pub(crate) async fn client_of_google(&self) -> TestClient {
        let client = OAuthClient {
            id: ClientId("32555940559.apps.googleusercontent.com".to_owned()),
            project: "32555940559".to_owned(),
            display_name: "Google Cloud SDK".to_owned(),
            kind: ClientKind::Desktop { redirect_uris: vec![] },
            secret: Some(TokenHash::of("ZmssLNjJy2998hD4CTg2ejr2")),
            created: self.now(),
        };
        assert!(self.store.add_oauth_client(&client).await.unwrap());
        TestClient { id: client.id.0, secret: Some("ZmssLNjJy2998hD4CTg2ejr2".to_owned()), redirect_uri: LOOPBACK }
    }

    /// The code that an answer for this person holds.
    pub(crate) async fn code_for(&self, request: &AuthorizeRequest, person: &Person) -> String {
        let url = self.sign_in.answer(request, ISSUER, person, PEER).await.unwrap();
        parameter(&url, "code").unwrap_or_else(|| panic!("no code in {url}"))
    }

    pub(crate) async fn redeem_code(&self, request: AuthorizationCodeRequest) -> Result<Tokens, RedeemError> {
        self.redeem_for_person(TokenRequest::AuthorizationCode(request)).await
    }

    pub(crate) async fn refresh(&self, request: RefreshTokenRequest) -> Result<Tokens, RedeemError> {
        self.redeem_for_person(TokenRequest::RefreshToken(request)).await
    }

    pub(crate) async fn redeem_for_person(&self, request: TokenRequest) -> Result<Tokens, RedeemError> {
        match self.tokens.redeem(Ok(request), PEER).await? {
            Issued::Person { access_token, refresh_token, id_token, scopes, .. } => Ok(Tokens {
                access: access_token,
                refresh: refresh_token,
                id: id_token,
                scopes: scopes.as_str().to_owned(),
            }),
            issued => panic!("{issued:?}"),
        }
    }

    /// Signs a person in for a client, with what it asks changed.
    pub(crate) async fn tokens_for(&self, client: &TestClient, person: &Person) -> Tokens {
        let code = self.code_for(&client.asks(), person).await;
        self.redeem_code(client.redeems(&code)).await.unwrap()
    }

    /// Whether an access token opens anything.
    pub(crate) async fn is_live(&self, access_token: &str) -> bool {
        self.store.access_token(&TokenHash::of(access_token), self.now()).await.unwrap().is_some()
    }
}

/// The kinds of what was issued, or the cause of the refusal.
pub(crate) fn kinds(outcome: &Result<Tokens, RedeemError>) -> String {
    match outcome {
        Ok(tokens) => tokens.kinds(),
        Err(error) => cause(error),
    }
}

/// The value of a parameter in a URL's query, percent-decoded.
pub(crate) fn parameter(url: &str, name: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(key, _)| *key == name).map(|(_, value)| decoded(value));
    let value = values.next();
    assert!(values.next().is_none(), "{name} twice in {url}");
    value
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}
