//! What goes to standard output: text that cannot drive a terminal, JSON lines, tables.

use std::io::{self, Write as _};
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use serde::Serialize;

/// Why something was not printed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrintError {
    /// Whoever read our output has gone. Not a failure.
    #[error("the reader of the output has gone")]
    ReaderGone,
    /// The disk is full, or the like.
    #[error("cannot write to standard output")]
    Write(#[source] io::Error),
    /// A value that JSON cannot hold.
    #[error("cannot write the answer as JSON")]
    Json(#[from] serde_json::Error),
}

/// Prints `text`, which ends with a line break unless it is empty, at once.
pub(crate) fn print(text: &str) -> Result<(), PrintError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => PrintError::ReaderGone,
        _ => PrintError::Write(error),
    })
}

/// Tells a person, on standard error, what is going on. Nobody is left to be told if that fails.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{}", printable(line));
}

/// How long somebody waits before they are told that it goes on, and then between one word and the next.
const WORD_EVERY: Duration = Duration::from_secs(3);

/// Waits for something that may be slow, and tells a person meanwhile that it goes on: `still applying the file, for 6 seconds now`.
pub(crate) async fn patiently<T>(what: &str, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut waited = Duration::ZERO;
    loop {
        match tokio::time::timeout(WORD_EVERY, &mut work).await {
            Ok(done) => return done,
            Err(_) => {
                waited += WORD_EVERY;
                say(&format!("still {what}, for {} seconds now", waited.as_secs()));
            }
        }
    }
}

/// `text` on one line: what could drive a terminal or reorder what a person reads is escaped.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if drives_terminals(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// `value` as JSON on one line, with its line break. JSON leaves DEL, C1 and the bidirectional controls raw: they are escaped
/// too, since a program's output is looked at by people.
pub(crate) fn json_line(value: &impl Serialize) -> Result<String, PrintError> {
    let json = serde_json::to_string(value)?;
    let mut out = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        if drives_terminals(c) { out.push_str(&format!("\\u{:04x}", u32::from(c))) } else { out.push(c) }
    }
    out.push('\n');
    Ok(out)
}

/// C0, DEL and C1, line and paragraph separators, and the bidirectional controls. All within 16 bits.
fn drives_terminals(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Rows in aligned columns under a header.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = std::iter::once(header.map(str::to_owned))
        .chain(rows.iter().cloned())
        .map(|row| row.map(|cell| printable(&cell)))
        .collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// What is known of one thing, a line each.
pub(crate) fn lines(known: &[(&str, &str)]) -> String {
    let known = known.iter().filter(|(_, value)| !value.is_empty());
    known.map(|(name, value)| format!("{name:<10} {}\n", printable(value))).collect()
}

/// A path as a POSIX shell takes it.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_only_where_a_shell_would_misread_it() {
        for (path, text) in [
            ("/usr/bin/doorward", "/usr/bin/doorward"),
            ("/my apps/it's", r"'/my apps/it'\''s'"),
            ("$(reboot)", "'$(reboot)'"),
        ] {
            assert_eq!(quoted(Path::new(path)), text);
        }
    }

    #[test]
    fn nothing_that_drives_a_terminal_is_printed_raw() {
        #[rustfmt::skip]
        let cases = [
            ("plain text, é and 名", "plain text, é and 名",        r#""plain text, é and 名""#),
            ("a\r\nb",               r"a\r\nb",                     r#""a\r\nb""#),
            ("\x1b[31m",             r"\u{1b}[31m",                 r#""\u001b[31m""#),
            ("\x7f\u{9b}31m",        r"\u{7f}\u{9b}31m",            r#""\u007f\u009b31m""#),
            ("\u{202e}txt\u{2066}",  r"\u{202e}txt\u{2066}",        r#""\u202etxt\u2066""#),
        ];
        for (text, person, program) in cases {
            assert_eq!(printable(text), person);
            assert_eq!(json_line(&text).unwrap(), format!("{program}\n"));
            assert_eq!(
                serde_json::from_str::<String>(program).unwrap(),
                text,
                "the escapes change nothing for a program"
            );
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_without_blanks() {
        let rows = [["é@example.com".to_owned(), String::new()], ["b".to_owned(), "2\n3".to_owned()]];
        let expected = "EMAIL          NAME\n\
                        é@example.com\n\
                        b              2\\n3\n";
        assert_eq!(table(["EMAIL", "NAME"], &rows), expected);
    }
}
