//! Gateway, host and scheduler in one process, on SQLite and the embedded queue.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wasmill_broker::embedded::{EmbeddedBroker, EmbeddedSettings};
use wasmill_broker::{BatchPublisher, PublisherSettings};
use wasmill_domain::units::ByteSize;
use wasmill_domain::wire::{Reads, Writes};
use wasmill_domain::{ApiKey, HostnamePattern, HostnameRules, KeyDefinition, Registry, TenantName};
use wasmill_gateway::{GatewayBroker, GatewayParts, GatewaySettings, GatewayStore};
use wasmill_host::{
    Engine, EngineSettings, HostBroker, HostParts, HostSettings, HostStatus, HostStore,
    OutgoingSettings,
};
use wasmill_http::{ServerSettings, Tls};
use wasmill_scheduler::{SchedulerParts, SchedulerSettings, SchedulerStore};
use wasmill_schema::{Compiler, SchemaLimits};
use wasmill_secrets::{Keyring, SecretSource};
use wasmill_store::sqlite::{SqliteSettings, SqliteStore};
use wasmill_store::{BucketQuota, NODE_TIMEOUT, RegistryWatch};

use super::consistency::{InspectedBroker, InspectedStore};
use super::nodes::{self, Membership};
use super::{
    REGISTRY_INTERVAL, capabilities, consistency, data, engine_settings, files, hostnames,
    make_first_key, operator_key, secrets, tls,
};
use crate::config::Compilation;
use crate::exit::{Failure, Result};

/// What the embedded system is made with.
pub(crate) struct Options {
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// The folder of everything that is kept.
    pub(crate) data: PathBuf,
    /// How long ended executions are kept.
    pub(crate) retention: Duration,
    /// Networks beyond the public internet that functions may send HTTP requests to.
    pub(crate) allowed_networks: Vec<IpNet>,
    /// Host names that functions may have triggers under.
    pub(crate) hostnames: Vec<HostnamePattern>,
    /// The listener's certificate and its key, in PEM: both, or no TLS.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    /// Whether components for WASI 0.3 are run as well.
    pub(crate) wasi_0_3: bool,
    /// The largest artifact.
    pub(crate) max_artifact_bytes: ByteSize,
    /// What the compilation of one component may take.
    pub(crate) compilation: Compilation,
    /// What schemas may cost, and how formats are taken.
    pub(crate) schemas: SchemaLimits,
}

/// Gateway, host and scheduler in one process, on SQLite and the embedded queue.
pub(crate) struct System {
    listener: TcpListener,
    store: Arc<SqliteStore>,
    membership: Membership,
    broker: Arc<EmbeddedBroker>,
    publisher: BatchPublisher,
    registry: RegistryWatch,
    engine: Arc<Engine>,
    secrets: Arc<dyn SecretSource>,
    tls: Option<Arc<Tls>>,
    keyring: Arc<Keyring>,
    hostnames: Arc<HostnameRules>,
    retention: Duration,
    notes: Vec<String>,
    own_key: (ApiKey, KeyDefinition),
    max_artifact_bytes: usize,
}

