//! What is still to be done.

use std::time::Duration;

use async_trait::async_trait;
use wasmill_domain::{AttemptKey, Dispatch, Timestamp};

use super::error::Result;

/// The default of `publish_timeout` in a store's settings: how long a publish is waited for by
/// default.
pub(crate) const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);

/// The work queue and the outbox: what is still to be done.
#[async_trait]
pub trait Agenda: Send + Sync + 'static {
    /// Moves up to `limit` delayed executions that are due to `queued`, into the outbox, and
    /// gives them to be published. Their entries count as made when that has had its time, the
    /// settings' `publish_timeout`, and so do those of emitted events, which hosts publish, and of
    /// what an operator has resumed or replayed, which the gateway does.
    async fn promote_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Dispatch>>;

    /// Up to `limit` outbox entries that were made before `before`, the oldest first.
    async fn outbox(&self, before: Timestamp, limit: u32) -> Result<Vec<Dispatch>>;

    /// Takes entries out of the outbox: the broker has confirmed them. One that was made in a later
    /// epoch stays.
    async fn published(&self, entries: &[AttemptKey]) -> Result<()>;
}
