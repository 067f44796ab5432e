//! `doorward run`: a program that finds a Doorward under Google's own names.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::output::say;

/// Run a program for which Google's own names lead to a Doorward, with nothing configured in it
///
/// The program, and whatever it starts, is in a network of its own, which has no way out: Google's names, the metadata server and the
/// applications of `doorward dev` are in it, and trusted. $DOORWARD_DEV_JSON names their description. The application of --to and the
/// state stay outside. When the program ends, so does whatever it left running, and the machine is as it was.
///
/// Linux only. Without root it takes user namespaces. The exit code is the program's; 125 if doorward itself failed, 126 if the program
/// cannot be run, 127 if it is not there, and 128 and the number of a signal that ended it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward run -- gcloud auth print-identity-token
  doorward run --to http://127.0.0.1:3000 -- sh -c './setup && ./tests'")]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux has what they are for"))]
pub(crate) struct Args {
    /// The application to protect, as http://HOST:PORT or https://HOST:PORT; without it, a built-in one that shows what arrives
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Where state is kept
    #[arg(long, value_name = "DIR", default_value = ".doorward")]
    dir: PathBuf,
    /// A list of other issuers whose ID tokens are callers: a TOML file of [[trusted_issuer]] tables
    #[arg(long, value_name = "FILE")]
    trusted_issuers: Option<PathBuf>,
    /// Serve the keys of the signed header outside too, for the application of --to: at this address of the machine, such as
    /// 127.0.0.1:8081
    #[arg(long, value_name = "ADDRESS:PORT")]
    keys_listen: Option<SocketAddr>,
    /// Print on standard error where everything is, before the program starts
    #[arg(long, short)]
    verbose: bool,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What `doorward run` starts to start the program: the first process of its own process namespace
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward run -- true      # starts `doorward run-inner -- true`; nobody else can")]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux has what they are for"))]
pub(crate) struct InnerArgs {
    /// The program and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// The exit code of a failure of our own, as `env`, `timeout` and their kin have it.
const FAILED: u8 = 125;

/// Runs the program to its end. Called before there is a second thread: see [`crate::run`].
#[cfg(target_os = "linux")]
pub(crate) fn run(args: Args) -> ExitCode {
    super::log_warnings();
    ended(crate::run::run(crate::run::Wanted {
        to: args.to,
        directory: args.dir,
        trusted_issuers: args.trusted_issuers,
        keys_listen: args.keys_listen,
        verbose: args.verbose,
        command: args.command,
    }))
}

/// The first process of the program's namespace.
#[cfg(target_os = "linux")]
pub(crate) fn run_inner(args: InnerArgs) -> ExitCode {
    ended(crate::run::inner::run(&args.command))
}

#[cfg(target_os = "linux")]
fn ended(ended: anyhow::Result<u8>) -> ExitCode {
    ExitCode::from(ended.unwrap_or_else(|error| {
        say(&format!("doorward: {error:#}"));
        FAILED
    }))
}

/// Says that there is no such thing here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn run(_: Args) -> ExitCode {
    only_linux()
}

#[cfg(not(target_os = "linux"))]
fn only_linux() -> ExitCode {
    say(
        "doorward: `doorward run` needs Linux: on this system use `doorward dev` and the endpoint settings of the guide, or a Linux \
         container",
    );
    ExitCode::from(FAILED)
}

/// Says that there is no such thing here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn run_inner(_: InnerArgs) -> ExitCode {
    only_linux()
}
