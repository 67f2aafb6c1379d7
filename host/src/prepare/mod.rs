//! Versions made ready to run: compiled, linked, and kept in memory and on disk.

mod child;
mod collect;
mod compiler;
mod disk;
mod memory;
pub(crate) mod prepared;
mod process;
mod refused;

use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmill_background::Background;
use wasmill_component::PreflightError;
use wasmill_domain::{Digest, TenantName};
use wasmill_guest::GuestData;
use wasmtime::component::{Component, Linker};

pub use self::child::compile;
pub(crate) use self::collect::collect;
use self::compiler::Compiling;
use self::disk::Disk;
use self::memory::Memory;
use self::prepared::Prepared;
use self::refused::Refused;
use crate::entry::Entry;
use crate::error::sentence;
use crate::fair_semaphore::FairSemaphore;
use crate::settings::EngineSettings;
use crate::under_way::{DigestLock, UnderWay};

/// Every version that was used lately, ready to run.
pub(crate) struct Versions {
    wasmtime: wasmtime::Engine,
    linker: Linker<GuestData>,
    tables_per_slot: u32,
    wasi_0_3: bool,
    memory: Mutex<Memory>,
    disk: Option<Disk>,
    background: Background,
    compiling: Compiling,
    queue: Arc<FairSemaphore>,
    /// Permits to read what is on disk.
    loads: Arc<FairSemaphore>,
    refused: Mutex<Refused>,
    /// Who prepares a version holds its lock, so that it is compiled once.
    under_way: UnderWay,
}

impl Versions {
    /// For an engine, linking what `linker` has.
    pub(crate) fn new(
        wasmtime: wasmtime::Engine,
        linker: Linker<GuestData>,
        pooled: bool,
        tables_per_slot: u32,
        settings: &EngineSettings,
    ) -> Arc<Self> {
        let disk = settings
            .cache_dir
            .as_deref()
            .and_then(|dir| open_disk(dir, &wasmtime, settings.cache_disk_bytes));
        let compile = &settings.compile;
        Arc::new(Self {
            compiling: Compiling::new(wasmtime.clone(), pooled, settings),
            queue: FairSemaphore::new(compile.at_once, compile.waiting, compile.wait_timeout),
            // Whoever asks waits for one version, so nobody needs to give up.
            loads: FairSemaphore::new(settings.threads, usize::MAX, Duration::MAX),
            refused: Mutex::new(Refused::new(compile.pause, compile.longest_pause)),
            wasmtime,
            linker,
            tables_per_slot,
            wasi_0_3: settings.wasi_0_3,
            memory: Mutex::new(Memory::new(settings.cache_components, settings.cache_memory_bytes)),
            disk,
            background: Background::new("host-work"),
            under_way: UnderWay::default(),
        })
    }

