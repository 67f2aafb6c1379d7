//! HTTP handlers, commands and core modules, each run on events.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use wasmill_component::Preflight as _;
use wasmill_domain::http_message::{MEDIA_TYPE, RequestHead};
use wasmill_domain::{Digest, Event, EventParts, Outcome, TenantName};

use super::{dispatch, engine, event, invoke, manifest, prepare};
use crate::{Attempt, Engine};

const WEB_ECHO: &[u8] = include_bytes!("../../../functions/web-echo/web-echo.wasm");
const WORD_COUNT: &[u8] = include_bytes!("../../../functions/word-count/word-count.wasm");

async fn run(engine: &Arc<Engine>, component: &[u8], sections: &str, event: Event) -> Attempt {
    let prepared = prepare(engine, component).await;
    invoke(engine, &prepared, &manifest(sections), dispatch(event)).await
}

fn text_event(text: &str) -> Event {
    let parts = event("text.written", text).into_parts();
    let parts = EventParts {
        datacontenttype: Some("text/plain".into()),
        subject: Some("a text".into()),
        ..parts
    };
    parts.check().unwrap()
}

pub(super) fn request(target: &str) -> Event {
    let head = RequestHead {
        method: "GET".into(),
        target: target.into(),
        scheme: "http".into(),
        authority: "example.com".into(),
        headers: vec![("x-test".into(), "1".into())],
    };
    request_of(head.to_message(b""))
}

fn request_of(message: Bytes) -> Event {
    let parts = event("wasmill.http.request", "").into_parts();
    EventParts { datacontenttype: Some(MEDIA_TYPE.into()), data: Some(message), ..parts }
        .check()
        .unwrap()
}

fn output(attempt: &Attempt) -> (&str, Value) {
    let output =
        attempt.report.output.as_ref().unwrap_or_else(|| panic!("no output: {:?}", attempt.report));
    let data = serde_json::from_slice(&output.data)
        .unwrap_or_else(|_| json!(String::from_utf8_lossy(&output.data)));
    (&output.content_type, data)
}

pub(super) fn message(attempt: &Attempt) -> &str {
    attempt.report.message.as_deref().unwrap_or_default()
}

#[tokio::test]
async fn a_command_reads_the_event_and_writes_its_result() {
    let engine = engine();
    let attempt = run(&engine, WORD_COUNT, "", text_event("one two\nthree\n")).await;
    assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report);
    let expected = json!({"subject": "a text", "lines": 2, "words": 3, "characters": 14});
    assert_eq!(output(&attempt), ("application/json", expected));
    assert!(attempt.report.fuel_used > 0 && attempt.report.peak_memory > 0);
}

#[tokio::test]
async fn a_command_s_exit_status_is_the_outcome() {
    let engine = engine();
    // A component says only that it failed.
    let failed = run(&engine, WORD_COUNT, "", text_event(" ")).await;
    assert_eq!(failed.report.outcome, Outcome::Error);
    assert_eq!(
        message(&failed),
        "exited with status 1; standard error says: there are no words to count"
    );
    assert_eq!(failed.logs.len(), 1);
    for (code, outcome) in [(0, Outcome::Success), (1, Outcome::Error), (7, Outcome::Error)] {
        let attempt = run(
            &engine,
            &program(&format!("(call $exit (i32.const {code}))")),
            "",
            event("a", "{}"),
        )
        .await;
        assert_eq!(attempt.report.outcome, outcome, "{code}: {:?}", attempt.report);
        assert!(outcome == Outcome::Success || message(&attempt) == "exited with status 1");
    }
}

/// What is given works as its interface says; what is denied gives the guest an error, and it goes
/// on.
#[tokio::test]
async fn every_part_of_wasi_works_or_is_denied_by_an_error() {
    const WASI_CHECKS: &[u8] = include_bytes!("../../../functions/wasi-checks/wasi-checks.wasm");
    let attempt =
        run(&engine(), WASI_CHECKS, "[env]\nGREETING = 'Hello'", text_event("0123456789")).await;
    assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report);
    let (_, said) = output(&attempt);
    let said: Vec<&str> = said.as_str().unwrap().lines().collect();
    let wrong: Vec<_> = said.iter().filter(|line| !line.ends_with(": ok")).collect();
    // A line for each part, and the one that standard output is tried with.
    assert!(wrong.is_empty() && said.len() == 20, "{wrong:?} of {}", said.len());
    let lines: Vec<&str> =
        attempt.logs.iter().map(|line| line.message.trim_matches('\0')).collect();
    // Who asks for a socket is told that there is none.
    let (refused, printed): (Vec<&str>, Vec<&str>) =
        lines.into_iter().partition(|line| line.contains("was refused"));
    assert_eq!(printed, ["by the standard library", "below it", ""]);
    let asked: Vec<&str> = refused
        .iter()
        .filter_map(|line| line.split(" was refused: functions have no sockets").next())
        .collect();
    assert_eq!(asked, ["a TCP socket", "a UDP socket", "the lookup of 'localhost'"]);
}

