//! What functions keep, as operators see it.

use reqwest::Method;
use serde_json::{Value, json};
use wasmill_broker::embedded::EmbeddedSettings;
use wasmill_gateway::GatewaySettings;
use wasmill_store::BucketQuota;

use crate::harness::{Answer, Gateway, send};

async fn put(gateway: &Gateway, path: &str, value: impl Into<reqwest::Body>) -> Answer {
    send(gateway.request(Method::PUT, path).body(value)).await
}

#[tokio::test]
async fn a_value_is_set_seen_and_deleted() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([])).await;
    assert_eq!(gateway.get("/v1/keyvalue").await.json(), json!({ "buckets": [], "next": null }));
    let odd = "/v1/keyvalue/b/value?key=..%2F%00%C3%BC";
    gateway.get(odd).await.problem(404, "not-found");
    gateway.delete(odd).await.problem(404, "not-found");
    assert_eq!(put(&gateway, odd, vec![0, 255]).await.status, 204);
    let answer = gateway.get(odd).await;
    assert_eq!(
        (&answer.bytes[..], &answer.headers["content-type"]),
        (&[0, 255][..], &"application/octet-stream".parse().unwrap())
    );
    // A function's own bucket of the same name is another one.
    let own = "/v1/keyvalue/b/value?key=k&function=total";
    assert_eq!(put(&gateway, own, "v").await.status, 204);
    assert_eq!(gateway.get("/v1/keyvalue/b").await.json()["keys"], json!(["../\0ü"]));
    assert_eq!(
        gateway.get("/v1/keyvalue/b?function=total").await.json(),
        json!({ "keys": ["k"], "next": null })
    );
    let buckets = gateway.get("/v1/keyvalue").await.json()["buckets"].clone();
    assert_eq!(
        buckets,
        json!([
            { "name": "b", "function": null, "keys": 1, "bytes": 8 },
            { "name": "b", "function": "total", "keys": 1, "bytes": 2 },
        ])
    );
    assert_eq!(gateway.delete(odd).await.status, 204);
    gateway.get(odd).await.problem(404, "not-found");
    assert_eq!(gateway.get(own).await.bytes, "v");
}

#[tokio::test]
async fn lists_come_in_pages() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([])).await;
    for path in [
        "b/value?key=2",
        "b/value?key=1",
        "b/value?key=3",
        "a/value?key=1",
        "b/value?key=1&function=total",
    ] {
        assert_eq!(put(&gateway, &format!("/v1/keyvalue/{path}"), "v").await.status, 204);
    }
    for (path, list, expected) in [
        ("/v1/keyvalue/b?limit=2", "keys", json!(["2", "1", "3"])),
        ("/v1/keyvalue?limit=2", "buckets", json!([["a", null], ["b", null], ["b", "total"]])),
    ] {
        let first = gateway.get(path).await.json();
        let cursor = first["next"].as_str().unwrap();
        let second =
            send(gateway.request(Method::GET, path).query(&[("cursor", cursor)])).await.json();
        assert_eq!(second["next"], Value::Null);
        let seen = [&first, &second].map(|page| page[list].as_array().unwrap().clone()).concat();
        let plain = |item: Value| {
            if item.is_string() { item } else { json!([item["name"], item["function"]]) }
        };
        assert_eq!(Value::Array(seen.into_iter().map(plain).collect()), expected);
    }
}

#[tokio::test]
async fn what_is_wrong_is_told() {
    let bucket_quota = BucketQuota { value_bytes: 4, keys: 1, bytes: 100 };
    let settings = GatewaySettings { bucket_quota, ..GatewaySettings::default() };
    let gateway = Gateway::start_with(settings, EmbeddedSettings::default()).await;
    gateway.get("/v1/keyvalue/a%20b").await.problem(400, "bad-request");
    gateway.get("/v1/keyvalue/b?cursor=x").await.problem(400, "bad-request");
    gateway.get("/v1/keyvalue/b/value").await.problem(400, "bad-request");
    gateway.get("/v1/keyvalue/b/value?key=").await.problem(422, "unprocessable");
    put(&gateway, "/v1/keyvalue/b/value?key=k", "12345").await.problem(413, "too-large");
    put(&gateway, "/v1/keyvalue/b/value?key=k&function=nobody", "1")
        .await
        .problem(404, "not-found");
    assert_eq!(put(&gateway, "/v1/keyvalue/b/value?key=k", "1234").await.status, 204);
    let problem = put(&gateway, "/v1/keyvalue/b/value?key=l", "1").await.problem(409, "conflict");
    assert_eq!(problem["detail"], "bucket 'b' may have 1 keys (keyvalue.max_keys)");
}
