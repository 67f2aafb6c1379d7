//! A store in between that can be told to be away, or to refuse what has to do with some execution.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;
use wasmill_domain::{
    AttemptKey, BrokenDefinition, DefinitionKind, Definitions, Digest, Dispatch, ExecutionId,
    FunctionDefinition, FunctionName, Operation, Order, Revision, SealedSecret, SecretName,
    SecretSummary, TenantName, Timestamp,
};
use wasmill_store::{
    Agenda, Bucket, BucketQuota, BucketSummary, Buckets, Catalog, Change, Changed, DeadLetter,
    DeadLetterSummary, DeadLetters, Error, ExecutionDetail, ExecutionQuery, Finished, Installation,
    KeyPage, Ledger, ListedExecution, LogEntry, LogPosition, Moved, Orders, Publication, Result,
    SealingKeyUse, Started, Store, Swap, Term, ValueVersion, Version,
};

pub(super) struct Proxy {
    inner: Arc<dyn Store>,
    orders: Arc<dyn Orders>,
    away: AtomicBool,
    /// Executions whose results and logs are refused.
    refused: Mutex<HashSet<ExecutionId>>,
    /// Functions whose definitions cannot be read.
    unreadable: Mutex<Vec<&'static str>>,
    /// Calls of `record`, refused ones included.
    pub(super) records: AtomicUsize,
    /// Calls of `beat`.
    pub(super) beats: AtomicUsize,
    letters_refused: AtomicUsize,
}

impl Proxy {
    pub(super) fn new(inner: Arc<dyn Store>, orders: Arc<dyn Orders>) -> Self {
        Self {
            inner,
            orders,
            away: AtomicBool::new(false),
            refused: Mutex::default(),
            unreadable: Mutex::default(),
            records: AtomicUsize::new(0),
            beats: AtomicUsize::new(0),
            letters_refused: AtomicUsize::new(0),
        }
    }

