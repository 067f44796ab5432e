//! The `doorward` command line.

mod api;
mod commands;
mod output;
mod world;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use crate::commands::Cli;
use crate::output::{PrintError, printable};

fn main() -> ExitCode {
    // What a person must know of failures that are ours; standard output belongs to what was asked for.
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has what it wanted: `doorward decisions | head` did not fail.
        Err(error) if matches!(error.downcast_ref(), Some(PrintError::ReaderGone)) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody left to tell if this fails.
            let _ = writeln!(std::io::stderr(), "doorward: {}", printable(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}
