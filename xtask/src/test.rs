//! `cargo xtask test`: everything that must hold, on a machine that has nothing but Rust and a C compiler.

use std::process::ExitCode;

use crate::clients;
use crate::run::{announce, command, each_line, succeeds, target};

/// Counts of tests; a step such as formatting counts as one.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
}

/// Runs everything to the end, whatever fails on the way.
pub(crate) fn run(install: bool, require_all: bool) -> ExitCode {
    let mut counts = Counts::default();
    let missing = clients::prepare(install);

    for (what, words) in [
        ("Formatting", &["cargo", "fmt", "--all", "--check"][..]),
        ("Clippy, warnings are errors", &["cargo", "clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    ] {
        announce(what);
        counts.step(succeeds(&mut command(words)));
    }

    announce("The binary that the scenarios run");
    let built = succeeds(&mut command(&["cargo", "build", "--workspace"]));
    counts.step(built);

    announce("Tests and scenarios");
    let mut words = vec!["cargo", "test", "--workspace", "--no-fail-fast"];
    if !missing.modules.is_empty() {
        words.push("--");
        words.extend(missing.modules.iter().flat_map(|module| ["--skip", module]));
    }
    if built {
        let failed_before = counts.failed;
        let mut tests = command(&words);
        let succeeded = each_line(tests.env("DOORWARD_BIN", target().join("debug/doorward")), |line| counts.add(line));
        if !succeeded && counts.failed == failed_before {
            // It did not compile, or a test ended its process: no line told of it.
            counts.failed += 1;
        }
    } else {
        println!("not run: there is no binary");
    }

    if !missing.notices.is_empty() {
        announce("What did not run");
        for notice in &missing.notices {
            println!("{}", notice.text);
            counts.failed += usize::from(require_all && !notice.excused);
        }
    }
    println!("\n{}", counts.line());
    if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Counts {
    fn step(&mut self, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }

    /// Adds what a line of a test program's output tells:
    /// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s`.
    fn add(&mut self, line: &str) {
        let Some((_, result)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else {
            return;
        };
        for part in result.split("; ") {
            let Some((number, what)) = part.split_once(' ') else { continue };
            let Ok(number) = number.parse::<usize>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" | "filtered out" => self.skipped += number,
                _ => {}
            }
        }
    }

    /// The closing line.
    fn line(&self) -> String {
        let Counts { passed, failed, skipped } = self;
        let line = format!("{passed} passed, {failed} failed");
        if *skipped == 0 { line } else { format!("{line}, {skipped} skipped") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_all_test_programs_are_added_and_nothing_else_is() {
        let mut counts = Counts::default();
        for line in [
            "running 3 tests",
            "test a ... ok",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 4 filtered out; finished in 1.25s",
            "9 passed; 9 failed",
            "test result: ",
        ] {
            counts.add(line);
        }
        assert_eq!(counts, Counts { passed: 4, failed: 2, skipped: 5 });
        assert_eq!(counts.line(), "4 passed, 2 failed, 5 skipped");
        assert_eq!(Counts { passed: 7, ..Counts::default() }.line(), "7 passed, 0 failed");
    }
}
