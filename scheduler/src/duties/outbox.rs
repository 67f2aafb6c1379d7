//! What the outbox still holds.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use wasmill_domain::Timestamp;

use super::publish::{Published, publish_all};
use crate::duty::{Duty, Next};
use crate::error::DutyError;
use crate::parts::SchedulerParts;

/// How much further than its batch a sweep looks at most, past entries whose queues are full or do
/// not answer.
const FURTHEST: u32 = 32;

/// How long full queues are left alone.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// Publishes what has been in the outbox for longer than the grace: whoever put it there crashed,
/// or could not reach the broker.
pub(crate) struct Sweep {
    parts: SchedulerParts,
    /// How many entries it looks at. More than a batch where the oldest belong to queues that are
    /// full or do not answer: a backlog delays only its owner.
    limit: u32,
    next: Instant,
}

impl Sweep {
    pub(crate) fn new(parts: &SchedulerParts) -> Self {
        Self { parts: parts.clone(), limit: parts.settings.batch, next: Instant::now() }
    }
}

#[async_trait]
impl Duty for Sweep {
    fn name(&self) -> &'static str {
        "outbox"
    }

    fn pace(&self) -> Duration {
        self.parts.settings.interval
    }

    async fn round(&mut self) -> Result<Next, DutyError> {
        if Instant::now() < self.next {
            return Ok(Next::InTime);
        }
        let batch = self.parts.settings.batch;
        let before = Timestamp::now().minus(self.parts.settings.grace);
        let left = self.parts.store.agenda.outbox(before, self.limit).await?;
        let is_full_page = left.len() >= self.limit as usize;
        let published = publish_all(&self.parts, left).await?;
        let Published { gone, refused, late, .. } = published;
        if !is_full_page {
            self.limit = batch;
        } else if gone == 0 && refused + late > 0 {
            self.limit = self.limit.saturating_mul(2).min(batch.saturating_mul(FURTHEST));
        }
        published.reached()?;
        if gone == 0 && refused > 0 {
            self.next = Instant::now() + FULL_PAUSE;
        }
        Ok(if is_full_page && gone > 0 { Next::AtOnce } else { Next::InTime })
    }
}
