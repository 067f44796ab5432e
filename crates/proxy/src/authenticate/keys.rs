//! Keys of trusted issuers that a request has to wait for.

use std::sync::Arc;

use doorward_core::outbound::{IssuerKeysError, KeySource};
use doorward_wire::jose::VerifyingKeys;

use super::Unproven;

/// How often one request waits: once for the token in each of the two fields that may hold one.
const WAITS_LIMIT: usize = 2;

/// Keys that are not at hand.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MissingKeys {
    pub(super) source: KeySource,
    pub(super) kid: String,
}

/// The keys that one request has waited for, or why there are none: it asks for nothing twice.
#[derive(Debug, Default)]
pub(crate) struct BroughtKeys(Vec<(MissingKeys, Result<Arc<VerifyingKeys>, IssuerKeysError>)>);

impl BroughtKeys {
    /// None.
    #[cfg(test)]
    pub(crate) const fn new() -> Self {
        BroughtKeys(Vec::new())
    }

    pub(super) fn add(&mut self, missing: MissingKeys, outcome: Result<Arc<VerifyingKeys>, IssuerKeysError>) {
        self.0.push((missing, outcome));
    }

    /// What came of waiting for these keys. After [`WAITS_LIMIT`] waits they are as good as out of reach, so that no change of the
    /// list of issuers keeps a request here.
    pub(super) fn find(&self, source: KeySource, kid: &str) -> Result<Arc<VerifyingKeys>, Unproven> {
        let brought = self.0.iter().find(|(asked, _)| asked.source == source && asked.kid == kid);
        match brought.map(|(_, outcome)| outcome) {
            Some(Ok(keys)) => Ok(keys.clone()),
            Some(Err(cause)) => Err(Unproven::Keys { entry: source.entry, cause: cause.clone() }),
            None if self.0.len() >= WAITS_LIMIT => {
                Err(Unproven::Keys { entry: source.entry, cause: IssuerKeysError::Waiting })
            }
            None => Err(Unproven::Missing(MissingKeys { source, kid: kid.to_owned() })),
        }
    }
}
