//! Who may do what.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use wasmill_broker::embedded::EmbeddedSettings;
use wasmill_domain::{ApiKey, Digest, KeyDefinition, KeyRole, TenantName, Timestamp};
use wasmill_gateway::GatewaySettings;

use crate::harness::{Answer, Gateway, send};

/// Makes a key with another one, or the first.
async fn create(gateway: &Gateway, with: Option<&str>, body: Value) -> Answer {
    let request = gateway.request(Method::POST, "/v1/keys").json(&body);
    send(match with {
        Some(key) => request.bearer_auth(key),
        None => request,
    })
    .await
}

fn text(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.headers["cache-control"], "no-store");
    answer.json()["key"].as_str().unwrap().to_owned()
}

async fn status(request: RequestBuilder, key: &str) -> u16 {
    send(request.bearer_auth(key)).await.status.as_u16()
}

#[tokio::test]
async fn from_the_first_key_on_every_request_needs_one() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    create(&gateway, None, json!({"role": "tenant", "tenant": "acme"}))
        .await
        .problem(409, "conflict");
    assert_eq!(gateway.get("/v1/functions").await.status, 200);

    let operator =
        text(&create(&gateway, None, json!({"role": "operator", "label": "mine"})).await);
    assert!(operator.starts_with("wm_"));
    gateway.get("/v1/functions").await.problem(401, "unauthenticated");
    let get = |path: &str| gateway.request(Method::GET, path);
    for wrong in ["Basic d206d20=", "Bearer", "Bearer wm_x", "wm_x", "Bearer \u{e9}"] {
        send(get("/v1/functions").header("authorization", wrong))
            .await
            .problem(401, "unauthenticated");
    }
    assert_eq!(status(get("/v1/functions"), &operator).await, 200);
    assert_eq!(
        send(get("/v1/functions").header("authorization", format!("bearer {operator}")))
            .await
            .status,
        200
    );
    // It is not shown again, and not kept.
    let listed = send(get("/v1/keys").bearer_auth(&operator)).await.json();
    assert_eq!(
        (&listed["keys"][0]["label"], &listed["keys"][0]["role"]),
        (&json!("mine"), &json!("operator"))
    );
    assert!(!listed.to_string().contains("wm_"));
}

#[tokio::test]
async fn a_tenant_sees_its_own_only() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    let execution =
        gateway.post("/v1/events/order.created", &json!(1)).await.executions().remove(0);
    let operator = text(&create(&gateway, None, json!({"role": "operator"})).await);
    let tenant =
        text(&create(&gateway, Some(&operator), json!({"role": "tenant", "tenant": "acme"})).await);

    let get = |path: &str| gateway.request(Method::GET, path);
    let path = format!("/v1/executions/{execution}");
    for path in
        [path.clone(), format!("{path}/logs"), format!("{path}/event"), format!("{path}/result")]
    {
        send(get(&path).bearer_auth(&tenant)).await.problem(404, "not-found");
    }
    assert_eq!(
        send(get("/v1/executions").bearer_auth(&tenant)).await.json()["executions"],
        json!([])
    );
    assert_eq!(
        send(get("/v1/functions").bearer_auth(&tenant)).await.json()["functions"],
        json!([])
    );
    send(get("/v1/functions/total").bearer_auth(&tenant)).await.problem(404, "not-found");
    let event = gateway.request(Method::POST, "/v1/events/order.created").json(&json!(1));
    send(event.bearer_auth(&tenant)).await.problem(404, "unknown-type");
    assert_eq!(status(get(&path), &operator).await, 200);

    // A tenant's key may not name another tenant; an operator's may name any.
    let named = |request: RequestBuilder, name: &str| request.header("wasmill-tenant", name);
    send(named(get("/v1/functions"), "default").bearer_auth(&tenant))
        .await
        .problem(403, "forbidden");
    assert_eq!(status(named(get("/v1/functions"), "acme"), &tenant).await, 200);
    let deploy = json!({"digest": send(gateway.request(Method::POST, "/v1/artifacts").bearer_auth(&tenant)
        .header("content-type", "application/wasm").body(crate::harness::component(1))).await.json()["digest"],
        "manifest": {"name": "theirs"}});
    let put = gateway.request(Method::PUT, "/v1/functions/theirs").json(&deploy);
    assert_eq!(status(named(put, "acme"), &operator).await, 201);
    assert_eq!(status(get("/v1/functions/theirs"), &tenant).await, 200);
    assert_eq!(status(get("/v1/functions/theirs"), &operator).await, 404);
    send(named(get("/v1/functions"), "No Tenant").bearer_auth(&operator))
        .await
        .problem(400, "bad-request");
}

