//! Responses of handlers, and what becomes of their attempts: the host's part is played by the
//! test.

use std::num::NonZeroU16;

use bytes::Bytes;
use reqwest::{Client, Method, StatusCode};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use wasmill_broker::embedded::EmbeddedSettings;
use wasmill_broker::{IncomingStream, IncomingStreams, QueueName, Streams as _};
use wasmill_domain::TenantName;
use wasmill_domain::http_message::{Download, Headers, Opening, ResponseHead, Upload};
use wasmill_domain::wire::Writes;
use wasmill_gateway::GatewaySettings;

use crate::harness::{Gateway, WAIT_TIMEOUT, client};
use crate::http1;

/// More frames than are on their way at any time.
const FRAMES: usize = 100;

/// Deploys a handler and gives its calls.
pub(crate) async fn calls(gateway: &Gateway) -> Box<dyn IncomingStreams> {
    let component = wat::parse_str(
        r#"(component (instance $i) (export "wasi:http/incoming-handler@0.2.0" (instance $i)))"#,
    );
    let uploaded = gateway.post_as("/v1/artifacts", "application/wasm", component.unwrap()).await;
    let manifest = json!({"name": "handler", "trigger": [{"http": "/handler"}]});
    let deploy = json!({"digest": uploaded.json()["digest"], "manifest": manifest});
    let deployed = gateway.put("/v1/functions/handler", &deploy).await;
    assert_eq!(deployed.status, StatusCode::CREATED, "{deployed:?}");
    let service = QueueName::of_streams(&TenantName::default(), &"handler".parse().unwrap());
    gateway.broker.accept_streams(&service, NonZeroU16::new(4).unwrap()).await.unwrap()
}

pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(WAIT_TIMEOUT, future).await.expect("it takes too long")
}

pub(crate) fn head(status: u16, fields: &[(&str, &str)]) -> Download {
    let field = |(name, value): &(&str, &str)| {
        ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes()))
    };
    let headers: Headers = fields.iter().map(field).collect();
    Download::Head(ResponseHead { status, headers })
}

/// Says a whole response, as an attempt does that is told by nobody to end.
async fn respond(call: &IncomingStream, head: Download) {
    let body = (0..FRAMES).map(|_| Download::Data("content".into()));
    for said in [head].into_iter().chain(body).chain([Download::End(Headers::new())]) {
        in_time(call.stream.sender.send(said.encode(&Writes::default())))
            .await
            .expect("the caller has disconnected");
    }
}

fn clients() -> [Client; 2] {
    [client().http1_only().build().unwrap(), client().http2_prior_knowledge().build().unwrap()]
}

/// HEAD and statuses without content: nothing on the wire, and the attempt goes on to its end.
#[tokio::test]
async fn what_has_no_content_has_none() {
    let gateway = Gateway::start().await;
    let mut calls = calls(&gateway).await;
    let url = format!("{}/http/default/handler", gateway.url);
    for http in clients() {
        for (method, status) in [
            (Method::HEAD, 200),
            (Method::GET, 204),
            (Method::POST, 204),
            (Method::GET, 205),
            (Method::GET, 304),
            (Method::HEAD, 404),
        ] {
            let asking =
                tokio::spawn(http.request(method.clone(), &url).timeout(WAIT_TIMEOUT).send());
            let call = in_time(calls.next()).await.unwrap();
            respond(&call, head(status, &[("content-type", "text/plain")])).await;
            let response = asking.await.unwrap().unwrap();
            assert_eq!(response.status(), status);
            let headers = response.headers().clone();
            assert!(
                status == 205 || !headers.contains_key("content-length"),
                "{method} {status}: {headers:?}"
            );
            assert!(response.bytes().await.unwrap().is_empty(), "{method} {status}");
        }
        // The same of what the gateway says itself.
        let own = http
            .head(format!("{}/http/default/nothing", gateway.url))
            .timeout(WAIT_TIMEOUT)
            .send()
            .await
            .unwrap();
        assert_eq!(
            (own.status().as_u16(), own.headers().contains_key("content-length")),
            (404, true)
        );
        assert!(own.bytes().await.unwrap().is_empty());
        // The length that a response to GET would have.
        let asking = tokio::spawn(http.head(&url).timeout(WAIT_TIMEOUT).send());
        let call = in_time(calls.next()).await.unwrap();
        respond(&call, head(200, &[("content-length", "700")])).await;
        assert_eq!(asking.await.unwrap().unwrap().headers()["content-length"], "700");
    }
}

