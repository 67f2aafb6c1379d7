//! A permit lives as long as its work: it is held while a client that has gone has work here, and
//! free when that ends. Who waits for one holds nothing.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wasmill_broker::embedded::EmbeddedSettings;
use wasmill_gateway::GatewaySettings;

use crate::harness::{Gateway, WAIT_TIMEOUT, component, send, until};

/// One of everything, for one tenant, and nobody waits.
async fn narrow() -> Gateway {
    let settings = GatewaySettings {
        max_in_flight: 1,
        max_waiting: 1,
        max_checks: 1,
        max_deploys: 1,
        check_threads: 1,
        max_queued_checks: 0,
        ..GatewaySettings::default()
    };
    Gateway::start_with(settings, EmbeddedSettings::default()).await
}

/// Sends a request, and is gone once `begun` has ended.
async fn abandon(request: RequestBuilder, begun: impl Future<Output = ()>) {
    let client = tokio::spawn(request.send());
    begun.await;
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
}

/// Makes sure that there is no permit for `request` until `end` has ended the work of the client
/// that has gone, and that there is one then.
async fn is_held(what: &str, request: impl Fn() -> RequestBuilder, end: impl FnOnce()) {
    // The gateway has its own time to see that the client has gone.
    for _ in 0..20 {
        send(request()).await.problem(503, "overloaded");
    }
    end();
    until(what, async || send(request()).await.status.is_success().then_some(())).await;
}

fn upload(gateway: &Gateway, path: &str, media_type: &str, variant: u32) -> RequestBuilder {
    let request = gateway.request(Method::POST, path).header("content-type", media_type);
    request.body(component(variant))
}

