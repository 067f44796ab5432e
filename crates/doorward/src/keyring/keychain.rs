//! The keychain of macOS.
//!
//! Spec: <https://developer.apple.com/documentation/security/keychain-services>

use security_framework::base::Error;
use security_framework::passwords::{delete_generic_password, get_generic_password, set_generic_password};

use super::{KeyringError, SERVICE};

/// `errSecItemNotFound`.
const NOT_FOUND: i32 = -25_300;
/// `errSecAuthFailed`, `errSecUserCanceled` and `errSecInteractionNotAllowed`.
const LOCKED: [i32; 3] = [-25_293, -128, -25_308];

pub(super) fn keep(name: &str, secret: &str) -> Result<(), KeyringError> {
    set_generic_password(SERVICE, name, secret.as_bytes()).map_err(failed)
}

pub(super) fn find(name: &str) -> Result<Option<String>, KeyringError> {
    match get_generic_password(SERVICE, name) {
        Ok(secret) => {
            let secret = String::from_utf8(secret);
            secret.map(Some).map_err(|_| KeyringError::Failed("the entry is no text".to_owned()))
        }
        Err(error) if error.code() == NOT_FOUND => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

pub(super) fn remove(name: &str) -> Result<(), KeyringError> {
    match delete_generic_password(SERVICE, name) {
        Err(error) if error.code() != NOT_FOUND => Err(failed(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn failed(error: Error) -> KeyringError {
    if LOCKED.contains(&error.code()) { KeyringError::Locked } else { KeyringError::Failed(error.to_string()) }
}
