//! Why a scheduler waits or ends.

/// Why a scheduler ended before it was told to. A store or broker that is away is no reason: it
/// waits for them.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// A setting makes no sense.
    #[error("scheduler setting {key}: {message}")]
    Setting {
        /// Which.
        key: &'static str,
        /// What would be right.
        message: &'static str,
    },
    /// A duty panicked, which is a mistake in wasmill.
    #[error("a duty of the scheduler panicked: {0}")]
    Panicked(String),
}

/// What keeps a scheduler waiting.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DutyError {
    #[error(transparent)]
    Store(#[from] wasmill_store::StoreError),
    #[error(transparent)]
    Broker(#[from] wasmill_broker::BrokerError),
}
