//! The configuration of the roles that share RabbitMQ and PostgreSQL: <../../docs/configuration.md>
//! tells operators of it.

mod artifacts;
mod bounds;
mod compiling;
mod defaults;
#[cfg(test)]
mod documented;
mod load;
mod names;
mod nodes;
mod quotas;
mod schemas;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use wasmill_domain::units::{ByteSize, Span};
use wasmill_domain::{HostLabel, HostnamePattern, HostnameRules, TenantName};
use wasmill_host::CompileSettings;
use wasmill_http::ServerSettings;
use wasmill_store::BucketQuota;

pub(crate) use artifacts::{MAX_ARTIFACT_BYTES, artifact_bytes};
pub(crate) use compiling::Compilation;
pub(crate) use load::load;
pub(crate) use nodes::Nodes;
pub(crate) use quotas::Quotas;
pub(crate) use schemas::Schemas;

/// The longest that an operator may let a compilation take. A client that deploys waits for longer.
pub(crate) const LONGEST_COMPILATION: Duration = Duration::from_secs(600);

/// Everything that a gateway, host or scheduler can be told. Every role reads the same file and
/// takes what it needs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) database: Database,
    pub(crate) broker: Broker,
    pub(crate) gateway: Gateway,
    pub(crate) host: Host,
    pub(crate) engine: Engine,
    pub(crate) scheduler: Scheduler,
    pub(crate) nodes: Nodes,
    pub(crate) secrets: Secrets,
    pub(crate) keyvalue: Keyvalue,
    pub(crate) quotas: Quotas,
    pub(crate) schemas: Schemas,
}

/// Where definitions and history are kept.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Database {
    /// `postgres://user:password@host:5432/database`.
    pub(crate) url: Option<String>,
    /// Where to LISTEN, past a pooler. Default: `url`, unless `transaction_pooler`.
    pub(crate) listen_url: Option<String>,
    /// Whether a pooler in transaction mode stands between.
    pub(crate) transaction_pooler: bool,
    /// Connections of each process: 2 to 1,000.
    pub(crate) connections: u32,
    /// How long a new connection may take.
    pub(crate) connect_timeout: Span,
    /// How long a call may take.
    pub(crate) call_timeout: Span,
}

/// Where batches go.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Broker {
    /// `amqp://user:password@host:5672/vhost`, or `amqps://…` for TLS.
    pub(crate) url: Option<String>,
    /// Certificates to trust, in PEM. Default: the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// What kind of queue new functions get.
    pub(crate) queue_kind: QueueKind,
    /// Batches that a queue takes before events for it are refused with 429: 1 to 10^9. A batch
    /// holds up to 64 events. Its old name (`names.rs`) is read still.
    #[serde(alias = "queue_messages")]
    pub(crate) queue_max_batches: u64,
    /// Put before every queue's name, where installations share a virtual host.
    pub(crate) queue_prefix: String,
    /// How often a connection shows that it is alive: 1 s to 1 h.
    pub(crate) heartbeat: Span,
}

/// What kind of queue functions get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum QueueKind {
    /// Replicated; counts deliveries.
    Quorum,
    /// On one node.
    Classic,
}

/// Who tells before a deploy whether a version could run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PreflightBy {
    /// A host that may run it; where none answers, the gateway.
    Host,
    /// The gateway, by an engine of its own.
    Own,
}

