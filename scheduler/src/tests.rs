//! Real store, real broker; the settings are shortened so that waiting is short.

mod hanging;
mod leases;
mod outages;
mod slow;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wasmill_broker::embedded::{EmbeddedBroker, EmbeddedSettings};
use wasmill_broker::{
    BatchPublisher, Consuming as _, PublisherSettings, Publishing as _, QueueName, Queues as _,
};
use wasmill_domain::wire::Reads;
use wasmill_domain::{
    AttemptReport, Batch, Dispatch, Event, Operation, Outcome, State, TenantName, Timestamp,
    TraceContext, Transition,
};
use wasmill_store::sqlite::{SqliteSettings, SqliteStore};
use wasmill_store::{
    Agenda as _, ExecutionQuery, Finished, History as _, Ledger as _, Node, Nodes as _, Publication,
};

use crate::{SchedulerParts, SchedulerSettings, SchedulerStore, run};

/// How long anything may take before a test gives up.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

struct Bench {
    store: Arc<SqliteStore>,
    broker: Arc<EmbeddedBroker>,
    dir: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        Self::with(SqliteSettings::default()).await
    }

    async fn with(settings: SqliteSettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("db.sqlite"), settings).await.unwrap();
        let broker =
            EmbeddedBroker::open(&dir.path().join("queue"), EmbeddedSettings::default()).unwrap();
        Self { store: Arc::new(store), broker: Arc::new(broker), dir }
    }

    fn parts(&self, settings: SchedulerSettings) -> SchedulerParts {
        let publisher =
            BatchPublisher::new(Arc::clone(&self.broker) as _, PublisherSettings::default());
        SchedulerParts { store: SchedulerStore::of(&self.store), publisher, settings }
    }

    /// The dispatches of the next batch in the queue of the tests' function.
    async fn next_published(&self) -> Vec<Dispatch> {
        next_batch(&self.broker, "total").await
    }
}

/// The dispatches of the next batch in the queue of a function.
async fn next_batch(broker: &EmbeddedBroker, function: &str) -> Vec<Dispatch> {
    let queue = queue(function);
    broker.declare(&queue).await.unwrap();
    let mut consumption = broker.consume(&queue, NonZeroU16::MIN).await.unwrap();
    let delivery =
        tokio::time::timeout(WAIT_TIMEOUT, consumption.deliveries.next()).await.unwrap().unwrap();
    consumption.settle.ack(&[delivery.tag]).await.unwrap();
    Batch::decode(&delivery.message.body).unwrap().into_dispatches()
}

fn queue(function: &str) -> QueueName {
    QueueName::of_function(&TenantName::default(), &function.parse().unwrap())
}

/// Waits until `is_so`.
async fn until<F: Future<Output = bool>>(is_so: impl Fn() -> F) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, waiting).await.unwrap();
}

fn settings() -> SchedulerSettings {
    SchedulerSettings {
        interval: Duration::from_millis(10),
        lease: Duration::from_millis(400),
        grace: Duration::ZERO,
        ..SchedulerSettings::default()
    }
}

fn dispatch() -> Dispatch {
    dispatch_to("total")
}

fn dispatch_to(function: &str) -> Dispatch {
    Dispatch::new(
        TenantName::default(),
        function.parse().unwrap(),
        TraceContext::new_root(),
        Arc::new(Event::new("1", "/tests", "order.created".parse().unwrap(), "{}").unwrap()),
    )
    .with_max_attempts(3)
}

fn ended(outcome: Outcome, retry_at: Option<Timestamp>) -> Finished {
    let dispatch = dispatch();
    let report = AttemptReport::new("host", outcome, dispatch.trace.child());
    Finished { dispatch, report, retry_at, logs: Vec::new(), emitted: Vec::new() }
}

