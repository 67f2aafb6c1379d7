//! Synchronous calls.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_store::{Agenda as _, History as _, Ledger as _};

use crate::harness::{Gateway, WAIT_TIMEOUT, id, retry_later, send, success, trap, until};

#[tokio::test]
async fn the_answer_is_the_execution() {
    let gateway = Gateway::start().await;
    gateway.deploy("echo", json!([{"event": "order.*"}, {"event": "order.created"}])).await;
    gateway.work("echo", success).await;
    let answer = gateway.post("/v1/functions/echo/invoke", &json!({"total": 3})).await;
    assert_eq!(answer.status, StatusCode::OK);
    let document = answer.json();
    assert_eq!(
        (&document["state"], &document["result"]["data"]),
        (&json!("succeeded"), &json!({"total": 3}))
    );
    // The first type that the function names in full.
    assert_eq!(document["type"], "order.created");
    let shown = gateway.get(&format!("/v1/executions/{}", document["id"].as_str().unwrap())).await;
    assert_eq!(shown.json(), document);

    gateway.deploy("broken", json!([])).await;
    gateway.work("broken", trap).await;
    let document = gateway.post("/v1/functions/broken/invoke?wait=10s", &json!(1)).await.json();
    assert_eq!(
        (&document["state"], &document["outcome"], &document["type"]),
        (&json!("failed"), &json!("trap"), &json!("wasmill.invoke"))
    );
}

#[tokio::test]
async fn the_type_can_be_said_in_three_ways() {
    let gateway = Gateway::start().await;
    gateway.deploy("echo", json!([{"event": "order.created"}])).await;
    gateway.work("echo", success).await;
    let path = "/v1/functions/echo/invoke";
    let typed = gateway.post(&format!("{path}?type=a.b"), &json!(1)).await;
    assert_eq!(typed.json()["type"], "a.b");
    let header = send(
        gateway
            .request(Method::POST, path)
            .header("ce-type", "c.d")
            .header("ce-id", "7")
            .json(&json!(1)),
    )
    .await;
    assert_eq!((&header.json()["type"], &header.json()["event_id"]), (&json!("c.d"), &json!("7")));
    let event = json!({"specversion": "1.0", "id": "8", "source": "/s", "type": "e.f", "data": 1})
        .to_string();
    let structured = gateway.post_as(path, "application/cloudevents+json", event.clone()).await;
    assert_eq!(
        (&structured.json()["type"], &structured.json()["event_id"]),
        (&json!("e.f"), &json!("8"))
    );

    let both = format!("{path}?type=a.b");
    gateway
        .post_as(&both, "application/cloudevents+json", event)
        .await
        .problem(400, "invalid-event");
    let both = gateway.request(Method::POST, &both).header("ce-type", "c.d").json(&json!(1));
    send(both).await.problem(400, "invalid-event");
    gateway
        .post_as(path, "application/cloudevents-batch+json", "[]")
        .await
        .problem(415, "unsupported-media-type");
    // No data is fine, too.
    let nothing = send(gateway.request(Method::POST, path)).await;
    assert_eq!((nothing.status, nothing.json()["event"].get("data")), (StatusCode::OK, None));
}

#[tokio::test]
async fn only_the_schemas_that_apply_are_checked() {
    let gateway = Gateway::start().await;
    let schema = |name: &str| json!({"required": [name]});
    gateway.deploy("echo", json!([{"event": "order.*", "schema": schema("total")}])).await;
    gateway.deploy("other", json!([{"event": "order.*", "schema": schema("other")}])).await;
    gateway.work("echo", success).await;
    let path = "/v1/functions/echo/invoke?type=order.created";
    let problem = gateway.post(path, &json!({})).await.problem(400, "schema-violation");
    assert_eq!(problem["errors"][0]["schema"], "function echo");
    assert_eq!(gateway.post(path, &json!({"total": 1})).await.status, 200);
    assert_eq!(
        gateway.post("/v1/functions/echo/invoke?type=unrelated", &json!({})).await.status,
        200
    );
    gateway.put("/v1/schemas/unrelated", &json!({"type": "number"})).await;
    gateway
        .post("/v1/functions/echo/invoke?type=unrelated", &json!({}))
        .await
        .problem(400, "schema-violation");
    assert_eq!(gateway.waiting("other").await, 0);
}

