//! A world at Google's own names: `doorward run`, and programs inside it.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::{Finished, Process, doorward};

/// A shell under `doorward run`, and what it is told to start. Killed when dropped.
#[derive(Debug)]
pub struct Names {
    shell: Process,
    folder: TempDir,
    description: Value,
}

impl Names {
    /// Starts one in a new directory, with these flags besides. Its programs have a home without credentials.
    pub fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let home = folder.path().join("home");
        fs::create_dir(&home).expect("a new directory");
        let mut command = doorward();
        command
            .args(["run", "--dir"])
            .arg(folder.path().join("state"))
            .args(flags)
            .args(["--", "sh"])
            .env("CLOUDSDK_CONFIG", home.join("gcloud"))
            .env("HOME", home);
        let shell = Process::start_listening(&mut command);
        let mut names = Names { shell, folder, description: Value::Null };
        let printed = names.run(Command::new("sh").args(["-c", "cat \"$DOORWARD_DEV_JSON\""])).stdout;
        names.description = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error} in {printed}"));
        names
    }

    /// Runs a program inside to its end, without input. Of what is set on it, its words, its variables and its directory count.
    pub fn run(&self, command: &Command) -> Finished {
        self.run_with_input(command, "")
    }

    /// Runs a program inside to its end, and gives it `input`.
    pub fn run_with_input(&self, command: &Command, input: &str) -> Finished {
        let [stdin, stdout, stderr] = ["stdin", "stdout", "stderr"].map(|name| self.folder.path().join(name));
        fs::write(&stdin, input).expect("our own file");
        let mut line = match command.get_current_dir() {
            Some(dir) => format!("(cd {} && exec env", quoted(dir.as_os_str())),
            None => "(exec env".to_owned(),
        };
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => write!(line, " {}={}", quoted(name), quoted(value)),
                None => write!(line, " -u {}", quoted(name)),
            }
            .expect("a string takes everything");
        }
        for word in std::iter::once(command.get_program()).chain(command.get_args()) {
            write!(line, " {}", quoted(word)).expect("a string takes everything");
        }
        let [from, to, errors] = [&stdin, &stdout, &stderr].map(|path| quoted(path.as_os_str()));
        self.shell.tell(&format!("{line}) <{from} >{to} 2>{errors}; echo $?\n"));
        let Some(code) = self.shell.next_line() else {
            panic!("`doorward run` ended, and {command:?} did not run to its end: {}", self.shell.errors());
        };
        let code = code.parse().unwrap_or_else(|error| panic!("{error} in {code}"));
        let [stdout, stderr] = [stdout, stderr].map(|path| text(&path));
        Finished { code: Some(code), stdout, stderr }
    }

    /// What `$DOORWARD_DEV_JSON` describes.
    pub fn description(&self) -> &Value {
        &self.description
    }

    /// A string of the description, by JSON pointer.
    pub fn text(&self, pointer: &str) -> &str {
        let value = self.description.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_else(|| panic!("{pointer} in {}", self.description))
    }

    /// The address of a service account of the description.
    pub fn service_account(&self, name: &str) -> &str {
        self.text(&format!("/service_accounts/{name}/email"))
    }

    /// The key file of a service account of the description.
    pub fn key_file(&self, name: &str) -> &str {
        self.text(&format!("/service_accounts/{name}/key_file"))
    }

    /// A folder that is there until the end, and that the programs inside see too.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join("home")
    }
}

/// A word for a shell.
fn quoted(word: &OsStr) -> String {
    let word = word.to_str().expect("a word of a test is text");
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn text(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{error}: {}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}
