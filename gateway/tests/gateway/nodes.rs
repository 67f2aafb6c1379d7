//! The list of processes that are alive, which is for operators.

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;
use wasmill_domain::Timestamp;
use wasmill_domain::wire::Reads;
use wasmill_store::{Node, Nodes as _};

use crate::harness::{Gateway, send};

fn node(name: &str) -> Node {
    Node {
        id: Uuid::now_v7(),
        name: name.into(),
        role: "host".into(),
        release: "9.8.7".into(),
        labels: vec!["gpu".into()],
        reads: Reads::OLDEST,
        started_at: Timestamp::from_micros(0),
    }
}

#[tokio::test]
async fn processes_are_listed() {
    let gateway = Gateway::start().await;
    assert_eq!(gateway.get("/v1/nodes").await.json(), json!({"nodes": []}));
    let (one, other) = (node("one"), node("other"));
    for node in [&other, &one] {
        gateway.store.beat(node).await.unwrap();
    }
    let listed = gateway.get("/v1/nodes").await.json();
    assert_eq!(listed["nodes"].as_array().unwrap().len(), 2, "{listed}");
    let first = &listed["nodes"][0];
    assert_eq!((&first["id"], &first["name"]), (&json!(one.id), &json!("one")));
    assert_eq!(
        (&first["role"], &first["release"], &first["labels"]),
        (&json!("host"), &json!("9.8.7"), &json!(["gpu"]))
    );
    assert_eq!(first["reads"], json!(Reads::OLDEST));
    gateway.store.leave(one.id).await.unwrap();
    assert_eq!(gateway.get("/v1/nodes").await.json()["nodes"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn tenants_see_no_process() {
    let gateway = Gateway::start().await;
    let made = gateway.post("/v1/keys", &json!({"role": "operator"})).await.json();
    let operator = made["key"].as_str().unwrap();
    let make = gateway
        .request(Method::POST, "/v1/keys")
        .bearer_auth(operator)
        .json(&json!({"role": "tenant"}));
    let made = send(make).await.json();
    let tenant = made["key"].as_str().unwrap();
    let with =
        async |key: &str| send(gateway.request(Method::GET, "/v1/nodes").bearer_auth(key)).await;
    assert_eq!(with(operator).await.status, 200);
    with(tenant).await.problem(403, "forbidden");
    gateway.get("/v1/nodes").await.problem(401, "unauthenticated");
}
