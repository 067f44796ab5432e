//! What the documentation shows is what happens.
//!
//! A block that is fenced with the word `console` holds commands, each on a line that begins with `$ `. Every one is run, in
//! the order of its file and in one shell for each file, in the directory of a running `doorward dev --tls`; a block fenced with
//! `text` is only looked at by people.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use doorward_core::audit::{Reason, TokenReason};
use doorward_core::keys::KeyPurpose;
use doorward_tests::{Dev, client_script, doorward, node, python, run};

/// Commands that are shown and not run here, with the reason.
const EXCEPTIONS: [(&str, &str); 2] = [
    ("cargo run --release -- dev", "every scenario starts it; here it is running already"),
    ("cargo xtask", "runs this test"),
];

/// The page whose commands are run in the directory of a `doorward serve`, by `serve.rs`.
const OF_PRODUCTION: &str = "docs/guide/run-in-production.md";

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

/// The files of a folder, and of those in it, whose names end so.
fn files(dir: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            found.extend(files(&entry, end));
        } else if entry.extension().is_some_and(|extension| extension == end) {
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

/// The heading of the part that explains refusals of tokens. Some codes are in both lists, and mean two things.
const TOKEN_REASONS: &str = "\n## Token endpoints\n";

/// The page of reasons: the part about applications, and the part about tokens.
fn reasons() -> (String, String) {
    let page = fs::read_to_string(root().join("docs/reference/reasons.md")).expect("the page of reasons");
    let (before, rest) = page.split_once(TOKEN_REASONS).expect("the part about tokens");
    let (tokens, after) = rest.split_at(rest.find("\n## ").unwrap_or(rest.len()));
    (format!("{before}{after}"), tokens.to_owned())
}

/// The codes that the first column of a part's tables explains, each once for each of its rows.
fn explained(part: &str) -> Vec<&str> {
    part.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |")).map(|(code, _)| code).collect()
}

/// Each code has one row in its part of the page, and what looks like a code is one.
fn each_has_one_row<'a>(part: &str, codes: impl Iterator<Item = &'a str>) {
    let is_code = |cell: &&str| cell.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let mut rows: Vec<&str> = explained(part).into_iter().filter(is_code).collect();
    let mut codes: Vec<&str> = codes.collect();
    rows.sort_unstable();
    codes.sort_unstable();
    assert_eq!(rows, codes);
}

#[test]
fn every_reason_of_the_proxy_has_its_row_in_the_book() {
    each_has_one_row(&reasons().0, Reason::ALL.into_iter().map(Reason::code));
}

#[test]
fn every_reason_of_the_token_endpoints_has_its_row_in_a_part_of_its_own() {
    each_has_one_row(&reasons().1, TokenReason::ALL.into_iter().map(TokenReason::code));
}

#[test]
fn every_purpose_of_a_key_is_explained_in_the_book() {
    let page = fs::read_to_string(root().join("docs/reference/command-line.md")).expect("the page of commands");
    for purpose in KeyPurpose::ALL {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{}` | ", purpose.name())));
        let row = row.unwrap_or_else(|| panic!("{} has no row", purpose.name()));
        assert_eq!(row.contains("never replaced"), !purpose.is_replaceable(), "{row}");
    }
}

#[test]
fn every_test_that_keeps_a_promise_of_the_page_on_security_is_there() {
    let page = fs::read_to_string(root().join("SECURITY.md")).expect("the page on security");
    let sources: String =
        ["crates", "tests"].iter().flat_map(|folder| files(&root().join(folder), "rs")).map(text_of).collect();
    let is_name = |word: &&str| {
        word.matches('_').count() > 2
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let named: Vec<&str> = page.split('`').filter(is_name).collect();
    assert!(named.len() > 50, "only {} tests are named", named.len());
    for name in named {
        assert!(sources.contains(&format!("fn {name}(")), "there is no test {name}");
    }
}

/// Addresses in the book, and where a description has what they are in a test.
const ADDRESSES: [(&str, &str); 6] = [
    ("http://127.0.0.1:8080", "/app/url"),
    ("http://127.0.0.1:8081", "/api_url"),
    ("http://127.0.0.1:8082", "/other_app/url"),
    ("https://127.0.0.1:8443", "/app/https_url"),
    ("https://127.0.0.1:8444", "/api_https_url"),
    ("127.0.0.1:8099", "/metadata/host"),
];

/// The pages of the book, and the page at its door.
fn book() -> Vec<(PathBuf, String)> {
    let mut paths = files(&root().join("docs"), "md");
    paths.insert(0, root().join("README.md"));
    paths.into_iter().map(|path| (path.clone(), text_of(path))).collect()
}

fn text_of(path: PathBuf) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The exception that a command is, if it is one.
fn exception(command: &str) -> Option<&'static str> {
    EXCEPTIONS.iter().map(|(start, _)| *start).find(|start| command.starts_with(start))
}

