//! The secret service of a desktop session.
//!
//! Spec: <https://specifications.freedesktop.org/secret-service/latest/>

use std::collections::HashMap;
use std::path::PathBuf;

use dbus_secret_service::{EncryptionType, Error, Item, SecretService};

use super::{KeyringError, SERVICE};

/// What the library says after the two seconds that it waits for each answer.
const NO_REPLY: &str = "org.freedesktop.DBus.Error.NoReply";

pub(super) fn keep(name: &str, secret: &str) -> Result<(), KeyringError> {
    let service = connect()?;
    // The collection of the session, which is lost at its end, would be no place for a sign-in.
    let collection = match service.get_default_collection() {
        Err(Error::NoResult) => return Err(KeyringError::None),
        collection => collection.map_err(failed)?,
    };
    if collection.is_locked().map_err(failed)? {
        return Err(KeyringError::Locked);
    }
    let label = format!("Doorward: {name}");
    collection.create_item(&label, attributes(name), secret.as_bytes(), true, "text/plain").map_err(failed)?;
    Ok(())
}

pub(super) fn find(name: &str) -> Result<Option<String>, KeyringError> {
    let service = connect()?;
    let Some(item) = item(&service, name)? else { return Ok(None) };
    let secret = String::from_utf8(item.get_secret().map_err(failed)?);
    secret.map(Some).map_err(|_| KeyringError::Failed("the entry is no text".to_owned()))
}

pub(super) fn remove(name: &str) -> Result<(), KeyringError> {
    let service = connect()?;
    item(&service, name)?.map_or(Ok(()), |item| item.delete().map_err(failed))
}

/// A connection that never opens a window to ask for a password: what is locked is an error. It is not encrypted once more: it
/// goes through a socket of this user, and whoever may listen there may ask the service themselves.
fn connect() -> Result<SecretService, KeyringError> {
    if !is_there_a_session(|name| std::env::var_os(name).map(PathBuf::from)) {
        return Err(KeyringError::None);
    }
    SecretService::connect_with_max_prompt_timeout(EncryptionType::Plain, 0).map_err(|error| match error {
        Error::Dbus(error) if error.name() == Some(NO_REPLY) => KeyringError::Silent,
        // There is no bus, or nobody on it has this name.
        Error::Dbus(_) | Error::Unavailable => KeyringError::None,
        error => failed(error),
    })
}

/// Without one the library would start a bus of its own, with nobody on it.
fn is_there_a_session(variable: impl Fn(&str) -> Option<PathBuf>) -> bool {
    let set = |name| variable(name).filter(|value| !value.as_os_str().is_empty());
    set("DBUS_SESSION_BUS_ADDRESS").is_some() || set("XDG_RUNTIME_DIR").is_some_and(|dir| dir.join("bus").exists())
}

fn item<'a>(service: &'a SecretService, name: &str) -> Result<Option<Item<'a>>, KeyringError> {
    let found = service.search_items(attributes(name)).map_err(failed)?;
    match (found.unlocked.into_iter().next(), found.locked.is_empty()) {
        (Some(item), _) => Ok(Some(item)),
        (None, true) => Ok(None),
        (None, false) => Err(KeyringError::Locked),
    }
}

/// Those that other programs search by, too.
fn attributes(name: &str) -> HashMap<&str, &str> {
    HashMap::from([("service", SERVICE), ("username", name)])
}

fn failed(error: Error) -> KeyringError {
    match error {
        Error::Dbus(error) if error.name() == Some(NO_REPLY) => KeyringError::Silent,
        Error::Locked | Error::Prompt => KeyringError::Locked,
        error => KeyringError::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bus_is_started_where_there_is_no_session() {
        let dir = tempfile::tempdir().unwrap();
        let with_bus = dir.path().join("with");
        std::fs::create_dir(&with_bus).unwrap();
        std::fs::write(with_bus.join("bus"), "").unwrap();
        let (nothing, address) = (PathBuf::new(), PathBuf::from("unix:path=/x"));
        #[rustfmt::skip]
        let cases = [
            (&nothing, &nothing,                 false),
            (&nothing, &dir.path().to_owned(),   false),
            (&nothing, &with_bus,                true),
            (&address, &nothing,                 true),
        ];
        for (bus, runtime, expected) in cases {
            let variable = |name: &str| Some(if name == "XDG_RUNTIME_DIR" { runtime } else { bus }.clone());
            assert_eq!(is_there_a_session(variable), expected, "{bus:?} {runtime:?}");
        }
        assert!(!is_there_a_session(|_| None));
    }
}