/// Not a byte follows the head, and the connection is of use.
#[tokio::test]
async fn nothing_follows_a_head_alone() {
    let gateway = Gateway::start().await;
    let mut calls = calls(&gateway).await;
    for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 205), ("GET", 304)] {
        let two = format!(
            "{method} /http/default/handler HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        );
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(two.as_bytes()).await.unwrap();
        let call = in_time(calls.next()).await.unwrap();
        respond(&call, head(status, &[])).await;
        let all = http1::rest(&mut stream).await;
        let (first, second) = all.split_once("\r\n\r\n").unwrap();
        assert!(first.starts_with(&format!("HTTP/1.1 {status} ")), "{all}");
        assert!(second.starts_with("HTTP/1.1 200 "), "{all}");
    }
}

/// Whoever has all that was announced has not disconnected.
#[tokio::test]
async fn a_response_that_was_wholly_sent_is_heard_to_its_end() {
    let gateway = Gateway::start().await;
    let mut calls = calls(&gateway).await;
    let url = format!("{}/http/default/handler", gateway.url);
    for http in clients() {
        let asking = tokio::spawn(http.get(&url).timeout(WAIT_TIMEOUT).send());
        let call = in_time(calls.next()).await.unwrap();
        let sender = &call.stream.sender;
        for said in [head(200, &[("content-length", "7")]), Download::Data("content".into())] {
            in_time(sender.send(said.encode(&Writes::default()))).await.unwrap();
        }
        let mut response = asking.await.unwrap().unwrap();
        assert_eq!(in_time(response.chunk()).await.unwrap().unwrap(), "content");
        drop((response, http));
        // The guest works on, and says the end later than the caller has gone.
        let disconnected =
            tokio::time::timeout(std::time::Duration::from_millis(200), sender.closed()).await;
        assert!(disconnected.is_err(), "the caller is reported as disconnected");
        in_time(sender.send(Download::End(Headers::new()).encode(&Writes::default())))
            .await
            .unwrap();
        // Then the line ends.
        in_time(sender.closed()).await;
    }
}

/// A caller that has its whole response may go in the middle of its upload: a guest that still
/// reads learns of it.
#[tokio::test]
async fn an_upload_that_ends_after_its_response_ends_for_the_guest() {
    let gateway = Gateway::start().await;
    let mut calls = calls(&gateway).await;
    for (said, content) in [(head(200, &[("content-length", "2")]), "ok"), (head(204, &[]), "")] {
        let mut caller = TcpStream::connect(gateway.address).await.unwrap();
        caller.write_all([CHUNKED, "5\r\nhello\r\n"].concat().as_bytes()).await.unwrap();
        let IncomingStream { mut stream, .. } = in_time(calls.next()).await.unwrap();
        in_time(stream.sender.send(said.encode(&Writes::default()))).await.unwrap();
        if !content.is_empty() {
            in_time(stream.sender.send(Download::Data(content.into()).encode(&Writes::default())))
                .await
                .unwrap();
        }
        let mut answer = Vec::new();
        while !answer.ends_with([b"\r\n\r\n", content.as_bytes()].concat().as_slice()) {
            assert_ne!(
                in_time(tokio::io::AsyncReadExt::read_buf(&mut caller, &mut answer)).await.unwrap(),
                0
            );
        }
        drop(caller);
        // No end that says that this was all.
        while let Some(frame) = in_time(stream.receiver.receive()).await {
            let said = Upload::decode(&frame).unwrap();
            assert!(matches!(said, Upload::Data(_)), "{said:?}");
        }
        in_time(stream.sender.send(Download::End(Headers::new()).encode(&Writes::default())))
            .await
            .expect("the attempt goes on to its end");
    }
}

#[tokio::test]
async fn a_caller_that_hangs_up_is_told_to_the_host() {
    let gateway = Gateway::start().await;
    let mut calls = calls(&gateway).await;
    let url = format!("{}/http/default/handler", gateway.url);
    for http in clients() {
        for fields in [&[][..], &[("content-length", "70")]] {
            let asking = tokio::spawn(http.get(&url).timeout(WAIT_TIMEOUT).send());
            let call = in_time(calls.next()).await.unwrap();
            for said in [head(200, fields), Download::Data("content".into())] {
                in_time(call.stream.sender.send(said.encode(&Writes::default()))).await.unwrap();
            }
            let mut response = asking.await.unwrap().unwrap();
            assert_eq!(in_time(response.chunk()).await.unwrap().unwrap(), "content");
            drop(response);
            in_time(call.stream.sender.closed()).await;
        }
    }
}

