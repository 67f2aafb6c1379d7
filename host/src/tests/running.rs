//! Guests beside one another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmill_component::Preflight as _;
use wasmill_domain::{Digest, Outcome, TenantName};

use super::guests::{OK, SPIN, component};
use super::{WAIT_TIMEOUT, dispatch, engine, event, invoke, manifest, prepare, until};
use crate::{Capabilities, Engine, EngineSettings};

const HOSTILE: &[u8] = include_bytes!("../../../functions/hostile/hostile.wasm");

#[tokio::test]
async fn spinning_guests_do_not_keep_others_waiting() {
    let engine = engine();
    let (spin, ok) =
        (prepare(&engine, &component(SPIN)).await, prepare(&engine, &component(OK)).await);
    let spin_manifest = manifest("[limits]\nfuel = 1_000_000_000_000\ntimeout = '10s'");
    // More than there are threads, and they go on until the runtime of guests ends.
    let spinning: Vec<_> = (0..6)
        .map(|_| {
            let (engine, spin, manifest) =
                (Arc::clone(&engine), Arc::clone(&spin), Arc::clone(&spin_manifest));
            tokio::spawn(async move {
                invoke(&engine, &spin, &manifest, dispatch(event("test.event", "{}"))).await
            })
        })
        .collect();
    let mut slowest = Duration::ZERO;
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(500) {
        let asked = Instant::now();
        let attempt =
            invoke(&engine, &ok, &manifest(""), dispatch(event("test.event", "{}"))).await;
        assert_eq!(attempt.report.outcome, Outcome::Success);
        slowest = slowest.max(asked.elapsed());
    }
    // Six guests that take all the turns they can get would make it seconds; the machine that tests
    // run on is shared.
    assert!(slowest < Duration::from_millis(400), "{slowest:?}");
    spinning.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn more_invocations_than_slots_wait_their_turn() {
    let engine = engine();
    let ok = prepare(&engine, &component(OK)).await;
    let all: Vec<_> = (0..200)
        .map(|_| {
            let (engine, ok) = (Arc::clone(&engine), Arc::clone(&ok));
            tokio::spawn(async move {
                invoke(&engine, &ok, &manifest(""), dispatch(event("test.event", "{}"))).await
            })
        })
        .collect();
    for attempt in all {
        assert_eq!(attempt.await.unwrap().report.outcome, Outcome::Success);
    }
}

#[tokio::test]
async fn memory_is_promised_only_once() {
    let settings =
        EngineSettings { threads: 2, slots: 16, memory: 100 << 20, ..EngineSettings::default() };
    let engine = Engine::new(settings, Capabilities::default()).unwrap();
    let (spin, ok) =
        (prepare(&engine, &component(SPIN)).await, prepare(&engine, &component(OK)).await);
    let large = manifest("[limits]\nfuel = 1_000_000_000_000\ntimeout = '100ms'\nmemory = '64MiB'");
    let start = Instant::now();
    let attempts =
        [(); 3].map(|()| invoke(&engine, &spin, &large, dispatch(event("test.event", "{}"))));
    let ended = futures_util::future::join_all(attempts).await;
    assert!(ended.iter().all(|attempt| attempt.report.outcome == Outcome::TimedOut));
    // One after the other: there is room for one at a time.
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    // One that may have more than there is runs alone.
    let huge = manifest("[limits]\nmemory = '1GiB'");
    let attempt = invoke(&engine, &ok, &huge, dispatch(event("test.event", "{}"))).await;
    assert_eq!(attempt.report.outcome, Outcome::Success);
    let refused = engine
        .check(&TenantName::default(), ok.digest(), &Bytes::from(component(OK)), &huge)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(refused, "limits.memory: is 1GiB, and a host has 100MiB for all of its functions");
}

#[tokio::test]
async fn an_attempt_that_is_dropped_leaves_nothing_behind() {
    let engine = engine();
    let spin = prepare(&engine, &component(SPIN)).await;
    let manifest = manifest("[limits]\nfuel = 1_000_000_000_000\ntimeout = '10m'");
    for _ in 0..20 {
        let (runner, spin, manifest) =
            (Arc::clone(&engine), Arc::clone(&spin), Arc::clone(&manifest));
        let attempt = engine.spawn(async move {
            let dispatch = dispatch(event("test.event", "{}"));
            let invocation = crate::Invocation {
                prepared: &spin,
                manifest: &manifest,
                dispatch: &dispatch,
                host: "test",
                files: None,
            };
            runner.run(invocation).await
        });
        until("it has begun", || engine.free_slots() < engine.slots()).await;
        attempt.abort();
        assert!(attempt.await.unwrap_err().is_cancelled());
    }
    // All sixteen slots are free again.
    let ok = prepare(&engine, &component(OK)).await;
    let all: Vec<_> = (0..16)
        .map(|_| {
            let (engine, ok) = (Arc::clone(&engine), Arc::clone(&ok));
            tokio::spawn(async move {
                invoke(&engine, &ok, &super::manifest(""), dispatch(event("test.event", "{}")))
                    .await
            })
        })
        .collect();
    for attempt in all {
        attempt.await.unwrap();
    }
}

/// An instance that only waits for its next execution must not keep others waiting for as long.
#[tokio::test]
async fn who_waits_for_room_gets_that_of_an_instance_that_could_stay() {
    let settings = EngineSettings {
        threads: 2,
        slots: 16,
        memory: 100 << 20,
        warm_idle: Duration::from_secs(3_600),
        ..EngineSettings::default()
    };
    let engine = Engine::new(settings, Capabilities::default()).unwrap();
    let slow = prepare(&engine, HOSTILE).await;
    let manifest = manifest("[limits]\nmemory = '64MiB'\n[instances]\nreuse = 10");
    let all = engine.free_memory();
    let first = {
        let (engine, slow, manifest) =
            (Arc::clone(&engine), Arc::clone(&slow), Arc::clone(&manifest));
        let event = event("hostile.slow", r#"{"ms": 100}"#);
        tokio::spawn(async move { invoke(&engine, &slow, &manifest, dispatch(event)).await })
    };
    until("the first has its memory", || engine.free_memory() < all).await;
    // Another tenant's.
    let mut second = dispatch(event("hostile.slow", r#"{"ms": 1}"#));
    second.tenant = "other".parse().unwrap();
    let second =
        tokio::time::timeout(WAIT_TIMEOUT, invoke(&engine, &slow, &manifest, second)).await;
    assert_eq!(second.expect("it waits and waits").report.outcome, Outcome::Success);
    assert_eq!(first.await.unwrap().report.outcome, Outcome::Success);
}

/// A trial that nobody waits for any more is interrupted at its time like every guest, and gives
/// back what it took then.
#[tokio::test]
async fn a_trial_ends_at_its_time_without_who_asked() {
    let engine = engine();
    let spins = component(&format!("{OK} (func $spin (loop $again (br $again))) (start $spin)"));
    let manifest = manifest("[limits]\nfuel = 1_000_000_000_000\ntimeout = '500ms'");
    let asked = {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move {
            let digest = Digest::of(&spins);
            engine.check(&TenantName::default(), digest, &Bytes::from(spins), &manifest).await
        })
    };
    until("it has begun", || engine.free_slots() < engine.slots()).await;
    asked.abort();
    assert!(asked.await.is_err());
    until("its slot is free", || engine.free_slots() == engine.slots()).await;
}
