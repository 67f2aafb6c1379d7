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

#[tokio::test]
async fn a_function_that_no_host_runs_says_so() {
    let gateway = Gateway::start().await;
    let digest = gateway.upload(1).await;
    let deploy = async |runs_on: serde_json::Value| {
        let trigger = json!([{"event": "order.created"}]);
        let manifest = json!({"name": "total", "runs_on": runs_on, "trigger": trigger});
        let body = json!({"digest": digest, "manifest": manifest});
        gateway.put("/v1/functions/total", &body).await.json()
    };
    let no_host = async |path: &str| gateway.get(path).await.json().get("no_host").cloned();
    gateway.store.beat(&node("one")).await.unwrap();
    assert_eq!(deploy(json!([])).await.get("warnings"), None);
    assert_eq!(deploy(json!(["gpu"])).await.get("warnings"), None);
    let why = "no live host has all of the labels 'gpu', 'eu'";
    let deployed = deploy(json!(["gpu", "eu"])).await;
    assert_eq!(deployed["warnings"], json!([format!("{why}: executions wait until one does")]));
    assert_eq!(no_host("/v1/functions/total").await, Some(json!(why)));
    let accepted = gateway.post("/v1/events/order.created", &json!({"total": 3})).await;
    let execution = format!("/v1/executions/{}", accepted.executions()[0]);
    assert_eq!(no_host(&execution).await, Some(json!(why)));
    // One comes.
    let fitting = Node { labels: ["eu", "x", "gpu"].map(String::from).into(), ..node("two") };
    gateway.store.beat(&fitting).await.unwrap();
    for path in ["/v1/functions/total", &execution] {
        assert_eq!(no_host(path).await, None);
    }
    gateway.store.leave(fitting.id).await.unwrap();
    let back = gateway.post("/v1/functions/total/rollback", &json!({"to": 2})).await.json();
    assert_eq!(back.get("warnings"), None);
    let back = gateway.post("/v1/functions/total/rollback", &json!({"to": 3})).await.json();
    assert_eq!(back["warnings"].as_array().unwrap().len(), 1, "{back}");
    gateway.post(&format!("{execution}/cancel"), &json!(null)).await;
    assert_eq!(no_host(&execution).await, None, "it waits for none");
}
