//! The OpenTelemetry protocol over HTTP with JSON, as far as logs need it.
//!
//! Its JSON is that of protocol buffers with two differences: ids are hexadecimal and not base64, and enums are
//! numbers. 64-bit numbers are texts.
//!
//! Spec: <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::audit_log::{LogEntry, Severity};

/// Where logs are sent, below the endpoint.
pub const LOGS_PATH: &str = "/v1/logs";

/// Body of `POST /v1/logs`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportLogsServiceRequest {
    /// By who made them.
    pub resource_logs: Vec<ResourceLogs>,
}

impl ExportLogsServiceRequest {
    /// A request with the records of one process. `service` is `service.name`, `instance` is `service.instance.id`,
    /// `version` is `service.version` and the version of the scope.
    pub fn new(service: &str, instance: &str, version: &str, log_records: Vec<LogRecord>) -> Self {
        let attributes = vec![
            KeyValue::text("service.name", service),
            KeyValue::text("service.instance.id", instance),
            KeyValue::text("service.version", version),
        ];
        let scope = Scope { name: "doorward.audit".to_owned(), version: version.to_owned() };
        ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Resource { attributes },
                scope_logs: vec![ScopeLogs { scope, log_records }],
            }],
        }
    }
}

/// The records of one process.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceLogs {
    /// The process.
    pub resource: Resource,
    /// By what in it wrote them.
    pub scope_logs: Vec<ScopeLogs>,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Resource {
    /// `service.name` and so on.
    pub attributes: Vec<KeyValue>,
}

/// The records of one part of a process.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScopeLogs {
    /// The part.
    pub scope: Scope,
    /// The records.
    pub log_records: Vec<LogRecord>,
}

/// A part of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scope {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogRecord {
    /// When it happened: nanoseconds since the Unix epoch.
    #[serde(serialize_with = "as_text")]
    pub time_unix_nano: u64,
    /// When it was collected: nanoseconds since the Unix epoch.
    #[serde(serialize_with = "as_text")]
    pub observed_time_unix_nano: u64,
    /// 9 for information, 10 for a notice, 17 for an error.
    pub severity_number: u8,
    /// `INFO`, `NOTICE` or `ERROR`.
    pub severity_text: String,
    /// The entry.
    pub body: AnyValue,
    /// What collectors search by.
    pub attributes: Vec<KeyValue>,
    /// The request's trace, if it had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<HexId<16>>,
    /// Where in the trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_id: Option<HexId<8>>,
}

impl LogRecord {
    /// The record of an audit entry. `time` and `observed` are nanoseconds since the Unix epoch.
    ///
    /// # Errors
    /// The error of serde if the entry cannot be written as JSON.
    pub fn of(entry: &LogEntry, time: u64, observed: u64) -> Result<Self, serde_json::Error> {
        let (severity_number, severity_text) = match entry.severity {
            Severity::Info => (9, "INFO"),
            Severity::Notice => (10, "NOTICE"),
            Severity::Error => (17, "ERROR"),
        };
        let payload = &entry.proto_payload;
        let mut attributes = vec![
            KeyValue::text("log.name", &entry.log_name),
            KeyValue::text("log.record.uid", &entry.insert_id),
            KeyValue::text("rpc.service", &payload.service_name),
            KeyValue::text("rpc.method", &payload.method_name),
        ];
        let who = &payload.authentication_info;
        if let Some(caller) = who.principal_email.as_ref().or(who.principal_subject.as_ref()) {
            attributes.push(KeyValue::text("enduser.id", caller));
        }
        if !payload.request_metadata.caller_ip.is_empty() {
            attributes.push(KeyValue::text("client.address", &payload.request_metadata.caller_ip));
        }
        Ok(LogRecord {
            time_unix_nano: time,
            observed_time_unix_nano: observed,
            severity_number,
            severity_text: severity_text.to_owned(),
            body: AnyValue::from(serde_json::to_value(entry)?),
            attributes,
            trace_id: None,
            span_id: None,
        })
    }
}

/// A name and its value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KeyValue {
    /// The name.
    pub key: String,
    /// Its value.
    pub value: AnyValue,
}

impl KeyValue {
    /// A name with a text.
    pub fn text(key: &str, value: &str) -> Self {
        KeyValue { key: key.to_owned(), value: AnyValue::StringValue(value.to_owned()) }
    }
}

/// Any value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AnyValue {
    /// A text.
    StringValue(String),
    /// A boolean.
    BoolValue(bool),
    /// A 64-bit number.
    IntValue(#[serde(serialize_with = "as_text")] i64),
    /// A number with decimals.
    DoubleValue(f64),
    /// A list.
    ArrayValue(ArrayValue),
    /// Names and values, in order.
    KvlistValue(KeyValueList),
    /// Bytes: base64, for they are no id.
    BytesValue(#[serde(serialize_with = "as_base64")] Vec<u8>),
}

/// A list.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ArrayValue {
    /// Its values.
    pub values: Vec<AnyValue>,
}

/// Names and values.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct KeyValueList {
    /// In order.
    pub values: Vec<KeyValue>,
}