#[tokio::test]
async fn a_retry_is_published_when_it_is_due() {
    let bench = Bench::new().await;
    let failed = ended(Outcome::Error, Some(Timestamp::now().plus(Duration::from_millis(50))));
    assert_eq!(bench.store.record(std::slice::from_ref(&failed)).await.unwrap(), [true]);
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(run(bench.parts(settings()), shutdown.clone()));
    let published = bench.next_published().await.remove(0);
    assert_eq!((published.execution, published.attempt), (failed.dispatch.execution, 2));
    assert!(Timestamp::now() >= failed.retry_at.unwrap());
    shutdown.cancel();
    running.await.unwrap().unwrap();
    assert!(bench.store.outbox(Timestamp::from_micros(i64::MAX), 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_nobody_published_is_swept() {
    let bench = Bench::new().await;
    let accepted = dispatch();
    bench.store.enqueue(std::slice::from_ref(&accepted), Publication::Pending).await.unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(run(bench.parts(settings()), shutdown.clone()));
    assert_eq!(bench.next_published().await[0].execution, accepted.execution);
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_leader_that_dies_is_replaced() {
    let bench = Bench::new().await;
    let first = tokio::spawn(run(bench.parts(settings()), CancellationToken::new()));
    let accepted = dispatch();
    bench.store.enqueue(std::slice::from_ref(&accepted), Publication::Pending).await.unwrap();
    bench.next_published().await;
    // It dies without a word; its lease stays until it runs out.
    first.abort();
    let shutdown = CancellationToken::new();
    let second = tokio::spawn(run(bench.parts(settings()), shutdown.clone()));
    let accepted = dispatch();
    bench.store.enqueue(std::slice::from_ref(&accepted), Publication::Pending).await.unwrap();
    // What the first one published without living to note it comes once more, as it must.
    while bench
        .next_published()
        .await
        .iter()
        .all(|dispatch| dispatch.execution != accepted.execution)
    {}
    shutdown.cancel();
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn old_history_goes_and_what_has_not_ended_stays() {
    let bench = Bench::new().await;
    let done: Vec<Finished> = (0..5).map(|_| ended(Outcome::Success, None)).collect();
    bench.store.record(&done).await.unwrap();
    let waiting = dispatch();
    bench.store.enqueue(std::slice::from_ref(&waiting), Publication::Confirmed).await.unwrap();
    let settings =
        SchedulerSettings { retention: Some(Duration::ZERO), prune_batch: 2, ..settings() };
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(run(bench.parts(settings), shutdown.clone()));
    let query = ExecutionQuery::all_of(TenantName::default(), 10);
    until(async || bench.store.executions(&query).await.unwrap().len() <= 1).await;
    let left = bench.store.executions(&query).await.unwrap().into_iter().map(Result::unwrap);
    assert_eq!(
        left.map(|e| (e.id, e.state)).collect::<Vec<_>>(),
        [(waiting.execution, State::Queued)]
    );
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

/// Whether or not history has an end.
#[tokio::test]
async fn what_was_decided_of_what_never_came_is_forgotten() {
    let bench = Bench::new().await;
    let (tenant, never) = (TenantName::default(), dispatch());
    let suspend = Operation::new(Transition::Suspend, Timestamp::now()).before_row(true);
    bench.store.transition_execution(&tenant, never.execution, &suspend).await.unwrap();
    let settings =
        SchedulerSettings { retention: None, early_rows_kept: Duration::ZERO, ..settings() };
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(run(bench.parts(settings), shutdown.clone()));
    until(async || bench.store.execution(&tenant, never.execution).await.unwrap().is_none()).await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_leader_that_is_told_to_end_makes_room_at_once() {
    let bench = Bench::new().await;
    let for_ever = || SchedulerSettings { lease: Duration::from_secs(86_400), ..settings() };
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let leads = tokio::spawn(run(bench.parts(for_ever()), first.clone()));
    let accepted = dispatch();
    bench.store.enqueue(std::slice::from_ref(&accepted), Publication::Pending).await.unwrap();
    bench.next_published().await;
    let waits = tokio::spawn(run(bench.parts(for_ever()), second.clone()));
    first.cancel();
    leads.await.unwrap().unwrap();
    let accepted = dispatch();
    bench.store.enqueue(std::slice::from_ref(&accepted), Publication::Pending).await.unwrap();
    while bench
        .next_published()
        .await
        .iter()
        .all(|dispatch| dispatch.execution != accepted.execution)
    {}
    second.cancel();
    waits.await.unwrap().unwrap();
}

#[tokio::test]
async fn of_two_schedulers_one_publishes() {
    let bench = Bench::new().await;
    let all: Vec<Dispatch> = (0..300).map(|_| dispatch()).collect();
    bench.store.enqueue(&all, Publication::Pending).await.unwrap();
    let shutdown = CancellationToken::new();
    let for_ever =
        || SchedulerSettings { lease: Duration::from_secs(86_400), batch: 70, ..settings() };
    let both = [(); 2].map(|()| tokio::spawn(run(bench.parts(for_ever()), shutdown.clone())));
    until(async || {
        bench.store.outbox(Timestamp::from_micros(i64::MAX), 1).await.unwrap().is_empty()
    })
    .await;
    shutdown.cancel();
    for scheduler in both {
        scheduler.await.unwrap().unwrap();
    }
    let mut published = Vec::new();
    while bench.broker.depth(&queue("total")).await.unwrap().ready > 0 {
        published
            .extend(bench.next_published().await.into_iter().map(|dispatch| dispatch.execution));
    }
    published.sort_unstable();
    assert_eq!(published, all.iter().map(|dispatch| dispatch.execution).collect::<Vec<_>>());
}

#[tokio::test]
async fn processes_that_are_gone_are_taken_off_the_list() {
    let bench = Bench::with(SqliteSettings {
        node_timeout: Duration::from_millis(50),
        ..SqliteSettings::default()
    })
    .await;
    // It takes everybody for alive whose row is there.
    let long_timeout =
        SqliteStore::open(&bench.dir.path().join("db.sqlite"), SqliteSettings::default())
            .await
            .unwrap();
    let node = Node {
        id: uuid::Uuid::now_v7(),
        name: "one".into(),
        role: "host".into(),
        release: "0.1.0".into(),
        labels: Vec::new(),
        reads: Reads::HERE,
        started_at: Timestamp::now(),
    };
    bench.store.beat(&node).await.unwrap();
    assert_eq!(long_timeout.live_nodes().await.unwrap().len(), 1);
    let shutdown = CancellationToken::new();
    let often = SchedulerSettings { node_interval: Duration::from_millis(10), ..settings() };
    let running = tokio::spawn(run(bench.parts(often), shutdown.clone()));
    until(async || long_timeout.live_nodes().await.unwrap().is_empty()).await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn settings_are_checked() {
    let bench = Bench::new().await;
    let settings = SchedulerSettings { lease: Duration::from_millis(1), ..settings() };
    let error = run(bench.parts(settings), CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("lease"), "{error}");
}
