//! How Google's front ends read the JSON of a protocol buffer, beyond what serde does by itself.
//!
//! `null` is absent, a 64-bit or 32-bit number may be a text, a boolean may be a text (`"true"`), and a text or a
//! boolean may stand in a wrapper, `{"value": …}`: gcloud's help shows such files and sends them on as they are.
//!
//! Spec: <https://protobuf.dev/programming-guides/json/>

use std::fmt;
use std::time::Duration;

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// `null` as the default.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A boolean, its text, or either in a wrapper.
pub(crate) fn boolean<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    match unwrapped(deserializer)? {
        Value::Null => Ok(None),
        Value::Bool(value) => Ok(Some(value)),
        Value::String(text) if text == "true" => Ok(Some(true)),
        Value::String(text) if text == "false" => Ok(Some(false)),
        other => Err(Error::custom(format_args!("expected true or false, found {other}"))),
    }
}

/// A boolean of a query, also as Python writes it: gcloud sends `False`.
pub(crate) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Bool(value) => Ok(value),
        Value::String(text) if text == "true" || text == "True" => Ok(true),
        Value::String(text) if text == "false" || text == "False" => Ok(false),
        other => Err(Error::custom(format_args!("expected true or false, found {other}"))),
    }
}

/// A value that is written as a text, or that text in a wrapper.
pub(crate) fn text<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    match unwrapped(deserializer)? {
        Value::Null => Ok(None),
        text @ Value::String(_) => serde_json::from_value(text).map(Some).map_err(Error::custom),
        other => Err(Error::custom(format_args!("expected a text, found {other}"))),
    }
}

/// A whole number, or its text.
pub(crate) fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i32>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let number = match &value {
        Value::Null => return Ok(None),
        Value::Number(number) => number.as_i64().and_then(|number| i32::try_from(number).ok()),
        Value::String(text) => text.parse().ok(),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    number.map(Some).ok_or_else(|| Error::custom(format_args!("expected a whole number of 32 bits, found {value}")))
}

/// A 64-bit id: digits as text, or a number.
pub(crate) fn digits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::Number(number) if number.is_u64() => Ok(Some(number.to_string())),
        Value::String(text) if text.parse::<u64>().is_ok_and(|number| number.to_string() == text) => Ok(Some(text)),
        other => Err(Error::custom(format_args!("expected the digits of a 64-bit number, found {other}"))),
    }
}

fn unwrapped<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Object(mut wrapper) if wrapper.len() == 1 && wrapper.contains_key("value") => {
            wrapper.remove("value").unwrap_or_default()
        }
        other => other,
    })
}

/// A secret that a caller sends. Its debug form does not show it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InputSecret(pub String);

impl fmt::Debug for InputSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InputSecret(…)")
    }
}

/// `google.protobuf.Duration`, not negative: seconds with up to nine decimals and an `s`, such as `305s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProtoDuration(pub Duration);

/// The longest duration of the protocol buffer, in seconds: about 10,000 years.
const LONGEST: u64 = 315_576_000_000;

impl Serialize for ProtoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (seconds, nanoseconds) = (self.0.as_secs(), self.0.subsec_nanos());
        match nanoseconds {
            0 => serializer.collect_str(&format_args!("{seconds}s")),
            _ => {
                let decimals = format!("{nanoseconds:09}");
                serializer.collect_str(&format_args!("{seconds}.{}s", decimals.trim_end_matches('0')))
            }
        }
    }
}

impl<'de> Deserialize<'de> for ProtoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        duration(&text)
            .map(ProtoDuration)
            .ok_or_else(|| Error::custom(format_args!("expected seconds such as \"305s\", found {text:?}")))
    }
}

fn duration(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?;
    let (seconds, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(seconds) || !all_digits(decimals) || decimals.len() > 9 {
        return None;
    }
    let seconds = seconds.parse().ok().filter(|seconds| *seconds <= LONGEST)?;
    Some(Duration::new(seconds, format!("{decimals:0<9}").parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn booleans_texts_and_numbers_are_read_in_every_form_that_googles_clients_write() {
        #[rustfmt::skip]
        let booleans = [
            (json!(true),                       Some(Some(true))),
            (json!("false"),                    Some(Some(false))),
            (json!({"value": "true"}),          Some(Some(true))),
            (json!({"value": false}),           Some(Some(false))),
            (json!(null),                       Some(None)),
            (json!({"value": null}),            Some(None)),
            (json!("True"),                     None),
            (json!(1),                          None),
            (json!({}),                         None),
            (json!({"value": true, "x": 1}),    None),
            (json!({"value": {"value": true}}), None),
        ];
        for (value, expected) in booleans {
            assert_eq!(boolean(value.clone()).ok(), expected, "{value}");
        }
        #[rustfmt::skip]
        let texts = [
            (json!("x"),            Some(Some("x".to_owned()))),
            (json!({"value": "x"}), Some(Some("x".to_owned()))),
            (json!(null),           Some(None)),
            (json!(1),              None),
            (json!(["x"]),          None),
        ];
        for (value, expected) in texts {
            assert_eq!(text::<_, String>(value.clone()).ok(), expected, "{value}");
        }
        #[rustfmt::skip]
        let integers = [
            (json!(3),          Some(Some(3))),
            (json!("3"),        Some(Some(3))),
            (json!(null),       Some(None)),
            (json!(3.5),        None),
            (json!(1_i64 << 40), None),
            (json!("x"),        None),
        ];
        for (value, expected) in integers {
            assert_eq!(integer(value.clone()).ok(), expected, "{value}");
        }
        #[rustfmt::skip]
        let ids = [
            (json!("18446744073709551615"), Some(Some("18446744073709551615"))),
            (json!(7),                      Some(Some("7"))),
            (json!(null),                   Some(None)),
            (json!("18446744073709551616"), None),
            (json!("007"),                  None),
            (json!("+7"),                   None),
            (json!(-7),                     None),
            (json!(""),                     None),
        ];
        for (value, expected) in ids {
            assert_eq!(digits(value.clone()).ok(), expected.map(|id| id.map(str::to_owned)), "{value}");
        }
    }

    #[test]
    fn a_duration_is_seconds_with_an_s_and_nothing_else() {
        #[rustfmt::skip]
        let cases = [
            ("305s",              Some((305, 0, "305s"))),
            ("0s",                Some((0, 0, "0s"))),
            ("1.5s",              Some((1, 500_000_000, "1.5s"))),
            ("1.000000001s",      Some((1, 1, "1.000000001s"))),
            ("1.50s",             Some((1, 500_000_000, "1.5s"))),
            ("315576000000s",     Some((LONGEST, 0, "315576000000s"))),
            ("315576000001s",     None),
            ("305",               None),
            ("-1s",               None),
            ("+1s",               None),
            ("1.s",               None),
            (".5s",               None),
            ("1.0000000001s",     None),
            ("5m",                None),
            ("s",                 None),
            ("",                  None),
        ];
        for (text, expected) in cases {
            let read = serde_json::from_value::<ProtoDuration>(json!(text)).ok();
            assert_eq!(
                read.map(|it| (it.0.as_secs(), it.0.subsec_nanos())),
                expected.map(|(s, n, _)| (s, n)),
                "{text}"
            );
            let written = read.map(|read| serde_json::to_value(read).unwrap());
            assert_eq!(written, expected.map(|(_, _, text)| json!(text)), "{text}");
        }
    }

    #[test]
    fn a_secret_does_not_show_in_its_debug_form() {
        assert_eq!(format!("{:?}", InputSecret("hunter2".to_owned())), "InputSecret(…)");
    }
}
