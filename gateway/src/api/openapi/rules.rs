//! What the server checks of parameters and bodies, in the words of JSON Schema: the part of the
//! description that types alone do not tell.

use serde_json::{Map, Value, json};
use wasmill_domain::secret::LONGEST_SECRET;
use wasmill_domain::{Outcome, State};

use crate::settings::GatewaySettings;

/// The name of the security scheme.
pub(super) const KEY: &str = "api_key";

/// The schemas of what is checked by name, as components of the description.
const SCHEMAS: &str = include_str!("schemas.json");

/// Members of documents, by component and name, and the schema of each.
const MEMBERS: [(&str, &str, &str); 5] = [
    ("Deploy", "manifest", "Manifest"),
    ("Deploy", "digest", "Digest"),
    ("Function", "manifest", "Manifest"),
    ("Version", "manifest", "Manifest"),
    ("NewKey", "role", "KeyRole"),
];

/// Operations whose body must be there.
const WITH_BODY: [&str; 7] = [
    "upload_artifact",
    "upload_file",
    "missing_files",
    "deploy_function",
    "put_schema",
    "put_secret",
    "create_key",
];

/// Puts what is checked into a description. `needs_key` tells whether a request without a key can
/// be answered at all.
pub(super) fn apply(description: &mut Value, settings: &GatewaySettings, needs_key: bool) {
    if let Some(schemas) =
        description.pointer_mut("/components/schemas").and_then(Value::as_object_mut)
    {
        add_schemas(schemas);
    }
    let paths = description.get_mut("paths").and_then(Value::as_object_mut);
    for (path, item) in paths.into_iter().flatten() {
        for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
            for parameter in
                operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten()
            {
                let text = |key: &str| parameter[key].as_str().unwrap_or_default();
                if let Some(schema) = schema_of(path, text("in"), text("name")) {
                    parameter["schema"] = reference(schema);
                }
            }
            let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
            if let Some(body) = operation.get_mut("requestBody") {
                describe_body(body, &id, settings);
            }
            if path.starts_with("/v1/") {
                let with_key = json!({ KEY: [] });
                // Alternatives: without keys, nothing is asked for.
                operation["security"] =
                    if needs_key { json!([with_key]) } else { json!([with_key, {}]) };
            }
        }
    }
}

fn add_schemas(schemas: &mut Map<String, Value>) {
    // It is JSON: a test reads it.
    let named: Map<String, Value> = serde_json::from_str(SCHEMAS).unwrap_or_default();
    schemas.extend(named);
    schemas
        .insert("State".into(), json!({"type": "string", "enum": State::ALL.map(State::as_str)}));
    schemas.insert(
        "Outcome".into(),
        json!({"type": "string", "enum": Outcome::ALL.map(Outcome::as_str)}),
    );
    for (component, member, schema) in MEMBERS {
        if let Some(location) =
            schemas.get_mut(component).and_then(|component| member_of(component, member))
        {
            *location = reference(schema);
        }
    }
    if let Some(tenant) = schemas.get_mut("NewKey").and_then(|key| member_of(key, "tenant")) {
        *tenant = json!({"oneOf": [reference("TenantName"), {"type": "null"}]});
    }
}

/// A member's schema, in an object's or in those of which an object is made.
fn member_of<'a>(component: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    if component.get("properties").and_then(|properties| properties.get(name)).is_some() {
        return component["properties"].get_mut(name);
    }
    component.get_mut("allOf")?.as_array_mut()?.iter_mut().find_map(|part| member_of(part, name))
}

/// The schema of a parameter that is checked by one.
fn schema_of(path: &str, location: &str, name: &str) -> Option<&'static str> {
    let below = |start: &str| path.starts_with(start);
    Some(match (location, name) {
        ("path", "name") if below("/v1/secrets/") => "SecretName",
        ("path", "name") if below("/v1/functions/") => "FunctionName",
        ("query", "function") => "FunctionName",
        ("path" | "query", "type") => "EventType",
        ("path", "digest") => "Digest",
        ("path", "bucket") => "BucketName",
        ("path", "hostname") => "HostnamePattern",
        ("query", "state") => "State",
        ("query", "outcome") => "Outcome",
        ("query", "wait") => "Duration",
        ("query", "key") => "BucketKey",
        ("header", "Wasmill-Tenant") => "TenantName",
        ("query", "cursor") => match path {
            "/v1/functions" => "FunctionName",
            "/v1/schemas" => "EventType",
            "/v1/secrets" => "SecretName",
            "/v1/hostnames" => "HostnamePattern",
            "/v1/executions/{id}/logs" => "LogCursor",
            "/v1/keyvalue/{bucket}" => "BucketCursor",
            _ => return None,
        },
        _ => return None,
    })
}

fn describe_body(body: &mut Value, operation: &str, settings: &GatewaySettings) {
    if WITH_BODY.contains(&operation) {
        body["required"] = json!(true);
    }
    let octets = match operation {
        "upload_artifact" => Some((8, settings.max_artifact_bytes as u64)),
        "upload_file" => Some((0, settings.max_artifact_bytes as u64)),
        "put_secret" => Some((1, LONGEST_SECRET as u64)),
        "set_value" => Some((0, settings.bucket_quota.value_bytes)),
        _ => None,
    };
    for (media_type, content) in body["content"].as_object_mut().into_iter().flatten() {
        let schema = match (media_type.as_str(), octets) {
            (_, Some((least, most))) => {
                json!({"type": "string", "minLength": least, "maxLength": most})
            }
            ("application/cloudevents+json", _) => reference("CloudEvent"),
            ("application/cloudevents-batch+json", _) => {
                json!({"type": "array", "items": reference("CloudEvent"), "maxItems": settings.max_batch_events})
            }
            _ if operation == "put_schema" => reference("JsonSchema"),
            _ => continue,
        };
        content["schema"] = schema;
    }
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}
