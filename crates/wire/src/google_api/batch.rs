//! Several requests in one: `multipart/mixed` whose parts are `application/http`, and the answer of the same form.
//!
//! gcloud sends Compute Engine such bodies; lines end with LF there, and with CRLF elsewhere.
//!
//! Spec: <https://cloud.google.com/compute/docs/api/how-tos/batch>

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

/// Requests in one, at most.
pub const REQUESTS_LIMIT: usize = 1000;
/// The longest boundary (RFC 2046 section 5.1.1).
const BOUNDARY_LIMIT: usize = 70;
/// The longest id of a part.
const ID_LIMIT: usize = 256;

/// One of the requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchedRequest {
    /// `Content-ID` without its angle brackets; the answer to it has `response-` before the same.
    pub id: String,
    /// Its method.
    pub method: Method,
    /// A path with a query; the host is that of the whole.
    pub target: Uri,
    /// Its fields, without those about the connection and the length.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

/// Why a body is not read as several requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Not of the form.
    #[error("the body is not multipart/mixed with a boundary")]
    NotMultipart,
    /// A part that is no request.
    #[error("part {0} is not an HTTP request with a Content-ID")]
    Part(usize),
    /// There are too many.
    #[error("there are more than {REQUESTS_LIMIT} requests")]
    TooMany,
}

/// Reads the requests of a body, in its order.
///
/// # Errors
/// [`BatchError`]; nothing of the body is to be done then.
pub fn read(content_type: &str, body: &[u8]) -> Result<Vec<BatchedRequest>, BatchError> {
    let boundary = boundary(content_type).ok_or(BatchError::NotMultipart)?;
    let delimiter = format!("--{boundary}");
    let mut parts: Vec<&[u8]> = Vec::new();
    let (mut begin, mut at, mut closed) = (None, 0, false);
    while at < body.len() && !closed {
        let end = body[at..].iter().position(|byte| *byte == b'\n').map_or(body.len(), |line| at + line + 1);
        if let Some(rest) = body[at..end].strip_prefix(delimiter.as_bytes()) {
            let rest = rest.trim_ascii_end();
            if rest.is_empty() || rest == b"--" {
                parts.extend(begin.map(|begin| &body[begin..at]));
                (begin, closed) = (Some(end), rest == b"--");
            }
        }
        at = end;
    }
    // The line end before a delimiter belongs to the delimiter.
    match (closed, parts.len()) {
        (false, _) | (_, 0) => Err(BatchError::NotMultipart),
        (true, 1..=REQUESTS_LIMIT) => {
            let numbered = parts.iter().enumerate();
            numbered.map(|(number, part)| request(without_end(part)).ok_or(BatchError::Part(number + 1))).collect()
        }
        (true, _) => Err(BatchError::TooMany),
    }
}

/// One answer in the body of the whole answer, with the delimiter before it.
pub fn write_answer(into: &mut Vec<u8>, boundary: &str, id: &str, answer: (StatusCode, &str, &[u8])) {
    let (status, content_type, body) = answer;
    let mut head = String::new();
    // A text takes everything.
    let _ = write!(
        head,
        "--{boundary}\r\nContent-Type: application/http\r\nContent-ID: <response-{id}>\r\n\r\n\
         HTTP/1.1 {} {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or("Unknown"),
        body.len(),
    );
    into.extend_from_slice(head.as_bytes());
    into.extend_from_slice(body);
    into.extend_from_slice(b"\r\n");
}

/// The end of the body of the whole answer.
pub fn write_end(into: &mut Vec<u8>, boundary: &str) {
    into.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
}

fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/mixed") {
        return None;
    }
    let named = parameters.split(';').filter_map(|parameter| parameter.trim().split_once('='));
    let (_, value) = named.rev().find(|(name, _)| name.eq_ignore_ascii_case("boundary"))?;
    let value = value.strip_prefix('"').map_or(Some(value), |rest| rest.strip_suffix('"'))?;
    let sound = |byte: u8| byte.is_ascii_graphic() && byte != b'"' || byte == b' ';
    (!value.is_empty() && value.len() <= BOUNDARY_LIMIT && value.bytes().all(sound)).then_some(value)
}

fn request(part: &[u8]) -> Option<BatchedRequest> {
    let (head, rest) = head(part)?;
    let outer = fields(head)?;
    if outer.get("content-type").is_none_or(|kind| kind != "application/http") {
        return None;
    }
    let id = outer.get("content-id")?.to_str().ok()?.strip_prefix('<')?.strip_suffix('>')?;
    if id.is_empty() || id.len() > ID_LIMIT || !id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'>') {
        return None;
    }
    let (head, body) = head_or_all(rest);
    let (line, head) = head.split_once('\n').unwrap_or((head, ""));
    let mut words = line.trim_end().split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if !version.starts_with("HTTP/1.") || words.next().is_some() || !target.starts_with('/') {
        return None;
    }
    let mut headers = fields(head)?;
    for of_the_connection in ["host", "connection", "content-length", "transfer-encoding", "mime-version"] {
        headers.remove(of_the_connection);
    }
    Some(BatchedRequest {
        id: id.to_owned(),
        method: method.parse().ok()?,
        target: target.parse().ok()?,
        headers,
        body: without_end(body).to_vec(),
    })
}

