//! One invocation inside the host, from the event to the attempt's report: what is left of a bare
//! wasmtime call's speed with every limit, the log, WASI and the turns of guests around it.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wasmill_domain::{
    Digest, Dispatch, Event, ExecutionId, Manifest, Outcome, TenantName, TraceContext,
};
use wasmill_host::{Capabilities, Engine, EngineSettings, Invocation, Prepared};

/// A real function: parses JSON, reads its environment, logs a line, writes JSON.
const HELLO: &[u8] = include_bytes!("../../../functions/hello/hello.wasm");

/// The smallest function.
const ECHO: &str = include_str!("echo.wat");

struct Guest {
    name: &'static str,
    component: Bytes,
    event: Event,
}

fn guests() -> [Guest; 2] {
    let event = |data: String| {
        Event::new("1", "/bench", "greeting.requested".parse().expect("a type"), data)
            .expect("an event")
    };
    let kilobyte = format!(r#"{{"name": "Ada", "filler": "{}"}}"#, "x".repeat(990));
    let echo = wat::parse_str(ECHO).expect("echo.wat is a component").into();
    [
        Guest { name: "echo-1KB", component: echo, event: event(kilobyte) },
        Guest {
            name: "hello",
            component: Bytes::from_static(HELLO),
            event: event(r#"{"name": "Ada"}"#.into()),
        },
    ]
}

/// Makes `count` attempts, one after the other, on a thread of guests.
async fn invoke(
    engine: Arc<Engine>,
    prepared: Arc<Prepared>,
    manifest: Arc<Manifest>,
    event: Arc<Event>,
    count: u64,
) {
    let mut dispatch = Dispatch::new(
        TenantName::default(),
        manifest.name.clone(),
        TraceContext::new_root(),
        event,
    )
    .with_max_attempts(3);
    for _ in 0..count {
        dispatch.execution = ExecutionId::new();
        let invocation = Invocation {
            prepared: &prepared,
            manifest: &manifest,
            dispatch: &dispatch,
            host: "bench",
            files: None,
        };
        let attempt = engine.run(invocation).await;
        assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report.message);
        black_box(attempt);
        // As between two executions of a host.
        tokio::task::yield_now().await;
    }
}

fn invocations(criterion: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for guest in guests() {
        let mut group = criterion.benchmark_group(format!("invoke/{}", guest.name));
        group.throughput(Throughput::Elements(1)).measurement_time(Duration::from_secs(5));
        for (how, reuse) in [("fresh", 1), ("reuse", 1000)] {
            for threads in [1_u64, 2] {
                let settings =
                    EngineSettings { threads: threads as usize, ..EngineSettings::default() };
                let engine = Engine::new(settings, Capabilities::default()).expect("an engine");
                let manifest = format!("name = 'hello'\n[instances]\nreuse = {reuse}");
                let manifest = Arc::new(Manifest::from_toml(&manifest).expect("a manifest"));
                let digest = Digest::of(&guest.component);
                let fetch = async { Ok(guest.component.clone()) };
                let prepared =
                    runtime.block_on(engine.prepare(digest, fetch)).expect("the guest is sound");
                let event = Arc::new(guest.event.clone());
                let id = BenchmarkId::new(how, format!("{threads} threads"));
                group.bench_function(id, |bencher| {
                    bencher.iter_custom(|iterations| {
                        let start = Instant::now();
                        let tasks: Vec<_> = (0..threads)
                            .map(|task| {
                                let count =
                                    iterations / threads + u64::from(task < iterations % threads);
                                let (manifest, event) = (Arc::clone(&manifest), Arc::clone(&event));
                                let (runner, prepared) =
                                    (Arc::clone(&engine), Arc::clone(&prepared));
                                engine.spawn(invoke(runner, prepared, manifest, event, count))
                            })
                            .collect();
                        runtime.block_on(async {
                            for task in tasks {
                                task.await.expect("no invocation panics");
                            }
                        });
                        start.elapsed()
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, invocations);
criterion_main!(benches);
