//! An event keeps its attributes and its data from each mode of the HTTP binding to what is
//! recorded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use reqwest::StatusCode;
use serde_json::{Value, json};
use wasmill_domain::EventParts;
use wasmill_domain::event::arbitrary::any_event;

use super::support::api::{Api, execution_ids};
use super::support::{Dev, eventually};

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

/// JSON without the space between its tokens.
fn tokens(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let is_kept = |c: &char| {
        let is_space = !in_string && c.is_ascii_whitespace();
        in_string ^= *c == '"' && !escaped;
        escaped = in_string && *c == '\\' && !escaped;
        !is_space
    };
    json.chars().filter(is_kept).collect()
}

/// Whatever was accepted, the command line shows it, and passes on what the API says of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_shows_any_event() {
    const EVENTS: usize = 16;
    let dev = Dev::with_samples(&["order-audit"]);
    let api = dev.api();
    let mut runner = TestRunner::deterministic();
    let mut ids = Vec::new();
    while ids.len() < EVENTS {
        let parts = any_event().new_tree(&mut runner).unwrap().current().into_parts();
        let event = EventParts { event_type: "order.odd".parse().unwrap(), ..parts };
        let request = api
            .request("POST", "/v1/events")
            .header("content-type", "application/cloudevents+json")
            .body(event.to_json());
        let response = request.send().await.unwrap();
        let status = response.status();
        let document: Value = response.json().await.unwrap();
        if status == StatusCode::ACCEPTED {
            ids.extend(execution_ids(&document));
        } else {
            // What is no JSON, though its type says so.
            let detail = document["detail"].as_str().unwrap();
            assert!(detail.contains("cannot be read as JSON"), "{document}");
        }
    }
    // In `Value` there is no room for all that may be in them.
    for id in &ids {
        eventually("it is run", async || {
            let text = api.request("GET", &format!("/v1/executions/{id}")).send().await.ok()?;
            text.text().await.ok()?.contains(r#""state":"succeeded""#).then_some(())
        })
        .await;
    }
    let is_shown = |text: &str| !text.contains(|c: char| c.is_control() && !"\n\t".contains(c));
    let of_api =
        async |path: &str| api.request("GET", path).send().await.unwrap().text().await.unwrap();
    for id in &ids {
        let shown = dev.cli_ok(&["executions", "show", id]);
        assert!(shown.starts_with(&format!("{id} order-audit succeeded\n")), "{shown}");
        assert!(shown.contains("  event      order.odd ") && is_shown(&shown), "{shown:?}");
        let printed = dev.cli_ok(&["--json", "executions", "show", id]);
        assert_eq!(tokens(&printed), tokens(&of_api(&format!("/v1/executions/{id}")).await));
        assert!(is_shown(&dev.cli_ok(&["logs", id])));
    }
    let listed = dev.cli_ok(&["executions", "list", "--limit", "100"]);
    assert_eq!(listed.lines().count(), 1 + EVENTS, "{listed}");
    assert!(is_shown(&listed) && ids.iter().all(|id| listed.contains(id)), "{listed}");
    let printed = dev.cli_ok(&["--json", "executions", "list", "--limit", "100"]);
    let page = of_api("/v1/executions?limit=100").await;
    assert_eq!(tokens(&printed), tokens(&page).replace(r#","next":null}"#, "}"));
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
