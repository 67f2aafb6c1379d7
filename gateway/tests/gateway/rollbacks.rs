//! A rollback makes sure of what a deploy makes sure of: each could be deployed when it was, and
//! cannot now.

use std::sync::atomic::Ordering;

use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};
use wasmill_gateway::GatewaySettings;
use wasmill_schema::SchemaLimits;

use crate::harness::{Answer, Gateway, send};

const NAME: &str = "shop.example.com";

/// Deploys a version of the function `f`.
async fn deploy(gateway: &Gateway, variant: u32, manifest: Value) {
    let digest = gateway.upload(variant).await;
    let mut manifest = manifest;
    manifest["name"] = json!("f");
    let answer =
        gateway.put("/v1/functions/f", &json!({"digest": digest, "manifest": manifest})).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
}

async fn roll_back(gateway: &Gateway) -> Answer {
    send(gateway.request(Method::POST, "/v1/functions/f/rollback")).await
}

/// Makes sure that the rollback is refused with these words and changes nothing, and that it is
/// done after `mend`.
async fn is_refused(gateway: &Gateway, kind: (u16, &str), words: &str, mend: impl AsyncFnOnce()) {
    let refused = roll_back(gateway).await.problem(kind.0, kind.1);
    assert!(refused.to_string().contains(words), "{refused}");
    let shown = gateway.get("/v1/functions/f").await.json();
    assert_eq!(shown["version"], 2, "{shown}");
    mend().await;
    let done = roll_back(gateway).await;
    assert_eq!(done.json()["version"], 1, "{done:?}");
}

#[tokio::test]
async fn a_webhook_s_secret_must_be_there() {
    let gateway = Gateway::start().await;
    gateway.set_secret("hook", b"0123456789abcdef0123456789abcdef").await;
    let webhook = json!({"scheme": "github", "secrets": ["hook"]});
    deploy(&gateway, 1, json!({"trigger": [{"http": "/hook", "webhook": webhook}]})).await;
    deploy(&gateway, 1, json!({})).await;
    assert_eq!(gateway.delete("/v1/secrets/hook").await.status, StatusCode::NO_CONTENT);
    let words = "trigger[0].webhook.secrets[0]";
    is_refused(&gateway, (422, "invalid-manifest"), words, async || {
        gateway.set_secret("hook", b"0123456789abcdef0123456789abcdef").await;
    })
    .await;
}

#[tokio::test]
async fn a_secret_that_is_granted_must_be_there() {
    let gateway = Gateway::start().await;
    gateway.set_secret("token", b"value").await;
    deploy(&gateway, 1, json!({"secrets": {"API_TOKEN": "token"}})).await;
    deploy(&gateway, 1, json!({})).await;
    assert_eq!(gateway.delete("/v1/secrets/token").await.status, StatusCode::NO_CONTENT);
    is_refused(&gateway, (422, "invalid-manifest"), "secrets.API_TOKEN", async || {
        gateway.set_secret("token", b"value").await;
    })
    .await;
}

#[tokio::test]
async fn a_host_name_must_be_granted_still() {
    let gateway = Gateway::start().await;
    let path = format!("/v1/hostnames/{NAME}");
    assert!(gateway.put(&path, &json!({})).await.status.is_success());
    deploy(&gateway, 1, json!({"trigger": [{"http": "/", "host": NAME}]})).await;
    deploy(&gateway, 1, json!({})).await;
    assert_eq!(gateway.delete(&path).await.status, StatusCode::NO_CONTENT);
    is_refused(&gateway, (409, "conflict"), "trigger[0].host", async || {
        assert!(gateway.put(&path, &json!({})).await.status.is_success());
    })
    .await;
}

/// A schema that takes its room when it is compiled.
fn large(name: &str) -> Value {
    let members: Map<String, Value> =
        (0..40).map(|i| (format!("{name}{i}"), json!({"type": "string"}))).collect();
    json!({"properties": members})
}

#[tokio::test]
async fn there_must_be_room_for_its_schemas() {
    let limits = SchemaLimits { max_tenant_bytes: 64 << 10, ..SchemaLimits::default() };
    let gateway = Gateway::start_within(limits, GatewaySettings::default()).await;
    deploy(&gateway, 1, json!({"trigger": [{"event": "a", "schema": large("one")}]})).await;
    deploy(&gateway, 1, json!({})).await;
    assert_eq!(gateway.put("/v1/schemas/b", &large("two")).await.status, 200);
    is_refused(&gateway, (422, "invalid-schema"), "schemas.max_tenant_bytes", async || {
        assert_eq!(gateway.delete("/v1/schemas/b").await.status, StatusCode::NO_CONTENT);
    })
    .await;
}

#[tokio::test]
async fn its_component_must_run_still() {
    let gateway = Gateway::start().await;
    deploy(&gateway, 1, json!({})).await;
    deploy(&gateway, 2, json!({})).await;
    gateway.refuses.store(true, Ordering::Relaxed);
    let words = "hosts do not run it any more";
    is_refused(&gateway, (422, "invalid-component"), words, async || {
        gateway.refuses.store(false, Ordering::Relaxed);
    })
    .await;
}