    /// Takes these functions for another release's, and no others.
    pub(super) fn set_unreadable(&self, functions: &[&'static str]) {
        *self.unreadable.lock().unwrap() = functions.to_vec();
    }

    /// The store itself, which is never away.
    pub(super) fn inner(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    pub(super) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    pub(super) fn refuse_content_of(&self, id: ExecutionId) {
        self.refused.lock().unwrap().insert(id);
    }

    /// How many dead letters were not taken, as the store was away.
    pub(super) fn letters_refused(&self) -> usize {
        self.letters_refused.load(Ordering::SeqCst)
    }

    fn there(&self) -> Result<&Arc<dyn Store>> {
        if self.away.load(Ordering::SeqCst) {
            return Err(Error::Unavailable("cut off by the test".into()));
        }
        Ok(&self.inner)
    }
}

#[async_trait]
impl Catalog for Proxy {
    async fn definitions(&self, known: Revision) -> Result<Option<Definitions>> {
        // What is taken for unreadable changes without a change of the store.
        let mut all = match self.there()?.definitions(known).await? {
            Some(_) => self.there()?.definitions(Revision(-1)).await?,
            None => None,
        };
        if let Some(all) = &mut all {
            let unreadable = self.unreadable.lock().unwrap();
            let is_unreadable =
                |function: &mut FunctionDefinition| unreadable.contains(&function.name.as_str());
            all.broken.extend(all.functions.extract_if(.., is_unreadable).map(|function| {
                BrokenDefinition {
                    kind: DefinitionKind::Function,
                    tenant: function.tenant.to_string(),
                    name: function.name.to_string(),
                    key: None,
                    why: "made so by the test".into(),
                }
            }));
        }
        Ok(all)
    }

    async fn define(&self, change: &Change) -> Result<Changed> {
        self.there()?.define(change).await
    }

    async fn versions(&self, tenant: &TenantName, function: &FunctionName) -> Result<Vec<Version>> {
        self.there()?.versions(tenant, function).await
    }

    async fn put_artifact(
        &self,
        tenant: &TenantName,
        digest: Digest,
        bytes: Bytes,
    ) -> Result<bool> {
        self.there()?.put_artifact(tenant, digest, bytes).await
    }

    async fn tenant_artifact(&self, tenant: &TenantName, digest: Digest) -> Result<Option<Bytes>> {
        self.there()?.tenant_artifact(tenant, digest).await
    }

    async fn artifact(&self, digest: Digest) -> Result<Option<Bytes>> {
        self.there()?.artifact(digest).await
    }

    async fn artifact_sizes(
        &self,
        tenant: &TenantName,
        digests: &[Digest],
    ) -> Result<Vec<Option<u64>>> {
        self.there()?.artifact_sizes(tenant, digests).await
    }

    async fn secrets(&self, tenant: &TenantName) -> Result<Vec<SecretSummary>> {
        self.there()?.secrets(tenant).await
    }

    async fn secret(&self, tenant: &TenantName, name: &SecretName) -> Result<Option<SealedSecret>> {
        self.there()?.secret(tenant, name).await
    }

    async fn sealing_keys(&self) -> Result<Vec<SealingKeyUse>> {
        self.there()?.sealing_keys().await
    }

    async fn installation(&self) -> Result<Installation> {
        self.there()?.installation().await
    }

    async fn broker_marked(&self, at: Timestamp) -> Result<()> {
        self.there()?.broker_marked(at).await
    }
}

#[async_trait]
impl Ledger for Proxy {
    async fn ping(&self) -> Result<()> {
        self.there()?.ping().await
    }

    async fn enqueue(&self, dispatches: &[Dispatch], publication: Publication) -> Result<()> {
        self.there()?.enqueue(dispatches, publication).await
    }

    async fn start(&self, attempts: &[Started]) -> Result<()> {
        self.there()?.start(attempts).await
    }

    async fn unfinished(&self, attempts: &[Dispatch]) -> Result<Vec<bool>> {
        self.there()?.unfinished(attempts).await
    }

    async fn record(&self, finished: &[Finished]) -> Result<Vec<bool>> {
        self.records.fetch_add(1, Ordering::SeqCst);
        let inner = self.there()?;
        {
            let refused = self.refused.lock().unwrap();
            let has_content = |f: &Finished| f.report.output.is_some() || !f.logs.is_empty();
            if finished.iter().any(|f| refused.contains(&f.dispatch.execution) && has_content(f)) {
                return Err(Error::Rejected("refused by the test".into()));
            }
        }
        inner.record(finished).await
    }

    async fn move_execution(
        &self,
        tenant: &TenantName,
        id: ExecutionId,
        operation: &Operation,
    ) -> Result<Moved> {
        self.there()?.move_execution(tenant, id, operation).await
    }

    async fn executions(&self, query: &ExecutionQuery) -> Result<Vec<ListedExecution>> {
        self.there()?.executions(query).await
    }

    async fn execution(
        &self,
        tenant: &TenantName,
        id: ExecutionId,
    ) -> Result<Option<ExecutionDetail>> {
        self.there()?.execution(tenant, id).await
    }

    async fn logs(
        &self,
        tenant: &TenantName,
        id: ExecutionId,
        after: Option<LogPosition>,
        limit: u32,
    ) -> Result<Vec<LogEntry>> {
        self.there()?.logs(tenant, id, after, limit).await
    }
}

#[async_trait]
impl Orders for Proxy {
    async fn beat(&self, running: &[AttemptKey]) -> Result<Vec<Order>> {
        self.beats.fetch_add(1, Ordering::SeqCst);
        self.there()?;
        self.orders.beat(running).await
    }
}

#[async_trait]
impl Agenda for Proxy {
    async fn promote_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Dispatch>> {
        self.there()?.promote_due(now, limit).await
    }

    async fn outbox(&self, before: Timestamp, limit: u32) -> Result<Vec<Dispatch>> {
        self.there()?.outbox(before, limit).await
    }

    async fn published(&self, entries: &[AttemptKey]) -> Result<()> {
        self.there()?.published(entries).await
    }

    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Term>> {
        self.there()?.lease(name, holder, ttl).await
    }

    async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64> {
        self.there()?.prune(before, limit).await
    }
}

#[async_trait]
impl Buckets for Proxy {
    async fn values(&self, bucket: &Bucket, keys: &[String]) -> Result<Vec<Option<Bytes>>> {
        self.there()?.values(bucket, keys).await
    }

    async fn value_version(&self, bucket: &Bucket, key: &str) -> Result<Option<ValueVersion>> {
        self.there()?.value_version(bucket, key).await
    }

    async fn keys(&self, bucket: &Bucket, after: Option<u64>, limit: u32) -> Result<KeyPage> {
        self.there()?.keys(bucket, after, limit).await
    }

    async fn set_values(
        &self,
        bucket: &Bucket,
        entries: &[(String, Bytes)],
        quota: &BucketQuota,
    ) -> Result<()> {
        self.there()?.set_values(bucket, entries, quota).await
    }

    async fn swap_value(
        &self,
        bucket: &Bucket,
        key: &str,
        expected: Option<ValueVersion>,
        value: &Bytes,
        quota: &BucketQuota,
    ) -> Result<Swap> {
        self.there()?.swap_value(bucket, key, expected, value, quota).await
    }

    async fn increment(
        &self,
        bucket: &Bucket,
        key: &str,
        delta: i64,
        quota: &BucketQuota,
    ) -> Result<i64> {
        self.there()?.increment(bucket, key, delta, quota).await
    }

    async fn delete_values(&self, bucket: &Bucket, keys: &[String]) -> Result<u64> {
        self.there()?.delete_values(bucket, keys).await
    }

    async fn buckets(&self, tenant: &TenantName) -> Result<Vec<BucketSummary>> {
        self.there()?.buckets(tenant).await
    }
}

#[async_trait]
impl DeadLetters for Proxy {
    async fn put_dead_letter(&self, letter: &DeadLetter, attempts: &[AttemptKey]) -> Result<()> {
        let there = self.there().inspect_err(|_| {
            self.letters_refused.fetch_add(1, Ordering::SeqCst);
        });
        there?.put_dead_letter(letter, attempts).await
    }

    async fn dead_letters(
        &self,
        before: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<DeadLetterSummary>> {
        self.there()?.dead_letters(before, limit).await
    }

    async fn dead_letter(&self, id: Uuid) -> Result<Option<DeadLetter>> {
        self.there()?.dead_letter(id).await
    }

    async fn reopen_dead_letter(
        &self,
        letter: &DeadLetter,
        attempts: &[AttemptKey],
    ) -> Result<u64> {
        self.there()?.reopen_dead_letter(letter, attempts).await
    }

    async fn delete_dead_letter(&self, id: Uuid) -> Result<bool> {
        self.there()?.delete_dead_letter(id).await
    }
}
