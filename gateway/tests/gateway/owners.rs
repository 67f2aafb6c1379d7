//! Host names have owners, what the gateway answers itself cannot be taken, and keys never reach a
//! function.

use std::sync::Arc;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_broker::embedded::EmbeddedSettings;
use wasmill_domain::HostnameRules;
use wasmill_gateway::GatewaySettings;

use crate::harness::{Answer, Gateway, send, success};

const NAME: &str = "shop.example.com";

/// A gateway of `api.example.com` whose configuration gives `*.acme.example.com` to the tenant
/// `acme`.
async fn gateway() -> Gateway {
    let rules = HostnameRules {
        own: ["api.example.com".parse().unwrap()].into(),
        granted: [("*.acme.example.com".parse().unwrap(), "acme".parse().unwrap())].into(),
    };
    let settings = GatewaySettings { hostnames: Arc::new(rules), ..GatewaySettings::default() };
    Gateway::start_with(settings, EmbeddedSettings::default()).await
}

/// Operator's and tenants' keys: of `default`, `other` and `acme`.
struct Keys {
    operator: String,
    default: String,
    other: String,
    acme: String,
}

async fn keys(gateway: &Gateway) -> Keys {
    let operator = gateway.post("/v1/keys", &json!({"role": "operator"})).await;
    let operator = operator.json()["key"].as_str().unwrap().to_owned();
    let make = async |tenant: &str| {
        let request = gateway.request(Method::POST, "/v1/keys").bearer_auth(&operator);
        let made = send(request.json(&json!({"role": "tenant", "tenant": tenant}))).await;
        made.json()["key"].as_str().unwrap().to_owned()
    };
    let (default, other, acme) = (make("default").await, make("other").await, make("acme").await);
    Keys { operator, default, other, acme }
}

async fn deploy(gateway: &Gateway, key: &str, name: &str, triggers: Value) -> Answer {
    let upload =
        gateway.request(Method::POST, "/v1/artifacts").header("content-type", "application/wasm");
    let uploaded = send(upload.bearer_auth(key).body(crate::harness::component(1))).await;
    let deploy = json!({"digest": uploaded.json()["digest"], "manifest": {"name": name, "trigger": triggers}});
    send(
        gateway
            .request(Method::PUT, &format!("/v1/functions/{name}"))
            .bearer_auth(key)
            .json(&deploy),
    )
    .await
}

fn under(host: &str) -> Value {
    json!([{"http": "/{*path}", "host": host}])
}

#[tokio::test]
async fn a_tenant_has_no_host_name_by_default() {
    let gateway = gateway().await;
    let keys = keys(&gateway).await;
    let port = gateway.address.port();
    for host in [
        "localhost",
        "a.localhost",
        "127.0.0.1",
        "0.0.0.0",
        "10.1",
        "gateway",
        "api.example.com",
        NAME,
        "x.acme.example.com",
    ] {
        for key in [&keys.default, &keys.operator] {
            let refused = deploy(&gateway, key, "taker", under(host)).await;
            refused.problem(409, "conflict");
        }
        // The API is where it was.
        let request =
            gateway.request(Method::GET, "/v1/functions").header("host", format!("{host}:{port}"));
        let answer = send(request.bearer_auth(&keys.default)).await;
        assert_eq!(answer.json()["functions"], json!([]), "{host}");
        for (path, member) in [("/healthz", "version"), ("/readyz", "store")] {
            let answer = send(gateway.request(Method::GET, path).header("host", host)).await;
            assert_eq!(answer.status, StatusCode::OK, "{host}{path}");
            assert!(!answer.json()[member].is_null(), "{host}{path}: {answer:?}");
        }
    }
    // What the configuration grants.
    let live = deploy(&gateway, &keys.acme, "mine", under("x.acme.example.com")).await;
    assert_eq!(live.status, StatusCode::CREATED, "{live:?}");
}

