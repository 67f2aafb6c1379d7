//! A store and a broker that can be taken away and brought back: the real ones, closed and opened
//! again on the same files.

use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;
use wasmill_broker::{Broker, Consumption, Depth, Message, PendingReply, QueueName, ReplyTo};
use wasmill_domain::{
    AttemptKey, Definitions, Digest, Dispatch, ExecutionId, FunctionName, Operation, Revision,
    SealedSecret, SecretName, SecretSummary, TenantName, Timestamp,
};
use wasmill_store::{
    Agenda, Bucket, BucketQuota, BucketSummary, Buckets, Catalog, Change, Changed, DeadLetter,
    DeadLetterSummary, DeadLetters, ExecutionDetail, ExecutionQuery, Finished, Installation,
    KeyPage, Ledger, ListedExecution, LogEntry, LogPosition, Moved, Publication, Result,
    SealingKeyUse, Started, Store, Swap, Term, ValueVersion, Version,
};

/// Passes every call on to the one that is there now.
pub(super) struct Restart<T: ?Sized> {
    now: RwLock<Arc<T>>,
    hangs: AtomicBool,
}

impl<T: ?Sized> Restart<T> {
    pub(super) fn new(first: Arc<T>) -> Self {
        Self { now: RwLock::new(first), hangs: AtomicBool::new(false) }
    }

    /// From now on no publish is answered, as where a network drops everything.
    pub(super) fn hang(&self) {
        self.hangs.store(true, Ordering::SeqCst);
    }

    pub(super) fn replace(&self, next: Arc<T>) {
        *self.now.write().unwrap() = next;
    }

    fn now(&self) -> Arc<T> {
        Arc::clone(&self.now.read().unwrap())
    }
}

#[async_trait]
impl Catalog for Restart<dyn Store> {
    async fn definitions(&self, known: Revision) -> Result<Option<Definitions>> {
        self.now().definitions(known).await
    }
    async fn define(&self, change: &Change) -> Result<Changed> {
        self.now().define(change).await
    }
    async fn versions(&self, tenant: &TenantName, function: &FunctionName) -> Result<Vec<Version>> {
        self.now().versions(tenant, function).await
    }
    async fn put_artifact(
        &self,
        tenant: &TenantName,
        digest: Digest,
        bytes: Bytes,
    ) -> Result<bool> {
        self.now().put_artifact(tenant, digest, bytes).await
    }

    async fn tenant_artifact(&self, tenant: &TenantName, digest: Digest) -> Result<Option<Bytes>> {
        self.now().tenant_artifact(tenant, digest).await
    }
    async fn artifact(&self, digest: Digest) -> Result<Option<Bytes>> {
        self.now().artifact(digest).await
    }
    async fn artifact_sizes(
        &self,
        tenant: &TenantName,
        digests: &[Digest],
    ) -> Result<Vec<Option<u64>>> {
        self.now().artifact_sizes(tenant, digests).await
    }

    async fn secrets(&self, tenant: &TenantName) -> Result<Vec<SecretSummary>> {
        self.now().secrets(tenant).await
    }
    async fn secret(&self, tenant: &TenantName, name: &SecretName) -> Result<Option<SealedSecret>> {
        self.now().secret(tenant, name).await
    }

    async fn sealing_keys(&self) -> Result<Vec<SealingKeyUse>> {
        self.now().sealing_keys().await
    }

    async fn installation(&self) -> Result<Installation> {
        self.now().installation().await
    }

    async fn broker_marked(&self, at: Timestamp) -> Result<()> {
        self.now().broker_marked(at).await
    }
}

#[async_trait]
impl Ledger for Restart<dyn Store> {
    async fn ping(&self) -> Result<()> {
        self.now().ping().await
    }
    async fn enqueue(&self, dispatches: &[Dispatch], publication: Publication) -> Result<()> {
        self.now().enqueue(dispatches, publication).await
    }
    async fn start(&self, attempts: &[Started]) -> Result<()> {
        self.now().start(attempts).await
    }
    async fn unfinished(&self, attempts: &[Dispatch]) -> Result<Vec<bool>> {
        self.now().unfinished(attempts).await
    }
    async fn record(&self, finished: &[Finished]) -> Result<Vec<bool>> {
        self.now().record(finished).await
    }
    async fn move_execution(
        &self,
        tenant: &TenantName,
        id: ExecutionId,
        operation: &Operation,
    ) -> Result<Moved> {
        self.now().move_execution(tenant, id, operation).await
    }
    async fn executions(&self, query: &ExecutionQuery) -> Result<Vec<ListedExecution>> {
        self.now().executions(query).await
    }
    async fn execution(
        &self,
        tenant: &TenantName,
        id: ExecutionId,
    ) -> Result<Option<ExecutionDetail>> {
        self.now().execution(tenant, id).await
    }
    async fn logs(
        &self,
        tenant: &TenantName,
        id: ExecutionId,
        after: Option<LogPosition>,
        limit: u32,
    ) -> Result<Vec<LogEntry>> {
        self.now().logs(tenant, id, after, limit).await
    }
}

