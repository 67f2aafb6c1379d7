//! What became of events.

use std::time::Duration;

use serde_json::{Value, json};
use wasmill_broker::embedded::EmbeddedSettings;
use wasmill_domain::{ExecutionId, TenantName};
use wasmill_gateway::GatewaySettings;
use wasmill_store::{History as _, Ledger as _, Publication};

use crate::harness::{Gateway, failed_command, success, trap};

#[tokio::test]
async fn a_success_is_told_in_full() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    gateway.work("total", success).await;
    let id =
        gateway.post("/v1/events/order.created", &json!({"total": 3})).await.executions().remove(0);
    let shown = gateway.execution_until(&id, |e| e["state"] == "succeeded").await;
    assert_eq!(
        (&shown["outcome"], &shown["message"], &shown["type"]),
        (&json!("success"), &Value::Null, &json!("order.created"))
    );
    assert_eq!(shown["result"], json!({"content_type": "application/json", "data": {"total": 3}}));
    assert_eq!(
        (&shown["event"]["specversion"], &shown["event"]["data"]),
        (&json!("1.0"), &json!({"total": 3}))
    );
    assert_eq!(
        (&shown["children"], &shown["parent"], &shown["due_at"]),
        (&json!([]), &Value::Null, &Value::Null)
    );
    assert_eq!(
        (&shown["origin"], &shown["root"], &shown["epoch"]),
        (&json!({"kind": "event"}), &json!(id), &json!(1))
    );
    let attempt = &shown["attempts"][0];
    assert_eq!(
        (&attempt["attempt"], &attempt["outcome"], &attempt["host"]),
        (&json!(1), &json!("success"), &json!("test"))
    );
    assert_eq!(
        (&attempt["fuel_used"], &attempt["peak_memory_bytes"]),
        (&json!(12_345), &json!(131_072))
    );
    assert_eq!((&attempt["run_time_ms"], &attempt["queue_wait_ms"]), (&json!(0.25), &json!(1.5)));
    assert_eq!(
        (&attempt["log_lines_dropped"], &attempt["trace_id"]),
        (&json!(0), &shown["trace_id"])
    );
    assert_eq!(attempt["span_id"].as_str().unwrap().len(), 16);
    assert_eq!(attempt["version"], shown["version"]);

    let logs = gateway.get(&format!("/v1/executions/{id}/logs?limit=1")).await.json();
    let line = &logs["logs"][0];
    assert_eq!(
        (&line["message"], &line["level"], &line["source"]),
        (&json!("begun"), &json!("info"), &json!("log"))
    );
    assert_eq!(
        (&line["fields"], &line["attempt"], &line["seq"]),
        (&Value::Null, &json!(1), &json!(0))
    );
    let next = logs["next"].as_str().unwrap();
    let logs = gateway.get(&format!("/v1/executions/{id}/logs?cursor={next}")).await.json();
    assert_eq!(
        (&logs["logs"][0]["fields"], &logs["next"]),
        (&json!({"took": "long"}), &Value::Null)
    );
    let after = gateway.get(&format!("/v1/executions/{id}/logs?cursor=1.1")).await.json();
    assert_eq!(after, json!({"logs": [], "next": null}));
    for bad in ["cursor=x", "cursor=1", "cursor=1.-1", "limit=1001"] {
        gateway.get(&format!("/v1/executions/{id}/logs?{bad}")).await.problem(400, "bad-request");
    }
}

#[tokio::test]
async fn a_result_comes_as_it_was_returned() {
    let gateway = Gateway::start().await;
    gateway.deploy("echo", json!([{"event": "*"}])).await;
    gateway.work("echo", success).await;
    let shown = async |content_type: &str, body: &'static [u8]| {
        let id = gateway.post_as("/v1/events/a", content_type, body).await.executions().remove(0);
        gateway.execution_until(&id, |e| e["state"] == "succeeded").await
    };
    let text = shown("text/csv", b"a,b\n\"1\",2").await;
    assert_eq!(text["result"], json!({"content_type": "text/csv", "data": "a,b\n\"1\",2"}));
    let image = shown("image/png", &[0xff, 0]).await;
    assert_eq!(image["result"], json!({"content_type": "image/png", "data_base64": "/wA="}));
    assert_eq!(image["event"]["data_base64"], "/wA=");

    let raw =
        gateway.get(&format!("/v1/executions/{}/result", image["id"].as_str().unwrap())).await;
    assert_eq!(
        (raw.bytes.as_ref(), &raw.headers["content-type"]),
        ([0xff, 0].as_slice(), &"image/png".parse().unwrap())
    );
    assert_eq!(raw.headers["content-security-policy"], "default-src 'none'; sandbox");
}

