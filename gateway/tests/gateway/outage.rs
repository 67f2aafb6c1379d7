//! The broker or the store is away, or both.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use wasmill_domain::Timestamp;
use wasmill_store::Agenda as _;

use crate::harness::{Gateway, WAIT_TIMEOUT, until};

async fn gateway() -> Gateway {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "order.*"}])).await;
    gateway.deploy("audit", json!([{"event": "order.created"}])).await;
    gateway
}

#[tokio::test]
async fn without_the_broker_the_outbox_takes_events() {
    let gateway = gateway().await;
    gateway.broker.close().await;
    let ids = gateway.post("/v1/events/order.created", &json!(1)).await.executions();
    let mut outbox: Vec<String> = Vec::new();
    for dispatch in gateway.store.outbox(Timestamp::now(), 10).await.unwrap() {
        outbox.push(dispatch.execution.to_string());
    }
    assert_eq!(outbox, ids);
    assert_eq!(gateway.get(&format!("/v1/executions/{}", ids[0])).await.json()["state"], "queued");
    // A call goes the same way, and is waited for.
    let answer = gateway.post("/v1/functions/total/invoke?wait=20ms", &json!(1)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(gateway.store.outbox(Timestamp::now(), 10).await.unwrap().len(), 3);

    let ready = gateway.get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert_eq!(
        (&ready.json()["status"], &ready.json()["broker"], &ready.json()["store"]),
        (&json!("degraded"), &json!("away"), &json!("ok"))
    );
    assert_eq!(gateway.get("/v1/functions/total").await.json()["queue"], json!(null));
    // Deploys work still.
    gateway.deploy("new", json!([{"event": "new"}])).await;
    assert_eq!(gateway.post("/v1/events/new", &json!(1)).await.status, 202);
}

#[tokio::test]
async fn without_the_store_the_broker_takes_events() {
    let gateway = gateway().await;
    gateway.store.close().await;
    for _ in 0..3 {
        assert_eq!(gateway.post("/v1/events/order.created", &json!(1)).await.executions().len(), 2);
    }
    assert_eq!(gateway.take("total", 3).await.len(), 3);
    gateway.get("/v1/executions").await.problem(503, "unavailable");
    // What is known in memory is told still.
    assert_eq!(gateway.get("/v1/functions").await.status, 200);
    // The rows that could not be written are counted.
    let counted = async {
        loop {
            let ready = gateway.get("/readyz").await.json();
            assert_eq!((&ready["status"], &ready["store"]), (&json!("degraded"), &json!("away")));
            if ready["rows_dropped"] == 6 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, counted).await.unwrap();
    // A call cannot be told the end, but is not lost.
    let answer = gateway.post("/v1/functions/total/invoke?wait=20ms", &json!({"a": 1})).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(
        (&answer.json()["state"], &answer.json()["event"]["data"]),
        (&json!("queued"), &json!({"a": 1}))
    );
}

#[tokio::test]
async fn without_both_nothing_is_accepted() {
    let gateway = gateway().await;
    assert_eq!(gateway.get("/readyz").await.json()["status"], "ok");
    gateway.broker.close().await;
    gateway.store.close().await;
    for path in ["/v1/events/order.created", "/v1/functions/total/invoke"] {
        let problem = gateway.post(path, &json!(1)).await.problem(503, "unavailable");
        assert!(problem["detail"].as_str().unwrap().contains("nothing was accepted"), "{problem}");
    }
    // What was found out a moment ago is good for a moment.
    let unready = until("it is seen that neither answers", async || {
        let answer = gateway.get("/readyz").await;
        (answer.status != 200).then_some(answer)
    });
    unready.await.problem(503, "unavailable");
    assert_eq!(gateway.get("/healthz").await.status, 200);
}
