//! The end of history.

use std::time::Duration;

use async_trait::async_trait;
use wasmill_domain::{ExecutionId, Timestamp};

use crate::duty::{Duty, Next};
use crate::error::DutyError;
use crate::parts::SchedulerParts;

/// Deletes what is older than the retention, now and then: what was decided about executions that
/// never came, whether or not history has an end; then whole days, then what is left of
/// others, in batches, then artifacts that nobody uses.
pub(crate) struct History {
    parts: SchedulerParts,
    /// The last execution that was looked at, while there are more to look at.
    after: Option<ExecutionId>,
}

impl History {
    pub(crate) fn new(parts: &SchedulerParts) -> Self {
        Self { parts: parts.clone(), after: None }
    }
}

#[async_trait]
impl Duty for History {
    fn name(&self) -> &'static str {
        "retention"
    }

    fn pace(&self) -> Duration {
        self.parts.settings.prune_interval
    }

    fn begin(&mut self) {
        // The next call finds out which days are to be dropped.
        self.after = None;
    }

    async fn round(&mut self) -> Result<Next, DutyError> {
        let SchedulerParts { store, settings, .. } = &self.parts;
        if self.after.is_none() {
            let before = Timestamp::now().minus(settings.early_rows_kept);
            let deleted = store.retention.prune_early_rows(before, settings.prune_batch).await?;
            if deleted > 0 {
                tracing::info!(
                    deleted,
                    "operations on executions are forgotten of which nothing became known"
                );
            }
            if deleted >= u64::from(settings.prune_batch) {
                return Ok(Next::AtOnce);
            }
        }
        let Some(keep) = settings.retention else { return Ok(Next::InTime) };
        let (before, batch) = (Timestamp::now().minus(keep), settings.prune_batch);
        if self.after.is_none()
            && let Some(deleted) = store.retention.drop_day(before).await?
        {
            tracing::debug!(deleted, "a day of old executions is dropped");
            return Ok(Next::AtOnce);
        }
        let pruned = store.retention.prune_executions(before, self.after, batch).await?;
        if pruned.deleted > 0 {
            tracing::debug!(deleted = pruned.deleted, "old executions are deleted");
        }
        self.after = pruned.next;
        if self.after.is_some() {
            return Ok(Next::AtOnce);
        }
        store.retention.prune_artifacts(before, batch).await?;
        Ok(Next::InTime)
    }
}
