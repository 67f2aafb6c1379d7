//! The description of the API: valid, complete, and true.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use wasmill_broker::embedded::EmbeddedSettings;
use wasmill_domain::manifest::http::{HostName, Method, PathPattern};
use wasmill_domain::{
    BucketName, Digest, EventPattern, EventType, FunctionName, HostnamePattern, Manifest,
    SecretName, TenantName,
};
use wasmill_gateway::GatewaySettings;

use crate::harness::Gateway;

/// The schema of OpenAPI 3.1 documents, as the OpenAPI Initiative publishes it (Apache-2.0).
const SCHEMA: &str = include_str!("openapi-3.1.schema.json");

/// Every operation: path, method, what is said of it.
pub(crate) fn operations(description: &Value) -> Vec<(String, String, Value)> {
    let paths = description["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| {
            (path.clone(), method.to_uppercase(), operation.clone())
        })
    });
    operations.collect()
}

#[tokio::test]
async fn it_is_an_openapi_3_1_document() {
    let gateway = Gateway::start().await;
    let description = gateway.get("/openapi.json").await.json();
    let schema = jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap();
    let errors: Vec<String> =
        schema.iter_errors(&description).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1."));
    assert_eq!(description, wasmill_gateway::openapi());
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    let description = wasmill_gateway::openapi();
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
    let description = wasmill_gateway::openapi();
    let operations = operations(&description);
    let mut ids = BTreeSet::new();
    for (path, method, operation) in &operations {
        let location = format!("{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{location}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{location}");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{location}");
        for (status, response) in
            responses.iter().filter(|(status, _)| status.starts_with(['4', '5']))
        {
            let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(schema, "#/components/schemas/Problem", "{location} {status}");
            assert!(
                response["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{location} {status}"
            );
        }
        let expected: &[&str] = if path.starts_with("/v1/") {
            &["400", "401", "403", "500", "503"]
        } else {
            &["500", "503"]
        };
        for status in expected {
            assert!(responses.contains_key(*status), "{location} {status}");
        }
        assert_eq!(operation["security"].is_array(), path.starts_with("/v1/"), "{location}");
        // Every parameter of the path is told.
        let reported: BTreeSet<&str> = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|p| p["in"] == "path")
            .map(|p| p["name"].as_str().unwrap())
            .collect();
        let there: BTreeSet<&str> = path.split(['{', '}']).skip(1).step_by(2).collect();
        assert_eq!(reported, there, "{location}");
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
        assert!(
            operations.iter().any(|(path, method, _)| format!("{method} {path}") == wanted),
            "{wanted}"
        );
    }
}

/// What is described exists: no operation is answered with "no such path" or "no such method".
#[tokio::test]
async fn every_operation_exists() {
    let gateway = Gateway::start().await;
    for (path, method, _) in operations(&wasmill_gateway::openapi()) {
        let concrete = path
            .replace("{id}", "019ab000-0000-7000-8000-000000000000")
            .replace("{name}", "not-found")
            .replace("{bucket}", "b");
        let concrete = concrete
            .replace("{type}", "a.b")
            .replace("{digest}", &format!("sha256:{}", "0".repeat(64)));
        let answer =
            crate::harness::send(gateway.request(method.parse().unwrap(), &concrete)).await;
        assert_ne!(answer.status, 405, "{method} {path}");
        let text = String::from_utf8_lossy(&answer.bytes);
        assert!(!text.contains("there is nothing at"), "{method} {path}: {text}");
    }
}

/// Whether a value satisfies a schema of the description.
fn satisfies(description: &Value, schema: &str, value: &Value) -> bool {
    let root = json!({"$ref": format!("#/components/schemas/{schema}"), "components": description["components"]});
    jsonschema::validator_for(&root).unwrap().is_valid(value)
}

/// The body of an operation has a reason and nothing else.
#[test]
fn an_operation_is_described_with_its_body() {
    let description = wasmill_gateway::openapi();
    for what in ["cancel", "suspend", "resume"] {
        let operation = &description["paths"][format!("/v1/executions/{{id}}/{what}")]["post"];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        assert_eq!(schema, "#/components/schemas/OperateExecution", "{what}");
        assert!(operation["responses"]["202"].is_object(), "{what}");
    }
    for (body, fits) in [
        (json!({}), true),
        (json!({"reason": "too dear"}), true),
        (json!({"reasons": "too dear"}), false),
        (json!({"reason": 1}), false),
    ] {
        assert_eq!(satisfies(&description, "OperateExecution", &body), fits, "{body}");
    }
}