#[tokio::test]
async fn keys_are_for_operators() {
    let gateway = Gateway::start().await;
    let operator = text(&create(&gateway, None, json!({"role": "operator"})).await);
    let made = create(&gateway, Some(&operator), json!({"role": "tenant", "tenant": "acme"})).await;
    let tenant = text(&made);
    create(&gateway, Some(&tenant), json!({"role": "tenant"})).await.problem(403, "forbidden");
    send(gateway.request(Method::GET, "/v1/keys").bearer_auth(&tenant))
        .await
        .problem(403, "forbidden");
    let delete =
        |id: &Value| gateway.request(Method::DELETE, &format!("/v1/keys/{}", id.as_str().unwrap()));
    send(delete(&made.json()["id"]).bearer_auth(&tenant)).await.problem(403, "forbidden");

    let keys =
        send(gateway.request(Method::GET, "/v1/keys?limit=1").bearer_auth(&operator)).await.json();
    assert_eq!(keys["keys"][0]["role"], "operator");
    let next = format!("/v1/keys?cursor={}", keys["next"].as_str().unwrap());
    let rest = send(gateway.request(Method::GET, &next).bearer_auth(&operator)).await.json();
    assert_eq!((&rest["keys"][0]["tenant"], &rest["next"]), (&json!("acme"), &Value::Null));

    // The last operator key stays while others exist.
    send(delete(&keys["keys"][0]["id"]).bearer_auth(&operator)).await.problem(409, "conflict");
    assert_eq!(status(delete(&made.json()["id"]), &operator).await, 204);
    send(gateway.request(Method::GET, "/v1/functions").bearer_auth(&tenant))
        .await
        .problem(401, "unauthenticated");
    send(delete(&made.json()["id"]).bearer_auth(&operator)).await.problem(404, "not-found");

    for (body, place) in [
        (json!({"role": "king"}), "king"),
        (json!({"role": "tenant", "tenant": "A B"}), "A B"),
        (json!({"role": "tenant", "lable": "x"}), "lable"),
        (json!({"role": "tenant", "label": "x".repeat(201)}), "label"),
    ] {
        let problem = create(&gateway, Some(&operator), body).await.problem(400, "bad-request");
        assert!(problem["detail"].as_str().unwrap().contains(place), "{problem}");
    }
}

#[tokio::test]
async fn a_key_may_be_required_while_none_exists() {
    let settings = GatewaySettings { require_key: true, ..GatewaySettings::default() };
    let gateway = Gateway::start_with(settings, EmbeddedSettings::default()).await;
    create(&gateway, None, json!({"role": "operator"})).await.problem(401, "unauthenticated");
    assert_eq!(gateway.get("/healthz").await.status, 200);
}

/// Every operation of the API but the few that are open to all.
#[tokio::test]
async fn nothing_below_v1_is_open() {
    let gateway = Gateway::start().await;
    text(&create(&gateway, None, json!({"role": "operator"})).await);
    let description = gateway.get("/openapi.json").await.json();
    let mut closed = 0;
    for (path, item) in description["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            // Parameters that their extractors take, so that nothing else is complained about
            // first.
            let path = path
                .replace("{id}", "019ab000-0000-7000-8000-000000000000")
                .replace("{name}", "not-found");
            let path = path
                .replace("{type}", "a.b")
                .replace("{digest}", &format!("sha256:{}", "0".repeat(64)));
            let method: Method = method.to_uppercase().parse().unwrap();
            let answer = send(gateway.request(method, &path).json(&json!({}))).await;
            if path.starts_with("/v1/") {
                answer.problem(401, "unauthenticated");
                closed += 1;
            } else {
                assert_eq!(answer.status, 200, "{path}");
            }
        }
    }
    assert!(closed >= 20, "{closed}");
}

