//! `POST /v1/events`: the three modes, in and out.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use wasmill_domain::Event;

use crate::harness::{Gateway, send, success};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

fn event(id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "https://shop.example/eu?x=1&y='2'", "type": "com.example.order",
        "subject": "Euro € 😀", "time": "2026-11-22T03:30:00.5+01:00", "dataschema": "https://shop.example/order",
        "flag": true, "count": -3, "partitionkey": "100% \"sure\"", "data": {"total": 3}
    })
}

async fn gateway() -> Gateway {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "com.example.*"}])).await;
    gateway
}

async fn received(gateway: &Gateway) -> Arc<Event> {
    gateway.take("total", 1).await.remove(0).event
}

#[tokio::test]
async fn structured_mode_goes_round() {
    let gateway = gateway().await;
    gateway.work("total", success).await;
    let answer = gateway
        .post_as(
            "/v1/events",
            "application/cloudevents+json; charset=UTF-8",
            event("1").to_string(),
        )
        .await;
    let id = answer.executions().remove(0);
    let shown = gateway.execution_until(&id, |e| e["state"] == "succeeded").await;
    assert_eq!(shown["event"], event("1"));
    let path = format!("/v1/executions/{id}/event");
    let out = send(gateway.request(Method::GET, &path).header("accept", STRUCTURED)).await;
    assert_eq!(out.headers["content-type"], STRUCTURED);
    assert_eq!(out.json(), event("1"));
}

#[tokio::test]
async fn binary_mode_goes_round() {
    let gateway = gateway().await;
    let request = gateway
        .request(Method::POST, "/v1/events")
        .header("content-type", "image/png")
        .body(vec![0, 255, 7]);
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "%22quoted%22"),
        ("CE-Source", "/shop"),
        ("ce-type", "com.example.image"),
        ("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
        ("ce-partitionkey", "100%25"),
        ("ce-comexampleothervalue", "5"),
    ];
    let answer =
        send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)))
            .await;
    let id = answer.executions().remove(0);
    let event = received(&gateway).await;
    assert_eq!((event.id.as_str(), event.subject.as_deref()), ("\"quoted\"", Some("Euro € 😀")));
    assert_eq!(event.extensions["partitionkey"].to_string(), "100%");
    assert_eq!(event.data.as_deref(), Some([0, 255, 7].as_slice()));

    let out = gateway.get(&format!("/v1/executions/{id}/event")).await;
    for (name, value) in headers {
        assert_eq!(out.headers[name], value, "{name}");
    }
    assert_eq!(out.headers["content-type"], "image/png");
    assert_eq!(out.headers["x-content-type-options"], "nosniff");
    assert_eq!(out.bytes.as_ref(), [0, 255, 7]);
}

#[tokio::test]
async fn attributes_that_are_too_much_for_headers_come_out_structured() {
    let gateway = gateway().await;
    for (count, length, expected) in
        [(50, 10, "application/json"), (70, 1, STRUCTURED), (3, 6_000, STRUCTURED)]
    {
        let mut sent = event("1");
        for i in 0..count {
            sent[format!("ext{i}")] = json!("x".repeat(length));
        }
        let id = gateway
            .post_as("/v1/events", STRUCTURED, sent.to_string())
            .await
            .executions()
            .remove(0);
        let out = gateway.get(&format!("/v1/executions/{id}/event")).await;
        assert_eq!(
            (out.status.as_u16(), &out.headers["content-type"]),
            (200, &expected.parse().unwrap())
        );
        assert!(
            out.headers.len() < 80
                && out.headers.values().map(|value| value.as_bytes().len()).sum::<usize>() < 20_000
        );
        assert_eq!(out.json(), if expected == STRUCTURED { sent } else { sent["data"].take() });
        received(&gateway).await;
    }
}

