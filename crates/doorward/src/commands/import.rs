//! `doorward import`: what gcloud prints, as a file for `doorward apply`. Nobody is asked.

use std::path::PathBuf;

use doorward_control::world::{import_policy, import_settings};
use doorward_wire::google_api::{IapSettings, Policy};
use doorward_wire::world_file::{WorldFile, WrittenResource};

use crate::file::{self, Format};
use crate::output::print;

/// Turn what gcloud prints into a file for `doorward apply`
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  gcloud iap web get-iam-policy --resource-type=backend-services --service=wiki > policy.yaml
  doorward import policy policy.yaml --resource 'app wiki' > wiki.toml
  doorward apply -f wiki.toml --dry-run")]
pub(crate) enum Command {
    Policy(PolicyArgs),
    Settings(SettingsArgs),
}

/// Turn the output of `gcloud iap web get-iam-policy` into a file for `doorward apply`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing is passed over: a member or a role that is not known here is an error, and so is a policy that was read without its conditions.

Example:
  doorward import policy policy.yaml --resource 'app wiki' > wiki.toml")]
pub(crate) struct PolicyArgs {
    /// The output, in YAML or JSON; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// On what it is to stand: \"app NAME\", \"account ID\", web, project, or the name of a resource. The output does not say it
    #[arg(long, value_name = "RESOURCE")]
    resource: WrittenResource,
    #[command(flatten)]
    output: OutputArgs,
}

/// Turn the output of `gcloud iap settings get` into a file for `doorward apply`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward import settings settings.yaml > settings.toml
  doorward import settings settings.yaml --resource 'app wiki' > settings.toml")]
pub(crate) struct SettingsArgs {
    /// The output, in YAML or JSON; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// On what they are to stand: \"app NAME\", web, project, or the name of a resource [default: what the output names, if it is by name]
    #[arg(long, value_name = "RESOURCE")]
    resource: Option<WrittenResource>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
struct OutputArgs {
    /// How the file is written
    #[arg(long, value_enum, default_value = "toml")]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

/// Runs one of the commands.
pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    let (file, output) = match command {
        Command::Policy(PolicyArgs { file, resource, output }) => (policy(&file, resource)?, output),
        Command::Settings(SettingsArgs { file, resource, output }) => (settings(&file, resource)?, output),
    };
    let format = if output.json { Format::Json } else { output.format };
    Ok(print(&format.write(&file)?)?)
}

fn policy(file: &std::path::Path, resource: WrittenResource) -> anyhow::Result<WorldFile> {
    let policy: Policy = file::read(file)?;
    import_policy(&policy, resource).map_err(|error| anyhow::anyhow!("{error}: change it in the file, and import that"))
}

fn settings(file: &std::path::Path, resource: Option<WrittenResource>) -> anyhow::Result<WorldFile> {
    let settings: IapSettings = file::read(file)?;
    import_settings(&settings, resource)
        .map_err(|error| anyhow::anyhow!("{error}: change it in the file, or say with --resource what is meant"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As gcloud prints it.
    const POLICY: &str = "\
bindings:
- condition:
    expression: request.path.startsWith('/docs')
    title: docs
  members:
  - group:staff@example.com
  - user:alice@example.com
  role: roles/iap.httpsResourceAccessor
etag: BwXhqDVKbGs=
version: 3
";
    const SETTINGS: &str = "\
accessSettings:
  corsSettings:
    allowHttpOptions: true
  oauthSettings:
    programmaticClients:
    - 123-x.apps.googleusercontent.com
name: projects/987/iap_web/compute/services/wiki
";

    #[test]
    fn what_gcloud_prints_becomes_a_file_in_every_format() {
        let dir = tempfile::tempdir().unwrap();
        let (policy_file, settings_file) = (dir.path().join("p.yaml"), dir.path().join("s.yaml"));
        std::fs::write(&policy_file, POLICY).unwrap();
        std::fs::write(&settings_file, SETTINGS).unwrap();
        let policy = policy(&policy_file, "app wiki".parse().unwrap()).unwrap();
        let expected = r#"[[policies]]
resource = "app wiki"

[[policies.bindings]]
role = "roles/iap.httpsResourceAccessor"
members = ["group:staff@example.com", "user:alice@example.com"]

[policies.bindings.condition]
expression = "request.path.startsWith('/docs')"
title = "docs"
"#;
        assert_eq!(Format::Toml.write(&policy).unwrap(), expected);
        let settings = settings(&settings_file, None).unwrap();
        for file in [policy, settings] {
            for format in [Format::Toml, Format::Yaml, Format::Json] {
                let text = format.write(&file).unwrap();
                assert_eq!(format.read::<WorldFile>(&text).unwrap(), file, "{text}");
            }
        }
    }

    #[test]
    fn what_cannot_be_taken_over_is_refused_and_not_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.yaml");
        #[rustfmt::skip]
        let cases = [
            (POLICY.replace("roles/iap.httpsResourceAccessor", "roles/container.admin"), "is not known here"),
            (POLICY.replace("condition:", "conditions:"),                                "is not what this command reads"),
            (POLICY.replace("user:alice", "projectOwner:alice"),                         "change it in the file"),
        ];
        for (text, expected) in cases {
            std::fs::write(&file, text).unwrap();
            let message = policy(&file, WrittenResource::Web).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        std::fs::write(&file, SETTINGS.replace("services/wiki", "services/4567")).unwrap();
        let message = settings(&file, None).unwrap_err().to_string();
        assert!(message.ends_with("say with --resource what is meant"), "{message}");
    }
}