impl From<Value> for AnyValue {
    /// `null` becomes an empty text: there is no empty value in the JSON that collectors read. A number beyond 64 bits
    /// is a text.
    fn from(value: Value) -> Self {
        match value {
            Value::Null => AnyValue::StringValue(String::new()),
            Value::Bool(value) => AnyValue::BoolValue(value),
            Value::Number(number) => match (number.as_i64(), number.is_f64(), number.as_f64()) {
                (Some(whole), _, _) => AnyValue::IntValue(whole),
                (None, true, Some(decimal)) => AnyValue::DoubleValue(decimal),
                (None, _, _) => AnyValue::StringValue(number.to_string()),
            },
            Value::String(text) => AnyValue::StringValue(text),
            Value::Array(values) => {
                AnyValue::ArrayValue(ArrayValue { values: values.into_iter().map(AnyValue::from).collect() })
            }
            Value::Object(fields) => AnyValue::KvlistValue(KeyValueList {
                values: fields.into_iter().map(|(key, value)| KeyValue { key, value: value.into() }).collect(),
            }),
        }
    }
}

/// An id of a trace or a span: lower-case hexadecimal, unlike other bytes of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HexId<const N: usize>(pub [u8; N]);

impl<const N: usize> fmt::Display for HexId<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<const N: usize> Serialize for HexId<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn as_text<S: Serializer>(number: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

fn as_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

/// Answer of `POST /v1/logs`: a 200 may still have refused records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportLogsServiceResponse {
    /// What was refused.
    pub partial_success: Option<ExportLogsPartialSuccess>,
}

/// What a collector refused. Such records are not to be sent again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportLogsPartialSuccess {
    /// How many: digits.
    #[serde(deserialize_with = "super::proto_json::digits")]
    pub rejected_log_records: Option<String>,
    /// Why; with no record refused, a warning.
    pub error_message: String,
}

impl ExportLogsServiceResponse {
    /// How many records were refused.
    pub fn rejected(&self) -> u64 {
        let partial = self.partial_success.as_ref();
        partial.and_then(|partial| partial.rejected_log_records.as_ref()?.parse().ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::google_api::audit_log::tests::refused;
    use serde_json::json;

    #[test]
    fn values_are_written_in_the_json_of_otlp() {
        #[rustfmt::skip]
        let cases = [
            (AnyValue::from(json!("x")),             json!({"stringValue": "x"})),
            (AnyValue::from(json!(true)),            json!({"boolValue": true})),
            (AnyValue::from(json!(i64::MIN)),        json!({"intValue": "-9223372036854775808"})),
            (AnyValue::from(json!(u64::MAX)),        json!({"stringValue": "18446744073709551615"})),
            (AnyValue::from(json!(1.5)),             json!({"doubleValue": 1.5})),
            (AnyValue::from(json!(null)),            json!({"stringValue": ""})),
            (AnyValue::from(json!(["x"])),           json!({"arrayValue": {"values": [{"stringValue": "x"}]}})),
            (AnyValue::from(json!({"a": {}})),       json!({"kvlistValue": {"values": [{"key": "a", "value": {"kvlistValue": {"values": []}}}]}})),
            (AnyValue::BytesValue(vec![0xfb, 0xff]), json!({"bytesValue": "+/8="})),
        ];
        for (value, expected) in cases {
            assert_eq!(serde_json::to_value(&value).unwrap(), expected);
        }
    }

    #[test]
    fn an_audit_entry_is_a_record_with_the_whole_entry_as_its_body() {
        let mut record = LogRecord::of(&refused(), 1_795_639_877_000_000_000, 1_795_639_877_500_000_000).unwrap();
        record.trace_id = Some(HexId([0x0a; 16]));
        record.span_id = Some(HexId([0xf0; 8]));
        let body = serde_json::to_value(AnyValue::from(serde_json::to_value(refused()).unwrap())).unwrap();
        let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
        let request = ExportLogsServiceRequest::new("doorward", "i", "0.1.0", vec![record]);
        let expected = json!({"resourceLogs": [{
            "resource": {"attributes": [
                text("service.name", "doorward"), text("service.instance.id", "i"), text("service.version", "0.1.0"),
            ]},
            "scopeLogs": [{"scope": {"name": "doorward.audit", "version": "0.1.0"}, "logRecords": [{
                "timeUnixNano": "1795639877000000000", "observedTimeUnixNano": "1795639877500000000",
                "severityNumber": 17, "severityText": "ERROR", "body": body,
                "attributes": [
                    text("log.name", "projects/p/logs/cloudaudit.googleapis.com%2Fdata_access"), text("log.record.uid", "106"),
                    text("rpc.service", "iap.googleapis.com"), text("rpc.method", "AuthorizeUser"),
                    text("enduser.id", "user@example.com"), text("client.address", "192.0.2.1"),
                ],
                "traceId": "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a", "spanId": "f0f0f0f0f0f0f0f0",
            }]}],
        }]});
        assert_eq!(serde_json::to_value(request).unwrap(), expected);
    }

    #[test]
    fn what_a_collector_refused_is_counted() {
        #[rustfmt::skip]
        let cases = [
            (json!({}),                                                                        0),
            (json!({"partialSuccess": null}),                                                  0),
            (json!({"partialSuccess": {"errorMessage": "slow"}}),                              0),
            (json!({"partialSuccess": {"rejectedLogRecords": "7", "errorMessage": "full"}}),   7),
            (json!({"partialSuccess": {"rejectedLogRecords": 7}}),                             7),
        ];
        for (answer, rejected) in cases {
            let read: ExportLogsServiceResponse = serde_json::from_value(answer.clone()).unwrap();
            assert_eq!(read.rejected(), rejected, "{answer}");
        }
    }
}