#[tokio::test]
async fn what_went_in_structured_comes_out_binary() {
    let gateway = gateway().await;
    let id = gateway
        .post_as("/v1/events", STRUCTURED, event("1").to_string())
        .await
        .executions()
        .remove(0);
    received(&gateway).await;
    let out = gateway.get(&format!("/v1/executions/{id}/event")).await;
    assert_eq!(out.headers["ce-subject"], "Euro%20%E2%82%AC%20%F0%9F%98%80");
    assert_eq!(out.headers["ce-source"], "https://shop.example/eu?x=1&y='2'");
    assert_eq!(out.headers["ce-partitionkey"], "100%25%20%22sure%22");
    assert_eq!(
        (&out.headers["ce-flag"], &out.headers["ce-count"]),
        (&"true".parse().unwrap(), &"-3".parse().unwrap())
    );
    assert_eq!(out.json(), json!({"total": 3}));

    // And in again: the same event, but for the types that headers cannot keep.
    let skipped = [
        "content-length",
        "date",
        "content-disposition",
        "content-security-policy",
        "x-content-type-options",
    ];
    let headers = out.headers.iter().filter(|(name, _)| !skipped.contains(&name.as_str()));
    let request = gateway.request(Method::POST, "/v1/events").body(out.bytes.clone());
    let again =
        send(headers.fold(request, |request, (name, value)| request.header(name, value))).await;
    assert_eq!(again.status, 202, "{again:?}");
    let again: Value = serde_json::from_slice(&received(&gateway).await.to_json()).unwrap();
    let mut expected = event("1");
    (expected["flag"], expected["count"]) = (json!("true"), json!("-3"));
    // What was implied in the JSON format has to be said in a header.
    expected["datacontenttype"] = json!("application/json");
    assert_eq!(again, expected);
}

#[tokio::test]
async fn batch_mode_keeps_the_order() {
    let gateway = gateway().await;
    gateway.deploy("audit", json!([{"event": "com.example.order"}])).await;
    let ids: Vec<String> = (0..200).map(|i| i.to_string()).collect();
    let batch: Vec<Value> = ids.iter().map(|id| event(id)).collect();
    let answer = gateway.post_as("/v1/events", BATCH, json!(batch).to_string()).await;
    assert_eq!(answer.status, 202);
    let results = answer.json()["results"].as_array().unwrap().clone();
    for function in ["audit", "total"] {
        let taken = gateway.take(function, 200).await;
        assert_eq!(taken.iter().map(|d| d.event.id.clone()).collect::<Vec<_>>(), ids);
        for (dispatch, result) in taken.iter().zip(&results) {
            let executions = result["executions"].as_array().unwrap();
            let id = executions.iter().find(|e| e["function"] == function).map(|e| &e["id"]);
            assert_eq!(id, Some(&json!(dispatch.execution.to_string())));
            assert_eq!(result["event"]["id"], dispatch.event.id);
        }
    }
    assert_eq!(gateway.post_as("/v1/events", BATCH, "[]").await.json(), json!({"results": []}));
}

#[tokio::test]
async fn a_batch_is_accepted_whole_or_not_at_all() {
    let gateway = gateway().await;
    let schema = json!({"properties": {"total": {"minimum": 1}}});
    gateway.deploy("strict", json!([{"event": "com.example.order", "schema": schema}])).await;
    let with = |spoil: fn(&mut Value)| {
        let mut batch = json!([event("0"), event("1"), event("2"), event("3")]);
        spoil(&mut batch[3]);
        batch.to_string()
    };
    let problem =
        gateway.post_as("/v1/events", BATCH, with(|e| e["data"] = json!({"total": 0}))).await;
    let problem = problem.problem(400, "schema-violation");
    assert_eq!(
        (&problem["errors"][0]["pointer"], &problem["errors"][0]["schema"]),
        (&json!("/3/data/total"), &json!("function strict"))
    );
    let problem = gateway.post_as("/v1/events", BATCH, with(|e| e["time"] = json!("noon"))).await;
    assert_eq!(problem.problem(400, "invalid-event")["errors"][0]["pointer"], "/3/time");
    let problem =
        gateway.post_as("/v1/events", BATCH, with(|e| e["type"] = json!("nobody.listens"))).await;
    assert_eq!(problem.problem(404, "unknown-type")["errors"][0]["pointer"], "/3/type");
    let problem = gateway.post_as("/v1/events", BATCH, with(|e| *e = json!("no event"))).await;
    assert_eq!(problem.problem(400, "invalid-event")["errors"][0]["pointer"], "/3");
    let problem = gateway
        .post_as("/v1/events", BATCH, with(|e| e["datacontenttype"] = json!("text/plain")))
        .await;
    assert_eq!(problem.problem(400, "invalid-event")["errors"][0]["pointer"], "/3/datacontenttype");
    gateway.post_as("/v1/events", BATCH, "{}").await.problem(400, "invalid-event");
    gateway.post_as("/v1/events", BATCH, "[{]").await.problem(400, "invalid-event");
    assert_eq!(gateway.waiting("total").await, 0);
    assert_eq!(gateway.get("/v1/executions").await.json()["executions"], json!([]));
}

