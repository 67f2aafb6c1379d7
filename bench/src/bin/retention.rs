//! How late retries are while retention ends a long history: a real scheduler on PostgreSQL
//! (`DATABASE_URL`, or that of this machine) and an embedded queue.
//!
//!     cargo run --release -p wasmill-bench --bin retention -- 10000000
//!
//! Nine tenths of the executions are in two days that are dropped as a whole, one tenth in the
//! default partition, which is deleted row by row. Meanwhile an attempt fails every 25 ms and is to
//! be made again 100 ms later: its lateness is counted from then to its arrival at a consumer. The
//! same is measured before, with nothing to delete.

#![expect(clippy::print_stdout, reason = "the report of this program")]

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wasmill_broker::embedded::{EmbeddedBroker, EmbeddedSettings};
use wasmill_broker::{
    BatchPublisher, Consuming as _, Consumption, PublisherSettings, Publishing as _, QueueName,
};
use wasmill_domain::{
    AttemptReport, Batch, Dispatch, Event, ExecutionId, Outcome, TenantName, Timestamp,
    TraceContext,
};
use wasmill_scheduler::{SchedulerParts, SchedulerSettings, SchedulerStore};
use wasmill_store::postgres::testing::{Schema, seed_history};
use wasmill_store::postgres::{PostgresSettings, PostgresStore};
use wasmill_store::{ExecutionQuery, Finished, History as _, Ledger as _};

/// How often an attempt fails.
const PACE: Duration = Duration::from_millis(25);

/// When it is to be made again.
const DELAY: Duration = Duration::from_millis(100);

/// How long is measured with nothing to delete.
const BASELINE: Duration = Duration::from_secs(15);

/// The longest that everything may take.
const WAIT_TIMEOUT: Duration = Duration::from_secs(3_600);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let rows = std::env::args().nth(1).context("usage: retention ROWS")?;
    let rows: u64 = rows.parse().context("ROWS is a number")?;
    let schema = Schema::make().await;
    let store = PostgresStore::connect(&schema.url(), PostgresSettings::default()).await?;
    let begun = Instant::now();
    for (days_ago, share, in_partition) in [(20, 45, true), (30, 45, true), (40, 10, false)] {
        seed_history(&store, days_ago, rows * share / 100, in_partition).await?;
    }
    println!("{rows} executions of the past made in {:.1?}", begun.elapsed());

    let store = Arc::new(store);
    let dir = tempfile::tempdir()?;
    let broker = Arc::new(EmbeddedBroker::open(dir.path(), EmbeddedSettings::default())?);
    let (sender, mut arrivals) = mpsc::unbounded_channel();
    tokio::spawn(consume(Arc::clone(&broker), sender));
    let quiet = measure(&store, &broker, &mut arrivals, None).await?;
    report("with nothing to delete", quiet.clone());
    let begun = Instant::now();
    let busy = measure(&store, &broker, &mut arrivals, Some(rows)).await?;
    report("while retention works", busy.clone());
    println!("retention ended {rows} executions in {:.1?}", begun.elapsed());
    let latest = busy.iter().max().copied().unwrap_or_default();
    ensure!(latest < Duration::from_millis(500), "a retry was {latest:?} late");
    Ok(())
}

/// Runs a scheduler until the past is gone, or for a while where there is none, and gives how late
/// each retry was.
async fn measure(
    store: &Arc<PostgresStore>,
    broker: &Arc<EmbeddedBroker>,
    arrivals: &mut mpsc::UnboundedReceiver<(ExecutionId, Timestamp)>,
    past: Option<u64>,
) -> anyhow::Result<Vec<Duration>> {
    let settings = SchedulerSettings {
        retention: past.map(|_| Duration::from_secs(5 * 86_400)),
        ..SchedulerSettings::default()
    };
    let publisher = BatchPublisher::new(Arc::clone(broker) as _, PublisherSettings::default());
    let parts = SchedulerParts { store: SchedulerStore::of(store), publisher, settings };
    let stop = CancellationToken::new();
    let scheduler = tokio::spawn(wasmill_scheduler::run(parts, stop.clone()));
    let begun = Instant::now();
    let mut tick = tokio::time::interval(PACE);
    let mut due = std::collections::HashMap::new();
    let mut late = Vec::new();
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let finished = failed();
                due.insert(finished.dispatch.execution, finished.retry_at.unwrap_or_default());
                store.record(&[finished]).await?;
            }
            Some((id, at)) = arrivals.recv() => {
                if let Some(due) = due.remove(&id) {
                    let micros = at.as_micros().saturating_sub(due.as_micros());
                    late.push(Duration::from_micros(micros.unsigned_abs()));
                }
            }
        }
        ensure!(begun.elapsed() < WAIT_TIMEOUT, "retention does not come to its end");
        let is_over = match past {
            None => begun.elapsed() > BASELINE,
            Some(_) => {
                late.len() % 40 == 0 && begun.elapsed() > BASELINE && !is_left(store).await?
            }
        };
        if is_over {
            break;
        }
    }
    stop.cancel();
    scheduler.await??;
    ensure!(!late.is_empty(), "no retry has come");
    Ok(late)
}

/// Whether something of the past is left.
async fn is_left(store: &PostgresStore) -> anyhow::Result<bool> {
    let query = ExecutionQuery {
        function: Some("seeded".parse()?),
        ..ExecutionQuery::all_of(TenantName::default(), 1)
    };
    Ok(!store.executions(&query).await?.is_empty())
}

/// An attempt that failed just now.
fn failed() -> Finished {
    let event = Event::new("1", "/bench", "a.b".parse().expect("a type"), "{}").expect("an event");
    let function = "retried".parse().expect("a function's name");
    let dispatch =
        Dispatch::new(TenantName::default(), function, TraceContext::new_root(), Arc::new(event))
            .with_max_attempts(2);
    let report = AttemptReport::new("bench", Outcome::Error, dispatch.trace.child());
    let retry_at = Some(Timestamp::now().plus(DELAY));
    Finished { dispatch, report, retry_at, logs: Vec::new(), emitted: Vec::new() }
}

/// Tells when each execution arrives.
async fn consume(
    broker: Arc<EmbeddedBroker>,
    arrived: mpsc::UnboundedSender<(ExecutionId, Timestamp)>,
) -> anyhow::Result<()> {
    let queue = QueueName::of_function(&TenantName::default(), &"retried".parse()?);
    broker.declare(&queue).await?;
    let Consumption { mut deliveries, settle } = broker.consume(&queue, NonZeroU16::MAX).await?;
    while let Some(delivery) = deliveries.next().await {
        let now = Timestamp::now();
        for dispatch in Batch::decode(&delivery.message.body)?.into_dispatches() {
            arrived.send((dispatch.execution, now))?;
        }
        settle.ack(&[delivery.tag]).await?;
    }
    Ok(())
}

fn report(what: &str, mut late: Vec<Duration>) {
    late.sort_unstable();
    let at = |percent: usize| late[(late.len() - 1) * percent / 100];
    println!(
        "retries {what}: {} of them, late by {:.0?} (median), {:.0?} (99%), {:.0?} (at most)",
        late.len(),
        at(50),
        at(99),
        at(100)
    );
}