    /// The version, if it is in memory.
    pub(crate) fn ready(&self, digest: Digest) -> Option<Arc<Prepared>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).get(digest)
    }

    /// How many wait to be compiled.
    pub(crate) fn waiting_compilations(&self) -> usize {
        self.queue.waiting()
    }

    /// When a version may be tried again that takes too much to compile.
    pub(crate) fn refused_until(&self, digest: Digest) -> Option<Instant> {
        self.refused().until(digest)
    }

    /// The version, from memory, from disk, or compiled from the artifact, which `fetch` gets,
    /// when the tenant has its permit.
    pub(crate) async fn prepare(
        self: &Arc<Self>,
        tenant: &TenantName,
        digest: Digest,
        fetch: impl Future<Output = Result<Bytes, PreflightError>>,
    ) -> Result<Arc<Prepared>, PreflightError> {
        if let Some(found) = self.find(tenant, digest).await {
            return found;
        }
        // The permit before the lock: nobody is kept from a permit of its own by who waits for one
        // with the same artifact.
        let permit = self
            .queue
            .acquire(tenant)
            .await
            .map_err(|e| PreflightError::Unavailable(e.to_string()))?;
        let lock = match self.find_locked(tenant, digest, self.under_way.lock(digest).await).await {
            Found::Ended(found) => return found,
            Found::Nothing(lock) => lock,
        };
        let artifact = fetch.await?;
        // Each step has the permit and the lock, as it goes on where nobody waits for it.
        let step = self.step(move |_| match Digest::of(&artifact) == digest {
            true => Ok((artifact, permit, lock)),
            false => Err(PreflightError::Unavailable(format!(
                "what is kept as the artifact {digest} is damaged"
            ))),
        });
        let (artifact, permit, lock) = step.await?;
        let compiled = self.compiling.compile(&self.background, artifact, permit).await;
        self.refused().note(Instant::now(), digest, &compiled);
        let (compiled, permit) = compiled?;
        self.step(move |this| {
            let _until_it_is_loaded = (permit, lock);
            this.ready_from(digest, &this.keep(digest, &compiled)?)
        })
        .await
    }

    /// The version from memory or disk, or the reason why it is not compiled now.
    async fn find(
        self: &Arc<Self>,
        tenant: &TenantName,
        digest: Digest,
    ) -> Option<Result<Arc<Prepared>, PreflightError>> {
        if let Some(prepared) = self.ready(digest) {
            return Some(Ok(prepared));
        }
        match self.find_locked(tenant, digest, self.under_way.lock(digest).await).await {
            Found::Ended(found) => Some(found),
            Found::Nothing(_) => None,
        }
    }

    async fn find_locked(
        self: &Arc<Self>,
        tenant: &TenantName,
        digest: Digest,
        lock: DigestLock,
    ) -> Found {
        if let Some(prepared) = self.ready(digest) {
            return Found::Ended(Ok(prepared));
        }
        if self.disk.is_none() {
            return self.refusal(digest, lock);
        }
        // Reading is work as well, by turns of the tenants.
        let permit = match self.loads.acquire(tenant).await {
            Ok(permit) => permit,
            Err(error) => return Found::Ended(Err(PreflightError::Unavailable(error.to_string()))),
        };
        let this = Arc::clone(self);
        let loading = tokio::task::spawn_blocking(move || {
            let component = this.load_from_disk(digest);
            let loaded = component.map(|component| this.ready_from(digest, &component)).transpose();
            drop(permit);
            loaded.map(|prepared| (prepared, lock))
        });
        match ended(loading.await) {
            Ok((Some(prepared), _)) => Found::Ended(Ok(prepared)),
            Ok((None, lock)) => self.refusal(digest, lock),
            Err(error) => Found::Ended(Err(error)),
        }
    }

    /// Why what is not there is not compiled now, if there is a reason.
    fn refusal(&self, digest: Digest, lock: DigestLock) -> Found {
        match self.refused().at(Instant::now(), digest) {
            Some(refusal) => Found::Ended(Err(refusal)),
            None => Found::Nothing(lock),
        }
    }

    /// Links a component and keeps it in memory.
    fn ready_from(
        &self,
        digest: Digest,
        component: &Component,
    ) -> Result<Arc<Prepared>, PreflightError> {
        let prepared = Arc::new(self.link(digest, component)?);
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(&prepared));
        Ok(prepared)
    }

    fn refused(&self) -> MutexGuard<'_, Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Threads for what may take long.
    pub(crate) fn background(&self) -> &Background {
        &self.background
    }

    /// Does a step of a compilation, behind what everybody waits for, to its end.
    async fn step<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, PreflightError> + Send + 'static,
    ) -> Result<T, PreflightError> {
        let this = Arc::clone(self);
        ended(self.background.run(move || work(&this)).await)
    }

    fn load_from_disk(&self, digest: Digest) -> Option<Component> {
        self.disk.as_ref()?.load(&self.wasmtime, digest)
    }

    /// Keeps what was compiled on disk, where there is a place for it, and loads it.
    fn keep(&self, digest: Digest, compiled: &[u8]) -> Result<Component, PreflightError> {
        if let Some(disk) = &self.disk {
            match disk.store(digest, compiled) {
                // From the file, its pages are shared and need not be held.
                Ok(()) => {
                    if let Some(component) = self.load_from_disk(digest) {
                        return Ok(component);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a compiled component cannot be kept on disk; it will be compiled again");
                }
            }
        }
        // SAFETY: wasmtime trusts the bytes: they must be what `Engine::precompile_component` made.
        // They are: this process made them, or read them from the standard output of a process that
        // it has started itself, of its own program, and that nobody else can write to. That
        // process reads somebody's component, as this one would have; what a flaw of the compiler
        // let a component do there, it would let it do here. Whether settings and versions are the
        // same, wasmtime checks.
        let component = unsafe { Component::deserialize(&self.wasmtime, compiled) };
        component.map_err(|e| {
            PreflightError::Unavailable(format!("what was compiled is refused: {}", sentence(&e)))
        })
    }

    fn link(&self, digest: Digest, component: &Component) -> Result<Prepared, PreflightError> {
        let mismatch = |e: wasmtime::Error| PreflightError::Mismatch(sentence(&e));
        let linked = self.linker.instantiate_pre(component).map_err(mismatch)?;
        let entries = Entry::all(component, &linked, self.wasi_0_3).map_err(mismatch)?;
        if entries.is_empty() {
            return Err(PreflightError::Mismatch("it exports nothing that can be called".into()));
        }
        let image = component.image_range();
        // Known for every component that imports no modules, and imports are interfaces only.
        let needs = component.resources_required();
        let (memories, tables, pages) = needs.map_or((1, 1, 0), |needs| {
            (needs.num_memories, needs.num_tables, needs.max_initial_memory_size.unwrap_or(0))
        });
        Ok(Prepared {
            digest,
            wasmtime: self.wasmtime.clone(),
            entries: entries.into_iter().map(Arc::new).collect(),
            size: (image.end.addr() - image.start.addr()) as u64,
            slots: memories.max(tables.div_ceil(self.tables_per_slot)).max(1),
            smallest_memory: pages.saturating_mul(64 << 10),
        })
    }
}

