//! Publishes the executions that committed outcomes emitted, right after the commit. They are in
//! the store's outbox as well: what is not published here, the scheduler publishes.
//!
//! The store keeps an entry from the scheduler for as long as a publish is tried, from the commit
//! on. After that this leaves it alone, or it would be published twice. So nobody waits here for
//! another: each is published as soon as it comes, and taken out of the store's outbox as soon as it
//! is confirmed, together with what else is by then. What is not confirmed holds its tenant's share
//! of the room, and no other's.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use wasmill_broker::BatchPublisher;
use wasmill_domain::{AttemptKey, Dispatch};
use wasmill_store::Agenda;

use crate::settings::RecorderSettings;
use crate::shares::{SharePermit, TenantShares};

/// How many are taken out of the store's outbox together, at most.
const BATCH: usize = 256;

/// Where committed executions go.
#[derive(Clone)]
pub(crate) struct Outbox {
    committed: mpsc::UnboundedSender<Committed>,
    room: TenantShares,
    timeout: Duration,
}

/// An execution that is committed, and in the store's outbox.
struct Committed {
    dispatch: Dispatch,
    /// From then on it is the scheduler's.
    until: Instant,
    permit: SharePermit,
}

/// One that the broker has.
struct Confirmed {
    entry: AttemptKey,
    _permit: SharePermit,
}

impl Outbox {
    /// The outbox, and what it does, which ends when the last clone is dropped and everything is
    /// published or the scheduler's.
    pub(crate) fn new(
        agenda: Arc<dyn Agenda>,
        publisher: BatchPublisher,
        settings: &RecorderSettings,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        // Both are bounded by the permits.
        let (committed, to_publish) = mpsc::unbounded_channel();
        let (confirmed, to_take_out) = mpsc::unbounded_channel();
        let room = TenantShares::new(settings.outbox as u64);
        let work = async move {
            tokio::join!(
                publish_all(publisher, to_publish, confirmed),
                take_out(agenda, to_take_out)
            );
        };
        (Self { committed, room, timeout: settings.publish_timeout }, work)
    }

    /// Says whether there is more than one tenant.
    pub(crate) fn set_shared(&self, is_shared: bool) {
        self.room.set_shared(is_shared);
    }

    /// Has these published at once; their commit began at `since`. Never waits: what there is no
    /// room for is left to the scheduler.
    pub(crate) fn publish(&self, dispatches: Vec<Dispatch>, since: Instant) {
        let until = since + self.timeout;
        let mut left = 0_usize;
        for dispatch in dispatches {
            let permit = self.room.try_acquire(&dispatch.tenant, 1);
            let is_taken = permit.is_some_and(|permit| {
                self.committed.send(Committed { dispatch, until, permit }).is_ok()
            });
            left += usize::from(!is_taken);
        }
        if left > 0 {
            tracing::debug!(left, "emitted executions are left to the scheduler");
        }
    }
}

/// Publishes what comes, all of it at once.
async fn publish_all(
    publisher: BatchPublisher,
    mut committed: mpsc::UnboundedReceiver<Committed>,
    confirmed: mpsc::UnboundedSender<Confirmed>,
) {
    let mut publishing = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(next) = committed.recv() => publishing.push(publish(publisher.clone(), next)),
            Some(published) = publishing.next() => if let Some(published) = published {
                // Whoever takes it out is there for as long as this is.
                let _ = confirmed.send(published);
            },
            else => return,
        }
    }
}

/// Publishes one, if it is not the scheduler's yet.
async fn publish(publisher: BatchPublisher, committed: Committed) -> Option<Confirmed> {
    let Committed { dispatch, until, permit } = committed;
    let entry = dispatch.key();
    if Instant::now() >= until {
        tracing::debug!(execution = %entry.execution, "an emitted execution has waited for too long and is left to the scheduler");
        return None;
    }
    match timeout_at(until, publisher.publish(dispatch)).await {
        Ok(Ok(())) => return Some(Confirmed { entry, _permit: permit }),
        Ok(Err(error)) => {
            tracing::debug!(execution = %entry.execution, %error, "an emitted execution is left to the scheduler");
        }
        Err(_) => {
            tracing::debug!(execution = %entry.execution, "an emitted execution is not confirmed in time and is left to the scheduler");
        }
    }
    None
}

/// Takes what is published out of the store's outbox: what came while the last was taken out goes
/// together.
async fn take_out(agenda: Arc<dyn Agenda>, mut confirmed: mpsc::UnboundedReceiver<Confirmed>) {
    let mut batch = Vec::new();
    while confirmed.recv_many(&mut batch, BATCH).await > 0 {
        let entries: Vec<AttemptKey> = batch.iter().map(|published| published.entry).collect();
        if let Err(error) = agenda.published(&entries).await {
            // Published twice, then; the second time finds the first one's outcome.
            tracing::debug!(%error, "published executions stay in the outbox");
        }
        batch.clear();
    }
}

#[cfg(test)]
mod tests;