/// The gateway's.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Gateway {
    /// Where to serve HTTP.
    pub(crate) listen: SocketAddr,
    /// The longest body with one event: 1 KiB to 64 MiB.
    pub(crate) max_event_bytes: ByteSize,
    /// The longest body with a batch of events: 1 KiB to 1 GiB.
    pub(crate) max_batch_bytes: ByteSize,
    /// The most events in a batch: 1 to 100,000.
    pub(crate) max_batch_events: usize,
    /// The most executions that one request may lead to: 1 to 1,000,000.
    pub(crate) max_request_executions: usize,
    /// The most bytes of events in those: 1 MiB to 64 GiB.
    pub(crate) max_request_execution_bytes: ByteSize,
    /// The largest artifact: 1 KiB to 256 MiB.
    pub(crate) max_artifact_bytes: ByteSize,
    /// Files of one function: 0 to 1,024.
    pub(crate) max_files: usize,
    /// How large they are together: up to 256 MiB.
    pub(crate) max_files_bytes: ByteSize,
    /// Ingest requests at work at the same time: 1 to 1,000,000.
    pub(crate) max_in_flight: usize,
    /// Bytes of requests' bodies that are held at the same time: 1 MiB to 1 TiB. Default: four times
    /// the longest body that may come, 256 MiB at least.
    pub(crate) max_in_flight_bytes: Option<ByteSize>,
    /// Synchronous invocations that wait at the same time: 1 to 1,000,000.
    pub(crate) max_waiting: usize,
    /// Artifacts that are checked at the same time, of which one tenant may have half: 1 to 1,024.
    pub(crate) max_checks: usize,
    /// Deploys, rollbacks and schemas of one tenant that are checked at the same time: 1 to 1,024.
    pub(crate) max_deploys: usize,
    /// Threads that compile schemas and check by them what takes long, of which one tenant may have
    /// half: 1 to 1,024. Default: one for each core, at least 2.
    pub(crate) check_threads: Option<usize>,
    /// Requests of one tenant that wait for each of these: 0 to 1,000,000.
    pub(crate) max_queued_checks: usize,
    /// Who tells before a deploy whether the version could run.
    pub(crate) preflight: PreflightBy,
    /// How long the broker may take to confirm before the database's outbox is used.
    pub(crate) publish_timeout: Span,
    /// How long requests may go on after SIGTERM.
    pub(crate) grace: Span,
    /// Open connections: 1 to 1,000,000.
    pub(crate) max_connections: usize,
    /// Open connections of one address: 1 to 1,000,000. Default: a quarter of `max_connections`, 16
    /// at least.
    pub(crate) max_connections_per_address: Option<usize>,
    /// Networks whose addresses may have any number of connections, such as proxies'. At most 256.
    pub(crate) exempt_networks: Vec<IpNet>,
    /// Open connections that have not sent a whole head yet: 1 to 1,000,000. Default: a quarter of
    /// `max_connections`, 16 at least.
    pub(crate) max_pending_connections: Option<usize>,
    /// Requests at the same time on a connection of HTTP/2: 1 to 10,000.
    pub(crate) max_streams: u32,
    /// How long a client may take to send a request's head: 10 ms to 1 h.
    pub(crate) header_timeout: Span,
    /// How long a connection without requests is kept: 10 ms to 1 h.
    pub(crate) idle_timeout: Span,
    /// How long a client may take nothing of a response that waits for it: 10 ms to 1 h.
    pub(crate) write_timeout: Span,
    /// What is read and thrown away of what a refused client still sends: 0 to 1 TiB.
    pub(crate) max_discarded_bytes: ByteSize,
    /// Names that the gateway is reached by itself: no function answers under them, whoever was
    /// granted them. At most 1,000.
    pub(crate) public_names: BTreeSet<HostnamePattern>,
    /// Whose functions may have triggers under which host names, besides what the API grants. At
    /// most 1,000.
    pub(crate) hostnames: BTreeMap<HostnamePattern, TenantName>,
    /// The listener's certificate.
    pub(crate) tls: GatewayTls,
}

impl Gateway {
    /// What it says of host names, as the gateway takes it.
    pub(crate) fn hostname_rules(&self) -> HostnameRules {
        HostnameRules { own: self.public_names.clone(), granted: self.hostnames.clone() }
    }
}

/// The certificate of the gateway's listener, in files that are looked at again when they change.
/// Default: none, and no TLS.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct GatewayTls {
    /// The certificate and those that vouch for it, in PEM.
    pub(crate) certificate: Option<PathBuf>,
    /// Its private key, in PEM.
    pub(crate) key: Option<PathBuf>,
}

