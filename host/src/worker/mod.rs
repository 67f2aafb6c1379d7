//! A host at work: a worker for each function's queue, and what they share.

pub(crate) mod attempt;
mod batch;
mod dead_letters;
mod queue;
pub(crate) mod running;
mod status;
pub(crate) mod version;

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use wasmill_broker::{BatchPublisher, Broadcasts, Broker};
use wasmill_component::{FileSource, PreflightError};
use wasmill_domain::wire::Writes;
use wasmill_domain::{Digest, FunctionDefinition, FunctionName, Registry, TenantName};
use wasmill_store::{Orders, RegistryWatch, Store};

use self::queue::QueueWorker;
use self::running::Running;
pub use self::status::HostStatus;
use crate::admission::Admission;
use crate::control::{self, Control};
use crate::engine::Engine;
use crate::files::Files;
use crate::outbox::Outbox;
use crate::prepare::prepared::Prepared;
use crate::recorder::Recorder;
use crate::settings::HostSettings;
use crate::turn_queue::TurnQueue;

/// How long a host waits until it hears of orders, before it takes work.
const LISTEN_PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// What a host is made of.
pub struct HostParts {
    /// Where artifacts come from and outcomes go.
    pub store: Arc<dyn Store>,
    /// Who is asked about what runs.
    pub orders: Arc<dyn Orders>,
    /// Where orders are heard.
    pub broadcasts: Arc<dyn Broadcasts>,
    /// What is defined.
    pub registry: RegistryWatch,
    /// Where batches come from, and emitted executions go.
    pub publisher: BatchPublisher,
    /// What runs functions.
    pub engine: Arc<Engine>,
    /// How it works.
    pub settings: HostSettings,
    /// What it tells of itself meanwhile.
    pub status: HostStatus,
}

/// A part of the host broke down, which is a mistake in wasmill. What it had in hand is delivered
/// again.
#[derive(Debug, thiserror::Error)]
#[error("a part of the host broke down: {0}")]
pub struct Broken(String);

/// What the workers share.
pub(crate) struct Host {
    store: Arc<dyn Store>,
    registry: RegistryWatch,
    publisher: BatchPublisher,
    pub(crate) engine: Arc<Engine>,
    pub(crate) settings: HostSettings,
    status: HostStatus,
    pub(crate) recorder: Recorder,
    pub(crate) admission: Admission,
    /// Whose turn it is to have checked what it emits.
    pub(crate) checks: Arc<TurnQueue>,
    pub(crate) running: Arc<Running>,
    pub(crate) control: Arc<Control>,
    /// Room for messages in hand, in KiB.
    held: Arc<Semaphore>,
    /// The runtime that talks to the store and to the broker. Guests run on another.
    pub(crate) io: Handle,
    /// Take nothing more.
    pub(crate) stop: CancellationToken,
    /// Let go of what still runs.
    pub(crate) cut: CancellationToken,
}

/// Names a worker.
pub(crate) type Key = (TenantName, FunctionName);

