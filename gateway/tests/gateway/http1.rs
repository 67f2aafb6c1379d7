//! HTTP/1.1 as clients send it that no library would: byte for byte.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wasmill_broker::embedded::EmbeddedSettings;
use wasmill_gateway::GatewaySettings;
use wasmill_http::ServerSettings;

use crate::harness::{Gateway, WAIT_TIMEOUT, within};

/// Sends bytes on a connection of their own and gives all that comes back.
pub(crate) async fn say(gateway: &Gateway, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    rest(&mut stream).await
}

/// All that comes until the connection ends.
pub(crate) async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(WAIT_TIMEOUT, stream.read_to_end(&mut answer))
        .await
        .expect("the connection stays");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    read.unwrap_or_else(|e| panic!("{e} after {answer:?}"));
    answer
}

/// Makes sure that an answer is this problem, whole, and the last on its connection.
#[track_caller]
pub(crate) fn problem(answer: &str, status: u16, kind: &str) -> Value {
    let (head, document) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(head.contains("\r\ncontent-type: application/problem+json"), "{answer}");
    assert!(head.contains(&format!("\r\ncontent-length: {}", document.len())), "{answer}");
    let document: Value =
        serde_json::from_str(document).unwrap_or_else(|e| panic!("{e}: {answer}"));
    assert_eq!(
        (&document["type"], &document["status"]),
        (&json!(format!("/problems/{kind}")), &json!(status))
    );
    document
}

const CLOSE: &str = "Connection: close\r\n";
const UPGRADE: &str =
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n";

#[tokio::test]
async fn a_request_names_one_host() {
    let gateway = Gateway::start().await;
    let here = gateway.address;
    for (version, target, hosts) in [
        ("1.1", "/healthz", format!("Host: {here}\r\n")),
        ("1.0", "/healthz", String::new()),
        ("1.1", "http://localhost/healthz", "Host: elsewhere.example\r\n".into()),
    ] {
        let answer =
            say(&gateway, format!("GET {target} HTTP/{version}\r\n{hosts}{CLOSE}\r\n").as_bytes())
                .await;
        assert!(answer.split(' ').nth(1) == Some("200"), "{target} {hosts}: {answer}");
    }
    for (target, hosts) in [
        ("/v1/functions", String::new()),
        ("/v1/functions", format!("Host: {here}\r\nHost: {here}\r\n")),
        ("/v1/functions", format!("Host: {here}\r\nHost: evil.example\r\n")),
        ("/v1/functions", "Host: a b\r\n".into()),
        ("/v1/functions", "Host:\r\n".into()),
        ("/v1/functions", format!("Host: user@{here}\r\n")),
        ("http://localhost/v1/functions", String::new()),
        ("http://user@localhost/v1/functions", "Host: localhost\r\n".into()),
        ("localhost", "Host: localhost\r\n".into()),
        ("/http/default/nothing", "Host: a\r\nHost: b\r\n".into()),
    ] {
        let answer =
            say(&gateway, format!("GET {target} HTTP/1.1\r\n{hosts}{CLOSE}\r\n").as_bytes()).await;
        problem(&answer, 400, "bad-request");
    }
}

/// While there are no keys, who may ask is decided by the host: the one that counts.
#[tokio::test]
async fn the_target_counts_where_no_key_protects() {
    let gateway = Gateway::start().await;
    let local = gateway.address;
    let get =
        |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{CLOSE}\r\n");
    let answer =
        say(&gateway, get("http://evil.example/v1/functions", &local.to_string()).as_bytes()).await;
    problem(&answer, 403, "cross-site");
    let answer =
        say(&gateway, get(&format!("http://{local}/v1/functions"), "evil.example").as_bytes())
            .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let same = format!(
        "GET http://{local}/v1/functions HTTP/1.1\r\nHost: 10.1.2.3\r\nOrigin: http://10.1.2.3\r\n{CLOSE}\r\n"
    );
    problem(&say(&gateway, same.as_bytes()).await, 403, "cross-site");
}

/// A head of so many lines, the host's among them.
fn head_of(lines: usize) -> String {
    let others: String = (1..lines).map(|i| format!("x-{i}: 1\r\n")).collect();
    format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{others}\r\n")
}

