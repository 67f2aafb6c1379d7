//! HTTP/2 without TLS: what works as in HTTP/1.1, and what is bounded.

use std::time::Duration;

use reqwest::{Method, StatusCode, Version};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wasmill_broker::embedded::EmbeddedSettings;
use wasmill_gateway::GatewaySettings;
use wasmill_http::ServerSettings;

use crate::framing::{
    ACK, BEGIN, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frame, GOAWAY, HEADERS, PING,
    REFUSED_STREAM, RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, frame, request,
};
use crate::harness::{Gateway, WAIT_TIMEOUT, client, send, success, until, within};

fn bounded(settings: GatewaySettings) -> impl Future<Output = Gateway> {
    Gateway::start_with(settings, EmbeddedSettings::default())
}

#[tokio::test]
async fn the_api_speaks_it() {
    let gateway = Gateway::start().await;
    gateway
        .deploy(
            "total",
            json!([{"event": "order.created"}, {"http": "/total", "methods": ["GET", "POST"]}]),
        )
        .await;
    gateway.work("total", success).await;
    let http = client().http2_prior_knowledge().build().unwrap();
    let url = |path: &str| format!("{}{path}", gateway.url);
    let response =
        http.post(url("/v1/events/order.created")).json(&json!({"a": 1})).send().await.unwrap();
    assert_eq!((response.version(), response.status()), (Version::HTTP_2, StatusCode::ACCEPTED));
    let document: Value = response.json().await.unwrap();
    let id = document["executions"][0]["id"].as_str().unwrap();
    gateway.execution_until(id, |execution| execution["state"] == "succeeded").await;

    // A longer answer than fits into one window, from a longer body than fits into one.
    let sent = "x".repeat(1 << 20);
    let request = http
        .post(url("/http/default/total"))
        .header("content-type", "text/plain")
        .body(sent.clone());
    assert!(request.send().await.unwrap().text().await.unwrap() == sent);
    // HEAD has the head of GET and nothing more.
    let head = http.head(url("/readyz")).send().await.unwrap();
    assert_eq!(
        (head.status(), head.headers()["content-type"].as_bytes()),
        (StatusCode::OK, &b"application/json"[..])
    );
    assert!(head.headers().contains_key("content-length"));
    assert_eq!(head.bytes().await.unwrap().len(), 0);
    let head = http.head(url("/http/default/total")).send().await.unwrap();
    assert!(head.status().is_success() && head.bytes().await.unwrap().is_empty());
    // Errors are what they are.
    send(http.get(url("/v1/nothing"))).await.problem(404, "not-found");
    send(http.delete(url("/http/default/total"))).await.problem(405, "method-not-allowed");
}

#[tokio::test]
async fn the_authority_is_the_host() {
    let gateway = Gateway::start().await;
    let mut raw = Raw::connect(&gateway).await;
    let mut block = request("GET", "/v1/functions");
    let at = block.len() - "localhost".len();
    block[at..].copy_from_slice(b"evil.site");
    raw.say(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block)).await;
    let answer = raw.receive_a(HEADERS).await;
    // 403 as a literal, or what stands for it in the table that both ends know; never 200, which is
    // index 8.
    assert_eq!(answer.stream, 1);
    assert_ne!(answer.payload[0], 0x88, "another site is served");
    raw.say(&frame(HEADERS, END_STREAM | END_HEADERS, 3, &request("GET", "/v1/functions"))).await;
    assert_eq!(raw.receive_a(HEADERS).await.payload[0], 0x88);
}

#[tokio::test]
async fn requests_at_once_are_bounded() {
    let gateway =
        bounded(within(ServerSettings { max_streams: 2, ..ServerSettings::default() })).await;
    let mut raw = Raw::connect(&gateway).await;
    let settings = raw.receive_a(SETTINGS).await;
    let setting = |id: u16| {
        let values =
            settings.payload.chunks(6).map(|one| (u16::from_be_bytes([one[0], one[1]]), &one[2..]));
        values
            .filter(|(known, _)| *known == id)
            .map(|(_, v)| u32::from_be_bytes(v.try_into().unwrap()))
            .next()
    };
    // MAX_CONCURRENT_STREAMS and MAX_HEADER_LIST_SIZE.
    assert_eq!((setting(3), setting(6)), (Some(2), Some(128 << 10)));
    raw.say(&frame(SETTINGS, ACK, 0, &[])).await;
    // Their bodies never come.
    for stream in [1, 3, 5] {
        raw.say(&frame(HEADERS, END_HEADERS, stream, &request("POST", "/v1/events/order.created")))
            .await;
    }
    let refused = raw.receive_a(RST_STREAM).await;
    assert_eq!((refused.stream, refused.error()), (5, REFUSED_STREAM));
}

