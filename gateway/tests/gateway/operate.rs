//! What operators do with executions.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use wasmill_broker::Broadcasts as _;
use wasmill_broker::embedded::EmbeddedSettings;
use wasmill_domain::wire::Broadcast;
use wasmill_domain::{ExecutionId, Order, OrderKind};
use wasmill_gateway::GatewaySettings;

use crate::harness::{Answer, Gateway, success};

async fn operate(gateway: &Gateway, id: &str, what: &str) -> Answer {
    gateway.post(&format!("/v1/executions/{id}/{what}"), &json!(null)).await
}

async fn accept(gateway: &Gateway) -> String {
    gateway.post("/v1/events/order.created", &json!({"total": 3})).await.executions().remove(0)
}

/// The orders that are broadcast from now on.
async fn orders(gateway: &Gateway) -> (Arc<Mutex<Vec<Order>>>, impl Sized) {
    let received: Arc<Mutex<Vec<Order>>> = Arc::default();
    let listening = Arc::clone(&received);
    let listener = Arc::new(move |body: bytes::Bytes| {
        listening.lock().unwrap().extend(Broadcast::decode(&body).unwrap().orders);
    });
    (received, gateway.broker.subscribe(listener).await.unwrap())
}

#[tokio::test]
async fn what_waits_is_suspended_resumed_and_cancelled() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    let (received, _listening) = orders(&gateway).await;
    // Its row is not written yet.
    let id = accept(&gateway).await;
    let answer = operate(&gateway, &id, "suspend?reason=to%20be%20looked%20at").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), json!({"id": id, "state": "suspended", "epoch": 2, "attempt": 1}));
    let shown = gateway.get(&format!("/v1/executions/{id}")).await.json();
    assert_eq!(
        (&shown["state"], &shown["reason"], &shown["held_by"]),
        (&json!("suspended"), &json!("to be looked at"), &json!("operator"))
    );
    assert_eq!(shown["event"]["data"], json!({"total": 3}), "all that is known of it");
    assert!(shown["changed_at"].is_string());
    assert_eq!(operate(&gateway, &id, "resume").await.json()["state"], "queued");
    let shown = gateway.get(&format!("/v1/executions/{id}")).await.json();
    assert_eq!((&shown["reason"], &shown["held_by"]), (&Value::Null, &Value::Null));
    assert_eq!(operate(&gateway, &id, "cancel?reason=x").await.json()["epoch"], 4);
    operate(&gateway, &id, "cancel").await.problem(409, "conflict");
    operate(&gateway, &id, "resume").await.problem(409, "conflict");
    let execution: ExecutionId = id.parse().unwrap();
    let order = |epoch, kind, reason: &str| {
        let reason = Some(reason.to_owned());
        Order { execution, epoch, kind, reason }
    };
    assert_eq!(
        *received.lock().unwrap(),
        [order(2, OrderKind::Suspend, "to be looked at"), order(4, OrderKind::Cancel, "x")]
    );
}

#[tokio::test]
async fn what_was_accepted_elsewhere_is_moved_before_it_is_known() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    let id = ExecutionId::new().to_string();
    assert_eq!(operate(&gateway, &id, "cancel").await.json()["state"], "cancelled");
    let shown = gateway.get(&format!("/v1/executions/{id}")).await.json();
    assert_eq!((&shown["state"], &shown["event"]), (&json!("cancelled"), &Value::Null));
    assert!(shown["unreadable_event"]["why"].as_str().unwrap().contains("has not come yet"));
    let listed = gateway.get("/v1/executions?state=cancelled").await.json();
    assert_eq!(listed["executions"][0]["id"], json!(id));
}

#[tokio::test]
async fn what_cannot_be_moved_is_said() {
    let settings = GatewaySettings {
        order_window: std::time::Duration::from_secs(60),
        ..GatewaySettings::default()
    };
    let gateway = Gateway::start_with(settings, EmbeddedSettings::default()).await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    gateway.work("total", success).await;
    let id = accept(&gateway).await;
    gateway.execution_until(&id, |e| e["state"] == "succeeded").await;
    for what in ["cancel", "suspend", "resume"] {
        operate(&gateway, &id, what).await.problem(409, "conflict");
        operate(&gateway, "x", what).await.problem(400, "bad-request");
        operate(&gateway, &id, &format!("{what}?reasons=x")).await.problem(400, "bad-request");
        let long = "x".repeat(1_001);
        operate(&gateway, &id, &format!("{what}?reason={long}")).await.problem(400, "bad-request");
        // Neither was made a minute ago, nor by whoever makes ids.
        for none in ["01800000-0000-7000-8000-000000000000", "3e6f7d31-24c6-4b7c-93f5-0f5f0d6d6a37"]
        {
            operate(&gateway, none, what).await.problem(404, "not-found");
        }
    }
    let new = ExecutionId::new().to_string();
    operate(&gateway, &new, "resume").await.problem(404, "not-found");
}
