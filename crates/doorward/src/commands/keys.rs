//! `doorward keys`: our own signing keys, through our own API.

use doorward_core::keys::KeyPurpose;
use doorward_wire::doorward_api::{KeyResource, ListKeysResponse, RotateKeysRequest};

use super::Common;
use crate::output::{json_line, print, table};
use crate::token_cache::TokenCache;

/// List and replace the keys with which tokens and signed headers are made
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  doorward keys list
  doorward keys rotate --purpose id-token")]
pub(crate) enum Command {
    List(ListArgs),
    Rotate(RotateArgs),
}

/// List the keys: what each is for, and since when or from when it signs
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Purposes:
  id-token         ID tokens
  assertion        the signed header that applications receive
  sign-in-state    what a browser carries to the sign-in and back
  sign-in-flow     what a sign-in page carries to its sending
  console-session  the cookie of the page of decisions
  key-certificate  the certificates in which public keys are published
  tls-authority    the certificates of `dev --tls`; never replaced, since people trust it
  fixture          the secrets of dev.json; never replaced, since they must stay what they are

Example:
  doorward keys list --json")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    common: Common,
}

/// Make new keys; they are published at once and sign when verifiers know them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --immediately the new keys sign at once and the old ones are forgotten: for a key that got out. Every token that they signed
is refused from then on.

Example:
  doorward keys rotate
  doorward keys rotate --purpose id-token --immediately")]
pub(crate) struct RotateArgs {
    /// What the keys are for, such as id-token or assertion, as `doorward keys list --help` explains; everything that can be
    /// replaced, if it is not given
    #[arg(long, value_name = "PURPOSE", value_parser = purpose)]
    purpose: Option<KeyPurpose>,
    /// Sign with the new keys at once and forget the old ones
    #[arg(long)]
    immediately: bool,
    #[command(flatten)]
    common: Common,
}

fn purpose(text: &str) -> Result<KeyPurpose, String> {
    let why = match KeyPurpose::from_name(text) {
        Some(purpose) if purpose.is_replaceable() => return Ok(purpose),
        Some(_) => "never replaced",
        None => "not a purpose",
    };
    let names: Vec<&str> = KeyPurpose::ALL.into_iter().filter(|it| it.is_replaceable()).map(KeyPurpose::name).collect();
    Err(format!("{why}: use one of {}", names.join(", ")))
}

/// Runs one of the commands.
pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    let (answer, common) = match command {
        Command::List(ListArgs { common }) => {
            let answer: ListKeysResponse = common.server.open().await?.api().get("/v1/keys").await?;
            (answer, common)
        }
        Command::Rotate(RotateArgs { purpose, immediately, common }) => {
            let server = common.server.open().await?;
            let purpose = purpose.map(KeyPurpose::name).unwrap_or_default().to_owned();
            let request = RotateKeysRequest { purpose, immediately };
            let answer: ListKeysResponse = server.api().post("/v1/keys:rotate", &request).await?;
            if immediately && let Some(world) = server.dev() {
                // What was signed before is refused from now on.
                TokenCache::of(world).forget(None);
            }
            (answer, common)
        }
    };
    Ok(print(&if common.json { json_line(&answer)? } else { shown(&answer.keys) })?)
}

fn shown(keys: &[KeyResource]) -> String {
    let rows: Vec<_> = keys
        .iter()
        .map(|key| {
            let end = key.forgotten_at.clone().unwrap_or_else(|| "-".to_owned());
            [key.purpose.clone(), key.key_id.clone(), key.state.clone(), key.signs_from.clone(), end]
        })
        .collect();
    table(["PURPOSE", "KEY ID", "STATE", "SIGNS FROM", "FORGOTTEN AT"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Args as _;

    #[test]
    fn every_purpose_is_explained_and_only_what_is_ever_replaced_is_offered() {
        let help = ListArgs::augment_args(clap::Command::new("list")).render_help().to_string();
        for known in KeyPurpose::ALL {
            let name = known.name();
            let line = help.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix("  "));
            let never = line.unwrap_or_else(|| panic!("{name} is not explained")).contains("never replaced");
            assert_eq!(never, !known.is_replaceable(), "{name}");
            let offered = purpose("other").unwrap_err();
            assert_eq!(offered.contains(name), known.is_replaceable(), "{offered}");
            assert_eq!(purpose(name).is_ok(), known.is_replaceable(), "{name}");
        }
        assert!(purpose("fixture").unwrap_err().starts_with("never replaced: use one of id-token, "));
    }

    #[test]
    fn a_key_is_shown_in_a_row_and_the_newest_has_no_end() {
        let key = |id: &str, state: &str, end: Option<&str>| KeyResource {
            key_id: id.into(),
            purpose: "id-token".into(),
            state: state.into(),
            create_time: "2026-11-25T20:00:00Z".into(),
            signs_from: "2026-11-25T20:15:00Z".into(),
            forgotten_at: end.map(str::to_owned),
        };
        let keys = [key("b", "next", None), key("a", "active", Some("2026-11-26T20:00:00Z"))];
        let expected = "PURPOSE   KEY ID  STATE   SIGNS FROM            FORGOTTEN AT\n\
                        id-token  b       next    2026-11-25T20:15:00Z  -\n\
                        id-token  a       active  2026-11-25T20:15:00Z  2026-11-26T20:00:00Z\n";
        assert_eq!(shown(&keys), expected);
    }
}
