//! The tree of metadata, and its two forms.

use serde_json::{Map, Value, json};

use super::Facts;

/// A directory, a value, or a token that is made when it is asked for.
#[derive(Debug)]
pub(super) enum Entry {
    Directory(Vec<(String, Entry)>),
    /// Text, a number, or a list of texts.
    Value(Value),
    Token,
    Identity,
}

pub(super) fn tree(facts: &Facts, email: &str) -> Entry {
    let account = || {
        directory([
            ("aliases", Entry::Value(json!(["default"]))),
            ("email", Entry::Value(json!(email))),
            ("identity", Entry::Identity),
            ("scopes", Entry::Value(json!(facts.scopes))),
            ("token", Entry::Token),
        ])
    };
    let number = facts.project_number.as_deref();
    let project = number.unwrap_or(&facts.project_id);
    let as_number = |text: &str| text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number));
    let host = format!("{}.{}.c.{}.internal", facts.instance_name, facts.zone, facts.project_id);
    directory([
        (
            "instance",
            directory([
                ("attributes", directory([])),
                ("hostname", Entry::Value(json!(host))),
                ("id", Entry::Value(as_number(&facts.instance_id))),
                ("name", Entry::Value(json!(facts.instance_name))),
                ("service-accounts", directory([(email, account()), ("default", account())])),
                ("zone", Entry::Value(json!(format!("projects/{project}/zones/{}", facts.zone)))),
            ]),
        ),
        ("project", {
            let mut entries = vec![("attributes", directory([]))];
            entries.extend(number.map(|number| ("numeric-project-id", Entry::Value(as_number(number)))));
            entries.push(("project-id", Entry::Value(json!(facts.project_id))));
            directory(entries)
        }),
        ("universe", directory([("universe-domain", Entry::Value(json!("googleapis.com")))])),
    ])
}

fn directory<'a>(entries: impl IntoIterator<Item = (&'a str, Entry)>) -> Entry {
    Entry::Directory(entries.into_iter().map(|(name, entry)| (name.to_owned(), entry)).collect())
}

impl Entry {
    /// The entry at a path relative to this one. A directory's may end in a slash, a value's may not. Names are taken as they
    /// are: neither dots nor percent-encodings lead anywhere, except for the `@` of an address.
    pub(super) fn find(&self, path: &str) -> Option<&Entry> {
        let (name, rest) = match path.split_once('/') {
            _ if path.is_empty() => return Some(self),
            Some((name, rest)) => (name, Some(rest)),
            None => (path, None),
        };
        let Entry::Directory(entries) = self else { return None };
        let name = name.replace("%40", "@");
        let (_, entry) = entries.iter().find(|(entry, _)| *entry == name)?;
        match (entry, rest) {
            (Entry::Directory(_), Some(rest)) => entry.find(rest),
            (_, None) => Some(entry),
            (_, Some(_)) => None,
        }
    }

    /// The body and its content type. A directory is a list of names, and with `recursive` everything in it; JSON is asked for
    /// by `alt`, and is what `recursive` gives.
    pub(super) fn render(&self, recursive: bool, alt: Option<&str>) -> (String, &'static str) {
        const TEXT: &str = "application/text";
        const JSON: &str = "application/json";
        match (self, alt) {
            (Entry::Directory(entries), alt) if !recursive => {
                let names = entries.iter().map(|(name, entry)| match entry {
                    Entry::Directory(_) => format!("{name}/"),
                    Entry::Value(_) | Entry::Token | Entry::Identity => name.clone(),
                });
                match alt {
                    Some("json") => (json!(names.collect::<Vec<_>>()).to_string(), JSON),
                    _ => (names.map(|name| name + "\n").collect(), TEXT),
                }
            }
            (Entry::Directory(_), Some("text")) => {
                let mut lines = String::new();
                self.write_lines("", &mut lines);
                (lines, TEXT)
            }
            (Entry::Directory(_), _) | (Entry::Value(_), Some("json")) => (self.json().to_string(), JSON),
            (Entry::Value(value), _) => (value_text(value), TEXT),
            // Those are answered elsewhere.
            (Entry::Token | Entry::Identity, _) => (String::new(), TEXT),
        }
    }

    /// Names become camelCase, as Google's server writes them. Tokens are not part of it.
    fn json(&self) -> Value {
        match self {
            Entry::Directory(entries) => {
                let entries = entries.iter().filter(|(_, entry)| !matches!(entry, Entry::Token | Entry::Identity));
                Value::Object(entries.map(|(name, entry)| (camel_case(name), entry.json())).collect::<Map<_, _>>())
            }
            Entry::Value(value) => value.clone(),
            Entry::Token | Entry::Identity => Value::Null,
        }
    }

    fn write_lines(&self, path: &str, lines: &mut String) {
        match self {
            Entry::Directory(entries) => {
                for (name, entry) in entries {
                    let separator = if path.is_empty() { "" } else { "/" };
                    entry.write_lines(&format!("{path}{separator}{name}"), lines);
                }
            }
            Entry::Value(value) => *lines += &format!("{path} {}\n", value_text(value).trim_end().replace('\n', ",")),
            Entry::Token | Entry::Identity => {}
        }
    }
}

/// One line for each text of a list.
fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(|value| value_text(value) + "\n").collect(),
        other => other.to_string(),
    }
}

fn camel_case(name: &str) -> String {
    // An address is no name of ours.
    if name.contains('@') {
        return name.to_owned();
    }
    let mut words = name.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |joined, word| {
        let (initial, rest) = word.split_at(word.len().min(1));
        joined + &initial.to_ascii_uppercase() + rest
    })
}
