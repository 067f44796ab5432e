//! The subcommands, one file each.

pub(crate) mod access_level;
pub(crate) mod app;
mod apply;
mod audit;
mod backup;
mod check;
mod curl;
mod decisions;
mod deny;
mod dev;
mod explain;
mod export;
mod group;
mod import;
mod init;
mod keys;
mod login;
mod logout;
mod metadata;
mod oauth_client;
mod policy;
mod restore;
mod role;
mod run;
mod serve;
mod service_account;
mod service_account_keys;
mod service_account_policy;
mod settings;
mod simulate;
mod token;
pub(crate) mod user;
mod what_can;
mod who_can;
mod whoami;
mod workload_identity;
mod workload_identity_pool;
mod workload_identity_provider;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::runtime::block_on;
use crate::server::ServerArgs;

/// A self-hosted Identity-Aware Proxy that speaks Google Cloud's protocols.
#[derive(Debug, Parser)]
#[command(
    version,
    arg_required_else_help = true,
    after_help = "\
Exit codes: 0 done, 1 failed (one line on stderr says why), 2 the command line is wrong; `simulate` has 3, for a policy that would
change something.

Example:
  doorward dev                 # a world with a protected application, in this terminal
  doorward curl http://127.0.0.1:8080/   # a call with a token, in another"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(dev::Args),
    Serve(serve::Args),
    Check(check::Args),
    Init(init::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Run(run::Args),
    #[command(hide = true)]
    RunInner(run::InnerArgs),
    Token(token::Args),
    Curl(curl::Args),
    Login(login::Args),
    Logout(logout::Args),
    Whoami(whoami::Args),
    #[command(subcommand)]
    ServiceAccount(service_account::Command),
    #[command(subcommand)]
    WorkloadIdentityPool(workload_identity_pool::Command),
    #[command(subcommand, visible_alias = "provider")]
    WorkloadIdentityProvider(workload_identity_provider::Command),
    #[command(subcommand, name = "oauth-client")]
    OAuthClient(oauth_client::Command),
    #[command(subcommand)]
    App(app::Command),
    #[command(subcommand)]
    Policy(policy::Command<policy::Target>),
    #[command(subcommand)]
    Settings(settings::Command),
    #[command(subcommand)]
    User(user::Command),
    #[command(subcommand)]
    Group(group::Command),
    #[command(subcommand)]
    AccessLevel(access_level::Command),
    #[command(subcommand)]
    Role(role::Command),
    #[command(subcommand)]
    Deny(deny::Command),
    Apply(apply::Args),
    Export(export::Args),
    #[command(subcommand)]
    Import(import::Command),
    Explain(explain::Args),
    WhoCan(who_can::Args),
    WhatCan(what_can::Args),
    Simulate(simulate::Args),
    #[command(subcommand)]
    Audit(audit::Command),
    #[command(subcommand)]
    Keys(keys::Command),
    Metadata(metadata::Args),
    Decisions(decisions::Args),
}

/// What every command takes that answers with data.
#[derive(Debug, clap::Args)]
struct Common {
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[cfg(test)]
impl Common {
    /// Of the world that is described in `dir`, whose server is at `api_url`; the description is written there.
    fn at(dir: &std::path::Path, api_url: &str) -> Self {
        Common { json: false, server: ServerArgs::of_world(crate::world::tests::described(dir, api_url)) }
    }
}

/// Reads where something is to be served. No names: whether one leads to this machine alone is not known before it is looked up.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
        let name = if host.eq_ignore_ascii_case("localhost") { ", and an IP address instead of a name" } else { "" };
        format!("not ADDRESS:PORT: write both{name}, such as 127.0.0.1:8090 or [::1]:8090")
    })
}

