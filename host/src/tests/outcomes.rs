//! Every way in which an attempt can end, and what is said of it.

use std::time::Duration;

use wasmill_domain::{LogLevel, LogSource, Outcome};

use super::guests::{OK, SPIN, component, component_of_version};
use super::{attempt, dispatch, engine, event, invocation, invoke, manifest, prepare};

/// A guest that returns a failure: its case, the reason's text, and the delay's case and
/// milliseconds.
fn failing(case: u32, reason: &str, delay: Option<u64>) -> String {
    let length = reason.len();
    let (has_delay, delay) = (u32::from(delay.is_some()), delay.unwrap_or(0));
    format!(
        r#"(data (i32.const 1024) "{reason}")
        (func $handle (param i32) (result i32)
            (i32.store (i32.const 16) (i32.const 1))
            (i32.store (i32.const 24) (i32.const {case}))
            (i32.store (i32.const 32) (i32.const 1024))
            (i32.store (i32.const 36) (i32.const {length}))
            (i32.store (i32.const 40) (i32.const {has_delay}))
            (i64.store (i32.const 48) (i64.const {delay}))
            (i32.const 16))"#
    )
}

/// Expects an end with a message that holds every one of `words`.
async fn ends(guest: &str, sections: &str, outcome: Outcome, words: &[&str]) -> crate::Attempt {
    let attempt = attempt(guest, sections).await;
    let message = attempt.report.message.clone().unwrap_or_default();
    assert_eq!(attempt.report.outcome, outcome, "{message}");
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
    assert_eq!(attempt.report.output, None);
    attempt
}

#[tokio::test]
async fn success() {
    let attempt = attempt(OK, "").await;
    let report = attempt.report;
    assert_eq!((report.outcome, report.message.as_deref()), (Outcome::Success, None));
    let output = report.output.unwrap();
    assert_eq!(
        (output.content_type.as_str(), &*output.data),
        ("application/json", b"{}".as_slice())
    );
    assert_eq!(report.host, "test-host");
    assert!(report.fuel_used > 10 && report.fuel_used < 1_000, "{}", report.fuel_used);
    assert_eq!(report.peak_memory, 2 << 16);
    assert!(report.run_time > Duration::ZERO && report.finished_at >= report.started_at);
    assert!(attempt.emitted.is_empty() && attempt.logs.is_empty());
}

#[tokio::test]
async fn a_later_patch_of_the_contract_is_the_same_contract() {
    let engine = engine();
    let prepared = prepare(&engine, &component_of_version(OK, "0.1.9")).await;
    let attempt =
        invoke(&engine, &prepared, &manifest(""), dispatch(event("test.event", "{}"))).await;
    assert_eq!(attempt.report.outcome, Outcome::Success);
}

#[tokio::test]
async fn rejected_and_error() {
    ends(&failing(1, "no such order", None), "", Outcome::Rejected, &["no such order"]).await;
    let error = ends(&failing(0, "try later", None), "", Outcome::Error, &["try later"]).await;
    assert_eq!(error.retry_after, None);
    let error =
        ends(&failing(0, "try later", Some(1500)), "", Outcome::Error, &["try later"]).await;
    assert_eq!(error.retry_after, Some(Duration::from_millis(1500)));
    let error = ends(&failing(0, "never", Some(u64::MAX)), "", Outcome::Error, &["never"]).await;
    assert_eq!(error.retry_after, Some(Duration::from_secs(86_400)));
}

#[tokio::test]
async fn a_trap_has_a_backtrace_with_names() {
    let guest = r#"
        (func $inner (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))
        (func $handle (param i32) (result i32) (call $inner (i32.const 0)))"#;
    let trapped = ends(guest, "", Outcome::Trap, &["integer divide by zero"]).await;
    let backtrace = trapped.report.backtrace.unwrap();
    let lines: Vec<&str> = backtrace.lines().collect();
    assert!(lines[0].starts_with("0: ") && lines[0].ends_with("!inner"), "{backtrace}");
    assert!(lines[1].starts_with("1: ") && lines[1].ends_with("!handle"), "{backtrace}");
}

#[tokio::test]
async fn out_of_fuel() {
    let ended =
        ends(SPIN, "[limits]\nfuel = 100000", Outcome::OutOfFuel, &["100000", "limits.fuel"]).await;
    assert_eq!(ended.report.fuel_used, 100_000);
    assert!(ended.report.backtrace.is_some());
}

#[tokio::test]
async fn timed_out_while_computing() {
    let ended = ends(
        SPIN,
        "[limits]\nfuel = 1_000_000_000_000\ntimeout = '50ms'",
        Outcome::TimedOut,
        &["50ms"],
    )
    .await;
    assert!(ended.report.run_time >= Duration::from_millis(50), "{:?}", ended.report.run_time);
    assert!(ended.report.backtrace.is_some_and(|backtrace| backtrace.contains("handle")));
}

