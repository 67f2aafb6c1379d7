//! Signed requests, from the socket to the queue.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use wasmill_broker::embedded::EmbeddedSettings;
use wasmill_gateway::GatewaySettings;
use wasmill_http::ServerSettings;

use crate::harness::{Answer, Gateway, WAIT_TIMEOUT, send, success, trap, until, within};

const SECRET: &[u8] = b"It's a Secret to Everybody";

fn sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A gateway with the secrets `new` and `old`, and the function `hook` at `/hook`.
async fn gateway(webhook: Value, mode: &str) -> Gateway {
    gateway_with(GatewaySettings::default(), webhook, mode).await
}

async fn gateway_with(settings: GatewaySettings, webhook: Value, mode: &str) -> Gateway {
    let gateway = Gateway::start_with(settings, EmbeddedSettings::default()).await;
    gateway.set_secret("new", SECRET).await;
    gateway.set_secret("old", b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").await;
    gateway
        .deploy(
            "hook",
            json!([{"http": "/hook", "methods": ["POST"], "mode": mode, "webhook": webhook}]),
        )
        .await;
    gateway
}

fn github() -> Value {
    json!({"scheme": "github", "secrets": ["new", "old"]})
}

/// What GitHub sends.
async fn deliver(gateway: &Gateway, key: &[u8], id: &str, body: &str) -> Answer {
    let signature = format!("sha256={}", hex::encode(sha256(key, body.as_bytes())));
    let request = gateway
        .request(Method::POST, "/http/default/hook")
        .header("x-hub-signature-256", signature);
    send(
        request
            .header("x-github-delivery", id)
            .header("content-type", "application/json")
            .body(body.to_owned()),
    )
    .await
}

/// What was counted at the only webhook: accepted, repeated, refused, unverifiable.
async fn counted(gateway: &Gateway) -> [u64; 4] {
    let function = gateway.get("/v1/functions/hook").await.json();
    let webhook = &function["webhooks"][0];
    assert_eq!(webhook["http"], "/hook", "{function}");
    ["accepted", "repeated", "refused", "unverifiable"].map(|name| webhook[name].as_u64().unwrap())
}

#[tokio::test]
async fn a_signed_request_becomes_an_event() {
    let gateway = gateway(github(), "async").await;
    let answer = deliver(&gateway, SECRET, "1", r#"{"zen": "Keep it logically awesome."}"#).await;
    assert_eq!(answer.executions().len(), 1);
    // By the older secret as well.
    let old = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    assert_eq!(deliver(&gateway, old, "2", "{}").await.status, StatusCode::ACCEPTED);
    let taken = gateway.take("hook", 2).await;
    assert_eq!(
        taken[0].event.data.as_deref(),
        Some(&br#"{"zen": "Keep it logically awesome."}"#[..])
    );
    assert_eq!(counted(&gateway).await, [2, 0, 0, 0]);
}

#[tokio::test]
async fn without_its_signature_nothing_runs_and_nothing_is_told() {
    let gateway = gateway(github(), "async").await;
    let wrong = deliver(&gateway, b"another", "1", "{}").await;
    let missing = gateway.post("/http/default/hook", &json!({})).await;
    let odd = gateway
        .request(Method::POST, "/http/default/hook")
        .header("x-hub-signature-256", "sha1=ab")
        .body("{}");
    let odd = send(odd).await;
    for answer in [&wrong, &missing, &odd] {
        answer.problem(401, "not-signed");
        assert_eq!(answer.headers["www-authenticate"], "Signature");
    }
    assert!(wrong.bytes == missing.bytes && missing.bytes == odd.bytes, "the answers differ");
    assert_eq!(counted(&gateway).await, [0, 0, 3, 0]);
    assert_eq!(gateway.waiting("hook").await, 0);
    // An answer goes out before the body is here, where the head shows enough.
    let settings =
        within(ServerSettings { body_timeout: WAIT_TIMEOUT * 2, ..ServerSettings::default() });
    let long_timeout = gateway_with(settings, github(), "async").await;
    let never = futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
    let request = long_timeout
        .request(Method::POST, "/http/default/hook")
        .body(reqwest::Body::wrap_stream(never));
    send(request).await.problem(401, "not-signed");
}

#[tokio::test]
async fn a_delivery_that_comes_again_is_not_run_again() {
    let gateway = gateway(github(), "async").await;
    assert_eq!(deliver(&gateway, SECRET, "1", "{}").await.status, StatusCode::ACCEPTED);
    let again = deliver(&gateway, SECRET, "1", "{}").await;
    assert_eq!((again.status, again.json()), (StatusCode::OK, json!({"repeated": true})));
    // Who knows no secret learns nothing of what was delivered.
    deliver(&gateway, b"another", "1", "{}").await.problem(401, "not-signed");
    assert_eq!(deliver(&gateway, SECRET, "2", "{}").await.status, StatusCode::ACCEPTED);
    gateway.take("hook", 2).await;
    assert_eq!(counted(&gateway).await, [2, 1, 1, 0]);
}

#[tokio::test]
async fn only_so_many_deliveries_are_remembered() {
    let settings = GatewaySettings { max_deliveries: 1, ..GatewaySettings::default() };
    let gateway = gateway_with(settings, github(), "async").await;
    for id in ["1", "2", "1"] {
        assert_eq!(deliver(&gateway, SECRET, id, "{}").await.status, StatusCode::ACCEPTED);
    }
    assert_eq!(deliver(&gateway, SECRET, "1", "{}").await.status, StatusCode::OK);
}

#[tokio::test]
async fn whoever_waits_gets_the_result_once() {
    let gateway = gateway(github(), "sync").await;
    gateway.work("hook", success).await;
    let answer = deliver(&gateway, SECRET, "1", "[1]").await;
    assert_eq!((answer.status, answer.bytes.as_ref()), (StatusCode::OK, &b"[1]"[..]));
    assert_eq!(deliver(&gateway, SECRET, "1", "[1]").await.json(), json!({"repeated": true}));
    assert_eq!(counted(&gateway).await, [1, 1, 0, 0]);
}

#[tokio::test]
async fn what_failed_may_come_again() {
    let gateway = gateway(github(), "sync").await;
    gateway.work("hook", trap).await;
    for _ in 0..2 {
        deliver(&gateway, SECRET, "1", "{}").await.problem(502, "function-failed");
    }
    assert_eq!(counted(&gateway).await, [2, 0, 0, 0]);
}

#[tokio::test]
async fn a_delivery_at_work_is_not_begun_twice() {
    let gateway = std::sync::Arc::new(gateway(github(), "sync").await);
    // Nobody takes it, so it is at work until it is answered.
    let waiting = tokio::spawn({
        let gateway = std::sync::Arc::clone(&gateway);
        async move { deliver(&gateway, SECRET, "1", "{}").await }
    });
    until("it is queued", async || (gateway.waiting("hook").await > 0).then_some(())).await;
    deliver(&gateway, SECRET, "1", "{}").await.problem(409, "conflict");
    gateway.work("hook", success).await;
    assert_eq!(waiting.await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn without_the_secret_the_sender_is_to_try_again() {
    let gateway = gateway(github(), "async").await;
    gateway.lose_secret("new");
    let answer = deliver(&gateway, SECRET, "1", "{}").await;
    let problem = answer.problem(503, "unavailable");
    assert!(!problem.to_string().contains("new"), "{problem}");
    assert!(answer.headers.contains_key("retry-after"));
    // The other one still counts.
    let old = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    assert_eq!(deliver(&gateway, old, "2", "{}").await.status, StatusCode::ACCEPTED);
    gateway.lose_secret("old");
    deliver(&gateway, old, "3", "{}").await.problem(503, "unavailable");
    assert_eq!(counted(&gateway).await, [1, 0, 0, 2]);
}

#[tokio::test]
async fn standard_webhooks_and_stripe() {
    let gateway =
        gateway(json!({"scheme": "standard", "secrets": ["old"], "tolerance": "1m"}), "async")
            .await;
    let stripe = json!([{"http": "/stripe", "mode": "async", "webhook": {"scheme": "stripe", "secrets": ["new"]}}]);
    gateway.deploy("stripe", stripe).await;
    let key = BASE64.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let standard = async |id: &str, at: u64| {
        let signature = BASE64.encode(sha256(&key, format!("{id}.{at}.{{}}").as_bytes()));
        let request = gateway.request(Method::POST, "/http/default/hook").header("webhook-id", id);
        let request = request
            .header("webhook-timestamp", at)
            .header("webhook-signature", format!("v1,{signature}"));
        send(request.body("{}")).await
    };
    assert_eq!(standard("msg_1", now()).await.status, StatusCode::ACCEPTED);
    // Senders sign each try anew.
    assert_eq!(standard("msg_1", now() + 2).await.status, StatusCode::OK);
    standard("msg_2", now() - 120).await.problem(401, "not-signed");
    standard("msg_3", now() + 120).await.problem(401, "not-signed");
    assert_eq!(counted(&gateway).await, [1, 1, 2, 0]);

    let stripe = async |body: &str| {
        let at = now();
        let signature = hex::encode(sha256(SECRET, format!("{at}.{body}").as_bytes()));
        let request = gateway.request(Method::POST, "/http/default/stripe");
        send(
            request
                .header("stripe-signature", format!("t={at},v1={signature}"))
                .body(body.to_owned()),
        )
        .await
    };
    let event = json!({"id": "evt_1", "type": "charge.succeeded"}).to_string();
    assert_eq!(stripe(&event).await.status, StatusCode::ACCEPTED);
    assert_eq!(stripe(&event).await.status, StatusCode::OK);
    assert_eq!(stripe(&json!({"id": "evt_2"}).to_string()).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn bodies_are_bounded() {
    let settings = GatewaySettings { max_event_bytes: 100, ..GatewaySettings::default() };
    let gateway = gateway_with(settings, github(), "async").await;
    deliver(&gateway, SECRET, "1", &"x".repeat(101)).await.problem(413, "too-large");
    assert_eq!(deliver(&gateway, SECRET, "1", &"x".repeat(100)).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_deploy_needs_the_secret() {
    let gateway = Gateway::start().await;
    let digest = gateway.upload(1).await;
    let webhook = json!({"scheme": "github", "secrets": ["here", "missing"]});
    let manifest = json!({"name": "hook", "trigger": [{"http": "/hook", "webhook": webhook}]});
    let deploy = json!({"digest": digest, "manifest": manifest});
    gateway.set_secret("here", b"x").await;
    let problem = gateway.put("/v1/functions/hook", &deploy).await.problem(422, "invalid-manifest");
    assert_eq!(
        problem["errors"][0]["pointer"], "/manifest/trigger/0/webhook/secrets/1",
        "{problem}"
    );
    assert!(
        problem["detail"].as_str().unwrap().contains("wasmill secrets set missing"),
        "{problem}"
    );
    gateway.set_secret("missing", b"y").await;
    assert_eq!(gateway.put("/v1/functions/hook", &deploy).await.status, StatusCode::CREATED);
}
