//! An event keeps its attributes and its data from each mode of the HTTP binding to what is
//! recorded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::support::Dev;
use super::support::api::{Api, execution_ids};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn recorded(api: &Api, request: reqwest::RequestBuilder) -> Vec<Value> {
    let response = request.send().await.unwrap();
    let status = response.status();
    let document: Value = response.json().await.unwrap();
    assert_eq!(status, StatusCode::ACCEPTED, "{document}");
    let results = document["results"].as_array().cloned().unwrap_or_else(|| vec![document]);
    let mut executions = Vec::new();
    for id in results.iter().flat_map(execution_ids) {
        executions.push(api.ended(&id).await);
    }
    executions
}

fn event(id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/tests/%C3%BC", "type": "order.audited", "subject": "Euro € 😀",
        "time": "2026-11-22T03:30:00.5Z", "datacontenttype": "application/json", "region": "eu west%", "data": {"total": 12.5},
    })
}

#[tokio::test]
async fn binary_mode() {
    let dev = Dev::with_samples(&["order-audit"]);
    let api = dev.api();
    let request = api
        .request("POST", "/v1/events")
        .header("ce-specversion", "1.0")
        .header("ce-id", "b-1")
        .header("ce-source", "/tests/%25C3%25BC")
        .header("ce-type", "order.audited")
        .header("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80")
        .header("ce-time", "2026-11-22T03:30:00.5Z")
        .header("ce-region", "eu west%25")
        .header("content-type", "application/json")
        .header("traceparent", TRACEPARENT)
        .body(r#"{"total": 12.5}"#);
    let execution = recorded(&api, request).await.remove(0);
    assert_eq!(execution["event"], event("b-1"));
    assert_eq!(execution["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(execution["state"], "succeeded", "{execution}");
}

#[tokio::test]
async fn structured_and_batch_mode() {
    let dev = Dev::with_samples(&["order-audit"]);
    let api = dev.api();
    let structured = api
        .request("POST", "/v1/events")
        .header("content-type", "application/cloudevents+json")
        .body(event("s-1").to_string());
    assert_eq!(recorded(&api, structured).await[0]["event"], event("s-1"));

    let batch = json!([event("b-1"), event("b-2")]);
    let batch = api
        .request("POST", "/v1/events")
        .header("content-type", "application/cloudevents-batch+json")
        .body(batch.to_string());
    let mut events: Vec<Value> =
        recorded(&api, batch).await.iter().map(|e| e["event"].clone()).collect();
    events.sort_by_key(|event| event["id"].to_string());
    assert_eq!(events, [event("b-1"), event("b-2")]);
}

#[tokio::test]
async fn binary_data_stays_as_it_is() {
    let dev = Dev::with_samples(&["order-audit"]);
    let api = dev.api();
    let bytes: Vec<u8> = (0..=255).collect();
    let request = api
        .request("POST", "/v1/events/order.scanned")
        .header("content-type", "image/png")
        .body(bytes.clone());
    let execution = recorded(&api, request).await.remove(0);
    assert_eq!(execution["event"]["data_base64"], BASE64.encode(bytes));
    assert_eq!(execution["event"]["datacontenttype"], "image/png");
}

#[tokio::test]
async fn an_invalid_event_of_a_batch_keeps_all_out() {
    let dev = Dev::with_samples(&["order-total"]);
    let api = dev.api();
    let valid: Value =
        serde_json::from_slice(&std::fs::read(first_event("order-total")).unwrap()).unwrap();
    let mut invalid = valid.clone();
    invalid["data"]["items"][0]["qty"] = json!(-1);
    let batch = json!([valid, invalid]).to_string();
    let request = api
        .request("POST", "/v1/events")
        .header("content-type", "application/cloudevents-batch+json")
        .body(batch);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["errors"][0]["pointer"], "/1/data/items/0/qty", "{problem}");
    assert!(api.executions_of("order-total").await.is_empty());
}

/// A sample's first valid event file.
pub(crate) fn first_event(function: &str) -> std::path::PathBuf {
    let entries = std::fs::read_dir(super::support::sample(function).join("events")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| !file.file_name().unwrap().to_string_lossy().starts_with("invalid"));
    files.sort();
    files.remove(0)
}
