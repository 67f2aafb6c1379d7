//! What happens later: executions that are due, what the outbox still holds, the end of history,
//! and of processes that are gone.
//!
//! Any number of schedulers may run; one of them leads, by a lease in the store, and only it does
//! anything. A leader that lost its lease without noticing (it was paused, say) does no harm:
//! whatever it publishes twice is fenced where outcomes are recorded.

mod due;
mod lease;
mod nodes;
mod outbox;
mod publish;
mod retention;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wasmill_broker::BatchPublisher;
use wasmill_store::{Nodes, Store};

pub use settings::SchedulerSettings;

use lease::Leadership;
use nodes::DeadNodes;
use outbox::Sweep;
use retention::Retention;

/// What a scheduler works with.
pub struct SchedulerParts {
    /// Where the work stands.
    pub store: Arc<dyn Store>,
    /// Which processes are alive.
    pub nodes: Arc<dyn Nodes>,
    /// Where it goes.
    pub publisher: BatchPublisher,
    /// Its bounds.
    pub settings: SchedulerSettings,
}

/// Why a scheduler ended before it was told to. A store or broker that is away is no reason: it
/// waits for them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting makes no sense.
    #[error("scheduler setting {key}: {message}")]
    Setting {
        /// Which.
        key: &'static str,
        /// What would be right.
        message: &'static str,
    },
}

/// What keeps a scheduler waiting.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(transparent)]
    Store(#[from] wasmill_store::Error),
    #[error(transparent)]
    Broker(#[from] wasmill_broker::Error),
}

/// How long a shutdown waits for the batch that is under way. What is not done then is left to the
/// next leader, who publishes some of it once more.
const ROUND_PATIENCE: Duration = Duration::from_secs(1);

/// Runs a scheduler until `shutdown`.
///
/// # Errors
/// Where a setting makes no sense.
pub async fn run(parts: SchedulerParts, shutdown: CancellationToken) -> Result<(), Error> {
    parts.settings.check()?;
    let mut leadership = Leadership::new(&parts.settings);
    let out_of_patience = async {
        shutdown.cancelled().await;
        tokio::time::sleep(ROUND_PATIENCE).await;
    };
    tokio::select! {
        () = work(&parts, &mut leadership, &shutdown) => {}
        () = out_of_patience => {}
    }
    leadership.release(&*parts.store).await;
    Ok(())
}

/// Round after round until `shutdown`.
async fn work(parts: &SchedulerParts, leadership: &mut Leadership, shutdown: &CancellationToken) {
    let mut sweep = Sweep::new(&parts.settings);
    let mut retention = Retention::new(&parts.settings);
    let mut dead_nodes = DeadNodes::new(&parts.settings);
    let mut outage = Outage::default();
    while !shutdown.is_cancelled() {
        let round = async {
            if !leadership.leads(&*parts.store).await? {
                return Ok(false);
            }
            // One batch of each: a backlog of one kind keeps neither the others nor the lease
            // waiting.
            let history = retention.prune(&*parts.store).await?;
            let due = due::publish_due(parts).await?;
            let left = sweep.run(parts).await?;
            dead_nodes.delete(&*parts.nodes).await?;
            Ok(history || due || left)
        };
        let pause = outage.after(round.await, &parts.settings);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

/// Tells of the beginning and the end of an outage, once each, and paces the tries between.
#[derive(Default)]
struct Outage {
    failures: u32,
}

impl Outage {
    /// How long to wait after a round, which says whether there is more to do.
    fn after(&mut self, round: Result<bool, Trouble>, settings: &SchedulerSettings) -> Duration {
        match round {
            Ok(more) => {
                if self.failures > 0 {
                    tracing::info!("the scheduler goes on");
                }
                self.failures = 0;
                if more { Duration::ZERO } else { settings.interval }
            }
            Err(trouble) => {
                if self.failures == 0 {
                    tracing::warn!(%trouble, "the scheduler waits");
                }
                self.failures = self.failures.saturating_add(1);
                settings
                    .interval
                    .saturating_mul(1 << self.failures.min(10))
                    .min(settings.max_backoff)
            }
        }
    }
}

#[cfg(test)]
mod tests;
