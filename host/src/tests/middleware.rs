//! What WASI 0.3 has beside a handler and a program by themselves: middleware, and components that
//! are the same for WASI 0.2.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use wasmill_component::Preflight as _;
use wasmill_domain::http_message::{MEDIA_TYPE, RequestHead};
use wasmill_domain::{Digest, Event, EventParts, LogSource, Manifest, Outcome, TenantName};

use super::kinds::message;
use super::{dispatch, event, invoke, manifest, prepare};
use crate::{Attempt, Capabilities, Engine, EngineSettings, OutgoingSettings};

/// Passes each request on to the handler behind it, and its response back.
const MIDDLEWARE: &str = r#"(component
  (import "wasi:http/types@0.3.0" (instance $types
    (export "request" (type (sub resource)))
    (export "response" (type (sub resource)))
    (type $dns' (record (field "rcode" (option string)) (field "info-code" (option u16))))
    (export "DNS-error-payload" (type $dns (eq $dns')))
    (type $alert' (record (field "alert-id" (option u8)) (field "alert-message" (option string))))
    (export "TLS-alert-received-payload" (type $alert (eq $alert')))
    (type $field' (record (field "field-name" (option string)) (field "field-size" (option u32))))
    (export "field-size-payload" (type $field (eq $field')))
    (type $code (variant
      (case "DNS-timeout") (case "DNS-error" $dns) (case "destination-not-found")
      (case "destination-unavailable") (case "destination-IP-prohibited") (case "destination-IP-unroutable")
      (case "connection-refused") (case "connection-terminated") (case "connection-timeout")
      (case "connection-read-timeout") (case "connection-write-timeout") (case "connection-limit-reached")
      (case "TLS-protocol-error") (case "TLS-certificate-error") (case "TLS-alert-received" $alert)
      (case "HTTP-request-denied") (case "HTTP-request-length-required")
      (case "HTTP-request-body-size" (option u64)) (case "HTTP-request-method-invalid")
      (case "HTTP-request-URI-invalid") (case "HTTP-request-URI-too-long")
      (case "HTTP-request-header-section-size" (option u32)) (case "HTTP-request-header-size" (option $field))
      (case "HTTP-request-trailer-section-size" (option u32)) (case "HTTP-request-trailer-size" $field)
      (case "HTTP-response-incomplete") (case "HTTP-response-header-section-size" (option u32))
      (case "HTTP-response-header-size" $field) (case "HTTP-response-body-size" (option u64))
      (case "HTTP-response-trailer-section-size" (option u32)) (case "HTTP-response-trailer-size" $field)
      (case "HTTP-response-transfer-coding" (option string))
      (case "HTTP-response-content-coding" (option string)) (case "HTTP-response-timeout")
      (case "HTTP-upgrade-failed") (case "HTTP-protocol-error") (case "loop-detected")
      (case "configuration-error") (case "internal-error" (option string))))
    (export "error-code" (type (eq $code)))))
  (alias export $types "request" (type $request))
  (alias export $types "response" (type $response))
  (alias export $types "error-code" (type $code))
  (import "wasi:http/handler@0.3.0" (instance $next
    (alias outer 1 $request (type $request'))
    (export "request" (type $request (eq $request')))
    (alias outer 1 $response (type $response'))
    (export "response" (type $response (eq $response')))
    (alias outer 1 $code (type $code'))
    (export "error-code" (type $code (eq $code')))
    (export "handle" (func async (param "request" (own $request)) (result (result (own $response) (error $code)))))))
  (core module $memory
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
  (core instance $memory (instantiate $memory))
  (core func $next (canon lower (func $next "handle")
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core module $main
    (import "" "next" (func $next (param i32 i32)))
    (func (export "handle") (param i32) (result i32)
      (call $next (local.get 0) (i32.const 1024))
      (i32.const 1024)))
  (core instance $main (instantiate $main (with "" (instance (export "next" (func $next))))))
  (func $handle async (param "request" (own $request)) (result (result (own $response) (error $code)))
    (canon lift (core func $main "handle") (memory (core memory $memory "memory"))))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/handler@0.3.0" (instance $handler)))"#;

/// The same as a compiler makes it: see its source.
const COMPILED: &[u8] = include_bytes!("../../../functions/later-middleware/later-middleware.wasm");

/// A program that succeeds by WASI 0.2, and fails by WASI 0.3.
const BOTH: &str = r#"(component
  (core module $m (func (export "ok") (result i32) (i32.const 0)) (func (export "failed") (result i32) (i32.const 1)))
  (core instance $i (instantiate $m))
  (func $released (result (result)) (canon lift (core func $i "ok")))
  (func $later async (result (result)) (canon lift (core func $i "failed")))
  (instance $released (export "run" (func $released)))
  (instance $later (export "run" (func $later)))
  (export "wasi:cli/run@0.2.0" (instance $released))
  (export "wasi:cli/run@0.3.0" (instance $later)))"#;

fn engine(outgoing: OutgoingSettings) -> Arc<Engine> {
    let settings = EngineSettings {
        threads: 2,
        slots: 16,
        wasi_0_3: true,
        outgoing,
        ..EngineSettings::default()
    };
    Engine::new(settings, Capabilities::default()).unwrap()
}

/// A request for `authority`, as an event.
fn request_for(authority: &str) -> Event {
    request("GET", authority, "/behind?x=1", b"")
}

fn request(method: &str, authority: &str, target: &str, body: &[u8]) -> Event {
    let head = RequestHead {
        method: method.into(),
        target: target.into(),
        scheme: "http".into(),
        authority: authority.into(),
        headers: vec![("x-test".into(), "1".into())],
    };
    let parts = event("wasmill.http.request", "").into_parts();
    let data = Some(head.to_message(body));
    EventParts { datacontenttype: Some(MEDIA_TYPE.into()), data, ..parts }.check().unwrap()
}

async fn passed_on(engine: &Arc<Engine>, sections: &str, authority: &str) -> Attempt {
    let prepared = prepare(engine, &wat::parse_str(MIDDLEWARE).unwrap()).await;
    invoke(engine, &prepared, &manifest(sections), dispatch(request_for(authority))).await
}

/// Answers one request, and gives its head and what of its body is there with it.
async fn answer_one(listener: TcpListener, until: &str) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut received = Vec::new();
    while !received.ends_with(until.as_bytes()) {
        received.push(stream.read_u8().await.unwrap());
    }
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 6\r\n\r\nbehind";
    stream.write_all(answer.as_bytes()).await.unwrap();
    String::from_utf8(received).unwrap()
}

/// An engine whose guests may reach this machine.
fn engine_with_loopback() -> Arc<Engine> {
    let allowed_networks = vec!["127.0.0.0/8".parse().unwrap()];
    engine(OutgoingSettings { allowed_networks, ..OutgoingSettings::default() })
}

#[tokio::test]
async fn middleware_passes_a_request_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let serving = tokio::spawn(answer_one(listener, "\r\n\r\n"));
    let engine = engine_with_loopback();
    let attempt =
        passed_on(&engine, &format!("allowed_hosts = ['http://{authority}']"), &authority).await;
    assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report);
    assert_eq!(&attempt.report.output.as_ref().unwrap().data[..], b"behind");
    let head = serving.await.unwrap();
    assert!(head.starts_with("GET /behind?x=1 ") && head.contains("x-test: 1\r\n"), "{head}");
}

/// By a compiler's bindings: the request's body goes with it, and the response is a new one with
/// the body of the other.
#[tokio::test]
async fn compiled_middleware_passes_a_request_on() {
    let engine = engine_with_loopback();
    let prepared = prepare(&engine, COMPILED).await;
    let run = async |sections: &str, method: &str, target: &str, body: &[u8]| {
        let event = request(method, "gateway.example", target, body);
        invoke(&engine, &prepared, &manifest(sections), dispatch(event)).await
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let serving = tokio::spawn(answer_one(listener, "the end"));
    let grant = format!("allowed_hosts = ['http://{authority}']");
    let target = format!("/any/to/{authority}/behind?x=1");
    let attempt = run(&grant, "POST", &target, b"a body, and the end").await;
    assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report);
    assert_eq!(&attempt.report.output.as_ref().unwrap().data[..], b"behind");
    let received = serving.await.unwrap();
    assert!(
        received.starts_with("POST /behind?x=1 ")
            && received.contains(&format!("host: {authority}\r\n"))
            && received.contains("x-test: 1\r\n")
            && received.ends_with("a body, and the end"),
        "{received}"
    );

    // What it may not reach it is told as an error of the handler behind it, and so is its caller.
    let refused = run("allowed_hosts = []", "GET", &target, b"").await;
    assert_eq!(refused.report.outcome, Outcome::Error, "{:?}", refused.report);
    assert!(
        message(&refused).contains("HttpRequestDenied") && message(&refused).contains(&authority),
        "{}",
        message(&refused)
    );
    let nowhere = run(&grant, "GET", "/elsewhere", b"").await;
    assert_eq!(nowhere.report.outcome, Outcome::Rejected, "{:?}", nowhere.report);
}

/// The manifest's hosts, the addresses that nobody may reach and the number of requests hold for it
/// as for any other request.
#[tokio::test]
async fn what_middleware_may_reach_is_the_same() {
    let engine = engine(OutgoingSettings::default());
    let meta = "allowed_hosts = ['http://169.254.169.254']";
    for (sections, authority, words) in [
        (meta, "169.254.169.254", "DestinationIpProhibited"),
        (meta, "example.com", "HttpRequestDenied"),
        ("allowed_hosts = ['http://127.0.0.1']", "127.0.0.1", "DestinationIpProhibited"),
        ("allowed_hosts = []", "127.0.0.1", "HttpRequestDenied"),
    ] {
        let attempt = passed_on(&engine, sections, authority).await;
        assert_eq!(
            attempt.report.outcome,
            Outcome::Error,
            "{sections} {authority}: {:?}",
            attempt.report
        );
        assert!(message(&attempt).contains(words), "{sections} {authority}: {}", message(&attempt));
        assert_eq!(attempt.logs[0].source, LogSource::Host);
    }
    let bytes = Bytes::from(wat::parse_str(MIDDLEWARE).unwrap());
    let manifest = Manifest::from_toml("name = 'x'").unwrap();
    let refused = engine.check(&TenantName::default(), Digest::of(&bytes), &bytes, &manifest).await;
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("'wasi:http/handler@0.3.0' is not granted: add allowed_hosts = ["),
        "{refused}"
    );
}

#[tokio::test]
async fn one_for_both_is_run_by_wasi3() {
    let engine = engine(OutgoingSettings::default());
    let prepared = prepare(&engine, &wat::parse_str(BOTH).unwrap()).await;
    let attempt = invoke(&engine, &prepared, &manifest(""), dispatch(event("a", "{}"))).await;
    assert_eq!(
        (attempt.report.outcome, message(&attempt)),
        (Outcome::Error, "exited with status 1")
    );
}

/// Its functions are asynchronous, which is off with WASI 0.3; without them it is run by WASI 0.2.
#[tokio::test]
async fn one_for_both_is_run_by_wasi2_where_wasi3_is_off() {
    let settings = EngineSettings { threads: 2, slots: 16, ..EngineSettings::default() };
    let engine = Engine::new(settings, Capabilities::default()).unwrap();
    let check = async |text: &str| {
        let bytes = Bytes::from(wat::parse_str(text).unwrap());
        let manifest = Manifest::from_toml("name = 'x'").unwrap();
        engine.check(&TenantName::default(), Digest::of(&bytes), &bytes, &manifest).await.map(drop)
    };
    let refused = check(BOTH).await.unwrap_err().to_string();
    assert!(
        refused.contains("WASI 0.3 ('wasi:cli/run@0.3.0')") && refused.contains("WASI 0.2 alone"),
        "{refused}"
    );
    let plain = BOTH.replace(" async ", " ");
    check(&plain).await.unwrap();
    let prepared = prepare(&engine, &wat::parse_str(&plain).unwrap()).await;
    let attempt = invoke(&engine, &prepared, &manifest(""), dispatch(event("a", "{}"))).await;
    assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report);
}