#[tokio::test]
async fn an_upload_without_its_client_has_its_permit() {
    for (path, media_type) in
        [("/v1/artifacts", "application/wasm"), ("/v1/files", "application/octet-stream")]
    {
        let gateway = narrow().await;
        let hook = gateway.artifacts.hook();
        hook.hold(Some("put_artifact"));
        abandon(upload(&gateway, path, media_type, 1), hook.gate.is_reached()).await;
        hook.hold(None);
        let other = || upload(&gateway, path, media_type, 2);
        is_held("another is uploaded", other, || hook.gate.let_one()).await;
        // It came to its end.
        let there = upload(&gateway, path, media_type, 1);
        assert_eq!(send(there).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn an_artifact_that_is_read_without_its_client_has_its_permit() {
    let gateway = narrow().await;
    let path = format!("/v1/artifacts/{}", gateway.upload(1).await);
    let hook = gateway.artifacts.hook();
    for method in [Method::GET, Method::HEAD] {
        let request = || gateway.request(method.clone(), &path);
        hook.hold(Some("tenant_artifact"));
        abandon(request(), hook.gate.is_reached()).await;
        hook.hold(None);
        if method == Method::GET {
            is_held("it is shown", request, || hook.gate.let_one()).await;
        } else {
            // Whose answers have no document.
            for _ in 0..20 {
                assert_eq!(send(request()).await.status, 503);
            }
            hook.gate.let_one();
            until("it is found", async || (send(request()).await.status == 200).then_some(()))
                .await;
        }
    }
}

#[tokio::test]
async fn a_schema_without_its_client_has_its_permit() {
    let gateway = narrow().await;
    let put = |event_type: &str, title: &str| {
        let request = gateway.request(Method::PUT, &format!("/v1/schemas/{event_type}"));
        request.json(&json!({"title": title}))
    };
    let compiling =
        until("it is compiled", async || (gateway.compiling.reached() == 1).then_some(()));
    abandon(put("slow", "gate"), compiling).await;
    is_held("another is put", || put("other", "-"), || gateway.compiling.open(1)).await;
}

/// A batch of two events of a type.
fn batch(gateway: &Gateway, event_type: &str) -> RequestBuilder {
    let event = |id: &str| json!({"specversion": "1.0", "id": id, "source": "/s", "type": event_type, "data": {}});
    let request = gateway
        .request(Method::POST, "/v1/events")
        .header("content-type", "application/cloudevents-batch+json");
    request.body(json!([event("1"), event("2")]).to_string())
}

#[tokio::test]
async fn a_batch_that_is_checked_without_its_client_has_its_permit() {
    let gateway = narrow().await;
    gateway.compiling.open(1);
    gateway.deploy("slow", json!([{"event": "slow", "schema": {"title": "gate"}}])).await;
    gateway.deploy("quick", json!([{"event": "quick"}])).await;
    let before = gateway.compiling.reached();
    let checking =
        until("it is checked", async || (gateway.compiling.reached() > before).then_some(()));
    abandon(batch(&gateway, "slow"), checking).await;
    is_held("another is accepted", || batch(&gateway, "quick"), || gateway.compiling.open(1)).await;
    assert_eq!(gateway.waiting("slow").await, 0, "nobody was told that it is accepted");
}

#[tokio::test]
async fn a_batch_that_is_published_without_its_client_has_its_permit() {
    let gateway = narrow().await;
    for function in ["first", "second"] {
        gateway.deploy(function, json!([{"event": "both"}])).await;
    }
    let gate = &gateway.publishing.gate;
    gateway.publishing.hold(true);
    let publishing = async {
        gate.is_reached().await;
        gate.is_reached().await;
    };
    abandon(batch(&gateway, "both"), publishing).await;
    gateway.publishing.hold(false);
    let other = || batch(&gateway, "both");
    is_held("another is accepted", other, || gate.open.add_permits(2)).await;
    // What was begun came to its end, for all functions.
    for function in ["first", "second"] {
        gateway.take(function, 4).await;
    }
}

/// One execution, at every door.
#[tokio::test]
async fn an_event_that_is_published_without_its_client_has_its_permit() {
    let gateway = narrow().await;
    let triggers = json!([{"event": "one"}, {"http": "/one", "mode": "async"}]);
    gateway.deploy("one", triggers).await;
    let paths = ["/v1/events/one", "/http/default/one", "/v1/functions/one/invoke?wait=0s"];
    for path in paths {
        let gate = &gateway.publishing.gate;
        gateway.publishing.hold(true);
        let request = || gateway.request(Method::POST, path).json(&json!({}));
        abandon(request(), gate.is_reached()).await;
        gateway.publishing.hold(false);
        is_held(path, request, || gate.let_one()).await;
        gateway.take("one", 2).await;
    }
}

/// A request whose client sends the body when it is asked for it.
async fn expecting(gateway: &Gateway, request: &str, body: &str) -> TcpStream {
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "{request} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    client
}

/// A manifest may be of megabytes: there are as many of a tenant as are checked, not as many as
/// wait.
#[tokio::test]
async fn who_waits_for_a_permit_holds_no_document() {
    let settings =
        GatewaySettings { max_deploys: 1, max_queued_checks: 1, ..GatewaySettings::default() };
    let gateway = Gateway::start_with(settings, EmbeddedSettings::default()).await;
    let digest = gateway.upload(1).await;
    let deploy = |name: &str, description: &str| json!({"digest": digest, "manifest": {"name": name, "description": description}});
    gateway.put("/v1/functions/waits", &deploy("waits", "1")).await;
    gateway.put("/v1/functions/waits", &deploy("waits", "2")).await;
    for (request, body) in [
        ("PUT /v1/functions/waits", deploy("waits", "3")),
        ("POST /v1/functions/waits/rollback", json!({"to": 1})),
        ("PUT /v1/schemas/waits", json!({"type": "object"})),
    ] {
        let body = Value::to_string(&body);
        let first = gateway.request(Method::PUT, "/v1/functions/slow");
        let first = tokio::spawn(send(first.json(&deploy("slow", "gate"))));
        gateway.gate.is_reached().await;
        let mut waits = expecting(&gateway, request, &body).await;
        until("nobody else may wait", async || {
            let other = gateway.put("/v1/functions/other", &deploy("other", "")).await;
            (other.status == 503).then_some(())
        })
        .await;
        let mut text = [0; 1024];
        let early = waits.try_read(&mut text);
        let is_nothing = early.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
        assert!(is_nothing, "{request}: the body is asked for early: {early:?}");
        gateway.gate.let_one();
        assert!(first.await.unwrap().status.is_success());
        let read =
            tokio::time::timeout(WAIT_TIMEOUT, waits.read(&mut text)).await.unwrap().unwrap();
        assert!(text[..read].starts_with(b"HTTP/1.1 100"), "{request}");
        waits.write_all(body.as_bytes()).await.unwrap();
        let read =
            tokio::time::timeout(WAIT_TIMEOUT, waits.read(&mut text)).await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&text[..read]);
        assert!(answer.starts_with("HTTP/1.1 20"), "{request}: {answer}");
    }
}

/// A client that never sends its manifest keeps a permit for no longer than a body may take.
#[tokio::test]
async fn a_document_that_does_not_come_gives_its_permit_back() {
    let server = wasmill_http::ServerSettings {
        body_timeout: Duration::from_millis(100),
        ..wasmill_http::ServerSettings::default()
    };
    let settings = GatewaySettings {
        max_deploys: 1,
        max_queued_checks: 0,
        server,
        ..GatewaySettings::default()
    };
    let gateway = Gateway::start_with(settings, EmbeddedSettings::default()).await;
    let mut silent = expecting(&gateway, "PUT /v1/functions/never", "{}").await;
    let mut text = [0; 1024];
    let read = tokio::time::timeout(WAIT_TIMEOUT, silent.read(&mut text)).await.unwrap().unwrap();
    assert!(text[..read].starts_with(b"HTTP/1.1 100"));
    until("another is deployed", async || {
        let digest = gateway.upload(1).await;
        let document = json!({"digest": digest, "manifest": {"name": "other"}});
        gateway.put("/v1/functions/other", &document).await.status.is_success().then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_operation_without_its_client_has_its_permit() {
    let gateway = narrow().await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    let event = || gateway.request(Method::POST, "/v1/events/order.created").json(&json!(1));
    let id = send(event()).await.executions().remove(0);
    let hook = gateway.artifacts.hook();
    hook.hold(Some("transition_execution"));
    let cancel = gateway.request(Method::POST, &format!("/v1/executions/{id}/cancel"));
    abandon(cancel, hook.gate.is_reached()).await;
    is_held("the operation has ended", event, || {
        hook.hold(None);
        hook.gate.let_one();
    })
    .await;
}
