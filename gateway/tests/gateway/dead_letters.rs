//! Messages that no process could read: listed, exported, sent again and deleted, by operators.

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde_json::json;
use uuid::Uuid;
use wasmill_domain::{Batch, Dispatch, Timestamp};
use wasmill_store::{DeadLetter, DeadLetters as _, Ledger as _, Publication};

use crate::harness::{Gateway, send};

fn letter_of(dispatch: &Dispatch, body: impl Into<Bytes>) -> DeadLetter {
    DeadLetter {
        id: Uuid::now_v7(),
        tenant: dispatch.tenant.clone(),
        function: dispatch.function.clone(),
        reason: "batches of version 2 cannot be read here".into(),
        at: Timestamp::from_micros(1_780_000_000_000_000),
        headers: vec![("content-type".into(), "application/vnd.wasmill.batch".into())],
        body: body.into(),
    }
}

/// An event that was accepted, and whose message became a dead letter.
async fn dead(gateway: &Gateway) -> (Dispatch, DeadLetter) {
    gateway.post("/v1/events/order.created", &json!({"n": 1})).await;
    let dispatch = gateway.take("total", 1).await.remove(0);
    gateway.store.enqueue(std::slice::from_ref(&dispatch), Publication::Confirmed).await.unwrap();
    let letter = letter_of(&dispatch, Batch::single(dispatch.clone()).encode_as(2));
    gateway.store.put_dead_letter(&letter, &[dispatch.key()]).await.unwrap();
    (dispatch, letter)
}

#[tokio::test]
async fn letters_are_listed_and_exported() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    let (dispatch, first) = dead(&gateway).await;
    let second = letter_of(&dispatch, "\0nonsense");
    gateway.store.put_dead_letter(&second, &[]).await.unwrap();
    let page = gateway.get("/v1/dead-letters?limit=1").await.json();
    assert_eq!(
        (&page["dead_letters"][0]["id"], &page["next"]),
        (&json!(second.id), &json!(second.id))
    );
    let page = gateway.get(&format!("/v1/dead-letters?cursor={}", second.id)).await.json();
    let expected = json!({"dead_letters": [{
        "id": first.id, "tenant": "default", "function": "total", "executions": 1, "size": first.body.len(),
        "reason": "batches of version 2 cannot be read here", "at": "2026-05-28T20:26:40Z",
    }], "next": null});
    assert_eq!(page, expected);
    let exported = gateway.get(&format!("/v1/dead-letters/{}", first.id)).await;
    assert_eq!((exported.status, &exported.bytes), (StatusCode::OK, &first.body));
    let failed = gateway.get(&format!("/v1/executions/{}", dispatch.execution)).await.json();
    assert_eq!((&failed["state"], &failed["outcome"]), (&json!("failed"), &json!("poisoned")));

    assert_eq!(
        gateway.delete(&format!("/v1/dead-letters/{}", second.id)).await.status,
        StatusCode::NO_CONTENT
    );
    let gone = format!("/v1/dead-letters/{}", second.id);
    gateway.delete(&gone).await.problem(404, "not-found");
    gateway.get(&gone).await.problem(404, "not-found");
    gateway.post(&format!("{gone}/redrive"), &json!({})).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_letter_is_sent_again_as_it_is() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    let (dispatch, letter) = dead(&gateway).await;
    let answer = gateway.post(&format!("/v1/dead-letters/{}/redrive", letter.id), &json!({})).await;
    let expected = json!({"id": letter.id, "executions": [dispatch.execution], "reopened": 1});
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, expected));
    assert_eq!(gateway.get("/v1/dead-letters").await.json()["dead_letters"], json!([]));
    let waiting = gateway.get(&format!("/v1/executions/{}", dispatch.execution)).await.json();
    assert_eq!((&waiting["state"], &waiting["outcome"]), (&json!("queued"), &json!(null)));
    assert_eq!(gateway.take("total", 1).await, [dispatch]);
}

#[tokio::test]
async fn letters_are_for_operators() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    let (_, letter) = dead(&gateway).await;
    let operator = gateway.post("/v1/keys", &json!({"role": "operator"})).await.json();
    let operator = operator["key"].as_str().unwrap();
    let request = gateway.request(Method::POST, "/v1/keys").bearer_auth(operator);
    let tenant = send(request.json(&json!({"role": "tenant", "tenant": "default"}))).await.json();
    let tenant = tenant["key"].as_str().unwrap();
    let one = format!("/v1/dead-letters/{}", letter.id);
    let redrive = format!("{one}/redrive");
    for (method, path) in [
        (Method::GET, "/v1/dead-letters"),
        (Method::GET, one.as_str()),
        (Method::POST, redrive.as_str()),
        (Method::DELETE, one.as_str()),
    ] {
        send(gateway.request(method, path).bearer_auth(tenant)).await.problem(403, "forbidden");
    }
    let exported = send(gateway.request(Method::GET, &one).bearer_auth(operator)).await;
    assert_eq!(exported.bytes, letter.body);
}
