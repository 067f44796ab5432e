//! An OpenID Connect issuer elsewhere: its discovery document, its keys, and the tokens that it signs.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use doorward_core::entropy::generate_private_key;
use doorward_wire::jose::{Algorithm, Jwk, SigningKey};
use serde_json::{Value, json};

/// What the issuer answers when its keys are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeysAnswer {
    /// Its keys.
    Good,
    /// 503.
    Down,
    /// A redirect to itself.
    Redirect,
    /// Two mebibytes.
    Huge,
    /// Something that is no key document.
    Wrong,
}

/// An issuer on loopback, over plain HTTP.
#[derive(Debug)]
pub struct Issuer {
    url: String,
    key: SigningKey,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    url: String,
    keys: Mutex<(KeysAnswer, Vec<Jwk>)>,
    fetched: AtomicUsize,
}

impl Issuer {
    /// Starts one that signs with this algorithm. `path` is part of its name, as `/tenant` or nothing.
    pub fn start(path: &str, algorithm: Algorithm) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let url = format!("http://{}{path}", listener.local_addr().expect("a bound listener has an address"));
        let key = key("issuer-key-1", algorithm);
        let keys = Mutex::new((KeysAnswer::Good, vec![key.public_jwk()]));
        let state = Arc::new(State { url: url.clone(), keys, fetched: AtomicUsize::new(0) });
        let serving = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = serving.clone();
                // A connection that breaks is the other side's affair.
                thread::spawn(move || serve(&stream, &state).ok());
            }
        });
        Issuer { url, key, state }
    }

    /// `iss` of its tokens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it answers from now on when its keys are asked for.
    pub fn answer_keys(&self, answer: KeysAnswer) {
        self.state.keys.lock().unwrap_or_else(PoisonError::into_inner).0 = answer;
    }

    /// How often its keys were asked for.
    pub fn fetched(&self) -> usize {
        self.state.fetched.load(Ordering::SeqCst)
    }

    /// Its key document.
    pub fn jwks(&self) -> Value {
        json!({"keys": [self.key.public_jwk()]})
    }

    /// Signs claims by its key.
    pub fn sign(&self, claims: &Value) -> String {
        self.key.sign(claims.as_object().expect("claims are an object")).expect("the key signs")
    }
}

/// A new key that no document names.
pub fn key(kid: &str, algorithm: Algorithm) -> SigningKey {
    let secret = generate_private_key(algorithm).expect("a key can be made");
    SigningKey::from_pkcs8(kid, algorithm, &secret).expect("a new key can be read")
}

fn serve(stream: &TcpStream, state: &State) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if reader.read_until(b'\n', &mut head)? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default();
    let (status, extra, body) = if target.ends_with("/.well-known/openid-configuration") {
        let document = json!({"issuer": state.url, "jwks_uri": format!("{}/keys", state.url)});
        ("200 OK", String::new(), document.to_string())
    } else {
        state.fetched.fetch_add(1, Ordering::SeqCst);
        let (answer, keys) = state.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match answer {
            KeysAnswer::Good => ("200 OK", String::new(), json!({"keys": keys}).to_string()),
            KeysAnswer::Down => ("503 Service Unavailable", String::new(), String::new()),
            KeysAnswer::Redirect => ("302 Found", format!("location: {}/keys\r\n", state.url), String::new()),
            KeysAnswer::Huge => ("200 OK", String::new(), "x".repeat(2 * 1024 * 1024)),
            KeysAnswer::Wrong => ("200 OK", String::new(), "<html>".to_owned()),
        }
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{extra}content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    (&mut &*stream).write_all(head.as_bytes())?;
    (&mut &*stream).write_all(body.as_bytes())
}