impl System {
    /// Opens what is kept and begins to listen; nothing is served yet.
    pub(crate) async fn open(options: &Options) -> Result<Self> {
        let Options { listen, data, tls, .. } = options;
        files::raise_limit();
        let (certificate, key) =
            tls.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path())).unzip();
        let tls = tls::load(certificate, key, ["--tls-certificate", "--tls-key"])?;
        let listener = TcpListener::bind(listen).await.with_context(|| {
            format!("cannot listen on {listen}: is another `wasmill dev` running? --listen takes another address")
        })?;
        data::open(data)?;
        let broker = EmbeddedBroker::open(&data.join("queue"), EmbeddedSettings::default())
            .with_context(|| format!("the queue in '{}'", data.display()))?;
        let database = data.join("wasmill.sqlite");
        let store = SqliteStore::open(&database, SqliteSettings::default())
            .await
            .with_context(|| format!("the database '{}'", database.display()))?;
        let engine = EngineSettings {
            cache_dir: Some(data.join("compiled")),
            wasi_0_3: options.wasi_0_3,
            outgoing: OutgoingSettings {
                allowed_networks: options.allowed_networks.clone(),
                ..OutgoingSettings::default()
            },
            ..engine_settings(options.compilation)
        };
        let key_file = data.join("secrets.key");
        let (store, broker) = (Arc::new(store), Arc::new(broker));
        let keyring = secrets::own_keyring(&*store, &key_file).await?;
        secrets::warn_of_unopened(&*store, Some(&keyring)).await;
        let first = Registry::new(Arc::new(Compiler::new(options.schemas.clone())));
        let registry = RegistryWatch::start_from(first, Arc::clone(&store) as _, REGISTRY_INTERVAL);
        let registry = registry.await.context("the definitions")?;
        let (kept, carrier) = (InspectedStore::of(&store), InspectedBroker::of(&broker));
        let notes = consistency::at_start(&kept, &carrier, &registry.current()).await;
        let capabilities = capabilities(&store, &registry, Some(&keyring), BucketQuota::default());
        let secrets = Arc::clone(&capabilities.secrets);
        let engine =
            Engine::new(engine, capabilities).context("the WebAssembly engine cannot start")?;
        let (node, writes) = (
            nodes::this("dev", HostSettings::default().name, &BTreeSet::new()),
            Writes::new(Reads::OLDEST),
        );
        let membership =
            Membership::join(Arc::clone(&store) as _, node, NODE_TIMEOUT, &writes).await;
        let settings = PublisherSettings { writes: writes.clone(), ..PublisherSettings::default() };
        let publisher = BatchPublisher::new(Arc::clone(&broker) as _, settings);
        let granted = options
            .hostnames
            .iter()
            .map(|pattern| (pattern.clone(), TenantName::default()))
            .collect();
        let rules = HostnameRules { granted, ..HostnameRules::default() };
        let hostnames = Arc::new(hostnames::rules(rules, tls.as_deref(), &registry.current()));
        Ok(Self {
            listener,
            store,
            membership,
            broker,
            publisher,
            registry,
            engine,
            secrets,
            tls,
            keyring,
            hostnames,
            retention: options.retention,
            notes,
            own_key: operator_key("this process's own")?,
            max_artifact_bytes: options.max_artifact_bytes.as_usize(),
        })
    }

    /// What runs its functions.
    pub(crate) fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.engine)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr().context("the listener has no address")?)
    }

    /// Its URL.
    pub(crate) fn url(&self) -> Result<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Ok(format!("{scheme}://{}", self.address()?))
    }

    /// Whether every request needs an API key.
    pub(crate) fn requires_key(&self) -> Result<bool> {
        Ok(self.registry.current().has_keys() || !self.address()?.ip().is_loopback())
    }

    /// Makes the first key where one is needed and none exists; its text is seen this once.
    pub(crate) async fn first_key(&self) -> Result<Option<ApiKey>> {
        if self.registry.current().has_keys() || !self.requires_key()? {
            return Ok(None);
        }
        let Some((key, revision)) = make_first_key(&*self.store).await? else { return Ok(None) };
        self.registry.reach(revision).await.context("the first API key")?;
        Ok(Some(key))
    }

    /// A key by which this process may do everything in its own system, whatever keys there are: it
    /// ends with the process.
    pub(crate) fn own_key(&self) -> String {
        self.own_key.0.reveal().to_owned()
    }

    /// The tenant that a key acts for, where it exists here.
    pub(crate) fn tenant_of(&self, key: &str) -> Option<TenantName> {
        self.registry.current().key(key).map(|key| key.tenant.clone())
    }

    /// Serves until `shutdown`, then lets every part finish what it has begun. A part that ends
    /// before that takes the others with it.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> Result {
        let defaults = GatewaySettings::default();
        let settings = GatewaySettings {
            require_key: self.requires_key()?,
            own_key: Some(self.own_key.1),
            max_artifact_bytes: self.max_artifact_bytes,
            hostnames: Arc::clone(&self.hostnames),
            server: ServerSettings {
                max_connections: files::connections_within_limit(
                    defaults.server.max_connections,
                    "the number of connections",
                ),
                ..defaults.server
            },
            ..defaults
        };
        let gateway = GatewayParts {
            store: GatewayStore::of(&self.store),
            nodes: Arc::clone(&self.store) as _,
            registry: self.registry.clone(),
            broker: GatewayBroker::of(&self.broker),
            publisher: self.publisher.clone(),
            preflight: Arc::clone(&self.engine) as _,
            secrets: self.secrets,
            keyring: Some(self.keyring),
            notes: self.notes,
            settings,
        };
        let host = HostParts {
            store: HostStore::of(&self.store),
            registry: self.registry.clone(),
            broker: HostBroker::of(&self.broker),
            publisher: self.publisher.clone(),
            engine: Arc::clone(&self.engine),
            settings: HostSettings::default(),
            status: HostStatus::default(),
        };
        let scheduler = SchedulerParts {
            store: SchedulerStore::of(&self.store),
            publisher: self.publisher.clone(),
            settings: SchedulerSettings {
                retention: Some(self.retention),
                ..SchedulerSettings::default()
            },
        };
        let mut parts = JoinSet::new();
        let stop = shutdown.clone();
        parts.spawn(async move {
            wasmill_gateway::serve(self.listener, self.tls, gateway, stop).await;
            anyhow::Ok(())
        });
        let stop = shutdown.clone();
        parts.spawn(async move { wasmill_host::run(host, stop).await.context("the host") });
        let stop = shutdown.clone();
        parts.spawn(async move {
            wasmill_scheduler::run(scheduler, stop).await.context("the scheduler")
        });
        let mut first_error = None;
        while let Some(ended) = parts.join_next().await {
            let result = ended.context("a part of the system panicked").and_then(|result| result);
            first_error = first_error.or(result.err());
            shutdown.cancel();
        }
        self.membership.leave().await;
        self.broker.close().await;
        first_error.map_or(Ok(()), |error| Err(Failure::Failed(error)))
    }
}