/// What a host of an earlier release lets pass.
#[tokio::test]
async fn a_status_of_1xx_is_no_response() {
    let gateway = Gateway::start().await;
    let mut calls = calls(&gateway).await;
    let url = format!("{}/http/default/handler", gateway.url);
    for http in clients() {
        for status in [100, 101, 103, 199] {
            let asking = tokio::spawn(http.get(&url).timeout(WAIT_TIMEOUT).send());
            let call = in_time(calls.next()).await.unwrap();
            let id = Opening::decode(&call.opening).unwrap().dispatch.execution.to_string();
            in_time(call.stream.sender.send(head(status, &[]).encode(&Writes::default())))
                .await
                .unwrap();
            let response = asking.await.unwrap().unwrap();
            assert_eq!(response.status(), StatusCode::BAD_GATEWAY, "{status}");
            let problem: serde_json::Value = response.json().await.unwrap();
            assert!(problem["detail"].as_str().unwrap().contains(&id), "{problem}");
        }
    }
}

pub(crate) const CHUNKED: &str =
    "POST /http/default/handler HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Makes sure that a call ends because its caller is gone, not by a body that breaks off.
async fn is_called_off(call: &mut IncomingStream) {
    let IncomingStream { stream, .. } = call;
    let ended = async {
        loop {
            tokio::select! {
                biased;
                () = stream.sender.closed() => return,
                said = stream.receiver.receive() => match said.map(|frame| Upload::decode(&frame).unwrap()) {
                    Some(Upload::Data(_)) => {}
                    said => panic!("the guest learns of its request's end: {said:?}"),
                },
            }
        }
    };
    in_time(ended).await;
}

/// A body that is no good is the client's fault, whatever the function would make of it.
#[tokio::test]
async fn a_malformed_body_is_the_client_s_fault() {
    let gateway = Gateway::start().await;
    let mut calls = calls(&gateway).await;
    for chunks in
        ["5\r\nhello\r\nzz\r\n", "5\r\nhello\r\n-1\r\n", "5\r\nhelloX", "5\r\nhello\r\n5 5\r\n"]
    {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all([CHUNKED, chunks].concat().as_bytes()).await.unwrap();
        let mut call = in_time(calls.next()).await.unwrap();
        is_called_off(&mut call).await;
        let problem = http1::problem(&http1::rest(&mut stream).await, 400, "bad-request");
        assert!(problem["detail"].as_str().unwrap().contains("chunks"), "{problem}");
    }
    // Where the response has begun, it breaks off.
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all([CHUNKED, "5\r\nhello\r\n"].concat().as_bytes()).await.unwrap();
    let mut call = in_time(calls.next()).await.unwrap();
    in_time(call.stream.sender.send(head(200, &[]).encode(&Writes::default()))).await.unwrap();
    in_time(call.stream.sender.send(Download::Data("begun".into()).encode(&Writes::default())))
        .await
        .unwrap();
    let mut begun = vec![0; 1];
    in_time(tokio::io::AsyncReadExt::read_exact(&mut stream, &mut begun)).await.unwrap();
    stream.write_all(b"zz\r\n").await.unwrap();
    is_called_off(&mut call).await;
    let answer = http1::rest(&mut stream).await;
    assert!(answer.contains("TTP/1.1 200 ") && !answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn an_upload_that_is_too_long_is_refused() {
    let settings = GatewaySettings { max_upload_bytes: 1 << 20, ..GatewaySettings::default() };
    let gateway = Gateway::start_with(settings, EmbeddedSettings::default()).await;
    let mut calls = calls(&gateway).await;
    let length = 24 << 20;
    let body = vec![b'x'; length];
    // What says so is refused before anybody is called.
    let announced = format!(
        "POST /http/default/handler HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
    );
    let answer = http1::say(&gateway, &[announced.as_bytes(), &body].concat()).await;
    http1::problem(&answer, 413, "too-large");
    // What does not, when it is.
    let chunked =
        [CHUNKED.as_bytes(), format!("{length:x}\r\n").as_bytes(), &body, b"\r\n0\r\n\r\n"]
            .concat();
    let refused = async {
        let answer = http1::say(&gateway, &chunked).await;
        http1::problem(&answer, 413, "too-large");
    };
    let called = async {
        let mut call = in_time(calls.next()).await.unwrap();
        is_called_off(&mut call).await;
    };
    tokio::join!(refused, called);
}
