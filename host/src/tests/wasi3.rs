//! A component for WASI 0.3, which is a handler and a program.

use std::sync::Arc;

use bytes::Bytes;
use wasmill_component::Preflight as _;
use wasmill_domain::{Digest, Event, LogSource, Manifest, Outcome, TenantName};

use super::kinds::{message, request};
use super::{dispatch, event, invoke, manifest, prepare};
use crate::{Attempt, Capabilities, Engine, EngineSettings};

const WASI3_ECHO: &[u8] = include_bytes!("../../../functions/later-echo/later-echo.wasm");

/// Asking for anything must be granted.
const GRANT: &str = "allowed_hosts = ['http://169.254.169.254']\n";

fn engine(wasi_0_3: bool) -> Arc<Engine> {
    let settings = EngineSettings { threads: 2, slots: 16, wasi_0_3, ..EngineSettings::default() };
    Engine::new(settings, Capabilities::default()).unwrap()
}

async fn run(sections: &str, event: Event) -> Attempt {
    let engine = engine(true);
    let prepared = prepare(&engine, WASI3_ECHO).await;
    invoke(
        &engine,
        &prepared,
        &manifest(&format!("{sections}\n[instances]\nreuse = 10")),
        dispatch(event),
    )
    .await
}

async fn command(sections: &str, input: &str) -> Attempt {
    run(&format!("kind = 'command'\n{GRANT}{sections}"), event("text.written", input)).await
}

async fn handler(sections: &str, target: &str) -> Attempt {
    run(&format!("{GRANT}{sections}"), request(target)).await
}

fn said(attempt: &Attempt) -> &str {
    let output =
        attempt.report.output.as_ref().unwrap_or_else(|| panic!("no output: {:?}", attempt.report));
    std::str::from_utf8(&output.data).unwrap()
}

#[tokio::test]
async fn it_is_refused_unless_it_is_enabled() {
    let check = async |wasi_0_3, manifest: &str| {
        let manifest = Manifest::from_toml(&format!("name = 'test'\n{manifest}")).unwrap();
        engine(wasi_0_3)
            .check(
                &TenantName::default(),
                Digest::of(WASI3_ECHO),
                &Bytes::from_static(WASI3_ECHO),
                &manifest,
            )
            .await
    };
    let refused = check(false, GRANT).await.unwrap_err().to_string();
    assert!(
        refused.contains("made for WASI 0.3") && refused.contains("engine.wasi_0_3 = true"),
        "{refused}"
    );
    let refused = check(true, "").await.unwrap_err().to_string();
    assert!(
        refused.contains("wasi:http/client@0.3") && refused.contains("add allowed_hosts = ["),
        "{refused}"
    );
    for manifest in [GRANT.to_owned(), format!("kind = 'command'\n{GRANT}")] {
        check(true, &manifest).await.unwrap();
    }
}

#[tokio::test]
async fn a_program_reads_the_event_and_writes_its_result() {
    let attempt = command("", "a text").await;
    assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report);
    assert_eq!(said(&attempt), "test: A TEXT");
    assert!(attempt.report.fuel_used > 0 && attempt.report.peak_memory > 0);
}

#[tokio::test]
async fn a_program_s_end_is_the_outcome() {
    let failed = command("", "fail").await;
    assert_eq!(failed.report.outcome, Outcome::Error);
    assert_eq!(message(&failed), "exited with status 1; standard error says: failed as asked");
    assert_eq!(failed.logs[0].source, LogSource::Stderr);
    let exited = command("", "exit").await;
    assert_eq!((exited.report.outcome, message(&exited)), (Outcome::Error, "exited with status 3"));
    let flooded = command("[limits]\noutput_bytes = '256KiB'", "flood").await;
    assert_eq!(flooded.report.outcome, Outcome::Trap);
    assert!(message(&flooded).contains("limits.output_bytes"), "{}", message(&flooded));
}

#[tokio::test]
async fn a_handler_gets_the_event_as_a_request() {
    let attempt = handler("", "/later/shown?x=1").await;
    assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report);
    let expected = format!(
        "GET http://example.com/later/shown?x=1\nx-test: 1\ntraceparent: {}\n",
        attempt.report.span
    );
    assert_eq!(said(&attempt), expected);
    assert_eq!(attempt.report.output.as_ref().unwrap().content_type, "text/plain");
    let streamed = handler("", "/later/stream/3/1").await;
    assert_eq!(said(&streamed), "line 1\nline 2\nline 3\n");
}

