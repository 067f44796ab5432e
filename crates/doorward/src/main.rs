//! The `doorward` command line.

mod account;
mod api;
mod commands;
mod condition;
mod config_folder;
mod credentials;
mod curl_arguments;
mod device;
mod explain;
mod file;
mod iam_policy;
mod id_token;
mod key_file;
mod keyring;
mod loopback;
mod output;
mod person;
#[cfg(target_os = "linux")]
mod run;
mod runtime;
mod sdk;
mod server;
mod sidecar;
mod token_cache;
mod transport;
mod world;

use std::process::ExitCode;

use crate::commands::Cli;
use crate::output::{PrintError, say};

fn main() -> ExitCode {
    match Cli::of_this_process().run() {
        Ok(code) => code,
        // The reader has what it wanted: `doorward decisions | head` did not fail.
        Err(error) if matches!(error.downcast_ref(), Some(PrintError::ReaderGone)) => ExitCode::SUCCESS,
        Err(error) => {
            // Of several lines where a file has several mistakes. None but the first can be taken for one of ours.
            for (number, line) in format!("doorward: {error:#}").lines().enumerate() {
                say(&if number == 0 { line.to_owned() } else { format!("    {line}") });
            }
            ExitCode::FAILURE
        }
    }
}
