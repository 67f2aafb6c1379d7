//! A store in between, for tests of whoever uses one: made of the ports' verbs by one macro.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;
use wasmill_domain::{
    AttemptKey, Definitions, Digest, Dispatch, ExecutionId, FunctionName, Operation, Order,
    Revision, SealedSecret, SecretName, SecretSummary, TenantName, Timestamp,
};

use crate::buckets::{Bucket, BucketQuota, BucketSummary, KeyPage, Swap, ValueVersion};
use crate::dead_letters::{DeadLetter, DeadLetterSummary};
use crate::nodes::{LiveNode, Node};
use crate::port::{
    Agenda, Artifacts, Buckets, Catalog, Change, Changed, DeadLetters, ExecutionDetail,
    ExecutionQuery, Finished, FunctionVersion, History, Identity, Installation, Leases, Ledger,
    ListedExecution, LogEntry, LogPosition, Nodes, OperationResult, Orders, Pruned, Publication,
    Result, Retention, SealingKeyUse, Secrets, Started, Term,
};

/// Passes every call on to a store, by way of a [`Hook`]. It tells nobody of changes of the
/// definitions, so whoever follows them asks.
pub struct Proxy<S, H> {
    inner: RwLock<Arc<S>>,
    hook: H,
}

impl<S, H> Proxy<S, H> {
    /// Stands before `inner`.
    pub fn new(inner: Arc<S>, hook: H) -> Self {
        Self { inner: RwLock::new(inner), hook }
    }