/// A schema lets through what the server lets through, and nothing else.
#[test]
fn names_are_what_the_server_takes() {
    type Reader = fn(&str) -> bool;
    let readers: [(&str, Reader); 10] = [
        ("TenantName", |text| text.parse::<TenantName>().is_ok()),
        ("FunctionName", |text| text.parse::<FunctionName>().is_ok()),
        ("SecretName", |text| text.parse::<SecretName>().is_ok()),
        ("BucketName", |text| text.parse::<BucketName>().is_ok()),
        ("EventType", |text| text.parse::<EventType>().is_ok()),
        ("EventPattern", |text| text.parse::<EventPattern>().is_ok()),
        ("HostnamePattern", |text| text.parse::<HostnamePattern>().is_ok()),
        ("HttpMethod", |text| text.parse::<Method>().is_ok()),
        ("HostName", |text| text.parse::<HostName>().is_ok()),
        ("Digest", |text| text.parse::<Digest>().is_ok()),
    ];
    let description = wasmill_gateway::openapi();
    let validators = readers.map(|(schema, read)| {
        let root = json!({"$ref": format!("#/components/schemas/{schema}"), "components": description["components"]});
        (schema, jsonschema::validator_for(&root).unwrap(), read)
    });
    let digest = "sha256:(0|a|F|g){63,65}";
    let text =
        "[a-zA-Z0-9.*_/:+ -]{0,8}|[a-z.-]{60,66}|[A-Z-]{30,34}|[a-z.]{250,260}|CONNECT|ü|\u{0}|a\n";
    TestRunner::new(Config::with_cases(2_000))
        .run(&prop_oneof![8 => text, 1 => digest], |text| {
            for (schema, validator, read) in &validators {
                prop_assert_eq!(
                    validator.is_valid(&json!(text)),
                    read(&text),
                    "{} {:?}",
                    schema,
                    text
                );
            }
            Ok(())
        })
        .unwrap();
    for (path, fits) in [
        ("/", true),
        ("/a/{b}/c/{*rest}", true),
        ("/orders/", true),
        ("", false),
        ("orders", false),
        ("/{*rest}/a", false),
        ("/a{b}", false),
        ("/{A}", false),
        ("/a b", false),
    ] {
        assert_eq!(satisfies(&description, "PathPattern", &json!(path)), fits, "{path}");
        assert_eq!(path.parse::<PathPattern>().is_ok(), fits, "{path}");
    }
}

/// Every key that manifests have is described, and what the description refuses the server refuses.
#[test]
fn manifests_are_what_the_server_takes() {
    let description = wasmill_gateway::openapi();
    let full = json!({
        "name": "x", "description": "d", "component": "x.wasm", "build": "make", "kind": "http",
        "trigger": [
            {"event": "order.*", "schema": {"type": "object"}},
            {"http": "/a/{b}", "methods": ["GET"], "host": "a.example.com", "mode": "async", "schema": true,
                "cors": {"origins": ["*"], "headers": ["x-a"], "expose": ["x-b"], "credentials": false, "max_age": 5},
                "webhook": {"scheme": "hmac", "secrets": ["s"], "tolerance": "5m", "header": "x-signature",
                    "algorithm": "sha512", "encoding": "base64", "prefix": "v1=", "timestamp_header": "x-time",
                    "signed": "{timestamp}.{body}"}},
        ],
        "runs_on": ["gpu"],
        "limits": {"fuel": 1000, "memory": "64KiB", "timeout": "1s", "concurrency": 1, "log_bytes": 0, "output_bytes": "1MiB",
            "emitted_events": 0, "host_calls": 100, "http_requests": 0, "http_bytes": "0B"},
        "retry": {"max_attempts": 1, "backoff": "fixed", "delay": "1s", "max_delay": "1d", "jitter": 0.5, "on": ["trap"]},
        "instances": {"reuse": 7}, "allowed_hosts": ["https://example.com"], "keyvalue": {"default": "tenant"},
        "env": {"A": "b"}, "config": {"a": "b"}, "secrets": {"t": "api-token"},
    });
    let read = Manifest::from_json(full.clone()).unwrap();
    assert!(satisfies(&description, "Manifest", &full));
    assert!(satisfies(&description, "Manifest", &serde_json::to_value(&read).unwrap()));
    // What only a command has.
    let digest = format!("sha256:{}", "0".repeat(64));
    let files = json!([{"path": "data/a", "digest": digest, "size": 3}]);
    let command = json!({"name": "x", "kind": "command", "args": ["-", "-c"], "files": files});
    Manifest::from_json(command.clone()).unwrap();
    assert!(satisfies(&description, "Manifest", &command));
    let plain = Manifest::from_json(json!({"name": "x"})).unwrap();
    assert!(satisfies(&description, "Manifest", &serde_json::to_value(&plain).unwrap()));
    // The reader lists its keys where one is unknown.
    let listed = serde_json::from_value::<Manifest>(json!({"name": "x", "no such key": 1}))
        .unwrap_err()
        .to_string();
    let keys = listed.split('`').skip(3).step_by(2);
    let missing: Vec<&str> =
        keys.filter(|key| full.get(key).or(command.get(key)).is_none()).collect();
    assert!(
        missing.is_empty(),
        "to be described in gateway/src/openapi/schemas.json, and tried here: {missing:?}"
    );
    for (key, wrong) in [
        ("name", json!("A")),
        ("description", json!("x".repeat(1_025))),
        ("kind", json!("other")),
        ("trigger", json!([{"event": "a", "http": "/a"}])),
        ("trigger", json!([{"event": "a", "methods": ["GET"]}])),
        ("trigger", json!([{"http": "a"}])),
        ("trigger", json!([{"http": "/a", "webhook": {"scheme": "github", "secrets": []}}])),
        ("trigger", json!([{"schema": {}}])),
        ("runs_on", json!(["A"])),
        ("limits", json!({"fuel": 1})),
        ("limits", json!({"memory": "1 mile"})),
        ("limits", json!({"timeout": 5})),
        ("retry", json!({"on": ["success"]})),
        ("retry", json!({"jitter": 2})),
        ("instances", json!({"reuse": 0})),
        ("keyvalue", json!({"default": "mine"})),
        ("keyvalue", json!({"_": "tenant"})),
        ("env", json!({"a=b": "c"})),
        ("secrets", json!({"t": "A_B"})),
        ("args", json!(["a\0"])),
        ("args", json!("a")),
        ("files", json!(["data/**"])),
        ("files", json!([{"path": "a"}])),
        ("no such key", json!(1)),
    ] {
        let mut manifest = json!({"name": "x"});
        manifest[key] = wrong.clone();
        assert!(!satisfies(&description, "Manifest", &manifest), "{key} {wrong}");
        assert!(Manifest::from_json(manifest).is_err(), "{key} {wrong}");
    }
    assert!(!satisfies(&description, "Manifest", &json!({})));
}

