//! The way from a guest's call to the store.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use wasmill_store::{Bucket, BucketQuota, Buckets, KeyPage, StoreError, Swap, ValueVersion};

/// The most keys that a guest gets with one call.
const KEYS_AT_ONCE: u32 = 1_000;

/// Keeps what functions keep.
#[derive(Clone)]
pub struct KeyvalueStore {
    buckets: Arc<dyn Buckets>,
    quota: BucketQuota,
    /// Where the store's connections live: guests' threads have no sockets.
    runtime: Handle,
}

impl KeyvalueStore {
    /// Buckets that may become as large as `quota` says. To be called within the tokio runtime on
    /// which the store works.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn new(buckets: Arc<dyn Buckets>, quota: BucketQuota) -> Self {
        Self { buckets, quota, runtime: Handle::current() }
    }

    pub(super) fn quota(&self) -> &BucketQuota {
        &self.quota
    }
}

impl fmt::Debug for KeyvalueStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyvalueStore").field("quota", &self.quota).finish_non_exhaustive()
    }
}

/// Why a call came to nothing. Guests are told; none of it is a trap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The manifest names no such bucket.
    NoSuchStore,
    /// Anything else, in words for people.
    Other(String),
}

impl Failure {
    /// The guest is ended when this call returns, so it will not read it.
    pub(super) fn too_many_calls() -> Self {
        Self::Other("too many calls of host functions".into())
    }

    fn of(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(why) | StoreError::Schema(why) => {
                tracing::debug!(why, "a function's bucket cannot be reached");
                Self::Other("not available now".into())
            }
            StoreError::Conflict(why)
            | StoreError::QuotaExceeded { why, .. }
            | StoreError::Rejected(why) => Self::Other(why),
            not_found @ StoreError::NotFound(_) => Self::Other(not_found.to_string()),
        }
    }
}

/// A call of an operation on a bucket. Dropping what it does calls it off, which leaves it done or
/// not done.
pub(super) struct Call {
    store: Result<KeyvalueStore, Failure>,
    bucket: Arc<Bucket>,
}

impl Call {
    pub(super) fn new(store: Result<KeyvalueStore, Failure>, bucket: Arc<Bucket>) -> Self {
        Self { store, bucket }
    }

    /// Has the store do something where its connections live.
    async fn ask<T, F>(
        self,
        work: impl FnOnce(Arc<dyn Buckets>, Arc<Bucket>, BucketQuota) -> F,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let KeyvalueStore { buckets, quota, runtime } = self.store?;
        let task = AbortOnDropHandle::new(runtime.spawn(work(buckets, self.bucket, quota)));
        match task.await {
            Ok(done) => done.map_err(Failure::of),
            // The process ends, or the store panicked.
            Err(error) => Err(Failure::of(StoreError::Unavailable(error.to_string()))),
        }
    }

    pub(super) async fn get(self, key: String) -> Result<Option<Vec<u8>>, Failure> {
        let values = self.get_many(vec![key]).await?;
        Ok(values.into_iter().next().and_then(|(_, value)| value))
    }

    pub(super) async fn set(self, key: String, value: Vec<u8>) -> Result<(), Failure> {
        self.set_many(vec![(key, value)]).await
    }

    pub(super) async fn delete(self, key: String) -> Result<(), Failure> {
        self.delete_many(vec![key]).await
    }

    pub(super) async fn exists(self, key: String) -> Result<bool, Failure> {
        Ok(self.version(key).await?.is_some())
    }

    pub(super) async fn version(self, key: String) -> Result<Option<ValueVersion>, Failure> {
        self.ask(|buckets, bucket, _| async move { buckets.value_version(&bucket, &key).await })
            .await
    }

    pub(super) async fn keys(self, after: Option<u64>) -> Result<KeyPage, Failure> {
        self.ask(
            |buckets, bucket, _| async move { buckets.keys(&bucket, after, KEYS_AT_ONCE).await },
        )
        .await
    }

    pub(super) async fn increment(self, key: String, delta: i64) -> Result<i64, Failure> {
        self.ask(|buckets, bucket, quota| async move {
            buckets.increment(&bucket, &key, delta, &quota).await
        })
        .await
    }

    pub(super) async fn swap(
        self,
        key: String,
        seen: Option<ValueVersion>,
        value: Vec<u8>,
    ) -> Result<Swap, Failure> {
        let value = Bytes::from(value);
        self.ask(|buckets, bucket, quota| async move {
            buckets.swap_value(&bucket, &key, seen, &value, &quota).await
        })
        .await
    }

    pub(super) async fn get_many(
        self,
        keys: Vec<String>,
    ) -> Result<Vec<(String, Option<Vec<u8>>)>, Failure> {
        self.ask(|buckets, bucket, _| async move {
            let values = buckets.values(&bucket, &keys).await?;
            Ok(keys.into_iter().zip(values.into_iter().map(|value| value.map(Vec::from))).collect())
        })
        .await
    }

    pub(super) async fn set_many(self, entries: Vec<(String, Vec<u8>)>) -> Result<(), Failure> {
        let entries: Vec<(String, Bytes)> =
            entries.into_iter().map(|(key, value)| (key, value.into())).collect();
        self.ask(|buckets, bucket, quota| async move {
            buckets.set_values(&bucket, &entries, &quota).await
        })
        .await
    }

    pub(super) async fn delete_many(self, keys: Vec<String>) -> Result<(), Failure> {
        self.ask(|buckets, bucket, _| async move {
            buckets.delete_values(&bucket, &keys).await.map(drop)
        })
        .await
    }
}
