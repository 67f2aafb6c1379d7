//! What happens later: executions that are due, what the outbox still holds, the end of history,
//! days ahead, and rows of processes that are gone.
//!
//! Each of these duties is a task with a lease of its own in the store, so none waits for another,
//! and any number of schedulers share them. A lease is renewed on a timer, however long the duty's
//! work takes, and the work ends with the lease. A scheduler that lost a lease without noticing (it
//! was paused, say) does no harm: whatever it publishes twice is fenced where outcomes are
//! recorded.

mod duties;
mod duty;
mod error;
mod lease;
mod parts;
mod settings;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use error::SchedulerError;
pub use parts::{SchedulerParts, SchedulerStore};
pub use settings::SchedulerSettings;

use duty::Runner;
use lease::Gate;

/// Runs a scheduler until `shutdown`.
///
/// # Errors
/// Where a setting makes no sense, or a duty panics.
pub async fn run(parts: SchedulerParts, shutdown: CancellationToken) -> Result<(), SchedulerError> {
    parts.settings.check()?;
    let stop = shutdown.child_token();
    let gate = Gate::new(&parts);
    let mut tasks = JoinSet::new();
    for duty in duties::all(&parts) {
        let runner = Runner::new(&parts, gate.watch(), stop.clone());
        tasks.spawn(runner.run(duty));
    }
    let keeping = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(gate.keep()));
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
        {
            result = Err(SchedulerError::Panicked(error.to_string()));
            stop.cancel();
        }
    }
    drop(keeping);
    result
}

#[cfg(test)]
mod tests;
