//! Guests for which the host is to hold more and more: each ends as out of memory, however little
//! it has of its own.

use wasmill_domain::{Outcome, TenantName};

use super::guests::{ERROR_CODE, OK, component};
use super::{dispatch, engine, event, invoke, manifest, prepare};
use crate::Attempt;

/// Fields with one value of 100,000 bytes, in a local.
macro_rules! full_fields {
    ($after:literal) => {
        concat!(
            "(local $of i32) (local $request i32) (local.set $of (call $fields)) \
             (call $append (local.get $of) (i32.const 16) (i32.const 8) (i32.const 65536) (i32.const 100000) (i32.const 8)) ",
            $after
        )
    };
}

/// A command that calls `$fill` so often. What it imports of WASI is there, and three pages of
/// memory, the first with a name at 16 and the rest full of letters.
fn filling(times: u32, fill: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
  (import "wasi:http/types@0.2.0" (instance $http
    (export "fields" (type $fields (sub resource)))
    (export "outgoing-request" (type $request (sub resource)))
    (export "outgoing-body" (type $body (sub resource)))
    (export "outgoing-response" (type $response (sub resource)))
    {ERROR_CODE}
    (type $error (variant (case "invalid-syntax") (case "forbidden") (case "immutable")))
    (export "header-error" (type $error' (eq $error)))
    (type $method (variant (case "get") (case "head") (case "post") (case "put") (case "delete") (case "connect")
      (case "options") (case "trace") (case "patch") (case "other" string)))
    (export "method" (type $method' (eq $method)))
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[method]fields.append" (func (param "self" (borrow $fields)) (param "name" string)
      (param "value" (list u8)) (result (result (error $error')))))
    (export "[constructor]outgoing-request" (func (param "headers" (own $fields)) (result (own $request))))
    (export "[constructor]outgoing-response" (func (param "headers" (own $fields)) (result (own $response))))
    (export "[static]outgoing-body.finish" (func (param "this" (own $body)) (param "trailers" (option (own $fields)))
      (result (result (error $error-code')))))
    (export "[method]outgoing-request.set-method" (func (param "self" (borrow $request))
      (param "method" $method') (result (result))))
    (export "[method]outgoing-request.body" (func (param "self" (borrow $request)) (result (result (own $body)))))))
  (core module $memory
    (memory (export "memory") 9)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
  (core instance $memory (instantiate $memory))
  (alias core export $memory "memory" (core memory $memory))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $response (canon lower (func $http "[constructor]outgoing-response")))
  (core func $finish (canon lower (func $http "[static]outgoing-body.finish") (memory $memory) (realloc $realloc)))
  (core func $fields (canon lower (func $http "[constructor]fields")))
  (core func $append (canon lower (func $http "[method]fields.append") (memory $memory)))
  (core func $request (canon lower (func $http "[constructor]outgoing-request")))
  (core func $method (canon lower (func $http "[method]outgoing-request.set-method") (memory $memory)))
  (core func $body (canon lower (func $http "[method]outgoing-request.body") (memory $memory)))
  (core module $main
    (import "" "body" (func $body (param i32 i32)))
    (import "" "memory" (memory 9))
    (import "" "response" (func $response (param i32) (result i32)))
    (import "" "finish" (func $finish (param i32 i32 i32 i32)))
    (import "" "fields" (func $fields (result i32)))
    (import "" "append" (func $append (param i32 i32 i32 i32 i32 i32)))
    (import "" "request" (func $request (param i32) (result i32)))
    (import "" "method" (func $method (param i32 i32 i32 i32) (result i32)))
    (data (i32.const 16) "x-filler")
    (func $fill {fill})
    (func (export "run") (result i32)
      (local $left i32)
      (memory.fill (i32.const 65536) (i32.const 97) (i32.const 524288))
      (local.set $left (i32.const {times}))
      (loop $again
        (call $fill)
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if $again (local.get $left)))
      (i32.const 0)))
  (core instance $main (instantiate $main (with "" (instance
    (export "memory" (memory $memory)) (export "fields" (func $fields)) (export "append" (func $append))
    (export "request" (func $request)) (export "method" (func $method))
    (export "response" (func $response)) (export "finish" (func $finish))
    (export "body" (func $body))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli))
)"#
    );
    wat::parse_str(text).unwrap()
}

/// Fields with one value of 100,000 bytes.
const FIELDS: &str = "(call $append (call $fields) (i32.const 16) (i32.const 8) (i32.const 65536) (i32.const 100000) (i32.const 0))";

/// A request with a method of 500,000 letters.
const METHOD: &str = "(drop (call $method (call $request (call $fields)) (i32.const 9) (i32.const 65536) (i32.const 500000)))";

/// A request with a body, of which nothing is written.
const BODY: &str = "(call $body (call $request (call $fields)) (i32.const 0))";

/// A response with such fields.
const RESPONSE: &str = full_fields!("(drop (call $response (local.get $of)))");

/// A request whose body has ended, with such fields as trailers.
const TRAILERS: &str = full_fields!(
    "(local.set $request (call $request (call $fields))) \
     (call $body (local.get $request) (i32.const 0)) \
     (call $finish (i32.load (i32.const 4)) (i32.const 1) (local.get $of) (i32.const 32768))"
);

async fn run(component: &[u8], sections: &str) -> Attempt {
    let engine = engine();
    let prepared = prepare(&engine, component).await;
    invoke(&engine, &prepared, &manifest(sections), dispatch(event("test.event", "{}"))).await
}

fn within_the_limit(attempt: &Attempt) -> String {
    let message = attempt.report.message.clone().unwrap_or_default();
    assert_eq!(attempt.report.outcome, Outcome::OutOfMemory, "{message}");
    assert!(message.contains("the limit is 16MiB (limits.memory)"), "{message}");
    // What one call may add is found out when it has.
    let peak = attempt.report.peak_memory;
    assert!((15 << 20..19 << 20).contains(&peak), "{peak}");
    message
}

#[tokio::test]
async fn header_fields_count_as_memory() {
    let attempt = run(&filling(900, FIELDS), "[limits]\nmemory = '16MiB'").await;
    let message = within_the_limit(&attempt);
    assert!(
        message.contains("of it header fields of HTTP, beside 576KiB of its own memory"),
        "{message}"
    );
}

#[tokio::test]
async fn the_texts_of_requests_count_as_memory() {
    let attempt = run(&filling(900, METHOD), "[limits]\nmemory = '16MiB'").await;
    let message = within_the_limit(&attempt);
    assert!(message.contains("resources, 0B of it header fields"), "{message}");
}

#[tokio::test]
async fn the_heads_of_responses_count_as_memory() {
    let attempt = run(&filling(900, RESPONSE), "[limits]\nmemory = '16MiB'").await;
    let message = within_the_limit(&attempt);
    assert!(
        message.contains("of it header fields of HTTP") && !message.contains(" 0B of it"),
        "{message}"
    );
}

/// They wait with their body, where nobody sees how large they are.
#[tokio::test]
async fn trailers_count_as_what_they_may_take() {
    let attempt = run(&filling(500, TRAILERS), "[limits]\nmemory = '16MiB'").await;
    let message = within_the_limit(&attempt);
    let resources = resources(&message);
    assert!((15..40).contains(&resources), "{message}");
}

fn resources(message: &str) -> usize {
    message.split(" in ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn bodies_count_as_what_they_may_come_to_hold() {
    let attempt = run(&filling(500, BODY), "[limits]\nmemory = '16MiB'").await;
    let message = within_the_limit(&attempt);
    assert!(message.contains("for it in"), "{message}");
    // A body counts as 128 KiB, and with its request once more, with trailers: there are not many.
    let resources = resources(&message);
    assert!((25..50).contains(&resources), "{message}");
}

#[tokio::test]
async fn what_is_held_within_the_limit_is_in_the_peak() {
    let attempt = run(&filling(20, FIELDS), "[limits]\nmemory = '16MiB'").await;
    assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report.message);
    let peak = attempt.report.peak_memory;
    assert!((2 << 20..4 << 20).contains(&peak), "{peak}");
}

/// What has limits of its own is not the guest's memory, and is promised all the same.
#[tokio::test]
async fn room_is_made_for_results_and_logs() {
    let engine = engine();
    let prepared = prepare(&engine, &component(OK)).await;
    let all = engine.free_memory();
    for (sections, least, most) in [
        ("[limits]\nmemory = '64MiB'", 64 + 7, 64 + 10),
        ("[limits]\nmemory = '64MiB'\noutput_bytes = '32MiB'", 64 + 96, 64 + 102),
        ("[limits]\nmemory = '64MiB'\nlog_bytes = '16MiB'", 64 + 128, 64 + 140),
    ] {
        let instance =
            engine.instance(&TenantName::default(), &prepared, &manifest(sections), None).await;
        let taken = all - engine.free_memory();
        assert!((least..=most).contains(&taken), "{sections}: {taken}");
        drop(instance);
        assert_eq!(engine.free_memory(), all);
    }
}
