//! What one sender or tenant takes does not keep others out.

use std::net::Ipv4Addr;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use wasmill_broker::embedded::EmbeddedSettings;
use wasmill_broker::{QueueName, Queues as _};
use wasmill_gateway::GatewaySettings;

use crate::harness::{Answer, Gateway, client, component, send, until};

const PATH: &str = "/v1/events/order.created";

/// Where nobody has a key, so that who sends something is an address.
const ASYNC: &str = "/http/default/async";

/// Two addresses of this machine's, as if they were two machines'.
const MANY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

async fn gateway(settings: GatewaySettings) -> Gateway {
    let gateway = Gateway::start_with(settings, EmbeddedSettings::default()).await;
    let triggers = json!([
        {"event": "order.created"},
        {"http": "/async", "mode": "async"},
        {"http": "/sync"},
    ]);
    gateway.deploy("total", triggers).await;
    gateway
}

/// Begins a request from an address: its head, which announces more, and so much of its body.
async fn begin(
    gateway: &Gateway,
    from: Ipv4Addr,
    path: &str,
    key: &str,
    announced: usize,
    sent: usize,
) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(gateway.address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Type: text/plain\r\nContent-Length: {announced}\r\n\r\n{}",
        "x".repeat(sent)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

fn client_at(address: Ipv4Addr) -> Client {
    client().local_address(Some(address.into())).build().unwrap()
}

async fn post(gateway: &Gateway, http: &Client, path: &str, key: &str, bytes: usize) -> Answer {
    let request = http.post(format!("{}{path}", gateway.url)).bearer_auth(key);
    send(request.header("content-type", "text/plain").body("x".repeat(bytes))).await
}

/// Begins requests until no further one is taken, and gives them.
async fn begin_until_refused(
    gateway: &Gateway,
    from: Ipv4Addr,
    path: &str,
    key: &str,
) -> Vec<TcpStream> {
    let http = client_at(from);
    let mut begun = Vec::new();
    let refused = until("a request is refused", async || {
        begun.push(begin(gateway, from, path, key, 20_000, 10_000).await);
        let answer = post(gateway, &http, path, key, 12_000).await;
        (answer.status != StatusCode::ACCEPTED).then_some(answer)
    });
    let refused = refused.await.problem(503, "overloaded");
    assert!(refused["detail"].as_str().unwrap().contains("the same tenant"), "{refused}");
    begun
}

#[tokio::test]
async fn bodies_half_sent_keep_no_other_address_out() {
    for settings in [
        GatewaySettings { max_in_flight_bytes: Some(200_000), ..GatewaySettings::default() },
        GatewaySettings { max_in_flight: 8, ..GatewaySettings::default() },
    ] {
        let gateway = gateway(settings).await;
        let _begun = begin_until_refused(&gateway, MANY, ASYNC, "").await;
        let http = client_at(OTHER);
        for path in [PATH, ASYNC, PATH, ASYNC] {
            let answer = post(&gateway, &http, path, "", 9_000).await;
            assert_eq!(answer.status, StatusCode::ACCEPTED, "{path}: {answer:?}");
        }
    }
}

/// Nothing counts that is announced only.
#[tokio::test]
async fn what_is_announced_takes_nothing() {
    let settings =
        GatewaySettings { max_in_flight_bytes: Some(200_000), ..GatewaySettings::default() };
    let gateway = gateway(settings).await;
    let mut begun = Vec::new();
    for _ in 0..20 {
        begun.push(begin(&gateway, MANY, ASYNC, "", 45_000, 1).await);
    }
    let http = client_at(MANY);
    for _ in 0..20 {
        let answer = post(&gateway, &http, ASYNC, "", 40_000).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    }
    // What is more than it can have beside them is refused before it comes, and what is more than
    // it could ever have in a way that nobody tries again.
    post(&gateway, &http, ASYNC, "", 49_990).await.problem(503, "overloaded");
    let never = post(&gateway, &http, ASYNC, "", 50_001).await.problem(413, "too-large");
    let detail = never["detail"].as_str().unwrap();
    assert!(detail.contains("50000 bytes") && detail.contains("max_in_flight_bytes"), "{detail}");
    // Likewise where nothing is announced.
    drop(begun);
    let refused = until("nobody else has anything", async || {
        let pieces = (0..60).map(|_| Ok::<_, std::io::Error>("x".repeat(1_000)));
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
        let request = gateway.request(Method::POST, ASYNC).header("content-type", "text/plain");
        let answer = send(request.body(body)).await;
        (answer.status != 503).then_some(answer)
    });
    refused.await.problem(413, "too-large");
}

#[tokio::test]
async fn bodies_half_sent_keep_no_other_tenant_out() {
    let settings =
        GatewaySettings { max_in_flight_bytes: Some(100_000), ..GatewaySettings::default() };
    let gateway = gateway(settings).await;
    let operator = gateway.post("/v1/keys", &json!({"role": "operator"})).await;
    let operator = operator.json()["key"].as_str().unwrap().to_owned();
    let key = async |tenant: &str| {
        let request = gateway.request(Method::POST, "/v1/keys").bearer_auth(&operator);
        let made = send(request.json(&json!({"role": "tenant", "tenant": tenant}))).await;
        made.json()["key"].as_str().unwrap().to_owned()
    };
    let (many, other) = (key("default").await, key("other").await);
    let _begun = begin_until_refused(&gateway, MANY, PATH, &many).await;
    // From wherever it is sent, and whichever way.
    let http = client_at(OTHER);
    post(&gateway, &http, PATH, &many, 12_000).await.problem(503, "overloaded");
    // The other one has nobody who listens, which it is told of.
    post(&gateway, &client_at(MANY), PATH, &other, 9_000).await.problem(404, "unknown-type");
    // Nor does the tenant keep out whoever calls its own functions without a key.
    let answer = post(&gateway, &http, "/http/default/async", "", 9_000).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
}

#[tokio::test]
async fn a_tenant_whose_functions_are_slow_leaves_others_permits_to_wait() {
    let gateway = gateway(GatewaySettings { max_waiting: 2, ..GatewaySettings::default() }).await;
    gateway.deploy("slow", json!([{"http": "/slow"}])).await;
    let path = "/http/default/slow";
    let waits = tokio::spawn(send(gateway.request(Method::POST, path).body("x")));
    until("it is queued", async || (gateway.waiting("slow").await > 0).then_some(())).await;
    // Half-sent ones do not wait for a function yet.
    let begun = begin(&gateway, MANY, path, "", 100, 1).await;
    let refused = gateway.post_as(path, "text/plain", "x").await.problem(503, "overloaded");
    assert!(refused["detail"].as_str().unwrap().contains("of the tenant"), "{refused}");
    // Another tenant's wait all the same.
    let operator = gateway.post("/v1/keys", &json!({"role": "operator"})).await.json();
    let key = operator["key"].as_str().unwrap();
    deploy_for(&gateway, key, "other", "theirs", json!([])).await;
    let invoke = gateway
        .request(Method::POST, "/v1/functions/theirs/invoke?wait=1ms")
        .bearer_auth(key)
        .header("wasmill-tenant", "other")
        .json(&json!(1));
    assert_eq!(send(invoke).await.status, StatusCode::ACCEPTED);
    drop((begun, waits));
}

/// Deploys a function for another tenant, by an operator's key.
async fn deploy_for(gateway: &Gateway, key: &str, tenant: &str, name: &str, triggers: Value) {
    let of_tenant = |method: Method, path: &str| {
        gateway.request(method, path).bearer_auth(key).header("wasmill-tenant", tenant)
    };
    let upload =
        of_tenant(Method::POST, "/v1/artifacts").header("content-type", "application/wasm");
    let digest = send(upload.body(component(1))).await.json()["digest"].clone();
    let deploy = json!({"digest": digest, "manifest": {"name": name, "trigger": triggers}});
    let path = format!("/v1/functions/{name}");
    let deployed = send(of_tenant(Method::PUT, &path).json(&deploy)).await;
    assert_eq!(deployed.status, StatusCode::CREATED, "{deployed:?}");
}

/// Calls a tenant's function `slow` without a key until a call is refused or there are so many, and
/// gives those that wait.
async fn call_slow(
    gateway: &Gateway,
    from: Ipv4Addr,
    tenant: &str,
    most: usize,
) -> Vec<JoinHandle<Answer>> {
    let http = client_at(from);
    let queue = QueueName::of_function(&tenant.parse().unwrap(), &"slow".parse().unwrap());
    let ready = async || gateway.broker.depth(&queue).await.map_or(0, |depth| depth.ready);
    let mut waiting = Vec::new();
    while waiting.len() < most {
        let before = ready().await;
        let request = http.post(format!("{}/http/{tenant}/slow", gateway.url)).body("x");
        let call = tokio::spawn(send(request));
        let is_taken = until("a call is taken or refused", async || {
            if call.is_finished() {
                return Some(false);
            }
            (ready().await > before).then_some(true)
        });
        if !is_taken.await {
            call.await.unwrap().problem(503, "overloaded");
            break;
        }
        waiting.push(call);
    }
    waiting
}

/// Whoever calls slow functions of many tenants leaves permits to who calls others.
#[tokio::test]
async fn one_address_does_not_take_all_permits_to_wait() {
    let gateway = gateway(GatewaySettings { max_waiting: 16, ..GatewaySettings::default() }).await;
    let operator = gateway.post("/v1/keys", &json!({"role": "operator"})).await.json();
    let key = operator["key"].as_str().unwrap();
    for tenant in ["one", "two", "three", "four"] {
        deploy_for(&gateway, key, tenant, "slow", json!([{"http": "/slow"}])).await;
    }
    let mut many = Vec::new();
    for tenant in ["one", "two", "three"] {
        many.extend(call_slow(&gateway, MANY, tenant, usize::MAX).await);
    }
    // An address alone may have half of what all addresses may have.
    assert_eq!(many.len(), 4);
    assert_eq!(call_slow(&gateway, OTHER, "four", 2).await.len(), 2);
}

fn event(data: usize) -> Value {
    json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "order.created", "data": "x".repeat(data)})
}