#[tokio::test]
async fn operators_grant_host_names() {
    let gateway = gateway().await;
    let keys = keys(&gateway).await;
    let grant = async |name: &str, key: &str, tenant: &str| {
        let request = gateway.request(Method::PUT, &format!("/v1/hostnames/{name}"));
        send(request.bearer_auth(key).header("wasmill-tenant", tenant)).await
    };
    grant(NAME, &keys.default, "default").await.problem(403, "forbidden");
    for never in ["localhost", "*.localhost", "127.0.0.1", "gateway", "*.com", "api.example.com"] {
        grant(never, &keys.operator, "default").await.problem(409, "conflict");
    }
    let granted = grant(NAME, &keys.operator, "default").await;
    assert_eq!(
        (&granted.json()["tenant"], &granted.json()["changed"]),
        (&json!("default"), &json!(true))
    );
    assert_eq!(grant(NAME, &keys.operator, "default").await.json()["changed"], false);
    grant(NAME, &keys.operator, "other").await.problem(409, "conflict");
    // Everybody sees their own, an operator all.
    let listed = async |key: &str| {
        let answer =
            send(gateway.request(Method::GET, "/v1/hostnames").bearer_auth(key)).await.json();
        let names = answer["hostnames"].as_array().unwrap().iter();
        names
            .map(|name| format!("{} {}", name["hostname"].as_str().unwrap(), name["configured"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(&keys.operator).await, ["*.acme.example.com true", "shop.example.com false"]);
    assert_eq!(listed(&keys.default).await, ["shop.example.com false"]);
    assert_eq!(listed(&keys.other).await, [""; 0]);
    // The name answers for its tenant, and for no other.
    deploy(&gateway, &keys.other, "page", under(NAME)).await.problem(409, "conflict");
    assert_eq!(
        deploy(&gateway, &keys.default, "page", under(NAME)).await.status,
        StatusCode::CREATED
    );
    gateway.work("page", success).await;
    let ask = async || {
        send(gateway.request(Method::POST, "/v1/x").header("host", NAME).body("hello")).await
    };
    assert_eq!(ask().await.bytes, "hello");
    // Taken back, it is the API's again, and the function shows it.
    let revoke = async || {
        send(
            gateway
                .request(Method::DELETE, &format!("/v1/hostnames/{NAME}"))
                .bearer_auth(&keys.operator),
        )
        .await
    };
    assert_eq!(revoke().await.status, StatusCode::NO_CONTENT);
    revoke().await.problem(404, "not-found");
    ask().await.problem(404, "not-found");
    let shown =
        send(gateway.request(Method::GET, "/v1/functions/page").bearer_auth(&keys.default)).await;
    assert_eq!(shown.json()["hostnames_not_owned"], json!([NAME]));
    // The same manifest cannot be deployed again; granted again, the name needs no deploy.
    deploy(&gateway, &keys.default, "page", under(NAME)).await.problem(409, "conflict");
    assert_eq!(grant(NAME, &keys.operator, "default").await.status, StatusCode::OK);
    assert_eq!(ask().await.bytes, "hello");
}

#[tokio::test]
async fn the_api_is_not_given_away() {
    let gateway = gateway().await;
    let keys = keys(&gateway).await;
    for name in ["*.example.org", "wasmill.example.org"] {
        let request = gateway.request(Method::PUT, &format!("/v1/hostnames/{name}"));
        let request = request.header("host", "wasmill.example.org:443").bearer_auth(&keys.operator);
        let why = send(request).await.problem(409, "conflict");
        assert!(why["detail"].as_str().unwrap().contains("gateway.public_names"), "{why}");
    }
}

#[tokio::test]
async fn a_key_never_reaches_a_function() {
    let gateway = gateway().await;
    let keys = keys(&gateway).await;
    let grant =
        gateway.request(Method::PUT, &format!("/v1/hostnames/{NAME}")).bearer_auth(&keys.operator);
    assert_eq!(send(grant).await.status, StatusCode::OK);
    let component = wat::parse_str(
        r#"(component (instance $i) (export "wasi:http/incoming-handler@0.2.0" (instance $i)))"#,
    );
    let upload =
        gateway.request(Method::POST, "/v1/artifacts").header("content-type", "application/wasm");
    let uploaded = send(upload.bearer_auth(&keys.default).body(component.unwrap())).await;
    let triggers = json!([
        {"http": "/{*path}", "host": NAME, "mode": "async"}, {"http": "/{a}", "mode": "async"},
    ]);
    let deploy = json!({"digest": uploaded.json()["digest"], "manifest": {"name": "taker", "trigger": triggers}});
    let deployed = send(
        gateway
            .request(Method::PUT, "/v1/functions/taker")
            .bearer_auth(&keys.default)
            .json(&deploy),
    )
    .await;
    assert_eq!(deployed.status, StatusCode::CREATED, "{deployed:?}");
    let key = &keys.operator;
    for (host, path) in
        [(NAME, "/v1/keys"), ("127.0.0.1", "/http/default/x"), ("127.0.0.1", "/http/default/wm_")]
    {
        let request =
            gateway.request(Method::POST, &format!("{path}?key={key}")).header("host", host);
        let request = request.bearer_auth(key).header("x-api-key", key).header("x-other", "stays");
        let accepted = send(request.body("body")).await;
        let id = accepted.executions().remove(0);
        let taken = gateway.take("taker", 1).await.remove(0);
        let event = String::from_utf8(taken.event.to_json()).unwrap();
        assert!(!event.contains(key.as_str()) && event.contains("x-other: stays"), "{event}");
        assert!(!event.contains("authorization"), "{event}");
        // Nor a row.
        let shown = gateway
            .request(Method::GET, &format!("/v1/executions/{id}/event"))
            .bearer_auth(&keys.default);
        let shown = send(shown).await;
        assert!(
            shown.status.is_success()
                && !String::from_utf8_lossy(&shown.bytes).contains(key.as_str())
        );
    }
}

#[tokio::test]
async fn routes_that_overlap_are_both_live() {
    let gateway = Gateway::start().await;
    // In either order of deploying and of names.
    gateway.deploy("b-rest", json!([{"http": "/u/{*rest}"}])).await;
    gateway.deploy("c-one", json!([{"http": "/u/{id}", "methods": ["POST"]}])).await;
    gateway.deploy("a-all", json!([{"http": "/{*all}"}])).await;
    for function in ["a-all", "b-rest", "c-one"] {
        gateway.work(function, success).await;
    }
    for (path, function) in [
        ("/u/5", "c-one"),
        ("/u/5/6", "b-rest"),
        ("/u/", "b-rest"),
        ("/u", "a-all"),
        ("/", "a-all"),
    ] {
        let answer =
            send(gateway.request(Method::POST, &format!("/http/default{path}")).body(path)).await;
        assert_eq!(answer.bytes, path.as_bytes(), "{answer:?}");
        let newest =
            gateway.get(&format!("/v1/executions?function={function}&limit=1")).await.json();
        let source =
            newest["executions"][0]["event_source"].as_str().unwrap_or_default().to_owned();
        assert_eq!(source, format!("/http/default{path}"), "{newest}");
    }
    let other = gateway.request(Method::PUT, "/http/default/u/5");
    assert_eq!(send(other).await.headers["allow"], "OPTIONS, POST");
}

#[tokio::test]
async fn a_rollback_is_checked_as_a_deploy_is() {
    let gateway = Gateway::start().await;
    gateway.set_secret("hook", b"0123456789abcdef0123456789abcdef").await;
    let signed = json!({"scheme": "github", "secrets": ["hook"]});
    gateway.deploy("f", json!([{"http": "/hook", "webhook": signed}])).await;
    gateway.deploy("f", json!([{"http": "/other"}])).await;
    gateway.deploy("g", json!([{"http": "/hook"}])).await;
    let roll_back = async || send(gateway.request(Method::POST, "/v1/functions/f/rollback")).await;
    let why = roll_back().await.problem(409, "conflict");
    assert!(why["detail"].as_str().unwrap().contains("'g'"), "{why}");
    gateway.deploy("g", json!([])).await;
    assert_eq!(gateway.delete("/v1/secrets/hook").await.status, StatusCode::NO_CONTENT);
    let why = roll_back().await;
    assert_eq!(why.status, StatusCode::UNPROCESSABLE_ENTITY, "{why:?}");
    assert!(String::from_utf8_lossy(&why.bytes).contains("wasmill secrets set hook"), "{why:?}");
    gateway.set_secret("hook", b"0123456789abcdef0123456789abcdef").await;
    assert_eq!(roll_back().await.json()["version"], 1);
}
