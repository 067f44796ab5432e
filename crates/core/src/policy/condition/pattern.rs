//! The regular expressions of `matches`.

use cel::ExecutionError;
use regex::{Regex, RegexBuilder};

/// The longest pattern, in bytes.
const BYTES_LIMIT: usize = 512;

/// What a compiled pattern may take, in bytes: bounds `((a{100}){100}){100}`, and the work for each byte of a text.
const COMPILED_LIMIT: usize = 256 * 1024;

/// A compiled pattern, in the syntax of RE2: `\d`, `\s`, `\w` and `\b` know ASCII only.
///
/// Spec: <https://github.com/google/re2/wiki/Syntax>
#[derive(Debug, Clone)]
pub(super) struct Pattern(Regex);

impl Pattern {
    /// Compiles a pattern. The error is one line, and quotes nothing.
    pub(super) fn compile(pattern: &str) -> Result<Pattern, String> {
        if pattern.len() > BYTES_LIMIT {
            return Err(format!("a pattern may have {BYTES_LIMIT} bytes"));
        }
        let compiled =
            RegexBuilder::new(&ascii(pattern)).size_limit(COMPILED_LIMIT).dfa_size_limit(COMPILED_LIMIT).build();
        compiled.map(Pattern).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "a pattern is too large".to_owned(),
            other => {
                let text = other.to_string();
                let last = text.lines().last().unwrap_or_default();
                format!("a pattern is not valid: {}", last.trim_start_matches("error: "))
            }
        })
    }

    /// Whether the pattern is found anywhere in the text.
    pub(super) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

/// What `matches` fails with for a pattern that was computed.
pub(super) fn not_valid(_: String) -> ExecutionError {
    ExecutionError::function_error("matches", "")
}

/// Writes the classes of letters out, since this library's know Unicode: `\d` must not take the digits of other scripts.
/// The brackets are right within a class too, where they make a union.
fn ascii(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('d') => out.push_str("[0-9]"),
            Some('D') => out.push_str("[^0-9]"),
            Some('s') => out.push_str(r"[\t\n\f\r ]"),
            Some('S') => out.push_str(r"[^\t\n\f\r ]"),
            Some('w') => out.push_str("[0-9A-Za-z_]"),
            Some('W') => out.push_str("[^0-9A-Za-z_]"),
            Some('b') => out.push_str(r"(?-u:\b)"),
            other => {
                out.push('\\');
                out.extend(other);
            }
        }
    }
    out
}
