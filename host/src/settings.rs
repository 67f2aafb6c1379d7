//! Everything about a host that can be set, with the defaults written down.

mod emissions;
mod recorder;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use wasmill_domain::HostLabel;

pub use self::emissions::EmissionSettings;
pub use self::recorder::RecorderSettings;
use crate::machine;

/// How functions are compiled and run.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Threads that run guests. Default: one for each core.
    pub threads: usize,
    /// How much less important than other threads the system is to take them, as `nice` counts: 0
    /// to 19. The threads that talk to the world are then not kept waiting by guests that compute.
    /// With much more than the default, short guests wait for the work that a backlog makes
    /// elsewhere on the machine. Default: 4.
    pub niceness: i32,
    /// Instances that can exist at once, running or warm. Each takes 8 GiB of address space, which
    /// costs nothing until it is used. Where address space is limited, there are fewer. Default:
    /// 320, for 256 executions and 64 warm ones.
    pub slots: u32,
    /// Memory that all instances together may come to hold, and the host for them, in bytes. Each
    /// takes its function's `limits.memory` of it for as long as it exists, used or not, and what
    /// the host may hold for its result, its log and one call of a host function, so that no number
    /// of guests can bring the host down; executions wait where it is short. Call stacks and tables
    /// do not count: they are bounded by `slots`. Default: three quarters of the machine's memory,
    /// or of the control group's limit.
    pub memory: u64,
    /// Linear memory, and as much for tables, that stays resident in a slot when its instance is
    /// gone, so that the next one meets no page faults. Slots that were never in use at the same
    /// time hold none. Default: 1 MiB.
    pub keep_resident: usize,
    /// The guest's call stack. Default: 1 MiB.
    pub wasm_stack: usize,
    /// How often a running guest is looked at: the grain of time-outs and of the turns that guests
    /// take. Default: 1 ms.
    pub tick: Duration,
    /// How long a guest may compute before it counts as a long one; long ones leave one thread
    /// free. Default: 4 ms.
    pub slice: Duration,
    /// Where compiled components are kept between runs. Default: nowhere.
    pub cache_dir: Option<PathBuf>,
    /// How much is kept there; what was not used for longest is deleted first. Default: 4 GiB.
    pub cache_disk_bytes: u64,
    /// How much is kept of functions' files: below `cache_dir`, or where the system keeps what is
    /// temporary, for as long as the process lives. What was not used for longest is deleted first.
    /// Default: 1 GiB.
    pub files_bytes: u64,
    /// How many compiled components are kept in memory. Default: 512.
    pub cache_components: usize,
    /// How large they may be together. Default: 1 GiB.
    pub cache_memory_bytes: u64,
    /// How components are compiled.
    pub compile: CompileSettings,
    /// Warm instances kept, of all functions with `instances.reuse` above 1. Default: 64.
    pub warm_instances: usize,
    /// How long a warm instance waits for its next execution. Default: 30 s.
    pub warm_idle: Duration,
    /// How long the check of a version before its deploy waits for room for the instance that it
    /// makes. Default: 30 s.
    pub preflight_wait_timeout: Duration,
    /// Whether components for WASI 0.3 are run as well. What wasmtime has of it is experimental and
    /// gets no security fixes, and every call of any guest costs a little more. Default: no.
    pub wasi_0_3: bool,
    /// What the manifest does not limit.
    pub guest: GuestSettings,
    /// How guests' HTTP requests are sent.
    pub outgoing: OutgoingSettings,
}

/// How components are compiled, and what each compilation may take. The limits hold where there is
/// a process for it ([`Compiler::Process`]).
#[derive(Clone, Debug)]
pub struct CompileSettings {
    /// Where. Default: in this process, which the program's roles replace.
    pub compiler: Compiler,
    /// How long one component may take. It may use as much processor time on each of its threads.
    /// Default: 2 min.
    pub timeout: Duration,
    /// Address space of the process that compiles one, in bytes: its memory, and some 150 MiB for
    /// the program. Default: 2 GiB.
    pub memory: u64,
    /// The largest compiled component, in bytes. Default: 512 MiB.
    pub output: u64,
    /// Threads that compile one component. Default: one for two cores, 1 to 4: whoever waits for a
    /// moment of a core finds one.
    pub threads: usize,
    /// How much less important than other processes the system is to take it, as `nice` counts: 0
    /// to 19. Default: 10.
    pub niceness: i32,
    /// Artifacts that are read and validated at once, before they are compiled. Default: 2.
    pub inspections: usize,
    /// Components that are compiled at once. Default: one for two cores, at least 1.
    pub at_once: usize,
    /// Components of one tenant that wait to be compiled; further ones are refused
    /// for now. Default: 16.
    pub waiting: usize,
    /// How long one waits for a permit, until it is refused for now. Default: 5 min.
    pub wait_timeout: Duration,
    /// For how long a component that takes too much is refused without a new try; twice as long
    /// after each further try. Default: 30 s.
    pub pause: Duration,
    /// The longest such pause. Default: 30 min.
    pub longest_pause: Duration,
}

