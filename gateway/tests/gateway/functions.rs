//! Deploy, show, roll back, delete.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wasmill_broker::embedded::EmbeddedSettings;
use wasmill_domain::Digest;
use wasmill_gateway::GatewaySettings;
use wasmill_store::{Quotas, TenantQuota};

use crate::harness::{Answer, Gateway, WAIT_TIMEOUT, component, send, until};

async fn deploy(gateway: &Gateway, name: &str, variant: u32, manifest: Value) -> Answer {
    let digest = gateway.upload(variant).await;
    gateway
        .put(&format!("/v1/functions/{name}"), &json!({"digest": digest, "manifest": manifest}))
        .await
}

#[tokio::test]
async fn an_artifact_is_kept_by_its_digest() {
    let gateway = Gateway::start().await;
    let bytes = component(1);
    let digest = Digest::of(&bytes);
    let path = format!("/v1/artifacts/{digest}");
    gateway.get(&path).await.problem(404, "not-found");
    assert_eq!(send(gateway.request(Method::HEAD, &path)).await.status, 404);

    let answer = gateway.post_as("/v1/artifacts", "application/wasm", bytes.clone()).await;
    assert_eq!(answer.status, 201);
    let document = answer.json();
    assert_eq!(
        (&document["digest"], &document["kinds"]),
        (&json!(digest.to_string()), &json!(["event"]))
    );
    assert_eq!(document["size"], bytes.len());
    assert_eq!(document["exports"], json!(["wasmill:function/handler@0.1.0"]));
    assert_eq!(gateway.post_as("/v1/artifacts", "application/wasm", bytes).await.status, 200);
    assert_eq!(gateway.get(&path).await.json(), document);
    assert_eq!(send(gateway.request(Method::HEAD, &path)).await.status, 200);

    let problem = gateway
        .post_as("/v1/artifacts", "application/wasm", "not wasm")
        .await
        .problem(422, "invalid-component");
    assert!(problem["detail"].as_str().unwrap().contains("not a WebAssembly file"), "{problem}");
    gateway
        .post_as("/v1/artifacts", "text/plain", "x")
        .await
        .problem(415, "unsupported-media-type");
    gateway.get("/v1/artifacts/sha256:12").await.problem(400, "bad-request");
}

#[tokio::test]
async fn a_deploy_is_live_when_it_is_answered() {
    let gateway = Gateway::start().await;
    let manifest = json!({"name": "total", "description": "adds up", "trigger": [{"event": "order.created", "schema": true}]});
    let answer = deploy(&gateway, "total", 1, manifest.clone()).await;
    assert_eq!(answer.status, 201);
    assert_eq!((&answer.json()["version"], &answer.json()["changed"]), (&json!(1), &json!(true)));
    assert_eq!(gateway.post("/v1/events/order.created", &json!(1)).await.status, 202);

    let again = deploy(&gateway, "total", 1, manifest.clone()).await;
    assert_eq!((again.status.as_u16(), &again.json()["version"]), (200, &json!(1)));
    let mut renewed = manifest.clone();
    renewed["trigger"] = json!([{"event": "order.*"}]);
    assert_eq!(deploy(&gateway, "total", 1, renewed).await.json()["version"], 2);
    assert_eq!(gateway.post("/v1/events/order.paid", &json!(1)).await.status, 202);

    let shown = gateway.get("/v1/functions/total").await.json();
    assert_eq!((&shown["version"], &shown["description"]), (&json!(2), &json!("adds up")));
    assert_eq!(shown["triggers"], json!([{"event": "order.*", "checked": false}]));
    assert_eq!(shown["manifest"]["limits"]["timeout"], "30s");
    assert_eq!(shown["queue"], json!({"ready": 2, "unacked": 0}));
    assert_eq!(shown["versions"].as_array().unwrap().len(), 2);
    assert_eq!(shown["versions"][0]["current"], true);
    gateway.get("/v1/functions/none").await.problem(404, "not-found");
    gateway.get("/v1/functions/none/versions").await.problem(404, "not-found");
}