/// A command of the book as it is run in a test, where everything is at other addresses.
fn here<'a>(command: &str, address: impl Fn(&'static str) -> &'a str) -> String {
    let command =
        command.replace("cargo run --release -- ", "doorward ").replace("target/release/doorward", "doorward");
    ADDRESSES.into_iter().fold(command, |command, (shown, pointer)| command.replace(shown, address(pointer)))
}

#[test]
fn no_command_that_is_run_reaches_what_serves_at_the_default_ports() {
    assert_eq!(
        here("curl http://127.0.0.1:8080/x 127.0.0.1:8099", |pointer| pointer),
        "curl /app/url/x /metadata/host"
    );
    for (page, text) in book() {
        for command in commands(&text).iter().filter(|command| exception(command).is_none()) {
            let run = here(command, |pointer| pointer);
            let reached = ["8080", "8081", "8082", "8099", "8443", "8444", "8445"].map(|port| format!(":{port}"));
            assert!(!reached.iter().any(|port| run.contains(port)), "{}: {command}", page.display());
        }
    }
}

/// The blocks of a page that are fenced with this word, one after the other.
fn samples(page: &str, word: &str) -> String {
    let fence = format!("```{word}");
    let mut shown = false;
    let mut code = String::new();
    for line in page.lines() {
        if line.starts_with("```") {
            shown = line == fence;
        } else if shown {
            code.push_str(line);
            code.push('\n');
        }
    }
    code
}

/// Runs the samples of a page, in the directory of a server and with its metadata server. They call as robot and print the answer.
fn samples_get_in(page: &str, word: &str, mut program: Command) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dev = Dev::start_in(&dir.path().join(".doorward"), &[]);
    let text = fs::read_to_string(root().join(page)).expect("a page of the book");
    let code = samples(&text, word);
    assert!(!code.is_empty(), "{page} has no sample in {word}");
    let script = dir.path().join("sample");
    fs::write(&script, code).expect("the sample is written");
    let host = dev.text("/metadata/host");
    program.arg(script).current_dir(&dir).env("GCE_METADATA_HOST", host).env("GCE_METADATA_IP", host);
    program
        .env("CLOUDSDK_CONFIG", dir.path())
        .env("no_proxy", "127.0.0.1")
        .env_remove("GOOGLE_APPLICATION_CREDENTIALS");
    let finished = run(&mut program);
    assert_eq!(finished.code, Some(0), "{page}: {}\n{}", finished.stdout, finished.stderr);
    assert!(finished.stdout.contains(dev.text("/service_accounts/robot/email")), "{page}: {}", finished.stdout);
}

mod needs_python {
    use super::*;

    #[test]
    fn the_python_samples_of_the_book_get_in() {
        for page in ["docs/guide/let-a-program-in.md", "docs/guide/run-without-a-key.md"] {
            samples_get_in(page, "python", python());
        }
    }

