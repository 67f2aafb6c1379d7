//! What the host knows of a guest while it runs: what is behind the data of its store.

use std::sync::Arc;
use std::time::Instant;

use wasmill_domain::Manifest;
use wasmill_guest::GuestData;
use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::capabilities::Capabilities;
use crate::execution::CurrentExecution;
use crate::files::Files;
use crate::granted::GrantedValues;
use crate::host_memory::{FIELDS_LIMIT, measure, most_of_a_call};
use crate::imports::keyvalue::granted::Keyvalue;
use crate::imports::outgoing::Outgoing;
use crate::imports::wasi;
use crate::limits::Limiter;
use crate::log::SharedLog;
use crate::settings::GuestSettings;
use crate::streams::Streams;

/// The state behind an instance. Everything of one attempt is replaced by [`Guest::begin`].
pub(crate) struct Guest {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    // Dropped before the resources: a body that a guest leaves behind would look finished
    // otherwise.
    pub(crate) outgoing: Outgoing,
    resources: ResourceTable,
    /// Its settings and secrets.
    pub(crate) granted: GrantedValues,
    pub(crate) keyvalue: Keyvalue,
    pub(crate) limiter: Limiter,
    pub(crate) log: SharedLog,
    pub(crate) calls: HostCalls,
    /// When the attempt is cut off.
    pub(crate) deadline: Instant,
    /// What `context.current` answers. Nothing before the first attempt begins.
    pub(crate) execution: Option<CurrentExecution>,
    /// What it finds below `/`.
    files: Option<Arc<Files>>,
    /// Whether it can find them yet.
    finds_files: bool,
    /// What a command reads and writes.
    streams: Streams,
    /// How long a result may be, in bytes.
    output_limit: usize,
    /// Calls of wasi:http since what the host holds was measured, and the most that each may have
    /// added.
    unmeasured: usize,
    most_of_a_call: usize,
    settings: GuestSettings,
}

/// Counts the calls of host functions.
pub(crate) struct HostCalls {
    left: u64,
    exceeded: bool,
    /// How many were counted that [`HostCalls::leave`] has not told of.
    untold: u64,
    /// What that was when the guest left for the host, for each time that it is there.
    outside: Vec<u64>,
}

impl HostCalls {
    fn new(most: u64) -> Self {
        Self { left: most, exceeded: false, untold: 0, outside: Vec::new() }
    }

    /// Counts one; says whether it is allowed. One that is not allowed ends the attempt when it
    /// returns.
    pub(crate) fn count(&mut self) -> bool {
        self.untold = self.untold.saturating_add(1);
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => self.exceeded = true,
        }
        !self.exceeded
    }

    /// The guest leaves for the host: for a function of it, or for one that wasmtime has built in.
    pub(crate) fn enter(&mut self) {
        self.outside.push(self.untold);
    }

    /// It comes back; says whether it was in a function of the host. (Such a function may have
    /// called the guest, and that the host again, so that they are told apart by where they began.)
    pub(crate) fn leave(&mut self) -> bool {
        let before = self.outside.pop().unwrap_or(self.untold);
        std::mem::replace(&mut self.untold, before) > before
    }

    /// Whether there was one too many.
    pub(crate) fn exceeded(&self) -> bool {
        self.exceeded
    }
}

impl Guest {
    /// The guest behind its store's data.
    pub(crate) fn of(data: &GuestData) -> &Self {
        data.state()
    }

    /// The same, to be changed.
    pub(crate) fn of_mut(data: &mut GuestData) -> &mut Self {
        data.state_mut()
    }

