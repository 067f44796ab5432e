//! `doorward check`: every mistake of the server's file, without starting anything.

use std::path::{Path, PathBuf};

use anyhow::bail;
use doorward_server::config::Config;
use doorward_server::serve;

use super::serve::ConfigArgs;
use crate::output::{json_line, print, say};

/// What is kept if the file does not say.
const ENOUGH_EVENTS: u64 = 1_000_000;

/// Find every mistake in the file of `doorward serve`, and start nothing
///
/// Asks nobody and changes nothing. Exit code 1 if there is a mistake.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward check doorward.toml
  doorward check --config doorward.toml --json")]
pub(crate) struct Args {
    /// The server's file
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

/// Checks the file.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let file = args.file.as_deref().unwrap_or(args.config.path());
    let config = read(file)?;
    if let Some(warning) = other_ports(&config) {
        say(&format!("warning: {warning}"));
    }
    if let Some(warning) = short_record(config.keep_events, config.sinks.len()) {
        say(&warning);
    }
    let text = match args.json {
        true => json_line(&serde_json::json!({"api_url": config.api_url, "applications": config.applications.len()}))?,
        false => format!("{} is good\n", crate::output::printable(&file.display().to_string())),
    };
    Ok(print(&text)?)
}

/// What is said of applications that are not where they are listened for.
pub(super) fn other_ports(config: &Config) -> Option<String> {
    let origins: Vec<String> = config.at_other_ports().iter().map(ToString::to_string).collect();
    let first = config.at_other_ports().first()?.host.name().to_owned();
    let port = config.apps.address.port();
    Some(format!(
        "the applications are listened for at port {port}, and {} is at another: it is answered there only if something leads that port to \
         this one. Otherwise write the port in `host` (\"{first}:{port}\"), or listen at the other",
        origins.join(", ")
    ))
}

/// What is said of a record that strangers can fill.
fn short_record(keep_events: u64, sinks: usize) -> Option<String> {
    (keep_events < ENOUGH_EVENTS && sinks == 0).then(|| {
        format!(
            "warning: the newest {keep_events} events are kept, and requests of strangers are events: so many of them push administrative \
             changes out of the record. Keep more in [audit], or add an [[audit.sink]]"
        )
    })
}

/// Reads the file; what is wrong with it is told on standard error, each mistake on a line.
pub(super) fn read(path: &Path) -> anyhow::Result<Config> {
    serve::read(path).or_else(|mistakes| {
        let lines: Vec<String> = mistakes.to_string().lines().map(str::to_owned).collect();
        lines.iter().for_each(|line| say(line));
        bail!("{}", counted(lines.len(), path))
    })
}

/// What is said after the mistakes of a file.
pub(super) fn counted(mistakes: usize, path: &Path) -> String {
    let count = if mistakes == 1 { "1 mistake".to_owned() } else { format!("{mistakes} mistakes") };
    format!("{count} in {}: mend them, and see with `doorward check {}`", path.display(), crate::output::quoted(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_strangers_can_fill_is_warned_of() {
        for (keep_events, sinks, warned) in [(20, 0, true), (999_999, 0, true), (1_000_000, 0, false), (20, 1, false)] {
            assert_eq!(short_record(keep_events, sinks).is_some(), warned, "{keep_events} {sinks}");
        }
    }

    #[test]
    fn a_port_that_is_not_listened_at_is_told_of_unless_a_proxy_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("doorward.toml");
        // (the listener of the applications, their host) => what is told
        let cases = [
            ("listen = '127.0.0.1:8080'", "wiki.example.com", Some("http://wiki.example.com is at another")),
            ("listen = '127.0.0.1:8080'", "wiki.example.com:8080", None),
            ("listen = '127.0.0.1:80'", "wiki.example.com", None),
            ("listen = '127.0.0.1:8080'", "[::1]", Some("(\"[::1]:8080\")")),
            ("listen = '0.0.0.0:8080', behind_tls_proxy = true", "wiki.example.com", None),
        ];
        for (listener, host, expected) in cases {
            let text = format!(
                "[server]\napi_url = 'http://127.0.0.1:8081'\napi = {{ listen = '127.0.0.1:8081' }}\napps = {{ {listener} }}\n\
                 [[app]]\nname = 'wiki'\nhost = '{host}'\nto = 'http://10.0.0.7'\n"
            );
            std::fs::write(&path, text).unwrap();
            let told = other_ports(&read(&path).unwrap());
            assert_eq!(told.is_some(), expected.is_some(), "{listener} {host} {told:?}");
            assert!(told.unwrap_or_default().contains(expected.unwrap_or_default()), "{listener} {host}");
        }
    }

    #[test]
    fn a_good_file_is_read_and_a_wrong_one_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("doorward.toml");
        let good = "[server]\napi_url = 'http://127.0.0.1:8081'\napi = { listen = '127.0.0.1:8081' }\napps = { listen = '127.0.0.1:8080' }\n";
        std::fs::write(&path, good).unwrap();
        assert_eq!(read(&path).unwrap().api_url, "http://127.0.0.1:8081");
        std::fs::write(&path, format!("{good}colour = 'red'\n")).unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.starts_with(&format!("1 mistake in {}: mend them", path.display())), "{message}");
    }
}
