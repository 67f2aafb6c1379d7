//! The rows of processes that are not alive any more.

use std::time::Duration;

use async_trait::async_trait;

use crate::duty::{Duty, Next};
use crate::error::DutyError;
use crate::parts::SchedulerParts;

/// Deletes rows of processes that ended without a word, now and then.
pub(crate) struct DeadNodes {
    parts: SchedulerParts,
}

impl DeadNodes {
    pub(crate) fn new(parts: &SchedulerParts) -> Self {
        Self { parts: parts.clone() }
    }
}

#[async_trait]
impl Duty for DeadNodes {
    fn name(&self) -> &'static str {
        "nodes"
    }

    fn pace(&self) -> Duration {
        self.parts.settings.node_interval
    }

    async fn round(&mut self) -> Result<Next, DutyError> {
        let deleted = self.parts.store.nodes.delete_dead_nodes().await?;
        if deleted > 0 {
            tracing::warn!(deleted, "processes are gone that did not say so");
        }
        Ok(Next::InTime)
    }
}
