//! Handlers behind both protocols: a host's part is played by the test.

use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::{Client, Method, StatusCode, Version};
use serde_json::json;
use tokio::sync::mpsc;
use wasmill_broker::{QueueName, Streams as _};
use wasmill_domain::TenantName;
use wasmill_domain::http_message::{Download, Headers, Opening, RequestHead, ResponseHead};
use wasmill_domain::wire::Writes;

use crate::framing::{DATA, END_HEADERS, END_STREAM, HEADERS, Raw, frame, request};
use crate::harness::{Gateway, WAIT_TIMEOUT, client, send};
use crate::tls::secured;

/// Deploys a handler, answers its calls, and gives the heads of the requests.
async fn handler(
    gateway: &Gateway,
    http: &Client,
    url: &str,
) -> mpsc::UnboundedReceiver<RequestHead> {
    let component = wat::parse_str(
        r#"(component (instance $i) (export "wasi:http/incoming-handler@0.2.0" (instance $i)))"#,
    );
    let upload =
        http.post(format!("{url}/v1/artifacts")).header("content-type", "application/wasm");
    let uploaded = send(upload.body(component.unwrap())).await;
    assert_eq!(uploaded.json()["kinds"], json!(["http"]), "{uploaded:?}");
    let manifest = json!({"name": "handler", "trigger": [{"http": "/handler"}, {"http": "/any/{id}/{*rest}"}]});
    let deploy = json!({"digest": uploaded.json()["digest"], "manifest": manifest});
    let deployed = send(http.put(format!("{url}/v1/functions/handler")).json(&deploy)).await;
    assert_eq!(deployed.status, StatusCode::CREATED, "{deployed:?}");

    let service = QueueName::of_streams(&TenantName::default(), &"handler".parse().unwrap());
    let mut calls =
        gateway.broker.accept_streams(&service, NonZeroU16::new(4).unwrap()).await.unwrap();
    let (sender, heads) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(call) = calls.next().await {
            // The test may be over.
            let _ = sender.send(Opening::decode(&call.opening).unwrap().head);
            let fields = |fields: &[(&str, &'static str)]| -> Headers {
                fields
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), Bytes::from_static(value.as_bytes())))
                    .collect()
            };
            let headers = [
                ("content-type", "text/plain"),
                ("x-own", "1"),
                ("connection", "close"),
                ("keep-alive", "5"),
            ];
            for said in [
                Download::Head(ResponseHead { status: 200, headers: fields(&headers) }),
                Download::Data("hello".into()),
                Download::End(fields(&[("x-checksum", "7")])),
            ] {
                // Who asked by HEAD does not listen to its end.
                let _ = call.stream.sender.send(said.encode(&Writes::default())).await;
            }
        }
    });
    heads
}

async fn next(heads: &mut mpsc::UnboundedReceiver<RequestHead>) -> RequestHead {
    tokio::time::timeout(WAIT_TIMEOUT, heads.recv()).await.expect("no call comes").unwrap()
}

fn has(head: &RequestHead, name: &str) -> bool {
    head.headers.iter().any(|(known, _)| known == name)
}

#[tokio::test]
async fn both_protocols_say_the_same() {
    let gateway = Gateway::start().await;
    let (one, two) =
        (client().http1_only().build().unwrap(), client().http2_prior_knowledge().build().unwrap());
    let mut heads = handler(&gateway, &one, &gateway.url).await;
    for (http, version) in [(one, Version::HTTP_11), (two, Version::HTTP_2)] {
        let url = format!("{}/http/default/handler?a=b", gateway.url);
        let call = http
            .request(Method::POST, &url)
            .header("te", "trailers")
            .header("x-mine", "1")
            .body("body");
        let response = call.timeout(WAIT_TIMEOUT).send().await.unwrap();
        assert_eq!((response.status(), response.version()), (StatusCode::OK, version));
        let headers = response.headers();
        assert!(headers["content-type"] == "text/plain" && headers["x-own"] == "1", "{headers:?}");
        assert!(
            !headers.contains_key("connection") && !headers.contains_key("keep-alive"),
            "{headers:?}"
        );
        assert_eq!(response.text().await.unwrap(), "hello");
        let head = next(&mut heads).await;
        assert_eq!(
            (head.method.as_str(), head.target.as_str(), head.scheme.as_str()),
            ("POST", "/handler?a=b", "http")
        );
        assert_eq!(head.authority, gateway.address.to_string());
        assert!(has(&head, "x-mine") && !has(&head, "te") && !has(&head, "host"), "{head:?}");
        // HEAD has no body, and the connection is of use after it.
        let head_only = http.head(&url).timeout(WAIT_TIMEOUT).send().await.unwrap();
        assert_eq!(
            (head_only.status(), head_only.bytes().await.unwrap().len()),
            (StatusCode::OK, 0)
        );
        assert_eq!(next(&mut heads).await.method, "HEAD");
    }
}

/// The attributes that are made of a request do not decide whether it is served: within the bound
/// of a head everything is the handler's to see.
#[tokio::test]
async fn a_handler_sees_whatever_a_head_may_hold() {
    let gateway = Gateway::start().await;
    let (one, two) =
        (client().http1_only().build().unwrap(), client().http2_prior_knowledge().build().unwrap());
    let mut heads = handler(&gateway, &one, &gateway.url).await;
    for http in [one, two] {
        for target in [
            format!("/any/1/x?q={}", "q".repeat(40_000)),
            format!("/any/1/{}", "p".repeat(20_000)),
            "/any/%01%1b%7f/%c2%85%ef%bf%bf%ff".into(),
            "/any/%e2%80%ae/%f3%a0%81%81?%00=%zz".into(),
        ] {
            let call = http
                .post(format!("{}/http/default{target}", gateway.url))
                .header("content-type", &b"a/b, a/b; \xff"[..])
                .body("body");
            let response = call.timeout(WAIT_TIMEOUT).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{target:.60}");
            assert_eq!(response.text().await.unwrap(), "hello");
            let head = next(&mut heads).await;
            assert_eq!(head.target, target);
            assert!(has(&head, "content-type"), "{head:?}");
        }
    }
}

#[tokio::test]
async fn trailers_come_over_http_2() {
    let gateway = Gateway::start().await;
    let _heads = handler(&gateway, &client().build().unwrap(), &gateway.url).await;
    let mut raw = Raw::connect(&gateway).await;
    raw.say(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &request("GET", "/http/default/handler")))
        .await;
    let (head, data) = (raw.receive_a(HEADERS).await, raw.receive_a(DATA).await);
    assert_eq!(
        (head.flags & END_STREAM, data.payload.as_slice(), data.flags & END_STREAM),
        (0, &b"hello"[..], 0)
    );
    let trailers = raw.receive_a(HEADERS).await;
    assert_eq!((trailers.stream, trailers.flags & END_STREAM), (1, END_STREAM));
}

#[tokio::test]
async fn handlers_see_that_it_was_https() {
    let (gateway, _tls, pair) = secured(wasmill_gateway::GatewaySettings::default()).await;
    let gateway = Arc::new(gateway);
    let url = format!("https://{}", gateway.address);
    let mut heads = handler(&gateway, &pair.client().build().unwrap(), &url).await;
    for http in [pair.client().http1_only().build().unwrap(), pair.client().build().unwrap()] {
        let answer = http
            .get(format!("{url}/http/default/handler"))
            .timeout(WAIT_TIMEOUT)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let head = next(&mut heads).await;
        assert_eq!((head.scheme.as_str(), head.authority), ("https", gateway.address.to_string()));
    }
}
