//! One way to record what the token endpoints and their kin did.

use std::net::IpAddr;
use std::sync::Arc;

use doorward_core::audit::{AuditClosed, AuditEvent, AuditSink, TokenEvent, TokenMethod, TokenReason};
use doorward_core::clock::{Clock, Timestamp};
use doorward_core::entropy::{Entropy, EntropyError, random_base64url};

use crate::tasks::join;

/// Makes events and records them.
#[derive(Clone)]
pub struct Recorder {
    audit: Arc<dyn AuditSink>,
    entropy: Arc<dyn Entropy>,
    clock: Arc<dyn Clock>,
}

/// A cause that has a code in the record.
pub trait Refused: std::fmt::Display {
    /// The code.
    fn reason(&self) -> TokenReason;
}

impl Recorder {
    /// Records in `audit`.
    pub fn new(audit: Arc<dyn AuditSink>, entropy: Arc<dyn Entropy>, clock: Arc<dyn Clock>) -> Self {
        Recorder { audit, entropy, clock }
    }

    /// The time of the request that an event is about.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// An event that begins now.
    pub fn begin(&self, method: TokenMethod, peer: Option<IpAddr>) -> Result<TokenEvent, EntropyError> {
        Ok(TokenEvent::new(random_base64url(&*self.entropy, 16)?, self.clock.now(), method, peer))
    }

    /// Records an event with its outcome: what was issued stands in the event already, a refusal is written into it.
    ///
    /// # Errors
    /// The refusal itself, or [`AuditClosed`]: what cannot be recorded has not happened, and nothing may be answered but that.
    pub async fn finish<T, E>(&self, mut event: TokenEvent, outcome: Result<T, E>) -> Result<T, E>
    where
        E: Refused + From<AuditClosed>,
    {
        if let Err(error) = &outcome {
            event.issued = None;
            event.audience = None;
            event.refused = Some(error.to_string());
            event.reason = Some(error.reason());
        }
        // Beside this request: a client that hangs up while the record is behind must not end the record of what it tried.
        let audit = self.audit.clone();
        let recording = tokio::spawn(async move { audit.record(AuditEvent::Token(event)).await });
        join(recording).await.unwrap_or(Err(AuditClosed))?;
        outcome
    }
}