#[tokio::test]
async fn an_interrupted_attempt_says_what_it_used() {
    // No machine is so slow that the count would not have been taken down once.
    let ended = ends(
        SPIN,
        "[limits]\nfuel = 1_000_000_000_000\ntimeout = '2s'",
        Outcome::TimedOut,
        &["2s"],
    )
    .await;
    assert!(ended.report.fuel_used >= 5_000_000, "{}", ended.report.fuel_used);
}

/// The count of an attempt that does not come to its end is behind by a step at most, however it
/// ends.
#[tokio::test]
async fn an_attempt_that_traps_says_what_it_used() {
    const SPINS: u64 = 3_000_000;
    let guest = |end: &str| {
        format!(
            "(func $handle (param i32) (result i32)
              (local $left i32)
              (local.set $left (i32.const {SPINS}))
              (loop $on
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $on (local.get $left)))
              {end} unreachable)"
        )
    };
    // local.get, i32.const, i32.sub, local.set, local.get, br_if.
    let computed = 6 * SPINS;
    let grow = "(drop (memory.grow (i32.const 4096)))";
    for (end, sections, outcome) in
        [("", "", Outcome::Trap), (grow, "[limits]\nmemory = '1MiB'", Outcome::OutOfMemory)]
    {
        let used = ends(&guest(end), sections, outcome, &[]).await.report.fuel_used;
        assert!((computed - 5_000_000..computed + 1_000).contains(&used), "{outcome:?}: {used}");
    }
}

/// The same where somebody else ends it.
#[tokio::test]
async fn an_attempt_that_is_cancelled_says_what_it_used() {
    // Ticks are so seldom that nearly always when the guest lets others have the thread, its count
    // was taken down.
    let settings = crate::EngineSettings {
        tick: Duration::from_millis(500),
        ..crate::EngineSettings::default()
    };
    let engine = crate::Engine::new(settings, crate::Capabilities::default()).unwrap();
    let prepared = prepare(&engine, &component(SPIN)).await;
    let manifest = manifest("[limits]\nfuel = 1_000_000_000_000\ntimeout = '10m'");
    let runner = std::sync::Arc::clone(&engine);
    let attempt = engine.spawn(async move {
        let dispatch = dispatch(event("test.event", "{}"));
        let invocation = invocation(&prepared, &manifest, &dispatch);
        // Asked for an instance and then at each look at the guest, of which some wait for a
        // thread.
        let mut looks = 0;
        let stop = std::future::poll_fn(|_| {
            looks += 1;
            if looks > 20 {
                std::task::Poll::Ready("stopped by the test".to_owned())
            } else {
                std::task::Poll::Pending
            }
        });
        runner.run_until(invocation, stop).await
    });
    let report = attempt.await.unwrap().report;
    assert_eq!(report.outcome, Outcome::Cancelled, "{:?}", report.message);
    assert!(report.fuel_used >= 5_000_000, "{}", report.fuel_used);
}

#[tokio::test]
async fn a_spinning_start_function_is_stopped_too() {
    let guest = format!("(start $begin) (func $begin (loop $again (br $again))) {OK}");
    ends(&guest, "[limits]\nfuel = 100000", Outcome::OutOfFuel, &["limits.fuel"]).await;
    ends(
        &guest,
        "[limits]\nfuel = 1_000_000_000_000\ntimeout = '20ms'",
        Outcome::TimedOut,
        &["20ms"],
    )
    .await;
}

#[tokio::test]
async fn out_of_memory() {
    let bomb = r#"(func $handle (param i32) (result i32)
        (loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
        unreachable)"#;
    let ended =
        ends(bomb, "[limits]\nmemory = '4MiB'", Outcome::OutOfMemory, &["4MiB", "limits.memory"])
            .await;
    assert!(
        ended.report.peak_memory > 3 << 20 && ended.report.peak_memory <= 4 << 20,
        "{}",
        ended.report.peak_memory
    );

    // Two pages to begin with.
    ends(OK, "[limits]\nmemory = '64KiB'", Outcome::OutOfMemory, &["128KiB", "64KiB"]).await;
}

#[tokio::test]
async fn a_guest_may_live_with_a_refusal() {
    let guest = format!(
        "(func $greedy (drop (memory.grow (i32.const 1000)))) {}",
        OK.replace("(call $ok", "(call $greedy) (call $ok")
    );
    assert_eq!(attempt(&guest, "[limits]\nmemory = '4MiB'").await.report.outcome, Outcome::Success);
}

#[tokio::test]
async fn tables_are_limited() {
    let bomb = r#"(table $t 1 funcref)
        (func $handle (param i32) (result i32)
            (loop $again (br_if $again (i32.ne (table.grow $t (ref.null func) (i32.const 9000)) (i32.const -1))))
            unreachable)"#;
    ends(bomb, "", Outcome::OutOfMemory, &["tables of"]).await;
}

#[tokio::test]
async fn deep_recursion() {
    let guest = "(func $handle (param i32) (result i32) (i32.add (call $handle (local.get 0)) (i32.const 1)))";
    ends(guest, "", Outcome::Trap, &["call stack"]).await;
}

