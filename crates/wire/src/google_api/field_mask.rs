//! `google.protobuf.FieldMask` in a query parameter, and what it does to a JSON object.
//!
//! Paths are compared in camelCase; callers may write snake_case, and may write the name of the message before each
//! path: Google's documentation of IAP settings does (`iapSettings.accessSettings.reauthSettings`).
//!
//! Spec: <https://google.aip.dev/161>, <https://protobuf.dev/programming-guides/json/>

use serde_json::{Map, Value};

/// What a change is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldMask {
    /// No mask, an empty one, `*`, or the message itself.
    Everything,
    /// These paths, in camelCase, in the order sent and each once; never empty.
    Paths(Vec<String>),
}

/// A mask that names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} in the update mask names no field")]
pub struct FieldMaskError(
    /// The path as it was sent.
    pub String,
);

impl FieldMask {
    /// Reads a mask for a message of the name `message` (camelCase, such as `iapSettings`) with the leaves `leaves`
    /// (camelCase paths).
    ///
    /// A path may name a leaf or something above one. A comma at the end is passed over: gcloud sends `iap,`.
    ///
    /// # Errors
    /// [`FieldMaskError`] for a path that names no field, or lies inside a leaf.
    pub fn parse(text: &str, message: &str, leaves: &[&str]) -> Result<Self, FieldMaskError> {
        let mut paths: Vec<String> = Vec::new();
        let mut everything = false;
        for sent in text.split(',').map(str::trim).filter(|sent| !sent.is_empty()) {
            let camel = camel_case(sent);
            let path = match camel.strip_prefix(message) {
                Some("") => "*",
                Some(rest) => rest.strip_prefix('.').unwrap_or(&camel),
                None => &camel,
            };
            if path == "*" {
                everything = true;
            } else if !leaves.iter().any(|leaf| is_at_or_below(leaf, path)) {
                return Err(FieldMaskError(sent.to_owned()));
            } else if !paths.iter().any(|known| known == path) {
                paths.push(path.to_owned());
            }
        }
        Ok(if everything || paths.is_empty() { FieldMask::Everything } else { FieldMask::Paths(paths) })
    }

    /// Whether a change under this mask touches the field at `path` or something inside it.
    pub fn touches(&self, path: &str) -> bool {
        match self {
            FieldMask::Everything => true,
            FieldMask::Paths(paths) => paths.iter().any(|it| is_at_or_below(it, path) || is_at_or_below(path, it)),
        }
    }

    /// What comes of changing `old` to `new` under this mask. Both are in camelCase.
    ///
    /// A field that is named is as in `new`, and gone if it is not there. What is not named stays. Objects that become
    /// empty by that go too: an empty message sets nothing.
    pub fn apply(&self, old: &Value, new: &Value) -> Value {
        let FieldMask::Paths(paths) = self else { return new.clone() };
        let mut result = old.clone();
        for path in paths {
            let segments: Vec<&str> = path.split('.').collect();
            replace(&mut result, &segments, new.pointer(&format!("/{}", segments.join("/"))));
        }
        result
    }
}

/// Puts `value` at a path below `object`, or clears the path.
fn replace(object: &mut Value, path: &[&str], value: Option<&Value>) {
    let Some((first, rest)) = path.split_first() else { return };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let Some(fields) = object.as_object_mut() else { return };
    match (rest.is_empty(), value) {
        (true, Some(value)) => {
            fields.insert((*first).to_owned(), value.clone());
        }
        (true, None) => {
            fields.remove(*first);
        }
        (false, Some(_)) => replace(fields.entry(*first).or_insert_with(|| Map::new().into()), rest, value),
        (false, None) => {
            if let Some(inner) = fields.get_mut(*first) {
                replace(inner, rest, None);
                if inner.as_object().is_some_and(Map::is_empty) {
                    fields.remove(*first);
                }
            }
        }
    }
}

/// Whether `path` is `above`, or a field inside it.
pub(crate) fn is_at_or_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// `access_settings.oauth2.client_id` as `accessSettings.oauth2.clientId`; what is in camelCase stays.
pub fn camel_case(snake: &str) -> String {
    let mut camel = String::with_capacity(snake.len());
    let mut letters = snake.chars().peekable();
    while let Some(letter) = letters.next() {
        match letters.peek() {
            Some(next) if letter == '_' && next.is_ascii_alphanumeric() => {
                camel.push(next.to_ascii_uppercase());
                letters.next();
            }
            _ => camel.push(letter),
        }
    }
    camel
}

