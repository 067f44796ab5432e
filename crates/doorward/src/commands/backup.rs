//! `doorward backup`: everything that a store holds, in one file, while it is served or not.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use doorward_server::config::Config;
use doorward_server::serve::init::{age, open};
use doorward_store::{Age, BackupError, Sealer, SqlStore};

use super::serve::ConfigArgs;
use crate::output::{json_line, print, printable};

/// Write everything that the store of `doorward serve` holds to a new file, as it is at one moment; the server may run
///
/// Private keys in it stay sealed: keep a copy of the store's key file too, and elsewhere, for without it the backup is worth little.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file is the same for SQLite and PostgreSQL, and only you can read it.

Example:
  doorward backup doorward.backup --config doorward.toml")]
pub(crate) struct Args {
    /// The file to write, which must not be there
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    config: ConfigArgs,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

/// Writes the file.
pub(crate) async fn run(Args { file, config, json }: Args) -> anyhow::Result<()> {
    let config = config.read()?;
    // A backup is taken of what may be serving: it is not the one who brings that up to date.
    match age(&config.store).await? {
        Age::Current => {}
        Age::New => bail!("there is no store yet: `doorward init` makes it, and [store] in the file says where"),
        Age::Older(schema) => bail!("{}", older(schema)),
    }
    let store = store_of(&config).await?;
    let written = store.backup(&file).await;
    store.close().await;
    written.map_err(|error| advice(&error, &file))?;
    let key_file = config.store.key_file();
    Ok(print(&if json {
        json_line(&serde_json::json!({"file": file, "key_file": key_file}))?
    } else {
        let text = format!("wrote {}; its private keys are sealed with {}", file.display(), key_file.display());
        printable(&text) + "\n"
    })?)
}

/// What is said of a store that an older version wrote.
pub(super) fn older(schema: i64) -> String {
    format!(
        "an older version of doorward wrote the store (schema {schema}), and this command does not bring it up to date: use that version, \
         or let `doorward serve` of this one do it first"
    )
}

fn advice(error: &BackupError, file: &Path) -> anyhow::Error {
    match error {
        BackupError::File(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => {
            anyhow!("{} exists and is not overwritten: name another file", file.display())
        }
        BackupError::File(_) => anyhow!("{error}: name another file"),
        BackupError::Store(_) => anyhow!("{error}; there is no backup: try again"),
    }
}

/// The store of a server's file.
async fn store_of(config: &Config) -> anyhow::Result<SqlStore> {
    Ok(open(&config.store, sealer_of(config)?).await?)
}

/// The key of that store.
pub(super) fn sealer_of(config: &Config) -> anyhow::Result<Sealer> {
    let path = config.store.key_file();
    Sealer::from_file(path).map_err(|error| {
        anyhow!(
            "the key file {} cannot be used: {error}; name the one of this store in [store], as key_file",
            path.display()
        )
    })
}
