//! `google.longrunning.Operation` with its metadata. Everything of ours is done when it is answered.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A change that is done when it is answered.
///
/// Spec: <https://google.aip.dev/151>
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LongRunningOperation {
    /// `RESOURCE/operations/ID`.
    pub name: String,
    /// When and on what, with `@type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
    /// `true`.
    #[serde(default)]
    pub done: bool,
    /// What was made or changed, with `@type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Value>,
}

impl LongRunningOperation {
    /// A finished one. `kind` is the message of the response, without `type.googleapis.com/`.
    ///
    /// # Errors
    /// The error of serde if `response` cannot be written as JSON.
    pub fn done(name: String, kind: &str, response: &impl Serialize) -> Result<Self, serde_json::Error> {
        let mut response = serde_json::to_value(response)?;
        if let Some(fields) = response.as_object_mut() {
            fields.insert("@type".to_owned(), format!("type.googleapis.com/{kind}").into());
        }
        Ok(LongRunningOperation { name, metadata: None, done: true, response: Some(response) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_finished_operation_carries_its_typed_answer() {
        let operation = LongRunningOperation::done("apps/p/operations/1".into(), "google.X", &json!({"a": 1})).unwrap();
        let expected = json!({
            "name": "apps/p/operations/1", "done": true, "response": {"@type": "type.googleapis.com/google.X", "a": 1},
        });
        assert_eq!(serde_json::to_value(operation).unwrap(), expected);
    }
}
