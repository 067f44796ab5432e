//! JSON objects in which no name occurs twice.

use std::fmt;

use serde::de::{Deserializer as _, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Why bytes are not a JSON object that two readers must read alike.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// Not JSON, a name that occurs twice, a text with U+0000, a number out of range, nesting beyond 128 levels, or bytes after the
    /// end.
    #[error("not a JSON object with unique names: {0}")]
    Malformed(#[from] serde_json::Error),
    /// JSON, but an array, string, number, boolean or null.
    #[error("JSON, but not an object")]
    NotAnObject,
}

/// Parses an object and refuses duplicate member names at every depth, and U+0000 in names and texts: nothing that we know has one,
/// and PostgreSQL keeps none, so that a store would answer what the edge should have.
///
/// RFC 7515 section 4 and RFC 7519 section 4 allow a parser to take the last of two equal names. Two parsers that
/// choose differently then read two different tokens under one signature, so we take neither.
pub fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, ObjectError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = deserializer.deserialize_any(Strict)?;
    deserializer.end()?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(ObjectError::NotAnObject),
    }
}

/// A whole number of seconds that a claim holds, if it is one.
pub struct StrictNumber;

impl StrictNumber {
    /// Reads an integer; a fraction, an exponent that makes one, or a string is `None`.
    pub fn integer(value: &Value) -> Option<i64> {
        value.as_i64()
    }

    /// Reads an integer, also from a string of digits, as Google's token endpoint does.
    pub fn integer_or_digits(value: &Value) -> Option<i64> {
        match value {
            Value::String(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().ok()
            }
            other => Self::integer(other),
        }
    }
}

struct Strict;

impl<'de> serde::de::DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Strict)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(v).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }
    fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Value, E> {
        without_nul(v)?;
        Ok(Value::String(v.to_owned()))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Strict)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            without_nul(&name)?;
            let value = map.next_value_seed(Strict)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name occurs twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

fn without_nul<E: serde::de::Error>(text: &str) -> Result<(), E> {
    if text.contains('\0') { Err(E::custom("a text holds U+0000")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_two_readers_could_read_differently_is_refused() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
        #[rustfmt::skip]
        let cases: [(&[u8], bool); 15] = [
            (br#"{"a":1,"b":{"c":[1,2,{"d":null}]}}"#, true),
            (b" {} ",                                  true),
            (br#"{"a":1,"a":1}"#,                      false),
            (br#"{"a":1,"\u0061":2}"#,                 false),
            (br#"{"a":{"b":1,"b":2}}"#,                false),
            (br#"{"a":1}{"a":2}"#,                     false),
            (br#"{"exp":1e400}"#,                      false),
            (br#"[]"#,                                 false),
            (br#""a""#,                                false),
            (b"{\"a\":\"\xff\"}",                      false),
            (b"",                                      false),
            (br#"{"a":["b\u0000"]}"#,                  false),
            (br#"{"a\u0000":1}"#,                      false),
            (br#"{"a":"\\u0000"}"#,                    true),
            (deep.as_bytes(),                          false),
        ];
        for (text, accepted) in cases {
            let shown = String::from_utf8_lossy(&text[..text.len().min(40)]).into_owned();
            assert_eq!(parse_object(text).is_ok(), accepted, "{shown}");
        }
    }
}
