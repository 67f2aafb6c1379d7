//! What schemas and checks may cost, and whose place it takes.

use serde_json::{Map, Value, json};
use wasmill_domain::schema::SchemaLimits;
use wasmill_gateway::GatewaySettings;

use crate::harness::{Gateway, send};

/// A schema that tries 2^`levels` alternatives, in vain.
fn doubling(levels: usize) -> Value {
    let below = |level: usize| json!({"$ref": format!("#/$defs/s{}", level - 1)});
    let mut schemas: Map<String, Value> =
        (1..=levels).map(|level| (format!("s{level}"), json!({"anyOf": [below(level), below(level)]}))).collect();
    schemas.insert("s0".into(), json!(false));
    json!({"$defs": schemas, "$ref": format!("#/$defs/s{levels}")})
}

fn steps(max_check_steps: u64) -> SchemaLimits {
    SchemaLimits { max_check_steps, ..SchemaLimits::default() }
}

#[tokio::test]
async fn a_check_ends_with_its_steps() {
    let gateway = Gateway::start_within(steps(1_000), GatewaySettings::default()).await;
    gateway
        .deploy("hard", json!([{"event": "hard", "schema": doubling(12)}, {"http": "/hard", "schema": doubling(12)}]))
        .await;
    gateway.deploy("easy", json!([{"event": "easy", "schema": {"type": "object"}}])).await;
    for _ in 0..2 {
        let problem = gateway.post("/v1/events/hard", &json!({})).await.problem(422, "check-too-long");
        assert_eq!(
            (&problem["errors"][0]["schema"], &problem["errors"][0]["pointer"]),
            (&json!("function hard"), &json!(""))
        );
        assert!(problem["detail"].as_str().unwrap().contains("schemas.max_check_steps"), "{problem}");
    }
    let event = json!({"specversion": "1.0", "id": "1", "source": "/a", "type": "hard", "data": {}});
    let answer = gateway.post_as("/v1/events", "application/cloudevents+json", event.to_string()).await;
    assert_eq!(answer.problem(422, "check-too-long")["errors"][0]["pointer"], "/data");
    gateway.post("/http/default/hard", &json!({})).await.problem(422, "check-too-long");
    gateway.post("/v1/functions/hard/invoke", &json!({})).await.problem(422, "check-too-long");
    assert_eq!(gateway.post("/v1/events/easy", &json!({})).await.status, 202);
    let batch: Vec<Value> = (0..600)
        .map(|i| json!({"specversion": "1.0", "id": i.to_string(), "source": "/a", "type": "easy", "data": {"a": {}}}))
        .collect();
    let batch = json!(batch).to_string();
    let answer = gateway.post_as("/v1/events", "application/cloudevents-batch+json", batch).await;
    assert_eq!(answer.status, 202, "{answer:?}");
}

#[tokio::test]
async fn a_check_that_takes_longer_is_done_elsewhere() {
    let gateway = Gateway::start_within(steps(10_000_000), GatewaySettings::default()).await;
    // More steps than are taken where the request arrives.
    let mut schema = doubling(16);
    let reference = schema["$ref"].take();
    schema["$ref"] = json!("#/$defs/passes");
    schema["$defs"]["passes"] = json!({"not": {"$ref": reference}});
    gateway.deploy("slow", json!([{"event": "slow", "schema": schema}])).await;
    for _ in 0..2 {
        let answer = gateway.post("/v1/events/slow", &json!({})).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    let long = json!({"note": "n".repeat(100_000)});
    assert_eq!(gateway.post("/v1/events/slow", &long).await.status, 202);
}

#[tokio::test]
async fn a_definition_that_exceeds_a_bound_is_pointed_at() {
    let limits = SchemaLimits { max_patterns: 1, max_tenant_bytes: 64 << 10, ..SchemaLimits::default() };
    let gateway = Gateway::start_within(limits, GatewaySettings::default()).await;
    let patterns = json!({"properties": {"a": {"pattern": "a"}, "b": {"pattern": "b"}}});
    let problem = gateway.put("/v1/schemas/a", &patterns).await.problem(422, "invalid-schema");
    assert_eq!(problem["errors"][0]["pointer"], "/properties/b/pattern");
    assert!(problem["detail"].as_str().unwrap().contains("schemas.max_patterns"), "{problem}");
    let digest = gateway.upload(1).await;
    let deploy = |name: &str, schema: &Value| {
        let manifest =
            json!({"name": name, "trigger": [{"event": "a"}, {"http": format!("/{name}"), "schema": schema}]});
        let document = json!({"digest": digest, "manifest": manifest});
        let path = format!("/v1/functions/{name}");
        let gateway = &gateway;
        async move { gateway.put(&path, &document).await }
    };
    let problem = deploy("total", &patterns).await.problem(422, "invalid-schema");
    assert_eq!(problem["errors"][0]["pointer"], "/manifest/trigger/1/schema/properties/b/pattern");

    let large = |name: &str| {
        let members: Map<String, Value> = (0..40).map(|i| (format!("{name}{i}"), json!({"type": "string"}))).collect();
        json!({"properties": members})
    };
    assert_eq!(deploy("one", &large("one")).await.status, 201);
    let problem = deploy("two", &large("two")).await.problem(422, "invalid-schema");
    assert_eq!(problem["errors"][0]["pointer"], "/manifest/trigger");
    assert!(problem["detail"].as_str().unwrap().contains("schemas.max_tenant_bytes"), "{problem}");
    gateway.put("/v1/schemas/b", &large("three")).await.problem(422, "invalid-schema");
    // In place of what is there it fits, and so does what is there already.
    assert_eq!(deploy("one", &large("four")).await.status, 201);
    assert_eq!(deploy("two", &large("four")).await.status, 201);
}

/// Whoever waits for a compilation holds no artifact: others of the tenant are read meanwhile.
#[tokio::test]
async fn a_compilation_takes_no_place_of_artifacts() {
    let settings =
        GatewaySettings { max_checks: 1, max_queued_checks: 1, max_deploys: 2, ..GatewaySettings::default() };
    let gateway = Gateway::start_with(settings, wasmill_broker::embedded::EmbeddedSettings::default()).await;
    let digest = gateway.upload(1).await;
    let document = json!({"digest": digest, "manifest": {"name": "slow", "description": "gate"}});
    let deploy = gateway.request(reqwest::Method::PUT, "/v1/functions/slow").json(&document);
    let deploy = tokio::spawn(send(deploy));
    gateway.gate.reached.acquire().await.unwrap().forget();
    assert_eq!(gateway.get(&format!("/v1/artifacts/{digest}")).await.status, 200);
    gateway.gate.open.add_permits(1);
    assert_eq!(deploy.await.unwrap().status, 201);
}
