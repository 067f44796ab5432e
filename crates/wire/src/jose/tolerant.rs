//! The assertion of Google's published Bash script, for the jwt-bearer grant and nothing else.
//!
//! The script builds its assertion with `echo` and `base64`: single-quoted pseudo-JSON, standard alphabet, padding, and line
//! breaks inside the parts, over which it signs. Google keeps publishing it, so the token endpoint takes it. What is
//! *not* loosened: the signature covers the bytes as received, names must be unique, and the header rules are those of
//! [`super::jws`].
//!
//! Spec: <https://cloud.google.com/iap/docs/authentication-howto>, "Authenticating from a service account".

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use super::claims::Claims;
use super::json::parse_object;
use super::jws::{Algorithm, JwsError, check_header};
use super::keys::VerifyingKey;

const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An assertion whose structure was checked and whose signature was not.
#[derive(Debug)]
pub struct UnverifiedAssertion<'a> {
    signing_input: &'a [u8],
    signature: Vec<u8>,
    kid: Option<String>,
    payload: Map<String, Value>,
}

/// What came of reading an assertion's header.
#[derive(Debug)]
pub enum AssertionError {
    /// Not three parts, not base64, not an object: the request itself is broken.
    Structure,
    /// Well formed, but its header names an algorithm, a key or an extension that is not accepted.
    Header(JwsError),
}

impl<'a> UnverifiedAssertion<'a> {
    /// Reads an assertion of at most `limit` bytes. Only RS256 is accepted.
    pub fn parse(assertion: &'a str, limit: usize) -> Result<Self, AssertionError> {
        if assertion.len() > limit {
            return Err(AssertionError::Structure);
        }
        let mut parts = assertion.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(AssertionError::Structure);
        };
        let signing_input = &assertion.as_bytes()[..header.len() + 1 + payload.len()];
        let header = decode(header).and_then(|bytes| object(&bytes)).ok_or(AssertionError::Structure)?;
        let payload = decode(payload).and_then(|bytes| object(&bytes)).ok_or(AssertionError::Structure)?;
        let signature = decode(signature).ok_or(AssertionError::Structure)?;
        let (_, kid) = check_header(&header, &[Algorithm::Rs256]).map_err(AssertionError::Header)?;
        Ok(UnverifiedAssertion { signing_input, signature, kid, payload })
    }

    /// The key id, if the header has one. Node's and Ruby's clients send none.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The `iss` claim as sent, to find candidate keys by. Not proven.
    pub fn unproven_issuer(&self) -> Option<&str> {
        self.payload.get("iss").and_then(Value::as_str)
    }

    /// Whether `key` made the signature over the bytes as they were received.
    pub fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        key.algorithm() == Algorithm::Rs256 && key.verifies(self.signing_input, &self.signature)
    }

    /// Checks the signature and gives the claims.
    ///
    /// # Errors
    /// [`JwsError::Signature`] if the signature is not this key's.
    pub fn verify(self, key: &VerifyingKey) -> Result<Claims, JwsError> {
        if !self.is_signed_by(key) {
            return Err(JwsError::Signature);
        }
        Ok(Claims::new(self.payload))
    }
}

/// Base64 in either alphabet, padded or not, with CR and LF anywhere, and nothing else.
fn decode(part: &str) -> Option<Vec<u8>> {
    let mut standard = Vec::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b'\r' | b'\n' => {}
            b'-' => standard.push(b'+'),
            b'_' => standard.push(b'/'),
            other => standard.push(other),
        }
    }
    ANY_PADDING.decode(standard).ok().filter(|bytes| !bytes.is_empty())
}

/// A JSON object, in which strings may also be written `'…'`.
fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    match parse_object(bytes) {
        Ok(object) => Some(object),
        Err(_) => parse_object(&with_double_quotes(std::str::from_utf8(bytes).ok()?)?).ok(),
    }
}

/// Rewrites `'…'` strings as `"…"` strings, and leaves all else to the strict parser. `None` if a string does not end.
fn with_double_quotes(text: &str) -> Option<Vec<u8>> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\'' && c != '"' {
            out.push(c);
            continue;
        }
        out.push('"');
        loop {
            match chars.next()? {
                end if end == c => break,
                '\\' => match chars.next()? {
                    // JSON has no escape for an apostrophe, and needs none.
                    '\'' => out.push('\''),
                    escaped => out.extend(['\\', escaped]),
                },
                '"' => out.push_str("\\\""),
                other => out.push(other),
            }
        }
        out.push('"');
    }
    Some(out.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_quoted_text_is_read_as_the_object_that_its_author_meant() {
        #[rustfmt::skip]
        let cases = [
            ("{'alg':'RS256','kid':'1'}\n",      Some(r#"{"alg":"RS256","kid":"1"}"#)),
            (r#"{"a":"it's"}"#,                  Some(r#"{"a":"it's"}"#)),
            (r#"{'a':'say \'x\' and "y"'}"#,     Some(r#"{"a":"say 'x' and \"y\""}"#)),
            (r#"{'a':"b",'c':'d'}"#,             Some(r#"{"a":"b","c":"d"}"#)),
            ("{'a':'1','a':'2'}",                None),
            ("{'a':'1','\\u0061':'2'}",          None),
            ("{'a':'1}",                         None),
            ("{a:1}",                            None),
            ("['a']",                            None),
            ("{'a':1} x",                        None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|text| parse_object(text.as_bytes()).unwrap());
            assert_eq!(object(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn base64_is_taken_in_both_alphabets_with_line_ends_and_no_other_byte() {
        #[rustfmt::skip]
        let cases: [(&str, Option<&[u8]>); 9] = [
            ("+/+/",     Some(&[0xfb, 0xff, 0xbf])),
            ("-_-_",     Some(&[0xfb, 0xff, 0xbf])),
            ("YW\nJj\n", Some(b"abc")),
            ("YQ==\n",   Some(b"a")),
            ("YQ",       Some(b"a")),
            ("YR==",     None),
            ("Y Q==",    None),
            ("YQ=",      Some(b"a")),
            ("",         None),
        ];
        for (text, expected) in cases {
            assert_eq!(decode(text).as_deref(), expected, "{text:?}");
        }
    }
}