#[tokio::test]
async fn a_head_is_bounded_as_in_http_1() {
    let gateway = Gateway::start().await;
    let http = client().http2_prior_knowledge().build().unwrap();
    let with =
        |bytes: usize| http.get(format!("{}/healthz", gateway.url)).header("x", "y".repeat(bytes));
    assert_eq!(send(with(65_000)).await.status, StatusCode::OK);
    for bytes in [66_000, 100_000] {
        let document = send(with(bytes)).await.problem(431, "head-too-large");
        assert!(document["detail"].as_str().unwrap().contains("65536 bytes"), "{document}");
    }
    let many = (0..300).fold(with(1), |request, i| request.header(format!("x-{i}"), "1"));
    let document = send(many).await.problem(431, "head-too-large");
    assert!(document["detail"].as_str().unwrap().contains("256 header lines"), "{document}");
    let target = "t".repeat(65_530 - gateway.url.len());
    send(http.get(format!("{}/{target}", gateway.url))).await.problem(414, "uri-too-long");
}

/// A client that has its answer and goes on with the body of its request.
async fn refused(gateway: &Gateway) -> Raw {
    let mut raw = Raw::connect(gateway).await;
    raw.say(&frame(HEADERS, END_HEADERS, 1, &request("POST", "/v1/nothing"))).await;
    raw.receive_a(HEADERS).await;
    while raw.receive_a(DATA).await.flags & END_STREAM == 0 {}
    // From then on the gateway's windows count. This is more than half of one.
    raw.say(&frame(SETTINGS, ACK, 0, &[])).await;
    for _ in 0..10 {
        raw.say(&frame(DATA, 0, 1, &[b'x'; 16_384])).await;
    }
    raw
}

#[tokio::test]
async fn a_refused_client_may_send_its_request_to_the_end() {
    let gateway = Gateway::start().await;
    let mut raw = refused(&gateway).await;
    let mut receive = async |is_it: fn(&Frame) -> bool, said: &[u8]| {
        raw.say(said).await;
        loop {
            let received = raw.receive().await.expect("the connection stays");
            assert!(![RST_STREAM, GOAWAY].contains(&received.kind), "{received:?}");
            if is_it(&received) {
                break;
            }
        }
    };
    // It is read, so there is room for more.
    receive(|received| received.kind == WINDOW_UPDATE && received.stream == 1, &[]).await;
    let end = [frame(DATA, END_STREAM, 1, b"the end"), frame(PING, 0, 0, b"all said")].concat();
    receive(
        |received| {
            received.kind == PING && received.flags == ACK && received.payload == b"all said"
        },
        end.as_slice(),
    )
    .await;
    let another = frame(HEADERS, END_STREAM | END_HEADERS, 3, &request("GET", "/healthz"));
    receive(|received| received.kind == HEADERS && received.stream == 3, another.as_slice()).await;
}

#[tokio::test]
async fn what_is_read_of_a_refused_request_is_bounded() {
    for settings in [
        within(ServerSettings { max_discarded_bytes: 100_000, ..ServerSettings::default() }),
        within(ServerSettings {
            body_timeout: Duration::from_millis(50),
            ..ServerSettings::default()
        }),
    ] {
        let gateway = bounded(settings).await;
        let reset = refused(&gateway).await.receive_a(RST_STREAM).await;
        // Not an error: the answer counts.
        assert_eq!((reset.stream, reset.error()), (1, 0));
    }
}

