//! What each value of the configuration may be.

use std::time::Duration;

use wasmill_gateway::GatewaySettings;
use wasmill_store::MAX_BATCH_BYTES;

use super::{Config, GatewayTls, artifacts, compiling};

const SECOND: Duration = Duration::from_secs(1);

/// A value that is out of its bounds.
#[derive(Debug, thiserror::Error)]
#[error("{key}: must be {must}")]
pub(super) struct OutOfBounds {
    pub(super) key: &'static str,
    must: &'static str,
}

/// That `key` is within its bounds, or else which these are.
pub(super) fn within(key: &'static str, ok: bool, must: &'static str) -> Result<(), OutOfBounds> {
    if ok { Ok(()) } else { Err(OutOfBounds { key, must }) }
}

impl Config {
    /// Checks every value against its bounds.
    pub(super) fn check(&self) -> Result<(), OutOfBounds> {
        self.check_database()?;
        self.check_broker()?;
        self.check_gateway()?;
        self.check_connections()?;
        self.schemas.check()?;
        self.nodes.check()?;
        self.check_host()?;
        self.check_compilations()?;
        self.check_scheduler()?;
        self.check_keyvalue()?;
        self.quotas.check()
    }

    fn check_database(&self) -> Result<(), OutOfBounds> {
        let database = &self.database;
        within(
            "database.url",
            is_url(database.url.as_deref(), &["postgres", "postgresql"]),
            "a postgres:// URL",
        )?;
        let listen_url = database.listen_url.as_deref();
        within(
            "database.listen_url",
            is_url(listen_url, &["postgres", "postgresql"]),
            "a postgres:// URL",
        )?;
        within("database.connections", (2..=1_000).contains(&database.connections), "2 to 1,000")?;
        within(
            "database.connect_timeout",
            !database.connect_timeout.0.is_zero(),
            "longer than nothing",
        )?;
        within("database.call_timeout", !database.call_timeout.0.is_zero(), "longer than nothing")
    }

    fn check_broker(&self) -> Result<(), OutOfBounds> {
        let broker = &self.broker;
        within(
            "broker.url",
            is_url(broker.url.as_deref(), &["amqp", "amqps"]),
            "an amqp:// or amqps:// URL",
        )?;
        within(
            "broker.queue_max_batches",
            (1..=1_000_000_000).contains(&broker.queue_max_batches),
            "1 to 10^9",
        )?;
        let fits = broker.queue_prefix.len() <= 64
            && broker.queue_prefix.bytes().all(|b| b.is_ascii_graphic());
        within("broker.queue_prefix", fits, "at most 64 visible ASCII characters")?;
        within(
            "broker.heartbeat",
            (SECOND..=SECOND * 3_600).contains(&broker.heartbeat.0),
            "1s to 1h",
        )
    }

    fn check_gateway(&self) -> Result<(), OutOfBounds> {
        let gateway = &self.gateway;
        let event = 1 << 10..=64 << 20;
        within(
            "gateway.max_event_bytes",
            event.contains(&gateway.max_event_bytes.0),
            "1KiB to 64MiB",
        )?;
        let batch = 1 << 10..=1 << 30;
        within(
            "gateway.max_batch_bytes",
            batch.contains(&gateway.max_batch_bytes.0),
            "1KiB to 1GiB",
        )?;
        self.check_requests()?;
        let artifact = artifacts::is_within_bounds(gateway.max_artifact_bytes);
        within("gateway.max_artifact_bytes", artifact, artifacts::BOUNDS)?;
        within("gateway.max_files", gateway.max_files <= 1_024, "at most 1,024")?;
        within(
            "gateway.max_files_bytes",
            gateway.max_files_bytes.0 <= 256 << 20,
            "at most 256MiB",
        )?;
        within("gateway.max_checks", (1..=1_024).contains(&gateway.max_checks), "1 to 1,024")?;
        within("gateway.max_deploys", (1..=1_024).contains(&gateway.max_deploys), "1 to 1,024")?;
        let threads = gateway.check_threads.is_none_or(|n| (1..=1_024).contains(&n));
        within("gateway.check_threads", threads, "1 to 1,024")?;
        within(
            "gateway.max_queued_checks",
            gateway.max_queued_checks <= 1_000_000,
            "at most 1,000,000",
        )?;
        within(
            "gateway.publish_timeout",
            !gateway.publish_timeout.0.is_zero(),
            "longer than nothing",
        )
    }