/// Where components are compiled. A component is whatever somebody deployed, and some that are
/// valid take a compiler minutes and gigabytes: a process that serves everybody does not compile
/// them itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Compiler {
    /// In this process, without a limit: for tests and benchmarks, which know what they compile.
    /// The default, as only a program knows how it is started as [`Compiler::Process`].
    #[default]
    InProcess,
    /// In a process for each component, under the limits of [`CompileSettings`].
    Process(CompilerProgram),
}

/// A program that calls [`compile`](crate::compile) with its last argument when it is started with
/// these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompilerProgram {
    /// The program's file.
    pub path: PathBuf,
    /// Its arguments, before the one that describes what is to be done.
    pub arguments: Vec<OsString>,
}

impl CompilerProgram {
    /// The program that runs now, started with `arguments`. It stays the same even if its file is
    /// replaced meanwhile.
    pub fn this(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self {
            path: "/proc/self/exe".into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
        }
    }
}

/// How guests' HTTP requests are sent.
#[derive(Clone, Debug)]
pub struct OutgoingSettings {
    /// Networks that are not on the public internet and that guests may reach nevertheless, where
    /// their manifests let them. Default: none.
    pub allowed_networks: Vec<IpNet>,
    /// A file of certificates in PEM that are trusted besides the system's. Default: none.
    pub ca_file: Option<PathBuf>,
    /// Threads that speak to the network. Default: 1.
    pub threads: usize,
    /// Requests of one attempt at once, until the end of each response. Default: 32.
    pub requests_at_once: usize,
    /// Connections of one function in use at once. Further requests wait. Default: 128.
    pub connections_per_function: usize,
    /// Connections of all functions in use at once. Further requests wait. Default: 512.
    pub connections: usize,
    /// Names of one function that are looked up at once, those counted that nobody waits for any
    /// more. Further lookups wait. Default: 4.
    pub lookups_per_function: usize,
    /// The same of all functions of one tenant. Default: 8.
    pub lookups_per_tenant: usize,
    /// Names that are looked up at once, each on a thread. Further lookups wait. Default: 16.
    pub lookups: usize,
    /// Connections of one function that are kept for its next request. Default: 16.
    pub idle_per_function: usize,
    /// Connections that are kept, of all functions. Default: 256.
    pub idle: usize,
    /// How long a connection is kept. Default: 30 s.
    pub idle_timeout: Duration,
    /// How long a connection may take, from waiting for a permit to the end of the TLS handshake; a
    /// guest may ask for less. Default: 10 s.
    pub connect_timeout: Duration,
    /// How long the head of a response may take; a guest may ask for less. Default: 5 min.
    pub first_byte_timeout: Duration,
    /// How long the body of a response may pause; a guest may ask for less. Default: 1 min.
    pub between_bytes_timeout: Duration,
}

/// The same limits for every guest.
#[derive(Clone, Debug)]
pub struct GuestSettings {
    /// Core instances that make up one component. Default: 64.
    pub core_instances: u32,
    /// Linear memories of one component. Default: 8.
    pub memories: u32,
    /// Tables of one component. Default: 32.
    pub tables: u32,
    /// Elements of all of its tables together. Default: 100,000.
    pub table_elements: usize,
    /// Host resources (streams, timers, …) that it holds at once. Default: 1,024.
    pub resources: usize,
    /// The same of a function that has files, as each may be one that is open, which a process has
    /// only so many of. Default: 128.
    pub resources_with_files: usize,
    /// Component-model handles that it holds at once. Default: 10,000.
    pub handles: usize,
    /// Random bytes that it gets with one call. Default: 1 MiB.
    pub random_bytes: u64,
}

