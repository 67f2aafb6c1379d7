//! Secrets, sealed.

use async_trait::async_trait;
use wasmill_domain::{SealedSecret, SecretName, SecretSummary, TenantName};

use super::error::Result;
use super::types::SealingKeyUse;

/// Secrets as they are kept: sealed. They are put and deleted as definitions are
/// ([`Catalog::define`](super::Catalog::define)).
#[async_trait]
pub trait Secrets: Send + Sync + 'static {
    /// What may be told of a tenant's secrets, by name. They are not among the definitions: a
    /// process needs those that its functions ask for, and no others.
    async fn secrets(&self, tenant: &TenantName) -> Result<Vec<SecretSummary>>;

    /// A tenant's secret, sealed.
    async fn secret(&self, tenant: &TenantName, name: &SecretName) -> Result<Option<SealedSecret>>;

    /// The operator's keys that secrets of any tenant are sealed by, by id, each with the number of
    /// its secrets and one of them: by that a process finds out whether it could open them.
    async fn sealing_keys(&self) -> Result<Vec<SealingKeyUse>>;
}