    /// For a new instance of a function.
    pub(crate) fn new(
        manifest: &Manifest,
        settings: &GuestSettings,
        outgoing: Outgoing,
        capabilities: &Capabilities,
        files: Option<Arc<Files>>,
    ) -> Self {
        let log = SharedLog::default();
        let mut settings = settings.clone();
        if files.is_some() {
            settings.resources = settings.resources.min(settings.resources_with_files);
        }
        let mut resources = ResourceTable::new();
        resources.set_max_capacity(settings.resources);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS_LIMIT);
        Self {
            // What may fail is for the attempt: its files are opened then.
            wasi: wasi::context(manifest, &log, &settings, None),
            http,
            outgoing,
            resources,
            granted: GrantedValues::new(manifest, Arc::clone(&capabilities.secrets)),
            keyvalue: Keyvalue::new(capabilities.keyvalue.clone()),
            limiter: Limiter::new(manifest.limits.memory.as_usize(), &settings),
            log,
            calls: HostCalls::new(0),
            deadline: Instant::now(),
            execution: None,
            files,
            finds_files: false,
            streams: Streams::default(),
            output_limit: 0,
            unmeasured: 0,
            most_of_a_call: 0,
            settings,
        }
    }

    /// Begins an attempt: nothing that was counted or written before stays.
    pub(crate) fn begin(
        &mut self,
        manifest: &Manifest,
        deadline: Instant,
        execution: CurrentExecution,
        streams: Option<Streams>,
    ) -> wasmtime::Result<()> {
        // What the attempt before has left behind.
        self.measure();
        self.limiter.begin(manifest.limits.memory.as_usize());
        self.log.begin(manifest.limits.log_bytes.as_usize());
        self.calls = HostCalls::new(manifest.limits.host_calls);
        self.granted.begin(&execution);
        self.outgoing.begin(manifest, deadline, &execution, &self.log);
        self.keyvalue.begin(manifest, &execution, &self.log);
        self.deadline = deadline;
        self.output_limit = manifest.limits.output_bytes.as_usize();
        if let Some(mut streams) = streams {
            streams.environment.extend(execution.environment());
            self.wasi = wasi::with_files(
                manifest,
                &self.log,
                &self.settings,
                Some(&streams),
                self.files.as_deref(),
            )?;
            self.streams = streams;
        } else if self.files.is_some() && !self.finds_files {
            self.wasi =
                wasi::with_files(manifest, &self.log, &self.settings, None, self.files.as_deref())?;
        }
        self.finds_files = true;
        self.execution = Some(execution);
        Ok(())
    }

    /// Says how many bytes the guest can hand over with one call.
    pub(crate) fn expect_calls_of(&mut self, largest: usize) {
        self.most_of_a_call = most_of_a_call(largest);
    }

    /// Measures what the host holds for it, if it may have changed; says whether that and its
    /// memory are within the limit.
    pub(crate) fn measure(&mut self) -> bool {
        if std::mem::take(&mut self.unmeasured) == 0 && self.limiter.host_memory().resources == 0 {
            return true;
        }
        let host_memory = measure(&mut self.resources, self.settings.resources);
        self.limiter.set_host_memory(host_memory)
    }

    /// The same as soon as what may have been added is a part of the room that is left which
    /// matters: the less room, the sooner.
    pub(crate) fn measure_in_time(&mut self) -> bool {
        let added = self.unmeasured.saturating_mul(self.most_of_a_call);
        added <= self.limiter.remaining() / 4 || self.measure()
    }

    /// What the host holds for it.
    pub(crate) fn resources(&mut self) -> &mut ResourceTable {
        &mut self.resources
    }

    /// What a command reads and writes.
    pub(crate) fn streams(&self) -> &Streams {
        &self.streams
    }

    /// How long a result may be, in bytes.
    pub(crate) fn output_limit(&self) -> usize {
        self.output_limit
    }
}

/// The limiter's, but that it knows what the host holds.
impl ResourceLimiter for Guest {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired.saturating_sub(current) > self.limiter.remaining() || self.unmeasured > 0 {
            self.measure();
        }
        self.limiter.memory_growing(current, desired, maximum)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.limiter.memory_grow_failed(error)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.limiter.table_growing(current, desired, maximum)
    }

    fn instances(&self) -> usize {
        self.limiter.instances()
    }

    fn tables(&self) -> usize {
        self.limiter.tables()
    }

    fn memories(&self) -> usize {
        self.limiter.memories()
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        // Every function of WASI begins with this, and nothing else calls it.
        self.calls.count();
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.resources }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        // As with WASI: every function begins with this.
        self.calls.count();
        self.unmeasured = self.unmeasured.saturating_add(1);
        WasiHttpCtxView {
            hooks: &mut self.outgoing,
            table: &mut self.resources,
            ctx: &mut self.http,
        }
    }
}
