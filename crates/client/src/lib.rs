//! Google and Doorward credentials in a Rust program, and the check of who is calling in a backend.
//!
//! An identity-aware proxy stands before an application and asks every request who sends it. This crate is for the programs on both
//! of its sides, whether the proxy is a Doorward or Google's own:
//!
//! - **A client** finds its [`Credentials`], gets [ID tokens](Credentials::id_token) from them, and puts them into its requests.
//! - **A backend** [verifies](Verifier) the signed header that the proxy added, and learns who is calling.
//!
//! This page is read from top to bottom; each of its examples is run as a test.
//!
//! 1. [A first request](#a-first-request)
//! 2. [Where credentials come from](#where-credentials-come-from)
//! 3. [Tokens, and when they are replaced](#tokens-and-when-they-are-replaced)
//! 4. [Tokens for your HTTP client](#tokens-for-your-http-client)
//! 5. [Being another account](#being-another-account)
//! 6. [Without an OAuth client: self-signed tokens](#without-an-oauth-client-self-signed-tokens)
//! 7. [In the backend](#in-the-backend)
//! 8. [A Doorward in the place of Google](#a-doorward-in-the-place-of-google)
//! 9. [When something fails](#when-something-fails)
//! 10. [In your tests](#in-your-tests)
//! 11. [What this crate does not do](#what-this-crate-does-not-do)
//!
//! # A first request
//!
//! The crate is a folder of Doorward's repository. `reqwest-middleware` 0.5 is the one for `reqwest` 0.13:
//!
//! ```toml
//! [dependencies]
//! doorward-client = { path = "doorward/crates/client" }
//! reqwest = "0.13"
//! reqwest-middleware = "0.5"
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! ```
//!
//! Find the credentials once, at the start, and keep them: they hold the tokens. Then let a middleware add the token to the requests
//! of one application, and to no others. The audience of the token is the OAuth client id of the application, as its operator tells
//! you (`doorward dev` writes it into `dev.json`, as `app.client_id`).
//!
#![cfg_attr(feature = "reqwest", doc = "```")]
#![cfg_attr(not(feature = "reqwest"), doc = "```ignore")]
//! use doorward_client::{Credentials, IdTokenHeader, IdTokenMiddleware};
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let machine = google(Arc::new(doorward_client::SystemClock));
//! # let app = Server::start(|asked| {
//! #     assert!(asked.header("authorization").unwrap().starts_with("Bearer ey"));
//! #     Reply::new(200, "3 orders")
//! # });
//! # let orders = app.origin.as_str();
//! # struct Found;
//! # impl Found { fn find(host: &str) -> Credentials { Credentials::metadata(host).unwrap() } }
//! # /*
//! let credentials = Credentials::find_default().await?;
//! let orders = "https://orders.example.com";
//! # */ let credentials = Found::find(machine.address());
//!
//! let header = IdTokenHeader::new(credentials, "123-orders.apps.googleusercontent.com").allow(orders)?;
//! let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new())
//!     .with(IdTokenMiddleware::new(header))
//!     .build();
//!
//! let answer = client.get(format!("{orders}/today")).send().await?.text().await?;
//! assert_eq!(answer, "3 orders");
//! # Ok(())
//! # }
//! ```
//!
//! # Where credentials come from
//!
//! [`Credentials::find_default`] looks where all of Google's libraries look, in the same order, so that a program behaves the same on
//! a laptop, in a pipeline and on a machine in the cloud:
//!
//! | place | set by |
//! | --- | --- |
//! | the file that `GOOGLE_APPLICATION_CREDENTIALS` names | you |
//! | `application_default_credentials.json` in `$CLOUDSDK_CONFIG` or `~/.config/gcloud` | `gcloud auth application-default login` |
//! | the metadata server: `GCE_METADATA_HOST`, or the one of the machine if it answers (unless `NO_GCE_CHECK` is `true`) | the cloud, or `doorward metadata` |
//!
//! A file that is there and cannot be used is an error and not a reason to go on: another identity than the one that was meant is
//! worse than none. At the metadata server the first token is the first question: that it is not there is an error of the token.
//! Four types of files are read, by `find_default` and by [`Credentials::from_file`] and
//! [`from_json`](Credentials::from_json):
//!
//! | `type` | what it is | ID tokens |
//! | --- | --- | --- |
//! | `service_account` | a private key | of the account |
//! | `authorized_user` | a person's sign-in | of the person, for the audience, or for the person's own client |
//! | `impersonated_service_account` | another account, by what `source_credentials` give | of that account |
//! | `external_account` | another issuer's token, in a file or at a URL | of the account in `service_account_impersonation_url` |
//!
//! ```
//! use doorward_client::Credentials;
//!
//! let credentials = Credentials::from_json(r#"{
//!     "type": "authorized_user",
//!     "client_id": "desktop.apps.googleusercontent.com",
//!     "client_secret": "kept-secret",
//!     "refresh_token": "kept-secret-too"
//! }"#)?;
//! assert_eq!(credentials.kind(), "authorized_user");
//! assert!(!format!("{credentials:?}").contains("kept-secret"));
//! # Ok::<(), doorward_client::CredentialsError>(())
//! ```
//!
//! Take files of credentials only from people whom you trust: an `external_account` file says what is read on this machine, and where
//! it is sent.
//!
//! # Tokens, and when they are replaced
//!
//! [`id_token`](Credentials::id_token) and [`access_token`](Credentials::access_token) give a [`Token`]. Call them before each use,
//! and do not keep what they give: while a token is good, a call takes a fraction of a microsecond.
//!
//! ```
//! use doorward_client::Credentials;
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = google(Arc::new(doorward_client::SystemClock));
//! # let metadata_server = server.address();
//! let credentials = Credentials::metadata(metadata_server)?;
//! let first = credentials.id_token("123-orders.apps.googleusercontent.com").await?;
//! let second = credentials.id_token("123-orders.apps.googleusercontent.com").await?;
//! assert_eq!(first.as_str(), second.as_str());
//! # assert_eq!(server.asked().len(), 1);
//!
//! let access = credentials.access_token(&["https://www.googleapis.com/auth/cloud-platform"]).await?;
//! assert!(access.header_value().is_sensitive());
//! # Ok(())
//! # }
//! ```
//!
//! - **Ahead of its end**, 225 seconds before it or in the last quarter of a shorter life, the next call starts a replacement in the
//!   background and gives the old token meanwhile. If the replacement fails, the old token goes on being given until it ends, and
//!   there is another attempt every 15 seconds.
//! - **One request** is under way for one audience, however many callers there are. They share its token, or its error.
//! - **A clock that is set back** by more than 30 seconds makes a token be replaced, in the same way, because its server counts on.
//! - **Again** is asked after failures that pass: 5xx, 408 and 429, no connection, no answer in ten seconds. Four times in all, with
//!   waits of 0.2 to 5 seconds between them; the waits are of random length, so that programs that failed together do not come
//!   back together. A refusal is final.
//!
//! A token that an application refuses although it has not ended, because its key or the account was removed, is dropped with
//! [`Credentials::forget`].
//!
//! # Tokens for your HTTP client
//!
//! [`IdTokenHeader`] says which token goes where: the origins are an explicit list, compared by scheme, host and port. It never
//! writes over a header that is there, and it sends a token over plain http only to this machine, unless told otherwise.
//!
//! | for | use |
//! | --- | --- |
//! | `reqwest` (feature `reqwest`, on by default) | `IdTokenMiddleware`, with `reqwest-middleware` |
//! | clients that are a `tower` service of `http::Request` | [`IdTokenLayer`] |
//! | everything else | [`IdTokenHeader::header_for`] |
//!
//! An application that reads `Authorization` itself gets the proxy's token in `Proxy-Authorization`:
//!
//! ```
//! use std::convert::Infallible;
//!
//! use doorward_client::{Credentials, IdTokenHeader, IdTokenLayer};
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt as _, service_fn};
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = google(Arc::new(doorward_client::SystemClock));
//! # let credentials = Credentials::metadata(server.address())?;
//! // In the place of a real client, one that answers with the names of the headers it would send.
//! let client = service_fn(async |request: Request<()>| {
//!     let names: Vec<String> = request.headers().keys().map(|name| name.to_string()).collect();
//!     Ok::<_, Infallible>(Response::new(names))
//! });
//! let header = IdTokenHeader::new(credentials, "123-orders.apps.googleusercontent.com")
//!     .allow("https://orders.example.com")?
//!     .in_proxy_authorization();
//! let client = ServiceBuilder::new().layer(IdTokenLayer::new(header)).service(client);
//!
//! let request = Request::get("https://orders.example.com/").header("authorization", "Basic b3duOm93bg==").body(())?;
//! assert_eq!(client.clone().oneshot(request).await?.into_body(), ["authorization", "proxy-authorization"]);
//!
//! let request = Request::get("https://elsewhere.example.com/").body(())?;
//! assert!(client.oneshot(request).await?.into_body().is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! # Being another account
//!
//! With `roles/iam.serviceAccountTokenCreator` on a service account you can make its tokens, without its key.
//! [`Credentials::impersonate`] gives credentials that do: they are as any others. Its ID tokens carry the address of the account,
//! without which a proxy refuses them.
//!
//! ```
//! use doorward_client::Credentials;
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = google(Arc::new(doorward_client::SystemClock));
//! # let credentials = Credentials::builder().endpoint(&server.origin)?.metadata(server.address())?;
//! let reports = credentials
//!     .impersonate("reports@project.iam.gserviceaccount.com")
//!     .delegates(["nightly@project.iam.gserviceaccount.com"])
//!     .credentials();
//! let token = reports.id_token("123-orders.apps.googleusercontent.com").await?;
//! # assert_eq!(token.as_str().split('.').count(), 3);
//! # Ok(())
//! # }
//! ```
//!
//! # Without an OAuth client: self-signed tokens
//!
//! A service account's key can sign a token for a URL by itself. Nobody is asked, and the application needs no OAuth client. The
//! token is for exactly one URL, or for all that begin with a prefix that ends in `/*`:
//!
//! ```
//! use doorward_client::Credentials;
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let file = key_file();
//! let credentials = Credentials::from_json(file)?;
//! let token = credentials.self_signed("https://orders.example.com/*")?;
//! assert!(token.header_value().to_str()?.starts_with("Bearer ey"));
//! # Ok(())
//! # }
//! ```
//!
//! # In the backend
//!
//! Behind the proxy, each request has a header `x-goog-iap-jwt-assertion` that says who is calling, signed by the proxy. Trust
//! nothing else: anybody who reaches the application past the proxy can write the other headers. The [`Verifier`] checks the
//! signature, issuer, audience and time, and then that the unsigned headers `x-goog-authenticated-user-email` and `-id` say the
//! same or are not there, so that code which reads those two is safe too.
//!
//! The audience is the path of the application, not a URL: `/projects/NUMBER/global/backendServices/ID`, or
//! `/projects/NUMBER/apps/PROJECT` on App Engine, or `/projects/NUMBER/locations/REGION/services/NAME` on Cloud Run.
//!
//! ```
//! use doorward_client::Verifier;
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use doorward_client::Clock as _;
//! # let proxy = google(Arc::new(doorward_client::SystemClock));
//! # let claims = Value::Object(assertion_claims(doorward_client::SystemClock.now()));
//! # let mut headers = http::HeaderMap::new();
//! # headers.insert("x-goog-iap-jwt-assertion", sign(signing_key(), &claims).parse()?);
//! # let doorward = &proxy.origin;
//! let verifier = Verifier::builder()
//!     .audience("/projects/1/global/backendServices/2")
//!     .key_url(&format!("{doorward}/www.gstatic.com/iap/verify/public_key-jwk"))
//!     .build()?;
//!
//! let identity = verifier.verify(&headers).await?;
//! assert_eq!(identity.subject(), Some("accounts.google.com:118"));
//! assert_eq!(identity.email(), Some("alice@example.com"));
//!
//! // Another e-mail beside the assertion is a forgery.
//! headers.insert("x-goog-authenticated-user-email", "accounts.google.com:bob@example.com".parse()?);
//! assert!(verifier.verify(&headers).await.is_err());
//! # Ok(())
//! # }
//! ```
//!
//! As a [`VerifyLayer`] it does so for every request of a `tower` server, such as one of `axum`. What comes through has an
//! [`Identity`] among its extensions; all else gets an empty 401, or 503 while there are no keys to verify with:
//!
//! ```
//! use axum::routing::get;
//! use axum::{Extension, Router};
//! use doorward_client::{Identity, Verifier, VerifyLayer};
//! # use axum::body::Body;
//! # use http::{Request, StatusCode};
//! # use tower::ServiceExt as _;
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
//!
//! async fn hello(Extension(caller): Extension<Identity>) -> String {
//!     format!("Hello, {}!", caller.email().unwrap_or("whoever you are"))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use doorward_client::Clock as _;
//! # let proxy = google(Arc::new(doorward_client::SystemClock));
//! # let assertion = sign(signing_key(), &Value::Object(assertion_claims(doorward_client::SystemClock.now())));
//! # let doorward = &proxy.origin;
//! let verifier = Verifier::builder()
//!     .audience("/projects/1/global/backendServices/2")
//!     .key_url(&format!("{doorward}/www.gstatic.com/iap/verify/public_key-jwk"))
//!     .build()?;
//! let application = Router::new().route("/", get(hello)).layer(VerifyLayer::new(verifier));
//! # let proven = Request::get("/").header("x-goog-iap-jwt-assertion", assertion).body(Body::empty())?;
//! # let answer = application.clone().oneshot(proven).await?.into_body();
//! # assert_eq!(axum::body::to_bytes(answer, 100).await?, "Hello, alice@example.com!");
//! # let past_the_proxy = application.oneshot(Request::get("/").body(Body::empty())?).await?;
//! # assert_eq!(past_the_proxy.status(), StatusCode::UNAUTHORIZED);
//! # Ok(())
//! # }
//! ```
//!
//! Where the policy lets everybody in (`allUsers`), an [`Identity`] proves the proxy and nobody behind it: its
//! [`subject`](Identity::subject) and [`email`](Identity::email) are `None`. Let the health checks of your platform reach a route
//! outside of the layer: they do not come through the proxy.
//!
//! Keys are fetched at the first request and kept as long as their document says, between a minute and a day. They are fetched anew
//! in the last quarter of that, and kept through an outage until they end. An assertion with an unknown key causes a fetch at most
//! once a minute, because strangers can write those.
//!
//! # A Doorward in the place of Google
//!
//! A Doorward serves all of Google's endpoints below its own origin. [`CredentialsBuilder::endpoint`] sends everything there that
//! would go to Google, also what files name; inside `doorward run` not even that is needed, because Google's names lead there.
//!
//! ```
//! # use doorward_client::Credentials;
//! # let file = r#"{"type":"authorized_user","client_id":"c","refresh_token":"r"}"#;
//! let credentials = Credentials::builder()
//!     .endpoint("http://127.0.0.1:8081")?
//!     .from_json(file)?;
//! # Ok::<(), doorward_client::CredentialsError>(())
//! ```
//!
//! The builder finds default credentials too, with `.find_default().await`. A person's file needs the endpoint in any case, because it
//! names no address and goes to Google's without; key files that a Doorward made, and its metadata server, do not.
//!
//! A private authority is trusted beside those of the system with [`CredentialsBuilder::ca_pem`] and [`VerifierBuilder::ca_pem`].
//! Credentials go over https, or to this machine. Only the metadata server, and the `url` of a `credential_source`, are asked over
//! plain http elsewhere: they are next door, and have no other.
//!
//! # When something fails
//!
//! Each operation has its own error, and each message says what to do next. Show it with `{error}`: a `main` that returns an error
//! shows its `Debug`.
//!
//! | operation | error |
//! | --- | --- |
//! | finding and reading credentials | [`CredentialsError`] |
//! | getting a token | [`TokenError`] |
//! | signing one | [`SelfSignedError`] |
//! | allowing an origin | [`OriginError`] |
//! | sending with a `tower` client | [`SendError`] |
//! | making a verifier, verifying | [`VerifierError`], [`VerifyError`] |
//!
//! ```
//! use std::time::Duration;
//!
//! use doorward_client::{Credentials, TokenError};
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = Server::start(|_| {
//! #     Reply::new(400, r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#)
//! # });
//! # let doorward = server.origin.as_str();
//! # let file = r#"{"type":"authorized_user","client_id":"c","refresh_token":"r"}"#;
//! let credentials = Credentials::builder()
//!     .endpoint(doorward)?
//!     .timeout(Duration::from_secs(2))
//!     .retry(2, Duration::from_millis(50))
//!     .from_json(file)?;
//! match credentials.id_token("123-orders.apps.googleusercontent.com").await {
//!     Err(error @ TokenError::Refused { .. }) if error.code() == Some("invalid_grant") => {
//!         assert!(error.to_string().contains("sign in again"));
//!     }
//!     other => panic!("{other:?}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! No message and no `Debug` shows a token, a key or a secret; what a server says is cut of everything that was sent to it. A
//! replacement that fails in the background, a fetch of keys that fails, and a request that [`VerifyLayer`] refuses are written with
//! `tracing`, at level *warn*.
//!
//! # In your tests
//!
//! Time comes from a [`Clock`]. A [`ManualClock`] stands still until it is moved:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::{Duration, UNIX_EPOCH};
//!
//! use doorward_client::{Clock as _, Credentials, ManualClock};
//!
//! let clock = Arc::new(ManualClock::at(UNIX_EPOCH + Duration::from_secs(1_800_000_000)));
//! let builder = Credentials::builder().clock(clock.clone());
//! clock.advance(Duration::from_secs(3600));
//! assert_eq!(clock.now(), UNIX_EPOCH + Duration::from_secs(1_800_003_600));
//! # drop(builder);
//! ```
//!
//! # What this crate does not do
//!
//! It sends its own questions over HTTP/1.1 without a proxy of the environment. Of `external_account` files it reads those whose
//! token is in a file or at a URL, and neither those of AWS nor those that run a program. Everything that gets a token or verifies
//! runs within Tokio.

mod cache;
mod clock;
mod credentials;
mod endpoints;
mod entropy;
mod exchange;
mod flight;
mod origin;
mod outgoing;
mod token;
mod token_error;
mod transport;
mod verify;

pub use clock::{Clock, ManualClock, SystemClock};
pub use credentials::{
    CLOUD_PLATFORM, Credentials, CredentialsBuilder, CredentialsError, Impersonation, SelfSignedError,
};
pub use entropy::{Entropy, SystemEntropy};
pub use origin::{Origin, OriginError};
#[cfg(feature = "reqwest")]
pub use outgoing::IdTokenMiddleware;
pub use outgoing::{IdTokenHeader, IdTokenLayer, IdTokenService, SendError};
pub use token::Token;
pub use token_error::TokenError;
pub use transport::TransportError;
pub use verify::{
    GOOGLE_KEY_URL, Identity, KeysError, Verifier, VerifierBuilder, VerifierError, VerifyError, VerifyLayer,
    VerifyService,
};

/// The guide: what it shows compiles.
#[cfg(all(doctest, feature = "reqwest"))]
#[doc = include_str!("../../../docs/guide/use-the-sdk.md")]
mod guide {}
