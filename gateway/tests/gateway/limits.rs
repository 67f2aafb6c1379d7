//! What is too much.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wasmill_broker::embedded::EmbeddedSettings;
use wasmill_gateway::GatewaySettings;
use wasmill_http::ServerSettings;

use crate::framing::BEGIN;
use crate::harness::{Gateway, WAIT_TIMEOUT, send, until, within};

async fn gateway(settings: GatewaySettings, broker: EmbeddedSettings) -> Gateway {
    let gateway = Gateway::start_with(settings, broker).await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    gateway
}

async fn bounded(settings: GatewaySettings) -> Gateway {
    gateway(settings, EmbeddedSettings::default()).await
}

/// A request that is begun and never finished.
async fn stalled(gateway: &Gateway, length: usize) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "POST /v1/events/order.created HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\nx"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Asks until the answer is `kind`: what was begun on another connection takes effect in its own
/// time.
async fn until_refused(gateway: &Gateway, kind: &str) {
    let asking = async {
        loop {
            let answer =
                gateway.post_as("/v1/events/order.created", "text/plain", "0123456789").await;
            if answer.status == 503 {
                return answer.problem(503, kind);
            }
            assert_eq!(answer.status, 202, "{answer:?}");
        }
    };
    let problem = tokio::time::timeout(WAIT_TIMEOUT, asking).await.expect("it is never refused");
    assert!(problem["detail"].as_str().unwrap().contains("nothing was accepted"), "{problem}");
}

#[tokio::test]
async fn a_body_may_be_as_long_as_the_setting_says() {
    let gateway =
        bounded(GatewaySettings { max_event_bytes: 1000, ..GatewaySettings::default() }).await;
    let path = "/v1/events/order.created";
    assert_eq!(gateway.post_as(path, "text/plain", "x".repeat(1000)).await.status, 202);
    let problem =
        gateway.post_as(path, "text/plain", "x".repeat(1001)).await.problem(413, "too-large");
    assert!(problem["detail"].as_str().unwrap().contains("1000 bytes"), "{problem}");
    // Without a length given ahead.
    let chunks =
        futures_util::stream::iter((0..20).map(|_| Ok::<_, std::io::Error>("x".repeat(100))));
    let answer = gateway.post_as(path, "text/plain", reqwest::Body::wrap_stream(chunks)).await;
    answer.problem(413, "too-large");
}

#[tokio::test]
async fn a_batch_is_bounded_in_every_way() {
    let settings = GatewaySettings {
        max_batch_events: 3,
        max_event_bytes: 200,
        max_batch_bytes: 2000,
        max_request_executions: 4,
        ..GatewaySettings::default()
    };
    let gateway = bounded(settings).await;
    let event = |data: &str| json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "order.created", "data": data});
    let post = async |events: Vec<serde_json::Value>| {
        gateway
            .post_as("/v1/events", "application/cloudevents-batch+json", json!(events).to_string())
            .await
    };
    assert_eq!(post(vec![event(""); 3]).await.status, 202);
    post(vec![event(""); 4]).await.problem(413, "too-large");
    post(vec![event(&"x".repeat(300))]).await.problem(413, "too-large");
    post(vec![event(&"x".repeat(3000))]).await.problem(413, "too-large");
    gateway.deploy("audit", json!([{"event": "order.created"}])).await;
    assert_eq!(post(vec![event(""); 2]).await.status, 202);
    post(vec![event(""); 3]).await.problem(413, "too-large");
}

#[tokio::test]
async fn requests_at_work_are_bounded() {
    let gateway = bounded(GatewaySettings { max_in_flight: 1, ..GatewaySettings::default() }).await;
    let stalled = stalled(&gateway, 10).await;
    until_refused(&gateway, "overloaded").await;
    // The rest of the API goes on, and so do events once there is room.
    assert_eq!(gateway.get("/v1/functions").await.status, 200);
    drop(stalled);
    let accepted = until("an event is accepted", async || {
        let answer = gateway.post_as("/v1/events/order.created", "text/plain", "x").await;
        (answer.status == 202).then_some(())
    });
    accepted.await;
}

/// A body is in memory until its function has answered.
#[tokio::test]
async fn bytes_that_wait_for_an_answer_are_bounded() {
    let settings =
        GatewaySettings { max_in_flight_bytes: Some(8_000), ..GatewaySettings::default() };
    let gateway = bounded(settings).await;
    gateway.deploy("slow", json!([{"http": "/slow"}])).await;
    let path = "/http/default/slow";
    let waits = tokio::spawn(send(gateway.request(Method::POST, path).body("x".repeat(1_500))));
    until("it is queued", async || (gateway.waiting("slow").await > 0).then_some(())).await;
    gateway.post_as(path, "text/plain", "x".repeat(1_000)).await.problem(503, "overloaded");
    gateway.shutdown.cancel();
    tokio::time::timeout(WAIT_TIMEOUT, waits).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_slow_body_is_given_up() {
    let settings = within(ServerSettings {
        body_timeout: Duration::from_millis(50),
        ..ServerSettings::default()
    });
    let gateway = bounded(settings).await;
    let mut stalled = stalled(&gateway, 10).await;
    let mut text = vec![0; 4096];
    let read = tokio::time::timeout(WAIT_TIMEOUT, stalled.read(&mut text)).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&text[..read]);
    assert!(text.starts_with("HTTP/1.1 408") && text.contains("/problems/timeout"), "{text}");
}

