//! Waiting on loopback for the browser that comes back from a sign-in (RFC 8252 section 7.3).

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use doorward_wire::oauth::Parameters;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// More than any browser opens. Further ones wait.
const CONNECTIONS: usize = 32;

/// What the browser brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Redirect {
    /// The sign-in worked.
    Code(String),
    /// It did not.
    Refused {
        /// A code of RFC 6749 section 4.1.2.1.
        error: String,
        /// For people; may be empty.
        description: String,
    },
    /// It is of another server than was asked, which could be after the code (RFC 9207 section 2.4).
    OtherIssuer,
}

/// What an answer must carry to be ours.
#[derive(Debug)]
pub(crate) struct Expected {
    /// The one of this sign-in, unguessable.
    pub(crate) state: String,
    /// The server that was asked.
    pub(crate) issuer: String,
}

/// A listener on a free port of 127.0.0.1.
pub(crate) struct Loopback {
    listener: TcpListener,
    address: SocketAddr,
}

impl Loopback {
    /// Starts to listen.
    pub(crate) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok(Loopback { listener, address })
    }

    /// Where the browser is to be sent.
    pub(crate) fn redirect_uri(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Waits for the browser to come with the answer to this sign-in. Others, who cannot know the state, get a page that says
    /// so, and do not end the waiting; neither do connections on which nothing is sent, which browsers open ahead.
    pub(crate) async fn wait(self, expected: Expected) -> io::Result<Redirect> {
        let expected = Arc::new(expected);
        let (send, mut receive) = mpsc::channel(CONNECTIONS);
        let mut connections = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                Some(redirect) = receive.recv() => return Ok(redirect),
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS => {
                    let (stream, _) = accepted?;
                    let (expected, send) = (expected.clone(), send.clone());
                    connections.spawn(async move {
                        // The page is with the browser by now: this process may end.
                        if let Some(redirect) = serve(stream, expected).await {
                            drop(send.send(redirect).await);
                        }
                    });
                }
            }
        }
    }
}

/// Answers one request on one connection. Gives what it brought, if that was ours.
async fn serve(stream: TcpStream, expected: Arc<Expected>) -> Option<Redirect> {
    let brought = Arc::new(Mutex::new(None));
    let service = service_fn(|request: Request<Incoming>| {
        let redirect = match *request.method() {
            Method::GET if request.uri().path() == "/" => read(request.uri().query().unwrap_or_default(), &expected),
            _ => None,
        };
        let page = page(redirect.as_ref());
        if redirect.is_some() {
            *brought.lock().unwrap_or_else(PoisonError::into_inner) = redirect;
        }
        async { Ok::<_, Infallible>(page) }
    });
    // A browser that goes away has told us what it knew.
    drop(http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service).await);
    brought.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Reads the query of a redirect. `None` if it is not of this sign-in.
fn read(query: &str, expected: &Expected) -> Option<Redirect> {
    let mut query = Parameters::parse(query.as_bytes()).ok()?;
    if query.take("state")? != expected.state {
        return None;
    }
    if query.take("iss").is_none_or(|issuer| issuer != expected.issuer) {
        return Some(Redirect::OtherIssuer);
    }
    if let Some(error) = query.take("error") {
        return Some(Redirect::Refused { error, description: query.take("error_description").unwrap_or_default() });
    }
    query.take("code").map(Redirect::Code)
}

/// Shows nothing of what was sent.
fn page(redirect: Option<&Redirect>) -> Response<Full<Bytes>> {
    let (status, text) = match redirect {
        Some(Redirect::Code(_)) => (StatusCode::OK, "You can close this window and go back to the terminal."),
        Some(Redirect::Refused { .. } | Redirect::OtherIssuer) => {
            (StatusCode::OK, "The sign-in did not work. The terminal says why; you can close this window.")
        }
        None => (StatusCode::NOT_FOUND, "This is not the answer to a sign-in that is under way."),
    };
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>doorward login</title><h1>doorward login</h1><p>{text}</p></html>\n"
    );
    let mut response = Response::new(Full::new(Bytes::from(html)));
    *response.status_mut() = status;
    let fields = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        // The address has the code in it.
        (REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fields {
        response.headers_mut().insert(name, http::HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    use crate::api::tests::block_on;

    fn expected() -> Expected {
        Expected { state: "s".into(), issuer: "http://127.0.0.1:8081".into() }
    }

    #[test]
    fn an_answer_counts_only_with_the_state_of_this_sign_in_and_the_name_of_the_server_that_was_asked() {
        let iss = "iss=http%3A%2F%2F127.0.0.1%3A8081";
        let code = || Some(Redirect::Code("c".into()));
        let refused = |description: &str| {
            Some(Redirect::Refused { error: "access_denied".into(), description: description.into() })
        };
        #[rustfmt::skip]
        let cases = [
            (format!("code=c&state=s&{iss}"),                        code()),
            (format!("scope=openid+email&state=s&code=c&{iss}&hd=x"), code()),
            (format!("error=access_denied&state=s&{iss}"),           refused("")),
            (format!("error=access_denied&error_description=No.&state=s&code=c&{iss}"), refused("No.")),
            ("code=c&state=s".into(),                                Some(Redirect::OtherIssuer)),
            ("code=c&state=s&iss=http://127.0.0.1:8082".into(),      Some(Redirect::OtherIssuer)),
            (format!("code=c&{iss}"),                                None),
            (format!("code=c&state=t&{iss}"),                        None),
            (format!("code=c&state=s&state=s&{iss}"),                None),
            (format!("code=c&code=d&state=s&{iss}"),                 None),
            (format!("state=s&{iss}"),                               None),
            (String::new(),                                          None),
        ];
        for (query, redirect) in cases {
            assert_eq!(read(&query, &expected()), redirect, "{query}");
        }
    }

    #[test]
    fn strangers_and_silent_connections_do_not_end_the_waiting_and_the_browser_gets_its_page() {
        block_on(async {
            let loopback = Loopback::start().await.unwrap();
            let address = loopback.address;
            let waiting = tokio::spawn(loopback.wait(expected()));
            let _silent = TcpStream::connect(address).await.unwrap();
            let ask = async |line: &str| {
                let request = format!("{line} HTTP/1.1\r\nhost: {address}\r\n\r\n");
                let exchange = move || {
                    let mut stream = std::net::TcpStream::connect(address).unwrap();
                    stream.write_all(request.as_bytes()).unwrap();
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer).unwrap();
                    answer
                };
                tokio::task::spawn_blocking(exchange).await.unwrap()
            };
            let good = "/?code=SECRET&state=s&iss=http://127.0.0.1:8081";
            for line in ["GET /favicon.ico", "GET /?code=x&state=wrong", "GET /other?code=x&state=s"] {
                assert!(ask(line).await.starts_with("HTTP/1.1 404 "), "{line}");
            }
            assert!(ask(&format!("POST {good}")).await.starts_with("HTTP/1.1 404 "));
            let page = ask(&format!("GET {good}")).await;
            assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("close this window"), "{page}");
            assert!(!page.contains("SECRET"));
            assert_eq!(waiting.await.unwrap().unwrap(), Redirect::Code("SECRET".into()));
        });
    }
}
