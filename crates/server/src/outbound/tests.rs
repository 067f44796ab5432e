//! Fetching from peers that mean harm, on real connections.

use super::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use doorward_core::entropy::generate_private_key;
use doorward_wire::jose::Algorithm;
use doorward_wire::x509::{Authority, Validity};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Answers every name with the same addresses, but the first time with `first`, and counts how often it was asked.
struct Names {
    first: Vec<IpAddr>,
    then: Vec<IpAddr>,
    asked: AtomicUsize,
}

impl Names {
    fn always(addresses: &[&str]) -> Arc<Self> {
        Names::rebinding(addresses, addresses)
    }

    fn rebinding(first: &[&str], then: &[&str]) -> Arc<Self> {
        let parse = |addresses: &[&str]| addresses.iter().map(|address| address.parse().unwrap()).collect();
        Arc::new(Names { first: parse(first), then: parse(then), asked: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let before = self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(if before == 0 { self.first.clone() } else { self.then.clone() })
    }
}

fn fetcher(names: &[&str]) -> Fetcher {
    Fetcher::new(Names::always(names), Vec::new())
}

/// Receives one request, whole, and gives it.
async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let (mut asked, mut byte) = (Vec::new(), [0]);
    while !asked.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).await.unwrap(), 1, "a request that stops half-way");
        asked.push(byte[0]);
    }
    String::from_utf8(asked).unwrap()
}

/// A peer that answers one request with these bytes and closes; gives what it was asked.
async fn peer(answer: impl Into<Vec<u8>>) -> (u16, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, answer) = (listener.local_addr().unwrap().port(), answer.into());
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let asked = receive(&mut stream).await;
        // The client may have gone before the end of it.
        let _ = stream.write_all(&answer).await;
        let _ = stream.shutdown().await;
        asked
    });
    (port, served)
}

fn ok(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{fields}\r\n{body}", body.len())
}

fn chunked(bytes: usize) -> String {
    format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{bytes:x}\r\n{}\r\n0\r\n\r\n", "a".repeat(bytes))
}

fn document(body: &str, seconds: Option<u64>) -> Result<Document, FetchError> {
    Ok(Document { body: body.into(), max_age: seconds.map(Duration::from_secs) })
}