#[tokio::test]
async fn who_does_not_wait_is_told_where_to_look() {
    let gateway = Gateway::start().await;
    gateway.deploy("slow", json!([])).await;
    let answer = gateway.post("/v1/functions/slow/invoke?wait=0s", &json!({"a": 1})).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let document = answer.json();
    let location = answer.headers["location"].to_str().unwrap();
    assert_eq!(location, format!("/v1/executions/{}", document["id"].as_str().unwrap()));
    assert_eq!(
        (&document["state"], &document["event"]["data"]),
        (&json!("queued"), &json!({"a": 1}))
    );
    assert_eq!(gateway.get(location).await.json(), document);

    let begun = Instant::now();
    let answer = gateway.post("/v1/functions/slow/invoke?wait=50ms", &json!(1)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert!(begun.elapsed() >= Duration::from_millis(50));
    for bad in ["wait=16m", "wait=5", "type=..", "wiat=1s"] {
        gateway
            .post(&format!("/v1/functions/slow/invoke?{bad}"), &json!(1))
            .await
            .problem(400, "bad-request");
    }
    gateway.post("/v1/functions/none/invoke", &json!(1)).await.problem(404, "not-found");
}

/// The reply tells of the first attempt's end only; the call goes on until the execution's.
#[tokio::test]
async fn a_retry_is_waited_for() {
    let gateway = Gateway::start().await;
    gateway.deploy("flaky", json!([])).await;
    gateway.work("flaky", retry_later).await;
    let call = gateway.request(Method::POST, "/v1/functions/flaky/invoke?wait=20s").json(&json!(1));
    let call = tokio::spawn(send(call));
    // Stands in for the scheduler, and then for a host.
    let due = until("the retry is due", async || {
        let later = wasmill_domain::Timestamp::now().plus(Duration::from_secs(7200));
        let due = gateway.store.promote_due(later, 10).await.unwrap();
        if let [dispatch] = due.as_slice() { Some(dispatch.clone()) } else { None }
    });
    let dispatch = due.await;
    assert_eq!(dispatch.attempt, 2);
    assert!(!call.is_finished());
    assert_eq!(gateway.store.record(&[success(dispatch)]).await.unwrap(), [true]);
    let answer = call.await.unwrap();
    assert_eq!((answer.status, &answer.json()["state"]), (StatusCode::OK, &json!("succeeded")));
    let outcomes: Vec<Value> = answer.json()["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["outcome"].clone())
        .collect();
    assert_eq!(outcomes, [json!("error"), json!("success")]);
}

#[tokio::test]
async fn calls_that_wait_are_bounded_and_end_with_the_gateway() {
    let settings = wasmill_gateway::GatewaySettings {
        max_waiting: 1,
        ..wasmill_gateway::GatewaySettings::default()
    };
    let gateway =
        Gateway::start_with(settings, wasmill_broker::embedded::EmbeddedSettings::default()).await;
    gateway.deploy("slow", json!([])).await;
    let call = gateway.request(Method::POST, "/v1/functions/slow/invoke?wait=15m").json(&json!(1));
    let call = tokio::spawn(send(call));
    until("it is queued", async || (gateway.waiting("slow").await > 0).then_some(())).await;
    gateway.post("/v1/functions/slow/invoke", &json!(1)).await.problem(503, "overloaded");
    gateway.shutdown.cancel();
    let answer = tokio::time::timeout(WAIT_TIMEOUT, call).await.unwrap().unwrap();
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    tokio::time::timeout(WAIT_TIMEOUT, gateway.served).await.unwrap().unwrap();
    // The row was written before the gateway ended.
    let execution = id(answer.json()["id"].as_str().unwrap());
    assert!(
        gateway
            .store
            .execution(&wasmill_domain::TenantName::default(), execution)
            .await
            .unwrap()
            .is_some()
    );
}
