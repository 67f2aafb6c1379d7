//! What users define.

use async_trait::async_trait;
use tokio::sync::watch;
use wasmill_domain::{Definitions, FunctionName, Revision, TenantName};

use super::error::Result;
use super::types::{Change, Changed, FunctionVersion};

/// What users define. Every change raises the revision by one, in the transaction that makes it.
#[async_trait]
pub trait Catalog: Send + Sync + 'static {
    /// What changed of the definitions since the revision `known`, all as of one revision, or
    /// `None` where that is still `known`: [`Definitions::changes`] tells which definitions
    /// changed, deleted ones included, and nothing of others is read. Everything that is defined
    /// where that is not known: there never was such a revision, which is so for -1, or it was too
    /// long ago. A definition that cannot be read is among [`Definitions::unreadable`] and keeps
    /// nobody from the others.
    async fn definitions(&self, known: Revision) -> Result<Option<Definitions>>;

    /// Hears of changes when they are committed, by whichever process: the receiver has the latest
    /// revision that was notified, and 0 before the first. An addition to asking for the
    /// [`Catalog::definitions`] again and again, as nothing is notified while the database is away;
    /// `None` where asking is all there is. Each call listens anew until its receiver is dropped.
    /// To be called within a tokio runtime.
    fn changes(&self) -> Option<watch::Receiver<Revision>> {
        None
    }

    /// Makes one change. A change that alters nothing (the same artifact and manifest deployed
    /// again, the same schema put again) keeps the revision and says so.
    ///
    /// # Errors
    /// [`Error::NotFound`](super::StoreError::NotFound) for a function, version, schema, key,
    /// secret or artifact that is not there, and for an artifact that is not the tenant's;
    /// [`Error::QuotaExceeded`](super::StoreError::QuotaExceeded) for one function, schema or key
    /// more than the tenant may have; [`Error::Conflict`](super::StoreError::Conflict) for the last
    /// operator key's deletion while others exist, for a host name that is not the tenant's, for a
    /// route that another function has, for a host name that is granted to another tenant, for a
    /// first key that is not an operator's, for a secret's version that is not the next one, and
    /// for one secret more than a tenant may have.
    async fn define(&self, change: &Change) -> Result<Changed>;

    /// Every version of a function, the newest first. Empty where there is no such function.
    async fn versions(
        &self,
        tenant: &TenantName,
        function: &FunctionName,
    ) -> Result<Vec<FunctionVersion>>;
}