/// Each parameter with a text that is checked, each body that must be there, and the keys'
/// alternatives.
#[tokio::test]
async fn what_is_enforced_is_told() {
    let description = wasmill_gateway::openapi();
    for (path, method, operation) in operations(&description) {
        let location = format!("{method} {path}");
        if !path.starts_with("/v1/") {
            continue;
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let schema = &parameter["schema"];
            let is_free = matches!(parameter["name"].as_str(), Some("event_id" | "cursor"));
            let is_plain =
                schema["type"] == json!("string") || schema["type"] == json!(["string", "null"]);
            assert!(
                !is_plain
                    || is_free
                    || schema["format"].is_string()
                    || schema["maxLength"].is_number(),
                "{location}: {parameter}"
            );
        }
    }
    let body = |path: &str, method: &str| description["paths"][path][method]["requestBody"].clone();
    let upload = &body("/v1/artifacts", "post");
    assert_eq!(upload["content"]["application/wasm"]["schema"]["maxLength"], json!(64 << 20));
    assert_eq!(upload["required"], true);
    let secret =
        &body("/v1/secrets/{name}", "put")["content"]["application/octet-stream"]["schema"];
    assert_eq!((&secret["minLength"], &secret["maxLength"]), (&json!(1), &json!(64 << 10)));
    for media_type in ["application/cloudevents+json", "application/cloudevents-batch+json"] {
        let schema = &body("/v1/events", "post")["content"][media_type]["schema"];
        assert!(
            schema.to_string().contains("#/components/schemas/CloudEvent"),
            "{media_type}: {schema}"
        );
    }
    let event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "a.b", "traceparent": "x", "data": null});
    assert!(satisfies(&description, "CloudEvent", &event));
    for key in ["specversion", "id", "source", "type"] {
        let mut event = event.clone();
        event.as_object_mut().unwrap().remove(key);
        assert!(!satisfies(&description, "CloudEvent", &event), "{key}");
    }

    let settings = GatewaySettings { max_artifact_bytes: 1 << 20, ..GatewaySettings::default() };
    let gateway = Gateway::start_with(settings, EmbeddedSettings::default()).await;
    let reported = gateway.get("/openapi.json").await.json();
    let path = &reported["paths"]["/v1/artifacts"]["post"];
    assert_eq!(
        path["requestBody"]["content"]["application/wasm"]["schema"]["maxLength"],
        json!(1 << 20)
    );
    assert_eq!(path["security"], json!([{"api_key": []}, {}]));
    let refused =
        gateway.post_as("/v1/artifacts", "application/wasm", vec![0; (1 << 20) + 1]).await;
    let problem = refused.problem(413, "too-large");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("1MiB") && detail.contains("gateway.max_artifact_bytes"), "{problem}");
    assert_eq!(
        gateway
            .post("/v1/keys", &json!({"role": "operator", "label": "ü".repeat(200)}))
            .await
            .status,
        201
    );
    let reported = gateway.get("/openapi.json").await.json();
    assert_eq!(reported["paths"]["/v1/artifacts"]["post"]["security"], json!([{"api_key": []}]));
}
