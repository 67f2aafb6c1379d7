//! The gateway's bounds.

use std::sync::Arc;
use std::time::Duration;

use wasmill_domain::lifecycle::EARLY_ROW_KEPT;
use wasmill_domain::{HostnameRules, KeyDefinition};
use wasmill_http::ServerSettings;
use wasmill_store::BucketQuota;

/// What the gateway takes on at most, and whom it lets in. Every field has a default that suits one
/// machine.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// Whether every request needs an API key even while none exists. Set it when listening beyond
    /// loopback. Default: no; from the first key on, keys are needed whatever this says.
    pub require_key: bool,
    /// The listener's bounds. `body_timeout` is how long a request may wait for a permit, too.
    pub server: ServerSettings,
    /// A key that this process has for itself, which is not stored. Default: none.
    pub own_key: Option<KeyDefinition>,
    /// Which host names are the gateway's own, and whose others are besides those that the API
    /// grants. Default: none.
    pub hostnames: Arc<HostnameRules>,
    /// The longest body with a single event, and the longest event in a batch, in bytes. Default: 1
    /// MiB.
    pub max_event_bytes: usize,
    /// The longest body with a batch of events, in bytes. Default: 8 MiB.
    pub max_batch_bytes: usize,
    /// The most events in a batch. Default: 1,000.
    pub max_batch_events: usize,
    /// The most executions that one request may lead to: events of a batch times the functions they
    /// reach; beyond that it gets 413. Default: 10,000.
    pub max_request_executions: usize,
    /// The most bytes that the events of those executions may have together, each event as often as
    /// there are functions that it reaches; beyond that the request gets 413. Default: 64 MiB.
    pub max_request_execution_bytes: usize,
    /// The longest artifact, in bytes. Default: 64 MiB.
    pub max_artifact_bytes: usize,
    /// The most files that a function may have: up to 1,024. Default: 512.
    pub max_files: usize,
    /// How large they may be together, in bytes; each is at most `max_artifact_bytes`. Default: 64
    /// MiB.
    pub max_files_bytes: u64,
    /// The longest body of a request that is streamed to a function, in bytes. Default: 64 MiB.
    pub max_upload_bytes: usize,
    /// The longest other document (a manifest with its schemas, a key), in bytes. Default: 4 MiB.
    pub max_document_bytes: usize,
    /// How large an operator may make a bucket. Default: as [`BucketQuota`]'s.
    pub bucket_quota: BucketQuota,
    /// Requests that carry events and are at work at the same time, or whose body has not come
    /// whole, and operations on executions; further ones get 503. One owner (the tenant of its key,
    /// or without one its address) may have as many as it leaves free: half where it is alone. All
    /// addresses together have half, of which the same is true. Default: 4,096.
    pub max_in_flight: usize,
    /// Bytes of request bodies held at the same time, of every route together, counted as they
    /// arrive; further ones get 503. One owner may have as many as it leaves free, as above: what
    /// is longer than that gets 413. Default: four times the longest body that may come, 256 MiB at
    /// least.
    pub max_in_flight_bytes: Option<usize>,
    /// Synchronous invocations that wait at the same time; further ones get 503. One tenant's
    /// functions may have as many as they leave free, and so may who invokes them without a key, as
    /// above. Default: 1,024.
    pub max_waiting: usize,
    /// Artifacts held in memory to be checked at the same time, of which one tenant may have half;
    /// further uploads and deploys wait for a permit, and get 503 after `server.body_timeout`.
    /// Default: 4.
    pub max_checks: usize,
    /// Deploys, rollbacks and schemas of one tenant that are read and checked at the same time,
    /// whether or not their clients still wait: components are compiled, or wait for it. Further
    /// ones wait for a permit before their document is read, and get 503 after
    /// `server.body_timeout`. Default: 16.
    pub max_deploys: usize,
    /// Threads that compile schemas and check data where that may take long, of which one tenant
    /// may have half; further requests wait for a permit, and get 503 after `server.body_timeout`.
    /// Default: one for each core, at least 2.
    pub check_threads: usize,
    /// Requests of one tenant that wait for a check of its artifacts, as many deploys of it that
    /// wait for others of it, and as many requests that wait for a thread that checks; further ones
    /// get 503. Default: 256.
    pub max_queued_checks: usize,
    /// Deliveries of webhooks that are remembered, so that none is run twice; beyond that the
    /// oldest is forgotten. Default: 65,536.
    pub max_deliveries: usize,
    /// Executions of one request that are published at the same time. Default: 256, which fills
    /// four batches.
    pub publish_concurrency: usize,
    /// How long the broker may take to confirm before the store's outbox is used. Default: 10 s.
    pub publish_timeout: Duration,
    /// How old an execution may be that is cancelled or suspended before its row is written: rows
    /// of what waits in a queue may have been dropped while the store was away. It is said to be
    /// remembered for as long. Default: 7 days.
    pub order_window: Duration,
    /// Hosts ask the store about a message that is so old before they run it; until then they must
    /// have been notified of what operators decide. More than hosts wait until they ask, by as much as
    /// clocks may differ. Default: 2 s.
    pub order_timeout: Duration,
    /// Rows of accepted executions that wait to be written behind the answer; further ones are
    /// dropped and counted, and come into being when a host takes them. Default: 32,768.
    pub row_buffer: usize,
    /// Bytes of event data that those rows may hold. Default: 64 MiB.
    pub row_buffer_bytes: usize,
    /// Rows written in one transaction. Default: 200.
    pub row_batch: usize,
    /// How old an accepted execution is before its row is written, if no host has written it by
    /// then. Until then only this gateway knows that it waits. Default: 1 s.
    pub row_delay: Duration,
}

/// What bodies may hold at least, unless it is set.
const LEAST_IN_FLIGHT_BYTES: usize = 256 << 20;

impl GatewaySettings {
    /// How many bytes of bodies may be held.
    pub(crate) fn in_flight_bytes(&self) -> usize {
        let longest = [
            self.max_artifact_bytes,
            self.max_batch_bytes,
            self.max_event_bytes,
            self.max_document_bytes,
        ];
        let longest = longest.into_iter().max().unwrap_or_default();
        let default = || longest.saturating_mul(4).max(LEAST_IN_FLIGHT_BYTES);
        self.max_in_flight_bytes.unwrap_or_else(default)
    }
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            require_key: false,
            server: ServerSettings::default(),
            own_key: None,
            hostnames: Arc::default(),
            max_event_bytes: 1 << 20,
            max_batch_bytes: 8 << 20,
            max_batch_events: 1_000,
            max_request_executions: 10_000,
            max_request_execution_bytes: 64 << 20,
            max_artifact_bytes: 64 << 20,
            max_files: 512,
            max_files_bytes: 64 << 20,
            max_upload_bytes: 64 << 20,
            max_document_bytes: 4 << 20,
            bucket_quota: BucketQuota::default(),
            max_in_flight: 4_096,
            max_in_flight_bytes: None,
            max_waiting: 1_024,
            max_checks: 4,
            max_deploys: 16,
            check_threads: std::thread::available_parallelism()
                .map_or(2, |cores| cores.get().max(2)),
            max_queued_checks: 256,
            max_deliveries: 65_536,
            publish_concurrency: 256,
            publish_timeout: Duration::from_secs(10),
            order_window: EARLY_ROW_KEPT,
            order_timeout: Duration::from_secs(2),
            row_buffer: 32_768,
            row_buffer_bytes: 64 << 20,
            row_batch: 200,
            row_delay: Duration::from_secs(1),
        }
    }
}
