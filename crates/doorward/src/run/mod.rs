//! `doorward run`: a program in a network of its own, in which Google's names lead to a Doorward.
//!
//! ```text
//! the machine's network and files          a network with loopback alone, and files of its own
//! -------------------------------          -----------------------------------------------------
//! doorward run                             its listeners
//!   the server, its state, --to URL        doorward run-inner, process 1: COMMAND, and what it starts
//!   one thread of it  -------------------> made all this, holds it, and waits for the end
//! ```
//!
//! Nothing outside is changed: the mounts, the network and the processes of the program are in namespaces that the kernel forgets
//! with the last process in them, and process 1 does not outlive the thread that started it, however that ends.

mod environment;
mod forbidden;
pub(crate) mod inner;
mod network;
mod privilege;
mod signals;
mod space;
mod trust;

use std::ffi::OsString;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;

use anyhow::Context as _;
use doorward_server::dev::{self, EmailClaim, NamedOptions, World};

use crate::output::{printable, say};
use signals::Signals;
use space::{Launch, Space};

/// What was typed.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The application to protect; the built-in one if there is none.
    pub(crate) to: Option<String>,
    /// Where the state is kept.
    pub(crate) directory: PathBuf,
    /// The list of issuers beside ourselves whose ID tokens are callers.
    pub(crate) trusted_issuers: Option<PathBuf>,
    /// Where the keys of the signed header are served besides, on the machine's network.
    pub(crate) keys_listen: Option<SocketAddr>,
    /// Say where everything is.
    pub(crate) verbose: bool,
    /// The program and its arguments.
    pub(crate) command: Vec<OsString>,
}

/// Runs the program, and gives its exit code. Called while the process has one thread: only then may it enter a user namespace.
pub(crate) fn run(wanted: Wanted) -> anyhow::Result<u8> {
    privilege::acquire()?;
    let (space, sockets) = Space::open()?;
    // The data plane has runtimes of its own; this one is for everything else.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let options = NamedOptions {
        to: wanted.to,
        directory: wanted.directory,
        email_claim: EmailClaim::Optional,
        trusted_issuers: wanted.trusted_issuers,
        keys_listen: wanted.keys_listen,
    };
    let world = runtime.block_on(dev::start_named(options, sockets))?;
    if wanted.verbose {
        say_where(&world);
    }
    let mut running = space.launch(launch(&world, wanted.command)?)?;
    let status = runtime.block_on(async {
        // Process 1 is there already, and has inherited what is ignored, as under `nohup`: what is caught would not be. The program
        // is not there yet, so that no signal comes too early for it.
        let signals = Signals::catch()?;
        running.control.write_all(&inner::GO).context("the program's first process is gone")?;
        signals.relay_to(running.control);
        running.ended.await.context("the thread that waits for the program ended early")
    })?;
    runtime.block_on(world.stop());
    runtime.shutdown_background();
    Ok(exit_code(status.context("cannot wait for the program")?))
}

fn launch(world: &World, command: Vec<OsString>) -> anyhow::Result<Launch> {
    let description = world.description_file().to_owned();
    let folder = description.parent().context("the description lies in no folder")?.to_owned();
    let authority = world.description().ca_file.as_deref().context("the world has no certificate authority")?;
    let authority =
        std::fs::read_to_string(authority).with_context(|| format!("cannot read {}", authority.display()))?;
    Ok(Launch { command, description, folder, authority })
}

fn say_where(world: &World) {
    let described = world.description();
    let over_tls = |url: &Option<String>| url.as_ref().map_or_else(String::new, |url| format!(", {url}"));
    say(&format!("Application   {}{}", described.app.url, over_tls(&described.app.https_url)));
    say(&format!("Other app     {}{}", described.other_app.url, over_tls(&described.other_app.https_url)));
    say(&format!("Our origin    {}{}", described.api_url, over_tls(&described.api_https_url)));
    if let Some(keys) = world.keys_url() {
        say(&format!("Keys outside  {keys}"));
    }
    if let Some(metadata) = &described.metadata {
        say(&format!("Metadata      {} ({})", metadata.host, metadata.service_account));
    }
    say(&format!("Description   {}", printable(&world.description_file().to_string_lossy())));
}

/// As a shell tells it: 128 and the number of the signal, if one ended it.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
