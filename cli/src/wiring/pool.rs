//! Roles that share a PostgreSQL and a RabbitMQ with any number of others.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wasmill_broker::rabbitmq::{QueueKind, RabbitBroker, RabbitSettings};
use wasmill_broker::{BatchPublisher, PublisherSettings};
use wasmill_component::Preflight;
use wasmill_domain::units::ByteSize;
use wasmill_domain::wire::{Reads, Writes};
use wasmill_domain::{ApiKey, Registry};
use wasmill_gateway::{
    GatewayBroker, GatewayParts, GatewaySettings, GatewayStore, HostPreflight,
    HostPreflightSettings,
};
use wasmill_host::{
    Capabilities, CompileSettings, EmissionSettings, Engine, HostBroker, HostParts, HostSettings,
    HostStatus, HostStore, PreflightParts, answer_preflights,
};
use wasmill_scheduler::{SchedulerParts, SchedulerSettings, SchedulerStore};
use wasmill_schema::Compiler;
use wasmill_secrets::Keyring;
use wasmill_store::postgres::{PostgresSettings, PostgresStore};
use wasmill_store::{Node, Nodes, RegistryWatch, SchemaMode, Secrets, StoreError};

use super::consistency::{InspectedBroker, InspectedStore};
use super::nodes::{self, Membership};
use super::readiness::{AwayBackends, Front, PoolReadiness, Role, StartReadiness};
use super::{
    REGISTRY_INTERVAL, capabilities, consistency, engine, files, hostnames, make_first_key, secrets,
};
use crate::config::{self, Config};
use crate::exit::Result;

/// How much longer a gateway waits for a host's answer than a compilation may wait and take.
const PREFLIGHT_MARGIN: Duration = Duration::from_secs(60);

/// How far the clocks of gateways may be ahead of a host's.
const CLOCK_DIFFERENCE: Duration = Duration::from_secs(1);

/// What every role has of the pool.
struct Pool {
    config: Config,
    store: Arc<PostgresStore>,
    broker: Arc<RabbitBroker>,
    publisher: BatchPublisher,
    registry: RegistryWatch,
    keyring: Option<Arc<Keyring>>,
    notes: Vec<String>,
    membership: Membership,
}

impl Pool {
    /// Connects to both backends as `role`, however long that takes; `None` where `shutdown` comes
    /// first. What it waits for meanwhile is told to `start`.
    ///
    /// # Errors
    /// Where a URL is missing or no good, or the database's schema is not one that this release
    /// works on, which trying again would not change.
    async fn open(
        config: Config,
        role: &str,
        start: &StartReadiness,
        shutdown: &CancellationToken,
    ) -> Result<Option<Self>> {
        let address = config.broker.url.as_deref();
        let address = address
            .ok_or_else(|| anyhow!("broker.url is missing: set it in the file, or AMQP_URL"))?;
        let writes = Writes::new(Reads::OLDEST);
        let settings = RabbitSettings { writes: writes.clone(), ..rabbit_settings(&config, role) };
        let broker = RabbitBroker::connect(address, settings).context("broker.url")?;
        // The scheduler runs no function, and its machine may have no key file.
        let key_file = config.secrets.key_file.as_deref().filter(|_| role != "scheduler");
        let keyring = secrets::keyring(key_file)?;
        let opening = async {
            let store =
                start.wait_for("the database", || open_store(&config, SchemaMode::Require)).await?;
            let store = Arc::new(store);
            let registry = start.wait_for("the definitions", || watch(&config, &store)).await?;
            anyhow::Ok((store, registry))
        };
        let (store, registry) = tokio::select! {
            opened = opening => opened?,
            () = shutdown.cancelled() => return Ok(None),
        };
        if role != "scheduler" {
            secrets::warn_of_unopened(&*store, keyring.as_deref()).await;
        }
        let (defined, broker) = (registry.current(), Arc::new(broker));
        let (kept, carrier) = (InspectedStore::of(&store), InspectedBroker::of(&broker));
        let notes = tokio::select! {
            notes = consistency::at_start(&kept, &carrier, &defined) => notes,
            () = shutdown.cancelled() => return Ok(None),
        };
        let timeout = config.nodes.timeout.0;
        let nodes: Arc<dyn Nodes> = Arc::clone(&store) as _;
        let membership = Membership::join(nodes, this_node(&config, role), timeout, &writes).await;
        let settings = PublisherSettings { writes: writes.clone(), ..PublisherSettings::default() };
        let publisher = BatchPublisher::new(Arc::clone(&broker) as _, settings);
        Ok(Some(Self { config, store, broker, publisher, registry, keyring, notes, membership }))
    }

