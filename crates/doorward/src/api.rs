//! The APIs of our own origin: JSON or a form in, JSON out, and refusals as one sentence.

use std::io;
use std::time::Duration;

use anyhow::anyhow;
use doorward_server::dev::description::Description;
use doorward_wire::google_api::Status;
use doorward_wire::oauth::OAuthCode;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use hyper::body::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::server::{KEY_FILE, TOKEN_FILE};
use crate::transport::{self, LONG, TIMEOUT};
use crate::world::if_unreachable;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// Why a call was not answered with success. A cause stands within the sentence, before the next step, and is no `source`:
/// it would be printed twice.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("{0:?} is not an address of http or https: start `doorward dev` again, which writes it anew")]
    Address(String),
    #[error("the admin token in dev.json is damaged: start `doorward dev` again, which writes it anew")]
    AdminToken,
    #[error("the access token in the answer is damaged: another program serves at this address")]
    AccessToken,
    #[error("the token that was given is none: see that {TOKEN_FILE} names the right file")]
    GivenToken,
    #[error("cannot connect to {address} ({cause}): {}", if_unreachable())]
    Connect { address: String, cause: io::Error },
    #[error(
        "{address} and this program do not agree on TLS ({cause}): if a private authority signed its certificate, add that to \
         the system's, or name it with SSL_CERT_FILE"
    )]
    Tls { address: String, cause: io::Error },
    #[error("the certificates of the system cannot be used ({0}): mend its bundle, or name one with SSL_CERT_FILE")]
    Trust(rustls::Error),
    #[error("{address} did not answer within {} seconds: stop `doorward dev` and start it again", after.as_secs())]
    Timeout { address: String, after: Duration },
    #[error("{address} broke the connection ({cause}): is Doorward still running there?")]
    Broken { address: String, cause: Box<dyn std::error::Error + Send + Sync> },
    #[error("{message} ({status})")]
    Google { status: String, message: String },
    #[error("the token endpoint refused: {description} ({code})")]
    OAuth { code: String, description: String },
    #[error(
        "the admin token was not accepted: another `doorward dev` serves at this address; name its directory with --dir"
    )]
    Unauthenticated,
    #[error(
        "the credential was not accepted: see that {TOKEN_FILE} or {KEY_FILE} names a file of the Doorward at this address"
    )]
    CredentialRefused,
    #[error("unexpected answer, HTTP {0}: another program, or another version of `doorward`, serves at this address")]
    Unexpected(StatusCode),
    #[error("unexpected answer ({0}): another program, or another version of `doorward`, serves at this address")]
    Shape(serde_json::Error),
}

impl ApiError {
    /// Whether Google's canonical code is `status`.
    pub(crate) fn is(&self, status: Status) -> bool {
        let name = serde_json::to_value(status).ok();
        matches!(self, ApiError::Google { status, .. } if name.as_ref().is_some_and(|name| name == status))
    }

    /// Whether the code of RFC 6749 and its extensions is `code`.
    pub(crate) fn is_oauth(&self, wanted: OAuthCode) -> bool {
        matches!(self, ApiError::OAuth { code, .. } if code == wanted.name())
    }

    /// The error, with what to do about it if it is `status`.
    pub(crate) fn advise(self, status: Status, advice: &str) -> anyhow::Error {
        if self.is(status) { anyhow!("{self}: {advice}") } else { self.into() }
    }
}

/// The origin of a running world, and as whom it is called.
#[derive(Debug)]
pub(crate) struct Api {
    origin: String,
    authorization: HeaderValue,
    caller: Caller,
}

/// As whom an API is called: what a 401 is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    /// The operator of a `doorward dev`, by dev.json.
    Operator,
    /// Whoever a file of this user says.
    OfAFile,
    /// Whose token was just got.
    Person,
}

impl Api {
    /// The API of `world`, called as its administrator.
    pub(crate) fn of(world: &Description) -> Result<Self, ApiError> {
        let authorization = bearer(&world.admin_token).ok_or(ApiError::AdminToken)?;
        Ok(Api { origin: world.api_url.clone(), authorization, caller: Caller::Operator })
    }

