//! The end of history.

use std::time::{Duration, Instant};

use wasmill_domain::Timestamp;
use wasmill_store::{Result, Store};

use crate::settings::SchedulerSettings;

/// Deletes what is older than the retention, now and then.
pub(crate) struct Retention {
    keep: Option<Duration>,
    interval: Duration,
    batch: u32,
    next: Instant,
}

impl Retention {
    pub(crate) fn new(settings: &SchedulerSettings) -> Self {
        Self {
            keep: settings.retention,
            interval: settings.prune_interval,
            batch: settings.prune_batch,
            next: Instant::now(),
        }
    }

    /// Deletes a batch of what is too old, if it is time, and says whether there may be more.
    pub(crate) async fn prune(&mut self, store: &dyn Store) -> Result<bool> {
        let Some(keep) = self.keep.filter(|_| Instant::now() >= self.next) else {
            return Ok(false);
        };
        let deleted = store.prune(Timestamp::now().minus(keep), self.batch).await?;
        let more = deleted >= u64::from(self.batch);
        if deleted > 0 {
            tracing::debug!(deleted, "old executions are deleted");
        }
        if !more {
            self.next = Instant::now() + self.interval;
        }
        Ok(more)
    }
}