#[tokio::test]
async fn each_event_of_a_batch_has_its_own_trace() {
    let gateway = gateway().await;
    let trace = |n: u8| format!("00-{n:032x}-00f067aa0ba902b7-01");
    let (mut one, mut two) = (event("1"), event("2"));
    one["traceparent"] = json!(trace(1));
    two["traceparent"] = json!("nonsense");
    let request = gateway
        .request(Method::POST, "/v1/events")
        .header("content-type", BATCH)
        .header("traceparent", trace(9));
    assert_eq!(send(request.body(json!([one, two]).to_string())).await.status, 202);
    let taken = gateway.take("total", 2).await;
    assert_eq!((taken[0].trace.to_string(), taken[1].trace.to_string()), (trace(1), trace(9)));
}

#[tokio::test]
async fn pointers_lead_into_the_event() {
    let gateway = gateway().await;
    gateway
        .put("/v1/schemas/com.example.order", &json!({"properties": {"total": {"type": "string"}}}))
        .await;
    let problem = gateway
        .post_as("/v1/events", STRUCTURED, event("1").to_string())
        .await
        .problem(400, "schema-violation");
    assert_eq!(problem["errors"][0]["pointer"], "/data/total");
    assert_eq!(problem["errors"][0]["schema"], "event type com.example.order");

    let mut without_type = event("1");
    without_type.as_object_mut().unwrap().remove("type");
    let problem = gateway
        .post_as("/v1/events", STRUCTURED, without_type.to_string())
        .await
        .problem(400, "invalid-event");
    assert_eq!(problem["errors"][0]["pointer"], "/type");
    let problem = gateway
        .post_as("/v1/events", STRUCTURED, "{\n\"a\" 1}")
        .await
        .problem(400, "invalid-event");
    assert_eq!(problem["errors"][0]["line"], 2);

    let binary = |headers: &[(&'static str, &'static str)]| {
        let request = gateway.request(Method::POST, "/v1/events").body("{}");
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    };
    let required = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "com.example.a"),
    ];
    assert_eq!(send(binary(&required)).await.status, 202);
    for (i, (name, _)) in required.iter().enumerate() {
        let mut missing = required.to_vec();
        missing.remove(i);
        let problem = send(binary(&missing)).await.problem(400, "invalid-event");
        assert_eq!(problem["errors"][0]["pointer"], format!("/{}", &name[3..]));
    }
    for (name, value) in [
        ("ce-subject", "%C0%A0"),
        ("ce-under_score", "1"),
        ("ce-datacontenttype", "text/plain"),
        ("ce-data", "1"),
    ] {
        let problem =
            send(binary(&required).header(name, value)).await.problem(400, "invalid-event");
        assert_eq!(problem["errors"][0]["pointer"], format!("/{}", &name[3..]));
    }
}

#[tokio::test]
async fn what_is_no_cloud_event_is_told_what_is() {
    let gateway = gateway().await;
    for (content_type, body) in [
        ("application/json", "{}"),
        ("application/cloudevents+avro", "x"),
        ("application/cloudevents", "{}"),
    ] {
        let problem = gateway
            .post_as("/v1/events", content_type, body)
            .await
            .problem(415, "unsupported-media-type");
        assert!(problem["accepted"].as_array().unwrap().contains(&json!(STRUCTURED)), "{problem}");
    }
}
