//! A guest that sends HTTP requests through wasi:http, as every toolchain's code does in the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use wasmill_component::Preflight as _;
use wasmill_domain::{Digest, LogLevel, LogSource, Outcome, TenantName};

use super::guests::{ERROR_CODE, MODULE, types};
use super::{dispatch, event, invoke, manifest, prepare};
use crate::{Attempt, Capabilities, Engine, EngineSettings, OutgoingSettings};

/// A component around `handle`, a core function's text. It may call `$send` (a scheme, 0 for http;
/// where the host's name is, and its length), which returns a future response, and `$wait` (a
/// future response), which returns where the outcome is: 0, or 1 for an error, and 8 bytes further
/// the response's handle, or the error's case.
fn component(handle: &str) -> Vec<u8> {
    let (types, wasi) = (types("0.1.0"), WASI.replace("{error_code}", ERROR_CODE));
    let text = format!(
        r#"(component
  {types}
  {wasi}
  (core module $shim
    (type $authority (func (param i32 i32 i32 i32) (result i32)))
    (type $scheme (func (param i32 i32 i32 i32 i32) (result i32)))
    (type $handle (func (param i32 i32 i32 i32)))
    (type $get (func (param i32 i32)))
    (table (export "table") 5 funcref)
    (func (export "authority") (param i32 i32 i32 i32) (result i32)
      (call_indirect (type $authority) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (i32.const 0)))
    (func (export "scheme") (param i32 i32 i32 i32 i32) (result i32)
      (call_indirect (type $scheme)
        (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (i32.const 1)))
    (func (export "handle") (param i32 i32 i32 i32)
      (call_indirect (type $handle) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (i32.const 2)))
    (func (export "get") (param i32 i32) (call_indirect (type $get) (local.get 0) (local.get 1) (i32.const 3)))
    (func (export "path") (param i32 i32 i32 i32) (result i32)
      (call_indirect (type $authority) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (i32.const 4))))
  (core module $fill
    (import "" "table" (table 5 funcref))
    (import "" "authority" (func $authority (param i32 i32 i32 i32) (result i32)))
    (import "" "scheme" (func $scheme (param i32 i32 i32 i32 i32) (result i32)))
    (import "" "handle" (func $handle (param i32 i32 i32 i32)))
    (import "" "get" (func $get (param i32 i32)))
    (import "" "path" (func $path (param i32 i32 i32 i32) (result i32)))
    (elem (i32.const 0) func $authority $scheme $handle $get $path))
  (core module $main
    (import "" "authority" (func $set-authority (param i32 i32 i32 i32) (result i32)))
    (import "" "scheme" (func $set-scheme (param i32 i32 i32 i32 i32) (result i32)))
    (import "" "handle" (func $handle-request (param i32 i32 i32 i32)))
    (import "" "get" (func $get (param i32 i32)))
    (import "" "path" (func $set-path (param i32 i32 i32 i32) (result i32)))
    (import "wasi" "fields" (func $fields (result i32)))
    (import "wasi" "request" (func $request (param i32) (result i32)))
    (import "wasi" "subscribe" (func $subscribe (param i32) (result i32)))
    (import "wasi" "block" (func $block (param i32)))
    (import "wasi" "status" (func $status (param i32) (result i32)))
    {MODULE}
    (data (i32.const 1016) "/")
    (func $send (param $scheme i32) (param $host i32) (param $length i32) (result i32)
      (local $request i32)
      (local.set $request (call $request (call $fields)))
      (drop (call $set-scheme (local.get $request) (i32.const 1) (local.get $scheme) (i32.const 0) (i32.const 0)))
      (drop (call $set-authority (local.get $request) (i32.const 1) (local.get $host) (local.get $length)))
      (drop (call $set-path (local.get $request) (i32.const 1) (i32.const 1016) (i32.const 1)))
      (call $handle-request (local.get $request) (i32.const 0) (i32.const 0) (i32.const 256))
      (if (i32.load8_u (i32.const 256)) (then unreachable))
      (i32.load (i32.const 264)))
    (func $wait (param $response i32) (result i32)
      (call $block (call $subscribe (local.get $response)))
      (call $get (local.get $response) (i32.const 512))
      (i32.const 528))
    {handle}
    (export "handle" (func $handle)))
  (core instance $shim (instantiate $shim))
  (core instance $main (instantiate $main (with "" (instance $shim)) (with "wasi" (instance
    (export "fields" (func $fields)) (export "request" (func $request)) (export "subscribe" (func $subscribe))
    (export "block" (func $block)) (export "status" (func $status))))))
  (core func $authority (canon lower (func $authority-func) (memory (core memory $main "memory"))))
  (core func $scheme (canon lower (func $scheme-func) (memory (core memory $main "memory"))))
  (core func $handle-request (canon lower (func $handle-func) (memory (core memory $main "memory")) (realloc (core func $main "realloc"))))
  (core func $path (canon lower (func $path-func) (memory (core memory $main "memory"))))
  (core func $get (canon lower (func $get-func) (memory (core memory $main "memory")) (realloc (core func $main "realloc"))))
  (core instance (instantiate $fill (with "" (instance
    (export "table" (table $shim "table")) (export "authority" (func $authority)) (export "scheme" (func $scheme))
    (export "handle" (func $handle-request)) (export "get" (func $get)) (export "path" (func $path))))))
  (alias export $types "event" (type $event))
  (alias export $types "output" (type $output))
  (alias export $types "failure" (type $failure))
  (func $handle (param "event" $event) (result (result $output (error $failure)))
    (canon lift (core func $main "handle") (memory (core memory $main "memory")) (realloc (core func $main "realloc"))))
  (instance $handler (export "handle" (func $handle)))
  (export "wasmill:function/handler@0.1.0" (instance $handler))
)"#
    );
    wat::parse_str(text).unwrap()
}