    /// The API at an origin, called with an access token.
    pub(crate) fn with_access_token(origin: &str, token: &str) -> Result<Self, ApiError> {
        let authorization = bearer(token).ok_or(ApiError::AccessToken)?;
        Ok(Api { origin: origin.to_owned(), authorization, caller: Caller::Person })
    }

    /// The API at an origin, called with a token of a file of this user.
    pub(crate) fn at(origin: &str, token: &str) -> Result<Self, ApiError> {
        let authorization = bearer(token).ok_or(ApiError::GivenToken)?;
        Ok(Api { origin: origin.to_owned(), authorization, caller: Caller::OfAFile })
    }

    /// The origin, without a trailing slash.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// `GET`. `path` starts with `/`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        decode(&self.call(Method::GET, path, None).await?)
    }

    /// `POST` of JSON.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<T, ApiError> {
        let body = serde_json::to_string(body).map_err(ApiError::Shape)?;
        decode(&self.call(Method::POST, path, Some(body)).await?)
    }

    /// `POST` of JSON whose answer may take minutes.
    pub(crate) async fn post_patiently<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<T, ApiError> {
        let body = serde_json::to_string(body).map_err(ApiError::Shape)?;
        decode(&self.call_within(LONG, Method::POST, path, Some(body)).await?)
    }

    /// `PATCH` of JSON.
    pub(crate) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<T, ApiError> {
        let body = serde_json::to_string(body).map_err(ApiError::Shape)?;
        decode(&self.call(Method::PATCH, path, Some(body)).await?)
    }

    /// `PUT` of JSON.
    pub(crate) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<T, ApiError> {
        let body = serde_json::to_string(body).map_err(ApiError::Shape)?;
        decode(&self.call(Method::PUT, path, Some(body)).await?)
    }

    /// `DELETE`.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), ApiError> {
        self.call(Method::DELETE, path, None).await.map(drop)
    }

    async fn call(&self, method: Method, path: &str, json: Option<String>) -> Result<Bytes, ApiError> {
        self.call_within(TIMEOUT, method, path, json).await
    }

    async fn call_within(
        &self,
        limit: Duration,
        method: Method,
        path: &str,
        json: Option<String>,
    ) -> Result<Bytes, ApiError> {
        let mut headers = vec![(AUTHORIZATION, self.authorization.clone())];
        if json.is_some() {
            headers.push((CONTENT_TYPE, JSON));
        }
        let url = format!("{}{path}", self.origin);
        let answer = transport::call(method, &url, headers, json.unwrap_or_default(), limit).await?;
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        let error = refusal(answer.status, &answer.body);
        Err(match self.caller {
            Caller::Operator if error.is(Status::Unauthenticated) => ApiError::Unauthenticated,
            Caller::OfAFile if error.is(Status::Unauthenticated) => ApiError::CredentialRefused,
            Caller::Operator | Caller::OfAFile | Caller::Person => error,
        })
    }
}

/// The value of `Authorization`; `None` if the token is not one.
fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// `POST` of a form, without a credential beside it.
pub(crate) async fn post_form<T: DeserializeOwned>(url: &str, parameters: &[(&str, &str)]) -> Result<T, ApiError> {
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    let answer = transport::call(Method::POST, url, vec![(CONTENT_TYPE, FORM)], form, TIMEOUT).await?;
    if answer.status.is_success() { decode(&answer.body) } else { Err(refusal(answer.status, &answer.body)) }
}

/// `GET` without a credential.
pub(crate) async fn get<T: DeserializeOwned>(url: &str) -> Result<T, ApiError> {
    let answer = transport::call(Method::GET, url, Vec::new(), String::new(), TIMEOUT).await?;
    if answer.status.is_success() { decode(&answer.body) } else { Err(refusal(answer.status, &answer.body)) }
}

/// `path` with a query of these parameters.
pub(crate) fn with_query(path: &str, parameters: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    format!("{path}?{query}")
}

