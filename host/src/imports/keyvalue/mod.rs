//! `wasi:keyvalue`: what functions keep from one execution to the next, in the store.
//!
//! Two drafts of it are in use. Both are the same operations here, with other types around them: `draft` is the one that was
//! released, `draft2` the one that knows compare-and-swap. Every operation is done at once, in a transaction of its own: it does not
//! wait for the attempt's success.

mod access;
mod draft;
mod draft2;

use std::sync::Arc;

use wasmill_domain::manifest::BucketScope;
use wasmill_domain::{BucketName, FunctionName, LogLevel, Manifest, TenantName};
use wasmill_guest::GuestData;
use wasmill_store::{Bucket, ValueVersion};
use wasmtime::component::{HasSelf, Linker, Resource};

pub use self::access::KeyvalueStore;
use self::access::{Call, Failure};
use crate::guest::{CurrentExecution, Guest};
use crate::log::SharedLog;

/// Links both drafts.
pub(super) fn add_to_linker(linker: &mut Linker<GuestData>) -> wasmtime::Result<()> {
    draft::Imports::add_to_linker::<_, HasSelf<_>>(linker, Guest::of_mut)?;
    draft2::Imports::add_to_linker::<_, HasSelf<_>>(linker, Guest::of_mut)
}

/// What an instance may ask of buckets.
pub(crate) struct Keyvalue {
    store: Option<KeyvalueStore>,
    /// `None` where nothing may be asked.
    attempt: Option<Attempt>,
}

/// Whose attempt it is, and which buckets its manifest names.
struct Attempt {
    tenant: TenantName,
    function: FunctionName,
    buckets: Vec<(BucketName, BucketScope)>,
    log: SharedLog,
}

/// A bucket that a guest has opened.
#[expect(unreachable_pub, reason = "the bindings, which are private, export it")]
pub struct OpenBucket(Arc<Bucket>);

/// A value as a guest has seen it.
#[expect(unreachable_pub, reason = "the bindings, which are private, export it")]
pub struct Cas {
    bucket: Arc<Bucket>,
    key: String,
    seen: Option<ValueVersion>,
}

impl Keyvalue {
    /// For a new instance; nothing is kept before an attempt begins.
    pub(crate) fn new(store: Option<KeyvalueStore>) -> Self {
        Self { store, attempt: None }
    }

    /// Begins an attempt.
    pub(crate) fn begin(&mut self, manifest: &Manifest, execution: &CurrentExecution, log: &SharedLog) {
        let granted = manifest.keyvalue.as_ref();
        // The trial before a deploy is no attempt: what starts there must not change anything.
        self.attempt = granted.filter(|_| execution.attempt > 0).map(|buckets| Attempt {
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

    fn store(&self) -> Result<KeyvalueStore, Failure> {
        match (&self.store, &self.attempt) {
            (Some(store), Some(_)) => Ok(store.clone()),
            (None, Some(_)) => Err(Failure::Other("this host keeps nothing for functions".into())),
            (_, None) => Err(Failure::Other("buckets are there for executions only".into())),
        }
    }

    fn open(&self, identifier: &str) -> Result<OpenBucket, Failure> {
        self.store()?;
        let Some(attempt) = &self.attempt else { return Err(Failure::NoSuchStore) };
        let Some((name, scope)) = attempt.buckets.iter().find(|(name, _)| name.as_str() == identifier) else {
            let shown: String = identifier.chars().take(80).collect();
            let message = format!(
                "there is no bucket '{shown}': name it in the manifest's [keyvalue] table, as in {shown:?} = \"function\""
            );
            attempt.log.note(LogLevel::Warn, message);
            return Err(Failure::NoSuchStore);
        };
        let function = (*scope == BucketScope::Function).then(|| attempt.function.clone());
        Ok(OpenBucket(Arc::new(Bucket { tenant: attempt.tenant.clone(), function, name: name.clone() })))
    }
}

/// What both drafts do with a guest.
impl Guest {
    fn open_bucket(&mut self, identifier: &str) -> wasmtime::Result<Result<Resource<OpenBucket>, Failure>> {
        let opened = if self.calls.count() { self.keyvalue.open(identifier) } else { Err(Failure::too_many_calls()) };
        match opened {
            Ok(bucket) => Ok(Ok(self.resources().push(bucket)?)),
            Err(failure) => Ok(Err(failure)),
        }
    }

    fn close_bucket(&mut self, bucket: Resource<OpenBucket>) -> wasmtime::Result<()> {
        self.calls.count();
        self.resources().delete(bucket)?;
        Ok(())
    }

    fn call_on(&mut self, bucket: &Resource<OpenBucket>) -> wasmtime::Result<Call> {
        let bucket = Arc::clone(&self.resources().get(bucket)?.0);
        Ok(self.call(bucket))
    }

    fn call(&mut self, bucket: Arc<Bucket>) -> Call {
        let store = if self.calls.count() { self.keyvalue.store() } else { Err(Failure::too_many_calls()) };
        Call::new(store, bucket)
    }
}