/// How a host works.
#[derive(Clone, Debug)]
pub struct HostSettings {
    /// What the host is called in attempts. Default: the machine's name and the process id.
    pub name: String,
    /// The labels that functions may ask for with `runs_on`; `None` runs every function, whatever
    /// it asks for. Default: `None`, which suits a process that is the only host.
    pub labels: Option<BTreeSet<HostLabel>>,
    /// Executions that are in the host's hands at once, all functions together: running, or ended
    /// and waiting for room at the recorder. At most as many as the engine has slots. Default: 256.
    pub in_flight: usize,
    /// Attempts at once whose emitted events are checked by schemas; tenants are served fairly.
    /// Default: one for two cores.
    pub emission_checks: usize,
    /// What one attempt may lead to by what it emits.
    pub emissions: EmissionSettings,
    /// Bytes of messages that the host has taken and not yet acknowledged. A single larger one is
    /// still taken, alone. Default: 256 MiB.
    pub unacked_bytes: usize,
    /// How often a message may be delivered again before it is taken apart, or parked if there is
    /// one execution in it. A lost connection counts too, so it is more than the bad luck that an
    /// innocent message may have. Default: 5.
    pub redelivery_limit: u32,
    /// A message that has waited longer is asked of the store before it is run, as one that comes
    /// again is: an operator may have suspended, resumed or cancelled what is in it, and a gateway
    /// that cannot tell hosts so answers once they ask. Default: 1 s.
    pub ask_after: Duration,
    /// How far the clocks of gateways may be ahead of this host's. A message that was published
    /// before the host received orders, by as much, is asked about as well. Default: 0, which suits
    /// a single process.
    pub clock_difference: Duration,
    /// How often the store is asked about attempts that have run for as long, as broadcasts may be
    /// missed. Default: 500 ms, so that an attempt is stopped within a second.
    pub beat: Duration,
    /// How long a message that only a newer process can read is held before it is given back; each
    /// time twice as long, up to 16 times. One that comes back more often than `redelivery_limit`
    /// goes to the dead letters. Default: 500 ms.
    pub unread_pause: Duration,
    /// How long executions may go on after the host was told to stop. Default: 30 s.
    pub grace: Duration,
    /// Executions that run longer than this are announced as running. Default: 250 ms.
    pub announce_after: Duration,
    /// How long the queue of a deleted function must be empty before it is deleted too. It leaves
    /// gateways that have not been notified of the deletion the time to do so. Default: 60 s.
    pub cleanup_after: Duration,
    /// How often compiled code is deleted whose artifact is not kept any more, and for how long it
    /// must not have been used by then. Default: 10 min.
    pub collect_every: Duration,
    /// How outcomes are committed.
    pub recorder: RecorderSettings,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            niceness: 4,
            slots: 320,
            memory: machine::memory_budget(),
            keep_resident: 1 << 20,
            wasm_stack: 1 << 20,
            tick: Duration::from_millis(1),
            slice: Duration::from_millis(4),
            cache_dir: None,
            cache_disk_bytes: 4 << 30,
            files_bytes: 1 << 30,
            cache_components: 512,
            cache_memory_bytes: 1 << 30,
            compile: CompileSettings::default(),
            warm_instances: 64,
            warm_idle: Duration::from_secs(30),
            preflight_wait_timeout: Duration::from_secs(30),
            wasi_0_3: false,
            guest: GuestSettings::default(),
            outgoing: OutgoingSettings::default(),
        }
    }
}

impl Default for CompileSettings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            compiler: Compiler::InProcess,
            timeout: Duration::from_secs(120),
            memory: 2 << 30,
            output: 512 << 20,
            threads: (cores / 2).clamp(1, 4),
            niceness: 10,
            inspections: 2,
            at_once: (cores / 2).max(1),
            waiting: 16,
            wait_timeout: Duration::from_secs(300),
            pause: Duration::from_secs(30),
            longest_pause: Duration::from_secs(1_800),
        }
    }
}

impl Default for OutgoingSettings {
    fn default() -> Self {
        Self {
            allowed_networks: Vec::new(),
            ca_file: None,
            threads: 1,
            requests_at_once: 32,
            connections_per_function: 128,
            connections: 512,
            lookups_per_function: 4,
            lookups_per_tenant: 8,
            lookups: 16,
            idle_per_function: 16,
            idle: 256,
            idle_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(300),
            between_bytes_timeout: Duration::from_secs(60),
        }
    }
}

impl Default for GuestSettings {
    fn default() -> Self {
        Self {
            core_instances: 64,
            memories: 8,
            tables: 32,
            table_elements: 100_000,
            resources: 1_024,
            resources_with_files: 128,
            handles: 10_000,
            random_bytes: 1 << 20,
        }
    }
}

impl Default for HostSettings {
    fn default() -> Self {
        let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let machine = Some(machine.trim()).filter(|name| !name.is_empty()).unwrap_or("host");
        Self {
            name: format!("{machine}-{}", std::process::id()),
            labels: None,
            in_flight: 256,
            emission_checks: std::thread::available_parallelism()
                .map_or(1, usize::from)
                .div_ceil(2),
            emissions: EmissionSettings::default(),
            unacked_bytes: 256 << 20,
            redelivery_limit: 5,
            ask_after: Duration::from_secs(1),
            clock_difference: Duration::ZERO,
            beat: Duration::from_millis(500),
            unread_pause: Duration::from_millis(500),
            grace: Duration::from_secs(30),
            announce_after: Duration::from_millis(250),
            cleanup_after: Duration::from_secs(60),
            collect_every: Duration::from_secs(600),
            recorder: RecorderSettings::default(),
        }
    }
}