#[tokio::test]
async fn a_document_is_asked_for_plainly_and_nothing_of_ours_goes_along() {
    let (port, served) = peer(ok("Cache-Control: max-age=60\r\nage: 10\r\nset-cookie: a=b\r\n", "{}")).await;
    let url = format!("http://Issuer.test:{port}/keys?v=1");
    let fetched = fetcher(&["127.0.0.1"]).fetch(&url, Reach::Loopback).await;
    assert_eq!(fetched, document("{}", Some(50)));
    let expected = format!(
        "GET /keys?v=1 HTTP/1.1\r\nhost: issuer.test:{port}\r\naccept: application/json\r\n\
         accept-encoding: identity\r\nconnection: close\r\nuser-agent: doorward/{}\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(served.await.unwrap(), expected);
}

#[tokio::test]
async fn every_answer_but_a_whole_small_document_is_refused() {
    let redirect = |status: u16| {
        format!(
            "HTTP/1.1 {status} x\r\nlocation: http://169.254.169.254/computeMetadata/v1/\r\ncontent-length: 0\r\n\r\n"
        )
    };
    let status = |status: u16| format!("HTTP/1.1 {status} x\r\ncontent-length: 2\r\n\r\n{{}}");
    let announced = |length: u64| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
    let limit = 1024 * 1024;
    let exact = "a".repeat(limit);
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "a".repeat(limit + 1));
    let flood = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(FIELDS_LIMIT + 1));
    let long_field = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(2 * HEAD_LIMIT));
    let long_trailer =
        format!("{}0\r\na: {}\r\n\r\n", chunked(1).trim_end_matches("0\r\n\r\n"), "b".repeat(2 * HEAD_LIMIT));
    use FetchError::{Broken, Redirect, Status, TooLarge};
    #[rustfmt::skip]
    let cases = [
        (ok("", "{}"),                                                   document("{}", None)),
        (ok("", ""),                                                     document("", None)),
        (ok("content-encoding: Identity\r\n", "{}"),                     document("{}", None)),
        ("HTTP/1.1 200 OK\r\n\r\n{}".into(),                             document("{}", None)),
        ("HTTP/1.0 200 OK\r\n\r\n{}".into(),                             document("{}", None)),
        (ok("", &exact),                                                 document(&exact, None)),
        (chunked(limit),                                                 document(&exact, None)),
        (redirect(301),                                                  Err(Redirect)),
        (redirect(302),                                                  Err(Redirect)),
        (redirect(304),                                                  Err(Redirect)),
        (redirect(307),                                                  Err(Redirect)),
        (redirect(308),                                                  Err(Redirect)),
        (status(201),                                                    Err(Status(201))),
        (status(203),                                                    Err(Status(203))),
        (status(404),                                                    Err(Status(404))),
        (status(500),                                                    Err(Status(500))),
        (announced(limit as u64 + 1),                                    Err(TooLarge)),
        (announced(1 << 40),                                             Err(TooLarge)),
        (announced(u64::MAX),                                            Err(Broken)),
        (ok("", &format!("{exact}a")),                                   Err(TooLarge)),
        (chunked(limit + 1),                                             Err(TooLarge)),
        (endless,                                                        Err(TooLarge)),
        (ok("content-encoding: gzip\r\n", "{}"),                         Err(Broken)),
        (ok("content-encoding: identity, br\r\n", "{}"),                 Err(Broken)),
        (ok("content-encoding: identity\r\ncontent-encoding: gzip\r\n", "{}"), Err(Broken)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".into(), Err(Broken)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}".into(),        Err(Broken)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}".into(), Err(Broken)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n".into(), Err(Broken)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".into(), Err(Broken)),
        ("HTTP/1.1 200 OK\r\nconte".into(),                              Err(Broken)),
        ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".into(), Err(Status(101))),
        ("{}".into(),                                                    Err(Broken)),
        ("".into(),                                                      Err(Broken)),
        (flood,                                                          Err(Broken)),
        (long_field,                                                     Err(Broken)),
        (long_trailer,                                                   Err(Broken)),
    ];
    for (answer, expected) in cases {
        let shown = answer[..answer.len().min(100)].to_owned();
        let (port, served) = peer(answer).await;
        let fetched = fetcher(&[]).fetch(&format!("http://127.0.0.1:{port}/"), Reach::Loopback).await;
        assert_eq!(fetched, expected, "{shown:?}");
        served.await.unwrap();
    }
}

/// How a slow peer behaves after it was asked, with the clock in its hands.
#[derive(Debug, Clone, Copy)]
enum Slow {
    /// Says nothing.
    Silent,
    /// A byte of the head each second.
    Head,
    /// A byte of the body each second.
    Body,
    /// `100 Continue` each second.
    Informational,
}

#[tokio::test]
async fn five_seconds_are_for_the_whole_and_no_byte_begins_them_anew() {
    for slow in [Slow::Silent, Slow::Head, Slow::Body, Slow::Informational] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let sent = Arc::new(Mutex::new(0));
        let counted = sent.clone();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            receive(&mut stream).await;
            // From here on time goes by whenever nothing else is left to do.
            tokio::time::pause();
            let (first, drop) = match slow {
                Slow::Silent => return std::future::pending().await,
                Slow::Head => ("HTTP/1.1 200 OK\r\na: ", "a"),
                Slow::Body => ("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", "a"),
                Slow::Informational => ("", "HTTP/1.1 100 Continue\r\n\r\n"),
            };
            stream.write_all(first.as_bytes()).await.unwrap();
            while stream.write_all(drop.as_bytes()).await.is_ok() {
                *counted.lock().unwrap() += 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        assert_eq!(fetcher(&[]).fetch(&url, Reach::Loopback).await, Err(FetchError::TooSlow), "{slow:?}");
        let sent = *sent.lock().unwrap();
        assert_eq!(sent, if matches!(slow, Slow::Silent) { 0 } else { 5 }, "{slow:?}");
        served.abort();
        tokio::time::resume();
    }
}