/// What a request leads to is bounded in bytes as well, at each door, before any of it is made.
#[tokio::test]
async fn what_an_event_is_multiplied_to_is_bounded() {
    let settings =
        GatewaySettings { max_request_execution_bytes: 5_000, ..GatewaySettings::default() };
    let gateway = gateway(settings).await;
    let doors: [(&str, &str, String); 4] = [
        (PATH, "text/plain", "x".repeat(3_000)),
        ("/v1/events", "application/cloudevents+json", event(3_000).to_string()),
        ("/v1/events", "application/cloudevents-batch+json", json!([event(3_000)]).to_string()),
        (
            "/v1/events",
            "application/cloudevents-batch+json",
            json!([event(1_000), event(1_000)]).to_string(),
        ),
    ];
    let post =
        async |door: &(&str, &str, String)| gateway.post_as(door.0, door.1, door.2.clone()).await;
    for door in &doors {
        assert_eq!(post(door).await.status, StatusCode::ACCEPTED, "{door:?}");
    }
    // One to one function is bounded by its own length.
    let long = gateway.post_as(PATH, "text/plain", "x".repeat(9_000)).await;
    assert_eq!(long.status, StatusCode::ACCEPTED);
    gateway.take("total", 6).await;
    gateway.deploy("audit", json!([{"event": "order.created"}])).await;
    gateway.deploy("mail", json!([{"event": "order.created"}])).await;
    for door in &doors {
        let refused = post(door).await.problem(413, "too-large");
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains("gateway.max_request_execution_bytes"), "{detail}");
    }
    for function in ["total", "audit", "mail"] {
        assert_eq!(gateway.waiting(function).await, 0, "{function}");
    }
    let short = gateway.post_as(PATH, "text/plain", "x".repeat(1_000)).await;
    assert_eq!(short.executions().len(), 3);
}

/// The address is the connection's, over HTTP/2 too.
#[tokio::test]
async fn an_address_counts_over_http_2() {
    let settings =
        GatewaySettings { max_in_flight_bytes: Some(200_000), ..GatewaySettings::default() };
    let gateway = gateway(settings).await;
    let _begun = begin_until_refused(&gateway, MANY, PATH, "").await;
    let http = |address: Ipv4Addr| {
        client().http2_prior_knowledge().local_address(Some(address.into())).build().unwrap()
    };
    post(&gateway, &http(MANY), PATH, "", 12_000).await.problem(503, "overloaded");
    let answer = post(&gateway, &http(OTHER), PATH, "", 9_000).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
}
