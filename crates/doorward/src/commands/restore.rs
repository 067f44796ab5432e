//! `doorward restore`: an empty store, filled from a backup.

use std::path::PathBuf;

use anyhow::{anyhow, bail};
use doorward_server::config::StoreConfig;
use doorward_server::serve::init::{age, open};
use doorward_server::serve::state::StateDirectory;
use doorward_store::{Age, Backup, RestoreError, SqlStore};

use super::backup::{older, sealer_of};
use super::serve::ConfigArgs;
use crate::output::{json_line, print, printable};

/// Fill an empty store of `doorward serve` from a backup, all or nothing; the server is stopped
///
/// The store may be of another kind than that of the backup: this is also the way from SQLite to PostgreSQL.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The key file that belongs to the backup must be in its place first. A database that is not there is made.

Example:
  doorward restore doorward.backup --config doorward.toml")]
pub(crate) struct Args {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    config: ConfigArgs,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

/// Fills the store.
pub(crate) async fn run(Args { file, config, json }: Args) -> anyhow::Result<()> {
    let config = config.read()?;
    // First: for a backup that cannot be restored, nothing is made.
    let age = age(&config.store).await?;
    if let Age::Older(schema) = age {
        bail!("{}, and restore into a new path or database", older(schema));
    }
    let sealer = sealer_of(&config)?;
    let backup = Backup::read(&file, &sealer).map_err(|error| advice(&error))?;
    // Held until this function ends: no server starts on this machine meanwhile.
    let _state = StateDirectory::take(&config)?;
    let restored = match age {
        Age::New => match &config.store {
            StoreConfig::Sqlite { path, .. } => SqlStore::restore_sqlite(path, &sealer, backup).await,
            StoreConfig::Postgres { options, .. } => SqlStore::restore_postgres(options, &sealer, backup).await,
        },
        Age::Current | Age::Older(_) => {
            let store = open(&config.store, sealer).await?;
            let restored = store.restore(&file).await;
            store.close().await;
            restored
        }
    };
    restored.map_err(|error| advice(&error))?;
    let text = format!("restored {}; start it with `doorward serve`", file.display());
    Ok(print(&if json { json_line(&serde_json::json!({"file": file}))? } else { printable(&text) + "\n" })?)
}

fn advice(error: &RestoreError) -> anyhow::Error {
    match error {
        RestoreError::File(_) | RestoreError::Damaged | RestoreError::Line(_) | RestoreError::Table(_) => {
            anyhow!("{error}: take another copy of it")
        }
        RestoreError::NotEmpty(_) => anyhow!("{error}: name a new path or database in [store]"),
        RestoreError::Schema { .. } | RestoreError::WrongKey(_) | RestoreError::Open(_) => anyhow!("{error}"),
        RestoreError::Store(_) => anyhow!("{error}; nothing was restored: try again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    use crate::api::tests::block_on;
    use crate::commands::{backup, init};

    #[derive(Debug, clap::Parser)]
    enum Line {
        Init(init::Args),
        Backup(backup::Args),
        Restore(Args),
    }

    fn run_line(words: &[&str]) -> anyhow::Result<()> {
        block_on(async {
            match Line::try_parse_from(std::iter::once(&"doorward").chain(words)).unwrap() {
                Line::Init(args) => init::run(args).await,
                Line::Backup(args) => backup::run(args).await,
                Line::Restore(args) => run(args).await,
            }
        })
    }

    #[test]
    fn what_was_backed_up_is_there_after_it_was_restored_and_nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = dir.path().join(name);
            let text = format!(
                "[server]\napi_url = 'http://127.0.0.1:8081'\napi = {{ listen = '127.0.0.1:8081' }}\napps = {{ listen = '127.0.0.1:8080' }}\n\
                 state = '{name}-state'\n[store]\npath = '{name}.db'\nkey_file = 'store.key'\n"
            );
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (old, new) = (file("old"), file("new"));
        let backup = dir.path().join("backup");
        let backup = backup.to_str().unwrap();
        let refused = |words: &[&str]| run_line(words).unwrap_err().to_string();

        assert!(refused(&["backup", backup, "--config", &old]).contains("`doorward init` makes it"));
        run_line(&["init", "--config", &old, "--admin", "user:you@example.com"]).unwrap();
        run_line(&["backup", backup, "--config", &old]).unwrap();
        assert!(refused(&["backup", backup, "--config", &old]).ends_with("is not overwritten: name another file"));
        assert!(refused(&["restore", backup, "--config", &old]).ends_with("name a new path or database in [store]"));
        run_line(&["restore", backup, "--config", &new]).unwrap();
        let again = dir.path().join("again");
        run_line(&["backup", again.to_str().unwrap(), "--config", &new]).unwrap();
        // All but the first line, with the revision, and the last, with the sum.
        let rows = |path: &str| {
            let text = std::fs::read_to_string(path).unwrap();
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines[1..lines.len() - 1].to_vec()
        };
        assert_eq!(rows(again.to_str().unwrap()), rows(backup));

        std::fs::write(backup, "x").unwrap();
        let third = file("third");
        assert!(refused(&["restore", backup, "--config", &third]).ends_with("take another copy of it"));
        let gone = refused(&["restore", &format!("{backup}-gone"), "--config", &third]);
        assert!(gone.contains("the backup cannot be read"), "{gone}");
        // Not even what a server would start on.
        assert!(!dir.path().join("third.db").exists() && !dir.path().join("third-state").exists());
    }
}
