//! The key-value store of functions.

use async_trait::async_trait;
use bytes::Bytes;
use wasmill_domain::TenantName;

use super::error::Result;
use crate::buckets::{Bucket, BucketQuota, BucketSummary, KeyPage, Swap, ValueVersion};

/// What functions keep. Each call is a transaction of its own: it is seen whole or not at all, and
/// what it wrote is there when it returns. A bucket that does not exist is an empty one to whoever
/// reads.
///
/// # Errors
/// Beside [`Error::Unavailable`](super::StoreError::Unavailable):
/// [`Error::Rejected`](super::StoreError::Rejected) for a key that is empty or longer than
/// [`MAX_KEY_BYTES`](crate::MAX_KEY_BYTES), for more than [`MAX_BATCH_KEYS`](crate::MAX_BATCH_KEYS)
/// keys, and for a value that is longer than the quota says;
/// [`Error::Conflict`](super::StoreError::Conflict) for a bucket that would grow beyond its quota;
/// [`Error::NotFound`](super::StoreError::NotFound) for a write to the own bucket of a function
/// that does not exist.
#[async_trait]
pub trait Buckets: Send + Sync + 'static {
    /// The values of these keys, in the order asked; `None` for a key that is not there.
    ///
    /// # Errors
    /// [`Error::Rejected`](super::StoreError::Rejected) also where the values have more than
    /// [`MAX_BATCH_BYTES`](crate::MAX_BATCH_BYTES) together.
    async fn values(&self, bucket: &Bucket, keys: &[String]) -> Result<Vec<Option<Bytes>>>;

    /// The version of a key's value; `None` for a key that is not there.
    async fn value_version(&self, bucket: &Bucket, key: &str) -> Result<Option<ValueVersion>>;

    /// Up to `limit` keys, from the first one or after the place that another page gave. Keys that
    /// are there all the time are listed exactly once, whatever else is set and deleted meanwhile.
    async fn keys(&self, bucket: &Bucket, after: Option<u64>, limit: u32) -> Result<KeyPage>;

    /// Sets values, all or none. Of entries with the same key the last one counts.
    async fn set_values(
        &self,
        bucket: &Bucket,
        entries: &[(String, Bytes)],
        quota: &BucketQuota,
    ) -> Result<()>;

    /// Sets a value if the key still has the value of this version (`None`: if it is still not
    /// there).
    async fn swap_value(
        &self,
        bucket: &Bucket,
        key: &str,
        expected: Option<ValueVersion>,
        value: &Bytes,
        quota: &BucketQuota,
    ) -> Result<Swap>;

    /// Adds to a number and gives the sum. A number is kept as decimal digits, maybe after a minus;
    /// a key that is not there counts as 0.
    ///
    /// # Errors
    /// [`Error::Conflict`](super::StoreError::Conflict) also where the value is no such number, or
    /// the sum does not fit in 64 bits.
    async fn increment(
        &self,
        bucket: &Bucket,
        key: &str,
        delta: i64,
        quota: &BucketQuota,
    ) -> Result<i64>;

    /// Deletes keys, all at once, and gives how many of them were there.
    async fn delete_values(&self, bucket: &Bucket, keys: &[String]) -> Result<u64>;

    /// Every bucket of a tenant, by name, the shared one before those of functions.
    async fn buckets(&self, tenant: &TenantName) -> Result<Vec<BucketSummary>>;
}
