//! Files that commands read and write: TOML, YAML or JSON, by the end of their name.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use doorward_wire::world_file::WorldFile;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// More than any file of ours.
const LIMIT: u64 = 64 * 1024 * 1024;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// TOML
    Toml,
    /// YAML, as gcloud prints it
    Yaml,
    /// JSON
    Json,
}

impl Format {
    /// By the end of a file's name.
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "toml" => Some(Format::Toml),
            "yaml" | "yml" => Some(Format::Yaml),
            "json" => Some(Format::Json),
            _ => None,
        }
    }

    /// Reads a text. The message names the line.
    pub(crate) fn read<T: DeserializeOwned>(self, text: &str) -> Result<T, Malformed> {
        match self {
            Format::Toml => toml::from_str(text).map_err(|error| Malformed::new(&error)),
            Format::Yaml => serde_saphyr::from_str(text).map_err(|error| Malformed::new(&error)),
            Format::Json => serde_json::from_str(text).map_err(|error| Malformed::new(&error)),
        }
    }

    /// Writes a text that ends with a line break.
    pub(crate) fn write(self, value: &impl Serialize) -> anyhow::Result<String> {
        let text = match self {
            Format::Toml => toml::to_string(value).context("this cannot be written as TOML: use another --format")?,
            Format::Yaml => {
                serde_saphyr::to_string(value).context("this cannot be written as YAML: use another --format")?
            }
            Format::Json => serde_json::to_string_pretty(value)?,
        };
        Ok(if text.ends_with('\n') { text } else { text + "\n" })
    }
}

/// A text that is not what was to be read, with the place of the mistake. May be of several lines.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(String);

impl Malformed {
    fn new(error: &dyn fmt::Display) -> Self {
        Malformed(error.to_string().trim_end().to_owned())
    }
}

/// A file to read; `-` is standard input.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Input {
    /// The file, whose name ends with .toml, .yaml, .yml or .json; - is standard input
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub(crate) path: PathBuf,
}

impl Input {
    /// Reads it.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        read(&self.path)
    }
}

impl Input {
    /// Reads a file of everything. The message names every entry that is wrong.
    pub(crate) fn read_world(&self) -> anyhow::Result<WorldFile> {
        let (format, text) = source(&self.path)?;
        let first = match format.read::<WorldFile>(&text) {
            Ok(file) => return Ok(file),
            Err(first) => first,
        };
        // The first one has its line. Entry by entry the others are found, where the file is one of its format at all.
        let all = format.read(&text).map(|value| mistakes(&value)).unwrap_or_default();
        let all = if all.len() > 1 { format!("\n{} mistakes:\n{}", all.len(), all.join("\n")) } else { String::new() };
        bail!("{} is not what this command reads: {first}{all}", self.path.display())
    }
}

/// What is wrong in the lists of a file, entry by entry, each with its place.
fn mistakes(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let wrong = |file: Value| serde_json::from_value::<WorldFile>(file).err().map(|error| error.to_string());
    for (list, entries) in value.as_object().into_iter().flatten() {
        let Some(entries) = entries.as_array().filter(|_| wrong(json!({list: []})).is_none()) else {
            found.extend(wrong(json!({list: entries})).map(|error| format!("{list}: {error}")));
            continue;
        };
        for (place, entry) in entries.iter().enumerate() {
            let name = ["name", "resource", "email", "id"].iter().find_map(|name| entry.get(name)?.as_str());
            let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
            let error = wrong(json!({list: [entry]}));
            found.extend(error.map(|error| format!("{list}, entry {}{name}: {error}", place + 1)));
        }
    }
    found
}

/// Reads a file. Standard input has no name to go by: it is YAML, of which JSON is a part.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let (format, text) = source(path)?;
    format.read(&text).with_context(|| format!("{} is not what this command reads", path.display()))
}