/// A core module for WASI preview 1, as compilers make them, whose `_start` does this.
fn program(start: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
            (memory (export "memory") 2)
            (func $copy (result i32)
                (i32.store (i32.const 0) (i32.const 1024))
                (i32.store (i32.const 4) (i32.const 4096))
                (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
                (i32.store (i32.const 4) (i32.load (i32.const 8)))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
                (i32.load (i32.const 8)))
            (func $fill
                (i32.store (i32.const 0) (i32.const 1024))
                (i32.store (i32.const 4) (i32.const 4096))
                (loop $more
                    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
                    (br $more)))
            ;; All arguments, each with a NUL after it.
            (func $show_args
                (drop (call $args_sizes (i32.const 0) (i32.const 4)))
                (drop (call $args (i32.const 512) (i32.const 1024)))
                (i32.store (i32.const 0) (i32.const 1024))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12))))
            (func (export "_start") {start}))"#
    );
    wat::parse_str(text).unwrap()
}

#[tokio::test]
async fn a_core_module_runs_as_it_came_from_its_compiler() {
    let engine = engine();
    let copy = program("(loop $more (br_if $more (call $copy)))");
    let attempt = run(&engine, &copy, "", text_event("as it was")).await;
    assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report);
    assert_eq!(output(&attempt), ("text/plain; charset=utf-8", json!("as it was")));
}

#[tokio::test]
async fn a_command_s_output_is_bounded() {
    let attempt = run(
        &engine(),
        &program("(call $fill)"),
        "[limits]\noutput_bytes = '64KiB'",
        text_event(""),
    )
    .await;
    assert_eq!(attempt.report.outcome, Outcome::Trap);
    assert!(message(&attempt).contains("limits.output_bytes"), "{}", message(&attempt));
}

#[tokio::test]
async fn a_command_finds_its_arguments_after_its_name() {
    let engine = engine();
    let guest = program("(call $show_args)");
    for (args, expected) in
        [("", "test\0"), ("args = ['-', '-c', '', 'ü x']", "test\0-\0-c\0\0ü x\0")]
    {
        let attempt = run(&engine, &guest, args, text_event("")).await;
        assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report);
        assert_eq!(output(&attempt).1, json!(expected));
    }
}

/// The manifest need not say what the component is, and the host looks again.
#[tokio::test]
async fn only_commands_have_arguments() {
    let check = async |component: &'static [u8]| {
        let artifact = Bytes::from_static(component);
        let digest = Digest::of(&artifact);
        engine().check(&TenantName::default(), digest, &artifact, &manifest("args = ['-']")).await
    };
    check(WORD_COUNT).await.unwrap();
    let refused =
        check(include_bytes!("../../../functions/hello/hello.wasm")).await.unwrap_err().to_string();
    assert!(
        refused
            .starts_with("args: only a command has arguments, and the function is of kind event"),
        "{refused}"
    );
}

/// What a command has written before it failed is kept, however it failed.
#[tokio::test]
async fn the_output_of_a_command_that_failed_is_kept() {
    let engine = engine();
    let small = "[limits]\noutput_bytes = '6B'\ntimeout = '200ms'";
    for (then, outcome, written, kept) in [
        ("(call $exit (i32.const 3))", Outcome::Error, "so far", "so far"),
        ("(unreachable)", Outcome::Trap, "so far", "so far"),
        ("(loop $ever (br $ever))", Outcome::TimedOut, "so far", "so far"),
        // Cut between two characters.
        ("", Outcome::Trap, "so faäü", "so fa"),
    ] {
        let guest = program(&format!("(drop (call $copy)) {then}"));
        let attempt = run(&engine, &guest, small, text_event(written)).await;
        assert_eq!(attempt.report.outcome, outcome, "{then}: {:?}", attempt.report);
        assert_eq!(output(&attempt), ("text/plain; charset=utf-8", json!(kept)), "{then}");
    }
    let silent = run(&engine, &program("(call $exit (i32.const 1))"), "", text_event("")).await;
    assert_eq!(silent.report.output, None);
}