/// What of WASI the guest imports, and what it needs of that.
const WASI: &str = r#"
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:http/types@0.2.0" (instance $http
    (alias outer 1 $pollable (type $outer-pollable))
    (export "pollable" (type $pollable (eq $outer-pollable)))
    (export "fields" (type $fields (sub resource)))
    (export "outgoing-request" (type $outgoing-request (sub resource)))
    (export "request-options" (type $request-options (sub resource)))
    (export "incoming-response" (type $incoming-response (sub resource)))
    (export "future-incoming-response" (type $future-incoming-response (sub resource)))
    (type $scheme (variant (case "HTTP") (case "HTTPS") (case "other" string)))
    (export "scheme" (type $scheme' (eq $scheme)))
    {error_code}
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[constructor]outgoing-request" (func (param "headers" (own $fields)) (result (own $outgoing-request))))
    (export "[method]outgoing-request.set-scheme" (func
      (param "self" (borrow $outgoing-request)) (param "scheme" (option $scheme')) (result (result))))
    (export "[method]outgoing-request.set-authority" (func
      (param "self" (borrow $outgoing-request)) (param "authority" (option string)) (result (result))))
    (export "[method]outgoing-request.set-path-with-query" (func
      (param "self" (borrow $outgoing-request)) (param "path-with-query" (option string)) (result (result))))
    (export "[method]future-incoming-response.subscribe" (func
      (param "self" (borrow $future-incoming-response)) (result (own $pollable))))
    (export "[method]future-incoming-response.get" (func
      (param "self" (borrow $future-incoming-response))
      (result (option (result (result (own $incoming-response) (error $error-code')))))))
    (export "[method]incoming-response.status" (func (param "self" (borrow $incoming-response)) (result u16)))))
  (alias export $http "outgoing-request" (type $outgoing-request))
  (alias export $http "request-options" (type $request-options))
  (alias export $http "future-incoming-response" (type $future-incoming-response))
  (alias export $http "error-code" (type $error-code))
  (import "wasi:http/outgoing-handler@0.2.0" (instance $outgoing
    (alias outer 1 $outgoing-request (type $outer-request))
    (export "outgoing-request" (type $request (eq $outer-request)))
    (alias outer 1 $request-options (type $outer-options))
    (export "request-options" (type $options (eq $outer-options)))
    (alias outer 1 $future-incoming-response (type $outer-response))
    (export "future-incoming-response" (type $response (eq $outer-response)))
    (alias outer 1 $error-code (type $outer-code))
    (export "error-code" (type $code (eq $outer-code)))
    (export "handle" (func
      (param "request" (own $request)) (param "options" (option (own $options)))
      (result (result (own $response) (error $code)))))))
  (alias export $http "[method]outgoing-request.set-authority" (func $authority-func))
  (alias export $http "[method]outgoing-request.set-scheme" (func $scheme-func))
  (alias export $http "[method]outgoing-request.set-path-with-query" (func $path-func))
  (alias export $http "[method]future-incoming-response.get" (func $get-func))
  (alias export $outgoing "handle" (func $handle-func))
  (core func $fields (canon lower (func $http "[constructor]fields")))
  (core func $request (canon lower (func $http "[constructor]outgoing-request")))
  (core func $subscribe (canon lower (func $http "[method]future-incoming-response.subscribe")))
  (core func $status (canon lower (func $http "[method]incoming-response.status")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
"#;

/// Asks a host for '/' and succeeds with the status, two bytes; `otherwise` is what it does on an
/// error.
fn asking(host: &str, otherwise: &str) -> Vec<u8> {
    let length = host.len();
    component(&format!(
        r#"(data (i32.const 1024) "{host}")
        (func $handle (param i32) (result i32)
            (local $end i32)
            (local.set $end (call $wait (call $send (i32.const 0) (i32.const 1024) (i32.const {length}))))
            (if (i32.load8_u (local.get $end)) (then {otherwise}))
            (i32.store16 (i32.const 1100) (call $status (i32.load offset=8 (local.get $end))))
            (call $ok (i32.const 1100) (i32.const 2)))"#
    ))
}

/// Succeeds with the error's case, one byte.
const TELL: &str = "(return (call $ok (i32.add (local.get $end) (i32.const 8)) (i32.const 1)))";

fn engine() -> Arc<Engine> {
    let outgoing = OutgoingSettings {
        allowed_networks: vec!["127.0.0.1/32".parse().unwrap()],
        ..OutgoingSettings::default()
    };
    Engine::new(
        EngineSettings { threads: 2, slots: 16, outgoing, ..EngineSettings::default() },
        Capabilities::default(),
    )
    .unwrap()
}

async fn run(component: &[u8], sections: &str) -> Attempt {
    let engine = engine();
    let prepared = prepare(&engine, component).await;
    invoke(&engine, &prepared, &manifest(sections), dispatch(event("test.event", "{}"))).await
}

#[tokio::test]
async fn a_guest_gets_its_response() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        String::from_utf8(head).unwrap()
    });
    let guest = asking(&address.to_string(), "unreachable");
    let attempt = run(&guest, &format!("allowed_hosts = ['http://{address}']")).await;
    assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report.message);
    assert_eq!(&*attempt.report.output.unwrap().data, 204_u16.to_le_bytes());
    let head = server.await.unwrap();
    assert!(
        head.starts_with("GET / HTTP/1.1\r\n") && head.contains(&format!("host: {address}\r\n")),
        "{head}"
    );
    assert!(head.contains(&format!("traceparent: {}\r\n", attempt.report.span)), "{head}");
}

#[tokio::test]
async fn a_guest_is_told_what_was_refused_and_lives_on() {
    const PROHIBITED: u8 = 4;
    const DENIED: u8 = 15;
    for (host, allowed, case) in [
        ("169.254.169.254", "http://169.254.169.254", PROHIBITED),
        ("[::ffff:169.254.169.254]", "http://169.254.169.254", PROHIBITED),
        ("127.0.0.2:80", "http://127.0.0.2", PROHIBITED),
        ("api.example", "http://other.example", DENIED),
    ] {
        let attempt = run(&asking(host, TELL), &format!("allowed_hosts = ['{allowed}']")).await;
        assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report.message);
        assert_eq!(&*attempt.report.output.unwrap().data, [case], "{host}");
        assert_eq!(attempt.logs.len(), 1);
        assert_eq!(
            (attempt.logs[0].level, attempt.logs[0].source),
            (LogLevel::Warn, LogSource::Host)
        );
    }
}

#[tokio::test]
async fn the_failure_says_why() {
    let guest = asking("169.254.169.254", "unreachable");
    let attempt = run(&guest, "allowed_hosts = ['http://169.254.169.254']").await;
    assert_eq!(attempt.report.outcome, Outcome::Trap);
    let message = attempt.report.message.unwrap();
    let why = "outgoing request to http://169.254.169.254/ refused: 169.254.169.254 is link-local (metadata); \
               an operator can allow its network (host.allowed_networks)";
    assert!(message.starts_with("trapped: ") && message.ends_with(why), "{message}");
    assert_eq!(attempt.logs[0].message, why);
}

#[tokio::test]
async fn what_a_guest_leaves_behind_ends_with_its_attempt() {
    for (reuse, end) in [
        (1, "(call $ok (i32.const 0) (i32.const 0))"),
        (2, "(call $ok (i32.const 0) (i32.const 0))"),
        (1, "unreachable"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let length = address.len();
        // Sends two requests, waits for one, and leaves both responses behind.
        let guest = component(&format!(
            r#"(data (i32.const 1024) "{address}")
            (func $handle (param i32) (result i32)
                (local $second i32)
                (local.set $second (call $send (i32.const 0) (i32.const 1024) (i32.const {length})))
                (drop (call $wait (call $send (i32.const 0) (i32.const 1024) (i32.const {length}))))
                {end})"#
        ));
        let server = tokio::spawn(async move {
            let (mut first, _) = listener.accept().await.unwrap();
            let (mut second, _) = listener.accept().await.unwrap();
            let mut byte = [0];
            first.read_exact(&mut byte).await.unwrap();
            second.read_exact(&mut byte).await.unwrap();
            // With bodies that do not end.
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegun";
            first.write_all(head).await.unwrap();
            second.write_all(head).await.unwrap();
            let (mut one, mut other) = (Vec::new(), Vec::new());
            // Returns where the other side closes; a reset is as good.
            let _ = tokio::join!(first.read_to_end(&mut one), second.read_to_end(&mut other));
        });
        let engine = engine();
        let prepared = prepare(&engine, &guest).await;
        let sections =
            format!("allowed_hosts = ['http://{address}']\n[instances]\nreuse = {reuse}");
        let attempt =
            invoke(&engine, &prepared, &manifest(&sections), dispatch(event("test.event", "{}")))
                .await;
        let expected = if end == "unreachable" { Outcome::Trap } else { Outcome::Success };
        assert_eq!(attempt.report.outcome, expected, "{:?}", attempt.report.message);
        assert_eq!(engine.warm_instances(), usize::from(reuse == 2));
        tokio::time::timeout(Duration::from_secs(20), server).await.unwrap().unwrap();
    }
}

/// A guest that asks for more and more, and holds every response.
#[tokio::test]
async fn the_heads_of_responses_count_as_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        let value = "v".repeat(50_000);
        let head = format!("HTTP/1.1 200 OK\r\nx-filler: {value}\r\ncontent-length: 0\r\n\r\n");
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = head.clone();
            tokio::spawn(async move {
                let mut asked = [0; 1024];
                while stream.read(&mut asked).await.is_ok_and(|read| read > 0) {
                    if stream.write_all(head.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let length = address.len();
    let guest = component(&format!(
        r#"(data (i32.const 1024) "{address}")
        (func $handle (param i32) (result i32)
            (local $left i32)
            (local.set $left (i32.const 31))
            (loop $again
                (if (i32.load8_u (call $wait (call $send (i32.const 0) (i32.const 1024) (i32.const {length}))))
                    (then unreachable))
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $again (local.get $left)))
            (call $ok (i32.const 0) (i32.const 0)))"#
    ));
    let hosts = format!("allowed_hosts = ['http://{address}']");
    let attempt = run(&guest, &format!("{hosts}\n[limits]\nmemory = '4MiB'")).await;
    let message = attempt.report.message.unwrap_or_default();
    assert_eq!(attempt.report.outcome, Outcome::OutOfMemory, "{message}");
    assert!(message.contains("the limit is 4MiB (limits.memory)"), "{message}");
    assert!(!message.contains(" 0B of it header fields"), "{message}");
    let attempt = run(&guest, &format!("{hosts}\n[limits]\nmemory = '64MiB'")).await;
    assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report.message);
    // The text of each head at least, beside what may be on its way.
    assert!(attempt.report.peak_memory > 31 * 50_000, "{}", attempt.report.peak_memory);
    server.abort();
}

#[tokio::test]
async fn a_deploy_without_the_grant_is_told_the_line() {
    let guest = asking("api.example", TELL);
    let engine = engine();
    let check = async |sections: &str| {
        let bytes = bytes::Bytes::from(guest.clone());
        engine
            .check(&TenantName::default(), Digest::of(&guest), &bytes, &manifest(sections))
            .await
            .map_err(|e| e.to_string())
    };
    let said = check("").await.unwrap_err();
    let line = r#"'wasi:http/outgoing-handler@0.2.0' is not granted: add allowed_hosts = ["https://api.example.com"] to wasmill.toml"#;
    assert_eq!(said, line);
    check("allowed_hosts = []").await.unwrap();
    // And one that was deployed before there was a key, or another way, has no network.
    let attempt = run(&guest, "").await;
    assert_eq!(&*attempt.report.output.unwrap().data, [15]);
}
