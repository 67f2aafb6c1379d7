//! The end of history.

use async_trait::async_trait;
use wasmill_domain::{ExecutionId, Timestamp};

use super::error::Result;
use super::types::Pruned;

/// The end of history, in pieces: no call keeps rows, locks or connections from anybody for longer
/// than a moment, however much there is to delete.
#[async_trait]
pub trait Retention: Send + Sync + 'static {
    /// Looks at up to `limit` executions from the oldest one on, or from the one after `after`, and
    /// deletes those that ended before `before`, with their attempts and logs. What somebody is
    /// just changing is left, and so is a day that is past and in which [`Retention::drop_day`] has
    /// found nothing that has to stay: it drops it before long.
    async fn prune_executions(
        &self,
        before: Timestamp,
        after: Option<ExecutionId>,
        limit: u32,
    ) -> Result<Pruned>;

    /// Deletes up to `limit` artifacts that no version names or has among its files, and that are
    /// older than `before`, or than artifacts are kept that nobody uses; and takes up to as many
    /// from tenants that have them for no version of theirs.
    async fn prune_artifacts(&self, before: Timestamp, limit: u32) -> Result<()>;

    /// Deletes up to `limit` rows that operations made before `before`, of executions whose events
    /// have not come, and gives how many. What was decided about these is forgotten.
    async fn prune_early_rows(&self, before: Timestamp, limit: u32) -> Result<u64>;

    /// Makes the partitions of today and of the days ahead, where history has partitions and they
    /// are missing.
    async fn make_days(&self) -> Result<()>;

    /// Drops one day of which everything ended before `before`, where history has partitions, and
    /// gives how many executions it had. Each day has one turn in a pass, whatever comes of it: one
    /// that is in use just now, or takes long to look at, has its next one in the next pass. `None`
    /// where all have had theirs; the next call begins a pass.
    async fn drop_day(&self, before: Timestamp) -> Result<Option<u64>>;
}
