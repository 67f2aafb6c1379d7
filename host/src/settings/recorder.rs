//! How outcomes are committed.

use std::time::Duration;

use wasmill_domain::backoff::Backoff;

/// The first pause between two tries at something that is away.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// How outcomes are committed.
#[derive(Clone, Debug)]
pub struct RecorderSettings {
    /// Ends of attempts in one transaction. Default: 256.
    pub batch: usize,
    /// Bytes of events, results and logs in one transaction, about: it is full with the first end
    /// that reaches it. The one of functions that have little to record is bounded by
    /// `waiting_bytes` alone. Default: 1 MiB.
    pub batch_bytes: usize,
    /// Transactions at once, but for one more of functions that have little to record. Default: 2.
    pub commits: usize,
    /// Ends of attempts that wait for their transaction; then hosts wait. Default: 1,024.
    pub waiting: usize,
    /// Bytes of results and logs that wait. A single larger one still gets in, alone. Default: 256
    /// MiB.
    pub waiting_bytes: usize,
    /// Emitted executions that wait to be published, or to be confirmed; the scheduler publishes what
    /// does not fit. Default: 4,096.
    pub outbox: usize,
    /// How long the publish of one is tried, from its commit on; then the scheduler publishes it. It
    /// is to be the `publish_timeout` of the store, which keeps it from the scheduler for as long.
    /// Default: 5 s.
    pub publish_timeout: Duration,
    /// The longest pause between two tries while the store or the broker is away. Default: 2 s.
    pub max_pause: Duration,
}

impl RecorderSettings {
    /// The pauses between tries while the store or the broker is away.
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(FIRST_PAUSE, self.max_pause)
    }
}

impl Default for RecorderSettings {
    fn default() -> Self {
        Self {
            batch: 256,
            batch_bytes: 1 << 20,
            commits: 2,
            waiting: 1_024,
            waiting_bytes: 256 << 20,
            outbox: 4_096,
            publish_timeout: Duration::from_secs(5),
            max_pause: Duration::from_secs(2),
        }
    }
}
