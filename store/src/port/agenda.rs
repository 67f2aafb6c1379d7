//! What is still to be done.

use async_trait::async_trait;
use wasmill_domain::{AttemptKey, Dispatch, Timestamp};

use super::error::Result;

/// The work queue and the outbox: what is still to be done.
#[async_trait]
pub trait Agenda: Send + Sync + 'static {
    /// Moves up to `limit` delayed executions that are due to `queued`, into the outbox, and
    /// gives them to be published.
    async fn promote_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Dispatch>>;

    /// Up to `limit` outbox entries that were made before `before`, the oldest first.
    async fn outbox(&self, before: Timestamp, limit: u32) -> Result<Vec<Dispatch>>;

    /// Takes entries out of the outbox: the broker has confirmed them. One that was made in a later
    /// epoch stays.
    async fn published(&self, entries: &[AttemptKey]) -> Result<()>;
}