#[async_trait]
impl Buckets for Restart<dyn Store> {
    async fn values(&self, bucket: &Bucket, keys: &[String]) -> Result<Vec<Option<Bytes>>> {
        self.now().values(bucket, keys).await
    }
    async fn value_version(&self, bucket: &Bucket, key: &str) -> Result<Option<ValueVersion>> {
        self.now().value_version(bucket, key).await
    }
    async fn keys(&self, bucket: &Bucket, after: Option<u64>, limit: u32) -> Result<KeyPage> {
        self.now().keys(bucket, after, limit).await
    }
    async fn set_values(
        &self,
        bucket: &Bucket,
        entries: &[(String, Bytes)],
        quota: &BucketQuota,
    ) -> Result<()> {
        self.now().set_values(bucket, entries, quota).await
    }
    async fn swap_value(
        &self,
        bucket: &Bucket,
        key: &str,
        expected: Option<ValueVersion>,
        value: &Bytes,
        quota: &BucketQuota,
    ) -> Result<Swap> {
        self.now().swap_value(bucket, key, expected, value, quota).await
    }
    async fn increment(
        &self,
        bucket: &Bucket,
        key: &str,
        delta: i64,
        quota: &BucketQuota,
    ) -> Result<i64> {
        self.now().increment(bucket, key, delta, quota).await
    }
    async fn delete_values(&self, bucket: &Bucket, keys: &[String]) -> Result<u64> {
        self.now().delete_values(bucket, keys).await
    }
    async fn buckets(&self, tenant: &TenantName) -> Result<Vec<BucketSummary>> {
        self.now().buckets(tenant).await
    }
}

#[async_trait]
impl Agenda for Restart<dyn Store> {
    async fn promote_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Dispatch>> {
        self.now().promote_due(now, limit).await
    }
    async fn outbox(&self, before: Timestamp, limit: u32) -> Result<Vec<Dispatch>> {
        self.now().outbox(before, limit).await
    }
    async fn published(&self, entries: &[AttemptKey]) -> Result<()> {
        self.now().published(entries).await
    }
    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Term>> {
        self.now().lease(name, holder, ttl).await
    }
    async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64> {
        self.now().prune(before, limit).await
    }
}

#[async_trait]
impl DeadLetters for Restart<dyn Store> {
    async fn put_dead_letter(&self, letter: &DeadLetter, attempts: &[AttemptKey]) -> Result<()> {
        self.now().put_dead_letter(letter, attempts).await
    }
    async fn dead_letters(
        &self,
        before: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<DeadLetterSummary>> {
        self.now().dead_letters(before, limit).await
    }
    async fn dead_letter(&self, id: Uuid) -> Result<Option<DeadLetter>> {
        self.now().dead_letter(id).await
    }
    async fn reopen_dead_letter(
        &self,
        letter: &DeadLetter,
        attempts: &[AttemptKey],
    ) -> Result<u64> {
        self.now().reopen_dead_letter(letter, attempts).await
    }
    async fn delete_dead_letter(&self, id: Uuid) -> Result<bool> {
        self.now().delete_dead_letter(id).await
    }
}

#[async_trait]
impl Broker for Restart<dyn Broker> {
    async fn declare(&self, queue: &QueueName) -> wasmill_broker::Result<()> {
        self.now().declare(queue).await
    }
    async fn delete(&self, queue: &QueueName) -> wasmill_broker::Result<()> {
        self.now().delete(queue).await
    }
    async fn publish(&self, queue: &QueueName, message: Message) -> wasmill_broker::Result<()> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.now().publish(queue, message).await
    }
    async fn request(
        &self,
        queue: &QueueName,
        message: Message,
    ) -> wasmill_broker::Result<PendingReply> {
        self.now().request(queue, message).await
    }
    async fn reply(&self, to: &ReplyTo, body: Bytes) -> wasmill_broker::Result<()> {
        self.now().reply(to, body).await
    }
    async fn consume(
        &self,
        queue: &QueueName,
        prefetch: NonZeroU16,
    ) -> wasmill_broker::Result<Consumption> {
        self.now().consume(queue, prefetch).await
    }
    async fn open_stream(
        &self,
        service: &QueueName,
        opening: Bytes,
    ) -> wasmill_broker::Result<wasmill_broker::RequestStream> {
        self.now().open_stream(service, opening).await
    }
    async fn accept_streams(
        &self,
        service: &QueueName,
        most: NonZeroU16,
    ) -> wasmill_broker::Result<Box<dyn wasmill_broker::IncomingStreams>> {
        self.now().accept_streams(service, most).await
    }
    async fn depth(&self, queue: &QueueName) -> wasmill_broker::Result<Depth> {
        self.now().depth(queue).await
    }
    async fn owner(&self, id: Uuid) -> wasmill_broker::Result<wasmill_broker::Owner> {
        self.now().owner(id).await
    }

    async fn mark(&self, id: Uuid) -> wasmill_broker::Result<()> {
        self.now().mark(id).await
    }

    async fn queues(&self) -> wasmill_broker::Result<Option<Vec<(QueueName, Depth)>>> {
        self.now().queues().await
    }

    async fn ping(&self) -> wasmill_broker::Result<()> {
        self.now().ping().await
    }
}
