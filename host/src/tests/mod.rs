//! Attempts under every limit, with guests written for the purpose in WebAssembly text, and with the real ones of
//! `functions/`.

mod guests;
mod outcomes;
mod real;
mod reuse;
mod running;
mod versions;

use std::sync::Arc;

use wasmill_domain::{
    Digest, Dispatch, Event, ExecutionId, FunctionName, Manifest, Revision, TenantName, Timestamp, TraceContext,
};

use crate::{Attempt, Engine, EngineSettings, Invocation, Prepared};

/// A small engine.
fn engine() -> Arc<Engine> {
    Engine::new(EngineSettings { threads: 2, slots: 16, ..EngineSettings::default() }).unwrap()
}

/// A manifest of the function `test` with these sections.
fn manifest(sections: &str) -> Arc<Manifest> {
    Arc::new(Manifest::from_toml(&format!("name = 'test'\n{sections}")).unwrap())
}

fn dispatch(event: Event) -> Dispatch {
    Dispatch {
        tenant: TenantName::default(),
        function: "test".parse().unwrap(),
        execution: ExecutionId::new(),
        attempt: 1,
        max_attempts: 3,
        accepted_at: Timestamp::now(),
        queued_at: Timestamp::now(),
        trace: TraceContext::new_root(),
        parent: None,
        revision: Revision(0),
        event: Arc::new(event),
    }
}

fn event(event_type: &str, data: &str) -> Event {
    Event::new("event-1", "/tests", event_type.parse().unwrap(), data.to_owned())
}

async fn prepare(engine: &Engine, component: &[u8]) -> Arc<Prepared> {
    let bytes = bytes::Bytes::copy_from_slice(component);
    engine.prepare(Digest::of(component), async { Ok(bytes) }).await.unwrap()
}

async fn invoke(
    engine: &Arc<Engine>,
    prepared: &Arc<Prepared>,
    manifest: &Arc<Manifest>,
    dispatch: Dispatch,
) -> Attempt {
    let (runner, prepared, manifest) = (Arc::clone(engine), Arc::clone(prepared), Arc::clone(manifest));
    let attempt = engine.spawn(async move {
        let invocation =
            Invocation { prepared: &prepared, manifest: &manifest, dispatch: &dispatch, host: "test-host" };
        runner.run(invocation).await
    });
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
