//! What runs functions: wasmtime, the threads that guests run on, and everything kept between two
//! attempts.

pub(crate) mod config;
mod guests;
mod ticker;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::task::JoinHandle;
use wasmill_background::Background;
use wasmill_component::{FileSource, PreflightError};
use wasmill_domain::{Digest, FunctionName, Manifest, TenantName};

use self::guests::GuestThreads;
use self::ticker::Ticker;
use crate::capabilities::Capabilities;
use crate::error::StartError;
use crate::fair_semaphore::FairSemaphore;
use crate::fairness::Fairness;
use crate::files::{Files, Folders};
use crate::guest::Guest;
use crate::imports;
use crate::imports::outgoing::{Network, Outgoing, Resolve, SystemResolver};
use crate::instance::{Instance, InstanceReservation, allowance_for};
use crate::prepare::Versions;
use crate::prepare::prepared::Prepared;
use crate::reuse::{Owner, WarmPool};
use crate::settings::{EngineSettings, GuestSettings};
use crate::shares::{SharePermit, TenantShares};

/// How often who waits for an instance's room looks again for warm instances to drop.
const DROP_WARM_AGAIN: Duration = Duration::from_secs(1);

/// Compiles functions and runs them. One for a process.
pub struct Engine {
    // The threads end first: guests on them use the rest.
    guests: GuestThreads,
    warm: Arc<WarmPool>,
    versions: Arc<Versions>,
    folders: Arc<Folders>,
    inspections: Arc<FairSemaphore>,
    fairness: Fairness,
    slots: TenantShares,
    total_slots: u32,
    /// Memory that is not promised to any instance, in MiB.
    memory: TenantShares,
    total_memory: u32,
    preflight_wait_timeout: Duration,
    pooled: bool,
    wasi_0_3: bool,
    guest_settings: GuestSettings,
    network: Arc<Network>,
    capabilities: Capabilities,
    ticker: Ticker,
}

impl Engine {
    /// Starts the threads and makes the pool. Functions may use `capabilities` where their
    /// manifests grant it.
    ///
    /// # Errors
    /// Where the machine does not allow it.
    pub fn new(
        settings: EngineSettings,
        capabilities: Capabilities,
    ) -> Result<Arc<Self>, StartError> {
        let resolver = SystemResolver::new(settings.outgoing.lookups);
        Self::with_resolver(settings, capabilities, Arc::new(resolver))
    }

    /// The same, with something else that looks names up.
    pub(crate) fn with_resolver(
        settings: EngineSettings,
        capabilities: Capabilities,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Arc<Self>, StartError> {
        let wasmtime_error = |e: wasmtime::Error| StartError::Wasmtime(format!("{e:#}"));
        let config::Sized { wasmtime, slots, pooled } =
            config::build(&settings).map_err(wasmtime_error)?;
        let tables_per_slot = config::TABLES_PER_SLOT;
        let linker = imports::linker(&wasmtime, settings.wasi_0_3).map_err(wasmtime_error)?;
        let versions = Versions::new(wasmtime.clone(), linker, pooled, tables_per_slot, &settings);
        let total_memory = u32::try_from(settings.memory >> 20).unwrap_or(u32::MAX).max(1);
        let guests = GuestThreads::start(settings.threads.max(1), settings.niceness)?;
        let folders = Folders::new(
            settings.cache_dir.as_ref().map(|dir| dir.join("files")),
            settings.files_bytes,
        );
        let warm = Arc::new(WarmPool::new(settings.warm_instances, settings.warm_idle));
        guests.spawn(expire_warm(Arc::downgrade(&warm), settings.warm_idle));
        Ok(Arc::new(Self {
            guests,
            warm,
            versions,
            folders: Arc::new(folders),
            // Those who ask are bounded, so nobody needs to give up.
            inspections: FairSemaphore::new(
                settings.compile.inspections,
                usize::MAX,
                Duration::MAX,
            ),
            fairness: Fairness::new(settings.threads.max(1), settings.slice),
            slots: TenantShares::new(u64::from(slots)),
            total_slots: slots,
            memory: TenantShares::new(u64::from(total_memory)),
            total_memory,
            preflight_wait_timeout: settings.preflight_wait_timeout,
            pooled,
            wasi_0_3: settings.wasi_0_3,
            guest_settings: settings.guest,
            network: Network::start(settings.outgoing, resolver)?,
            capabilities,
            ticker: Ticker::start(settings.tick, move || wasmtime.increment_epoch())?,
        }))
    }

    /// Runs a future on the threads of guests, which is where [`Engine::run`] belongs.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.guests.spawn(future)
    }

