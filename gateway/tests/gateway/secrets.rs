//! Secrets: what goes in never comes out.

use reqwest::{Method, StatusCode};
use serde_json::json;
use wasmill_store::Secrets as _;

use crate::harness::{Answer, Gateway, send};

const CANARY: &str = "canary-9f8e7d";

async fn put(gateway: &Gateway, name: &str, value: impl Into<reqwest::Body>) -> Answer {
    send(gateway.request(Method::PUT, &format!("/v1/secrets/{name}")).body(value)).await
}

#[tokio::test]
async fn a_secret_is_set_listed_and_deleted() {
    let gateway = Gateway::start().await;
    let first = put(&gateway, "api-token", CANARY).await;
    assert_eq!((first.status, first.json()["version"].clone()), (StatusCode::CREATED, json!(1)));
    let again = put(&gateway, "api-token", CANARY).await;
    assert_eq!((again.status, again.json()["version"].clone()), (StatusCode::OK, json!(2)));
    put(&gateway, "binary", vec![0, 255]).await;
    let listed = gateway.get("/v1/secrets").await;
    let names: Vec<_> =
        listed.json()["secrets"].as_array().unwrap().iter().map(|s| s["name"].clone()).collect();
    assert_eq!(names, ["api-token", "binary"]);
    let page = gateway.get("/v1/secrets?limit=1").await.json();
    assert_eq!(page["next"], "api-token");
    let keys: Vec<&String> = page["secrets"][0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["created_at", "name", "sealing_key", "updated_at", "version"]);
    assert_eq!(
        gateway.get("/v1/secrets?cursor=api-token").await.json()["secrets"][0]["name"],
        "binary"
    );
    // There is no way to ask for a value.
    assert_eq!(gateway.get("/v1/secrets/api-token").await.status, StatusCode::METHOD_NOT_ALLOWED);
    for answer in [&first, &again, &listed] {
        assert!(!String::from_utf8_lossy(&answer.bytes).contains(CANARY));
    }
    let kept = gateway
        .store
        .secret(&"default".parse().unwrap(), &"api-token".parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert!(!kept.sealed.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()));
    assert_eq!(gateway.delete("/v1/secrets/api-token").await.status, StatusCode::NO_CONTENT);
    assert_eq!(gateway.delete("/v1/secrets/api-token").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_is_no_value_is_refused() {
    let gateway = Gateway::start().await;
    for (name, value, status, word) in [
        ("token", String::new(), StatusCode::BAD_REQUEST, "empty"),
        ("token", "x".repeat((64 << 10) + 1), StatusCode::PAYLOAD_TOO_LARGE, "65536"),
        ("Token", "x".into(), StatusCode::BAD_REQUEST, "lower-case"),
    ] {
        let answer = put(&gateway, name, value).await;
        let text = String::from_utf8_lossy(&answer.bytes).into_owned();
        assert!(answer.status == status && text.contains(word), "{answer:?}");
    }
    assert_eq!(put(&gateway, "token", vec![b'x'; 64 << 10]).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn writers_at_once_all_count() {
    let gateway = Gateway::start().await;
    let writers = (0..3).map(|i| put(&gateway, "token", format!("value {i}")));
    let answers = futures_util::future::join_all(writers).await;
    let mut versions: Vec<_> =
        answers.iter().map(|answer| answer.json()["version"].as_u64().unwrap()).collect();
    versions.sort_unstable();
    assert_eq!(versions, [1, 2, 3]);
}

#[tokio::test]
async fn without_a_key_it_is_said_what_to_set() {
    let gateway = Gateway::start_without_key().await;
    let answer = put(&gateway, "token", CANARY).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("secrets.key_file") && detail.contains("WASMILL_SECRETS_KEY_FILE"),
        "{detail}"
    );
    assert!(!detail.contains(CANARY));
    assert_eq!(gateway.get("/v1/secrets").await.json()["secrets"], json!([]));
}

#[tokio::test]
async fn a_deploy_needs_the_secrets_that_it_names() {
    let gateway = Gateway::start().await;
    let digest = gateway.upload(1).await;
    let manifest = json!({"name": "total", "secrets": {"API.TOKEN": "api-token"}});
    let deploy = json!({"digest": digest, "manifest": manifest});
    let refused = gateway.put("/v1/functions/total", &deploy).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{refused:?}");
    let problem = refused.json();
    assert_eq!(problem["errors"][0]["pointer"], "/manifest/secrets/API.TOKEN");
    assert!(
        problem["detail"].as_str().unwrap().contains("`wasmill secrets set api-token`"),
        "{problem}"
    );
    put(&gateway, "api-token", CANARY).await;
    assert_eq!(gateway.put("/v1/functions/total", &deploy).await.status, StatusCode::CREATED);
    // A value where the name belongs does not come back.
    let mistake = json!({"digest": digest, "manifest": {"name": "total", "secrets": {"A": format!("sk_{CANARY}")}}});
    let refused = gateway.put("/v1/functions/total", &mistake).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let text = String::from_utf8_lossy(&refused.bytes).into_owned();
    assert!(text.contains("/manifest/secrets/A") && !text.contains(CANARY), "{text}");
}