#[tokio::test]
async fn a_handler_s_response_is_the_outcome() {
    for (target, outcome, words) in [
        ("/status/422", Outcome::Rejected, "answered with 422 Unprocessable Entity: as you wish"),
        ("/status/503", Outcome::Error, "answered with 503 Service Unavailable: as you wish"),
        (
            "/error",
            Outcome::Error,
            "answered with an error instead of a response: ErrorCode::ConfigurationError",
        ),
        ("/broken", Outcome::Trap, "broken as asked"),
        ("/cut", Outcome::Trap, "cut as asked"),
    ] {
        let attempt = handler("", target).await;
        assert_eq!(attempt.report.outcome, outcome, "{target}: {:?}", attempt.report);
        assert!(message(&attempt).contains(words), "{target}: {}", message(&attempt));
    }
}

#[tokio::test]
async fn its_limits_hold() {
    let late = handler("[limits]\ntimeout = '50ms'", "/stream/2/86400000").await;
    assert_eq!(late.report.outcome, Outcome::TimedOut, "{:?}", late.report);
    let spent = handler("[limits]\nfuel = 500_000", "/stream/1000000/0").await;
    assert_eq!(spent.report.outcome, Outcome::OutOfFuel, "{:?}", spent.report);
    let called = handler("[limits]\nhost_calls = 100", "/fields/1000").await;
    assert_eq!(called.report.outcome, Outcome::Trap);
    assert!(message(&called).contains("limits.host_calls"), "{}", message(&called));
    let much = handler("[limits]\noutput_bytes = '16KiB'", "/stream/10000/0").await;
    assert!(message(&much).contains("limits.output_bytes"), "{:?}", much.report);
}

/// Bodies that nobody reads or writes count by what they may come to hold.
#[tokio::test]
async fn what_the_host_holds_for_it_counts_as_its_memory() {
    let few = handler("[limits]\nmemory = '16MiB'", "/hoard/10").await;
    assert_eq!(few.report.outcome, Outcome::Success, "{:?}", few.report);
    assert_eq!(said(&few), "10");
    let many = handler("[limits]\nmemory = '16MiB'", "/hoard/500").await;
    assert_eq!(many.report.outcome, Outcome::OutOfMemory, "{:?}", many.report);
    let words = message(&many);
    assert!(words.contains("limits.memory") && words.contains("resources"), "{words}");
    assert!((14 << 20..19 << 20).contains(&many.report.peak_memory), "{:?}", many.report);
}

#[tokio::test]
async fn what_it_may_ask_of_the_network_is_the_same() {
    for (authority, answer) in [("169.254.169.254", "prohibited"), ("example.com", "denied")] {
        let attempt = handler("", &format!("/get/{authority}")).await;
        assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report);
        assert_eq!(said(&attempt), answer);
        assert_eq!(attempt.logs[0].source, LogSource::Host);
    }
}

/// Of sockets and lookups there are none, and each is told once, as it is for WASI 0.2.
#[tokio::test]
async fn it_is_told_that_there_are_no_sockets() {
    let attempt = handler("", "/sockets/1").await;
    assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report);
    assert_eq!(said(&attempt), "TCP denied\nUDP denied\nnames denied\n");
    let logged: Vec<_> = attempt.logs.iter().map(|line| (line.source, &*line.message)).collect();
    for (what, line) in
        ["a TCP socket", "a UDP socket", "the lookup of 'db.example.com'"].into_iter().zip(&logged)
    {
        let (source, text) = *line;
        assert!(
            source == LogSource::Host
                && text.starts_with(&format!("{what} was refused: functions have no sockets"))
                && text.contains("allowed_hosts"),
            "{logged:?}"
        );
    }
    assert_eq!(logged.len(), 3, "{logged:?}");
    // The guest's own words are those of a name that is not there.
    let failed = handler("", "/connect").await;
    assert_eq!(failed.report.outcome, Outcome::Error, "{:?}", failed.report);
    let words = message(&failed);
    assert!(
        words.contains("DestinationNotFound")
            && words.contains("the lookup of 'db.example.com' was refused"),
        "{words}"
    );
    // They count as calls of the host.
    let called = handler("[limits]\nhost_calls = 100", "/sockets/40").await;
    assert_eq!(called.report.outcome, Outcome::Trap, "{:?}", called.report);
    assert!(message(&called).contains("limits.host_calls"), "{}", message(&called));
}

#[tokio::test]
async fn it_is_never_used_twice() {
    let engine = engine(true);
    let prepared = prepare(&engine, WASI3_ECHO).await;
    let manifest = manifest(&format!("{GRANT}[instances]\nreuse = 10"));
    for _ in 0..2 {
        let attempt = invoke(&engine, &prepared, &manifest, dispatch(request("/shown"))).await;
        assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report);
        assert_eq!(engine.warm_instances(), 0);
    }
}
