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
