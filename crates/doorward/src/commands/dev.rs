//! `doorward dev`: a whole world in one directory.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use doorward_server::dev::description::Description;
use doorward_server::dev::{self, Options, TlsListen, World};
use tokio::signal::unix::{SignalKind, signal};

use crate::output::{json_line, print, printable, quoted, say};

const DEFAULT_DIR: &str = ".doorward";

/// Serve a protected application, its callers and everything between, from one directory
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward dev --to http://127.0.0.1:3000")]
pub(crate) struct Args {
    /// The application to protect, as http://HOST:PORT or https://HOST:PORT; without it, a built-in one that shows what arrives
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Where state is kept
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DIR)]
    dir: PathBuf,
    /// Print one line of JSON when ready, and nothing else
    #[arg(long)]
    json: bool,
    /// Where the application is served
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = super::listen_address, default_value = "127.0.0.1:8080")]
    app_listen: SocketAddr,
    /// Where the second application is served
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = super::listen_address, default_value = "127.0.0.1:8082")]
    other_app_listen: SocketAddr,
    /// Where our own origin and the Google hosts are served
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = super::listen_address, default_value = "127.0.0.1:8081")]
    api_listen: SocketAddr,
    /// Where the metadata server is served, to this machine alone
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = super::listen_address, default_value = "127.0.0.1:8099")]
    metadata_listen: SocketAddr,
    /// Serve everything over TLS too, with certificates of an authority of this directory
    #[arg(long)]
    tls: bool,
    /// Where the application is served over TLS
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = super::listen_address)]
    #[arg(default_value = "127.0.0.1:8443", requires = "tls")]
    app_tls_listen: SocketAddr,
    /// Where our own origin and the Google hosts are served over TLS
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = super::listen_address)]
    #[arg(default_value = "127.0.0.1:8444", requires = "tls")]
    api_tls_listen: SocketAddr,
    /// Where the second application is served over TLS
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = super::listen_address)]
    #[arg(default_value = "127.0.0.1:8445", requires = "tls")]
    other_app_tls_listen: SocketAddr,
    /// Allow addresses that other machines can reach
    #[arg(long)]
    unsafe_listen: bool,
    /// Whether an ID token must carry an `email` claim
    #[arg(long, value_enum, default_value = "optional")]
    email_claim: EmailClaim,
    /// A list of other issuers whose ID tokens are callers: a TOML file of [[trusted_issuer]] tables
    #[arg(long, value_name = "FILE")]
    trusted_issuers: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum EmailClaim {
    /// Refuse a token without it, as Google does
    Required,
    /// Find the account by `sub`, and say so in the record
    Optional,
}

/// Serves until it is told to stop.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    super::log_warnings();
    // The data plane has runtimes of its own; this one is for everything else.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(serve(args));
    // Reads of standard input or the like could hold an orderly end up; there is none that matters.
    runtime.shutdown_background();
    ended
}

async fn serve(args: Args) -> anyhow::Result<()> {
    // Taken first, so that a signal ends it in the same way at every moment.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let options = Options {
        to: args.to.clone(),
        directory: args.dir.clone(),
        app_listen: args.app_listen,
        other_app_listen: args.other_app_listen,
        api_listen: args.api_listen,
        metadata_listen: args.metadata_listen,
        tls: args.tls.then_some(TlsListen {
            app: args.app_tls_listen,
            api: args.api_tls_listen,
            other_app: args.other_app_tls_listen,
        }),
        unsafe_listen: args.unsafe_listen,
        email_claim: match args.email_claim {
            EmailClaim::Required => doorward_server::dev::EmailClaim::Required,
            EmailClaim::Optional => doorward_server::dev::EmailClaim::Optional,
        },
        trusted_issuers: args.trusted_issuers.clone(),
    };
    let world = tokio::select! {
        world = dev::start(options) => world?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let text = match args.json {
        true => json_line(world.description())?,
        false => greeting(&world, &args)?,
    };
    print(&text)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tokio::select! {
        () = world.stop() => {
            // A program that started it reads standard error for what went wrong.
            if !args.json {
                say("stopped");
            }
            Ok(())
        }
        // Whoever asks twice does not want to wait for requests to end.
        _ = interrupt.recv() => anyhow::bail!("stopped at once; requests that had begun were cut off"),
    }
}

/// The people of the built-in directory, with what they type at the sign-in page.
fn people(description: &Description) -> String {
    let people = description.users.iter().map(|(email, user)| format!("{email}, password {}", user.password));
    people.collect::<Vec<_>>().join("\n              ")
}

/// What a person needs next. No token; the link's key works once, and the passwords open what everybody at this terminal may
/// open.
fn greeting(world: &World, args: &Args) -> anyhow::Result<String> {
    let description = world.description();
    let program = quoted(&std::env::current_exe().context("the path of this program is not known")?);
    let directory = match args.dir == Path::new(DEFAULT_DIR) {
        true => String::new(),
        false => format!(" --dir {}", quoted(&std::path::absolute(&args.dir)?)),
    };
    let accounts = description.service_accounts.iter().map(|(name, account)| (name, account.allowed));
    let users = description.users.iter().map(|(email, user)| (email, user.allowed));
    let callers: Vec<(&String, bool)> = accounts.chain(users).collect();
    let names = |wanted: bool| {
        let names: Vec<&str> =
            callers.iter().filter(|(_, allowed)| *allowed == wanted).map(|(name, _)| name.as_str()).collect();
        if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
    };
    let app = &description.app.url;
    let over_tls = match (&description.app.https_url, &description.ca_file) {
        (Some(url), Some(ca_file)) => format!("Over TLS      {url}  (curl --cacert {})\n", quoted(ca_file)),
        _ => String::new(),
    };
    let metadata = description.metadata.as_ref().map_or_else(String::new, |metadata| {
        format!("Metadata      GCE_METADATA_HOST={}  ({})\n", metadata.host, metadata.service_account)
    });
    let behind = match &args.to {
        Some(address) => format!("in front of {}", printable(address)),
        None => "the built-in application; protect yours with --to URL".to_owned(),
    };
    Ok(format!(
        "\
Application   {app}  ({behind})
Allowed       {}
Not allowed   {}
Other app     {}  (admits nobody)
{over_tls}{metadata}People        {}
Sign in       {program} login{directory}
Try it        curl -H \"Authorization: Bearer $({program} token --app app{directory})\" {app}
Decisions     {}
              {program} decisions --follow{directory}
",
        names(true),
        names(false),
        description.other_app.url,
        people(description),
        world.console_link(),
    ))
}
