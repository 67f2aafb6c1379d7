//! Which installation a database belongs to.

use async_trait::async_trait;
use wasmill_domain::Timestamp;

use super::error::Result;
use super::types::Installation;

/// Which installation a database belongs to, and whether it answers.
#[async_trait]
pub trait Identity: Send + Sync + 'static {
    /// Whether the database answers.
    async fn ping(&self) -> Result<()>;

    /// What tells this installation from others. It is made with the database and never changes.
    async fn installation(&self) -> Result<Installation>;

    /// Notes that a broker is marked with this installation's id, for the first time or anew.
    async fn broker_marked(&self, at: Timestamp) -> Result<()>;
}
