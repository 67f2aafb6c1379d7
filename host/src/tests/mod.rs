//! Attempts under every limit, with guests written for the purpose in WebAssembly text, and with
//! the real ones of `functions/`.

mod by_hand;
mod files;
mod fuel;
mod guests;
mod host_memory;
mod keyvalue;
mod keyvalue_draft;
mod kinds;
mod middleware;
mod outcomes;
mod outgoing;
mod real;
mod reuse;
mod running;
mod secrets;
mod versions;
mod waiting;
mod wasi3;

use std::sync::Arc;
use std::time::Duration;

use wasmill_domain::{
    AttemptReport, Digest, Dispatch, Event, FunctionName, Manifest, Outcome, TenantName,
    TraceContext,
};
use wasmill_store::Finished;

use crate::{Attempt, Capabilities, Engine, EngineSettings, Invocation, Prepared};

/// Longer than anything takes.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// Waits until something holds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let reached = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let reached = tokio::time::timeout(WAIT_TIMEOUT, reached).await;
    assert!(reached.is_ok(), "it never came true that {what}");
}

/// A small engine.
fn engine() -> Arc<Engine> {
    Engine::new(
        EngineSettings { threads: 2, slots: 16, ..EngineSettings::default() },
        Capabilities::default(),
    )
    .unwrap()
}

/// A manifest of the function `test` with these sections.
fn manifest(sections: &str) -> Arc<Manifest> {
    Arc::new(Manifest::from_toml(&format!("name = 'test'\n{sections}")).unwrap())
}

pub(crate) fn dispatch(event: Event) -> Dispatch {
    Dispatch::new(
        TenantName::default(),
        "test".parse().unwrap(),
        TraceContext::new_root(),
        Arc::new(event),
    )
    .with_max_attempts(3)
}

pub(crate) fn event(event_type: &str, data: &str) -> Event {
    Event::new("event-1", "/tests", event_type.parse().unwrap(), data.to_owned()).unwrap()
}

/// The end of an attempt that cost nothing.
pub(crate) fn ended(dispatch: Dispatch, outcome: Outcome) -> Finished {
    let report = AttemptReport::new("test", outcome, dispatch.trace.child());
    Finished { dispatch, report, retry_at: None, logs: Vec::new(), emitted: Vec::new() }
}

async fn prepare(engine: &Engine, component: &[u8]) -> Arc<Prepared> {
    let bytes = bytes::Bytes::copy_from_slice(component);
    engine.prepare(Digest::of(component), async { Ok(bytes) }).await.unwrap()
}

/// An attempt at what the dispatch is about.
fn invocation<'a>(
    prepared: &'a Arc<Prepared>,
    manifest: &'a Arc<Manifest>,
    dispatch: &'a Dispatch,
) -> Invocation<'a> {
    Invocation { prepared, manifest, dispatch, host: "test-host", files: None }
}

async fn invoke(
    engine: &Arc<Engine>,
    prepared: &Arc<Prepared>,
    manifest: &Arc<Manifest>,
    dispatch: Dispatch,
) -> Attempt {
    let (runner, prepared, manifest) =
        (Arc::clone(engine), Arc::clone(prepared), Arc::clone(manifest));
    let attempt =
        engine.spawn(async move { runner.run(invocation(&prepared, &manifest, &dispatch)).await });
    attempt.await.unwrap()
}

/// One attempt in a new engine's fresh instance of a guest in text form.
async fn attempt(guest: &str, sections: &str) -> Attempt {
    let engine = engine();
    let prepared = prepare(&engine, &guests::component(guest)).await;
    invoke(&engine, &prepared, &manifest(sections), dispatch(event("test.event", "{}"))).await
}

fn function(name: &str) -> FunctionName {
    name.parse().unwrap()
}
