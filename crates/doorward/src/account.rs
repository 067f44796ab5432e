//! Service accounts, as people name them on the command line.

use std::convert::Infallible;
use std::str::FromStr;

use anyhow::{anyhow, bail};
use doorward_core::member::Email;
use doorward_server::dev::description::Description;

/// A service account, by its address or its name in dev.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Account {
    /// Any account of the project.
    Address(Email),
    /// One that `doorward dev` made.
    Name(String),
}

impl FromStr for Account {
    type Err = Infallible;

    /// What is no address is a name: whether there is such a one, dev.json says.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.parse().map_or_else(|_| Account::Name(text.to_owned()), Account::Address))
    }
}

impl Account {
    /// The address; a name is looked up in the description of `world`, if it is a `doorward dev`. Whether there is an account at it, the server says.
    pub(crate) fn address(&self, world: Option<&Description>) -> anyhow::Result<Email> {
        let name = match self {
            Account::Address(email) => return Ok(email.clone()),
            Account::Name(name) => name,
        };
        let Some(world) = world else {
            bail!(
                "{name:?} is no address, and only `doorward dev` knows accounts by name: use NAME@PROJECT.iam.gserviceaccount.com"
            );
        };
        let Some(account) = world.service_accounts.get(name) else {
            let names: Vec<&str> = world.service_accounts.keys().map(String::as_str).collect();
            bail!("no service account {name:?} in dev.json: use an address, or one of {}", names.join(", "));
        };
        let damaged =
            |error| anyhow!("the address of {name} in dev.json is damaged ({error}): start `doorward dev` again");
        account.email.parse().map_err(damaged)
    }
}

/// The option that names the account whose keys or policy are meant.
#[derive(Debug, clap::Args)]
pub(crate) struct AccountArgs {
    /// The service account, by its name in dev.json or its address
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) account: Account,
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::world::tests::description;

    #[test]
    fn an_account_is_named_by_its_address_or_as_dev_json_names_it() {
        let mut world: Description = serde_json::from_value(description("http://127.0.0.1:1")).unwrap();
        world.service_accounts.get_mut("target").unwrap().email = "x".into();
        #[rustfmt::skip]
        let cases = [
            ("robot",                          Ok("robot@p.iam.gserviceaccount.com")),
            ("Robot@p.iam.gserviceaccount.com", Ok("robot@p.iam.gserviceaccount.com")),
            ("another@other.example",          Ok("another@other.example")),
            ("Robot",                          Err("no service account \"Robot\" in dev.json: use an address, or one of robot, target")),
            ("",                               Err("no service account \"\" in dev.json: use an address, or one of robot, target")),
            ("target",                         Err("the address of target in dev.json is damaged (")),
        ];
        for (text, expected) in cases {
            let account: Account = text.parse().unwrap();
            match (account.address(Some(&world)).map_err(|error| error.to_string()), expected) {
                (Ok(email), Ok(expected)) => assert_eq!(email.as_str(), expected),
                (Err(message), Err(expected)) => assert!(message.starts_with(expected), "{message}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }
}
