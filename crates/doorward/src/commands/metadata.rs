//! `doorward metadata`: a metadata server beside a program, from a key file. No key of our own is near it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use doorward_server::metadata::WorkloadError;
use doorward_wire::credential_file::ServiceAccountFile;
use tokio::signal::unix::{SignalKind, signal};

use crate::key_file;
use crate::output::{printable, say};
use crate::sidecar::Sidecar;
use crate::world::WorldArgs;

/// Serve a metadata server for a service account, from its key file
///
/// Programs that find their credentials as on Google Cloud get tokens of the account from it, and never see the key. Serves until
/// Ctrl-C or SIGTERM. Requests that it refuses are printed, and recorded nowhere.
///
/// `doorward dev` serves one of its own at the default address: beside it, choose another with --listen.
///
/// A token from a key file always carries the e-mail and no instance: format=standard and format=full are the same here.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward metadata --service-account robot --listen 127.0.0.1:8098
  GCE_METADATA_HOST=127.0.0.1:8098 GCE_METADATA_IP=127.0.0.1:8098 python3 program.py")]
pub(crate) struct Args {
    #[command(flatten)]
    key: KeyArgs,
    /// Where it is served; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = super::listen_address, default_value = "127.0.0.1:8099")]
    listen: SocketAddr,
    #[command(flatten)]
    world: WorldArgs,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct KeyArgs {
    /// The service account, by its name in dev.json or its address
    #[arg(long, value_name = "ACCOUNT")]
    service_account: Option<String>,
    /// The key file of the service account
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl Args {
    fn key_file(&self) -> anyhow::Result<ServiceAccountFile> {
        match (&self.key.key_file, &self.key.service_account) {
            (Some(path), _) => key_file::read(path),
            // The group demands one of the two.
            (None, account) => key_file::of_account(&self.world.open()?, account.as_deref().unwrap_or_default()),
        }
    }
}

/// Serves until it is told to stop.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    super::log_warnings();
    let key_file = args.key_file()?;
    let email = printable(&key_file.client_email);
    let ready =
        move |address: SocketAddr| say(&format!("metadata of {email} at {address}: GCE_METADATA_HOST={address}"));
    let world = args.world.open().ok();
    let project_number =
        world.filter(|world| Some(&world.project.id) == key_file.project_id.as_ref()).map(|world| world.project.number);
    let sidecar = Arc::new(Sidecar::new(key_file, project_number)?);
    match sidecar.try_key().await {
        Ok(()) => {}
        Err(WorkloadError::Refused(cause)) => bail!("the key file gives no token: {cause}"),
        // The server may come later, as it may go and come back.
        Err(WorkloadError::Unavailable(cause)) => say(&format!("no token can be got yet: {cause}")),
    }
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told_to_stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let serving = doorward_server::metadata::serve(sidecar, args.listen, ready, told_to_stop);
    serving.await.with_context(|| {
        format!("cannot serve metadata at {}: choose another address, such as --listen 127.0.0.1:8098", args.listen)
    })
}