    /// The store itself.
    pub fn inner(&self) -> Arc<S> {
        Arc::clone(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What it does with calls.
    pub fn hook(&self) -> &H {
        &self.hook
    }

    /// Stands before another store from now on, such as the same one opened again.
    pub fn replace(&self, next: Arc<S>) {
        *self.inner.write().unwrap_or_else(PoisonError::into_inner) = next;
    }
}

/// Makes [`Hook`], and each port of [`Proxy`].
macro_rules! proxy {
    ($($port:ident { $(fn $verb:ident($($name:ident: $kind:ty),*) -> $answer:ty;)+ })+) => {
        /// What a [`Proxy`] does with calls: nothing, unless a test says otherwise.
        #[async_trait]
        pub trait Hook: Send + Sync + 'static {
            /// Comes before every call, by the verb's name. The call waits for it, and an error is
            /// the answer to it.
            async fn before(&self, _verb: &'static str) -> Result<()> {
                Ok(())
            }

            $($(
                #[doc = concat!("Answers calls of `", stringify!($verb), "`.")]
                async fn $verb(&self, inner: &dyn $port, $($name: $kind),*) -> $answer {
                    inner.$verb($($name),*).await
                }
            )+)+
        }

        $(
            #[async_trait]
            impl<S: $port, H: Hook> $port for Proxy<S, H> {
                $(
                    async fn $verb(&self, $($name: $kind),*) -> $answer {
                        self.hook.before(stringify!($verb)).await?;
                        let inner = self.inner();
                        self.hook.$verb(&*inner, $($name),*).await
                    }
                )+
            }
        )+
    };
}

proxy! {
    Catalog {
        fn definitions(known: Revision) -> Result<Option<Definitions>>;
        fn define(change: &Change) -> Result<Changed>;
        fn versions(tenant: &TenantName, function: &FunctionName) -> Result<Vec<FunctionVersion>>;
    }
    Artifacts {
        fn put_artifact(tenant: &TenantName, digest: Digest, bytes: Bytes) -> Result<bool>;
        fn artifact(digest: Digest) -> Result<Option<Bytes>>;
        fn tenant_artifact(tenant: &TenantName, digest: Digest) -> Result<Option<Bytes>>;
        fn artifact_sizes(tenant: &TenantName, digests: &[Digest]) -> Result<Vec<Option<u64>>>;
        fn missing_artifacts(digests: &[Digest]) -> Result<Vec<Digest>>;
    }
    Secrets {
        fn secrets(tenant: &TenantName) -> Result<Vec<SecretSummary>>;
        fn secret(tenant: &TenantName, name: &SecretName) -> Result<Option<SealedSecret>>;
        fn sealing_keys() -> Result<Vec<SealingKeyUse>>;
    }
    Identity {
        fn ping() -> Result<()>;
        fn installation() -> Result<Installation>;
        fn broker_marked(at: Timestamp) -> Result<()>;
    }
    Ledger {
        fn enqueue(dispatches: &[Dispatch], publication: Publication) -> Result<()>;
        fn start(attempts: &[Started]) -> Result<()>;
        fn unfinished(attempts: &[Dispatch]) -> Result<Vec<bool>>;
        fn record(finished: &[Finished]) -> Result<Vec<bool>>;
        fn transition_execution(tenant: &TenantName, id: ExecutionId, operation: &Operation) -> Result<OperationResult>;
    }
    History {
        fn executions(query: &ExecutionQuery) -> Result<Vec<ListedExecution>>;
        fn execution(tenant: &TenantName, id: ExecutionId) -> Result<Option<ExecutionDetail>>;
        fn logs(tenant: &TenantName, id: ExecutionId, after: Option<LogPosition>, limit: u32) -> Result<Vec<LogEntry>>;
    }
    Agenda {
        fn promote_due(now: Timestamp, limit: u32) -> Result<Vec<Dispatch>>;
        fn outbox(before: Timestamp, limit: u32) -> Result<Vec<Dispatch>>;
        fn published(entries: &[AttemptKey]) -> Result<()>;
    }
    Leases {
        fn lease(name: &str, holder: &str, ttl: Duration) -> Result<Option<Term>>;
    }
    Retention {
        fn prune_executions(before: Timestamp, after: Option<ExecutionId>, limit: u32) -> Result<Pruned>;
        fn prune_artifacts(before: Timestamp, limit: u32) -> Result<()>;
        fn prune_early_rows(before: Timestamp, limit: u32) -> Result<u64>;
        fn make_days() -> Result<()>;
        fn drop_day(before: Timestamp) -> Result<Option<u64>>;
    }
    Buckets {
        fn values(bucket: &Bucket, keys: &[String]) -> Result<Vec<Option<Bytes>>>;
        fn value_version(bucket: &Bucket, key: &str) -> Result<Option<ValueVersion>>;
        fn keys(bucket: &Bucket, after: Option<u64>, limit: u32) -> Result<KeyPage>;
        fn set_values(bucket: &Bucket, entries: &[(String, Bytes)], quota: &BucketQuota) -> Result<()>;
        fn swap_value(bucket: &Bucket, key: &str, expected: Option<ValueVersion>, value: &Bytes, quota: &BucketQuota) -> Result<Swap>;
        fn increment(bucket: &Bucket, key: &str, delta: i64, quota: &BucketQuota) -> Result<i64>;
        fn delete_values(bucket: &Bucket, keys: &[String]) -> Result<u64>;
        fn buckets(tenant: &TenantName) -> Result<Vec<BucketSummary>>;
    }
    DeadLetters {
        fn put_dead_letter(letter: &DeadLetter, attempts: &[AttemptKey]) -> Result<()>;
        fn dead_letters(before: Option<Uuid>, limit: u32) -> Result<Vec<DeadLetterSummary>>;
        fn dead_letter(id: Uuid) -> Result<Option<DeadLetter>>;
        fn reopen_dead_letter(letter: &DeadLetter, attempts: &[AttemptKey]) -> Result<u64>;
        fn delete_dead_letter(id: Uuid) -> Result<bool>;
    }
    Orders {
        fn orders(running: &[(TenantName, AttemptKey)]) -> Result<Vec<(AttemptKey, Order)>>;
        fn has_open(tenant: &TenantName, function: &FunctionName) -> Result<bool>;
    }
    Nodes {
        fn beat(node: &Node) -> Result<()>;
        fn live_nodes() -> Result<Vec<LiveNode>>;
        fn leave(id: Uuid) -> Result<()>;
        fn delete_dead_nodes() -> Result<u64>;
    }
}