/// Compilers use atomic instructions wherever there might be threads; without any they are as
/// others.
#[tokio::test]
async fn atomic_instructions_work_on_memory_of_one_thread() {
    let add = "(drop (i32.atomic.rmw.add (i32.const 256) (i32.const 7)))";
    let exit = "(call $exit (i32.sub (i32.atomic.load (i32.const 256)) (i32.const 14)))";
    let attempt =
        run(&engine(), &program(&format!("{add} {add} {exit}")), "", text_event("")).await;
    assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report);
    // Nobody could wake it.
    let wait = "(drop (memory.atomic.wait32 (i32.const 256) (i32.const 0) (i64.const -1)))";
    let attempt = run(&engine(), &program(wait), "", text_event("")).await;
    assert_eq!(attempt.report.outcome, Outcome::Trap, "{:?}", attempt.report);
}

#[tokio::test]
async fn a_command_is_never_used_twice() {
    let engine = engine();
    for _ in 0..2 {
        let attempt = run(&engine, WORD_COUNT, "[instances]\nreuse = 10", text_event("one")).await;
        assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report);
        assert_eq!(engine.warm_instances(), 0);
    }
}

#[tokio::test]
async fn an_event_is_a_request_to_a_handler() {
    let event =
        EventParts { subject: Some("ü".into()), ..event("web.event", r#"{"a": 1}"#).into_parts() };
    let attempt = run(&engine(), WEB_ECHO, "", event.check().unwrap()).await;
    assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report);
    let (content_type, shown) = output(&attempt);
    assert_eq!(
        (content_type, &shown["method"], &shown["target"]),
        ("application/json", &json!("POST"), &json!("/"))
    );
    let headers = shown["headers"].as_array().unwrap();
    for expected in
        [["ce-type", "web.event"], ["ce-subject", "%C3%BC"], ["content-type", "application/json"]]
    {
        assert!(headers.contains(&json!(expected)), "{expected:?} is not in {shown}");
    }
}

#[tokio::test]
async fn a_handler_serves_many_events_where_it_may() {
    let engine = engine();
    for served in 1..=3 {
        let attempt =
            run(&engine, WEB_ECHO, "[instances]\nreuse = 3", event("web.event", "{}")).await;
        assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report);
        assert_eq!(engine.warm_instances(), usize::from(served < 3));
    }
}

#[tokio::test]
async fn a_request_in_an_event_is_made_again() {
    let engine = engine();
    let attempt = run(&engine, WEB_ECHO, "", request("/a/b?c")).await;
    let (_, shown) = output(&attempt);
    assert_eq!(
        (&shown["method"], &shown["target"], &shown["authority"]),
        (&json!("GET"), &json!("/a/b?c"), &json!("example.com"))
    );
    for (target, outcome, word) in [
        ("/status/204", Outcome::Success, ""),
        ("/status/404", Outcome::Rejected, "answered with 404 Not Found: as you wish"),
        ("/status/503", Outcome::Error, "answered with 503"),
        ("/cut", Outcome::Trap, "cut as asked"),
        ("/broken", Outcome::Trap, "broken as asked"),
        ("/late", Outcome::Trap, "late as asked"),
        ("/status/103", Outcome::Trap, "1xx"),
    ] {
        let attempt = run(&engine, WEB_ECHO, "", request(target)).await;
        assert_eq!(attempt.report.outcome, outcome, "{target}: {:?}", attempt.report);
        assert!(message(&attempt).contains(word), "{target}: {}", message(&attempt));
    }
    let attempt = run(&engine, WEB_ECHO, "", request_of(Bytes::from_static(b"hello"))).await;
    assert_eq!(attempt.report.outcome, Outcome::Rejected);
    assert!(
        message(&attempt).contains("not a request as application/http has it"),
        "{}",
        message(&attempt)
    );
}

#[tokio::test]
async fn a_handler_is_bounded_like_any_guest() {
    let engine = engine();
    let silent = run(&engine, WEB_ECHO, "[limits]\ntimeout = '50ms'", request("/silent")).await;
    assert_eq!(silent.report.outcome, Outcome::TimedOut);
    let long =
        run(&engine, WEB_ECHO, "[limits]\noutput_bytes = '1KiB'", request("/stream/1000/0")).await;
    assert_eq!(long.report.outcome, Outcome::Trap, "{:?}", long.report);
    assert!(message(&long).contains("limits.output_bytes"), "{}", message(&long));
    let spent = run(&engine, WEB_ECHO, "[limits]\nfuel = 2000", request("/")).await;
    assert_eq!(spent.report.outcome, Outcome::OutOfFuel, "{:?}", spent.report);
}