#[tokio::test]
async fn output_is_limited() {
    let returning = |length: u32| {
        format!(
            "(func $handle (param i32) (result i32) (drop (memory.grow (i32.const 64))) (call $ok (i32.const 0) (i32.const {length})))"
        )
    };
    let sections = "[limits]\noutput_bytes = '64KiB'";
    assert_eq!(attempt(&returning(65_536), sections).await.report.outcome, Outcome::Success);
    ends(&returning(65_537), sections, Outcome::Trap, &["65537", "64KiB", "limits.output_bytes"])
        .await;
    // So much that it is not even read.
    ends(&returning(4_000_000), sections, Outcome::Trap, &["64KiB", "limits.output_bytes"]).await;
}

#[tokio::test]
async fn emitted_events_are_limited() {
    // Each is 80 bytes of zeros: an event with an empty type.
    let emitting = |count: u32| {
        OK.replace(
            "(call $ok (i32.const 1024) (i32.const 2))",
            &format!(
                "(drop (call $ok (i32.const 1024) (i32.const 2)))
             (i32.store (i32.const 44) (i32.const 2048)) (i32.store (i32.const 48) (i32.const {count})) (i32.const 16)"
            ),
        )
    };
    let sections = "[limits]\nemitted_events = 5";
    assert_eq!(attempt(&emitting(5), sections).await.emitted.len(), 5);
    ends(&emitting(6), sections, Outcome::Trap, &["6 events", "limits.emitted_events"]).await;
}

#[tokio::test]
async fn a_broken_result_is_a_trap() {
    ends("(func $handle (param i32) (result i32) (i32.const -8))", "", Outcome::Trap, &["trapped"])
        .await;
    let not_a_media_type = OK.replace(
        "(call $ok (i32.const 1024) (i32.const 2))",
        "(drop (call $ok (i32.const 1024) (i32.const 2)))
         (i32.store (i32.const 24) (i32.const 1)) (i32.store (i32.const 28) (i32.const 1024))
         (i32.store (i32.const 32) (i32.const 2)) (i32.const 16)",
    );
    ends(&not_a_media_type, "", Outcome::Trap, &["'{}', which is no media type"]).await;
}

#[tokio::test]
async fn log_lines_are_kept_up_to_their_limit() {
    let guest = r#"
        (data (i32.const 1024) "hello")
        (data (i32.const 1040) "\30\04\00\00\01\00\00\00\31\04\00\00\01\00\00\00")
        (data (i32.const 1072) "n7")
        (func $handle (param i32) (result i32) (local $i i32)
            (loop $again
                (call $log (i32.const 3) (i32.const 1024) (i32.const 5) (i32.const 1040) (i32.const 1))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $i) (i32.const 50))))
            (call $ok (i32.const 1024) (i32.const 0)))"#;
    let attempt = attempt(guest, "[limits]\nlog_bytes = '1KiB'").await;
    assert_eq!(attempt.report.outcome, Outcome::Success);
    let line = &attempt.logs[0];
    assert_eq!((line.level, line.source), (LogLevel::Warn, LogSource::Log));
    assert_eq!((line.message.as_str(), line.fields.as_deref()), ("hello", Some(r#"{"n":7}"#)));
    // 5 bytes of text, 7 of fields, and 32.
    assert_eq!(
        (attempt.logs.len() as u64, attempt.report.log_lines_dropped),
        (1024 / 44, 50 - 1024 / 44)
    );
}

#[tokio::test]
async fn host_calls_are_limited() {
    let guest = r#"(func $handle (param i32) (result i32)
        (loop $again (call $log (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (br $again))
        unreachable)"#;
    let ended =
        ends(guest, "[limits]\nhost_calls = 1000", Outcome::Trap, &["1000", "limits.host_calls"])
            .await;
    assert_eq!(ended.logs.len() as u64 + ended.report.log_lines_dropped, 1000);
}

#[tokio::test]
async fn one_call_cannot_bring_everything() {
    // 100 MiB of log message.
    let guest = r#"(func $handle (param i32) (result i32)
        (drop (memory.grow (i32.const 1700)))
        (call $log (i32.const 0) (i32.const 0) (i32.const 104857600) (i32.const 0) (i32.const 0))
        (call $ok (i32.const 0) (i32.const 0)))"#;
    ends(guest, "[limits]\nmemory = '128MiB'", Outcome::Trap, &["too much data", "in one call"])
        .await;
}

#[tokio::test]
async fn the_execution_is_known_to_the_guest() {
    // The first field of the execution is its id: give it back.
    let guest = r#"(func $handle (param i32) (result i32)
        (call $current (i32.const 2048))
        (call $ok (i32.load (i32.const 2048)) (i32.load (i32.const 2052))))"#;
    let engine = engine();
    let prepared = prepare(&engine, &component(guest)).await;
    let dispatch = dispatch(event("test.event", "{}"));
    let id = dispatch.execution.to_string();
    let attempt = invoke(&engine, &prepared, &manifest(""), dispatch).await;
    assert_eq!(&*attempt.report.output.unwrap().data, id.as_bytes());
}