    fn check_requests(&self) -> Result<(), OutOfBounds> {
        let gateway = &self.gateway;
        let numbers = [
            ("gateway.max_in_flight", gateway.max_in_flight),
            ("gateway.max_waiting", gateway.max_waiting),
            ("gateway.max_request_executions", gateway.max_request_executions),
        ];
        for (key, number) in numbers {
            within(key, (1..=1_000_000).contains(&number), "1 to 1,000,000")?;
        }
        let events = (1..=100_000).contains(&gateway.max_batch_events);
        within("gateway.max_batch_events", events, "1 to 100,000")?;
        let bytes = (1 << 20..=64 << 30).contains(&gateway.max_request_execution_bytes.0);
        within("gateway.max_request_execution_bytes", bytes, "1MiB to 64GiB")?;
        let bytes =
            gateway.max_in_flight_bytes.is_none_or(|bytes| (1 << 20..=1 << 40).contains(&bytes.0));
        within("gateway.max_in_flight_bytes", bytes, "1MiB to 1024GiB")?;
        self.check_bodies()
    }

    /// That the longest body can be held: one tenant's requests may have half of what there is.
    fn check_bodies(&self) -> Result<(), OutOfBounds> {
        let gateway = &self.gateway;
        let Some(bytes) = gateway.max_in_flight_bytes else { return Ok(()) };
        let GatewaySettings { max_document_bytes, .. } = GatewaySettings::default();
        let longest = [
            gateway.max_artifact_bytes.0,
            gateway.max_batch_bytes.0,
            gateway.max_event_bytes.0,
            max_document_bytes as u64,
        ];
        within(
            "gateway.max_in_flight_bytes",
            longest.into_iter().all(|body| body.saturating_mul(2) <= bytes.0),
            "at least twice the longest body: gateway.max_artifact_bytes, gateway.max_batch_bytes, gateway.max_event_bytes, or 4MiB of a document",
        )
    }

    fn check_host(&self) -> Result<(), OutOfBounds> {
        within("host.in_flight", (1..=4_096).contains(&self.host.in_flight), "1 to 4,096")?;
        within(
            "host.max_emitted_executions",
            (1..=1_000_000).contains(&self.host.max_emitted_executions),
            "1 to 1,000,000",
        )?;
        within(
            "host.max_emitted_bytes",
            (1 << 20..=64 << 30).contains(&self.host.max_emitted_bytes.0),
            "1MiB to 64GiB",
        )?;
        within(
            "host.max_chain_depth",
            (1..=1_000_000).contains(&self.host.max_chain_depth),
            "1 to 1,000,000",
        )?;
        within(
            "host.name",
            self.host.name.as_ref().is_none_or(|n| (1..=255).contains(&n.len())),
            "1 to 255 bytes",
        )?;
        within(
            "host.allowed_networks",
            self.host.allowed_networks.len() <= 256,
            "at most 256 networks",
        )?;
        within(
            "engine.threads",
            self.engine.threads.is_none_or(|n| (1..=1_024).contains(&n)),
            "1 to 1,024",
        )
    }

    fn check_scheduler(&self) -> Result<(), OutOfBounds> {
        let scheduler = &self.scheduler;
        let interval = Duration::from_millis(10)..=SECOND * 60;
        within("scheduler.interval", interval.contains(&scheduler.interval.0), "10ms to 1m")?;
        within(
            "scheduler.lease",
            (SECOND..=SECOND * 600).contains(&scheduler.lease.0),
            "1s to 10m",
        )?;
        within(
            "scheduler.lease",
            scheduler.lease.0 >= scheduler.interval.0 * 4,
            "at least four scheduler.interval",
        )?;
        within("scheduler.retention", scheduler.retention.0 >= SECOND * 60, "1m or longer")
    }

