//! A small HTTP/1 client for our own origin: one request, one connection, JSON in and out.

use std::io;
use std::time::Duration;

use anyhow::anyhow;
use doorward_server::dev::description::Description;
use doorward_wire::google_api::Status;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

/// From the first packet to the last byte of the answer. Longer than the server holds a long poll.
const TIMEOUT: Duration = Duration::from_secs(30);

/// More than any answer of ours, less than what would hurt.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// Why a call was not answered with success. A cause stands within the sentence, before the next step, and is no `source`:
/// it would be printed twice.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("{0:?} is not an http address: start `doorward dev` again, which writes it anew")]
    Address(String),
    #[error("{0} needs https, which this version does not speak yet: use an http address")]
    Https(Uri),
    #[error("the admin token in dev.json is damaged: start `doorward dev` again, which writes it anew")]
    AdminToken,
    #[error("cannot connect to {address} ({cause}): is `doorward dev` still running?")]
    Connect { address: String, cause: io::Error },
    #[error("{address} did not answer within {} seconds: stop `doorward dev` and start it again", TIMEOUT.as_secs())]
    Timeout { address: String },
    #[error("{address} broke the connection ({cause}): is `doorward dev` still running?")]
    Broken { address: String, cause: Box<dyn std::error::Error + Send + Sync> },
    #[error("{message} ({status})")]
    Google { status: String, message: String },
    #[error("the token endpoint refused: {description} ({code})")]
    OAuth { code: String, description: String },
    #[error(
        "the admin token was not accepted: another `doorward dev` serves at this address; name its directory with --dir"
    )]
    Unauthenticated,
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

    /// The error, with what to do about it if it is `status`.
    pub(crate) fn advise(self, status: Status, advice: &str) -> anyhow::Error {
        if self.is(status) { anyhow!("{self}: {advice}") } else { self.into() }
    }
}

/// The origin of a running world, called as its administrator.
#[derive(Debug)]
pub(crate) struct Api {
    origin: String,
    authorization: HeaderValue,
}

impl Api {
    /// The API of `world`.
    pub(crate) fn of(world: &Description) -> Result<Self, ApiError> {
        let bearer = format!("Bearer {}", world.admin_token);
        let mut authorization = HeaderValue::try_from(bearer).map_err(|_| ApiError::AdminToken)?;
        authorization.set_sensitive(true);
        Ok(Api { origin: world.api_url.clone(), authorization })
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
        decode(&self.call(Method::POST, path, Some((JSON, body))).await?)
    }

    /// `DELETE`.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), ApiError> {
        self.call(Method::DELETE, path, None).await.map(drop)
    }

    async fn call(&self, method: Method, path: &str, body: Option<(HeaderValue, String)>) -> Result<Bytes, ApiError> {
        call(method, &format!("{}{path}", self.origin), Some(&self.authorization), body).await
    }
}

/// `POST` of a form, without a credential beside it.
pub(crate) async fn post_form<T: DeserializeOwned>(url: &str, form: String) -> Result<T, ApiError> {
    decode(&call(Method::POST, url, None, Some((FORM, form))).await?)
}

/// `text` as one segment of a path (RFC 3986 section 3.3).
pub(crate) fn path_segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' | b'@' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

async fn call(
    method: Method,
    url: &str,
    authorization: Option<&HeaderValue>,
    body: Option<(HeaderValue, String)>,
) -> Result<Bytes, ApiError> {
    let invalid = || ApiError::Address(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| invalid())?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err(ApiError::Https(uri)),
        _ => return Err(invalid()),
    }
    let (host, authority) = uri.host().zip(uri.authority()).ok_or_else(invalid)?;
    let mut request = Request::builder().method(method).uri(uri.path_and_query().map_or("/", |target| target.as_str()));
    request = request.header(HOST, authority.as_str()).header(ACCEPT, JSON);
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    let body = match body {
        Some((content_type, body)) => {
            request = request.header(CONTENT_TYPE, content_type);
            body
        }
        None => String::new(),
    };
    let request = request.body(Full::new(Bytes::from(body))).map_err(|_| invalid())?;
    let peer = (host.trim_matches(['[', ']']), uri.port_u16().unwrap_or(80));
    let exchange = tokio::time::timeout(TIMEOUT, exchange(peer, authority.as_str(), request));
    let (status, body) = exchange.await.map_err(|_| ApiError::Timeout { address: authority.to_string() })??;
    if status.is_success() { Ok(body) } else { Err(refusal(status, &body)) }
}

