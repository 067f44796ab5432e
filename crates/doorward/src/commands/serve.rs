//! `doorward serve`: in production, what a file says.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use doorward_core::clock::SystemClock;
use doorward_core::entropy::SystemEntropy;
use doorward_server::config::Config;
use doorward_server::serve::{self, Taken};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::check;
use crate::output::printable;

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
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.config
    }

    /// Reads it; what is wrong with it is told, each mistake on a line.
    pub(super) fn read(&self) -> anyhow::Result<Config> {
        check::read(&self.config)
    }
}

/// Serves until it is told to stop.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    log();
    // The data plane has runtimes of its own; this one is for everything else.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(serve(args));
    runtime.shutdown_background();
    ended
}

/// Everything that is said while it serves is a line of the log, with its time: warnings, and what becomes of the file.
fn log() {
    let levels = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("doorward::commands::serve", LevelFilter::INFO)
        .with_target("doorward_server::serve", LevelFilter::INFO)
        // A database that is away is told of by whoever needed it, not once more for each connection.
        .with_target("sqlx::pool::acquire", LevelFilter::OFF);
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(levels).init();
}

async fn serve(args: Args) -> anyhow::Result<()> {
    // Taken first, so that a signal ends it in the same way at every moment.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let config = args.config.read()?;
    if let Some(warning) = check::other_ports(&config) {
        tracing::warn!("{}", printable(&warning));
    }
    let ready = Ready { api_url: config.api_url.clone(), api: config.api.address, apps: config.apps.address };
    let server = tokio::select! {
        server = serve::start(config, Arc::new(SystemEntropy), Arc::new(SystemClock)) => server?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    match args.json {
        true => crate::output::print(&crate::output::json_line(&ready)?)?,
        false => {
            tracing::info!("serving: the API at {}, the applications at {}; {}", ready.api, ready.apps, ready.api_url);
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
                tracing::info!("stopped");
            }
            Ok(())
        }
        // Whoever asks twice does not want to wait for requests to end.
        _ = interrupt.recv() => anyhow::bail!("stopped at once; requests that had begun were cut off"),
    }
}

/// Takes the applications from the file again. A file that is wrong changes nothing, and the server goes on.
async fn reload(args: &Args, server: &serve::Server) -> anyhow::Result<()> {
    let path = args.config.path();
    let taken = match serve::read(path) {
        Ok(config) => server.reload(&config).await.map_err(|error| error.to_string()),
        Err(mistakes) => {
            for mistake in &mistakes.0 {
                tracing::error!("{}", printable(&mistake.to_string()));
            }
            Err(check::counted(mistakes.0.len(), path))
        }
    };
    match &taken {
        Ok(taken) => tracing::info!("{}", printable(&said(taken))),
        Err(error) => tracing::error!("the file was not taken: {}", printable(error)),
    }
    if args.json {
        let told = match taken {
            Ok(Taken { left_out, waiting }) => {
                let left_out = left_out.iter().map(|it| it.member.to_string()).collect();
                Reloaded { reloaded: true, left_out, waiting, error: None }
            }
            Err(error) => Reloaded { reloaded: false, left_out: Vec::new(), waiting: Vec::new(), error: Some(error) },
        };
        crate::output::print(&crate::output::json_line(&told)?)?;
    }
    Ok(())
}

/// What came of a file that was read again, for a person.
fn said(Taken { left_out, waiting }: &Taken) -> String {
    let mut said = "the applications are as the file says".to_owned();
    if !left_out.is_empty() {
        let members: Vec<String> = left_out.iter().map(|it| format!("{} at {}", it.member, it.application)).collect();
        said.push_str(&format!(", but for members that are not there: {}", members.join(", ")));
    }
    if !waiting.is_empty() {
        said.push_str(&format!("; changed in it too, and in force from the next start: {}", waiting.join(", ")));
    }
    said
}

/// What came of a file that was read again.
#[derive(Debug, serde::Serialize)]
struct Reloaded {
    reloaded: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waiting: Vec<String>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use serve::apps::LeftOut;

    #[test]
    fn what_came_of_a_file_says_who_was_left_out_and_what_waits() {
        let gone = LeftOut { application: "wiki".parse().unwrap(), member: "group:gone@example.com".parse().unwrap() };
        let waiting = || vec!["audit.sink".to_owned(), "store.url".to_owned()];
        let cases = [
            (Taken::default(), ""),
            (
                Taken { left_out: vec![gone], waiting: Vec::new() },
                ", but for members that are not there: group:gone@example.com at wiki",
            ),
            (
                Taken { left_out: Vec::new(), waiting: waiting() },
                "; changed in it too, and in force from the next start: audit.sink, store.url",
            ),
        ];
        for (taken, rest) in cases {
            assert_eq!(said(&taken), format!("the applications are as the file says{rest}"));
        }
    }
}
