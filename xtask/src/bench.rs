//! `cargo xtask bench`: builds what is shipped and measures it. The measuring is in `tests/benches/proxy.rs`.

use std::process::ExitCode;

use crate::run::{announce, command, succeeds, target};

/// Builds the binary of the profile `dist` and runs the benchmark on it.
pub(crate) fn run() -> ExitCode {
    announce("The binary as it is shipped");
    if !succeeds(&mut command(&["cargo", "build", "--profile", "dist", "--package", "doorward"])) {
        return ExitCode::FAILURE;
    }
    announce("Measuring");
    let mut bench = command(&["cargo", "bench", "--quiet", "--package", "doorward-tests", "--bench", "proxy"]);
    let succeeded = succeeds(bench.env("DOORWARD_BIN", target().join("dist/doorward")));
    if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