fn source(path: &Path) -> anyhow::Result<(Format, String)> {
    let shown = path.display();
    if path.to_str() == Some("-") {
        return Ok((Format::Yaml, text_of(std::io::stdin().lock()).context("cannot read standard input")?));
    }
    let Some(format) = Format::of(path) else {
        bail!("it is not known how {shown} is written: its name must end with .toml, .yaml, .yml or .json");
    };
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {shown}: name a file that is there"))?;
    Ok((format, text_of(file).with_context(|| format!("cannot read {shown}"))?))
}

fn text_of(source: impl std::io::Read) -> std::io::Result<String> {
    let mut text = String::new();
    source.take(LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> WorldFile {
        serde_json::from_value(json!({
            "applications": [{"name": "wiki", "hosts": ["https://wiki.example.com"], "upstreams": ["http://10.0.0.7:3000"], "labels": {"a": "b"}}],
            "policies": [{"resource": "app wiki", "bindings": [
                {"role": "roles/iap.httpsResourceAccessor", "members": ["group:staff@example.com"]},
                {"role": "roles/iap.httpsResourceAccessor", "members": ["domain:example.com"], "condition": "request.path == \"/a'b\""},
                {"role": "roles/viewer", "members": ["user:a@example.com"], "condition": {"expression": "true", "title": "yes"}},
            ]}],
            "settings": [{"resource": "web", "access_settings": {"cors_settings": {"allow_http_options": true}, "oauth_settings": {"programmatic_clients": []}}}],
            "groups": [],
        }))
        .unwrap()
    }

    #[test]
    fn a_world_is_the_same_after_it_was_written_and_read_in_every_format() {
        for format in [Format::Toml, Format::Yaml, Format::Json] {
            let text = format.write(&world()).unwrap();
            assert_eq!(format.read::<WorldFile>(&text).unwrap(), world(), "{text}");
        }
    }

    #[test]
    fn a_mistake_is_named_with_its_line_in_every_format() {
        #[rustfmt::skip]
        let cases = [
            ("w.toml", "[[groups]]\nemail = 'a@example.com'\nmember = []\n",          "line 3"),
            ("w.yaml", "groups:\n- email: a@example.com\n  member: []\n",             "line 3"),
            ("w.json", "{\"groups\": [\n{\"email\": \"a\",\n\"member\": []}]}", "line 3"),
        ];
        let dir = tempfile::tempdir().unwrap();
        for (name, text, place) in cases {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            let message = format!("{:#}", read::<WorldFile>(&path).unwrap_err());
            assert!(message.contains(place) && message.contains("member"), "{name}: {message}");
        }
    }

    #[test]
    fn every_entry_that_is_wrong_is_named_and_the_first_with_its_line() {
        #[rustfmt::skip]
        let cases = [
            ("w.toml", "[[groups]]\nemial = 'a@example.com'\n[[policies]]\nresource = 'web'\nbindings = 3\n[[settings]]\nresource = 'foo'\n", "line 2"),
            ("w.yaml", "groups:\n- emial: a@example.com\npolicies:\n- resource: web\n  bindings: 3\nsettings:\n- resource: foo\n",      "line 2"),
        ];
        let dir = tempfile::tempdir().unwrap();
        for (name, text, line) in cases {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            let message = Input { path }.read_world().unwrap_err().to_string();
            let told = [line, "3 mistakes", "groups, entry 1: unknown field `emial`", "policies, entry 1 (web)"];
            for told in told.into_iter().chain(["settings, entry 1 (foo): \"foo\" names no resource"]) {
                assert!(message.contains(told), "{name}: {told} is not in {message}");
            }
        }
        assert_eq!(mistakes(&json!({"group": [], "roles": 3})).len(), 2);
    }

    #[test]
    fn a_file_of_another_name_or_none_is_refused_with_the_next_step() {
        #[rustfmt::skip]
        let cases = [
            ("/nowhere/w.toml", "cannot read /nowhere/w.toml"),
            ("/nowhere/w",      "its name must end with .toml, .yaml, .yml or .json"),
            ("w.txt",           "its name must end with .toml, .yaml, .yml or .json"),
        ];
        for (path, expected) in cases {
            let message = read::<WorldFile>(Path::new(path)).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