    /// Gets a version ready: from memory, from disk, or compiled from the artifact, which `fetch`
    /// gets.
    ///
    /// # Errors
    /// Where it cannot be compiled or linked, and what `fetch` says.
    pub async fn prepare(
        &self,
        digest: Digest,
        fetch: impl Future<Output = Result<bytes::Bytes, PreflightError>>,
    ) -> Result<Arc<Prepared>, PreflightError> {
        self.prepare_for(&TenantName::default(), digest, fetch).await
    }

    /// The same on behalf of a tenant: compiling is fair between tenants.
    ///
    /// # Errors
    /// As [`Engine::prepare`].
    pub async fn prepare_for(
        &self,
        tenant: &TenantName,
        digest: Digest,
        fetch: impl Future<Output = Result<bytes::Bytes, PreflightError>>,
    ) -> Result<Arc<Prepared>, PreflightError> {
        self.versions.prepare(tenant, digest, fetch).await
    }

    /// How many versions wait to be compiled.
    pub fn waiting_compilations(&self) -> usize {
        self.versions.waiting_compilations()
    }

    /// When a version may be tried again whose compilation took too much; `None` where there is
    /// none such.
    pub(crate) fn refused_until(&self, digest: Digest) -> Option<Instant> {
        self.versions.refused_until(digest)
    }

    /// A version that is ready and in memory.
    pub fn ready(&self, digest: Digest) -> Option<Arc<Prepared>> {
        self.versions.ready(digest)
    }

    /// What keeps what was compiled.
    pub(crate) fn versions(&self) -> &Arc<Versions> {
        &self.versions
    }

    /// How many instances there can be at once.
    pub fn slots(&self) -> usize {
        self.total_slots as usize
    }

    /// How many slots nobody has.
    #[cfg(test)]
    pub(crate) fn free_slots(&self) -> usize {
        self.slots.available() as usize
    }

    /// How much memory is promised to nobody, in MiB.
    #[cfg(test)]
    pub(crate) fn free_memory(&self) -> usize {
        self.memory.available() as usize
    }

    /// How many attempts and trials wait for room for their instance.
    #[cfg(test)]
    pub(crate) fn waiting_instances(&self) -> usize {
        self.slots.waiting() + self.memory.waiting()
    }

    /// Whether instances come from a pool; without one they start more slowly.
    pub fn is_pooled(&self) -> bool {
        self.pooled
    }

    /// Whether components for WASI 0.3 are run as well.
    pub fn runs_wasi_0_3(&self) -> bool {
        self.wasi_0_3
    }

    /// How many warm instances wait for an execution.
    pub fn warm_instances(&self) -> usize {
        self.warm.len()
    }

    /// Memory that all instances together may have, and the host for them, in bytes.
    pub fn memory(&self) -> u64 {
        u64::from(self.total_memory) << 20
    }

    /// Gets the files of a version ready, from the folder where they are kept, or else from
    /// `source`; `None` where it has none.
    ///
    /// # Errors
    /// Where they cannot be kept, and what `source` says.
    pub async fn files(
        &self,
        manifest: &Manifest,
        source: &dyn FileSource,
    ) -> Result<Option<Arc<Files>>, PreflightError> {
        self.folders.of(manifest, source).await
    }