#[tokio::test]
async fn a_trap_is_told_in_full() {
    let gateway = Gateway::start().await;
    gateway.deploy("broken", json!([{"event": "a"}])).await;
    gateway.work("broken", trap).await;
    let id = gateway.post("/v1/events/a", &json!(1)).await.executions().remove(0);
    let shown = gateway.execution_until(&id, |e| e["state"] == "failed").await;
    assert_eq!((&shown["outcome"], &shown["result"]), (&json!("trap"), &Value::Null));
    assert_eq!(shown["attempts"][0]["backtrace"], "0: handle\n1: main");
    assert_eq!(shown["attempts"][0]["message"], "it did not work");
    gateway.get(&format!("/v1/executions/{id}/result")).await.problem(404, "not-found");
}

/// It is no result, and is not given out as one.
#[tokio::test]
async fn what_a_failed_command_has_written_is_told() {
    let gateway = Gateway::start().await;
    gateway.deploy("tool", json!([{"event": "a"}, {"http": "/tool"}])).await;
    gateway.work("tool", failed_command).await;
    let id = gateway.post("/v1/events/a", &json!(1)).await.executions().remove(0);
    let shown = gateway.execution_until(&id, |e| e["state"] == "failed").await;
    let written = json!({"content_type": "text/plain; charset=utf-8", "data": "so far"});
    assert_eq!((&shown["outcome"], &shown["result"]), (&json!("error"), &Value::Null));
    assert_eq!(shown["standard_output"], written);
    gateway.get(&format!("/v1/executions/{id}/result")).await.problem(404, "not-found");
    let invoked = gateway.post("/v1/functions/tool/invoke", &json!(1)).await.json();
    assert_eq!((&invoked["result"], &invoked["standard_output"]), (&Value::Null, &written));
    let called = gateway.get("/http/default/tool").await;
    assert_eq!(called.status, 502);
    assert!(!String::from_utf8_lossy(&called.bytes).contains("so far"), "{called:?}");
}

#[tokio::test]
async fn executions_are_found_by_what_is_known_of_them() {
    let gateway = Gateway::start().await;
    gateway.deploy("good", json!([{"event": "a.*"}])).await;
    gateway.deploy("bad", json!([{"event": "a.two"}])).await;
    gateway.work("good", success).await;
    gateway.work("bad", trap).await;
    let one = gateway.post("/v1/events/a.one", &json!(1)).await;
    let two = gateway.post("/v1/events/a.two", &json!(1)).await;
    let ids = [one.executions(), two.executions()].concat();
    for id in &ids {
        gateway.execution_until(id, |e| !e["finished_at"].is_null()).await;
    }
    let found = async |query: &str| {
        let page = gateway.get(&format!("/v1/executions?{query}")).await.json();
        page["executions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let newest_first: Vec<_> = ids.iter().rev().cloned().collect();
    assert_eq!(found("").await, newest_first);
    // The functions of an event are in the order of their names: `bad` before `good`.
    assert_eq!(found("function=bad").await, [ids[1].clone()]);
    assert_eq!(found("state=failed").await, [ids[1].clone()]);
    assert_eq!(found("outcome=success").await, [ids[2].clone(), ids[0].clone()]);
    assert_eq!(found("type=a.one").await, [ids[0].clone()]);
    assert_eq!(
        found(&format!("event_id={}", two.json()["event"]["id"].as_str().unwrap())).await.len(),
        2
    );
    assert_eq!(found("since=2020-01-01T00:00:00Z&until=2100-01-01T00:00:00Z").await.len(), 3);
    assert!(found("since=2100-01-01T00:00:00Z").await.is_empty());

    let page = gateway.get("/v1/executions?limit=2").await.json();
    assert_eq!(page["next"], ids[1]);
    assert_eq!(found(&format!("limit=2&cursor={}", ids[1])).await, [ids[0].clone()]);
    assert_eq!(gateway.get("/v1/executions?limit=3").await.json()["next"], Value::Null);
    for (bad, said) in [
        ("state=done", "succeeded"),
        ("outcome=x", "out_of_fuel"),
        ("since=noon", "since"),
        ("limit=0", "limit"),
        ("stat=x", "stat"),
    ] {
        let problem =
            gateway.get(&format!("/v1/executions?{bad}")).await.problem(400, "bad-request");
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
    }
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let gateway = Gateway::start().await;
    let path = "/v1/executions/019ab000-0000-7000-8000-000000000000";
    for path in
        [path.to_owned(), format!("{path}/logs"), format!("{path}/event"), format!("{path}/result")]
    {
        gateway.get(&path).await.problem(404, "not-found");
    }
    gateway.get("/v1/executions/7").await.problem(400, "bad-request");
}

/// Whoever has an id may use it at once, though rows are written behind the answer.
#[tokio::test]
async fn an_answered_id_is_found_at_once() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "a"}])).await;
    for _ in 0..20 {
        let id = gateway.post("/v1/events/a", &json!(1)).await.executions().remove(0);
        assert_eq!(gateway.get(&format!("/v1/executions/{id}")).await.status, 200);
    }
}