#[tokio::test]
async fn calling_off_all_the_time_ends_the_connection() {
    let gateway = Gateway::start().await;
    let raw = Raw::connect(&gateway).await;
    let mut all = Vec::new();
    for stream in (1..2_000).step_by(2) {
        all.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &request("GET", "/healthz")));
        all.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    let (mut reading, mut writing) = raw.0.into_split();
    let write = tokio::spawn(async move {
        // The gateway stops listening at some point.
        let _ = writing.write_all(&all).await;
        writing
    });
    let mut received = Vec::new();
    // What was not read when the connection ended is an error on this side, after all that the
    // gateway said.
    let _ = tokio::time::timeout(WAIT_TIMEOUT, reading.read_to_end(&mut received))
        .await
        .expect("the connection stays");
    let _writing = write.await.unwrap();
    let last = received.windows(4).any(|bytes| bytes == ENHANCE_YOUR_CALM.to_be_bytes());
    assert!(last || received.is_empty(), "it ended for another reason: {received:?}");
    assert_eq!(gateway.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_client_that_says_nothing_is_left() {
    let short = Duration::from_millis(50);
    let settings = within(ServerSettings { header_timeout: short, ..ServerSettings::default() });
    let gateway = bounded(settings).await;
    // Not even which protocol it speaks, or half of it, or no request.
    for beginning in [&b""[..], b"PRI * HTTP/2.0\r\n", BEGIN] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        let mut rest = Vec::new();
        // That it ends is what counts, in whichever way.
        let _ = tokio::time::timeout(WAIT_TIMEOUT, stream.read_to_end(&mut rest))
            .await
            .expect("the connection stays");
    }
    // A head that never ends.
    let mut raw = Raw::connect(&gateway).await;
    raw.say(&frame(HEADERS, END_STREAM, 1, &request("GET", "/healthz"))).await;
    raw.receive_the_end().await;
}

#[tokio::test]
async fn an_idle_connection_is_ended_politely() {
    let settings = within(ServerSettings {
        idle_timeout: Duration::from_millis(50),
        ping_interval: WAIT_TIMEOUT * 10,
        ..ServerSettings::default()
    });
    let gateway = bounded(settings).await;
    let mut raw = Raw::connect(&gateway).await;
    raw.say(&frame(SETTINGS, ACK, 0, &[])).await;
    raw.say(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &request("GET", "/healthz"))).await;
    raw.receive_a(HEADERS).await;
    // It says that it goes, asks whether that was heard, and goes.
    assert_eq!(raw.receive_a(GOAWAY).await.error(), 0);
    let ping = raw.receive_a(PING).await;
    raw.say(&frame(PING, ACK, 0, &ping.payload)).await;
    assert_eq!(raw.receive_the_end().await.map(|frame| frame.error()), Some(0));
}

#[tokio::test]
async fn a_client_that_is_gone_is_noticed() {
    let short = Duration::from_millis(50);
    let settings = within(ServerSettings {
        ping_interval: short,
        ping_timeout: short,
        ..ServerSettings::default()
    });
    let gateway = bounded(settings).await;
    let mut raw = Raw::connect(&gateway).await;
    raw.say(&frame(HEADERS, END_HEADERS, 1, &request("POST", "/v1/events/order.created"))).await;
    let ping = raw.receive_a(PING).await;
    assert_eq!(ping.flags & ACK, 0);
    // Nobody answers.
    raw.receive_the_end().await;
}

#[tokio::test]
async fn what_is_at_work_is_finished_when_the_gateway_stops() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    for http in
        [client().http2_prior_knowledge().build().unwrap(), client().http1_only().build().unwrap()]
    {
        // Connections that have been used and are idle.
        let answer = http.get(format!("{}/healthz", gateway.url)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
    let http = client().http2_prior_knowledge().build().unwrap();
    // So that there is a connection that the gateway knows.
    assert_eq!(
        http.get(format!("{}/healthz", gateway.url)).send().await.unwrap().status(),
        StatusCode::OK
    );
    let (body, chunks) = tokio::sync::mpsc::channel::<Result<&str, std::io::Error>>(1);
    let chunks = futures_util::stream::unfold(chunks, async |mut chunks| {
        Some((chunks.recv().await?, chunks))
    });
    let request = http.request(Method::POST, format!("{}/v1/events/order.created", gateway.url));
    let request = request
        .header("content-type", "text/plain")
        .body(reqwest::Body::wrap_stream(chunks))
        .timeout(WAIT_TIMEOUT);
    let answer = tokio::spawn(request.send());
    // The second is taken when the first is on its way.
    body.send(Ok("a")).await.unwrap();
    body.send(Ok("b")).await.unwrap();
    body.send(Ok("c")).await.unwrap();
    gateway.shutdown.cancel();
    // Nobody can connect any more.
    until("connections are refused", async || TcpStream::connect(gateway.address).await.err())
        .await;
    drop(body);
    assert_eq!(answer.await.unwrap().unwrap().status(), StatusCode::ACCEPTED);
    drop(http);
    tokio::time::timeout(WAIT_TIMEOUT, gateway.served).await.expect("it does not stop").unwrap();
}
