//! A host at work, with the real store, the real broker and real functions.

mod calls;
mod checks;
mod collected;
mod compiling;
mod dead_letters;
mod deleted;
mod early;
mod emissions;
mod faults;
mod flow;
mod labels;
mod orders;
mod proxy;
mod revisions;
mod shares;
mod stopping;
mod transitions;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wasmill_broker::embedded::{EmbeddedBroker, EmbeddedSettings};
use wasmill_broker::{
    BatchPublisher, Consuming as _, Depth, Message, PublisherSettings, Publishing as _, QueueName,
    Queues as _,
};
use wasmill_domain::schema::SchemaCompiler;
use wasmill_domain::{
    AttemptReport, Batch, Digest, Dispatch, Event, ExecutionId, FunctionName, Manifest, Registry,
    State, TenantName, Timestamp, TraceContext,
};
use wasmill_schema::Compiler;
use wasmill_store::sqlite::{SqliteSettings, SqliteStore};
use wasmill_store::{
    Artifacts as _, Catalog as _, Change, ExecutionDetail, History as _, RegistryWatch,
};

use self::proxy::{Faults, Proxy};
use crate::{
    Capabilities, Engine, EngineSettings, HostBroker, HostParts, HostSettings, HostStatus,
    HostStore, PartFailed, run,
};

const HELLO: &[u8] = include_bytes!("../../../../functions/hello/hello.wasm");
const HOSTILE: &[u8] = include_bytes!("../../../../functions/hostile/hostile.wasm");
const FLAKY: &[u8] = include_bytes!("../../../../functions/flaky/flaky.wasm");
const ORDER_TOTAL: &[u8] = include_bytes!("../../../../functions/order-total/order-total.wasm");
const ORDER_AUDIT: &[u8] = include_bytes!("../../../../functions/order-audit/order-audit.wasm");

/// Far more than anything takes, so that a mistake ends a test.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// Everything around a host.
struct System {
    _dir: tempfile::TempDir,
    /// The store, which may be away.
    store: Arc<Proxy>,
    broker: Arc<EmbeddedBroker>,
    registry: RegistryWatch,
    publisher: BatchPublisher,
    engine: Arc<Engine>,
}

/// A host that works.
struct Working {
    stop: CancellationToken,
    task: JoinHandle<Result<(), PartFailed>>,
    status: HostStatus,
}

impl System {
    async fn new() -> Self {
        Self::with(Arc::new(Compiler::default()), EngineSettings::default()).await
    }

    /// Where `compiler` compiles schemas, which are checked by what it makes of them.
    async fn with_compiler(compiler: Arc<dyn SchemaCompiler>) -> Self {
        Self::with(compiler, EngineSettings::default()).await
    }

    /// With an engine that is set so.
    async fn with_engine(engine: EngineSettings) -> Self {
        Self::with(Arc::new(Compiler::default()), engine).await
    }

