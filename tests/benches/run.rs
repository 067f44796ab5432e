//! What `doorward run` adds to the program that it runs: `cargo xtask bench`.
//!
//! Wall time of `doorward run -- true` by the binary of the profile `dist` (`DOORWARD_BIN`), with a new directory and with one
//! that was there; beside it, in the same round, that of `true` alone.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use doorward_tests::{doorward, run};

const ROUNDS: usize = 11;

/// What it may add, at most.
const LIMIT: Duration = Duration::from_millis(1500);

fn main() {
    // `cargo test --benches` runs this too, and asks for nothing.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let (mut first, mut later, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let dir = folder.path().join("state");
        first.push(took(&mut within(&dir)));
        later.push(took(&mut within(&dir)));
        alone.push(took(&mut Command::new("true")));
        eprintln!("round {round} of {ROUNDS}");
    }
    println!("Milliseconds of `true`, median of {ROUNDS} rounds [min-max]");
    println!("  doorward run, new directory  {}", summary(&mut first));
    println!("  doorward run, later          {}", summary(&mut later));
    println!("  alone                        {}", summary(&mut alone));
    let limit = LIMIT.as_millis();
    println!("What `doorward run` adds, median against median, and its limit");
    println!("  new directory                {:.0}, limit {limit}", added(&first, &alone));
    println!("  later                        {:.0}, limit {limit}", added(&later, &alone));
}

fn within(dir: &Path) -> Command {
    let mut command = doorward();
    command.args(["run", "--dir"]).arg(dir).args(["--", "true"]);
    command
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the time itself")]
fn took(command: &mut Command) -> Duration {
    let start = std::time::Instant::now();
    let finished = run(command);
    let took = start.elapsed();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    took
}

fn summary(times: &mut [Duration]) -> String {
    times.sort();
    format!("{:.0} [{:.0}-{:.0}]", millis(median(times)), millis(times[0]), millis(times[times.len() - 1]))
}

/// Of sorted times.
fn added(times: &[Duration], alone: &[Duration]) -> f64 {
    millis(median(times)) - millis(median(alone))
}

fn median(sorted: &[Duration]) -> Duration {
    sorted[sorted.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
