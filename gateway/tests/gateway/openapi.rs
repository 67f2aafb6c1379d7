//! The description of the API: valid, complete, and true.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::Gateway;

/// The schema of OpenAPI 3.1 documents, as the OpenAPI Initiative publishes it (Apache-2.0).
const SCHEMA: &str = include_str!("openapi-3.1.schema.json");

/// Every operation: path, method, what is said of it.
pub(crate) fn operations(description: &Value) -> Vec<(String, String, Value)> {
    let paths = description["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (path.clone(), method.to_uppercase(), operation.clone()))
    });
    operations.collect()
}

#[tokio::test]
async fn it_is_an_openapi_3_1_document() {
    let gateway = Gateway::start().await;
    let description = gateway.get("/openapi.json").await.json();
    let schema = jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap();
    let errors: Vec<String> = schema.iter_errors(&description).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1."));
    assert_eq!(description, serde_json::to_value(wasmill_gateway::openapi()).unwrap());
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    let description = serde_json::to_value(wasmill_gateway::openapi()).unwrap();
    let mut seen = 0;
    let mut values = vec![&description];
    while let Some(value) = values.pop() {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(reference)) = object.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(description.pointer(pointer).is_some(), "{reference}");
                    seen += 1;
                }
                values.extend(object.values());
            }
            Value::Array(array) => values.extend(array),
            _ => {}
        }
    }
    assert!(seen > 50, "{seen}");
}

/// Each operation says what a reader needs, and each of its problems has the problem document.
#[tokio::test]
async fn every_operation_is_told_in_full() {
    let description = serde_json::to_value(wasmill_gateway::openapi()).unwrap();
    let operations = operations(&description);
    let mut ids = BTreeSet::new();
    for (path, method, operation) in &operations {
        let place = format!("{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{place}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{place}");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{place}");
        for (status, response) in responses.iter().filter(|(status, _)| status.starts_with(['4', '5'])) {
            let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(schema, "#/components/schemas/Problem", "{place} {status}");
            assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{place} {status}");
        }
        let expected: &[&str] =
            if path.starts_with("/v1/") { &["400", "401", "403", "500", "503"] } else { &["500", "503"] };
        for status in expected {
            assert!(responses.contains_key(*status), "{place} {status}");
        }
        assert_eq!(operation["security"].is_array(), path.starts_with("/v1/"), "{place}");
        // Every parameter of the path is told.
        let told: BTreeSet<&str> = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|p| p["in"] == "path")
            .map(|p| p["name"].as_str().unwrap())
            .collect();
        let there: BTreeSet<&str> = path.split(['{', '}']).skip(1).step_by(2).collect();
        assert_eq!(told, there, "{place}");
    }
    let asked = [
        "POST /v1/events",
        "POST /v1/events/{type}",
        "POST /v1/functions/{name}/invoke",
        "POST /v1/artifacts",
        "GET /v1/artifacts/{digest}",
        "PUT /v1/functions/{name}",
        "GET /v1/functions",
        "GET /v1/functions/{name}",
        "GET /v1/functions/{name}/versions",
        "POST /v1/functions/{name}/rollback",
        "DELETE /v1/functions/{name}",
        "GET /v1/schemas",
        "GET /v1/schemas/{type}",
        "PUT /v1/schemas/{type}",
        "DELETE /v1/schemas/{type}",
        "GET /v1/secrets",
        "PUT /v1/secrets/{name}",
        "DELETE /v1/secrets/{name}",
        "GET /v1/executions",
        "GET /v1/executions/{id}",
        "GET /v1/executions/{id}/logs",
        "GET /v1/keyvalue",
        "GET /v1/keyvalue/{bucket}",
        "GET /v1/keyvalue/{bucket}/value",
        "PUT /v1/keyvalue/{bucket}/value",
        "DELETE /v1/keyvalue/{bucket}/value",
        "POST /v1/keys",
        "GET /v1/keys",
        "DELETE /v1/keys/{id}",
        "GET /healthz",
        "GET /readyz",
        "GET /openapi.json",
    ];
    for wanted in asked {
        assert!(operations.iter().any(|(path, method, _)| format!("{method} {path}") == wanted), "{wanted}");
    }
}

/// What is described exists: no operation is answered with "no such path" or "no such method".
#[tokio::test]
async fn every_operation_exists() {
    let gateway = Gateway::start().await;
    for (path, method, _) in operations(&serde_json::to_value(wasmill_gateway::openapi()).unwrap()) {
        let concrete = path
            .replace("{id}", "019ab000-0000-7000-8000-000000000000")
            .replace("{name}", "not-found")
            .replace("{bucket}", "b");
        let concrete = concrete.replace("{type}", "a.b").replace("{digest}", &format!("sha256:{}", "0".repeat(64)));
        let answer = crate::harness::send(gateway.request(method.parse().unwrap(), &concrete)).await;
        assert_ne!(answer.status, 405, "{method} {path}");
        let text = String::from_utf8_lossy(&answer.bytes);
        assert!(!text.contains("there is nothing at"), "{method} {path}: {text}");
    }
}