/// `accessSettings` as `access_settings`.
pub fn snake_case(camel: &str) -> String {
    let mut snake = String::with_capacity(camel.len() + 4);
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// The paths of everything that is set in an object: leaves, lists and empty objects. `null` is not set.
pub(crate) fn set_paths(object: &Value) -> Vec<String> {
    fn walk(prefix: &str, value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Null => {}
            Value::Object(fields) if !fields.is_empty() || prefix.is_empty() => {
                let dot = if prefix.is_empty() { "" } else { "." };
                fields.iter().for_each(|(name, value)| walk(&format!("{prefix}{dot}{name}"), value, found));
            }
            Value::Object(_) | Value::Array(_) | Value::String(_) | Value::Number(_) | Value::Bool(_) => {
                found.push(prefix.to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk("", object, &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const LEAVES: [&str; 4] = ["a.oneTwo", "a.b.c", "oauth2.clientSecretSha256", "d"];

    #[test]
    fn a_mask_names_fields_in_either_case_with_and_without_the_message() {
        let paths = |paths: &[&str]| Ok(FieldMask::Paths(paths.iter().map(|path| (*path).to_owned()).collect()));
        let refused = |path: &str| Err(FieldMaskError(path.to_owned()));
        #[rustfmt::skip]
        let cases = [
            ("",                               Ok(FieldMask::Everything)),
            (" , ",                            Ok(FieldMask::Everything)),
            ("*",                              Ok(FieldMask::Everything)),
            ("theThing",                       Ok(FieldMask::Everything)),
            ("the_thing",                      Ok(FieldMask::Everything)),
            ("theThing.*",                     Ok(FieldMask::Everything)),
            ("d,*",                            Ok(FieldMask::Everything)),
            ("a",                              paths(&["a"])),
            ("a.oneTwo",                       paths(&["a.oneTwo"])),
            ("a.one_two",                      paths(&["a.oneTwo"])),
            ("theThing.a.oneTwo",              paths(&["a.oneTwo"])),
            ("the_thing.a.one_two, d,",        paths(&["a.oneTwo", "d"])),
            ("oauth2.client_secret_sha256",    paths(&["oauth2.clientSecretSha256"])),
            ("d,d",                            paths(&["d"])),
            ("a.b.c,the_thing.a.b",            paths(&["a.b.c", "a.b"])),
            ("theThingd",                      refused("theThingd")),
            ("d.e",                            refused("d.e")),
            ("a.one",                          refused("a.one")),
            ("a.",                             refused("a.")),
            ("d,x",                            refused("x")),
            ("*,x",                            refused("x")),
            ("a.*",                            refused("a.*")),
            ("A",                              refused("A")),
        ];
        for (text, expected) in cases {
            assert_eq!(FieldMask::parse(text, "theThing", &LEAVES), expected, "{text:?}");
        }
    }

    #[test]
    fn only_what_is_named_is_replaced() {
        let old = || json!({"a": {"oneTwo": 1, "b": {"c": 2}}, "d": [3]});
        #[rustfmt::skip]
        let cases = [
            ("",             json!({"d": [4]}),                    json!({"d": [4]})),
            ("d",            json!({"d": [4], "a": {}}),           json!({"a": {"oneTwo": 1, "b": {"c": 2}}, "d": [4]})),
            ("d",            json!({}),                            json!({"a": {"oneTwo": 1, "b": {"c": 2}}})),
            ("a.b",          json!({}),                            json!({"a": {"oneTwo": 1}, "d": [3]})),
            ("a.b.c",        json!({"a": {"oneTwo": 9}}),          json!({"a": {"oneTwo": 1}, "d": [3]})),
            ("a.b.c,a.one_two", json!({}),                         json!({"d": [3]})),
            ("a",            json!({"a": {"b": {"c": 5}}}),        json!({"a": {"b": {"c": 5}}, "d": [3]})),
            ("a.oneTwo",     json!({"a": {"oneTwo": 6, "b": {}}}), json!({"a": {"oneTwo": 6, "b": {"c": 2}}, "d": [3]})),
            ("oauth2.clientSecretSha256", json!({"oauth2": {"clientSecretSha256": "x"}}),
                json!({"a": {"oneTwo": 1, "b": {"c": 2}}, "d": [3], "oauth2": {"clientSecretSha256": "x"}})),
        ];
        for (mask, new, expected) in cases {
            let read = FieldMask::parse(mask, "theThing", &LEAVES).unwrap();
            assert_eq!(read.apply(&old(), &new), expected, "{mask} {new}");
        }
    }

    #[test]
    fn a_mask_touches_what_it_names_what_is_inside_it_and_what_is_around_it() {
        let mask = FieldMask::parse("a.b", "theThing", &LEAVES).unwrap();
        for (path, touched) in [("a", true), ("a.b", true), ("a.b.c", true), ("a.oneTwo", false), ("d", false)] {
            assert_eq!(mask.touches(path), touched, "{path}");
        }
        assert!(FieldMask::Everything.touches("d"));
    }

    #[test]
    fn names_go_from_one_case_to_the_other_and_back() {
        #[rustfmt::skip]
        let cases = [
            ("access_settings",      "accessSettings"),
            ("client_secret_sha256", "clientSecretSha256"),
            ("oauth2",               "oauth2"),
            ("x",                    "x"),
        ];
        for (snake, camel) in cases {
            assert_eq!((camel_case(snake).as_str(), snake_case(camel).as_str()), (camel, snake));
        }
        assert_eq!(["_", "a_", "a_._b"].map(camel_case), ["_", "a_", "a_.B"]);
    }

    #[test]
    fn what_is_set_is_found_by_path() {
        let object = json!({"a": {"b": 1, "c": null, "d": {}}, "e": [], "f": ""});
        assert_eq!(set_paths(&object), ["a.b", "a.d", "e", "f"]);
        assert!(set_paths(&json!({})).is_empty());
    }
}
