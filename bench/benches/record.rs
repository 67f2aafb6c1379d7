//! What it takes to record the ends of attempts in SQLite: 1 KB events, results of 1 KB, one log
//! line each. Beside it what a whole execution costs the store: queued, started, recorded.
//!
//! `cargo bench -p wasmill-bench --bench record`

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use wasmill_domain::{
    AttemptReport, Digest, Dispatch, Event, LogLevel, LogLine, LogSource, Outcome, Output,
    TenantName, Timestamp, TraceContext,
};
use wasmill_store::sqlite::{SqliteSettings, SqliteStore, Synchronous};
use wasmill_store::{Finished, Ledger as _, Publication, Started};

const BATCHES: [usize; 3] = [1, 20, 200];

/// What is timed of an execution's life. The rest of it happens beside the clock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Timed {
    /// The record of an execution that has no row yet.
    RecordNew,
    /// The record of one that is queued.
    RecordQueued,
    /// Its acceptance, its start and its record.
    Everything,
}

fn dispatch(event: &Arc<Event>) -> Dispatch {
    Dispatch::new(
        TenantName::default(),
        "order-total".parse().expect("a function's name"),
        TraceContext::new_root(),
        Arc::clone(event),
    )
    .with_max_attempts(3)
}

fn finished(dispatch: &Dispatch, result: &Bytes) -> Finished {
    let report = AttemptReport {
        version: Some(Digest::of(b"order-total")),
        output: Some(Output { content_type: "application/json".into(), data: result.clone() }),
        queue_wait: Duration::from_micros(700),
        run_time: Duration::from_micros(50),
        fuel_used: 123_456,
        peak_memory: 1 << 20,
        ..AttemptReport::new("host-1", Outcome::Success, dispatch.trace.child())
    };
    let line = LogLine {
        seq: 0,
        at: Timestamp::now(),
        level: LogLevel::Info,
        source: LogSource::Log,
        message: "added up the 7 items of order 4711 for customer 0815".into(),
        fields: None,
    };
    Finished {
        dispatch: dispatch.clone(),
        report,
        retry_at: None,
        logs: vec![line],
        emitted: vec![],
    }
}

async fn open(synchronous: Synchronous) -> (SqliteStore, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = SqliteSettings { synchronous, ..SqliteSettings::default() };
    let store =
        SqliteStore::open(&folder.path().join("store.db"), settings).await.expect("a new store");
    (store, folder)
}

/// Takes `batch` executions through their lives and gives the time of what is timed.
async fn live(
    store: &SqliteStore,
    event: &Arc<Event>,
    result: &Bytes,
    batch: usize,
    timed: Timed,
) -> Duration {
    let dispatches: Vec<Dispatch> = (0..batch).map(|_| dispatch(event)).collect();
    let ends: Vec<Finished> =
        dispatches.iter().map(|dispatch| finished(dispatch, result)).collect();
    let start = |dispatch: &Dispatch| Started {
        dispatch: dispatch.clone(),
        version: Digest::of(b"order-total"),
        host: "host-1".into(),
        at: Timestamp::now(),
    };
    let starts: Vec<Started> = dispatches.iter().map(start).collect();
    let mut begun = Instant::now();
    if timed != Timed::RecordNew {
        store.enqueue(&dispatches, Publication::Confirmed).await.expect("enqueued");
    }
    if timed == Timed::Everything {
        store.start(&starts).await.expect("started");
    } else {
        begun = Instant::now();
    }
    let stands = store.record(&ends).await.expect("recorded");
    let elapsed = begun.elapsed();
    assert!(stands.into_iter().all(|stands| stands));
    elapsed
}

fn bench(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let json = format!(r#"{{"order":4711,"text":"{}"}}"#, "x".repeat(1000));
    let event = Event::new(
        "7d3c2f9e-5d5b-4c7e-8f43-0f8f7f1f2a11",
        "/shop",
        "order.created".parse().expect("a type"),
        json.clone(),
    );
    let event = Arc::new(event.expect("an event"));
    let result = Bytes::from(json);
    for (name, synchronous, timed) in [
        ("record", Synchronous::Full, Timed::RecordQueued),
        ("record_without_row", Synchronous::Full, Timed::RecordNew),
        ("record_not_synced", Synchronous::Normal, Timed::RecordQueued),
        ("whole_life", Synchronous::Full, Timed::Everything),
    ] {
        let mut group = criterion.benchmark_group(name);
        for batch in BATCHES {
            group.throughput(Throughput::Elements(batch as u64));
            group.bench_function(BenchmarkId::from_parameter(batch), |bencher| {
                let (store, _folder) = runtime.block_on(open(synchronous));
                bencher.iter_custom(|iterations| {
                    runtime.block_on(async {
                        let mut total = Duration::ZERO;
                        for _ in 0..iterations {
                            total += live(&store, &event, &result, batch, timed).await;
                        }
                        total
                    })
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
