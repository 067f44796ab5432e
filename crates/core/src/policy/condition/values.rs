//! JSON as CEL's values, and back.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cel::Value;
use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
};
use cel::common::value::Val;
use serde_json::{Number, Value as Json};

use super::EvaluationError;
use super::meter::Meter;

/// Makes a value whose texts are borrowed from the JSON. Spends what it weighs.
pub(super) fn to_cel<'v>(json: &'v Json, input: &Meter) -> Result<Box<dyn Val + 'v>, EvaluationError> {
    let spend = |bytes: usize| input.spend_bytes(bytes).map_err(|_| EvaluationError::InputTooLarge);
    spend(0)?;
    Ok(match json {
        Json::Null => Box::new(CelNull),
        Json::Bool(value) => Box::new(CelBool::from(*value)),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Box::new(CelInt::from(value)),
            (None, Some(value)) => Box::new(CelUInt::from(value)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Json::String(text) => {
            spend(text.len())?;
            Box::new(CelString::from(text.as_str()))
        }
        Json::Array(elements) => {
            let elements = elements.iter().map(|element| to_cel(element, input));
            Box::new(CelList::from(elements.collect::<Result<Vec<_>, _>>()?))
        }
        Json::Object(members) => object_to_cel(members, input)?,
    })
}

/// Makes a map whose texts are borrowed from the JSON's. Spends what it weighs.
pub(super) fn object_to_cel<'v>(
    members: &'v serde_json::Map<String, Json>,
    input: &Meter,
) -> Result<Box<dyn Val + 'v>, EvaluationError> {
    let mut map = HashMap::with_capacity(members.len());
    for (name, value) in members {
        input.spend_bytes(name.len()).map_err(|_| EvaluationError::InputTooLarge)?;
        map.insert(CelMapKey::from(name.as_str()), to_cel(value, input)?);
    }
    Ok(Box::new(CelMap::from(map)))
}

/// Reads a result as JSON: bytes become base64 as in Protocol Buffers' JSON, and types and numbers that are not finite have no form.
pub(super) fn to_json(value: &dyn Val) -> Result<Json, EvaluationError> {
    let name = || EvaluationError::NotJson(plain_name(value.get_type().name()).to_owned());
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        return Ok(Json::String(text.inner().to_owned()));
    }
    if let Some(truth) = value.downcast_ref::<CelBool>() {
        return Ok(Json::Bool(*truth.inner()));
    }
    if let Some(number) = value.downcast_ref::<CelInt>() {
        return Ok(Json::Number(Number::from(*number.inner())));
    }
    if let Some(number) = value.downcast_ref::<CelUInt>() {
        return Ok(Json::Number(Number::from(*number.inner())));
    }
    if let Some(number) = value.downcast_ref::<CelDouble>() {
        return Number::from_f64(*number.inner()).map(Json::Number).ok_or_else(name);
    }
    if value.downcast_ref::<CelNull>().is_some() {
        return Ok(Json::Null);
    }
    if let Some(bytes) = value.downcast_ref::<CelBytes<'_>>() {
        return Ok(Json::String(STANDARD.encode(bytes.inner())));
    }
    if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        return list.inner().iter().map(|element| to_json(element.as_ref())).collect::<Result<_, _>>().map(Json::Array);
    }
    if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        let mut members = serde_json::Map::new();
        for (key, value) in map.inner() {
            let CelMapKey::String(key) = key else { return Err(name()) };
            members.insert(key.inner().to_owned(), to_json(value.as_ref())?);
        }
        return Ok(Json::Object(members));
    }
    Err(name())
}

/// Reads a result that must be a bool.
pub(super) fn to_bool(value: &dyn Val) -> Result<bool, EvaluationError> {
    let truth = value.downcast_ref::<CelBool>().map(|truth| *truth.inner());
    truth.ok_or_else(|| EvaluationError::NotBool(plain_name(value.get_type().name()).to_owned()))
}

/// The language's name of the value's type. The library has others for some.
pub(super) fn type_name(value: &Value) -> String {
    match value {
        Value::Float(_) => "double".to_owned(),
        Value::Null => "null_type".to_owned(),
        other => plain_name(&other.type_of().to_string()).to_owned(),
    }
}

/// A type's name, without the package that those of time come from.
pub(super) fn plain_name(name: &str) -> &str {
    match name {
        "google.protobuf.Timestamp" => "timestamp",
        "google.protobuf.Duration" => "duration",
        other => other,
    }
}

/// The types of several values.
pub(super) fn type_names(values: &[Value]) -> String {
    values.iter().map(type_name).collect::<Vec<_>>().join(", ")
}