impl Cli {
    /// Reads the command line. Ends the program with a message if it is wrong, or if help was asked for.
    pub(crate) fn of_this_process() -> Self {
        Self::read(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    fn read(line: impl Iterator<Item = OsString>) -> Result<Self, clap::Error> {
        let line: Vec<OsString> = line.collect();
        Cli::try_parse_from(&line)
            .map_err(|error| if line.get(1).is_some_and(|it| it == "curl") { curl::advise(error) } else { error })
    }

    /// Runs the command to its end. `dev` makes its own runtimes, and `token` and `curl` need none if the cache has the token.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let ended = match self.command {
            Command::Curl(args) => return curl::run(args),
            Command::Simulate(args) => return block_on(simulate::run(args)),
            Command::Dev(args) => dev::run(args),
            Command::Serve(args) => serve::run(args),
            Command::Check(args) => check::run(&args),
            Command::Init(args) => block_on(init::run(args)),
            Command::Backup(args) => block_on(backup::run(args)),
            Command::Restore(args) => block_on(restore::run(args)),
            Command::Run(args) => return Ok(run::run(args)),
            Command::RunInner(args) => return Ok(run::run_inner(args)),
            Command::Token(args) => token::run(args),
            Command::Login(args) => block_on(login::run(args)),
            Command::Logout(args) => block_on(logout::run(args)),
            Command::Whoami(args) => block_on(whoami::run(args)),
            Command::ServiceAccount(command) => block_on(service_account::run(command)),
            Command::WorkloadIdentityPool(command) => block_on(workload_identity_pool::run(command)),
            Command::WorkloadIdentityProvider(command) => block_on(workload_identity_provider::run(command)),
            Command::OAuthClient(command) => block_on(oauth_client::run(command)),
            Command::App(command) => block_on(app::run(command)),
            Command::User(command) => block_on(user::run(command)),
            Command::Group(command) => block_on(group::run(command)),
            Command::AccessLevel(command) => block_on(access_level::run(command)),
            Command::Role(command) => block_on(role::run(command)),
            Command::Deny(command) => block_on(deny::run(command)),
            Command::Apply(args) => block_on(apply::run(args)),
            Command::Export(args) => block_on(export::run(args)),
            Command::Import(command) => import::run(command),
            Command::Explain(args) => block_on(explain::run(args)),
            Command::WhoCan(args) => block_on(who_can::run(args)),
            Command::WhatCan(args) => block_on(what_can::run(args)),
            Command::Audit(command) => block_on(audit::run(command)),
            Command::Policy(command) => block_on(policy::run(command)),
            Command::Settings(command) => block_on(settings::run(command)),
            Command::Keys(command) => block_on(keys::run(command)),
            Command::Metadata(args) => block_on(metadata::run(args)),
            Command::Decisions(args) => block_on(decisions::run(args)),
        };
        ended.map(|()| ExitCode::SUCCESS)
    }
}