/// What is known of a version before it is compiled.
enum Found {
    /// It is ready, or there is a reason not to compile it.
    Ended(Result<Arc<Prepared>, PreflightError>),
    /// Nothing, and its lock.
    Nothing(DigestLock),
}

/// What came of work, where it did not panic.
fn ended<T>(
    done: Result<Result<T, PreflightError>, tokio::task::JoinError>,
) -> Result<T, PreflightError> {
    done.map_err(|e| PreflightError::Compile(format!("the compiler broke down: {e}")))?
}

fn open_disk(dir: &Path, wasmtime: &wasmtime::Engine, most_bytes: u64) -> Option<Disk> {
    match Disk::open(dir, identity(wasmtime), most_bytes) {
        Ok(disk) => Some(disk),
        Err(error) => {
            tracing::warn!(%error, dir = %dir.display(), "compiled components are not kept on disk");
            None
        }
    }
}

/// Stands for everything about an engine that decides whether it can load what another one
/// compiled, and for what makes components of core modules.
fn identity(wasmtime: &wasmtime::Engine) -> Digest {
    use std::hash::{Hash as _, Hasher};

    /// Collects what is hashed: the hash that counts is made of it afterwards.
    #[derive(Default)]
    struct Collect(Vec<u8>);

    impl Hasher for Collect {
        fn finish(&self) -> u64 {
            0
        }

        fn write(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
    }

    let mut collected = Collect::default();
    wasmtime.precompile_compatibility_hash().hash(&mut collected);
    wasmill_component::ADAPTERS.hash(&mut collected);
    Digest::of(&collected.0)
}

#[cfg(test)]
mod tests;
