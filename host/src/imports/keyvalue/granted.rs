//! What a manifest grants of buckets, and those that a guest has opened.

use std::sync::Arc;

use wasmill_domain::manifest::BucketScope;
use wasmill_domain::{BucketName, FunctionName, LogLevel, Manifest, TenantName};
use wasmill_store::{Bucket, ValueVersion};

use super::access::{Failure, KeyvalueStore};
use crate::execution::CurrentExecution;
use crate::log::SharedLog;

/// What an instance may ask of buckets.
pub(crate) struct Keyvalue {
    store: Option<KeyvalueStore>,
    /// `None` where nothing may be asked.
    attempt: Option<GrantedBuckets>,
}

/// Whose attempt it is, and which buckets its manifest names.
struct GrantedBuckets {
    tenant: TenantName,
    function: FunctionName,
    buckets: Vec<(BucketName, BucketScope)>,
    log: SharedLog,
}

/// A bucket that a guest has opened.
#[expect(unreachable_pub, reason = "the bindings, which are private, export it")]
pub struct OpenBucket(pub(super) Arc<Bucket>);

/// A value as a guest has seen it.
#[expect(unreachable_pub, reason = "the bindings, which are private, export it")]
pub struct Cas {
    pub(super) bucket: Arc<Bucket>,
    pub(super) key: String,
    pub(super) seen: Option<ValueVersion>,
}

impl Cas {
    /// What it takes in memory besides its fixed part, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.key.capacity()
    }
}

impl Keyvalue {
    /// For a new instance; nothing is kept before an attempt begins.
    pub(crate) fn new(store: Option<KeyvalueStore>) -> Self {
        Self { store, attempt: None }
    }

    /// Begins an attempt.
    pub(crate) fn begin(
        &mut self,
        manifest: &Manifest,
        execution: &CurrentExecution,
        log: &SharedLog,
    ) {
        let granted = manifest.keyvalue.as_ref();
        // The trial before a deploy is no attempt: what starts there must not change anything.
        self.attempt = granted.filter(|_| execution.attempt > 0).map(|buckets| GrantedBuckets {
            tenant: execution.tenant.clone(),
            function: execution.function.clone(),
            buckets: buckets.iter().map(|(name, scope)| (name.clone(), *scope)).collect(),
            log: log.clone(),
        });
    }

    /// The longest value that the guest may hand over, in bytes.
    pub(crate) fn largest_value(&self) -> usize {
        let store = self.store.as_ref().filter(|_| self.attempt.is_some());
        store.map_or(0, |store| usize::try_from(store.quota().value_bytes).unwrap_or(usize::MAX))
    }

    pub(super) fn store(&self) -> Result<KeyvalueStore, Failure> {
        match (&self.store, &self.attempt) {
            (Some(store), Some(_)) => Ok(store.clone()),
            (None, Some(_)) => Err(Failure::Other("this host keeps nothing for functions".into())),
            (_, None) => Err(Failure::Other("buckets are there for executions only".into())),
        }
    }

    pub(super) fn open(&self, identifier: &str) -> Result<OpenBucket, Failure> {
        self.store()?;
        let Some(attempt) = &self.attempt else { return Err(Failure::NoSuchStore) };
        let Some((name, scope)) =
            attempt.buckets.iter().find(|(name, _)| name.as_str() == identifier)
        else {
            let shown: String = identifier.chars().take(80).collect();
            let message = format!(
                "there is no bucket '{shown}': name it in the manifest's [keyvalue] table, as in {shown:?} = \"function\""
            );
            attempt.log.note(LogLevel::Warn, message);
            return Err(Failure::NoSuchStore);
        };
        let function = (*scope == BucketScope::Function).then(|| attempt.function.clone());
        Ok(OpenBucket(Arc::new(Bucket {
            tenant: attempt.tenant.clone(),
            function,
            name: name.clone(),
        })))
    }
}