    /// Says whether functions of more than one tenant are run: then each has a share only of
    /// instances, memory and connections.
    pub(crate) fn set_shared(&self, is_shared: bool) {
        self.slots.set_shared(is_shared);
        self.memory.set_shared(is_shared);
        self.network.set_shared(is_shared);
    }

    /// Makes a fresh instance for a tenant, when there is room for it.
    pub(crate) async fn instance(
        &self,
        tenant: &TenantName,
        prepared: &Arc<Prepared>,
        manifest: &Manifest,
        files: Option<&Arc<Files>>,
    ) -> Instance {
        let owner = (tenant, &manifest.name);
        let slots = self.take(&self.slots, owner, u64::from(prepared.slots())).await;
        let bytes =
            manifest.limits.memory.0.saturating_add(allowance_for(manifest, &self.guest_settings));
        let memory = self.take(&self.memory, owner, bytes.div_ceil(1 << 20)).await;
        let outgoing = Outgoing::new(Arc::clone(&self.network));
        let reservation = InstanceReservation { _slots: slots, _memory: memory };
        let guest = Guest::new(
            manifest,
            &self.guest_settings,
            outgoing,
            &self.capabilities,
            files.cloned(),
        );
        Instance::new(prepared, manifest, &self.guest_settings, guest, reservation)
    }

    async fn take(
        &self,
        of: &TenantShares,
        (tenant, function): (&TenantName, &FunctionName),
        count: u64,
    ) -> SharePermit {
        let mut taking = std::pin::pin!(of.acquire(tenant, function, count));
        if let Some(taken) = taking.as_mut().now_or_never() {
            return taken;
        }
        // Instances that only wait make room for one that works; from now on none such is kept. Who
        // is not entitled to their room yet may be a little later.
        loop {
            self.drop_needed();
            if let Ok(taken) = tokio::time::timeout(DROP_WARM_AGAIN, taking.as_mut()).await {
                return taken;
            }
        }
    }

    /// Keeps an instance for its owner's next execution, unless somebody needs the room.
    pub(crate) fn keep_warm(&self, owner: Owner, instance: Instance) {
        let tenant = owner.tenant.clone();
        if self.is_needed(&tenant) {
            return;
        }
        self.warm.put(owner, instance);
        // Who came in between has seen no instance.
        if self.is_needed(&tenant) {
            self.drop_needed();
        }
    }

    /// Drops warm instances of those whose room is needed.
    fn drop_needed(&self) {
        self.warm.drop_of(|tenant| self.is_needed(tenant));
    }

    /// Whether the room of a tenant's warm instances is needed: by itself, or by others that wait
    /// though they have less than their part.
    fn is_needed(&self, tenant: &TenantName) -> bool {
        self.slots.is_needed(tenant) || self.memory.is_needed(tenant)
    }

    /// How long the check of a version waits for room for an instance.
    pub(crate) fn preflight_wait_timeout(&self) -> Duration {
        self.preflight_wait_timeout
    }

    /// Threads for what is done before a version is run.
    pub(crate) fn background(&self) -> &Background {
        self.versions.background()
    }

    /// Permits to inspect artifacts.
    pub(crate) fn inspections(&self) -> &Arc<FairSemaphore> {
        &self.inspections
    }

    pub(crate) fn guest_settings(&self) -> &GuestSettings {
        &self.guest_settings
    }

    pub(crate) fn warm(&self) -> &WarmPool {
        &self.warm
    }

    pub(crate) fn ticker(&self) -> &Ticker {
        &self.ticker
    }

    pub(crate) fn fairness(&self) -> &Fairness {
        &self.fairness
    }
}

/// Drops warm instances that nobody needed, as long as there is a pool.
async fn expire_warm(warm: std::sync::Weak<WarmPool>, idle: Duration) {
    let pause = (idle / 4).max(Duration::from_millis(10));
    loop {
        tokio::time::sleep(pause).await;
        match warm.upgrade() {
            Some(warm) => warm.expire(),
            None => return,
        }
    }
}