    /// Serves HTTP until `shutdown`, then lets requests finish.
    async fn gateway(self, front: Front, shutdown: CancellationToken) -> Result {
        let gateway = &self.config.gateway;
        let defaults = GatewaySettings::default();
        let configured = gateway.hostname_rules();
        let rules = hostnames::rules(configured, front.tls.as_deref(), &self.registry.current());
        if let Some(why) = hostnames::warning(&rules, gateway.listen) {
            tracing::warn!("{why}");
        }
        let settings = GatewaySettings {
            require_key: !gateway.listen.ip().is_loopback(),
            max_event_bytes: gateway.max_event_bytes.as_usize(),
            max_batch_bytes: gateway.max_batch_bytes.as_usize(),
            max_batch_events: gateway.max_batch_events,
            max_request_executions: gateway.max_request_executions,
            max_request_execution_bytes: gateway.max_request_execution_bytes.as_usize(),
            max_in_flight: gateway.max_in_flight,
            max_in_flight_bytes: gateway.max_in_flight_bytes.map(ByteSize::as_usize),
            max_waiting: gateway.max_waiting,
            order_window: self.config.quotas.early_rows_kept.0,
            max_artifact_bytes: gateway.max_artifact_bytes.as_usize(),
            max_files: gateway.max_files,
            max_files_bytes: gateway.max_files_bytes.0,
            max_checks: gateway.max_checks,
            max_deploys: gateway.max_deploys,
            check_threads: gateway.check_threads.unwrap_or(defaults.check_threads),
            max_queued_checks: gateway.max_queued_checks,
            publish_timeout: publish_timeout(&self.config),
            bucket_quota: self.config.keyvalue.quota(),
            hostnames: Arc::new(rules),
            server: front.settings.clone(),
            ..defaults
        };
        if settings.require_key && !self.registry.current().has_keys() {
            tracing::warn!(
                "there is no API key, so every request is refused: `wasmill migrate --first-key` makes one"
            );
        }
        let parts = GatewayParts {
            store: GatewayStore::of(&self.store),
            nodes: Arc::clone(&self.store) as _,
            registry: self.registry.clone(),
            broker: GatewayBroker::of(&self.broker),
            publisher: self.publisher.clone(),
            preflight: self.preflight()?,
            secrets: secrets::source(self.secrets(), &self.registry, self.keyring.as_ref()),
            keyring: self.keyring.clone(),
            notes: self.notes.clone(),
            settings,
        };
        let gateway = wasmill_gateway::Service::new(parts, shutdown);
        front.routes.replace(gateway.router());
        tracing::info!(address = %front.address, "the gateway serves");
        let served = front.served.await.context("the gateway");
        gateway.finish().await;
        self.close().await;
        Ok(served?)
    }

    /// Runs functions until `shutdown`, then lets what runs finish, or gives it back.
    async fn host(self, start: &StartReadiness, shutdown: CancellationToken) -> Result {
        let host = &self.config.host;
        let status = HostStatus::default();
        let mut settings = HostSettings {
            labels: Some(host.labels.clone()),
            in_flight: host.in_flight,
            emissions: EmissionSettings {
                executions: host.max_emitted_executions,
                bytes: host.max_emitted_bytes.as_usize(),
                chain_depth: host.max_chain_depth,
            },
            grace: host.grace.0,
            cleanup_after: host.cleanup_after.0,
            clock_difference: CLOCK_DIFFERENCE,
            ..HostSettings::default()
        };
        // As long as the store keeps from schedulers what hosts publish.
        settings.recorder.publish_timeout = self.config.gateway.publish_timeout.0;
        if let Some(name) = &host.name {
            settings.name.clone_from(name);
        }
        let engine = self.engine()?;
        let stop_answering = shutdown.child_token();
        let answering = self.answer_preflights(&engine, stop_answering.clone());
        let parts = HostParts {
            store: HostStore::of(&self.store),
            registry: self.registry.clone(),
            broker: HostBroker::of(&self.broker),
            publisher: self.publisher.clone(),
            engine,
            settings,
            status: status.clone(),
        };
        start.begin(self.readiness(Role::Host(status), &shutdown));
        let worked = wasmill_host::run(parts, shutdown).await.context("the host");
        stop_answering.cancel();
        if let Err(error) = answering.await {
            tracing::error!(%error, "what answers gateways about deploys broke down");
        }
        self.close().await;
        Ok(worked?)
    }

