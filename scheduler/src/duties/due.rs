//! Executions that are due.

use std::time::Duration;

use async_trait::async_trait;
use wasmill_domain::Timestamp;

use super::publish::publish_all;
use crate::duty::{Duty, Next};
use crate::error::DutyError;
use crate::parts::SchedulerParts;

/// Publishes what is due. From the moment that an execution is promoted it is in the outbox, so
/// nothing is lost where publishing fails.
pub(crate) struct Due {
    parts: SchedulerParts,
}

impl Due {
    pub(crate) fn new(parts: &SchedulerParts) -> Self {
        Self { parts: parts.clone() }
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
        let batch = self.parts.settings.batch;
        let due = self.parts.store.agenda.promote_due(Timestamp::now(), batch).await?;
        let is_full = due.len() >= batch as usize;
        publish_all(&self.parts, due).await?;
        Ok(if is_full { Next::AtOnce } else { Next::InTime })
    }
}