    mod needs_jq_openssl_curl {
        use super::*;

        #[test]
        fn the_python_sample_of_a_pipeline_gets_in_as_the_account_with_what_the_commands_before_it_made() {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let dev = Dev::start_in(&dir.path().join(".doorward"), &["--tls"]);
            let page = fs::read_to_string(root().join("docs/guide/let-a-workload-in.md")).expect("a page of the book");
            let (before, _) =
                page.split_once("\n### When it is no longer needed\n").expect("the end of the guide's pipeline");
            let mut shell = Command::new("sh");
            shell.args(["-ec", &script(&dev, &commands(before))]).current_dir(&dir);
            let finished = run(&mut shell);
            assert_eq!(finished.code, Some(0), "{}\n{}", finished.stdout, finished.stderr);
            let sample = dir.path().join("sample");
            fs::write(&sample, samples(&page, "python")).expect("the sample is written");
            let mut program = python();
            program.arg(sample).current_dir(&dir).env("GOOGLE_APPLICATION_CREDENTIALS", "credentials.json");
            program.env("NO_GCE_CHECK", "true").env("CLOUDSDK_CONFIG", dir.path()).env("no_proxy", "127.0.0.1");
            let finished = run(&mut program);
            assert_eq!(finished.code, Some(0), "{}\n{}", finished.stdout, finished.stderr);
            assert!(finished.stdout.contains(dev.text("/service_accounts/target/email")), "{}", finished.stdout);
        }
    }
}

mod needs_node {
    use super::*;

    #[test]
    fn the_node_samples_of_the_book_get_in() {
        samples_get_in("docs/guide/run-without-a-key.md", "js", node());
    }
}

/// The commands of a page as one script, which says on standard error which of them it comes to.
fn script(dev: &Dev, commands: &[String]) -> String {
    let binary = doorward().get_program().to_string_lossy().into_owned();
    let mut script = format!("doorward() {{ '{binary}' \"$@\"; }}\n");
    for (number, command) in commands.iter().enumerate() {
        let command = here(command, |pointer| dev.text(pointer));
        script += &format!("echo 'command {number}' >&2\n{command}\n");
    }
    script
}

mod needs_jq_openssl_curl_namespaces {
    use super::*;

    #[test]
    fn every_command_of_the_documentation_works() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        // Commands without --dir look here.
        let dev = Dev::start_in(&dir.path().join(".doorward"), &["--tls"]);
        let browser = format!("sh {}", client_script("browser.sh").display());
        let (mut run_here, mut excepted) = (0, Vec::new());
        for (page, text) in book().into_iter().filter(|(page, _)| !page.ends_with(OF_PRODUCTION)) {
            let (shown, commands): (Vec<_>, Vec<_>) =
                commands(&text).into_iter().partition(|command| exception(command).is_some());
            excepted.extend(shown.iter().filter_map(|command| exception(command)));
            let mut shell = Command::new("sh");
            shell.args(["-ec", &script(&dev, &commands)]).current_dir(&dir);
            // Alice's, in which she is signed in.
            shell.env("BROWSER", &browser).env("BROWSER_COOKIE", dev.person("alice@example.com").cookie());
            shell.env("DOORWARD_CONFIG", dir.path().join("config")).env("DOORWARD_KEYRING", "off");
            let finished = run(&mut shell);
            if finished.code != Some(0) {
                let reached =
                    finished.stderr.lines().rev().find_map(|line| line.strip_prefix("command ")?.parse().ok());
                let command = reached.and_then(|number: usize| commands.get(number));
                panic!("{}: {command:?}\n{}\n{}", page.display(), finished.stdout, finished.stderr);
            }
            run_here += commands.len();
        }
        assert!(run_here > 0, "the documentation shows no command that can be run here");
        for (start, _) in EXCEPTIONS {
            assert!(excepted.contains(&start), "{start} is shown nowhere any more");
        }
    }
}
