//! The bytes that versions are made of.

use async_trait::async_trait;
use bytes::Bytes;
use wasmill_domain::{Digest, TenantName};

use super::error::Result;

/// The bytes that versions are made of: components and files, by digest, and which tenant has
/// which.
#[async_trait]
pub trait Artifacts: Send + Sync + 'static {
    /// Keeps an artifact for a tenant, and says whether the tenant did not have it. Whether others
    /// have the same bytes makes no difference that can be seen.
    ///
    /// # Errors
    /// [`Error::Rejected`](super::StoreError::Rejected) where the digest is not that of the bytes;
    /// [`Error::QuotaExceeded`](super::StoreError::QuotaExceeded).
    async fn put_artifact(&self, tenant: &TenantName, digest: Digest, bytes: Bytes)
    -> Result<bool>;

    /// An artifact's bytes, whoever has it: for those who run what is defined, never to answer a
    /// tenant.
    ///
    /// # Errors
    /// [`Error::Unavailable`](super::StoreError::Unavailable) as well where the bytes are lost,
    /// until they are uploaded again.
    async fn artifact(&self, digest: Digest) -> Result<Option<Bytes>>;

    /// The bytes of an artifact that a tenant has: that it uploaded, or that one of its versions
    /// names. None where they are lost, so that it uploads them again, which mends it.
    async fn tenant_artifact(&self, tenant: &TenantName, digest: Digest) -> Result<Option<Bytes>>;

    /// The size of each of these artifacts that a tenant has uploaded, or that its versions have
    /// among their files, in the order asked; `None` for one that it does not have.
    async fn artifact_sizes(
        &self,
        tenant: &TenantName,
        digests: &[Digest],
    ) -> Result<Vec<Option<u64>>>;

    /// Which of these artifacts are not there, whoever had them: for those who keep what they have
    /// made of artifacts for as long as these are kept.
    async fn missing_artifacts(&self, digests: &[Digest]) -> Result<Vec<Digest>>;
}