/// Never finds a name.
struct Unreachable;

#[async_trait]
impl Resolve for Unreachable {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_name_server_counts_in_the_five_seconds() {
    let fetcher = Fetcher::new(Arc::new(Unreachable), Vec::new());
    assert_eq!(fetcher.fetch("https://issuer.test/", Reach::Public).await, Err(FetchError::TooSlow));
}

#[tokio::test]
async fn an_address_that_is_not_public_is_not_connected_to() {
    // A listener would be connected to, if the check were not: 127.0.0.1 answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let of = |host: &str| format!("https://{host}:{port}/");
    use FetchError::{Address, Connect, Scheme, Url};
    use Reach::{Loopback, Public};
    let nowhere = || Connect("the host has no address".into());
    #[rustfmt::skip]
    let cases: [(String, &[&str], Reach, FetchError); 26] = [
        (of("issuer.test"),              &["127.0.0.1"],              Public,   Address),
        (of("localhost"),                &["127.0.0.1", "::1"],       Public,   Address),
        (of("127.0.0.1"),                &[],                         Public,   Address),
        (of("127.8.8.8"),                &[],                         Public,   Address),
        (of("[::1]"),                    &[],                         Public,   Address),
        (of("[::ffff:127.0.0.1]"),       &[],                         Public,   Address),
        (of("[::ffff:7f00:1]"),          &[],                         Loopback, Address),
        (of("[64:ff9b::7f00:1]"),        &[],                         Loopback, Address),
        (of("[2002:7f00:1::]"),          &[],                         Loopback, Address),
        (of("0.0.0.0"),                  &[],                         Loopback, Address),
        (of("[::]"),                     &[],                         Loopback, Address),
        (of("2130706433"),               &["127.0.0.1"],              Loopback, Url),
        (of("0x7f.1"),                   &["127.0.0.1"],              Loopback, Url),
        (of("0177.0.0.1"),               &["127.0.0.1"],              Loopback, Url),
        (of("u:p@127.0.0.1"),            &[],                         Loopback, Url),
        (of("issuer.test"),              &["169.254.169.254"],        Loopback, Address),
        (of("issuer.test"),              &["10.0.0.1"],               Loopback, Address),
        (of("issuer.test"),              &["fd00::1"],                Loopback, Address),
        // One bad address spoils the name, wherever it stands.
        (of("issuer.test"),              &["8.8.8.8", "127.0.0.1"],   Public,   Address),
        (of("issuer.test"),              &["127.0.0.1", "8.8.8.8"],   Public,   Address),
        (of("issuer.test"),              &["127.0.0.1", "10.0.0.1"],  Loopback, Address),
        (of("issuer.test"),              &[],                         Public,   nowhere()),
        // Plain HTTP is for this machine.
        ("http://127.0.0.1/".into(),     &[],                         Public,   Scheme),
        ("http://issuer.test/".into(),   &["8.8.8.8"],                Public,   Scheme),
        ("http://issuer.test/".into(),   &["8.8.8.8"],                Loopback, Scheme),
        ("http://8.8.8.8/".into(),       &[],                         Loopback, Scheme),
    ];
    for (url, addresses, reach, expected) in cases {
        assert_eq!(fetcher(addresses).fetch(&url, reach).await, Err(expected), "{url} {addresses:?} {reach:?}");
    }
    assert!(futures_util::FutureExt::now_or_never(listener.accept()).is_none(), "somebody connected");
}

#[tokio::test]
async fn a_name_is_resolved_once_so_what_was_checked_is_what_is_connected_to() {
    let (port, served) = peer(ok("", "{}")).await;
    let url = format!("http://issuer.test:{port}/");
    let names = Names::rebinding(&["127.0.0.1"], &["10.0.0.1"]);
    let fetched = Fetcher::new(names.clone(), Vec::new()).fetch(&url, Reach::Loopback).await;
    assert_eq!(fetched, document("{}", None));
    assert_eq!(names.asked.load(Ordering::SeqCst), 1);
    served.await.unwrap();
}

#[tokio::test]
async fn the_next_address_is_tried_if_one_does_not_answer() {
    let (port, served) = peer(ok("", "{}")).await;
    // Nobody listens at 127.0.0.2.
    let fetched =
        fetcher(&["127.0.0.2", "127.0.0.1"]).fetch(&format!("http://issuer.test:{port}/"), Reach::Loopback).await;
    assert_eq!(fetched, document("{}", None));
    served.await.unwrap();
}

const AGES: Validity = Validity { from: 1_000_000_000, until: 4_000_000_000 };

/// A certificate authority, and what serves with a certificate of it.
fn authority(names: &[&str], addresses: &[IpAddr], validity: Validity) -> (CertificateDer<'static>, TlsAcceptor) {
    let authority = Authority::new("Test", &generate_private_key(Algorithm::Es256).unwrap(), AGES).unwrap();
    let key = generate_private_key(Algorithm::Es256).unwrap();
    let server = authority.certify_server(addresses, names, &key, &[1; 16], validity).unwrap();
    let key = PrivateKeyDer::Pkcs8(server.private_key.into());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![server.certificate.into()], key)
        .unwrap();
    let root = CertificateDer::from_pem_slice(authority.certificate().0.as_bytes()).unwrap();
    (root, TlsAcceptor::from(Arc::new(config)))
}