#[tokio::test]
async fn a_slow_head_is_given_up() {
    let settings = within(ServerSettings {
        header_timeout: Duration::from_millis(50),
        ..ServerSettings::default()
    });
    let gateway = bounded(settings).await;
    let mut slow = TcpStream::connect(gateway.address).await.unwrap();
    slow.write_all(b"POST /v1/events HTTP/1.1\r\nHost: loc").await.unwrap();
    let mut text = Vec::new();
    tokio::time::timeout(WAIT_TIMEOUT, slow.read_to_end(&mut text)).await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_are_bounded() {
    let settings = within(ServerSettings { max_connections: 1, ..ServerSettings::default() });
    let gateway = Gateway::start_with(settings, EmbeddedSettings::default()).await;
    let mut first = TcpStream::connect(gateway.address).await.unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    first.write_all(request).await.unwrap();
    let mut text = vec![0; 4096];
    assert_ne!(first.read(&mut text).await.unwrap(), 0);
    let mut second = TcpStream::connect(gateway.address).await.unwrap();
    second.write_all(request).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), second.read(&mut text)).await;
    assert!(early.is_err(), "it was answered while the first was open");
    drop(first);
    assert_ne!(
        tokio::time::timeout(WAIT_TIMEOUT, second.read(&mut text)).await.unwrap().unwrap(),
        0
    );
}

#[tokio::test]
async fn a_full_queue_is_said_so() {
    let gateway = gateway(
        GatewaySettings::default(),
        EmbeddedSettings { queue_max_batches: 2, ..EmbeddedSettings::default() },
    )
    .await;
    for _ in 0..2 {
        assert_eq!(gateway.post("/v1/events/order.created", &json!(1)).await.status, 202);
    }
    let problem =
        gateway.post("/v1/events/order.created", &json!(1)).await.problem(429, "queue-full");
    assert!(problem["detail"].as_str().unwrap().contains("function total"), "{problem}");
    gateway.post("/v1/functions/total/invoke", &json!(1)).await.problem(429, "queue-full");

    // Where another function takes the event, the full one gets it by way of the outbox: no event
    // is half accepted.
    gateway.deploy("audit", json!([{"event": "order.created"}])).await;
    let answer = gateway.post("/v1/events/order.created", &json!(2)).await;
    let ids = answer.executions();
    assert_eq!(gateway.take("audit", 1).await[0].execution.to_string(), ids[0]);
    let outbox =
        wasmill_store::Agenda::outbox(gateway.store.as_ref(), wasmill_domain::Timestamp::now(), 10)
            .await
            .unwrap();
    assert_eq!(outbox.iter().map(|d| d.execution.to_string()).collect::<Vec<_>>(), ids[1..]);
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist() {
    let gateway = Gateway::start().await;
    gateway.get("/").await.problem(404, "not-found");
    gateway.get("/v1/nothing").await.problem(404, "not-found");
    let answer = gateway.delete("/v1/events").await;
    answer.problem(405, "method-not-allowed");
    assert_eq!(answer.headers["allow"], "POST");
    let answer = send(gateway.request(Method::PATCH, "/v1/functions/x")).await;
    answer.problem(405, "method-not-allowed");
    let allowed = answer.headers["allow"].to_str().unwrap();
    assert!(["GET", "PUT", "DELETE"].iter().all(|method| allowed.contains(method)), "{allowed}");
    gateway.get("/problems/nothing").await.problem(404, "not-found");
    let explained = gateway.get("/problems/not-found").await.json();
    assert_eq!(
        (&explained["type"], &explained["status"]),
        (&json!("/problems/not-found"), &json!(404))
    );
}

/// Asks on a connection of its own whether the gateway lives.
async fn lives(gateway: &Gateway) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.ok()?;
    let mut text = vec![0; 4096];
    let read = tokio::time::timeout(WAIT_TIMEOUT, stream.read(&mut text))
        .await
        .expect("nothing comes")
        .ok()?;
    text[..read].starts_with(b"HTTP/1.1 200").then_some(stream)
}

#[tokio::test]
async fn connections_of_an_address_are_bounded() {
    let settings =
        ServerSettings { max_connections_per_address: Some(2), ..ServerSettings::default() };
    let gateway = Gateway::start_with(within(settings.clone()), EmbeddedSettings::default()).await;
    let mut open = vec![lives(&gateway).await.unwrap(), lives(&gateway).await.unwrap()];
    assert!(lives(&gateway).await.is_none(), "there is a third");
    open.pop();
    until("there is room again", async || lives(&gateway).await).await;

    let exempt =
        ServerSettings { exempt_networks: vec!["127.0.0.0/8".parse().unwrap()], ..settings };
    let gateway = Gateway::start_with(within(exempt), EmbeddedSettings::default()).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(lives(&gateway).await.unwrap());
    }
}

#[tokio::test]
async fn heads_half_sent_keep_nobody_out() {
    let bounds: [ServerSettings; 2] = [
        ServerSettings { max_connections: 2, ..ServerSettings::default() },
        ServerSettings { max_pending_connections: Some(2), ..ServerSettings::default() },
    ];
    let half: [&[u8]; 2] = [b"GET /healthz HTTP/1.1\r\nHost: loc", BEGIN];
    for (settings, half) in bounds.iter().flat_map(|bound| half.map(|half| (bound.clone(), half))) {
        // Nothing but the bound ends them.
        let settings = ServerSettings { header_timeout: Duration::from_secs(3600), ..settings };
        let gateway = Gateway::start_with(within(settings), EmbeddedSettings::default()).await;
        let mut silent = Vec::new();
        for _ in 0..6 {
            let mut stream = TcpStream::connect(gateway.address).await.unwrap();
            stream.write_all(half).await.unwrap();
            silent.push(stream);
        }
        let working = lives(&gateway).await.expect("it is served");
        // Over HTTP/2 the server says something first. The end may be a reset.
        let _ = tokio::time::timeout(WAIT_TIMEOUT, silent[0].read_to_end(&mut Vec::new()))
            .await
            .expect("the oldest stays open");
        drop(working);
    }
}