/// What a person must know of failures that are ours, from the servers; standard output belongs to what was asked for.
fn log_warnings() {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, error::ErrorKind};

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::read(std::iter::once("doorward").chain(line.split_whitespace()).map(OsString::from))
    }

    #[test]
    fn a_line_that_is_wrong_is_answered_with_one_that_is_right() {
        #[rustfmt::skip]
        let cases = [
            ("curl -X POST http://127.0.0.1:8080/",   "curl's arguments come after the address: doorward curl URL -X ...", "-- -X"),
            ("curl --json {} http://127.0.0.1:8080/", "curl's arguments come after the address: doorward curl URL --json ...", "-- --json"),
            ("dev --app-listen 8090",                 "not ADDRESS:PORT: write both, such as 127.0.0.1:8090", "socket address syntax"),
            ("dev --api-listen localhost:8090",       "write both, and an IP address instead of a name, such as 127.0.0.1:8090", "socket address syntax"),
            ("token --app app --as-me",               "unexpected argument '--as-me'", "curl's arguments"),
        ];
        for (line, told, not_told) in cases {
            let message = parse(line).unwrap_err().to_string();
            assert!(message.contains(told) && !message.contains(not_told), "{line}: {message}");
        }
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
        use ErrorKind::{ArgumentConflict, InvalidValue, MissingRequiredArgument, UnknownArgument, ValueValidation};
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
            ("service-account keys create k.json --account robot",            None),
            ("service-account keys list --account a@p.example",               None),
            ("service-account keys delete 1f --account a@p.example",          None),
            ("service-account keys disable 1f --account robot --json",        None),
            ("service-account keys enable 1f --account robot",                None),
            ("service-account keys enable 1f",                                Some(MissingRequiredArgument)),
            ("service-account disable robot",                                 None),
            ("service-account enable a@p.example --json",                     None),
            ("service-account delete",                                        Some(MissingRequiredArgument)),
            ("policy get --app app",                                          None),
            ("policy get --project --json",                                   None),
            ("policy get --resource projects/1/iap_web/compute",              None),
            ("policy get",                                                    Some(MissingRequiredArgument)),
            ("policy get --project --app app",                                Some(ArgumentConflict)),
            ("policy add --app app --member user:a@example.com",              None),
            ("policy add --app app --member allUsers --role roles/x",         None),
            ("policy add --app app",                                          Some(MissingRequiredArgument)),
            ("policy add --app app --member a@example.com",                   Some(ValueValidation)),
            ("policy add --app app --member robot",                           None),
            ("policy add --app app --member group:a@example.com",             None),
            ("policy add --app app --member allUsers --condition true",       Some(ValueValidation)),
            ("policy add --web --member user:a@x.com --condition expression=true,title=t", None),
            ("policy add --web --member user:a@x.com --condition expression=true --condition-file c.json", Some(ArgumentConflict)),
            ("policy show --web",                                             None),
            ("policy set --app app -f p.json",                                None),
            ("policy set --app app",                                          Some(MissingRequiredArgument)),
            ("policy test --app app --permission p --permission q",           None),
            ("policy test --app app",                                         Some(MissingRequiredArgument)),
            ("policy show --project --api-url https://a.example",             None),
            ("policy show --project --api-url https://a.example --dir d",     Some(ArgumentConflict)),
            ("policy remove --app app --member domain:example.com",           None),
            ("token --audience 123-x",                                        None),
            ("token --audience 123-x --app app",                              Some(ArgumentConflict)),
            ("token --app app --as me --impersonate target --no-cache",       None),
            ("token --app app --key-file k.json --impersonate target",        None),
            ("token --app app --key-file k.json --as robot",                  Some(ArgumentConflict)),
            ("token --app app --metadata",                                    None),
            ("token --app app --metadata 127.0.0.1:1 --explain --json",       None),
            ("token --metadata --app app",                                    None),
            ("token --app app --metadata --as robot",                         Some(ArgumentConflict)),
            ("token --explain --token-file -",                                None),
            ("token --token-file -",                                          Some(MissingRequiredArgument)),
            ("token --explain --token-file - --app app",                      Some(ArgumentConflict)),
            ("token --explain",                                               Some(MissingRequiredArgument)),
            ("token --app app --json",                                        Some(MissingRequiredArgument)),
            ("curl http://127.0.0.1:8080/ -sSL --json {} -o -",               None),
            ("curl --as me --dir d http://127.0.0.1:8080/ --next",            None),
            ("curl",                                                          Some(MissingRequiredArgument)),
            ("curl --key-file k --as me http://127.0.0.1:8080/",              Some(ArgumentConflict)),
            ("login --no-browser",                                            None),
            ("login --device --json",                                         None),
            ("logout --dir d",                                                None),
            ("whoami --json",                                                 None),
            ("service-account policy get --account a@p.example",              None),
            ("service-account policy add --account a@p.example",              Some(MissingRequiredArgument)),
            ("service-account policy add --account a@p.example --member user:a@example.com", None),
            ("service-account policy remove --account target --member user:a@example.com",   None),
            ("oauth-client create n --type desktop",                          None),
            ("oauth-client create n --type web --redirect-uri https://a/ --redirect-uri https://b/", None),
            ("oauth-client create n",                                         Some(MissingRequiredArgument)),
            ("oauth-client create n --type phone",                            Some(InvalidValue)),
            ("oauth-client create n --type web",                              Some(MissingRequiredArgument)),
            ("oauth-client create n --type android",                          Some(MissingRequiredArgument)),
            ("oauth-client create n --type android --package a.b --sha1 F",   None),
            ("oauth-client create n --type ios",                              Some(MissingRequiredArgument)),
            ("oauth-client describe 1-x",                                     None),
            ("oauth-client reset-secret 1-x --json",                          None),
            ("oauth-client delete",                                           Some(MissingRequiredArgument)),
            ("keys list",                                                     None),
            ("keys rotate --purpose id-token --immediately",                  None),
            ("keys rotate --purpose other",                                   Some(ValueValidation)),
            ("keys rotate --purpose fixture",                                 Some(ValueValidation)),
            ("settings get --app app",                                        None),
            ("settings set --app app --programmatic-client desktop --programmatic-client 1-x", None),
            ("settings set --app app --no-programmatic-clients",              None),
            ("settings set --app app",                                        Some(MissingRequiredArgument)),
            ("settings set --app app --set doorward_settings.email_claim=REQUIRED --unset access_settings.cors_settings", None),
            ("settings set --app app --set no.such=1",                        Some(ValueValidation)),
            ("settings set --web -f s.yaml",                                  None),
            ("settings set --web -f s.yaml --unset accessSettings",           Some(ArgumentConflict)),
            ("app create wiki --host h --to u",                               None),
            ("app create wiki --host h",                                      Some(MissingRequiredArgument)),
            ("app create wiki --host h --to u --kind cloud-run",              Some(MissingRequiredArgument)),
            ("app update wiki",                                               Some(MissingRequiredArgument)),
            ("app update wiki --no-labels --label a=b",                       Some(ArgumentConflict)),
            ("group add s@x.com",                                             Some(MissingRequiredArgument)),
            ("group remove s@x.com --member a@x.com",                         Some(ValueValidation)),
            ("role list --predefined --show-deleted",                         Some(ArgumentConflict)),
            ("role update r",                                                 Some(MissingRequiredArgument)),
            ("role update r --permission a --add-permission b",               Some(ArgumentConflict)),
            ("deny describe d --organization 1",                              None),
            ("apply -f w.toml --dry-run --json",                              None),
            ("apply -f w.toml --yes",                                         Some(MissingRequiredArgument)),
            ("apply",                                                         Some(MissingRequiredArgument)),
            ("export --format yaml",                                          None),
            ("export --format xml",                                           Some(InvalidValue)),
            ("import policy p.yaml --resource web",                           None),
            ("import policy p.yaml --resource app",                           Some(ValueValidation)),
            ("import policy p.yaml",                                          Some(MissingRequiredArgument)),
            ("import settings s.yaml",                                        None),
            ("explain --as user:a@x.com GET https://a/",                      None),
            ("explain --decision d --as user:a@x.com",                        Some(ArgumentConflict)),
            ("who-can GET https://a/",                                        None),
            ("what-can",                                                      Some(MissingRequiredArgument)),
            ("simulate -f w.yaml --since 7d",                                 None),
            ("simulate -f w.yaml --since yesterday",                          Some(ValueValidation)),
            ("audit tail --follow --limit 5",                                 None),
            ("audit verify --json",                                           None),
            ("audit verify --expect 5",                                       Some(ValueValidation)),
            ("serve",                                                         None),
            ("serve --config d.toml --json",                                  None),
            ("check",                                                         None),
            ("init --admin user:a@x.com",                                     None),
            ("init --admin a@x.com",                                          Some(ValueValidation)),
            ("backup f --config d.toml",                                      None),
            ("restore",                                                       Some(MissingRequiredArgument)),
            ("settings set --programmatic-client desktop",                    Some(MissingRequiredArgument)),
            ("settings set --app app --programmatic-client c --no-programmatic-clients", Some(ArgumentConflict)),
            ("metadata --service-account robot --listen 127.0.0.1:0",         None),
            ("metadata --key-file k.json",                                    None),
            ("metadata",                                                      Some(MissingRequiredArgument)),
            ("metadata --key-file k.json --service-account robot",            Some(ArgumentConflict)),
            ("dev --tls --app-tls-listen 127.0.0.1:0 --metadata-listen 127.0.0.1:0", None),
            ("dev --app-listen 8090",                                         Some(ValueValidation)),
            ("metadata --key-file k.json --listen localhost:8098",            Some(ValueValidation)),
            ("curl -X POST http://127.0.0.1:8080/",                           Some(UnknownArgument)),
            ("dev --app-tls-listen 127.0.0.1:0",                              Some(MissingRequiredArgument)),
            ("decisions --follow --json --limit 5",                           None),
            ("decisions --limit 0",                                           Some(ValueValidation)),
        ];
        for (line, refused) in cases {
            assert_eq!(parse(line).err().map(|error| error.kind()), refused, "{line}");
        }
    }
}