    /// Sees to what is due until `shutdown`.
    async fn scheduler(self, start: &StartReadiness, shutdown: CancellationToken) -> Result {
        let scheduler = &self.config.scheduler;
        let settings = SchedulerSettings {
            interval: scheduler.interval.0,
            lease: scheduler.lease.0,
            publish_timeout: publish_timeout(&self.config),
            retention: Some(scheduler.retention.0),
            early_rows_kept: self.config.quotas.early_rows_kept.0,
            ..SchedulerSettings::default()
        };
        let store = SchedulerStore::of(&self.store);
        let parts = SchedulerParts { store, publisher: self.publisher.clone(), settings };
        start.begin(self.readiness(Role::Scheduler, &shutdown));
        tracing::info!("the scheduler works");
        let worked = wasmill_scheduler::run(parts, shutdown).await.context("the scheduler");
        self.close().await;
        Ok(worked?)
    }

    fn secrets(&self) -> Arc<dyn Secrets> {
        Arc::clone(&self.store) as _
    }

    fn engine(&self) -> Result<Arc<Engine>> {
        Ok(engine::start(engine::settings_of(&self.config), self.capabilities())?)
    }

    fn capabilities(&self) -> Capabilities {
        let quota = self.config.keyvalue.quota();
        capabilities(&self.store, &self.registry, self.keyring.as_ref(), quota)
    }

    /// What a gateway asks before a deploy.
    fn preflight(&self) -> Result<Arc<dyn Preflight>> {
        if self.config.gateway.preflight == config::PreflightBy::Own {
            return Ok(self.engine()?);
        }
        let own = engine::Lazy::new(engine::settings_of(&self.config), self.capabilities());
        let CompileSettings { timeout, wait_timeout, .. } =
            engine::settings_of(&self.config).compile;
        let settings = HostPreflightSettings {
            timeout: timeout + wait_timeout + PREFLIGHT_MARGIN,
            ..HostPreflightSettings::default()
        };
        let (streams, nodes) = (Arc::clone(&self.broker) as _, Arc::clone(&self.store) as _);
        Ok(Arc::new(HostPreflight::new(streams, nodes, Arc::new(own), settings)))
    }

    /// Has a host answer gateways that ask before a deploy, until `shutdown`.
    fn answer_preflights(
        &self,
        engine: &Arc<Engine>,
        shutdown: CancellationToken,
    ) -> JoinHandle<()> {
        let parts = PreflightParts {
            streams: Arc::clone(&self.broker) as _,
            queues: Arc::clone(&self.broker) as _,
            artifacts: Arc::clone(&self.store) as _,
            preflight: Arc::clone(engine) as _,
            node: self.membership.id(),
        };
        tokio::spawn(answer_preflights(parts, shutdown))
    }

    /// What tells whether this process can do its work, once it has begun.
    fn readiness(&self, role: Role, shutdown: &CancellationToken) -> PoolReadiness {
        PoolReadiness {
            store: Arc::clone(&self.store) as _,
            broker: Arc::clone(&self.broker) as _,
            role,
            notes: self.notes.clone(),
            shutdown: shutdown.clone(),
            away: AwayBackends::default(),
        }
    }

    async fn close(self) {
        self.membership.leave().await;
        self.broker.close().await;
        self.store.close().await;
    }
}

/// Serves HTTP until `shutdown`. It listens at once, and answers probes while it waits for its
/// backends.
pub(crate) async fn gateway(config: Config, shutdown: CancellationToken) -> Result {
    files::raise_limit();
    let start = Arc::new(StartReadiness::default());
    let front = Front::open(&config.gateway, &start, &shutdown).await?;
    match Pool::open(config, "gateway", &start, &shutdown).await? {
        Some(pool) => pool.gateway(front, shutdown).await,
        None => Ok(()),
    }
}