/// Every page of a list. `take` takes the entries out of a page and gives the token of the next one.
pub(crate) async fn every_page<P: DeserializeOwned, T>(
    api: &Api,
    path: &str,
    take: impl Fn(P) -> (Vec<T>, Option<String>),
) -> Result<Vec<T>, ApiError> {
    let (mut all, mut next) = take(api.get(path).await?);
    while let Some(token) = next.filter(|token| !token.is_empty()) {
        let joint = if path.contains('?') { '&' } else { '?' };
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("pageToken", &token).finish();
        let (mut more, after) = take(api.get(&format!("{path}{joint}{query}")).await?);
        all.append(&mut more);
        next = after;
    }
    Ok(all)
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(ApiError::Shape)
}

/// Reads a refusal in either of the families that we talk to: AIP-193, and RFC 6749 section 5.2.
fn refusal(http: StatusCode, body: &[u8]) -> ApiError {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Refusal {
        Google { error: Google },
        OAuth { error: String, error_description: Option<String> },
    }
    #[derive(Deserialize)]
    struct Google {
        status: String,
        message: String,
    }
    match serde_json::from_slice(body) {
        Ok(Refusal::Google { error: Google { status, message } }) => ApiError::Google { status, message },
        Ok(Refusal::OAuth { error: code, error_description }) => {
            ApiError::OAuth { code, description: error_description.unwrap_or_else(|| "it gave no reason".into()) }
        }
        Err(_) => ApiError::Unexpected(http),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener};
    use std::thread::JoinHandle;

    use serde_json::{Value, json};

    use crate::world::tests::description;

    /// Answers one connection after the other with what was recorded of a server, and gives what was asked.
    pub(crate) fn replay(answers: Vec<(u16, Value)>) -> (SocketAddr, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = move || {
            let one = |(status, body): (u16, Value)| {
                let (mut stream, _) = listener.accept().unwrap();
                let (mut asked, mut chunk) = (Vec::new(), [0; 4096]);
                while !is_complete(&asked) {
                    let read = stream.read(&mut chunk).unwrap();
                    assert_ne!(read, 0, "a request that stops half-way");
                    asked.extend_from_slice(&chunk[..read]);
                }
                let body = body.to_string();
                write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
                String::from_utf8(asked).unwrap()
            };
            answers.into_iter().map(one).collect()
        };
        (address, std::thread::spawn(serve))
    }

    fn is_complete(request: &[u8]) -> bool {
        let text = String::from_utf8_lossy(request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        body.len() >= length.parse().unwrap()
    }

    /// The API of a world whose server is at `address`.
    pub(crate) fn api_at(address: SocketAddr) -> Api {
        Api::of(&serde_json::from_value(description(&format!("http://{address}"))).unwrap()).unwrap()
    }

    /// Runs a future to its end.
    pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn a_call_carries_the_admin_token_and_json_and_a_form_carries_neither() {
        let (address, asked) = replay(vec![(200, json!({"n": 1})), (200, json!({})), (200, json!("x"))]);
        let api = api_at(address);
        let answer: Value = block_on(api.post("/h/v1/x:y?z", &json!({"a": "b"}))).unwrap();
        assert_eq!(answer, json!({"n": 1}));
        block_on(api.delete("/h/v1/x")).unwrap();
        block_on(post_form::<String>(&format!("http://{address}/token"), &[("a", "b")])).unwrap();
        let agent = concat!("user-agent: doorward/", env!("CARGO_PKG_VERSION"), "\r\n");
        let expected = [
            format!(
                "POST /h/v1/x:y?z HTTP/1.1\r\nhost: {address}\r\naccept: application/json\r\n{agent}\
                 authorization: Bearer doorward_admin_x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{{\"a\":\"b\"}}"
            ),
            format!(
                "DELETE /h/v1/x HTTP/1.1\r\nhost: {address}\r\naccept: application/json\r\n{agent}\
                 authorization: Bearer doorward_admin_x\r\n\r\n"
            ),
            format!(
                "POST /token HTTP/1.1\r\nhost: {address}\r\naccept: application/json\r\n{agent}\
                 content-type: application/x-www-form-urlencoded\r\ncontent-length: 3\r\n\r\na=b"
            ),
        ];
        assert_eq!(asked.join().unwrap(), expected);
    }

    #[test]
    fn a_refusal_is_one_clear_sentence_whichever_family_it_is_of() {
        let google =
            |code: &str| json!({"error": {"code": 400, "message": "No such thing.", "status": code}}).to_string();
        #[rustfmt::skip]
        let cases = [
            (404, google("NOT_FOUND"),                                "No such thing. (NOT_FOUND)"),
            (429, google("A_STATUS_OF_LATER"),                        "No such thing. (A_STATUS_OF_LATER)"),
            (401, google("UNAUTHENTICATED"),                          "No such thing. (UNAUTHENTICATED)"),
            (400, r#"{"error":"invalid_grant","error_description":"Bad."}"#.into(), "the token endpoint refused: Bad. (invalid_grant)"),
            (401, r#"{"error":"invalid_client"}"#.into(),             "the token endpoint refused: it gave no reason (invalid_client)"),
            (421, "<html>".into(),                                    "unexpected answer, HTTP 421"),
            (302, String::new(),                                      "unexpected answer, HTTP 302"),
        ];
        for (status, body, expected) in cases {
            let message = refusal(StatusCode::from_u16(status).unwrap(), body.as_bytes()).to_string();
            assert!(message.starts_with(expected), "{status} {body}: {message}");
        }
        assert!(refusal(StatusCode::BAD_REQUEST, br#"{"error":"slow_down"}"#).is_oauth(OAuthCode::SlowDown));
        let aborted = ApiError::Google { status: "ABORTED".into(), message: "Again.".into() };
        assert!(aborted.is(Status::Aborted) && !aborted.is(Status::AlreadyExists));
        assert_eq!(aborted.advise(Status::Aborted, "wait").to_string(), "Again. (ABORTED): wait");
    }

    #[test]
    fn a_401_is_about_the_admin_token_only_where_that_was_sent() {
        let refused = || (401, json!({"error": {"code": 401, "message": "No.", "status": "UNAUTHENTICATED"}}));
        let (address, _) = replay(vec![refused(), refused()]);
        let as_administrator = block_on(api_at(address).get::<Value>("/x")).unwrap_err().to_string();
        assert!(as_administrator.starts_with("the admin token was not accepted"), "{as_administrator}");
        let origin = format!("http://{address}");
        let api = Api::with_access_token(&origin, "t").unwrap();
        assert_eq!(block_on(api.get::<Value>("/x")).unwrap_err().to_string(), "No. (UNAUTHENTICATED)");
        assert!(Api::with_access_token(&origin, "a\nb").is_err());
    }

    #[test]
    fn an_address_that_cannot_be_called_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let over_tls = closed.replace("http:", "https:");
        #[rustfmt::skip]
        let cases = [
            (closed.as_str(),         "cannot connect to 127.0.0.1:"),
            (&over_tls,               "cannot connect to 127.0.0.1:"),
            ("ftp://127.0.0.1/",      "\"ftp://127.0.0.1/\" is not an address of http or https"),
            ("127.0.0.1:1",           "\"127.0.0.1:1\" is not an address of http or https"),
            ("https://a..b/",         "\"https://a..b/\" is not an address of http or https"),
            ("",                      "\"\" is not an address of http or https"),
        ];
        for (url, expected) in cases {
            let message = block_on(post_form::<Value>(url, &[])).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{url}: {message}");
        }
    }

    #[test]
    fn who_does_not_speak_tls_is_told_from_who_is_not_there() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let read = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
            read
        });
        let error = block_on(post_form::<Value>(&url, &[])).unwrap_err();
        assert!(matches!(error, ApiError::Tls { .. }), "{error}");
        assert!(error.to_string().ends_with("add that to the system's, or name it with SSL_CERT_FILE"), "{error}");
        assert_ne!(server.join().unwrap(), 0);
    }
}