#[tokio::test]
async fn without_keys_only_this_machine_is_served() {
    let gateway = Gateway::start().await;
    let get = || gateway.request(Method::GET, "/v1/functions");
    assert_eq!(send(get().header("host", "localhost:1")).await.status, 200);
    // DNS rebinding: the page's own name points here.
    let problem = send(get().header("host", "evil.example:7070")).await.problem(403, "cross-site");
    assert!(problem["detail"].as_str().unwrap().contains("evil.example"), "{problem}");
    // A form or a script of another site.
    let event = || gateway.request(Method::POST, "/v1/events/a").body("{}");
    send(event().header("origin", "https://evil.example")).await.problem(403, "cross-site");
    send(event().header("sec-fetch-site", "cross-site")).await.problem(403, "cross-site");
    // A page of this machine.
    send(event().header("origin", "http://localhost:3000")).await.problem(404, "unknown-type");
    // There is one tenant only.
    send(get().header("wasmill-tenant", "acme")).await.problem(403, "forbidden");
    assert_eq!(send(get().header("wasmill-tenant", "default")).await.status, 200);

    // A key is what another site does not have.
    let key = text(&create(&gateway, None, json!({"role": "operator"})).await);
    assert_eq!(status(get().header("host", "wasmill.example"), &key).await, 200);
}

#[tokio::test]
async fn an_artifact_of_another_tenant_does_not_exist() {
    let gateway = Gateway::start().await;
    let operator = text(&create(&gateway, None, json!({"role": "operator"})).await);
    let key_of = async |tenant: &str| {
        text(&create(&gateway, Some(&operator), json!({"role": "tenant", "tenant": tenant})).await)
    };
    let (acme, evil) = (key_of("acme").await, key_of("evil").await);
    let upload = async |key: &str, variant: u32| {
        let request = gateway
            .request(Method::POST, "/v1/artifacts")
            .header("content-type", "application/wasm");
        send(request.body(crate::harness::component(variant)).bearer_auth(key)).await
    };
    let reported = async |key: &str, digest: &str| {
        let path = format!("/v1/artifacts/{digest}");
        let shown = send(gateway.request(Method::GET, &path).bearer_auth(key)).await;
        let asked = status(gateway.request(Method::HEAD, &path), key).await;
        let deploy = json!({"digest": digest, "manifest": {"name": "theirs"}});
        let deployed = send(
            gateway.request(Method::PUT, "/v1/functions/theirs").json(&deploy).bearer_auth(key),
        )
        .await;
        let says = |answer: &Answer| {
            (answer.status, String::from_utf8_lossy(&answer.bytes).replace(digest, "DIGEST"))
        };
        (says(&shown), asked, says(&deployed))
    };
    let uploaded = upload(&acme, 1).await;
    assert_eq!(uploaded.status, 201);
    let digest = uploaded.json()["digest"].as_str().unwrap().to_owned();
    let unknown = Digest::of(b"nobody has it").to_string();
    assert_eq!(reported(&evil, &digest).await, reported(&evil, &unknown).await);
    assert_eq!(reported(&evil, &digest).await.1, 404);
    // Uploading tells nothing either.
    let (known, new) = (upload(&evil, 1).await, upload(&evil, 2).await);
    assert_eq!((known.status, new.status), (uploaded.status, uploaded.status));
    assert_eq!(known.json(), uploaded.json());
    assert_eq!(reported(&evil, &digest).await.2.0, 201);
    assert_eq!(upload(&evil, 1).await.status, 200, "one's own is known");
}

/// A process deploys to itself by a key that is nowhere but in it.
#[tokio::test]
async fn a_process_has_a_key_of_its_own() {
    let key = ApiKey::generate().unwrap();
    let own_key = KeyDefinition {
        id: uuid::Uuid::now_v7(),
        tenant: TenantName::default(),
        role: KeyRole::Operator,
        label: String::new(),
        hash: ApiKey::hash_of(key.reveal()),
        created_at: Timestamp::now(),
    };
    let settings = GatewaySettings { own_key: Some(own_key), ..GatewaySettings::default() };
    let gateway = Gateway::start_with(settings, EmbeddedSettings::default()).await;
    let get = || gateway.request(Method::GET, "/v1/keys");
    assert_eq!(send(get()).await.status, 200);
    let operator = text(&create(&gateway, None, json!({"role": "operator"})).await);
    send(get()).await.problem(401, "unauthenticated");
    assert_eq!(status(get(), key.reveal()).await, 200);
    let listed = send(get().bearer_auth(&operator)).await.json();
    assert_eq!(listed["keys"].as_array().unwrap().len(), 1, "{listed}");
    let other = ApiKey::generate().unwrap();
    send(get().bearer_auth(other.reveal())).await.problem(401, "unauthenticated");
}
