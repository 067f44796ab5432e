//! The subcommands, one file each.

mod decisions;
mod dev;
mod policy;
mod service_account;
mod token;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

/// A self-hosted Identity-Aware Proxy that speaks Google Cloud's protocols.
#[derive(Debug, Parser)]
#[command(
    version,
    arg_required_else_help = true,
    after_help = "\
Exit codes: 0 done, 1 failed (one line on stderr says why), 2 the command line is wrong.

Example:
  doorward dev                 # a world with a protected application, in this terminal
  doorward token --app app     # an ID token for it, in another"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(dev::Args),
    Token(token::Args),
    #[command(subcommand)]
    ServiceAccount(service_account::Command),
    #[command(subcommand)]
    Policy(policy::Command),
    Decisions(decisions::Args),
}

impl Cli {
    /// Runs the command to its end. `dev` makes its own runtimes; the others are clients of it, for which one thread is enough.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Dev(args) => dev::run(args),
            Command::Token(args) => block_on(token::run(args)),
            Command::ServiceAccount(command) => block_on(service_account::run(command)),
            Command::Policy(command) => block_on(policy::run(command)),
            Command::Decisions(args) => block_on(decisions::run(args)),
        }
    }
}

fn block_on(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the input and output of this process")?.block_on(command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, error::ErrorKind};

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("doorward").chain(line.split_whitespace()))
    }

    #[test]
    fn the_declaration_of_the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_explains_itself_with_an_example_of_itself() {
        fn visit(command: &mut clap::Command, path: &str) {
            assert!(command.get_about().is_some(), "{path} says what it does");
            let help = command.render_help().to_string();
            let example = help.split_once("Example:\n").unwrap_or_else(|| panic!("{path} has an example")).1;
            assert!(example.contains(path), "the example of {path} shows it");
            for sub in command.get_subcommands_mut() {
                let path = format!("{path} {}", sub.get_name());
                visit(sub, &path);
            }
        }
        let mut command = Cli::command().disable_help_subcommand(true);
        visit(&mut command, "doorward");
    }

    #[test]
    fn a_line_is_taken_or_refused_before_anything_is_called() {
        use ErrorKind::{ArgumentConflict, InvalidValue, MissingRequiredArgument, ValueValidation};
        #[rustfmt::skip]
        let cases = [
            ("token --app app",                                               None),
            ("token --app other_app --as stranger --dir d",                   None),
            ("token --app other-app",                                         None),
            ("token",                                                         Some(MissingRequiredArgument)),
            ("token --app third",                                             Some(InvalidValue)),
            ("service-account create ci --display-name CI",                   None),
            ("service-account create",                                        Some(MissingRequiredArgument)),
            ("service-account list --json",                                   None),
            ("service-account keys create k.json --account a@p.example",      None),
            ("service-account keys create k.json",                            Some(MissingRequiredArgument)),
            ("service-account keys create k.json --account robot",            Some(ValueValidation)),
            ("service-account keys list --account a@p.example",               None),
            ("service-account keys delete 1f --account a@p.example",          None),
            ("policy get --app app",                                          None),
            ("policy get --project --json",                                   None),
            ("policy get --resource projects/1/iap_web/compute",              None),
            ("policy get",                                                    Some(MissingRequiredArgument)),
            ("policy get --project --app app",                                Some(ArgumentConflict)),
            ("policy add --app app --member user:a@example.com",              None),
            ("policy add --app app --member allUsers --role roles/x",         None),
            ("policy add --app app",                                          Some(MissingRequiredArgument)),
            ("policy add --app app --member a@example.com",                   Some(ValueValidation)),
            ("policy add --app app --member group:a@example.com",             Some(ValueValidation)),
            ("policy remove --app app --member domain:example.com",           None),
            ("decisions --follow --json --limit 5",                           None),
            ("decisions --limit 0",                                           Some(ValueValidation)),
        ];
        for (line, refused) in cases {
            assert_eq!(parse(line).err().map(|error| error.kind()), refused, "{line}");
        }
    }
}
