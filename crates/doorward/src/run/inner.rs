//! Process 1 of the program's process namespace: starts the program, passes signals on to it, buries what it leaves, and ends with
//! it. With process 1 the kernel ends whatever else is in the namespace.
//!
//! It catches no signal: those of the terminal reach the program by themselves, and process 1 is deaf to what it does not catch.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::Command;

use anyhow::{Context as _, bail};
use rustix::io::Errno;
use rustix::mount::MountFlags;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use super::privilege;
use crate::output::say;

/// Where process 1 finds the thread that started it. The name means something in the program's network alone, and only until the
/// program starts.
const CONTROL: &[u8] = b"doorward-run";

/// What is said on the control connection when the program may start. Afterwards come numbers of signals, of the same size.
pub(super) const GO: [u8; 4] = [0; 4];

/// Exit codes of `env` and shells.
const CANNOT_BE_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;
const KILLED: i32 = 128 + 9;

/// The address of the control connection.
pub(super) fn control_address() -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(CONTROL)
}

/// Runs the program to its end, and gives its exit code.
pub(crate) fn run(command: &[OsString]) -> anyhow::Result<u8> {
    if !rustix::process::getpid().is_init() {
        bail!("run-inner is a part of `doorward run`, which starts it: use that");
    }
    // First of all: nobody else would end this namespace.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).context("cannot be tied to doorward's end")?;
    let control = control_address().and_then(|address| UnixStream::connect_addr(&address));
    let mut control = control.context("doorward is gone")?;
    show_own_processes();
    privilege::keep_mounting_to_ourselves().context("cannot give a capability up")?;

    let mut go = GO;
    control.read_exact(&mut go).context("doorward is gone")?;
    let (program, arguments) = command.split_first().context("there is no program to run")?;
    let child = match Command::new(program).args(arguments).spawn() {
        Ok(child) => child,
        Err(error) => {
            say(&format!("doorward: cannot run {}: {error}", program.to_string_lossy()));
            return Ok(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_BE_RUN });
        }
    };
    let program = Pid::from_child(&child);
    std::thread::Builder::new().spawn(move || pass_on(control, program)).context("cannot start a thread")?;
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if ended == program => return Ok(exit_code(status)),
            // An orphan, or a signal while waiting.
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => bail!("cannot wait for the program: {error}"),
        }
    }
}

/// Shows this namespace's processes in /proc. Containers may forbid it: the machine's stay in sight then, and nothing else is
/// different.
fn show_own_processes() {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let _ = rustix::mount::mount("proc", "/proc", "proc", flags, None);
}

/// Sends the program what comes, until the other end is gone, which is the end of everything.
fn pass_on(mut control: UnixStream, program: Pid) {
    let mut number = [0; 4];
    while control.read_exact(&mut number).is_ok() {
        if let Some(signal) = Signal::from_named_raw(i32::from_ne_bytes(number)) {
            // It may have ended just now; process 1 then ends as well.
            let _ = rustix::process::kill_process(program, signal);
        }
    }
    std::process::exit(KILLED);
}

fn exit_code(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
