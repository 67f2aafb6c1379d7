//! What hosts ask about the attempts that they make, and about those that are still to be made.

use async_trait::async_trait;
use wasmill_domain::{AttemptKey, FunctionName, Order, TenantName};

use super::error::Result;

/// How many open executions of a tenant's are looked at for those of one function.
pub(crate) const OPEN_LOOKED_AT: i64 = 10_000;

/// What hosts are to do with what they run, and with what is left of a function.
#[async_trait]
pub trait Orders: Send + Sync + 'static {
    /// A host runs these attempts: an order for each whose outcome would not stand any more, as an
    /// operator has moved its execution, or as that has gone on without it. One that has no row yet
    /// has none, nor has one whose row is of another tenant. Each order comes with the attempt that it
    /// is for: of two attempts at one execution it says nothing of the other.
    ///
    /// # Errors
    /// [`Error::Unavailable`](crate::StoreError::Unavailable).
    async fn orders(
        &self,
        running: &[(TenantName, AttemptKey)],
    ) -> Result<Vec<(AttemptKey, Order)>>;

    /// Whether a host may still be sent executions of a function: whether one is delayed, queued or
    /// running. What is suspended waits for its operator, maybe for ever, and does not count. Where
    /// the tenant has so many of them that one of this function's may be beyond those that are looked
    /// at, there may be one.
    ///
    /// # Errors
    /// [`Error::Unavailable`](crate::StoreError::Unavailable).
    async fn has_open(&self, tenant: &TenantName, function: &FunctionName) -> Result<bool>;
}