/// A gateway that leaves it to hosts to write rows, for as long as nobody asks.
async fn long_timeout() -> Gateway {
    let settings =
        GatewaySettings { row_delay: Duration::from_secs(3600), ..GatewaySettings::default() };
    let gateway = Gateway::start_with(settings, EmbeddedSettings::default()).await;
    gateway.deploy("total", json!([{"event": "a"}])).await;
    gateway
}

#[tokio::test]
async fn an_execution_is_told_from_memory_until_its_host_writes_the_row() {
    let gateway = long_timeout().await;
    let id = gateway.post("/v1/events/a", &json!({"n": 1})).await.executions().remove(0);
    let path = format!("/v1/executions/{id}");
    let queued = gateway.get(&path).await.json();
    assert_eq!((&queued["state"], &queued["event"]["data"]), (&json!("queued"), &json!({"n": 1})));
    assert_eq!(gateway.get(&format!("{path}/event")).await.json(), json!({"n": 1}));
    assert_eq!(gateway.get(&format!("{path}/logs")).await.json()["logs"], json!([]));
    let row = gateway.store.execution(&TenantName::default(), id.parse().unwrap()).await.unwrap();
    assert_eq!(row, None, "nobody has written it");

    gateway.work("total", success).await;
    let ended = gateway.execution_until(&id, |e| e["state"] != "queued").await;
    assert_eq!(
        (&ended["state"], &ended["accepted_at"]),
        (&json!("succeeded"), &queued["accepted_at"])
    );
    // Its own row, written now, changes nothing.
    assert_eq!(gateway.get("/v1/executions").await.json()["executions"][0]["state"], "succeeded");
}

#[tokio::test]
async fn a_list_has_what_was_just_accepted() {
    let gateway = long_timeout().await;
    for number in 1..=3 {
        gateway.post("/v1/events/a", &json!(1)).await.executions();
        let page = gateway.get("/v1/executions?state=queued").await.json();
        assert_eq!(page["executions"].as_array().unwrap().len(), number);
    }
}

/// A row that another gateway is about to write is waited for.
#[tokio::test]
async fn what_another_gateway_accepted_a_moment_ago_is_found() {
    let gateway = long_timeout().await;
    gateway.post("/v1/events/a", &json!(1)).await.executions();
    let mut dispatch = gateway.take("total", 1).await.remove(0);
    dispatch.execution = ExecutionId::new();
    let path = format!("/v1/executions/{}", dispatch.execution);
    let (asked, written) = tokio::join!(
        gateway.get(&path),
        gateway.store.enqueue(std::slice::from_ref(&dispatch), Publication::Confirmed)
    );
    written.unwrap();
    assert_eq!(asked.json()["state"], "queued");
}
