//! Executions that are due.

use std::time::Duration;

use async_trait::async_trait;
use wasmill_domain::Timestamp;

use super::publish::Underway;
use crate::duty::{Duty, Next};
use crate::error::DutyError;
use crate::parts::SchedulerParts;

/// How many batches may be on their way to their queues.
const MOST_BATCHES: usize = 4;

/// Publishes what is due. From the moment that an execution is promoted it is in the outbox, so
/// nothing is lost where publishing fails. A round does not wait for queues that are slow to
/// answer: what is due meanwhile is other queues'.
pub(crate) struct Due {
    parts: SchedulerParts,
    underway: Underway,
}

impl Due {
    pub(crate) fn new(parts: &SchedulerParts) -> Self {
        Self { parts: parts.clone(), underway: Underway::new(parts) }
    }

    /// Promotes what is due, as far as there is room for it, and says whether there may be more.
    async fn promote(&mut self) -> Result<bool, DutyError> {
        let batch = self.parts.settings.batch;
        if self.underway.len() > (batch as usize).saturating_mul(MOST_BATCHES - 1) {
            return Ok(false);
        }
        let due = self.parts.store.agenda.promote_due(Timestamp::now(), batch).await?;
        let is_full = due.len() >= batch as usize;
        self.underway.add(due);
        Ok(is_full)
    }
}

#[async_trait]
impl Duty for Due {
    fn name(&self) -> &'static str {
        "due"
    }

    fn pace(&self) -> Duration {
        self.parts.settings.interval
    }

    async fn round(&mut self) -> Result<Next, DutyError> {
        let promoted = self.promote().await;
        let published = self.underway.settle().await?;
        let is_full = promoted?;
        published.reached()?;
        Ok(if is_full { Next::AtOnce } else { Next::InTime })
    }

    async fn finish(&mut self) -> Result<(), DutyError> {
        self.underway.finish().await.map(drop)
    }
}
