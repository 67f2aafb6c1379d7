//! What hosts ask about the attempts that they make.

use async_trait::async_trait;
use wasmill_domain::{AttemptKey, Order, TenantName};

use super::error::Result;

/// What hosts are to do with what they run.
#[async_trait]
pub trait Orders: Send + Sync + 'static {
    /// A host runs these attempts: an order for each whose outcome would not stand any more, as an
    /// operator has moved its execution, or as that has gone on without it. One that has no row yet
    /// has none, nor has one whose row is of another tenant.
    ///
    /// # Errors
    /// [`Error::Unavailable`](crate::StoreError::Unavailable).
    async fn orders(&self, running: &[(TenantName, AttemptKey)]) -> Result<Vec<Order>>;
}
