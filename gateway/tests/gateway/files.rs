//! Files of functions: uploaded by content, named by deploys.

use reqwest::Method;
use serde_json::{Value, json};
use wasmill_broker::embedded::EmbeddedSettings;
use wasmill_domain::Digest;
use wasmill_gateway::GatewaySettings;
use wasmill_store::{Quotas, TenantQuota};

use crate::harness::{Answer, Gateway, send};

fn digest(content: &str) -> Digest {
    Digest::of(content.as_bytes())
}

fn file(path: &str, content: &str) -> Value {
    json!({"path": path, "digest": digest(content), "size": content.len()})
}

async fn upload(gateway: &Gateway, content: &'static str) -> Answer {
    gateway.post_as("/v1/files", "application/octet-stream", content).await
}

async fn deploy(gateway: &Gateway, files: Value) -> Answer {
    let artifact = gateway.upload(1).await;
    let deploy = json!({"digest": artifact, "manifest": {"name": "f", "files": files}});
    gateway.put("/v1/functions/f", &deploy).await
}

#[tokio::test]
async fn a_file_is_kept_by_its_content() {
    let gateway = Gateway::start().await;
    let ask = async |digests: Value| {
        gateway.post("/v1/files/missing", &json!({"digests": digests})).await
    };
    let [one, two] = ["one", "two"].map(digest);
    assert_eq!(ask(json!([one, two, one])).await.json()["missing"].as_array().unwrap().len(), 2);
    let answer = upload(&gateway, "one").await;
    assert_eq!((answer.status.as_u16(), answer.json()), (201, json!({"digest": one, "size": 3})));
    assert_eq!(upload(&gateway, "one").await.status, 200);
    // Nothing at all is a file as well.
    assert_eq!(upload(&gateway, "").await.json()["size"], 0);
    assert_eq!(ask(json!([two, one])).await.json(), json!({"missing": [two]}));
    gateway.post_as("/v1/files", "text/plain", "x").await.problem(415, "unsupported-media-type");
    ask(json!(["x"])).await.problem(400, "bad-request");
    ask(json!(vec![one; 1025])).await.problem(400, "bad-request");
    // It is not told of as an artifact that could run.
    gateway.get(&format!("/v1/artifacts/{one}")).await.problem(422, "invalid-component");
    // Whether it is there is told without a look at what it is.
    let answer = send(gateway.request(Method::HEAD, &format!("/v1/artifacts/{one}"))).await;
    assert_eq!(
        (answer.status.as_u16(), answer.headers.get("content-length")),
        (200, None),
        "{answer:?}"
    );
    assert_eq!(answer.headers["content-type"], "application/json");
}

#[tokio::test]
async fn a_deploy_names_files_that_are_there() {
    let gateway = Gateway::start().await;
    upload(&gateway, "one").await;
    let problem = deploy(&gateway, json!([file("a", "one"), file("b", "two")]))
        .await
        .problem(422, "unprocessable");
    assert!(
        problem["detail"].as_str().unwrap().contains("'b'")
            && problem["detail"].to_string().contains("/v1/files"),
        "{problem}"
    );
    let mut wrong = file("a", "one");
    wrong["size"] = json!(4);
    for (files, pointer) in [
        (json!([wrong]), "/manifest/files/0/size"),
        (json!([file("a", "one"), file("a", "one")]), "/manifest/files"),
        (json!([file("../a", "one")]), "/manifest"),
        (json!(["data/**"]), "/manifest/files/0"),
    ] {
        let problem = deploy(&gateway, files.clone()).await.problem(422, "invalid-manifest");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let files = json!([file("a", "one"), file("b/c", "one")]);
    let answer = deploy(&gateway, files.clone()).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["version"]), (201, &json!(1)), "{answer:?}");
    assert_eq!(deploy(&gateway, files.clone()).await.status, 200);
    assert_eq!(gateway.get("/v1/functions/f").await.json()["manifest"]["files"], files);

    upload(&gateway, "two").await;
    assert_eq!(deploy(&gateway, json!([file("a", "two")])).await.json()["version"], 2);
    // The same code, and the files that it had.
    let back = send(gateway.request(Method::POST, "/v1/functions/f/rollback")).await;
    assert_eq!(back.json()["version"], 1);
    assert_eq!(gateway.get("/v1/functions/f").await.json()["manifest"]["files"], files);
}

#[tokio::test]
async fn files_are_bounded() {
    let settings = GatewaySettings {
        max_files: 2,
        max_files_bytes: 5,
        max_artifact_bytes: 1000,
        ..GatewaySettings::default()
    };
    let gateway = Gateway::start_with(settings, EmbeddedSettings::default()).await;
    for content in ["one", "two", "a"] {
        upload(&gateway, content).await;
    }
    let long = gateway.post_as("/v1/files", "application/octet-stream", vec![0; 1001]).await;
    assert!(
        long.problem(413, "too-large")["detail"]
            .as_str()
            .unwrap()
            .contains("gateway.max_artifact_bytes")
    );
    for (files, word) in [
        (
            json!([file("a", "a"), file("b", "a"), file("c", "a")]),
            "at most 2 here (gateway.max_files)",
        ),
        (json!([file("a", "one"), file("b", "two")]), "at most 5B here (gateway.max_files_bytes)"),
    ] {
        let problem = deploy(&gateway, files).await.problem(422, "invalid-manifest");
        assert!(problem.to_string().contains(word), "{problem}");
    }
    assert_eq!(deploy(&gateway, json!([file("a", "one"), file("b", "a")])).await.status, 201);
}

#[tokio::test]
async fn files_count_as_artifacts() {
    let default = TenantQuota { artifacts: 2, artifact_bytes: 1 << 20, ..TenantQuota::default() };
    let gateway = Gateway::start_with_quotas(Quotas { default, ..Quotas::default() }).await;
    for content in ["one", "two"] {
        assert_eq!(upload(&gateway, content).await.status, 201);
    }
    upload(&gateway, "three").await.problem(409, "quota-exceeded");
}
