// Counterparts on loopback, for the tests and for the examples of the documentation: a server that answers what it is told to, and
// what Google's endpoints were recorded to answer.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use doorward_wire::jose::{Algorithm, JwkSet, SigningKey};
use serde_json::{Map, Value, json};

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Asked {
    /// The value of a header that is there once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let value = values.next();
        assert_eq!(values.next(), None, "{name} is there more than once");
        value
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl ToString) -> Self {
        Reply { status, headers: String::new(), body: body.to_string() }
    }

    pub(crate) fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push_str(&format!("{name}: {}\r\n", value.to_string()));
        self
    }
}

/// A server on loopback. It answers each connection once, in a thread of its own, and keeps what it was asked.
pub(crate) struct Server {
    pub(crate) origin: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (kept, answer) = (asked.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (kept, answer) = (kept.clone(), answer.clone());
                std::thread::spawn(move || serve(stream, &kept, &*answer));
            }
        });
        Server { origin, asked }
    }

    /// `HOST:PORT`.
    pub(crate) fn address(&self) -> &str {
        self.origin.trim_start_matches("http://")
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn targets(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.target).collect()
    }
}

fn serve(mut stream: TcpStream, kept: &Mutex<Vec<Asked>>, answer: &dyn Fn(&Asked) -> Reply) {
    let Some(asked) = read(&mut stream) else { return };
    kept.lock().unwrap().push(asked.clone());
    let Reply { status, headers, body } = answer(&asked);
    let length = body.len();
    let answer = format!("HTTP/1.1 {status} x\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
    // Whoever asked may have given up.
    drop(stream.write_all(answer.as_bytes()));
}

fn read(stream: &mut TcpStream) -> Option<Asked> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let (line, head) = head.split_once("\r\n").unwrap();
        let mut words = line.split(' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let asked = Asked { method, target, head: head.to_owned(), body: body.to_owned() };
        let length: usize = asked.header("content-length").unwrap_or("0").parse().unwrap();
        if body.len() >= length {
            return Some(asked);
        }
    }
}

/// The key of all that is signed here. Made anew in each run.
pub(crate) fn signing_key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| new_key("1f"))
}

pub(crate) fn new_key(kid: &str) -> SigningKey {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    let random = aws_lc_rs::rand::SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    SigningKey::from_pkcs8(kid, Algorithm::Es256, document.as_ref()).unwrap()
}

/// A key file of a service account, with a key that is made anew in each run.
pub(crate) fn key_file() -> String {
    json!({
        "type": "service_account", "project_id": "p", "private_key_id": "1f", "private_key": private_key(),
        "client_email": "robot@p.iam.gserviceaccount.com", "token_uri": "https://oauth2.googleapis.com/token",
    })
    .to_string()
}

/// The private key of [`key_file`].
pub(crate) fn private_key() -> &'static str {
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    static KEY: OnceLock<String> = OnceLock::new();
    KEY.get_or_init(|| {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
        pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref()))
    })
}

pub(crate) fn key_document(keys: &[&SigningKey]) -> String {
    serde_json::to_string(&JwkSet { keys: keys.iter().map(|key| key.public_jwk()).collect() }).unwrap()
}

pub(crate) fn sign(key: &SigningKey, claims: &Value) -> String {
    key.sign(claims.as_object().unwrap()).unwrap()
}

pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// An ID token of an hour.
pub(crate) fn id_token(audience: &str, now: SystemTime) -> String {
    let now = seconds(now);
    let claims = json!({
        "iss": "https://accounts.google.com", "aud": audience, "iat": now, "exp": now + 3600,
        "email": "robot@p.iam.gserviceaccount.com",
    });
    sign(signing_key(), &claims)
}

/// The claims of an assertion for alice at the application of the tests.
pub(crate) fn assertion_claims(now: SystemTime) -> Map<String, Value> {
    let now = seconds(now);
    let claims = json!({
        "iss": "https://cloud.google.com/iap", "aud": "/projects/1/global/backendServices/2", "iat": now, "exp": now + 600,
        "sub": "accounts.google.com:118", "email": "alice@example.com", "hd": "example.com",
    });
    claims.as_object().unwrap().clone()
}

/// A parameter of a form or of a query.
pub(crate) fn parameter(text: &str, name: &str) -> Option<String> {
    let text = text.split_once('?').map_or(text, |(_, query)| query);
    form_urlencoded::parse(text.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// What Google's endpoints answer, below one origin as at a Doorward, and on the same port what a metadata server does.
pub(crate) fn google(clock: Arc<dyn doorward_client::Clock>) -> Server {
    Server::start(move |asked| {
        let now = clock.now();
        let path = asked.target.split('?').next().unwrap();
        let token = |text: &str| json!({"access_token": text, "expires_in": 3599, "token_type": "Bearer"});
        let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        match path.rsplit(['/', ':']).next().unwrap() {
            "identity" => Reply::new(200, id_token(&parameter(&asked.target, "audience").unwrap(), now))
                .header("metadata-flavor", "Google"),
            "token" if asked.header("metadata-flavor").is_some() => {
                Reply::new(200, token("ya29.machine")).header("metadata-flavor", "Google")
            }
            "token" if path.contains("sts.googleapis.com") => Reply::new(200, token("ya29.d.federated")),
            "token" => {
                let audience = parameter(&asked.body, "audience").or_else(|| parameter(&asked.body, "client_id"));
                let audience = audience.or_else(|| {
                    let assertion = parameter(&asked.body, "assertion")?;
                    let payload = doorward_wire::jose::decode_base64url(assertion.split('.').nth(1)?)?;
                    let claims: Value = serde_json::from_slice(&payload).ok()?;
                    Some(claims["target_audience"].as_str()?.to_owned())
                });
                let mut answer = token("ya29.c.access");
                if let Some(audience) = audience {
                    answer["id_token"] = id_token(&audience, now).into();
                }
                Reply::new(200, answer)
            }
            "generateIdToken" => Reply::new(200, json!({"token": id_token(body["audience"].as_str().unwrap(), now)})),
            "generateAccessToken" => {
                let expires = doorward_wire::time::rfc3339(seconds(now) as i64 + 3600);
                Reply::new(200, json!({"accessToken": "ya29.impersonated", "expireTime": expires}))
            }
            "public_key-jwk" => {
                Reply::new(200, key_document(&[signing_key()])).header("cache-control", "public, max-age=3600")
            }
            _ => Reply::new(200, "hello").header("metadata-flavor", "Google"),
        }
    })
}