#[tokio::test]
async fn only_commands_have_arguments() {
    let gateway = Gateway::start().await;
    let said = |problem: Value| problem["errors"][0].to_string();
    for manifest in [
        json!({"name": "a", "args": ["-"]}),
        json!({"name": "a", "kind": "http", "args": ["-"]}),
        json!({"name": "a", "kind": "command", "args": ["a\0"]}),
        json!({"name": "a", "kind": "command", "args": vec!["a"; 65]}),
    ] {
        let problem =
            deploy(&gateway, "a", 1, manifest.clone()).await.problem(422, "invalid-manifest");
        assert!(said(problem.clone()).contains("/manifest/args"), "{manifest}: {problem}");
    }
}

#[tokio::test]
async fn lists_come_in_pages() {
    let gateway = Gateway::start().await;
    for name in ["b", "a", "c"] {
        deploy(&gateway, name, 1, json!({"name": name})).await;
    }
    let names = |page: &Value| {
        let functions = page["functions"].as_array().unwrap().iter();
        functions.map(|f| f["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = gateway.get("/v1/functions?limit=2").await.json();
    assert_eq!((names(&first), &first["next"]), (vec!["a".into(), "b".into()], &json!("b")));
    let last = gateway.get("/v1/functions?limit=2&cursor=b").await.json();
    assert_eq!((names(&last), &last["next"]), (vec!["c".into()], &Value::Null));
    for bad in ["limit=0", "limit=501", "limit=x", "cursor=A", "unknown=1"] {
        gateway.get(&format!("/v1/functions?{bad}")).await.problem(400, "bad-request");
    }

    for variant in 2..=4 {
        deploy(&gateway, "a", variant, json!({"name": "a"})).await;
    }
    let first = gateway.get("/v1/functions/a/versions?limit=3").await.json();
    let versions: Vec<_> =
        first["versions"].as_array().unwrap().iter().map(|v| v["version"].clone()).collect();
    assert_eq!((versions, &first["next"]), (vec![json!(4), json!(3), json!(2)], &json!(2)));
    let last = gateway.get("/v1/functions/a/versions?cursor=2").await.json();
    assert_eq!(
        (&last["versions"][0]["version"], &last["versions"][0]["manifest"]["name"]),
        (&json!(1), &json!("a"))
    );
}

#[tokio::test]
async fn a_rollback_is_a_pointer() {
    let gateway = Gateway::start().await;
    for (variant, event) in [(1, "v.one"), (2, "v.two"), (3, "v.three")] {
        deploy(&gateway, "total", variant, json!({"name": "total", "trigger": [{"event": event}]}))
            .await;
    }
    let rollback = "/v1/functions/total/rollback";
    let answer = send(gateway.request(Method::POST, rollback)).await;
    assert_eq!(
        (&answer.json()["version"], &answer.json()["changed"]),
        (&json!(2), &json!(true)),
        "{answer:?}"
    );
    assert_eq!(answer.json()["digest"], Digest::of(&component(2)).to_string());
    assert_eq!(gateway.post("/v1/events/v.two", &json!(1)).await.status, 202);
    gateway.post("/v1/events/v.three", &json!(1)).await.problem(404, "unknown-type");
    assert_eq!(gateway.post(rollback, &json!({"to": 3})).await.json()["version"], 3);
    assert_eq!(gateway.post(rollback, &json!({"to": 1})).await.json()["version"], 1);
    assert_eq!(gateway.post(rollback, &json!({"to": 1})).await.json()["changed"], false);
    gateway.post(rollback, &json!({"to": 9})).await.problem(404, "not-found");
    gateway.post(rollback, &json!({"too": 1})).await.problem(400, "bad-request");
    gateway.post("/v1/functions/none/rollback", &json!({})).await.problem(404, "not-found");
    // There is nothing before the first.
    gateway.post(rollback, &json!({})).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_deleted_function_leaves_what_it_was_sent() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    let id = gateway.post("/v1/events/order.created", &json!(1)).await.executions().remove(0);
    gateway.execution_until(&id, |_| true).await;
    assert_eq!(gateway.delete("/v1/functions/total").await.status, 204);
    gateway.delete("/v1/functions/total").await.problem(404, "not-found");
    gateway.post("/v1/events/order.created", &json!(1)).await.problem(404, "unknown-type");
    assert_eq!(gateway.get("/v1/functions").await.json()["functions"], json!([]));
    assert_eq!(gateway.get(&format!("/v1/executions/{id}")).await.status, 200);
    assert_eq!(gateway.waiting("total").await, 1);
}

#[tokio::test]
async fn a_bad_deploy_says_what_is_wrong_and_where() {
    let gateway = Gateway::start().await;
    deploy(&gateway, "total", 1, json!({"name": "total"})).await;
    for (manifest, kind, pointer, said) in [
        (json!({"name": "other"}), "invalid-manifest", "/manifest/name", "the path says 'total'"),
        (
            json!({"name": "total", "trigers": []}),
            "invalid-manifest",
            "/manifest",
            "did you mean 'trigger'?",
        ),
        (
            json!({"name": "total", "limits": {"timeout": "16m"}}),
            "invalid-manifest",
            "/manifest/limits/timeout",
            "1ms to 15m",
        ),
        (
            json!({"name": "total", "trigger": [{"event": "a"}, {"event": "b", "schema": {"properties": {"x": {"type": "nmber"}}}}]}),
            "invalid-schema",
            "/manifest/trigger/1/schema/properties/x/type",
            "trigger[1].schema",
        ),
        (
            json!({"name": "total", "trigger": [{"event": "a", "schema": {"$ref": "https://example.com/x"}}]}),
            "invalid-schema",
            "/manifest/trigger/0/schema",
            "never fetched",
        ),
        (
            json!({"name": "total", "description": "memory"}),
            "invalid-manifest",
            "/manifest/limits/memory",
            "starts with more",
        ),
    ] {
        let problem = deploy(&gateway, "total", 1, manifest).await.problem(422, kind);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
    }
    let problem =
        deploy(&gateway, "total", 1, json!({"name": "total", "description": "mismatch"})).await;
    let problem = problem.problem(422, "invalid-component");
    assert!(
        problem["detail"].as_str().unwrap().contains("'handle' is not a function of an event"),
        "{problem}"
    );
    let problem =
        deploy(&gateway, "total", 1, json!({"name": "total", "description": "away"})).await;
    assert!(!problem.problem(503, "unavailable").to_string().contains("secret"));

    // A fault of the server's own is not told, but can be found.
    let problem =
        deploy(&gateway, "total", 1, json!({"name": "total", "description": "panic"})).await;
    let problem = problem.problem(500, "internal");
    assert!(
        problem["instance"].as_str().unwrap().starts_with("urn:uuid:")
            && !problem.to_string().contains("secret")
    );

    let unknown = json!({"digest": Digest::of(b"").to_string(), "manifest": {"name": "total"}});
    let problem = gateway.put("/v1/functions/total", &unknown).await.problem(422, "unprocessable");
    assert!(problem["detail"].as_str().unwrap().contains("POST /v1/artifacts"), "{problem}");
    gateway.put("/v1/functions/total", &json!({"manifest": {}})).await.problem(400, "bad-request");
    gateway.put("/v1/functions/Total", &unknown).await.problem(400, "bad-request");
    // The version that was there is there still.
    assert_eq!(gateway.get("/v1/functions/total").await.json()["version"], 1);
}

#[tokio::test]
async fn what_cannot_run_is_not_deployed() {
    let gateway = Gateway::start().await;
    let upload = async |text: &str| {
        let answer = gateway
            .post_as("/v1/artifacts", "application/wasm", wat::parse_str(text).unwrap())
            .await;
        answer.json()["digest"].as_str().unwrap().to_owned()
    };
    let import = r#"(component (import "acme:shop/cart" (instance)) (instance $i) (export "wasmill:function/handler@0.1.0" (instance $i)))"#;
    let module = gateway
        .post_as("/v1/artifacts", "application/wasm", wat::parse_str("(module)").unwrap())
        .await;
    let problem = module.problem(422, "invalid-component");
    assert!(problem["detail"].as_str().unwrap().contains("core module"), "{problem}");
    for (text, said) in [(import, "acme:shop/cart")] {
        let deploy = json!({"digest": upload(text).await, "manifest": {"name": "total"}});
        let problem =
            gateway.put("/v1/functions/total", &deploy).await.problem(422, "invalid-component");
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
    }
}

/// Deploys race; each gets its own version, and the last one is live.
#[tokio::test]
async fn deploys_at_the_same_time() {
    let gateway = Arc::new(Gateway::start().await);
    let tasks: Vec<_> = (1..=8)
        .map(|variant| {
            let gateway = Arc::clone(&gateway);
            tokio::spawn(async move {
                deploy(&gateway, "total", variant, json!({"name": "total"})).await.json()["version"]
                    .as_u64()
            })
        })
        .collect();
    let mut versions = Vec::new();
    for task in tasks {
        versions.push(task.await.unwrap().unwrap());
    }
    versions.sort_unstable();
    assert_eq!(versions, (1..=8).collect::<Vec<_>>());
    assert_eq!(gateway.get("/v1/functions/total").await.json()["version"], 8);
}

#[tokio::test]
async fn quotas_are_named() {
    let quota =
        TenantQuota { artifacts: 2, functions: 1, schemas: 1, keys: 2, ..TenantQuota::default() };
    let gateway = Gateway::start_with_quotas(Quotas { default: quota, ..Quotas::default() }).await;
    let exceeded = |answer: &Answer, quota: &str, advice: &str| {
        let problem = answer.problem(409, "quota-exceeded");
        assert_eq!(problem["quota"], quota, "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains(&format!("(quota '{quota}')")) && detail.contains(advice),
            "{detail}"
        );
    };
    assert_eq!(deploy(&gateway, "one", 1, json!({"name": "one"})).await.status, 201);
    exceeded(
        &deploy(&gateway, "two", 1, json!({"name": "two"})).await,
        "functions",
        "delete a function",
    );
    assert_eq!(deploy(&gateway, "one", 2, json!({"name": "one"})).await.status, 201);
    let third = gateway.post_as("/v1/artifacts", "application/wasm", component(3)).await;
    exceeded(&third, "artifacts", "delete functions");
    assert_eq!(gateway.put("/v1/schemas/a.b", &json!(true)).await.status, 200);
    exceeded(&gateway.put("/v1/schemas/a.c", &json!(true)).await, "schemas", "delete the schema");
    assert_eq!(gateway.put("/v1/schemas/a.b", &json!({})).await.status, 200);
    let explained = gateway.get("/problems/quota-exceeded").await.json();
    assert_eq!(explained["status"], 409);
    let make = |key: Option<&str>| {
        let request = gateway
            .request(Method::POST, "/v1/keys")
            .json(&json!({"role": "operator", "label": "a key"}));
        send(key.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth))
    };
    let first = make(None).await.json()["key"].as_str().unwrap().to_owned();
    assert_eq!(make(Some(&first)).await.status, 201);
    exceeded(&make(Some(&first)).await, "keys", "delete a key");
}

/// What a client or a proxy does not wait for goes on, so that whoever asks again finds it done.
#[tokio::test]
async fn a_check_outlasts_its_client() {
    let gateway = Gateway::start().await;
    let digest = gateway.upload(1).await;
    let document =
        json!({"digest": digest, "manifest": {"name": "total", "description": "gate"}}).to_string();
    let request = format!(
        "PUT /v1/functions/total HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n\
         {document}",
        document.len()
    );
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    gateway.gate.reached.acquire().await.unwrap().forget();
    client.shutdown().await.unwrap();
    // The gateway closes its end once it has let go of the request, and without an answer.
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(WAIT_TIMEOUT, client.read_to_end(&mut answer)).await;
    closed.expect("the request outlasts its client").unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), "");
    gateway.gate.open.add_permits(1);
    until("the check goes on", async || (gateway.gate.open.available_permits() == 0).then_some(()))
        .await;
}

