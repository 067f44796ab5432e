//! What passes between a caller and an application once a permit is there: streams, upgrades, TLS, broken ends.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use doorward_tests::{
    Connection, Dev, LISTENERS, PATIENCE, PLAIN_LISTENERS, Process, Request, Upstream, doorward, run,
};
use serde_json::Value;

/// A listener for `--to` of which the test holds every byte.
struct Application(TcpListener);

impl Application {
    fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (Application(listener), url)
    }

    /// The next connection, with the head of its first request.
    fn accept(&self) -> (BufReader<TcpStream>, String) {
        let (stream, _) = self.0.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut reader = BufReader::new(stream);
        let head = read_head(&mut reader);
        (reader, head)
    }
}

fn read_head(reader: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "the head ends early: {head}");
    }
    head
}

fn caller(dev: &Dev) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(dev.app_authority()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

fn write(stream: &mut BufReader<TcpStream>, text: &str) {
    stream.get_mut().write_all(text.as_bytes()).unwrap();
}

fn expect(stream: &mut BufReader<TcpStream>, text: &str) {
    let mut bytes = vec![0; text.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

#[test]
fn a_websocket_is_opened_with_the_identity_and_then_carries_bytes_both_ways() {
    let (application, url) = Application::start();
    let dev = Dev::start(&["--to", &url]);
    let token = dev.id_token("robot");
    let mut client = caller(&dev);
    write(
        &mut client,
        &format!(
            "GET /socket HTTP/1.1\r\nHost: {}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {token}\r\n\r\n",
            dev.app_authority()
        ),
    );
    let (mut server, head) = application.accept();
    let head = head.to_ascii_lowercase();
    for line in
        ["connection: upgrade\r\n", "upgrade: websocket\r\n", "sec-websocket-key: ", "x-goog-iap-jwt-assertion: "]
    {
        assert!(head.contains(line), "{line} in {head}");
    }
    write(&mut server, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    let answer = read_head(&mut client);
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    write(&mut client, "\x01ping");
    expect(&mut server, "\x01ping");
    write(&mut server, "\x02pong");
    expect(&mut client, "\x02pong");
    drop(server);
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "the end of one side ends the other");
}

#[test]
fn an_upgrade_without_a_permit_never_reaches_the_application() {
    let (application, url) = Application::start();
    let dev = Dev::start(&["--to", &url]);
    let response =
        Request::get(&dev.app("/socket")).header("Upgrade", "websocket").header("Connection", "upgrade").send();
    assert_eq!(response.status, 302, "as a plain GET");
    application.0.set_nonblocking(true).unwrap();
    assert!(application.0.accept().is_err());
}

#[test]
fn only_a_websocket_is_upgraded_so_that_no_unseen_request_reaches_the_application() {
    let application = Upstream::start();
    let dev = Dev::start(&["--to", application.url()]);
    let token = dev.id_token("robot");
    for protocols in ["h2c", "h2c, websocket", "websocket, h2c", "HTTP/1.1", "TLS/1.0"] {
        let request = Request::get(&dev.app("/")).bearer(&token).header("Upgrade", protocols);
        request.header("Connection", "upgrade").header("HTTP2-Settings", "AAMAAABk").send().expect(200);
        let seen = application.take();
        assert_eq!(seen.len(), 1, "{protocols}");
        for field in ["upgrade", "http2-settings", "connection"] {
            assert_eq!(seen[0].values(field), [""; 0], "{protocols}: {field}");
        }
    }
}

#[test]
fn a_chunked_body_of_any_method_arrives_whole() {
    let application = Upstream::start();
    let dev = Dev::start(&["--to", application.url()]);
    let token = dev.id_token("robot");
    for method in ["GET", "DELETE", "POST"] {
        let mut connection = Connection::open(dev.app_authority());
        let host = dev.app_authority();
        let head = format!("{method} / HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n");
        connection.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").as_bytes());
        assert_eq!(connection.response().status, 200, "{method}");
        let bodies: Vec<Vec<u8>> = application.take().into_iter().map(|seen| seen.body).collect();
        assert_eq!(bodies, [b"hello".to_vec()], "{method}");
    }
}

#[test]
fn an_application_that_switches_protocols_unasked_is_not_followed() {
    let (application, url) = Application::start();
    let dev = Dev::start(&["--to", &url]);
    let answering = thread::spawn(move || {
        let (mut server, _) = application.accept();
        write(&mut server, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
        server
    });
    let response = Request::get(&dev.app("/")).bearer(&dev.id_token("robot")).send().expect(502);
    assert_eq!(response.reason(), Some("upstream_failed"));
    answering.join().unwrap();
}

#[test]
fn bodies_stream_in_both_directions_before_they_are_whole() {
    let (application, url) = Application::start();
    let dev = Dev::start(&["--to", &url]);
    let token = dev.id_token("robot");
    let mut client = caller(&dev);
    write(
        &mut client,
        &format!(
            "POST /upload HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nContent-Length: 10\r\n\r\nfirst",
            dev.app_authority()
        ),
    );
    let (mut server, _) = application.accept();
    expect(&mut server, "first");
    write(&mut client, "-last");
    expect(&mut server, "-last");
    write(&mut server, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n");
    let head = read_head(&mut client);
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    expect(&mut client, "5\r\nearly\r\n");
    write(&mut server, "4\r\nlate\r\n0\r\n\r\n");
    expect(&mut client, "4\r\nlate\r\n0\r\n\r\n");
}

#[test]
fn an_answer_that_breaks_off_is_seen_as_broken_off() {
    let (application, url) = Application::start();
    let dev = Dev::start(&["--to", &url]);
    let token = dev.id_token("robot");
    let mut client = caller(&dev);
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n", dev.app_authority());
    write(&mut client, &request);
    let (mut server, _) = application.accept();
    write(&mut server, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n");
    read_head(&mut client);
    expect(&mut client, "5\r\nearly\r\n");
    drop(server);
    let mut rest = Vec::new();
    // A reset or an end: either way without the last chunk, so no reader takes it for a whole answer.
    let _ = client.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&rest));
    assert!(dev.serves());
}

#[test]
fn a_kept_connection_that_the_application_closed_is_replaced_without_the_caller_noticing() {
    let (application, url) = Application::start();
    let dev = Dev::start(&["--to", &url]);
    let token = dev.id_token("robot");
    let answering = thread::spawn(move || {
        for _ in 0..3 {
            let (mut server, _) = application.accept();
            write(&mut server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            // Closed at once, though nothing said so.
        }
    });
    for _ in 0..3 {
        Request::get(&dev.app("/")).bearer(&token).send().expect(200);
    }
    answering.join().unwrap();
}

#[test]
fn an_application_that_is_not_there_is_502_with_the_reason_and_then_served_when_it_comes() {
    let (application, url) = Application::start();
    let address = application.0.local_addr().unwrap();
    drop(application);
    let dev = Dev::start(&["--to", &url]);
    let token = dev.id_token("robot");
    let response = Request::get(&dev.app("/")).bearer(&token).send().expect(502);
    assert_eq!(response.reason(), Some("upstream_failed"));
    assert_eq!(response.header("x-goog-iap-generated-response"), Some("true"));
    let application = Application(TcpListener::bind(address).unwrap());
    let answering = thread::spawn(move || {
        let (mut server, _) = application.accept();
        write(&mut server, "HTTP/1.1 204 No Content\r\nX-Goog-Iap-Generated-Response: true\r\n\r\n");
    });
    let response = Request::get(&dev.app("/")).bearer(&token).send().expect(204);
    assert_eq!(
        response.header("x-goog-iap-generated-response"),
        None,
        "an application cannot pass its answer off as ours"
    );
    answering.join().unwrap();
}

#[test]
fn an_application_behind_tls_is_reached_if_its_certificate_is_trusted_and_not_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let made = run(Command::new("openssl").current_dir(&dir).args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ]));
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Process::start(Command::new("openssl").current_dir(&dir).args([
        "s_server",
        "-accept",
        &format!("127.0.0.1:{port}"),
        "-key",
        "key.pem",
        "-cert",
        "cert.pem",
        "-www",
    ]));
    assert!(server.next_line().is_some(), "the server says that it listens");
    let to = format!("https://localhost:{port}");
    for (trusted, status) in [(true, 200), (false, 502)] {
        let state = dir.path().join(format!("state-{trusted}"));
        let mut command = doorward();
        command.args(["dev", "--json", "--to", &to, "--dir"]).arg(&state);
        for listen in &LISTENERS[..PLAIN_LISTENERS] {
            command.args([listen, "127.0.0.1:0"]);
        }
        if trusted {
            command.env("SSL_CERT_FILE", dir.path().join("cert.pem"));
        }
        let dev = Process::start(&mut command);
        let description: Value = serde_json::from_str(&dev.next_line().unwrap()).unwrap();
        let token = run(doorward().args(["token", "--app", "app", "--dir"]).arg(&state)).stdout;
        let url = description["app"]["url"].as_str().unwrap();
        Request::get(url).bearer(token.trim()).send().expect(status);
    }
}

#[test]
fn requests_that_have_begun_are_answered_when_the_process_is_told_to_stop() {
    let (application, url) = Application::start();
    let dev = Dev::start(&["--to", &url]);
    let token = dev.id_token("robot");
    let mut idle = Connection::open(dev.app_authority());
    idle.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", dev.app_authority()).as_bytes());
    assert_eq!(idle.response().status, 302);
    let mut client = caller(&dev);
    write(
        &mut client,
        &format!("GET /slow HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n", dev.app_authority()),
    );
    let (mut server, _) = application.accept();
    dev.signal("TERM");
    assert_eq!(idle.responses_until_close().len(), 0, "an idle connection is closed at once");
    write(&mut server, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    let head = read_head(&mut client);
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    expect(&mut client, "done");
    let ended = dev.stop("TERM");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}
