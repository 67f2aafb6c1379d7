//! `POST /v1/events/{type}`.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::harness::{Gateway, send};

#[tokio::test]
async fn an_event_reaches_every_function_that_listens() {
    let gateway = Gateway::start().await;
    gateway.deploy("audit", json!([{"event": "order.*"}, {"event": "order.created"}])).await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    gateway.deploy("other", json!([{"event": "invoice.*"}])).await;

    let answer = gateway.post("/v1/events/order.created", &json!({"total": 3})).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let document = answer.json();
    assert_eq!(document["event"]["type"], "order.created");
    assert_eq!(document["executions"][0]["function"], "audit");
    assert_eq!(document["executions"][1]["function"], "total");
    assert_eq!(document["executions"].as_array().unwrap().len(), 2);

    let ids = answer.executions();
    for (function, id) in ["audit", "total"].into_iter().zip(&ids) {
        let dispatch = gateway.take(function, 1).await.remove(0);
        assert_eq!(dispatch.execution.to_string(), *id);
        assert_eq!((dispatch.attempt, dispatch.max_attempts, dispatch.parent()), (1, 3, None));
        assert_eq!(dispatch.event.id, document["event"]["id"]);
        assert_eq!(dispatch.event.source, "/http");
        assert_eq!(dispatch.event.datacontenttype.as_deref(), Some("application/json"));
        assert_eq!(dispatch.event.data.as_deref(), Some(br#"{"total":3}"#.as_slice()));
    }
    assert_eq!(gateway.waiting("other").await, 0);

    // The rows follow the answer.
    let shown = gateway.execution_until(&ids[0], |_| true).await;
    assert_eq!((&shown["state"], &shown["function"]), (&json!("queued"), &json!("audit")));
}

#[tokio::test]
async fn a_wildcard_sees_every_depth() {
    let gateway = Gateway::start().await;
    gateway.deploy("all", json!([{"event": "*"}])).await;
    gateway.deploy("middle", json!([{"event": "order.*.added"}])).await;
    let functions = async |event_type: &str| {
        let answer = gateway.post(&format!("/v1/events/{event_type}"), &json!(1)).await.json();
        let executions = answer["executions"].as_array().unwrap().clone();
        executions.iter().map(|e| e["function"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(functions("order.item.added").await, ["all", "middle"]);
    assert_eq!(functions("com.example%2Forder:v1").await, ["all"]);
}

#[tokio::test]
async fn an_unknown_type_is_told_what_exists() {
    let gateway = Gateway::start().await;
    let answer = gateway.post("/v1/events/order.created", &json!(1)).await;
    let problem = answer.problem(404, "unknown-type");
    assert!(problem["detail"].as_str().unwrap().contains("deploy one"), "{problem}");

    gateway.deploy("total", json!([{"event": "order.created"}, {"event": "refund.*"}])).await;
    let problem =
        gateway.post("/v1/events/order.craeted", &json!(1)).await.problem(404, "unknown-type");
    assert_eq!(problem["event_types"], json!(["order.created", "refund.*"]));
    assert!(
        problem["detail"].as_str().unwrap().contains("listen to order.created, refund.*"),
        "{problem}"
    );
    gateway.post("/v1/events/.order", &json!(1)).await.problem(400, "bad-request");
    gateway.post("/v1/events/%FF", &json!(1)).await.problem(400, "bad-request");
}

#[tokio::test]
async fn attributes_come_as_headers() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    let request = || gateway.request(Method::POST, "/v1/events/order.created").json(&json!(1));
    let answer = send(
        request()
            .header("ce-id", "7")
            .header("ce-source", "/shop")
            .header("ce-subject", "Euro%20%E2%82%AC")
            .header("ce-vip", "1"),
    )
    .await;
    assert_eq!(answer.json()["event"]["id"], "7");
    let event = &gateway.take("total", 1).await[0].event;
    assert_eq!((event.source.as_str(), event.subject.as_deref()), ("/shop", Some("Euro €")));
    assert_eq!(event.extensions["vip"].to_string(), "1");

    let problem = send(request().header("ce-time", "noon")).await.problem(400, "invalid-event");
    assert_eq!(problem["errors"][0]["pointer"], "/time");
    let problem =
        send(request().header("ce-type", "order.paid")).await.problem(400, "invalid-event");
    assert_eq!(problem["errors"][0]["pointer"], "/type");
    let problem = send(request().header("ce-id", "1").header("ce-id", "2"))
        .await
        .problem(400, "invalid-event");
    assert_eq!(problem["errors"][0]["pointer"], "/id");
}

#[tokio::test]
async fn what_curl_sends_is_json_if_it_looks_so() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    let form = "application/x-www-form-urlencoded";
    let path = "/v1/events/order.created";
    assert_eq!(gateway.post_as(path, form, r#"{"a": 1}"#).await.status, 202);
    let unnamed = send(gateway.request(Method::POST, path).body(r#"{"a": 2}"#)).await;
    assert_eq!(unnamed.status, 202);
    let events = gateway.take("total", 2).await;
    assert!(events.iter().all(|d| d.event.datacontenttype.as_deref() == Some("application/json")));

    let problem =
        gateway.post_as(path, form, "a=1&b=2").await.problem(415, "unsupported-media-type");
    assert!(problem["detail"].as_str().unwrap().contains("curl"), "{problem}");
    assert!(problem["accepted"].as_array().unwrap().contains(&json!("application/json")));

    // Nothing at all is an event without data.
    assert_eq!(send(gateway.request(Method::POST, path)).await.status, 202);
    let event = gateway.take("total", 1).await.remove(0).event;
    assert_eq!((&event.data, &event.datacontenttype), (&None, &None));
}

#[tokio::test]
async fn data_need_not_be_json() {
    let gateway = Gateway::start().await;
    gateway.deploy("thumbnail", json!([{"event": "image.added"}])).await;
    let png = [0x89, b'P', b'N', b'G', 0, 255];
    assert_eq!(
        gateway.post_as("/v1/events/image.added", "image/png", png.to_vec()).await.status,
        202
    );
    let event = gateway.take("thumbnail", 1).await.remove(0).event;
    assert_eq!(
        (event.datacontenttype.as_deref(), event.data.as_deref()),
        (Some("image/png"), Some(png.as_slice()))
    );

    let path = "/v1/events/image.added";
    gateway.post_as(path, "nonsense", "x").await.problem(415, "unsupported-media-type");
    let problem = gateway.post_as(path, "application/cloudevents+json", "{}").await;
    assert!(
        problem.problem(415, "unsupported-media-type")["detail"]
            .as_str()
            .unwrap()
            .contains("/v1/events")
    );
    let compressed =
        gateway.request(Method::POST, path).header("content-encoding", "gzip").json(&json!(1));
    send(compressed).await.problem(415, "unsupported-media-type");
}

#[tokio::test]
async fn what_is_not_json_is_pointed_at() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    gateway.deploy("strict", json!([{"event": "strict", "schema": {"type": "object"}}])).await;
    for path in ["/v1/events/order.created", "/v1/events/strict"] {
        let problem = gateway
            .post_as(path, "application/json", "{\"a\": 1,\n  oops}")
            .await
            .problem(400, "invalid-event");
        assert_eq!(
            (&problem["errors"][0]["line"], &problem["errors"][0]["column"]),
            (&json!(2), &json!(3)),
            "{problem}"
        );
        assert_eq!(problem["errors"][0]["pointer"], "");
        gateway.post_as(path, "application/json", "").await.problem(400, "invalid-event");
        gateway
            .post_as(path, "application/json", &b"\"\xff\""[..])
            .await
            .problem(400, "invalid-event");
    }
}

#[tokio::test]
async fn violations_are_pointed_at() {
    let gateway = Gateway::start().await;
    let schema = json!({"required": ["items"], "properties": {"items": {"items": {"properties": {"qty": {"minimum": 1}}}}}});
    gateway.deploy("total", json!([{"event": "order.*", "schema": schema}])).await;
    assert_eq!(
        gateway.post("/v1/events/order.created", &json!({"items": [{"qty": 1}]})).await.status,
        202
    );

    let answer = gateway
        .post("/v1/events/order.created", &json!({"items": [{"qty": 0}, {"qty": 1}, {"qty": -1}]}))
        .await;
    let problem = answer.problem(400, "schema-violation");
    let errors = problem["errors"].as_array().unwrap();
    assert_eq!(
        errors.iter().map(|e| &e["pointer"]).collect::<Vec<_>>(),
        ["/items/0/qty", "/items/2/qty"]
    );
    assert_eq!(errors[0]["schema"], "function total");
    assert_eq!(errors[0]["schema_pointer"], "/properties/items/items/properties/qty/minimum");
    assert!(errors[0]["detail"].as_str().unwrap().contains("minimum"), "{problem}");

    let csv = gateway.post_as("/v1/events/order.created", "text/csv", "a,b").await;
    assert!(
        csv.problem(415, "unsupported-media-type")["detail"].as_str().unwrap().contains("schema")
    );
    let nothing = send(gateway.request(Method::POST, "/v1/events/order.created")).await;
    // No data is checked as null, which this schema has nothing against.
    assert_eq!(nothing.status, 202);
    assert_eq!(gateway.take("total", 2).await.len(), 2);
    assert_eq!(gateway.waiting("total").await, 0);
}

#[tokio::test]
async fn a_trace_goes_on() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    let (ours, theirs) = ("4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c");
    let header = |trace: &str| format!("00-{trace}-00f067aa0ba902b7-01");
    let request = || gateway.request(Method::POST, "/v1/events/order.created").json(&json!(1));
    let trace = async |request| {
        assert_eq!(send(request).await.status, 202);
        gateway.take("total", 1).await.remove(0).trace
    };
    let both = trace(
        request()
            .header("traceparent", header(ours))
            .header("tracestate", "a=b")
            .header("ce-traceparent", header(theirs)),
    )
    .await;
    assert_eq!((both.trace_id().as_str(), both.tracestate.as_deref()), (ours, Some("a=b")));
    assert_eq!(both.span_id(), "00f067aa0ba902b7");
    let own = trace(request().header("ce-traceparent", header(theirs))).await;
    assert_eq!(own.trace_id(), theirs);
    let fresh = trace(request().header("traceparent", "nonsense")).await;
    assert!(![ours, theirs].contains(&fresh.trace_id().as_str()));
}

/// Editors write it before a text, and whoever reads "expected value at column 1" does not see it.
#[tokio::test]
async fn a_byte_order_mark_is_called_what_it_is() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    let event = r#"{"specversion": "1.0", "id": "1", "source": "/s", "type": "order.created"}"#;
    for (path, media_type, text) in [
        ("/v1/events/order.created", "application/json", "{}"),
        ("/v1/events/order.created", "application/x-www-form-urlencoded", "{}"),
        ("/v1/events", "application/cloudevents+json", event),
        ("/v1/events", "application/cloudevents-batch+json", &format!("[{event}]")),
        ("/v1/functions/total/invoke?wait=0s", "application/json", "{}"),
        ("/v1/keys", "application/json", r#"{"role": "operator"}"#),
    ] {
        let answer = gateway.post_as(path, media_type, format!("\u{feff}{text}")).await;
        assert_eq!(answer.status, 400, "{path} {media_type}");
        let detail = answer.json()["errors"][0]["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("byte-order mark of UTF-8"), "{path} {media_type}: {detail}");
    }
    let put = gateway
        .request(Method::PUT, "/v1/schemas/order.created")
        .header("content-type", "application/json");
    let problem = send(put.body(b"\xff\xfe{\0}\0".to_vec())).await.problem(400, "bad-request");
    assert!(
        problem["errors"][0]["detail"].as_str().unwrap().contains("byte-order mark of UTF-16"),
        "{problem}"
    );
}
