//! `doorward serve`: in production, what a file says.

use std::path::PathBuf;
use std::sync::Arc;

use doorward_core::clock::SystemClock;
use doorward_core::entropy::SystemEntropy;
use doorward_server::config::Config;
use doorward_server::serve;
use tokio::signal::unix::{SignalKind, signal};

use super::check;
use crate::output::say;

/// Serve the applications of a file, in production: none of what `doorward dev` makes
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Before the first start, `doorward init` makes the database, its key file and the first administrator. SIGTERM and Ctrl-C let requests end
first; SIGHUP reads the applications of the file again.

Example:
  doorward check doorward.toml
  doorward init --config doorward.toml --admin user:you@example.com
  doorward serve --config doorward.toml")]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print a line of JSON when everything serves, and one for each SIGHUP
    #[arg(long)]
    json: bool,
}

/// The file of the server.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    /// The server's file
    #[arg(long, value_name = "FILE", default_value = "doorward.toml")]
    config: PathBuf,
}

impl ConfigArgs {
    /// Reads it; what is wrong with it is told, each mistake on a line.
    pub(super) fn read(&self) -> anyhow::Result<Config> {
        check::read(&self.config)
    }
}

/// Serves until it is told to stop.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    super::log_warnings();
    // The data plane has runtimes of its own; this one is for everything else.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(serve(args));
    runtime.shutdown_background();
    ended
}

async fn serve(args: Args) -> anyhow::Result<()> {
    // Taken first, so that a signal ends it in the same way at every moment.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let config = args.config.read()?;
    let ready = Ready { api_url: config.api_url.clone(), api: config.api.address, apps: config.apps.address };
    let server = tokio::select! {
        server = serve::start(config, Arc::new(SystemEntropy), Arc::new(SystemClock)) => server?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    match args.json {
        true => crate::output::print(&crate::output::json_line(&ready)?)?,
        false => {
            say(&format!("serving: the API at {}, the applications at {}; {}", ready.api, ready.apps, ready.api_url))
        }
    }
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(&args, &server).await?,
        }
    }
    tokio::select! {
        () = server.stop() => {
            if !args.json {
                say("stopped");
            }
            Ok(())
        }
        // Whoever asks twice does not want to wait for requests to end.
        _ = interrupt.recv() => anyhow::bail!("stopped at once; requests that had begun were cut off"),
    }
}

/// Takes the applications from the file again. A file that is wrong changes nothing, and the server goes on.
async fn reload(args: &Args, server: &serve::Server) -> anyhow::Result<()> {
    let taken = match args.config.read() {
        Ok(config) => server.reload(&config).await.map_err(anyhow::Error::from),
        Err(error) => Err(error),
    };
    let error = taken.err().map(|error| format!("{error:#}"));
    match &error {
        None => say("the applications are as the file says; what else was changed in it holds from the next start"),
        Some(error) => say(&format!("the file was not taken: {error}")),
    }
    if args.json {
        let taken = Reloaded { reloaded: error.is_none(), error };
        crate::output::print(&crate::output::json_line(&taken)?)?;
    }
    Ok(())
}

/// What came of a file that was read again.
#[derive(Debug, serde::Serialize)]
struct Reloaded {
    reloaded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What is said when everything serves.
#[derive(Debug, serde::Serialize)]
struct Ready {
    api_url: String,
    api: std::net::SocketAddr,
    apps: std::net::SocketAddr,
}