/// What stands before the first empty line, and what after it.
fn head(text: &[u8]) -> Option<(&str, &[u8])> {
    let mut at = 0;
    while at < text.len() {
        let end = text[at..].iter().position(|byte| *byte == b'\n').map(|line| at + line + 1)?;
        if text[at..end].trim_ascii().is_empty() {
            return Some((std::str::from_utf8(&text[..at]).ok()?, &text[end..]));
        }
        at = end;
    }
    None
}

/// The same of a request that may end with its fields.
fn head_or_all(text: &[u8]) -> (&str, &[u8]) {
    head(text).unwrap_or_else(|| (std::str::from_utf8(text).unwrap_or_default(), &[]))
}

fn fields(head: &str) -> Option<HeaderMap> {
    let mut fields = HeaderMap::new();
    for line in head.lines().filter(|line| !line.trim().is_empty()) {
        let (name, value) = line.split_once(':')?;
        // Twice the same would leave open which of them is meant.
        let name: HeaderName = name.parse().ok()?;
        if fields.insert(name, HeaderValue::from_str(value.trim()).ok()?).is_some() {
            return None;
        }
    }
    Some(fields)
}

fn without_end(part: &[u8]) -> &[u8] {
    let part = part.strip_suffix(b"\n").unwrap_or(part);
    part.strip_suffix(b"\r").unwrap_or(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = r#"multipart/mixed; boundary="===2634==""#;

    /// As gcloud sends it, with these line ends.
    fn sent(end: &str) -> Vec<u8> {
        let lines = [
            "--===2634==",
            "Content-Type: application/http",
            "MIME-Version: 1.0",
            "Content-Transfer-Encoding: binary",
            "Content-ID: <7bbf347e+0>",
            "",
            "GET /compute/v1/projects/p/global/backendServices/app?alt=json HTTP/1.1",
            "Content-Type: application/json",
            "content-length: 0",
            "Host: 127.0.0.1:19081",
            "",
            "",
            "--===2634==",
            "Content-Type: application/http",
            "Content-ID: <7bbf347e+1>",
            "",
            "PATCH /compute/v1/x HTTP/1.1",
            "Accept: application/json",
            "",
            r#"{"a": 1}"#,
            "--===2634==--",
            "",
        ];
        lines.join(end).into_bytes()
    }

    #[test]
    fn requests_are_read_in_their_order_whatever_ends_their_lines() {
        for end in ["\n", "\r\n"] {
            let read = read(TYPE, &sent(end)).unwrap();
            let told: Vec<_> = read
                .iter()
                .map(|it| {
                    (it.id.as_str(), it.method.as_str(), it.target.to_string(), it.headers.len(), it.body.as_slice())
                })
                .collect();
            let first = "/compute/v1/projects/p/global/backendServices/app?alt=json".to_owned();
            #[rustfmt::skip]
            let expected = [
                ("7bbf347e+0", "GET",   first,                       1, &b""[..]),
                ("7bbf347e+1", "PATCH", "/compute/v1/x".to_owned(),  1, &br#"{"a": 1}"#[..]),
            ];
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn what_is_no_batch_is_refused() {
        let text = String::from_utf8(sent("\n")).unwrap();
        let with = |from: &str, to: &str| text.replacen(from, to, 1);
        let many = format!("{}--===2634==--", text.split("--===2634==--").next().unwrap().repeat(501));
        #[rustfmt::skip]
        let cases = [
            ("application/json",                  text.clone(),                                      BatchError::NotMultipart),
            ("multipart/mixed",                   text.clone(),                                      BatchError::NotMultipart),
            ("multipart/mixed; boundary=\"a",     text.clone(),                                      BatchError::NotMultipart),
            ("multipart/mixed; boundary=other",   text.clone(),                                      BatchError::NotMultipart),
            (TYPE,                                String::new(),                                     BatchError::NotMultipart),
            (TYPE,                                with("--===2634==--", ""),                         BatchError::NotMultipart),
            (TYPE,                                with("Content-ID: <7bbf347e+0>", "X: y"),          BatchError::Part(1)),
            (TYPE,                                with("<7bbf347e+0>", "7bbf347e+0"),                BatchError::Part(1)),
            (TYPE,                                with("application/http", "text/plain"),            BatchError::Part(1)),
            (TYPE,                                with("GET /", "GET https://other.test/"),          BatchError::Part(1)),
            (TYPE,                                with("json HTTP/1.1", "json"),                     BatchError::Part(1)),
            (TYPE,                                with("Accept: application/json", "no field"),      BatchError::Part(2)),
            (TYPE,                                with("Accept: a", "Accept: a\nAccept: a"),         BatchError::Part(2)),
            (TYPE,                                many,                                              BatchError::TooMany),
        ];
        for (content_type, body, expected) in cases {
            assert_eq!(read(content_type, body.as_bytes()), Err(expected), "{content_type} {body}");
        }
    }

    #[test]
    fn an_answer_names_the_request_that_it_is_to() {
        let mut written = Vec::new();
        write_answer(&mut written, "b", "7bbf347e+0", (StatusCode::NOT_FOUND, "application/json", b"{}"));
        write_end(&mut written, "b");
        let expected = "--b\r\nContent-Type: application/http\r\nContent-ID: <response-7bbf347e+0>\r\n\r\n\
                        HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}\r\n--b--\r\n";
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }
}
