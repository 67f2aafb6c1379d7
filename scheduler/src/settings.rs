//! The scheduler's settings.

use std::time::Duration;

use wasmill_domain::lifecycle::EARLY_ROW_KEPT;

use crate::error::SchedulerError;

/// How a scheduler works. Every bound has its default here.
#[derive(Clone, Debug)]
pub struct SchedulerSettings {
    /// Names this process among the schedulers. Default: a random UUID.
    pub holder: String,
    /// How often it looks for what is due. Default: 200 ms, so a retry is at most that late.
    pub interval: Duration,
    /// How long a lease lasts, unless two paces of its duty are longer (2 min for retention and days
    /// ahead). A scheduler that dies is replaced after this at the latest. Default: 4 s.
    pub lease: Duration,
    /// How old an outbox entry must be to be swept. One whose maker publishes it at once counts as
    /// made when that has had its time (`publish_timeout` in the store's settings). Default: 2 s.
    pub grace: Duration,
    /// How many executions are taken at a time. Default: 500.
    pub batch: u32,
    /// How long a publish is waited for; then its entry is left in the outbox. As long as the
    /// store leaves entries to whoever made them (`publish_timeout` in its settings), or shorter.
    /// Default: 10 s.
    pub publish_timeout: Duration,
    /// How long ended executions are kept; `None` keeps them for ever. Default: 7 days.
    pub retention: Option<Duration>,
    /// How long it is remembered that an execution was cancelled or suspended of which nothing is
    /// known. Default: 7 days.
    pub early_rows_kept: Duration,
    /// How often old history is looked for. Default: 1 min.
    pub prune_interval: Duration,
    /// How many executions are deleted in one transaction. Default: 500.
    pub prune_batch: u32,
    /// How often processes are looked for that are not alive any more. Default: 5 s.
    pub node_interval: Duration,
    /// The longest pause between tries while the store is away. Default: 5 s.
    pub max_backoff: Duration,
}

impl Default for SchedulerSettings {
    fn default() -> Self {
        Self {
            holder: uuid::Uuid::now_v7().to_string(),
            interval: Duration::from_millis(200),
            lease: Duration::from_secs(4),
            grace: Duration::from_secs(2),
            batch: 500,
            publish_timeout: Duration::from_secs(10),
            retention: Some(Duration::from_secs(7 * 86_400)),
            early_rows_kept: EARLY_ROW_KEPT,
            prune_interval: Duration::from_secs(60),
            prune_batch: 500,
            node_interval: Duration::from_secs(5),
            max_backoff: Duration::from_secs(5),
        }
    }
}

impl SchedulerSettings {
    pub(crate) fn check(&self) -> Result<(), SchedulerError> {
        let wrong = |key, message| Err(SchedulerError::Setting { key, message });
        if self.batch == 0 || self.prune_batch == 0 {
            return wrong("batch, prune_batch", "must be at least 1");
        }
        if self.interval.is_zero() || self.publish_timeout.is_zero() {
            return wrong("interval, publish_timeout", "must be longer than nothing");
        }
        if self.lease < self.interval * 4 {
            return wrong(
                "lease",
                "must be at least four intervals, or it runs out between two renewals",
            );
        }
        Ok(())
    }
}
