//! Executions that are due.

use wasmill_domain::Timestamp;

use crate::publish::publish_all;
use crate::{SchedulerParts, Trouble};

/// Publishes a batch of what is due, and says whether there may be more. From the moment that an
/// execution is promoted it is in the outbox, so nothing is lost where publishing fails.
pub(crate) async fn publish_due(parts: &SchedulerParts) -> Result<bool, Trouble> {
    let due = parts.store.promote_due(Timestamp::now(), parts.settings.batch).await?;
    let is_full = due.len() >= parts.settings.batch as usize;
    publish_all(parts, due).await?;
    Ok(is_full)
}
