//! Who does what only one may do at a time.

use std::time::Duration;

use async_trait::async_trait;

use super::error::Result;
use super::types::Term;

/// Leases: who does what only one process is to do at a time.
#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// Takes or renews the lease called `name` for `holder` until `ttl` from now by the database's
    /// clock, and gives its term; `None` while somebody else holds it. A new holder has a higher
    /// term.
    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Term>>;
}