async fn exchange(
    peer: (&str, u16),
    address: &str,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), ApiError> {
    let broken = |cause| ApiError::Broken { address: address.to_owned(), cause };
    let stream =
        TcpStream::connect(peer).await.map_err(|cause| ApiError::Connect { address: address.to_owned(), cause })?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(error.into()))?;
    // Its failure reaches us through the answer.
    tokio::spawn(async { drop(connection.await) });
    let answer = sender.send_request(request).await.map_err(|error| broken(error.into()))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_LIMIT).collect().await.map_err(broken)?;
    Ok((status, body.to_bytes()))
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
        Ok(Refusal::Google { .. }) if http == StatusCode::UNAUTHORIZED => ApiError::Unauthenticated,
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
        block_on(post_form::<String>(&format!("http://{address}/token"), "a=b".into())).unwrap();
        let expected = [
            format!(
                "POST /h/v1/x:y?z HTTP/1.1\r\nhost: {address}\r\naccept: application/json\r\n\
                 authorization: Bearer doorward_admin_x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{{\"a\":\"b\"}}"
            ),
            format!(
                "DELETE /h/v1/x HTTP/1.1\r\nhost: {address}\r\naccept: application/json\r\n\
                 authorization: Bearer doorward_admin_x\r\n\r\n"
            ),
            format!(
                "POST /token HTTP/1.1\r\nhost: {address}\r\naccept: application/json\r\n\
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
            (401, google("UNAUTHENTICATED"),                          "the admin token was not accepted"),
            (400, r#"{"error":"invalid_grant","error_description":"Bad."}"#.into(), "the token endpoint refused: Bad. (invalid_grant)"),
            (401, r#"{"error":"invalid_client"}"#.into(),             "the token endpoint refused: it gave no reason (invalid_client)"),
            (421, "<html>".into(),                                    "unexpected answer, HTTP 421"),
            (302, String::new(),                                      "unexpected answer, HTTP 302"),
        ];
        for (status, body, expected) in cases {
            let message = refusal(StatusCode::from_u16(status).unwrap(), body.as_bytes()).to_string();
            assert!(message.starts_with(expected), "{status} {body}: {message}");
        }
        let aborted = ApiError::Google { status: "ABORTED".into(), message: "Again.".into() };
        assert!(aborted.is(Status::Aborted) && !aborted.is(Status::AlreadyExists));
        assert_eq!(aborted.advise(Status::Aborted, "wait").to_string(), "Again. (ABORTED): wait");
    }

    #[test]
    fn an_address_that_cannot_be_called_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        #[rustfmt::skip]
        let cases = [
            (closed.as_str(),         "cannot connect to 127.0.0.1:"),
            ("https://127.0.0.1:1/",  "https://127.0.0.1:1/ needs https"),
            ("ftp://127.0.0.1/",      "\"ftp://127.0.0.1/\" is not an http address"),
            ("127.0.0.1:1",           "\"127.0.0.1:1\" is not an http address"),
            ("",                      "\"\" is not an http address"),
        ];
        for (url, expected) in cases {
            let message = block_on(post_form::<Value>(url, String::new())).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{url}: {message}");
        }
    }

    #[test]
    fn a_name_stays_one_segment_of_a_path() {
        assert_eq!(path_segment("robot@p.iam.gserviceaccount.com"), "robot@p.iam.gserviceaccount.com");
        assert_eq!(path_segment("a/b?c#d%e é"), "a%2Fb%3Fc%23d%25e%20%C3%A9");
    }
}