/// Nor is what goes on without a client without a bound.
#[tokio::test]
async fn abandoned_checks_are_counted() {
    let settings =
        GatewaySettings { max_deploys: 2, max_queued_checks: 0, ..GatewaySettings::default() };
    let gateway = Gateway::start_with(settings, EmbeddedSettings::default()).await;
    let digest = gateway.upload(1).await;
    let put = |name: &str, description: &str| {
        let document =
            json!({"digest": digest, "manifest": {"name": name, "description": description}});
        gateway.request(Method::PUT, &format!("/v1/functions/{name}")).json(&document)
    };
    for _ in 0..2 {
        let client = tokio::spawn(put("total", "gate").send());
        gateway.gate.reached.acquire().await.unwrap().forget();
        client.abort();
        assert!(client.await.unwrap_err().is_cancelled());
    }
    let refused = send(put("other", "")).await.problem(503, "overloaded");
    assert!(refused["detail"].as_str().unwrap().contains("whose clients have gone"), "{refused}");
    let rollback = gateway.post("/v1/functions/total/rollback", &json!({})).await;
    rollback.problem(503, "overloaded");
    gateway.gate.open.add_permits(2);
    until("there is room again", async || {
        (send(put("other", "")).await.status == 201).then_some(())
    })
    .await;
}