/// Works until `shutdown`: takes batches off the queue of every function, makes the attempts, has
/// the ends recorded. Then it takes nothing more, lets what runs come to its end for as long as the
/// settings' `grace`, gives the rest back, and returns.
///
/// # Errors
/// Where one of its own parts panics.
pub async fn run(parts: HostParts, shutdown: CancellationToken) -> Result<(), Broken> {
    let HostParts { store, orders, broadcasts, registry, publisher, engine, settings, status } =
        parts;
    let (outbox, publishing) =
        Outbox::new(Arc::clone(&store), publisher.clone(), settings.recorder.outbox);
    let (recorder, recording) = Recorder::new(Arc::clone(&store), outbox, &settings.recorder);
    let mut background = JoinSet::new();
    background.spawn(recording);
    background.spawn(publishing);

    let running = Arc::new(Running::default());
    let announcing = running::announce(
        Arc::clone(&running),
        Arc::clone(&store),
        settings.announce_after,
        settings.name.clone(),
    );
    let control = Arc::new(Control::new(Arc::clone(&running), settings.clock_difference));
    let longest_pause = settings.recorder.max_pause;
    let (began, mut has_begun) = watch::channel(false);
    let listening = control::listen(Arc::clone(&control), broadcasts, longest_pause, began);
    let beating = control::beat(Arc::clone(&running), orders, settings.beat);
    let tasks = [
        AbortOnDropHandle::new(tokio::spawn(announcing)),
        AbortOnDropHandle::new(tokio::spawn(listening)),
        AbortOnDropHandle::new(tokio::spawn(beating)),
    ];
    // Usually at once: so nothing that is published from now on needs to be asked about. Where the
    // broker is away there is no work either.
    let _ = tokio::time::timeout(LISTEN_PATIENCE, has_begun.wait_for(|begun| *begun)).await;

    let host = Arc::new(Host {
        admission: Admission::new(settings.in_flight.clamp(1, engine.slots())),
        // Places in hand bound who waits, so nobody needs to give up.
        checks: TurnQueue::new(settings.emission_checks, usize::MAX, std::time::Duration::MAX),
        held: Arc::new(Semaphore::new(kib(settings.held_bytes) as usize)),
        store,
        registry,
        publisher,
        engine,
        recorder,
        running,
        control,
        io: Handle::current(),
        stop: shutdown,
        cut: CancellationToken::new(),
        settings,
        status: status.clone(),
    });
    tracing::info!(host = host.settings.name, slots = host.engine.slots(), "the host takes work");
    let mut workers = JoinSet::new();
    let mut result = supervise(&host, &mut workers).await;
    host.stop.cancel();
    status.drain();

    let grace = host.settings.grace;
    if tokio::time::timeout(grace, finish(&mut workers, &mut result)).await.is_err() {
        tracing::warn!(?grace, "executions that still run are given back to the queue");
        host.cut.cancel();
        finish(&mut workers, &mut result).await;
    }
    // With the last recorder, recording ends, and with it publishing.
    drop((tasks, host));
    if tokio::time::timeout(grace, finish(&mut background, &mut result)).await.is_err() {
        tracing::warn!(
            "outcomes could not be committed in time; their executions are delivered again"
        );
    }
    result
}

/// Waits for tasks, and keeps the first panic.
async fn finish<T: 'static>(tasks: &mut JoinSet<T>, result: &mut Result<(), Broken>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
            && result.is_ok()
        {
            *result = Err(Broken(error.to_string()));
        }
    }
}

/// Keeps a worker for each function that this host may run, and for each queue that is left of a
/// deleted one, until the host is to stop.
async fn supervise(host: &Arc<Host>, workers: &mut JoinSet<Key>) -> Result<(), Broken> {
    let mut registry = host.registry.subscribe();
    let mut at_work: HashSet<Key> = HashSet::new();
    let mut known = Arc::clone(&registry.borrow_and_update());
    start_workers(host, workers, &mut at_work, host.wanted_of_all(&known));
    loop {
        host.status.set_workers(at_work.len());
        let ended = tokio::select! {
            () = host.stop.cancelled() => return Ok(()),
            // An error would mean that the watch is gone, and the host holds it.
            _ = registry.changed() => None,
            Some(ended) = workers.join_next() => {
                let key = ended.map_err(|error| Broken(error.to_string()))?;
                at_work.remove(&key);
                Some(key)
            }
        };
        let next = Arc::clone(&registry.borrow_and_update());
        let changed = next.differing_tenants(&known).into_iter();
        let wanted = changed.flat_map(|tenant| host.wanted(&next, tenant));
        // What ended may have been wanted again before it did.
        let again = ended.filter(|key| host.is_wanted(&next, key));
        start_workers(host, workers, &mut at_work, wanted.chain(again));
        known = next;
    }
}