/// The host's.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Host {
    /// What it is called in attempts. Default: the machine's name and the process id.
    pub(crate) name: Option<String>,
    /// What functions may ask for with `runs_on`.
    pub(crate) labels: BTreeSet<HostLabel>,
    /// Where to serve `/healthz` and `/readyz`. Default: nowhere.
    pub(crate) listen: Option<SocketAddr>,
    /// executions that a host has taken and not finished: 1 to 4,096.
    pub(crate) in_flight: usize,
    /// Executions that the emitted events of one attempt may lead to: 1 to 1,000,000.
    pub(crate) max_emitted_executions: usize,
    /// Bytes of those executions' events: 1 MiB to 64 GiB.
    pub(crate) max_emitted_bytes: ByteSize,
    /// How many executions may have led to one by what they emitted: 1 to 1,000,000.
    pub(crate) max_chain_depth: u32,
    /// How long executions may go on after SIGTERM.
    pub(crate) grace: Span,
    /// How long the queue of a deleted function must be empty before it is deleted too.
    pub(crate) cleanup_after: Span,
    /// Networks beyond the public internet that functions may send HTTP requests to. At most 256.
    pub(crate) allowed_networks: Vec<IpNet>,
    /// Certificates that functions' requests trust besides the system's, in PEM. Default: none.
    pub(crate) ca_file: Option<PathBuf>,
}

/// The WebAssembly engine's, in hosts and (to check what is deployed) in gateways.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Engine {
    /// Threads that run guests: 1 to 1,024. Default: one for each core.
    pub(crate) threads: Option<usize>,
    /// The folder of compiled components. Default: none is kept on disk.
    pub(crate) cache_dir: Option<PathBuf>,
    /// How much is kept of compiled components: 1 MiB to 1024 GiB.
    pub(crate) cache_bytes: ByteSize,
    /// How much is kept of functions' files: 1 MiB to 1024 GiB.
    pub(crate) files_bytes: ByteSize,
    /// Whether components for WASI 0.3 are run as well, which is experimental. Default: no.
    pub(crate) wasi_0_3: bool,
    /// How long one component may take to compile: 1 ms to 10 min.
    pub(crate) compile_timeout: Span,
    /// Address space of the process that compiles one: 256 MiB to 1 TiB.
    pub(crate) compile_memory: ByteSize,
    /// Components that are compiled at once: 1 to 256. Default: one for two cores.
    pub(crate) compilations: Option<usize>,
}

/// The scheduler's.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Scheduler {
    /// Where to serve `/healthz` and `/readyz`. Default: nowhere.
    pub(crate) listen: Option<SocketAddr>,
    /// How often to look for what is due: 10 ms to 1 min.
    pub(crate) interval: Span,
    /// How long a leader that is gone keeps the others waiting: 1 s to 10 min.
    pub(crate) lease: Span,
    /// How long ended executions are kept: 1 min or longer.
    pub(crate) retention: Span,
}

/// The secrets of functions, in gateways (which seal them, and open those of webhooks) and in hosts
/// (which open them).
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Secrets {
    /// The operator's keys, as `wasmill secrets keygen` makes them. Default: none, and no secrets.
    pub(crate) key_file: Option<PathBuf>,
}

/// How much functions may keep, in hosts and (for what operators set) in gateways.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Keyvalue {
    /// The longest value: up to 4 MiB.
    pub(crate) max_value_bytes: ByteSize,
    /// Keys in a bucket: 1 to 10^9.
    pub(crate) max_keys: u64,
    /// Keys and values of a bucket together: up to 1 TiB.
    pub(crate) max_bucket_bytes: ByteSize,
}

impl Keyvalue {
    /// The same as the store takes it.
    pub(crate) fn quota(&self) -> BucketQuota {
        BucketQuota {
            value_bytes: self.max_value_bytes.0,
            keys: self.max_keys,
            bytes: self.max_bucket_bytes.0,
        }
    }
}