#[tokio::test]
async fn a_head_is_bounded() {
    let gateway = Gateway::start().await;
    for lines in [100, 101, 200, 256] {
        let head = head_of(lines).replace("x-1: 1\r\n", CLOSE);
        let answer = say(&gateway, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{lines}: {answer}");
    }
    for lines in [257, 258, 1000] {
        let document =
            problem(&say(&gateway, head_of(lines).as_bytes()).await, 431, "head-too-large");
        assert!(document["detail"].as_str().unwrap().contains("256 header lines"), "{document}");
    }
    let long =
        format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nx: {}\r\n\r\n", "y".repeat(70_000));
    let document = problem(&say(&gateway, long.as_bytes()).await, 431, "head-too-large");
    assert!(document["detail"].as_str().unwrap().contains("65536 bytes"), "{document}");
    let target = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "t".repeat(70_000));
    problem(&say(&gateway, target.as_bytes()).await, 414, "uri-too-long");
}

/// The buffer that heads are read into is larger by then.
#[tokio::test]
async fn a_head_is_bounded_on_a_connection_that_was_of_use_before() {
    let gateway = Gateway::start().await;
    let long = |target: usize, field: usize| {
        let target = "t".repeat(target);
        format!(
            "GET /healthz?{target} HTTP/1.1\r\nHost: localhost\r\n{CLOSE}x: {}\r\n\r\n",
            "y".repeat(field)
        )
    };
    let bytes = "65536 bytes";
    for (second, status, kind, detail) in [
        (long(10, 65_000), 200, "", ""),
        (long(10, 66_000), 431, "head-too-large", bytes),
        (long(10, 120_000), 431, "head-too-large", bytes),
        (long(10, 300_000), 431, "head-too-large", bytes),
        (long(60_000, 60_000), 431, "head-too-large", bytes),
        (long(65_515, 10), 414, "uri-too-long", "target"),
        (long(100_000, 10), 414, "uri-too-long", "target"),
        (head_of(300), 431, "head-too-large", "256 header lines"),
    ] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(long(10, 60_000).replace(CLOSE, "").as_bytes()).await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        stream.write_all(second.as_bytes()).await.unwrap();
        let rest = rest(&mut stream).await;
        let answer = &rest[rest.find("HTTP/1.1 ").unwrap()..];
        if status == 200 {
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        } else {
            let document = problem(answer, status, kind);
            assert!(document["detail"].as_str().unwrap().contains(detail), "{document}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_a_problem() {
    let gateway = Gateway::start().await;
    let post =
        |fields: &str| format!("POST /v1/events/x HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n");
    for bad in [
        "GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost : localhost\r\n\r\n".to_owned(),
        "nonsense\r\n\r\n".to_owned(),
        // Nearly what HTTP/2 begins with.
        "PRIVATE nonsense\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_owned(),
        post("Content-Length: x"),
        post("Content-Length: 1\r\nContent-Length: 2"),
    ] {
        problem(&say(&gateway, bad.as_bytes()).await, 400, "bad-request");
    }
    for codings in ["gzip", "gzip, chunked", "chunked, gzip", "identity"] {
        let answer = say(
            &gateway,
            format!(
                "{}0\r\n\r\n",
                post(&format!("Transfer-Encoding: {codings}\r\nConnection: close"))
            )
            .as_bytes(),
        )
        .await;
        problem(&answer, 501, "not-implemented");
    }
    // What was read together with the request before it is not known any more.
    let get = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let both = say(&gateway, [get, &post("Transfer-Encoding: gzip")].concat().as_bytes()).await;
    problem(&both[both.find("HTTP/1.1 400").unwrap()..], 400, "bad-request");
    let head = say(&gateway, b"HEAD / HTTP/1.1\r\nHost: a\r\nbad line\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 400 ") && head.ends_with("\r\n\r\n"), "{head}");
}

/// A malformed body is refused wherever it is read.
#[tokio::test]
async fn chunks_that_are_none_are_refused() {
    let gateway = Gateway::start().await;
    gateway
        .deploy("total", json!([{"event": "order.created"}, {"http": "/total", "mode": "async"}]))
        .await;
    for path in ["/v1/events/order.created", "/http/default/total", "/v1/functions/total/invoke"] {
        for chunks in ["zz\r\n", "2\r\n{}X", "2\r\n{}\r\n-1\r\n"] {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            );
            problem(
                &say(&gateway, [head.as_str(), chunks].concat().as_bytes()).await,
                400,
                "bad-request",
            );
        }
    }
    assert_eq!(gateway.waiting("total").await, 0);
}