fn start_workers(
    host: &Arc<Host>,
    workers: &mut JoinSet<Key>,
    at_work: &mut HashSet<Key>,
    wanted: impl IntoIterator<Item = Key>,
) {
    for key in wanted {
        if at_work.insert(key.clone()) {
            workers.spawn(QueueWorker::new(Arc::clone(host), key).run());
        }
    }
}

impl Host {
    pub(crate) fn broker(&self) -> &Arc<dyn Broker> {
        self.publisher.broker()
    }

    /// The versions that messages are written in.
    pub(crate) fn writes(&self) -> &Writes {
        self.publisher.writes()
    }

    /// What this host is to work for, of one tenant's.
    fn wanted<'a>(
        &'a self,
        registry: &'a Registry,
        tenant: &'a TenantName,
    ) -> impl Iterator<Item = Key> + 'a {
        let functions = registry.functions_of(tenant).into_iter();
        let functions = functions.filter(|function| self.may_run(function)).map(|f| &f.name);
        functions.chain(registry.deleted_of(tenant)).map(|name| (tenant.clone(), name.clone()))
    }

    /// The same of every tenant's: once, when it starts.
    fn wanted_of_all<'a>(&'a self, registry: &'a Registry) -> impl Iterator<Item = Key> + 'a {
        registry.tenants().flat_map(|tenant| self.wanted(registry, tenant))
    }

    /// Whether this host is to work for a function, or for what is left of it.
    fn is_wanted(&self, registry: &Registry, (tenant, name): &Key) -> bool {
        registry.function(tenant, name).is_some_and(|function| self.may_run(function))
            || registry.is_deleted(tenant, name)
    }

    /// Whether this host has every label that the function asks for.
    fn may_run(&self, function: &FunctionDefinition) -> bool {
        match &self.settings.labels {
            Some(labels) => function.manifest.runs_on.iter().all(|label| labels.contains(label)),
            None => true,
        }
    }

    /// A version, ready to run, and its files. May be awaited on any thread.
    async fn prepare(
        self: &Arc<Self>,
        tenant: &TenantName,
        definition: &Arc<FunctionDefinition>,
    ) -> Result<(Arc<Prepared>, Option<Arc<Files>>), PreflightError> {
        let prepared = self.prepare_code(tenant, definition.digest).await?;
        if definition.manifest.files.is_empty() {
            return Ok((prepared, None));
        }
        let (host, definition) = (Arc::clone(self), Arc::clone(definition));
        let preparing = self.io.spawn(async move {
            host.engine.files(&definition.manifest, &Stored(&host.store)).await
        });
        let files = preparing.await.map_err(|e| PreflightError::Unavailable(e.to_string()))??;
        Ok((prepared, files))
    }

    async fn prepare_code(
        self: &Arc<Self>,
        tenant: &TenantName,
        digest: Digest,
    ) -> Result<Arc<Prepared>, PreflightError> {
        if let Some(prepared) = self.engine.ready(digest) {
            return Ok(prepared);
        }
        let (host, tenant) = (Arc::clone(self), tenant.clone());
        let preparing = self.io.spawn(async move {
            let fetch = async { fetch(&host.store, digest).await };
            host.engine.prepare_for(&tenant, digest, fetch).await
        });
        preparing.await.map_err(|e| PreflightError::Unavailable(e.to_string()))?
    }
}

/// The contents of files, in the store.
struct Stored<'a>(&'a Arc<dyn Store>);

#[async_trait]
impl FileSource for Stored<'_> {
    async fn file(&self, digest: Digest) -> Result<Bytes, PreflightError> {
        fetch(self.0, digest).await
    }
}

async fn fetch(store: &Arc<dyn Store>, digest: Digest) -> Result<Bytes, PreflightError> {
    match store.artifact(digest).await {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(PreflightError::Mismatch(format!("the store has no artifact {digest}"))),
        Err(error) => Err(PreflightError::Unavailable(error.to_string())),
    }
}

/// Bytes as a number of permits, at least one.
fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024).max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
