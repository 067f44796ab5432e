//! The file's JSON Schema, for editors. Written out: `schemars` would derive it, and put a dependency of forty thousand lines under
//! every shape of `wire` for one document; a test compares this one with what the shapes really have.

use std::collections::BTreeMap;

use doorward_core::policy::TITLE_LIMIT;
use doorward_wire::google_api::IapSettings;
use doorward_wire::google_api::field_mask::snake_case;
use serde_json::{Map, Value, json};

/// The schema, in the draft of 2020-12. Checked in as `docs/reference/world-file.schema.json`.
pub fn schema() -> Value {
    let text = || json!({"type": "string"});
    let texts = || json!({"type": "array", "items": {"type": "string"}});
    let list = |name: &str| json!({"type": "array", "items": {"$ref": format!("#/$defs/{name}")}});
    let resource = || json!({"$ref": "#/$defs/resource"});
    let condition = || json!({"$ref": "#/$defs/condition"});
    let some = |pattern: &str| json!({"type": "string", "pattern": pattern});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The file of doorward apply and doorward export",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "applications": list("application"),
            "policies": list("policy"),
            "deny_policies": list("deny_policy"),
            "settings": list("settings"),
            "groups": list("group"),
            "roles": list("role"),
            "access_levels": list("access_level"),
            "service_accounts": list("service_account"),
        },
        "$defs": {
            "resource": {
                "description": "app NAME, account ID, web, project, or the name of a resource such as organizations/1",
                "type": "string",
                "pattern": "^(app [!-~]+|account [!-~]+|web|project|(projects|folders|organizations)/[!-~]+)$",
            },
            "condition": {
                "description": "An expression in CEL, or a table with its title",
                "anyOf": [text(), object(&["expression"], json!({
                    "expression": text(),
                    "title": {"type": "string", "maxLength": TITLE_LIMIT},
                    "description": text(),
                    "location": text(),
                }))],
            },
            "application": object(&["name", "hosts", "upstreams"], json!({
                "name": some("^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$"),
                "kind": {"enum": ["backend_service", "app_engine", "cloud_run"], "default": "backend_service"},
                "region": text(),
                "service": text(),
                "version": text(),
                "id": some("^[1-9][0-9]{0,19}$"),
                "hosts": texts(),
                "path_prefixes": {"type": "array", "items": some("^/")},
                "upstreams": {"type": "array", "items": some("^https?://")},
                "iap_enabled": {"type": "boolean", "default": true},
                "client_id": text(),
                "description": text(),
                "labels": {"type": "object", "additionalProperties": text()},
            })),
            "policy": object(&["resource", "bindings"], json!({"resource": resource(), "bindings": list("binding")})),
            "binding": object(&["role", "members"], json!({
                "role": text(), "members": texts(), "condition": condition(),
            })),
            "deny_policy": object(&["id", "rules"], json!({
                "id": some("^[a-z][a-z0-9.-]{2,62}$"),
                "attached_to": resource(),
                "display_name": text(),
                "rules": list("deny_rule"),
            })),
            "deny_rule": object(&["denied_principals", "denied_permissions"], json!({
                "description": text(),
                "denied_principals": texts(),
                "exception_principals": texts(),
                "denied_permissions": texts(),
                "exception_permissions": texts(),
                "condition": condition(),
            })),
            "settings": settings(resource()),
            "group": object(&["email"], json!({
                "email": text(), "display_name": text(), "description": text(), "members": texts(),
            })),
            "role": object(&["id", "permissions"], json!({
                "id": text(),
                "title": text(),
                "description": text(),
                "stage": {"enum": ["ALPHA", "BETA", "GA", "DEPRECATED", "DISABLED", "EAP"], "default": "GA"},
                "permissions": texts(),
            })),
            "access_level": object(&["name"], json!({
                "name": text(),
                "title": text(),
                "description": text(),
                "expression": text(),
                "ip_subnetworks": texts(),
                "required_access_levels": texts(),
                "members": texts(),
            })),
            "service_account": object(&["id"], json!({
                "id": some("^[a-z][-a-z0-9]{4,28}[a-z0-9]$"),
                "display_name": text(),
                "description": text(),
                "disabled": {"type": "boolean", "default": false},
            })),
        },
    })
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties})
}

/// Settings by their paths, in snake_case. What a leaf may be is not said: the server takes texts and booleans in several forms.
fn settings(resource: Value) -> Value {
    let paths = IapSettings::PATHS.iter().filter(|path| **path != "name");
    let paths: Vec<Vec<String>> = paths.map(|path| path.split('.').map(snake_case).collect()).collect();
    let paths: Vec<&[String]> = paths.iter().map(Vec::as_slice).collect();
    let mut properties = inside(&paths);
    properties.insert("resource".to_owned(), resource);
    object(&["resource"], Value::Object(properties))
}

/// The properties of an object that has these paths.
fn inside(paths: &[&[String]]) -> Map<String, Value> {
    let mut groups: BTreeMap<&str, Vec<&[String]>> = BTreeMap::new();
    for path in paths {
        if let Some((first, rest)) = path.split_first() {
            groups.entry(first).or_default().push(rest);
        }
    }
    let schema = |rests: &[&[String]]| match rests {
        [[]] => Value::Bool(true),
        rests => json!({"type": "object", "additionalProperties": false, "properties": inside(rests)}),
    };
    groups.into_iter().map(|(name, rests)| (name.to_owned(), schema(&rests))).collect()
}
