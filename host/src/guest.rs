//! What the host knows of a guest while it runs: the data of its store.

use std::time::Instant;

use wasmill_domain::{Digest, ExecutionId, FunctionName, Manifest, TenantName, Timestamp, TraceContext};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::limits::Limiter;
use crate::log::SharedLog;
use crate::settings::GuestSettings;

/// The state behind an instance. Everything of one attempt is replaced by [`Guest::begin`].
pub(crate) struct Guest {
    wasi: WasiCtx,
    resources: ResourceTable,
    pub(crate) limiter: Limiter,
    pub(crate) log: SharedLog,
    pub(crate) calls: HostCalls,
    /// When the attempt is cut off.
    pub(crate) deadline: Instant,
    /// What `context.current` answers. Nothing before the first attempt begins.
    pub(crate) execution: Option<CurrentExecution>,
}

/// What a guest can ask about its execution.
pub(crate) struct CurrentExecution {
    pub(crate) id: ExecutionId,
    pub(crate) tenant: TenantName,
    pub(crate) function: FunctionName,
    pub(crate) version: Digest,
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    pub(crate) deadline: Timestamp,
    pub(crate) span: TraceContext,
}

/// Counts the calls of host functions.
pub(crate) struct HostCalls {
    left: u64,
    exceeded: bool,
}

impl HostCalls {
    fn new(most: u64) -> Self {
        Self { left: most, exceeded: false }
    }

    /// Counts one; says whether it is allowed. One that is not allowed ends the attempt when it returns.
    pub(crate) fn count(&mut self) -> bool {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => self.exceeded = true,
        }
        !self.exceeded
    }

    /// Whether there was one too many.
    pub(crate) fn exceeded(&self) -> bool {
        self.exceeded
    }
}

impl Guest {
    /// For a new instance of a function.
    pub(crate) fn new(manifest: &Manifest, settings: &GuestSettings) -> Self {
        let log = SharedLog::default();
        let mut resources = ResourceTable::new();
        resources.set_max_capacity(settings.resources);
        Self {
            wasi: crate::imports::wasi::context(manifest, &log, settings),
            resources,
            limiter: Limiter::new(manifest.limits.memory.as_usize(), settings),
            log,
            calls: HostCalls::new(0),
            deadline: Instant::now(),
            execution: None,
        }
    }

    /// Begins an attempt: nothing that was counted or written before stays.
    pub(crate) fn begin(&mut self, manifest: &Manifest, deadline: Instant, execution: CurrentExecution) {
        self.limiter.begin(manifest.limits.memory.as_usize());
        self.log.begin(manifest.limits.log_bytes.as_usize());
        self.calls = HostCalls::new(manifest.limits.host_calls);
        self.deadline = deadline;
        self.execution = Some(execution);
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        // Every function of WASI begins with this, and nothing else calls it.
        self.calls.count();
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.resources }
    }
}
