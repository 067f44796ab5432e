//! `doorward init`: what has to be there before the first start of `doorward serve`.

use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use doorward_core::clock::{Clock as _, SystemClock};
use doorward_core::entropy::SystemEntropy;
use doorward_core::member::{Email, Member};
use doorward_server::serve::init::{FirstAdministrator, Initialised, init};

use super::serve::ConfigArgs;
use crate::output::{json_line, print, printable, say};

/// Make the state directory, the database, its key file and the first administrator, as far as they are not there
///
/// Doing it again changes nothing but what is missing, so that it is the way back for who lost their administrator; the server is stopped
/// for it. The password of a person is shown once, and kept nowhere.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --admin, the operator's token is written to a file that only its owner reads. It may do everything but enter applications:
  DOORWARD_ADMIN_TOKEN_FILE=state/admin-token doorward app list --api-url https://auth.example.com

Example:
  doorward init --config doorward.toml --admin user:you@example.com
  doorward init --config doorward.toml")]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// The person who administers first, as user:EMAIL
    #[arg(long, value_name = "MEMBER", value_parser = person)]
    admin: Option<Email>,
    /// Give that person a new password, even if they have one: it is shown once
    #[arg(long, requires = "admin")]
    new_password: bool,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

/// Reads `user:EMAIL`.
fn person(text: &str) -> Result<Email, String> {
    match text.parse() {
        Ok(Member::User(email)) => Ok(email),
        Ok(_) => Err("only a person administers first: write user:EMAIL".to_owned()),
        Err(_) => Err(match text.parse::<Email>() {
            Ok(email) => format!("not a member: write user:{email}"),
            Err(_) => "not a member: write user:EMAIL".to_owned(),
        }),
    }
}

/// Makes what is missing.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let Args { config, admin, new_password, json } = args;
    let file = config.path().to_owned();
    let config = config.read()?;
    let first = match admin {
        Some(email) => FirstAdministrator::Person { email, new_password },
        None => FirstAdministrator::Token,
    };
    let prepared = init(&config, first, Arc::new(SystemEntropy), SystemClock.now()).await?;
    if !json {
        prepared.made().iter().for_each(|path| say(&format!("made {}", path.display())));
    }
    let next = next(prepared.initialised(), &config.api_url, &file);
    let done = prepared.initialised();
    let has_new_password = matches!(done, Initialised::Person { password: Some(_), .. });
    let text = if json { json_line(&answer(done))? } else { shown(done, &config.api_url) };
    // Shown first: a password that nobody saw is not set.
    print(&text).map_err(|error| match has_new_password {
        true => anyhow!("{error}: the password was not shown, so it is not set; do it again"),
        false => anyhow::Error::from(error),
    })?;
    prepared.finish().await.map_err(|error| match has_new_password {
        true => anyhow!("the password above is not set: {error}; do it again"),
        false => anyhow::Error::from(error),
    })?;
    if !json {
        say(&next);
    }
    Ok(())
}

/// What comes after it.
fn next(done: &Initialised, api_url: &str, file: &Path) -> String {
    let serve = format!("next: doorward serve --config {}", crate::output::quoted(file));
    match done {
        Initialised::Person { .. } => format!("{serve}, and there doorward login --api-url {api_url}"),
        Initialised::Token { .. } => serve,
    }
}

fn answer(done: &Initialised) -> serde_json::Value {
    match done {
        Initialised::Person { email, password } => {
            serde_json::json!({"admin": format!("user:{email}"), "password": password})
        }
        Initialised::Token { path, made } => serde_json::json!({"admin_token_file": path, "made": made}),
    }
}

fn shown(done: &Initialised, api_url: &str) -> String {
    let text = match done {
        Initialised::Person { email, password: Some(password) } => {
            format!("{email} administers; their new password, shown this once: {password}")
        }
        Initialised::Person { email, password: None } => {
            format!("{email} administers, with the password that they have; --new-password gives them another")
        }
        Initialised::Token { path, made } => {
            let made = if *made { "made" } else { "was there:" };
            let path = crate::output::quoted(path);
            format!("{made} {path}; use it with DOORWARD_ADMIN_TOKEN_FILE={path} doorward app list --api-url {api_url}")
        }
    };
    printable(&text) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_administrator_is_a_person() {
        #[rustfmt::skip]
        let cases = [
            ("user:you@example.com",           Ok("you@example.com")),
            ("you@example.com",                Err("not a member: write user:you@example.com")),
            ("group:staff@example.com",        Err("only a person administers first: write user:EMAIL")),
            ("allUsers",                       Err("only a person administers first: write user:EMAIL")),
            ("you",                            Err("not a member: write user:EMAIL")),
        ];
        for (text, expected) in cases {
            let read = person(text);
            assert_eq!(read.as_ref().map(Email::as_str).map_err(String::as_str), expected, "{text}");
        }
    }

    #[test]
    fn a_password_is_shown_when_it_is_new_and_a_token_never() {
        let email: Email = "you@example.com".parse().unwrap();
        let new = Initialised::Person { email: email.clone(), password: Some("pw".into()) };
        assert!(shown(&new, "u").ends_with("shown this once: pw\n"));
        let old = Initialised::Person { email, password: None };
        assert_eq!(
            shown(&old, "u"),
            "you@example.com administers, with the password that they have; --new-password gives them another\n"
        );
        assert_eq!(answer(&old), serde_json::json!({"admin": "user:you@example.com", "password": null}));
        let token = Initialised::Token { path: "/s/admin-token".into(), made: true };
        let expected =
            "made /s/admin-token; use it with DOORWARD_ADMIN_TOKEN_FILE=/s/admin-token doorward app list --api-url u\n";
        assert_eq!(shown(&token, "u"), expected);
    }
}
