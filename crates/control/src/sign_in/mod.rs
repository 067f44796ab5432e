//! People: signing in at our pages, and what they then allow to clients.
//!
//! One file for each thing: `sessions` (who is signed in in a browser), `passwords`, `authorize` (the authorization endpoint) with `asked` (what a request may ask for), and
//! `devices` (the page on which a person lets a device in).

mod asked;
mod authorize;
mod devices;
mod passwords;
mod sessions;

use std::sync::Arc;

pub use authorize::{AuthorizeError, AuthorizeStep};
pub use devices::{DeviceError, DeviceQuestion};
use doorward_core::account::UniqueId;
use doorward_core::clock::Timestamp;
use doorward_core::entropy::Entropy;
use doorward_core::member::Email;
use doorward_core::snapshot::SnapshotCell;
use doorward_core::store::Store;
pub(crate) use passwords::NoTurn;
pub use passwords::{PasswordDesk, PasswordError, hash_password};
pub use sessions::{NewSession, SignInError};

use crate::admin::Peer;
use crate::record::Recorder;
use crate::throttle::Throttle;

/// Signs people in, and answers clients for them.
#[derive(Clone)]
pub struct SignIn {
    store: Arc<dyn Store>,
    snapshots: Arc<SnapshotCell>,
    recorder: Recorder,
    entropy: Arc<dyn Entropy>,
    throttle: Arc<Throttle>,
    passwords: PasswordDesk,
}

/// A browser: what it sent, and from where.
#[derive(Debug, Clone, Copy)]
pub struct Visitor<'a> {
    /// The value of our cookie, if it sent exactly one.
    pub cookie: Option<&'a str>,
    /// The other end of the connection, or the client behind it.
    pub peer: Peer,
}

/// A person who is signed in in this browser: made from a session or a password, and by nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    subject: UniqueId,
    email: Email,
    auth_time: Timestamp,
}

impl Person {
    /// Their number.
    pub fn subject(&self) -> &UniqueId {
        &self.subject
    }

    /// Their address.
    pub fn email(&self) -> &Email {
        &self.email
    }

    /// When they signed in.
    pub fn auth_time(&self) -> Timestamp {
        self.auth_time
    }
}

impl SignIn {
    /// The service, with everything that it uses.
    pub fn new(
        store: Arc<dyn Store>,
        snapshots: Arc<SnapshotCell>,
        recorder: Recorder,
        entropy: Arc<dyn Entropy>,
        throttle: Arc<Throttle>,
    ) -> Self {
        SignIn { store, snapshots, recorder, entropy, throttle, passwords: PasswordDesk::default() }
    }

    /// Where passwords are looked at: for whoever sets some.
    pub fn passwords(&self) -> PasswordDesk {
        self.passwords.clone()
    }
}
