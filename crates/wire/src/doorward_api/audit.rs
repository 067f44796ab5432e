//! The record: its entries, whether it is as it was written, and where it is sent besides.

use serde::{Deserialize, Serialize};

use crate::google_api::audit_log::LogEntry;

/// Answer of `GET /doorward/v1/auditEntries`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListAuditEntriesResponse {
    /// Oldest first. Accesses that everybody has are not among them: they have no entry.
    pub entries: Vec<LogEntry>,
    /// Given back as `after`, to get what comes next.
    pub next: i64,
}

/// Answer of `GET /doorward/v1/auditEntries:verify`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VerifyAuditResponse {
    /// The number of the event to which the oldest that is kept is chained.
    pub after: i64,
    /// The number of the last event that is as it was written.
    pub sequence: i64,
    /// Its hash: to be compared with what was kept elsewhere, for a chain does not show that its end was cut off.
    pub hash: String,
    /// What comes next, if it is not as it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<BrokenChain>,
    /// The event that was asked for by `at`, if it is kept and as it was written, or is the one to which the oldest is chained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<AuditPoint>,
}

/// A place in the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPoint {
    /// The event's number.
    pub sequence: i64,
    /// Its hash.
    pub hash: String,
}

/// The first place at which a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenChain {
    /// The number of the event that is there.
    pub sequence: i64,
    /// What is wrong with it, for people.
    pub problem: String,
}

/// Answer of `GET /doorward/v1/auditSinks`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListAuditSinksResponse {
    /// In the order of the configuration.
    pub sinks: Vec<AuditSinkStatus>,
}

/// How a sink of the record is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditSinkStatus {
    /// Its name.
    pub name: String,
    /// `file`, `stdout` or `otlp`.
    pub kind: String,
    /// The last event that it has, with all before it that have an entry.
    pub sequence: i64,
    /// How many events it does not have yet.
    pub behind: i64,
    /// Since when nothing arrives: whole seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<i64>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How many events the retention forgot before it had them, since the process began.
    pub lost: i64,
    /// How many entries it did not take, since the process began.
    pub rejected: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_about_the_record_are_written_as_they_are_read() {
        let broken = json!({"after": 3, "sequence": 7, "hash": "aa", "broken": {"sequence": 8, "problem": "event 8 was changed"}});
        let read: VerifyAuditResponse = serde_json::from_value(broken.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), broken);
        let compared = json!({"after": 3, "sequence": 7, "hash": "aa", "at": {"sequence": 5, "hash": "bb"}});
        let read: VerifyAuditResponse = serde_json::from_value(compared.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), compared);
        let whole = json!({"after": 0, "sequence": 0, "hash": ""});
        assert_eq!(serde_json::to_value(VerifyAuditResponse::default()).unwrap(), whole);
        let sinks = json!({"sinks": [
            {"name": "a", "kind": "otlp", "sequence": 7, "behind": 1, "failingSince": 1800000000, "error": "e", "lost": 0, "rejected": 0},
            {"name": "b", "kind": "stdout", "sequence": 8, "behind": 0, "lost": 0, "rejected": 0},
        ]});
        let read: ListAuditSinksResponse = serde_json::from_value(sinks.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), sinks);
    }
}
