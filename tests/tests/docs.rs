//! What the documentation shows is what happens.
//!
//! A block that is fenced with the word `console` holds commands, each on a line that begins with `$ `. Every one is run, in
//! the order of its file, in the directory of a running `doorward dev`; a block fenced with `text` is only looked at by people.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use doorward_core::audit::Reason;
use doorward_tests::{Dev, doorward, run};

/// Commands that are shown and not run here, with the reason.
const EXCEPTIONS: [(&str, &str); 2] = [
    ("cargo run --release -- dev", "every scenario starts it; here it is running already"),
    ("cargo xtask", "runs this test"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The commands of a page, continued lines joined.
fn commands(page: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let (mut shown, mut continued) = (false, false);
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            shown = line.trim() == "```console";
            continued = false;
        } else if shown && continued {
            let last = commands.last_mut().expect("a continued command");
            *last += "\n";
            *last += line;
            continued = line.ends_with('\\');
        } else if let Some(command) = line.trim_start().strip_prefix("$ ").filter(|_| shown) {
            commands.push(command.to_owned());
            continued = command.ends_with('\\');
        }
    }
    commands
}

fn pages(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            found.extend(pages(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "md") {
            found.push(entry);
        }
    }
    found.sort();
    found
}

#[test]
fn commands_are_found_in_console_blocks_only() {
    let page =
        "```console\n$ a b \\\n    c\nits output\n$ d\n```\n\n```text\n$ e\n```\n\n    $ f\n```console\n# g\n```\n";
    assert_eq!(commands(page), ["a b \\\n    c", "d"]);
}

#[test]
fn every_reason_has_its_line_in_the_book() {
    let page = fs::read_to_string(root().join("docs/reference/reasons.md")).expect("the page of reasons");
    for reason in Reason::ALL {
        let code = reason.code();
        assert!(page.lines().any(|line| line.starts_with(&format!("| `{code}` |"))), "{code} is not explained");
    }
}

mod needs_curl {
    use super::*;

    #[test]
    fn every_command_of_the_documentation_works() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        // Commands without --dir look here.
        let dev = Dev::start_in(&dir.path().join(".doorward"), &[]);
        let binary = doorward().get_program().to_string_lossy().into_owned();
        let here = |command: &str| {
            let command =
                command.replace("cargo run --release -- ", "doorward ").replace("target/release/doorward", "doorward");
            let addresses = [("8080", "/app/url"), ("8081", "/api_url"), ("8082", "/other_app/url")];
            addresses.into_iter().fold(command, |command, (port, pointer)| {
                command.replace(&format!("http://127.0.0.1:{port}"), dev.text(pointer))
            })
        };
        let mut pages = pages(&root().join("docs"));
        pages.insert(0, root().join("README.md"));
        let (mut run_here, mut excepted) = (0, Vec::new());
        for page in pages {
            let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
            for command in commands(&text) {
                if let Some((start, _)) = EXCEPTIONS.iter().find(|(start, _)| command.starts_with(start)) {
                    excepted.push(*start);
                    continue;
                }
                let script = format!("doorward() {{ '{binary}' \"$@\"; }}\n{}", here(&command));
                let finished = run(Command::new("sh").args(["-ec", &script]).current_dir(&dir));
                assert_eq!(finished.code, Some(0), "{}: {command}\n{}", page.display(), finished.stderr);
                run_here += 1;
            }
        }
        assert!(run_here > 0, "the documentation shows no command that can be run here");
        for (start, _) in EXCEPTIONS {
            assert!(excepted.contains(&start), "{start} is shown nowhere any more");
        }
    }
}