/// Runs functions until `shutdown`. Probes are answered at once, where the configuration says so.
pub(crate) async fn host(config: Config, shutdown: CancellationToken) -> Result {
    files::raise_limit();
    let start = Arc::new(StartReadiness::default());
    let _probes = start.probes("host.listen", config.host.listen).await?;
    match Pool::open(config, "host", &start, &shutdown).await? {
        Some(pool) => pool.host(&start, shutdown).await,
        None => Ok(()),
    }
}

/// Sees to what is due until `shutdown`. Probes are answered at once, where the configuration says
/// so.
pub(crate) async fn scheduler(config: Config, shutdown: CancellationToken) -> Result {
    files::raise_limit();
    let start = Arc::new(StartReadiness::default());
    let _probes = start.probes("scheduler.listen", config.scheduler.listen).await?;
    match Pool::open(config, "scheduler", &start, &shutdown).await? {
        Some(pool) => pool.scheduler(&start, shutdown).await,
        None => Ok(()),
    }
}

/// What is said where no database is named.
pub(super) const NO_DATABASE: &str = "database.url is missing: set it in the file, or DATABASE_URL";

/// Brings the schema up to date; makes an operator's key too if `with_key` and there is none. Of
/// several who do so at once, one makes a key.
pub(crate) async fn migrate(config: &Config, with_key: bool) -> Result<Option<ApiKey>> {
    if config.database.url.is_none() {
        return Err(anyhow!(NO_DATABASE).into());
    }
    let store = open_store(config, SchemaMode::Migrate).await.map_err(|e| anyhow!(e))?;
    if !with_key {
        return Ok(None);
    }
    Ok(make_first_key(&store).await?.map(|(key, _)| key))
}

async fn open_store(config: &Config, schema: SchemaMode) -> Result<PostgresStore, StoreError> {
    let Some(url) = &config.database.url else {
        return Err(StoreError::Rejected(NO_DATABASE.into()));
    };
    PostgresStore::connect(url, PostgresSettings { schema, ..postgres_settings(config) }).await
}

/// This process, as it tells the others.
fn this_node(config: &Config, role: &str) -> Node {
    let host = &config.host;
    let name = host
        .name
        .clone()
        .filter(|_| role == "host")
        .unwrap_or_else(|| HostSettings::default().name);
    let none = BTreeSet::new();
    nodes::this(role, name, if role == "host" { &host.labels } else { &none })
}

pub(super) fn postgres_settings(config: &Config) -> PostgresSettings {
    let config::Database {
        url: _,
        listen_url,
        transaction_pooler,
        connections,
        connect_timeout,
        call_timeout,
    } = &config.database;
    PostgresSettings {
        connections: *connections,
        connect_timeout: connect_timeout.0,
        call_timeout: call_timeout.0,
        transaction_pooler: *transaction_pooler,
        listen_url: listen_url.clone(),
        quotas: config.quotas.for_store(),
        node_timeout: config.nodes.timeout.0,
        publish_timeout: publish_timeout(config),
        ..PostgresSettings::default()
    }
}

/// How long a publish is waited for, and as long the outbox leaves an execution to whoever
/// publishes it: longer than the broker's own time for a message, which knows whether it may have
/// been taken, as a message may have to wait for those before it.
fn publish_timeout(config: &Config) -> Duration {
    config.gateway.publish_timeout.0 * 2
}

async fn watch(config: &Config, store: &Arc<PostgresStore>) -> Result<RegistryWatch, StoreError> {
    let first = Registry::new(Arc::new(Compiler::new(config.schemas.limits())));
    RegistryWatch::start_from(first, Arc::clone(store) as _, REGISTRY_INTERVAL).await
}

pub(super) fn rabbit_settings(config: &Config, role: &str) -> RabbitSettings {
    let config::Broker { url: _, ca_file, queue_kind, queue_max_batches, queue_prefix, heartbeat } =
        &config.broker;
    RabbitSettings {
        name: format!("wasmill {role} {}", HostSettings::default().name),
        ca_file: ca_file.clone(),
        queue_kind: match queue_kind {
            config::QueueKind::Quorum => QueueKind::Quorum,
            config::QueueKind::Classic => QueueKind::Classic,
        },
        queue_max_batches: Some(*queue_max_batches),
        queue_prefix: queue_prefix.clone(),
        heartbeat: heartbeat.0,
        publish_timeout: config.gateway.publish_timeout.0,
        ..RabbitSettings::default()
    }
}
