//! A host at work: a worker for each function's queue, and what they share.

pub(crate) mod attempt;
mod batch;
mod clear_away;
mod dead_letters;
pub(crate) mod host;
mod open;
mod queue;
pub(crate) mod running_attempts;
mod settled;
mod status;
pub(crate) mod version;

use std::collections::HashSet;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use wasmill_broker::BatchPublisher;
use wasmill_store::RegistryWatch;

use self::host::{FunctionKey, Host};
use self::queue::QueueWorker;
use self::running_attempts::RunningAttempts;
pub use self::status::HostStatus;
use crate::control::{self, Control};
use crate::engine::Engine;
use crate::fair_semaphore::FairSemaphore;
use crate::machine::kib;
use crate::outbox::Outbox;
use crate::ports::{HostBroker, HostStore};
use crate::recorder::Recorder;
use crate::settings::HostSettings;
use crate::shares::TenantShares;

/// How long a host waits until it receives orders, before it takes work.
const SUBSCRIBE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(1);

/// What a host is made of.
pub struct HostParts {
    /// Where artifacts come from and outcomes go.
    pub store: HostStore,
    /// What is defined.
    pub registry: RegistryWatch,
    /// Where batches and request streams come from.
    pub broker: HostBroker,
    /// Where emitted executions go.
    pub publisher: BatchPublisher,
    /// What runs functions.
    pub engine: Arc<Engine>,
    /// How it works.
    pub settings: HostSettings,
    /// What it tells of itself meanwhile.
    pub status: HostStatus,
}

/// A part of the host broke down, which is a mistake in wasmill. What it had not acknowledged is
/// delivered again.
#[derive(Debug, thiserror::Error)]
#[error("a part of the host broke down: {0}")]
pub struct PartFailed(String);

/// Works until `shutdown`: takes batches off the queue of every function, makes the attempts, has
/// the ends recorded. Then it takes nothing more, lets what runs come to its end for as long as the
/// settings' `grace`, gives the rest back, and returns.
///
/// # Errors
/// Where one of its own parts panics.
pub async fn run(parts: HostParts, shutdown: CancellationToken) -> Result<(), PartFailed> {
    let HostParts { store, registry, broker, publisher, engine, settings, status } = parts;
    let (outbox, publishing) =
        Outbox::new(Arc::clone(&store.agenda), publisher.clone(), &settings.recorder);
    let (recorder, recording) =
        Recorder::new(Arc::clone(&store.ledger), outbox, &settings.recorder);
    let mut background = JoinSet::new();
    background.spawn(recording);
    background.spawn(publishing);

    let running = Arc::new(RunningAttempts::default());
    let announcing = running_attempts::announce(
        Arc::clone(&running),
        Arc::clone(&store.ledger),
        settings.announce_after,
        settings.name.clone(),
    );
    let control = Arc::new(Control::new(Arc::clone(&running), settings.clock_difference));
    let (began, mut has_begun) = watch::channel(false);
    let listening = control::listen(
        Arc::clone(&control),
        Arc::clone(&broker.broadcasts),
        settings.recorder.backoff(),
        began,
    );
    let beating = control::beat(Arc::clone(&running), Arc::clone(&store.orders), settings.beat);
    let collecting = crate::prepare::collect(
        Arc::clone(engine.versions()),
        Arc::clone(&store.artifacts),
        settings.collect_every,
    );
    let tasks = [
        AbortOnDropHandle::new(tokio::spawn(collecting)),
        AbortOnDropHandle::new(tokio::spawn(announcing)),
        AbortOnDropHandle::new(tokio::spawn(listening)),
        AbortOnDropHandle::new(tokio::spawn(beating)),
    ];
    // Usually at once: so nothing that is published from now on needs to be asked about. Where the
    // broker is away there is no work either.
    let _ = tokio::time::timeout(SUBSCRIBE_TIMEOUT, has_begun.wait_for(|begun| *begun)).await;

    let host = Arc::new(Host {
        admission: TenantShares::new(settings.in_flight.clamp(1, engine.slots()) as u64),
        // Permits of attempts bound who waits, so nobody needs to give up.
        checks: FairSemaphore::new(settings.emission_checks, usize::MAX, std::time::Duration::MAX),
        unacked: TenantShares::new(u64::from(kib(settings.unacked_bytes))),
        store,
        registry,
        broker,
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
async fn finish<T: 'static>(tasks: &mut JoinSet<T>, result: &mut Result<(), PartFailed>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
            && result.is_ok()
        {
            *result = Err(PartFailed(error.to_string()));
        }
    }
}

/// Keeps a worker for each function that this host may run, and for each queue that is left of a
/// deleted one, until the host is to stop.
async fn supervise(host: &Arc<Host>, workers: &mut JoinSet<FunctionKey>) -> Result<(), PartFailed> {
    let mut registry = host.registry.subscribe();
    let mut at_work: HashSet<FunctionKey> = HashSet::new();
    let mut known = Arc::clone(&registry.borrow_and_update());
    start_workers(host, workers, &mut at_work, host.wanted_of_all(&known));
    loop {
        host.status.set_workers(at_work.len());
        host.set_shared(has_several_tenants(&at_work));
        let ended = tokio::select! {
            () = host.stop.cancelled() => return Ok(()),
            // An error would mean that the watch is gone, and the host holds it.
            _ = registry.changed() => None,
            Some(ended) = workers.join_next() => {
                let key = ended.map_err(|error| PartFailed(error.to_string()))?;
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

fn has_several_tenants(at_work: &HashSet<FunctionKey>) -> bool {
    let mut tenants = at_work.iter().map(|(tenant, _)| tenant);
    let first = tenants.next();
    tenants.any(|tenant| Some(tenant) != first)
}

fn start_workers(
    host: &Arc<Host>,
    workers: &mut JoinSet<FunctionKey>,
    at_work: &mut HashSet<FunctionKey>,
    wanted: impl IntoIterator<Item = FunctionKey>,
) {
    for key in wanted {
        if at_work.insert(key.clone()) {
            workers.spawn(QueueWorker::new(Arc::clone(host), key).run());
        }
    }
}

#[cfg(test)]
mod tests;
