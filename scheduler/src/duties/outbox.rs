//! What the outbox still holds.

use std::time::{Duration, Instant};

use wasmill_domain::Timestamp;

use crate::publish::publish_all;
use crate::settings::SchedulerSettings;
use crate::{SchedulerParts, Trouble};

/// How much further than its batch a sweep looks at most, past entries whose queues are full.
const FURTHEST: u32 = 32;

/// How long full queues are left alone.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// Publishes what has been in the outbox for longer than the grace: whoever put it there crashed,
/// or could not reach the broker.
pub(crate) struct Sweep {
    /// How many entries it looks at. More than a batch where the oldest belong to queues that are
    /// full: a backlog delays only its owner.
    limit: u32,
    next: Instant,
}

impl Sweep {
    pub(crate) fn new(settings: &SchedulerSettings) -> Self {
        Self { limit: settings.batch, next: Instant::now() }
    }

    /// Publishes a batch, and says whether there may be more.
    pub(crate) async fn run(&mut self, parts: &SchedulerParts) -> Result<bool, Trouble> {
        if Instant::now() < self.next {
            return Ok(false);
        }
        let batch = parts.settings.batch;
        let before = Timestamp::now().minus(parts.settings.grace);
        let left = parts.store.outbox(before, self.limit).await?;
        let is_full_page = left.len() >= self.limit as usize;
        let published = publish_all(parts, left).await?;
        if !is_full_page {
            self.limit = batch;
        } else if published.gone == 0 {
            self.limit = self.limit.saturating_mul(2).min(batch.saturating_mul(FURTHEST));
        }
        if published.gone == 0 && published.refused > 0 {
            self.next = Instant::now() + FULL_PAUSE;
        }
        Ok(is_full_page && published.gone > 0)
    }
}
