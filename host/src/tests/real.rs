//! The functions of `functions/`, as their toolchain builds them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use wasmill_domain::{LogSource, Outcome};

use super::{dispatch, engine, event, invoke, manifest, prepare};
use crate::{Attempt, Engine, Prepared};

const HELLO: &[u8] = include_bytes!("../../../functions/hello/hello.wasm");
const HOSTILE: &[u8] = include_bytes!("../../../functions/hostile/hostile.wasm");

struct StoreFixture {
    engine: Arc<Engine>,
    hostile: Arc<Prepared>,
}

impl StoreFixture {
    async fn new() -> Self {
        let engine = engine();
        let hostile = prepare(&engine, HOSTILE).await;
        Self { engine, hostile }
    }

    async fn run(&self, way: &str, data: &str, sections: &str) -> Attempt {
        let event = event(&format!("hostile.{way}"), data);
        invoke(&self.engine, &self.hostile, &manifest(sections), dispatch(event)).await
    }

    async fn ends(&self, way: &str, sections: &str, outcome: Outcome, words: &[&str]) -> Attempt {
        let attempt = self.run(way, "{}", sections).await;
        let message = attempt.report.message.clone().unwrap_or_default();
        assert_eq!(attempt.report.outcome, outcome, "{way}: {message}");
        assert!(words.iter().all(|word| message.contains(word)), "{way}: {message}");
        attempt
    }
}

#[tokio::test]
async fn hello_says_hello() {
    let engine = engine();
    let prepared = prepare(&engine, HELLO).await;
    let manifest = manifest("[env]\nGREETING = 'Salut'");
    let attempt = invoke(
        &engine,
        &prepared,
        &manifest,
        dispatch(event("greeting.requested", r#"{"name":"Ada"}"#)),
    )
    .await;
    let output = attempt.report.output.expect("a success");
    assert_eq!(serde_json::from_slice::<Value>(&output.data).unwrap()["greeting"], "Salut, Ada!");
    assert_eq!(attempt.logs[0].message, "greeted");
    assert_eq!(attempt.logs[0].fields.as_deref(), Some(r#"{"length":11,"name":"Ada"}"#));

    let attempt =
        invoke(&engine, &prepared, &manifest, dispatch(event("greeting.requested", "7"))).await;
    assert_eq!(attempt.report.outcome, Outcome::Rejected);
}

#[tokio::test]
async fn each_hostile_way_has_its_end() {
    let fixture = StoreFixture::new().await;
    let ends = async |way, sections, outcome, words: &[&str]| {
        fixture.ends(way, sections, outcome, words).await
    };
    ends("spin", "[limits]\nfuel = 1_000_000", Outcome::OutOfFuel, &["limits.fuel"]).await;
    let slow_spin = "[limits]\nfuel = 1_000_000_000_000\ntimeout = '50ms'";
    ends("spin", slow_spin, Outcome::TimedOut, &["limits.timeout"]).await;
    let bomb =
        ends("memory-bomb", "[limits]\nmemory = '16MiB'", Outcome::OutOfMemory, &["16MiB"]).await;
    assert!(bomb.report.peak_memory <= 16 << 20 && bomb.report.peak_memory > 12 << 20);
    ends("call-storm", "[limits]\nhost_calls = 5000", Outcome::Trap, &["limits.host_calls"]).await;
    ends("huge-output", "", Outcome::Trap, &["limits.output_bytes"]).await;
    ends("emit-flood", "", Outcome::Trap, &["limits.emitted_events"]).await;
    ends("exit", "", Outcome::Trap, &["exited with status"]).await;
    ends("resource-bomb", "", Outcome::Trap, &["host resources"]).await;
    ends("nonsense", "", Outcome::Rejected, &["there is no behaviour"]).await;
}

#[tokio::test]
async fn deep_recursion_ends_in_a_trap() {
    let fixture = StoreFixture::new().await;
    // Either stack may be the first to end: the host's, or the one that the guest keeps in its
    // memory.
    let attempt = fixture.ends("recursion", "", Outcome::Trap, &["recursion too deep"]).await;
    assert!(attempt.report.backtrace.is_some());
}

#[tokio::test]
async fn a_panic_says_what_and_where() {
    let fixture = StoreFixture::new().await;
    let attempt =
        fixture.ends("panic", "", Outcome::Trap, &["panicked at", "index out of bounds"]).await;
    let backtrace = attempt.report.backtrace.unwrap();
    for name in ["pick_from_shelf", "reserve_stock", "take_order"] {
        assert!(backtrace.contains(name), "{backtrace}");
    }
    assert!(
        attempt
            .logs
            .iter()
            .any(|line| line.source == LogSource::Stderr && line.message.contains("panicked at"))
    );
}

#[tokio::test]
async fn a_log_flood_is_cut_and_succeeds() {
    let fixture = StoreFixture::new().await;
    let attempt = fixture.run("log-flood", r#"{"lines": 2000}"#, "").await;
    assert_eq!(attempt.report.outcome, Outcome::Success);
    let bytes: usize = attempt.logs.iter().map(|line| line.message.len()).sum();
    assert!(bytes <= 64 << 10 && bytes > 32 << 10, "{bytes}");
    assert_eq!(attempt.logs.len() as u64 + attempt.report.log_lines_dropped, 4000);
}

#[tokio::test]
async fn waiting_in_the_host_is_cut_off_too() {
    let fixture = StoreFixture::new().await;
    let attempt =
        fixture.ends("slow", "[limits]\ntimeout = '30ms'", Outcome::TimedOut, &["30ms"]).await;
    assert!(attempt.report.run_time >= Duration::from_millis(30));
    let attempt = fixture.run("slow", r#"{"ms": 20}"#, "").await;
    assert_eq!(attempt.report.outcome, Outcome::Success);
    assert!(attempt.report.run_time >= Duration::from_millis(20));
}

#[tokio::test]
async fn a_guest_sees_its_manifest_s_environment_and_nothing_else() {
    let fixture = StoreFixture::new().await;
    let attempt = fixture.run("env", "{}", "[env]\nONLY = 'this'").await;
    let seen: Value = serde_json::from_slice(&attempt.report.output.unwrap().data).unwrap();
    assert_eq!(seen["env"], serde_json::json!([["ONLY", "this"]]), "{seen}");
    for nothing in ["args", "stdin", "directories", "sockets"] {
        assert_eq!(seen[nothing], serde_json::json!([]), "{nothing}: {seen}");
    }
    assert!(seen["refused"].as_array().is_some_and(|refused| !refused.is_empty()), "{seen}");
    for what in ["a TCP socket was refused", "the lookup of 'localhost' was refused"] {
        let of_host = attempt.logs.iter().filter(|line| line.source == LogSource::Host);
        let said: Vec<_> = of_host.filter(|line| line.message.starts_with(what)).collect();
        assert!(
            said.len() == 1 && said[0].message.contains("allowed_hosts"),
            "{what}: {:?}",
            attempt.logs
        );
    }
}
