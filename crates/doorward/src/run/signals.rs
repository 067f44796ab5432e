//! Signals that reach `doorward run` and are meant for the program.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustix::process::Signal;
use tokio::signal::unix::{Signal as Caught, SignalKind, signal};

/// What is passed on. The terminal sends some of them to every process in front of it, and so to the program itself.
const PASSED_ON: [(Signal, FromTerminal); 8] = [
    (Signal::HUP, FromTerminal::No),
    (Signal::INT, FromTerminal::Maybe),
    (Signal::QUIT, FromTerminal::Maybe),
    (Signal::TERM, FromTerminal::No),
    (Signal::USR1, FromTerminal::No),
    (Signal::USR2, FromTerminal::No),
    (Signal::CONT, FromTerminal::No),
    (Signal::WINCH, FromTerminal::Maybe),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FromTerminal {
    /// Whoever sent it meant us.
    No,
    /// A key may have sent it.
    Maybe,
}

/// The signals, caught: from now on they do not end this process.
pub(super) struct Signals(Vec<(Signal, FromTerminal, Caught)>);

impl Signals {
    pub(super) fn catch() -> io::Result<Self> {
        let catch =
            |(number, from): (Signal, FromTerminal)| Ok((number, from, signal(SignalKind::from_raw(number.as_raw()))?));
        PASSED_ON.into_iter().map(catch).collect::<io::Result<_>>().map(Signals)
    }

    /// Passes them on to process 1 of the program, for as long as the runtime lives: one byte each, its number.
    pub(super) fn relay_to(self, control: UnixStream) {
        let control = Arc::new(control);
        for (number, from, mut caught) in self.0 {
            let control = control.clone();
            tokio::spawn(async move {
                while caught.recv().await.is_some() {
                    if from == FromTerminal::Maybe && before_the_terminal() {
                        continue;
                    }
                    // If process 1 is gone, so is the program.
                    let _ = (&*control).write_all(&number.as_raw().to_ne_bytes()[..]);
                }
            });
        }
    }
}

/// Whether what a terminal's keys send comes to our process group, to which the program belongs unless it left it.
fn before_the_terminal() -> bool {
    let terminal = File::open("/dev/tty").map_err(drop);
    let foreground = terminal.and_then(|terminal| rustix::termios::tcgetpgrp(terminal).map_err(drop));
    foreground == Ok(rustix::process::getpgrp())
}
