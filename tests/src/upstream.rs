//! An application that writes down every byte that reaches it.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::http::{read_chunked, read_exact};

/// A listener on loopback for `--to`. Answers every request `200` with the body `seen`.
#[derive(Debug)]
pub struct Upstream {
    url: String,
    seen: Receiver<Seen>,
}

/// One request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The head, byte for byte, up to and with the empty line.
    pub head: Vec<u8>,
    /// The body without its framing; what had come when the connection ended early is not kept.
    pub body: Vec<u8>,
    /// Whether the whole body came.
    pub complete: bool,
}

impl Upstream {
    /// Starts one.
    pub fn start() -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Starts one at an address that was free a moment ago.
    pub fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound listener has an address"));
        let (sender, seen) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let sender = sender.clone();
                // A connection that breaks is seen by what it did not send.
                thread::spawn(move || serve(&stream, &sender).ok());
            }
        });
        Upstream { url, seen }
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The requests that were answered since the last call. One is written down before it is answered, so that whoever has
    /// the answer finds it here.
    pub fn take(&self) -> Vec<Seen> {
        self.seen.try_iter().collect()
    }
}

impl Seen {
    /// The head as text, for comparisons and messages.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.head).into_owned()
    }

    /// The target of the request line.
    pub fn target(&self) -> String {
        self.text().split(' ').nth(1).unwrap_or_default().to_owned()
    }

    /// The values of every field of this name, in any case.
    pub fn values(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let fields = text.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()).collect()
    }
}

fn serve(stream: &TcpStream, seen: &Sender<Seen>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if reader.read_until(b'\n', &mut head)? == 0 {
                if !head.is_empty() {
                    let _ = seen.send(Seen { head, body: Vec::new(), complete: false });
                }
                return Ok(());
            }
        }
        let mut request = Seen { head, body: Vec::new(), complete: true };
        // Both at once is what a smuggled request looks like: the tests look for it in the head.
        let body = match (&request.values("transfer-encoding")[..], &request.values("content-length")[..]) {
            ([], []) => Ok(Vec::new()),
            ([], [length]) => read_exact(&mut reader, length.parse().unwrap_or(0)),
            _ => read_chunked(&mut reader),
        };
        let broken = body.is_err();
        request.complete = !broken;
        request.body = body.unwrap_or_default();
        // The test may have ended.
        let _ = seen.send(request);
        if broken {
            return Ok(());
        }
        (&mut &*stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\nseen")?;
    }
}