    async fn with(compiler: Arc<dyn SchemaCompiler>, engine: EngineSettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("store.sqlite"), SqliteSettings::default())
            .await
            .unwrap();
        let store = Arc::new(Proxy::new(Arc::new(store), Faults::default()));
        let broker = Arc::new(
            EmbeddedBroker::open(&dir.path().join("queue"), EmbeddedSettings::default()).unwrap(),
        );
        let of_registry = Arc::clone(&store) as _;
        let first = Registry::new(compiler);
        let registry =
            RegistryWatch::start_from(first, of_registry, Duration::from_millis(20)).await.unwrap();
        let publisher = BatchPublisher::new(Arc::clone(&broker) as _, PublisherSettings::default());
        let engine = Engine::new(
            EngineSettings { slots: 32, threads: 2, ..engine },
            Capabilities::default(),
        )
        .unwrap();
        Self { _dir: dir, store, broker, registry, publisher, engine }
    }

    fn start(&self) -> Working {
        self.start_with(HostSettings::default())
    }

    fn start_with(&self, settings: HostSettings) -> Working {
        self.start_on(HostBroker::of(&self.broker), settings)
    }

    fn start_on(&self, broker: HostBroker, settings: HostSettings) -> Working {
        let parts = HostParts {
            store: HostStore::of(&self.store),
            registry: self.registry.clone(),
            broker,
            publisher: self.publisher.clone(),
            engine: Arc::clone(&self.engine),
            settings: HostSettings { name: "test-host".into(), ..settings },
            status: HostStatus::default(),
        };
        let (stop, status) = (CancellationToken::new(), parts.status.clone());
        Working { task: tokio::spawn(run(parts, stop.clone())), stop, status }
    }

    async fn deploy(&self, component: &[u8], manifest: &str) {
        let manifest = Manifest::from_toml(manifest).unwrap();
        let digest = Digest::of(component);
        self.store
            .inner()
            .put_artifact(&TenantName::default(), digest, Bytes::copy_from_slice(component))
            .await
            .unwrap();
        let tenant = TenantName::default();
        self.define(Change::Deploy {
            tenant,
            digest,
            manifest,
            hostnames: Arc::default(),
            at: Timestamp::now(),
        })
        .await;
    }

    async fn define(&self, change: Change) {
        let changed = self.store.inner().define(&change).await.unwrap();
        self.registry.reach(changed.revision).await.unwrap();
    }

    /// Publishes, and gives the execution's id.
    async fn publish(&self, function: &str, event_type: &str, data: &str) -> ExecutionId {
        let dispatch = dispatch(function, event_type, data);
        let id = dispatch.execution;
        self.publisher.publish(dispatch).await.unwrap();
        id
    }

    /// The execution, once `is` holds of it.
    async fn execution(
        &self,
        id: ExecutionId,
        is: impl Fn(&ExecutionDetail) -> bool,
    ) -> ExecutionDetail {
        let waiting = async {
            loop {
                let detail =
                    self.store.inner().execution(&TenantName::default(), id).await.unwrap();
                if let Some(detail) = detail.filter(&is) {
                    return detail;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(WAIT_TIMEOUT, waiting).await.expect("the execution gets there in time")
    }

    async fn ended(&self, id: ExecutionId) -> ExecutionDetail {
        self.execution(id, |detail| detail.summary.state.is_terminal()).await
    }

    /// Publishes an event again and again until the function succeeds with it, as it does once its
    /// version of now is known.
    async fn comes_to_succeed(&self, function: &str, event_type: &str, data: &str) {
        let deadline = tokio::time::Instant::now() + WAIT_TIMEOUT;
        loop {
            let id = self.publish(function, event_type, data).await;
            if self.ended(id).await.summary.state == State::Succeeded {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline);
        }
    }

    async fn depth(&self, function: &str) -> Depth {
        self.broker.depth(&queue(function)).await.unwrap()
    }

    /// Waits until the queue is empty and nothing of it is unacknowledged.
    async fn drained(&self, function: &str) {
        let waiting = async {
            while self.depth(function).await != Depth::default() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(WAIT_TIMEOUT, waiting).await.expect("the queue is empty in time");
    }

    /// Puts one message on the queue, and delivers it `times` times to nobody who cares.
    async fn publish_redelivered(&self, function: &str, dispatches: Vec<Dispatch>, times: u32) {
        let queue = queue(function);
        self.broker.declare(&queue).await.unwrap();
        let body = Batch::new(dispatches).unwrap().encode(self.publisher.writes());
        self.broker.publish(&queue, Message::new(body)).await.unwrap();
        for redeliveries in 0..times {
            let mut consumption = self.broker.consume(&queue, NonZeroU16::MIN).await.unwrap();
            let delivery = consumption.deliveries.next().await.unwrap();
            assert_eq!(delivery.redeliveries, redeliveries);
            // Or what goes back could come out here once more before this consumer is gone, and
            // count twice.
            drop(consumption.deliveries);
            consumption.settle.release(&[delivery.tag]).await.unwrap();
        }
    }
}

impl Working {
    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(WAIT_TIMEOUT, self.task)
            .await
            .expect("the host ends in time")
            .unwrap()
            .unwrap();
    }
}

fn queue(function: &str) -> QueueName {
    QueueName::of_function(&TenantName::default(), &name(function))
}

fn name(function: &str) -> FunctionName {
    function.parse().unwrap()
}

fn dispatch(function: &str, event_type: &str, data: &str) -> Dispatch {
    Dispatch::new(
        TenantName::default(),
        name(function),
        TraceContext::new_root(),
        Arc::new(
            Event::new("event-1", "/tests", event_type.parse().unwrap(), data.to_owned()).unwrap(),
        ),
    )
    .with_max_attempts(3)
}

fn only_attempt(detail: &ExecutionDetail) -> &AttemptReport {
    assert_eq!(detail.attempts.len(), 1, "{detail:?}");
    &detail.attempts[0].1
}
