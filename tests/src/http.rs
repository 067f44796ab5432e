//! A client that sends exactly the bytes it is told to, because the bytes are what is tested.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::PATIENCE;

/// One answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header fields in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a field that occurs once; `None` if it is missing.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(have, _)| have == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} occurs twice in {:?}", self.headers);
        value
    }

    /// The reason code of a refusal.
    pub fn reason(&self) -> Option<&str> {
        self.header("x-doorward-reason")
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {} {}", self.status, self.text()))
    }

    /// The answer itself if its status is `status`; panics with all of it otherwise.
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?}\n{}", self.headers, self.text());
        self
    }
}

/// A request in the making.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    url: String,
    headers: Vec<String>,
    body: Option<Vec<u8>>,
}

impl Request {
    /// A request without a body.
    pub fn new(method: &str, url: &str) -> Self {
        Request { method: method.to_owned(), url: url.to_owned(), headers: Vec::new(), body: None }
    }

    /// `GET url`.
    pub fn get(url: &str) -> Self {
        Request::new("GET", url)
    }

    /// `POST url` with a body of this media type.
    pub fn post(url: &str, media_type: &str, body: &[u8]) -> Self {
        Request::new("POST", url).body(media_type, body)
    }

    /// `POST url` with a form.
    pub fn post_form(url: &str, parameters: &[(&str, &str)]) -> Self {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        Request::post(url, "application/x-www-form-urlencoded", body.as_bytes())
    }

    /// The request with a body of this media type.
    pub fn body(self, media_type: &str, body: &[u8]) -> Self {
        Request { body: Some(body.to_vec()), ..self.header("Content-Type", media_type) }
    }

    /// The request with one more field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(format!("{name}: {value}"));
        self
    }

    /// The request with `Authorization: Bearer TOKEN`.
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// Sends it on a connection of its own. `Host` is the URL's authority unless the request has one.
    pub fn send(self) -> Response {
        self.try_send().expect("the server answers")
    }

    /// As [`Request::send`], where the server may be dying.
    pub fn try_send(self) -> io::Result<Response> {
        let authority = authority(&self.url);
        let target = self.url.split_once(authority).map_or("/", |(_, target)| target);
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let mut head = format!("{} {target} HTTP/1.1\r\n", self.method);
        if !self.headers.iter().any(|line| line.to_ascii_lowercase().starts_with("host:")) {
            head += &format!("Host: {authority}\r\n");
        }
        for line in self.headers.iter().map(String::as_str).chain(["Connection: close"]) {
            head += line;
            head += "\r\n";
        }
        let body = self.body.unwrap_or_default();
        if !body.is_empty() || self.method == "POST" {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        let mut connection = Connection::try_open(authority)?;
        // A server may refuse from the head alone and close while we still send: the answer counts.
        let sent = connection.0.get_mut().write_all(&[head.as_bytes(), b"\r\n", &body].concat());
        let response = connection.try_response(self.method == "HEAD");
        match (response, sent) {
            (Ok(response), _) => Ok(response),
            (Err(_), Err(error)) | (Err(error), Ok(())) => Err(error),
        }
    }
}

/// `127.0.0.1:80` of `http://127.0.0.1:80/path`.
pub fn authority(url: &str) -> &str {
    let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("{url} is not an http URL"));
    rest.split('/').next().unwrap_or(rest)
}

/// A connection of which every byte is the test's.
#[derive(Debug)]
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Connects to `ADDRESS:PORT`.
    pub fn open(authority: &str) -> Self {
        Self::try_open(authority).unwrap_or_else(|error| panic!("cannot connect to {authority}: {error}"))
    }

    fn try_open(authority: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(authority)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Connection(BufReader::new(stream)))
    }

    /// Sends bytes. A server that refuses early may close meanwhile; what it answered is still to be read.
    pub fn send(&mut self, bytes: &[u8]) {
        // The answer, or its absence, is what is asserted.
        let _ = self.0.get_mut().write_all(bytes);
    }

    /// The next answer to a request that was not `HEAD`.
    pub fn response(&mut self) -> Response {
        self.next_response().expect("an answer before the server closes")
    }

    /// Every answer until the server closes.
    pub fn responses_until_close(mut self) -> Vec<Response> {
        let mut responses = Vec::new();
        while let Some(response) = self.next_response() {
            responses.push(response);
        }
        responses
    }

    fn next_response(&mut self) -> Option<Response> {
        match self.0.fill_buf() {
            Ok([]) => None,
            Ok(_) => Some(self.try_response(false).expect("an answer is of HTTP/1.1 and whole")),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("the server neither answers nor closes: {error}"),
        }
    }

    fn try_response(&mut self, head_only: bool) -> io::Result<Response> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| invalid(&format!("status line {status_line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid(&line))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let response = Response { status, headers, body: Vec::new() };
        let body = match (response.header("transfer-encoding"), response.header("content-length")) {
            _ if head_only || matches!(status, 100..=199 | 204 | 304) => Vec::new(),
            (Some("chunked"), _) => read_chunked(&mut self.0)?,
            (None, Some(length)) => read_exact(&mut self.0, length.parse().map_err(|_| invalid(length))?)?,
            _ => {
                let mut body = Vec::new();
                self.0.read_to_end(&mut body)?;
                body
            }
        };
        Ok(Response { body, ..response })
    }

    fn line(&mut self) -> io::Result<String> {
        read_line(&mut self.0)
    }
}

/// A line without its end.
pub(crate) fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line)?;
    let line = line.strip_suffix(b"\r\n").ok_or_else(|| invalid("the line ends early"))?;
    Ok(String::from_utf8_lossy(line).into_owned())
}

/// Exactly `length` bytes.
pub(crate) fn read_exact(from: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A chunked body, decoded. Trailers are errors: neither side of ours sends any.
pub(crate) fn read_chunked(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = read_line(from)?;
        let size = usize::from_str_radix(&size, 16).map_err(|_| invalid(&size))?;
        body.extend(read_exact(from, size)?);
        let end = read_line(from)?;
        if !end.is_empty() {
            return Err(invalid(&format!("after a chunk: {end:?}")));
        }
        if size == 0 {
            return Ok(body);
        }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}
