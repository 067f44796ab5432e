//! Programs that are started, read line by line and ended.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;

use crate::PATIENCE;

/// A running program. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

/// What came of a program that ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output and was not read yet.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

/// Runs a program to its end, without input.
pub fn run(command: &mut Command) -> Finished {
    Process::start(command).finish()
}

impl Process {
    /// Starts a program without input.
    pub fn start(command: &mut Command) -> Self {
        Self::with_stdin(command, Stdio::null())
    }

    /// Starts a program and gives it `input`.
    pub fn start_with_input(command: &mut Command, input: &str) -> Self {
        let mut process = Self::with_stdin(command, Stdio::piped());
        let mut stdin = process.child.stdin.take().expect("standard input is piped");
        stdin.write_all(input.as_bytes()).expect("the program reads its input");
        process
    }

    /// Starts a program that is told by [`tell`](Self::tell) what comes next.
    pub fn start_listening(command: &mut Command) -> Self {
        Self::with_stdin(command, Stdio::piped())
    }

    /// Writes to the standard input of a program that listens. One that ended is known by the line that does not come.
    pub fn tell(&self, input: &str) {
        let mut stdin = self.child.stdin.as_ref().expect("the program listens");
        let _ = stdin.write_all(input.as_bytes());
    }

    /// Everything that a program which closed standard output wrote to standard error.
    pub fn errors(&self) -> String {
        self.stderr.recv_timeout(PATIENCE).expect("the program closes standard error")
    }

    fn with_stdin(command: &mut Command, stdin: Stdio) -> Self {
        let spawned = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = child.stdout.take().expect("standard output is piped");
        let stderr = child.stderr.take().expect("standard error is piped");
        let (lines, stdout_lines) = channel();
        thread::spawn(move || send_lines(stdout, &lines));
        let (text, stderr_text) = channel();
        thread::spawn(move || send_all(stderr, &text));
        Process { child, stdout: stdout_lines, stderr: stderr_text }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line of standard output, without its end; `None` when the program closed it.
    pub fn next_line(&self) -> Option<String> {
        self.next_piece().map(|piece| piece.strip_suffix('\n').map(str::to_owned).unwrap_or(piece))
    }

    /// The next line with its end, or what stands after the last.
    fn next_piece(&self) -> Option<String> {
        match self.stdout.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no line within {PATIENCE:?}"),
        }
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.id());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("a shell is there");
        assert!(status.success(), "{kill}");
    }

    /// Waits for the end of the program.
    pub fn finish(mut self) -> Finished {
        let mut stdout = String::new();
        while let Some(piece) = self.next_piece() {
            stdout += &piece;
        }
        let stderr = self.errors();
        let status = self.child.wait().expect("the program can be waited for");
        Finished { code: status.code(), stdout, stderr }
    }

    /// Ends the program at once, as `kill -9` does.
    pub fn kill(mut self) -> Finished {
        self.end();
        self.finish()
    }

    fn end(&mut self) {
        // Either fails only if the program was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn send_lines(from: impl Read, to: &Sender<String>) {
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        if to.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
            return;
        }
        line.clear();
    }
}

fn send_all(mut from: impl Read, to: &Sender<String>) {
    let mut bytes = Vec::new();
    // What was read before a failure is what there is to show; a test that has ended does not look any more.
    let _ = from.read_to_end(&mut bytes);
    let _ = to.send(String::from_utf8_lossy(&bytes).into_owned());
}
