//! An API key that a client sends to a function's route by mistake reaches neither the function nor
//! a row, whatever the route and wherever in the request it stands.

use std::num::NonZeroU16;

use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::json;
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use wasmill_broker::{QueueName, Streams as _};
use wasmill_domain::http_message::{Download, Opening, ResponseHead, Upload};
use wasmill_domain::wire::Writes;
use wasmill_domain::{ApiKey, Dispatch, Output, TenantName};
use wasmill_store::Finished;

use crate::harness::{Gateway, WAIT_TIMEOUT, send, success};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn key() -> String {
    ApiKey::generate().unwrap().reveal().to_owned()
}

/// A request with the key wherever a head can have it.
fn with_key(request: RequestBuilder, key: &str) -> RequestBuilder {
    request
        .query(&[("key", key)])
        .bearer_auth(key)
        .header("x-api-key", key)
        .header("cookie", format!("session={key}"))
        .header("traceparent", TRACE)
        .header("tracestate", format!("vendor={key}"))
        .header("x-other", "stays")
}

/// Gives everything that a host gets as the result.
fn reveal(dispatch: Dispatch) -> Finished {
    let data = format!("{dispatch:?}").into();
    let mut finished = success(dispatch);
    finished.report.output = Some(Output { content_type: "text/plain".into(), data });
    finished
}

/// Makes sure that the API shows the newest execution of a function without the key.
async fn no_row_has(gateway: &Gateway, function: &str, key: &str) {
    let list = gateway.get(&format!("/v1/executions?function={function}&limit=1")).await;
    let id = list.json()["executions"][0]["id"].as_str().unwrap().to_owned();
    for path in ["", "/event", "/result", "/logs"] {
        let shown = gateway.get(&format!("/v1/executions/{id}{path}")).await;
        let text = String::from_utf8_lossy(&shown.bytes).into_owned();
        assert!(!text.contains(&key[3..]), "{path}: {text}");
    }
}

#[tokio::test]
async fn none_reaches_a_function_that_is_waited_for() {
    let gateway = Gateway::start().await;
    gateway.deploy("sync", json!([{"http": "/sync/{*rest}"}])).await;
    gateway.work("sync", reveal).await;
    let key = key();
    let request = gateway.request(Method::POST, &format!("/http/default/sync/{key}"));
    let answer = send(with_key(request, &key).body("body")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let got = String::from_utf8_lossy(&answer.bytes);
    // The trace is the caller's.
    let trace = format!("{:?}", u128::from_str_radix(&TRACE[3..35], 16).unwrap().to_be_bytes());
    assert!(got.contains("httppath") && got.contains(&trace), "{got}");
    assert!(!got.contains(&key[3..]), "{got}");
    no_row_has(&gateway, "sync", &key).await;
}

/// Deploys a handler, and gives what it gets: each request's opening, its body and its trailers.
async fn handler(gateway: &Gateway) -> mpsc::UnboundedReceiver<String> {
    let component = wat::parse_str(
        r#"(component (instance $i) (export "wasi:http/incoming-handler@0.2.0" (instance $i)))"#,
    );
    let uploaded = gateway.post_as("/v1/artifacts", "application/wasm", component.unwrap()).await;
    let manifest = json!({"name": "handler", "trigger": [{"http": "/handler/{*rest}"}]});
    let deploy = json!({"digest": uploaded.json()["digest"], "manifest": manifest});
    let deployed = gateway.put("/v1/functions/handler", &deploy).await;
    assert_eq!(deployed.status, StatusCode::CREATED, "{deployed:?}");
    let service = QueueName::of_streams(&TenantName::default(), &"handler".parse().unwrap());
    let mut calls =
        gateway.broker.accept_streams(&service, NonZeroU16::new(4).unwrap()).await.unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(mut call) = calls.next().await {
            let opening = Opening::decode(&call.opening).unwrap();
            let (mut got, mut complete) = (format!("{opening:?}"), opening.complete);
            while !complete {
                let Some(frame) = call.stream.receiver.receive().await else { break };
                let upload = Upload::decode(&frame).unwrap();
                complete = matches!(upload, Upload::End(_));
                got.push_str(&format!("{upload:?}"));
            }
            let head = ResponseHead { status: 200, headers: Vec::new() };
            for said in [Download::Head(head), Download::End(Vec::new())] {
                let _ = call.stream.sender.send(said.encode(&Writes::default())).await;
            }
            // The test may be over.
            let _ = sender.send(got);
        }
    });
    receiver
}

#[tokio::test]
async fn none_reaches_a_handler_nor_in_trailers() {
    let gateway = Gateway::start().await;
    let mut got = handler(&gateway).await;
    let key = key();
    let request = gateway.request(Method::POST, &format!("/http/default/handler/{key}"));
    let answer = send(with_key(request, &key).body("body")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let whole = got.recv().await.unwrap();
    assert!(whole.contains("x-other") && !whole.contains(&key[3..]), "{whole}");

    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "POST /http/default/handler/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
         Transfer-Encoding: chunked\r\nTrailer: x-sum, authorization, x-stays\r\n\r\n5\r\nhello\r\n0\r\n\
         x-sum: {key}\r\nauthorization: Bearer {key}\r\nx-stays: seven\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(WAIT_TIMEOUT, read).await.expect("in time").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let streamed = got.recv().await.unwrap();
    assert!(streamed.contains("x-stays") && streamed.contains("x-sum"), "{streamed}");
    assert!(!streamed.contains(&key[3..]), "{streamed}");
}

#[tokio::test]
async fn none_reaches_a_webhook() {
    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
    let gateway = Gateway::start().await;
    gateway.set_secret("hook", SECRET).await;
    let signed = json!({"scheme": "github", "secrets": ["hook"]});
    gateway
        .deploy("queued", json!([{"http": "/queued", "mode": "async", "webhook": signed}]))
        .await;
    gateway.deploy("sync", json!([{"http": "/sync", "webhook": signed}])).await;
    gateway.work("sync", reveal).await;
    let key = key();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).unwrap();
    mac.update(b"{}");
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    let deliver = async |path: &str| {
        let request = with_key(gateway.request(Method::POST, path), &key)
            .header("x-hub-signature-256", &signature)
            .header("x-github-delivery", format!("1-{key}"))
            .header("content-type", "application/json");
        send(request.body("{}")).await
    };
    assert_eq!(deliver("/http/default/queued").await.executions().len(), 1);
    let taken = format!("{:?}", gateway.take("queued", 1).await);
    assert!(!taken.contains(&key[3..]), "{taken}");
    no_row_has(&gateway, "queued", &key).await;
    let answer = deliver("/http/default/sync").await;
    let got = String::from_utf8_lossy(&answer.bytes);
    assert!(answer.status == StatusCode::OK && !got.contains(&key[3..]), "{got}");
    no_row_has(&gateway, "sync", &key).await;
}
