//! Steps: what is done is said, and what failed is said with the command that does it again.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// `target/`, wherever it is: this executable is `target/PROFILE/xtask`.
pub(crate) fn target() -> PathBuf {
    let this = std::env::current_exe().ok();
    this.as_deref().and_then(|path| path.ancestors().nth(2)).map_or_else(|| root().join("target"), Path::to_owned)
}

/// A command of the workspace's directory.
pub(crate) fn command(words: &[&str]) -> Command {
    let (program, arguments) = words.split_first().unwrap_or((&"true", &[]));
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// Says what is begun.
pub(crate) fn announce(what: &str) {
    println!("\n==> {what}");
}

/// Runs a command with its output as it comes. Gives whether it succeeded; if not, says how to run it again.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    each_line(command, |_| ())
}

/// As [`succeeds`], and shows every line of standard output to `look` too.
pub(crate) fn each_line(command: &mut Command, mut look: impl FnMut(&str)) -> bool {
    let shown = shown(command);
    let mut child = match command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            println!("cannot run `{shown}`: {error}");
            return false;
        }
    };
    for line in
        child.stdout.take().into_iter().flat_map(|stdout| BufReader::new(stdout).split(b'\n')).map_while(Result::ok)
    {
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        look(&line);
    }
    let success = child.wait().is_ok_and(|status| status.success());
    if !success {
        println!("FAILED; to run it again: {shown}");
    }
    // A reader that has gone is no reason to stop.
    let _ = std::io::stdout().flush();
    success
}

/// Whether a command succeeds, with nothing shown.
pub(crate) fn probe(words: &[&str]) -> bool {
    command(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The command as it is typed, with the variables that were set for it.
fn shown(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        let (name, value) = (name.to_string_lossy(), value?.to_string_lossy());
        Some(format!("{name}={}", quoted(&value)))
    });
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| quoted(&word.to_string_lossy()));
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_can_be_typed() {
        let mut command = command(&["cargo", "test", "--", "it's", ""]);
        command.env("BIN", "/a b");
        assert_eq!(shown(&command), r"BIN='/a b' cargo test -- 'it'\''s' ''");
    }

    #[test]
    fn a_command_that_fails_or_is_not_there_is_a_failure() {
        let mut lines = Vec::new();
        assert!(each_line(&mut command(&["printf", "a\\nb"]), |line| lines.push(line.to_owned())));
        assert_eq!(lines, ["a", "b"]);
        assert!(!succeeds(&mut command(&["false"])));
        assert!(!succeeds(&mut command(&["doorward-no-such-program"])));
    }
}
