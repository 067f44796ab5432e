//! `cargo xtask bench`: builds what is shipped and measures it. The measuring is in `tests/benches/`.

use std::process::ExitCode;

use crate::run::{announce, command, succeeds, target};

/// Builds the binary of the profile `dist` and runs the benchmark on it.
pub(crate) fn run() -> ExitCode {
    announce("The binary as it is shipped");
    if !succeeds(&mut command(&["cargo", "build", "--profile", "dist", "--package", "doorward"])) {
        return ExitCode::FAILURE;
    }
    let mut all = true;
    let benches = [
        ("doorward-tests", "tokens"),
        ("doorward-tests", "proxy"),
        ("doorward-tests", "run"),
        ("doorward-tests", "change"),
        ("doorward-client", "hot_path"),
        ("doorward-core", "decide"),
    ];
    for (package, bench) in benches {
        announce(&format!("Measuring: {bench}"));
        // The same profile, so that the library that is compared with is compiled in the same way.
        let words = ["cargo", "bench", "--quiet", "--profile", "dist", "--package", package, "--bench", bench];
        all &= succeeds(command(&words).env("DOORWARD_BIN", target().join("dist/doorward")));
    }
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