    fn check_keyvalue(&self) -> Result<(), OutOfBounds> {
        let keyvalue = &self.keyvalue;
        within(
            "keyvalue.max_value_bytes",
            keyvalue.max_value_bytes.0 <= MAX_BATCH_BYTES,
            "at most 4MiB",
        )?;
        within("keyvalue.max_keys", (1..=1_000_000_000).contains(&keyvalue.max_keys), "1 to 10^9")?;
        within(
            "keyvalue.max_bucket_bytes",
            keyvalue.max_bucket_bytes.0 <= 1 << 40,
            "at most 1024GiB",
        )
    }

    fn check_compilations(&self) -> Result<(), OutOfBounds> {
        let engine = &self.engine;
        let time = compiling::is_time(engine.compile_timeout);
        within("engine.compile_timeout", time, compiling::TIMES)?;
        within(
            "engine.cache_bytes",
            (1 << 20..=1 << 40).contains(&engine.cache_bytes.0),
            "1MiB to 1024GiB",
        )?;
        within(
            "engine.files_bytes",
            (1 << 20..=1 << 40).contains(&engine.files_bytes.0),
            "1MiB to 1024GiB",
        )?;
        let memory = compiling::is_size(engine.compile_memory);
        within("engine.compile_memory", memory, compiling::SIZES)?;
        within(
            "engine.compilations",
            engine.compilations.is_none_or(|n| (1..=256).contains(&n)),
            "1 to 256",
        )
    }

    fn check_connections(&self) -> Result<(), OutOfBounds> {
        let gateway = &self.gateway;
        let wait_timeout = Duration::from_millis(10)..=Duration::from_secs(3_600);
        let connections = 1..=1_000_000;
        let some = |part: Option<usize>| part.is_none_or(|part| connections.contains(&part));
        within(
            "gateway.max_connections",
            connections.contains(&gateway.max_connections),
            "1 to 1,000,000",
        )?;
        let of_address = gateway.max_connections_per_address;
        within("gateway.max_connections_per_address", some(of_address), "1 to 1,000,000")?;
        within(
            "gateway.max_pending_connections",
            some(gateway.max_pending_connections),
            "1 to 1,000,000",
        )?;
        within(
            "gateway.exempt_networks",
            gateway.exempt_networks.len() <= 256,
            "at most 256 networks",
        )?;
        within("gateway.max_streams", (1..=10_000).contains(&gateway.max_streams), "1 to 10,000")?;
        within(
            "gateway.header_timeout",
            wait_timeout.contains(&gateway.header_timeout.0),
            "10ms to 1h",
        )?;
        within(
            "gateway.idle_timeout",
            wait_timeout.contains(&gateway.idle_timeout.0),
            "10ms to 1h",
        )?;
        within(
            "gateway.write_timeout",
            wait_timeout.contains(&gateway.write_timeout.0),
            "10ms to 1h",
        )?;
        within(
            "gateway.max_discarded_bytes",
            gateway.max_discarded_bytes.0 <= 1 << 40,
            "at most 1024GiB",
        )?;
        within("gateway.public_names", gateway.public_names.len() <= 1_000, "at most 1,000 names")?;
        let claimable = gateway.hostnames.keys().all(|pattern| pattern.check_claimable().is_ok());
        within("gateway.hostnames", gateway.hostnames.len() <= 1_000, "at most 1,000 names")?;
        within(
            "gateway.hostnames",
            claimable,
            "names with a dot, neither addresses nor localhost",
        )?;
        let GatewayTls { certificate, key } = &gateway.tls;
        within(
            "gateway.tls.certificate",
            certificate.is_some() || key.is_none(),
            "there with gateway.tls.key",
        )?;
        within(
            "gateway.tls.key",
            key.is_some() || certificate.is_none(),
            "there with gateway.tls.certificate",
        )
    }
}

/// Whether `text`, where it is given, is a URL of one of the schemes. What it leads to is found out
/// when it is used.
fn is_url(text: Option<&str>, schemes: &[&str]) -> bool {
    text.is_none_or(|text| {
        text.split_once("://")
            .is_some_and(|(scheme, rest)| schemes.contains(&scheme) && !rest.is_empty())
    })
}