/// (names in the certificate, addresses in it, when it is good, is its authority trusted, host of the URL) => fetched
type Certified<'a> = (&'a [&'a str], &'a [IpAddr], Validity, bool, &'a str, bool);

#[tokio::test]
async fn a_certificate_is_of_a_trusted_authority_for_the_host_of_the_url_and_good_now() {
    let loopback: [IpAddr; 1] = [[127, 0, 0, 1].into()];
    let past = Validity { from: 1_000_000_000, until: 1_100_000_000 };
    let (name, address) = ("issuer.test", "127.0.0.1");
    #[rustfmt::skip]
    let cases: [Certified<'_>; 7] = [
        (&[name],         &[],       AGES, true,  name,    true),
        (&[],             &loopback, AGES, true,  address, true),
        (&["other.test"], &[],       AGES, true,  name,    false),
        (&[name],         &[],       AGES, false, name,    false),
        (&[name],         &[],       past, true,  name,    false),
        (&[name],         &[],       AGES, true,  address, false),
        (&[],             &loopback, AGES, true,  name,    false),
    ];
    for (names, addresses, validity, trusted, host, good) in cases {
        let (root, acceptor) = authority(names, addresses, validity);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{host}:{}/", listener.local_addr().unwrap().port());
        let served = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                receive(&mut stream).await;
                stream.write_all(ok("", "{}").as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        let roots = if trusted { vec![root] } else { vec![authority(names, addresses, validity).0] };
        let fetched = Fetcher::new(Names::always(&["127.0.0.1"]), roots).fetch(&url, Reach::Loopback).await;
        let shown = format!("{names:?} {addresses:?} {trusted} {host}");
        match good {
            true => assert_eq!(fetched, document("{}", None), "{shown}"),
            false => assert!(matches!(fetched, Err(FetchError::Connect(_))), "{shown} {fetched:?}"),
        }
        served.await.unwrap();
    }
}