/// Whoever sends all before it reads anything gets the answer all the same.
#[tokio::test]
async fn a_refused_upload_gets_its_answer() {
    let settings = GatewaySettings {
        max_event_bytes: 1000,
        max_document_bytes: 1000,
        ..GatewaySettings::default()
    };
    let gateway = Gateway::start_with(settings, EmbeddedSettings::default()).await;
    gateway.deploy("total", json!([{"event": "order.created"}, {"http": "/total"}])).await;
    let length = 24 << 20;
    let body = vec![b'x'; length];
    for (method, path) in [
        ("POST", "/v1/events/order.created"),
        ("POST", "/http/default/total"),
        ("PUT", "/v1/functions/total"),
    ] {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        );
        let whole = format!("{head}Content-Length: {length}\r\n\r\n");
        let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n");
        // As Java's client asks by default.
        let upgrade = format!("{head}{UPGRADE}Content-Length: {length}\r\n\r\n");
        for (begin, end) in [(whole, ""), (chunked, "\r\n0\r\n\r\n"), (upgrade, "")] {
            let answer = say(&gateway, &[begin.as_bytes(), &body, end.as_bytes()].concat()).await;
            problem(&answer, 413, "too-large");
            assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        }
    }
    // The same for what is refused for another reason.
    let head =
        format!("PATCH /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    problem(&say(&gateway, &[head.as_bytes(), &body].concat()).await, 405, "method-not-allowed");
    let bad = format!("PUT /v1/functions/x HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
    problem(&say(&gateway, &[bad.as_bytes(), &body].concat()).await, 400, "bad-request");
    let unreadable = b"nonsense\r\n\r\n";
    problem(&say(&gateway, &[&unreadable[..], &body].concat()).await, 400, "bad-request");
}

/// What is thrown away is bounded.
#[tokio::test]
async fn a_refused_upload_is_not_read_for_ever() {
    for settings in [
        within(ServerSettings { max_discarded_bytes: 1 << 20, ..ServerSettings::default() }),
        within(ServerSettings {
            body_timeout: Duration::from_millis(50),
            ..ServerSettings::default()
        }),
    ] {
        let gateway = Gateway::start_with(settings, EmbeddedSettings::default()).await;
        let mut stream = refused(&gateway).await;
        let endless = async { while stream.write_all(&[b'x'; 65536]).await.is_ok() {} };
        tokio::time::timeout(WAIT_TIMEOUT, endless).await.expect("it is read for ever");
    }
}

/// A client that was told that there is no such path, and has not sent any of its body.
async fn refused(gateway: &Gateway) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head =
        "POST /v1/nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    problem(&rest(&mut stream).await, 404, "not-found");
    stream
}

#[tokio::test]
async fn a_refused_client_may_pause() {
    let settings = within(ServerSettings {
        header_timeout: Duration::from_millis(3500),
        ..ServerSettings::default()
    });
    let gateway = Gateway::start_with(settings, EmbeddedSettings::default()).await;
    let mut silent = TcpStream::connect(gateway.address).await.unwrap();
    let mut refused = refused(&gateway).await;
    // The time that a client has who says nothing at all, which is less than one has who was
    // refused.
    assert_eq!(rest(&mut silent).await, "");
    // More than fits between the two.
    refused.write_all(&vec![b'x'; 16 << 20]).await.expect("nobody listens");
}

#[tokio::test]
async fn a_refused_client_does_not_hold_up_the_end() {
    let long = Duration::from_secs(3600);
    let settings = within(ServerSettings {
        body_timeout: long,
        drain_timeout: long,
        ..ServerSettings::default()
    });
    let gateway = Gateway::start_with(settings, EmbeddedSettings::default()).await;
    let _refused = refused(&gateway).await;
    gateway.shutdown.cancel();
    tokio::time::timeout(WAIT_TIMEOUT, gateway.served).await.expect("it does not stop").unwrap();
}
