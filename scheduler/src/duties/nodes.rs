//! The rows of processes that are not alive any more.

use std::time::{Duration, Instant};

use wasmill_store::{Nodes, Result};

use crate::settings::SchedulerSettings;

/// Deletes rows of processes that ended without a word, now and then.
pub(crate) struct DeadNodes {
    interval: Duration,
    next: Instant,
}

impl DeadNodes {
    pub(crate) fn new(settings: &SchedulerSettings) -> Self {
        Self { interval: settings.node_interval, next: Instant::now() }
    }

    /// Deletes them, if it is time.
    pub(crate) async fn delete(&mut self, nodes: &dyn Nodes) -> Result<()> {
        if Instant::now() < self.next {
            return Ok(());
        }
        let deleted = nodes.delete_dead_nodes().await?;
        if deleted > 0 {
            tracing::warn!(deleted, "processes are gone that did not say so");
        }
        self.next = Instant::now() + self.interval;
        Ok(())
    }
}
