//! A host at work: a worker for each function's queue, and what they share.

pub(crate) mod attempt;
mod batch;
mod dead_letters;
pub(crate) mod host;
mod queue;
mod running;
mod settled;
mod status;
pub(crate) mod version;

use std::collections::HashSet;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wasmill_broker::BatchPublisher;
use wasmill_store::RegistryWatch;

use self::host::{Host, Key};
use self::queue::QueueWorker;
use self::running::Running;
pub use self::status::HostStatus;
use crate::admission::Admission;
use crate::engine::Engine;
use crate::machine::kib;
use crate::outbox::Outbox;
use crate::ports::{HostBroker, HostStore};
use crate::recorder::Recorder;
use crate::settings::HostSettings;
use crate::turn_queue::TurnQueue;

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

/// A part of the host broke down, which is a mistake in wasmill. What it had in hand is delivered
/// again.
#[derive(Debug, thiserror::Error)]
#[error("a part of the host broke down: {0}")]
pub struct Broken(String);

/// Works until `shutdown`: takes batches off the queue of every function, makes the attempts, has
/// the ends recorded. Then it takes nothing more, lets what runs come to its end for as long as the
/// settings' `grace`, gives the rest back, and returns.
///
/// # Errors
/// Where one of its own parts panics.
pub async fn run(parts: HostParts, shutdown: CancellationToken) -> Result<(), Broken> {
    let HostParts { store, registry, broker, publisher, engine, settings, status } = parts;
    let (outbox, publishing) =
        Outbox::new(Arc::clone(&store.agenda), publisher.clone(), settings.recorder.outbox);
    let (recorder, recording) =
        Recorder::new(Arc::clone(&store.ledger), outbox, &settings.recorder);
    let mut background = JoinSet::new();
    background.spawn(recording);
    background.spawn(publishing);

    let running = Arc::new(Running::default());
    let announcing = running::announce(
        Arc::clone(&running),
        Arc::clone(&store.ledger),
        settings.announce_after,
        settings.name.clone(),
    );
    let announcing = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(announcing));

    let host = Arc::new(Host {
        admission: Admission::new(settings.in_flight.clamp(1, engine.slots())),
        // Places in hand bound who waits, so nobody needs to give up.
        checks: TurnQueue::new(settings.emission_checks, usize::MAX, std::time::Duration::MAX),
        held: Arc::new(Semaphore::new(kib(settings.held_bytes) as usize)),
        store,
        registry,
        broker,
        publisher,
        engine,
        recorder,
        running,
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
    drop((announcing, host));
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
    loop {
        let wanted = host.wanted(&registry.borrow_and_update());
        start_workers(host, workers, &mut at_work, wanted);
        host.status.set_workers(at_work.len());
        tokio::select! {
            () = host.stop.cancelled() => return Ok(()),
            // An error would mean that the watch is gone, and the host holds it.
            _ = registry.changed() => {}
            Some(ended) = workers.join_next() => match ended {
                Ok(key) => {
                    at_work.remove(&key);
                }
                Err(error) => return Err(Broken(error.to_string())),
            }
        }
    }
}

fn start_workers(
    host: &Arc<Host>,
    workers: &mut JoinSet<Key>,
    at_work: &mut HashSet<Key>,
    wanted: Vec<Key>,
) {
    for key in wanted {
        if at_work.insert(key.clone()) {
            workers.spawn(QueueWorker::new(Arc::clone(host), key).run());
        }
    }
}

#[cfg(test)]
mod tests;
