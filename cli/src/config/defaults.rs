//! What the configuration says where nobody has said anything.

use wasmill_host::EmissionSettings;

use super::*;

impl Default for Keyvalue {
    fn default() -> Self {
        let BucketQuota { value_bytes, keys, bytes } = BucketQuota::default();
        Self {
            max_value_bytes: ByteSize(value_bytes),
            max_keys: keys,
            max_bucket_bytes: ByteSize(bytes),
        }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: None,
            listen_url: None,
            transaction_pooler: false,
            connections: 8,
            connect_timeout: Span(Duration::from_secs(5)),
            call_timeout: Span(Duration::from_secs(10)),
        }
    }
}

impl Default for Broker {
    fn default() -> Self {
        Self {
            url: None,
            ca_file: None,
            queue_kind: QueueKind::Quorum,
            queue_max_batches: 1_000_000,
            queue_prefix: String::new(),
            heartbeat: Span(Duration::from_secs(5)),
        }
    }
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 7070).into(),
            max_event_bytes: ByteSize(1 << 20),
            max_batch_bytes: ByteSize(8 << 20),
            max_batch_events: 1_000,
            max_request_executions: 10_000,
            max_request_execution_bytes: ByteSize(64 << 20),
            max_in_flight: 4_096,
            max_in_flight_bytes: None,
            max_waiting: 1_024,
            max_artifact_bytes: MAX_ARTIFACT_BYTES,
            max_files: 512,
            max_files_bytes: ByteSize(64 << 20),
            max_checks: 4,
            max_deploys: 16,
            check_threads: None,
            max_queued_checks: 256,
            preflight: PreflightBy::Host,
            publish_timeout: Span(Duration::from_secs(5)),
            grace: Span(Duration::from_secs(10)),
            max_connections: 8_192,
            max_connections_per_address: None,
            exempt_networks: Vec::new(),
            max_pending_connections: None,
            max_streams: 128,
            header_timeout: Span(Duration::from_secs(30)),
            idle_timeout: Span(Duration::from_secs(60)),
            write_timeout: Span(ServerSettings::default().write_timeout),
            max_discarded_bytes: ByteSize(ServerSettings::default().max_discarded_bytes),
            public_names: BTreeSet::new(),
            hostnames: BTreeMap::new(),
            tls: GatewayTls::default(),
        }
    }
}

impl Default for Host {
    fn default() -> Self {
        let emissions = EmissionSettings::default();
        Self {
            name: None,
            labels: BTreeSet::new(),
            listen: None,
            in_flight: 256,
            max_emitted_executions: emissions.executions,
            max_emitted_bytes: ByteSize(emissions.bytes as u64),
            max_chain_depth: emissions.chain_depth,
            grace: Span(Duration::from_secs(30)),
            cleanup_after: Span(Duration::from_secs(60)),
            allowed_networks: Vec::new(),
            ca_file: None,
        }
    }
}

impl Default for Engine {
    fn default() -> Self {
        let CompileSettings { timeout, memory, .. } = CompileSettings::default();
        Self {
            threads: None,
            cache_dir: None,
            cache_bytes: ByteSize(4 << 30),
            files_bytes: ByteSize(1 << 30),
            wasi_0_3: false,
            compile_timeout: Span(timeout),
            compile_memory: ByteSize(memory),
            compilations: None,
        }
    }
}

impl Default for Scheduler {
    fn default() -> Self {
        Self {
            listen: None,
            interval: Span(Duration::from_millis(200)),
            lease: Span(Duration::from_secs(4)),
            retention: Span(Duration::from_secs(7 * 86_400)),
        }
    }
}