/// A function that another release deployed breaks itself only, visibly.
#[tokio::test]
async fn an_unreadable_function_is_shown_as_that() {
    let gateway = Gateway::start().await;
    deploy(&gateway, "total", 1, json!({"name": "total"})).await;
    deploy(&gateway, "later", 1, json!({"name": "later"})).await;
    gateway.store.spoil_function(&"later".parse().unwrap()).await.unwrap();
    // Another change makes this gateway read all of them.
    deploy(&gateway, "total", 2, json!({"name": "total"})).await;
    let page = gateway.get("/v1/functions").await.json();
    assert_eq!(
        (&page["functions"][0]["name"], &page["functions"][1]),
        (&json!("total"), &json!(null)),
        "{page}"
    );
    assert_eq!(page["unreadable"][0]["name"], "later", "{page}");
    let why = page["unreadable"][0]["why"].as_str().unwrap();
    assert!(why.contains("manifest") && why.contains("of_a_later_release"), "{why}");
    let shown = gateway.get("/v1/functions/later").await.problem(422, "unprocessable");
    assert!(shown["detail"].as_str().unwrap().contains(why), "{shown}");
    let invoked =
        gateway.post("/v1/functions/later/invoke", &json!({})).await.problem(422, "unprocessable");
    assert!(invoked["detail"].as_str().unwrap().contains(why), "{invoked}");
    let versions = gateway.get("/v1/functions/later/versions").await.json();
    let version = &versions["versions"][0];
    assert_eq!(
        (&version["manifest"], version["unreadable"].as_str()),
        (&json!(null), Some(why)),
        "{versions}"
    );
    assert_eq!(deploy(&gateway, "later", 2, json!({"name": "later"})).await.status, 201);
    assert!(gateway.get("/v1/functions").await.json()["unreadable"].is_null());
    assert_eq!(gateway.get("/v1/functions/later").await.status, 200);
    gateway.post("/v1/functions/later/rollback", &json!({})).await.problem(422, "unprocessable");
    assert_eq!(gateway.delete("/v1/functions/later").await.status, 204);
}
