//! The schemas of event types.

use serde_json::{Value, json};

use crate::harness::Gateway;

#[tokio::test]
async fn a_schema_is_in_use_when_it_is_answered() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "com.example/order"}])).await;
    let path = "/v1/schemas/com.example%2Forder";
    gateway.get(path).await.problem(404, "not-found");
    gateway.delete(path).await.problem(404, "not-found");

    let put = gateway.put(path, &json!({"type": "object"})).await.json();
    assert_eq!(
        (&put["type"], &put["version"], &put["changed"]),
        (&json!("com.example/order"), &json!(1), &json!(true))
    );
    let event = "/v1/events/com.example%2Forder";
    gateway.post(event, &json!(1)).await.problem(400, "schema-violation");
    assert_eq!(gateway.post(event, &json!({})).await.status, 202);
    assert_eq!(gateway.put(path, &json!({"type": "object"})).await.json()["changed"], false);
    assert_eq!(gateway.put(path, &json!({"type": "number"})).await.json()["version"], 2);
    assert_eq!(gateway.post(event, &json!(1)).await.status, 202);

    let shown = gateway.get(path).await.json();
    assert_eq!((&shown["schema"], &shown["version"]), (&json!({"type": "number"}), &json!(2)));
    gateway.put("/v1/schemas/a", &json!(true)).await;
    let first = gateway.get("/v1/schemas?limit=1").await.json();
    assert_eq!((&first["schemas"][0]["type"], &first["next"]), (&json!("a"), &json!("a")));
    let last = gateway.get("/v1/schemas?cursor=a").await.json();
    assert_eq!(
        (&last["schemas"][0]["type"], &last["next"]),
        (&json!("com.example/order"), &Value::Null)
    );

    assert_eq!(gateway.delete(path).await.status, 204);
    assert_eq!(gateway.post(event, &json!("anything")).await.status, 202);
}

#[tokio::test]
async fn a_bad_schema_is_pointed_at() {
    let gateway = Gateway::start().await;
    for (schema, pointer, said) in [
        (json!({"properties": {"x": {"type": "nmber"}}}), "/properties/x/type", "nmber"),
        (json!({"$ref": "https://example.com/x.json"}), "", "never fetched"),
        (json!({"$ref": "file:///etc/passwd"}), "", "never fetched"),
        (json!(7), "", "7"),
    ] {
        let problem = gateway.put("/v1/schemas/a", &schema).await.problem(422, "invalid-schema");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
    }
    let long = json!({"description": "x".repeat(1 << 20)});
    gateway.put("/v1/schemas/a", &long).await.problem(413, "too-large");
    let broken = gateway.request(reqwest::Method::PUT, "/v1/schemas/a").body("{\"type\":");
    let problem = crate::harness::send(broken).await.problem(400, "bad-request");
    assert_eq!(problem["errors"][0]["line"], 1);
    gateway.put("/v1/schemas/a..b", &json!(true)).await.problem(400, "bad-request");
    assert_eq!(gateway.get("/v1/schemas").await.json()["schemas"], json!([]));
}
