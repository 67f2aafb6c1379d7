//! What the handlers share.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use wasmill_background::Background;
use wasmill_broker::BatchPublisher;
use wasmill_component::Preflight;
use wasmill_domain::{Manifest, Revision, TenantName};
use wasmill_http::Coalesced;
use wasmill_secrets::{Keyring, SecretSource};
use wasmill_store::{Nodes, RegistryWatch, no_host_for};

use crate::budget::{Budget, Owner, Refusals, Share};
use crate::error::{ApiError, Result};
use crate::parts::GatewayParts;
use crate::ports::{GatewayBroker, GatewayStore};
use crate::rows::RowWriter;
use crate::settings::GatewaySettings;
use crate::tenant_semaphore::{TenantPermit, TenantSemaphore};
use crate::waiters::WaiterTask;
use crate::webhooks::state::Webhooks;

/// How long a change may take to reach this gateway's own registry before the answer goes out
/// without it.
const REACH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it is known whether the backends answer. Anybody may ask, as often as they like, and to
/// find out takes a connection to the database.
const BACKENDS_KNOWN_FOR: Duration = Duration::from_secs(1);

/// The state of a gateway.
pub(crate) struct App {
    pub(crate) store: GatewayStore,
    pub(crate) nodes: Arc<dyn Nodes>,
    pub(crate) registry: RegistryWatch,
    pub(crate) broker: GatewayBroker,
    pub(crate) publisher: BatchPublisher,
    pub(crate) preflight: Arc<dyn Preflight>,
    pub(crate) secrets: Arc<dyn SecretSource>,
    pub(crate) keyring: Option<Arc<Keyring>>,
    pub(crate) notes: Vec<String>,
    pub(crate) settings: GatewaySettings,
    pub(crate) webhooks: Webhooks,
    pub(crate) rows: RowWriter,
    /// Requests that wait for the ends of executions.
    pub(crate) waiters: WaiterTask,
    pub(crate) background: Background,
    /// The description of the API: while no key is needed, and from then on.
    pub(crate) descriptions: [OnceLock<Bytes>; 2],
    /// Ends what waits.
    pub(crate) shutdown: CancellationToken,
    /// Bytes of bodies.
    pub(crate) bodies: Arc<Budget>,
    /// Whether the database and the broker answer.
    pub(crate) backends: Coalesced<[bool; 2]>,
    ingest: Arc<Budget>,
    waiting: Arc<Budget>,
    /// The same permits, by the address of who waits without a key.
    waiting_addresses: Arc<Budget>,
    /// Artifacts in memory.
    artifacts: TenantSemaphore,
    /// Those that are read only to tell that they are there, which takes no time: nobody waits for
    /// an inspection.
    lookups: TenantSemaphore,
    /// Deploys, rollbacks and schemas, from before their document is read until it is known whether
    /// it can be used: who waits for a permit holds no document. As many tenants as there are may
    /// have theirs: which of them is compiled next is decided elsewhere.
    definitions: TenantSemaphore,
    /// Threads that compile schemas and check by them.
    threads: TenantSemaphore,
}

/// A reservation of a bounded resource, until the last clone is dropped. Work that outlives its
/// request keeps one.
pub(crate) type Reservation = Arc<(Share, Option<Share>)>;

/// As the handlers get it.
pub(crate) type SharedApp = Arc<App>;

impl App {
    pub(crate) fn new(parts: GatewayParts, shutdown: CancellationToken) -> SharedApp {
        let GatewayParts {
            store,
            nodes,
            registry,
            broker,
            publisher,
            preflight,
            secrets,
            keyring,
            notes,
            settings,
        } = parts;
        let budget = |limit, all, owner| Budget::new(limit, Refusals { all, owner });
        let of_tenants = |permits, full| {
            TenantSemaphore::new(
                permits,
                settings.max_queued_checks,
                settings.server.body_timeout,
                full,
            )
        };
        Arc::new(Self {
            artifacts: of_tenants(
                settings.max_checks,
                "too many artifacts are being checked at once",
            ),
            lookups: of_tenants(
                settings.max_checks,
                "too many artifacts are being looked for at once",
            ),
            definitions: TenantSemaphore::of_each(
                settings.max_deploys,
                Semaphore::MAX_PERMITS,
                settings.max_queued_checks,
                settings.server.body_timeout,
                "too many of the tenant's deploys and schemas are being checked at once, those included whose clients have gone",
            ),
            threads: of_tenants(
                settings.check_threads,
                "too much is being checked by schemas at once",
            ),
            background: Background::new("gateway-work"),
            rows: RowWriter::start(Arc::clone(&store.ledger), &settings),
            waiters: WaiterTask::start(Arc::clone(&broker.broadcasts)),
            webhooks: Webhooks::new(&settings),
            ingest: budget(
                settings.max_in_flight,
                "too many events are being accepted at once",
                "too many events of the same tenant or address are being accepted at once",
            ),
            waiting: budget(
                settings.max_waiting,
                "too many synchronous invocations are waiting at once",
                "too many synchronous invocations of the tenant are waiting at once",
            ),
            waiting_addresses: budget(
                settings.max_waiting,
                "too many requests without a key are waiting for functions at once",
                "too many requests of the same address are waiting for functions at once",
            ),
            backends: Coalesced::new(BACKENDS_KNOWN_FOR),
            bodies: budget(
                settings.in_flight_bytes(),
                "the bodies of all requests together are too large",
                "the bodies of the same tenant's or address's requests together are too large",
            ),
            store,
            nodes,
            registry,
            broker,
            publisher,
            preflight,
            secrets,
            keyring,
            notes,
            settings,
            descriptions: Default::default(),
            shutdown,
        })
    }

    /// A reservation for one request that carries an event, from before its body is read, or for
    /// one operation on an execution.
    pub(crate) fn admit(&self, owner: &Owner) -> Result<Reservation> {
        Ok(Arc::new((self.ingest.take(owner, 1)?, None)))
    }

    /// A reservation for one synchronous invocation of a tenant's function, from when its body has
    /// come, or begins to be streamed: until then it is a request that carries an event. It is on
    /// the account of the tenant, whose functions may be slow, and on that of the address of who
    /// invokes it without a key, who may call the functions of many tenants.
    pub(crate) fn admit_waiting(&self, tenant: &TenantName, by: &Owner) -> Result<Reservation> {
        let of_tenant = self.waiting.take(&Owner::Tenant(tenant.clone()), 1)?;
        let of_address = match by {
            Owner::Address(_) => Some(self.waiting_addresses.take(by, 1)?),
            Owner::Tenant(_) => None,
        };
        Ok(Arc::new((of_tenant, of_address)))
    }

    /// A reservation for one of a tenant's artifacts in memory. Waits for it, within reason.
    pub(crate) async fn admit_artifact(&self, tenant: &TenantName) -> Result<TenantPermit> {
        self.artifacts.enter(tenant).await
    }

    /// A reservation for one artifact of a tenant in memory while it is looked for. Waits for it,
    /// within reason.
    pub(crate) async fn admit_lookup(&self, tenant: &TenantName) -> Result<TenantPermit> {
        self.lookups.enter(tenant).await
    }

    /// A reservation for one of a tenant's definitions while it is checked: to be had before its
    /// document is read. Waits for it, within reason.
    pub(crate) async fn admit_definition(&self, tenant: &TenantName) -> Result<TenantPermit> {
        self.definitions.enter(tenant).await
    }

    /// Compiles a tenant's schemas, or checks by them, away from the threads that serve requests:
    /// [`TenantSemaphore::run`].
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        tenant: &TenantName,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        self.threads.run(&self.background, tenant, work).await
    }

    /// Why no process that is alive runs a version, where that is so and known. Nobody is asked about
    /// one that asks for no labels.
    pub(crate) async fn no_host_for(&self, manifest: &Manifest) -> Option<String> {
        if manifest.runs_on.is_empty() {
            return None;
        }
        match self.nodes.live_nodes().await {
            Ok(live) => no_host_for(&live, &manifest.runs_on),
            Err(error) => {
                tracing::debug!(%error, "it is not known which hosts are alive");
                None
            }
        }
    }

    /// Waits until this gateway's registry has a change that was made. The change stands even if
    /// that takes too long.
    pub(crate) async fn reach(&self, revision: Revision) {
        match tokio::time::timeout(REACH_TIMEOUT, self.registry.reach(revision)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%revision, %error, "a change is made but not yet in use here");
            }
            Err(_) => {
                tracing::warn!(%revision, "a change is made but not yet in use here: it takes too long");
            }
        }
    }
}

/// Waits for work that goes on to its end even if nobody waits for it any more; so it
/// must own every reservation that it needs.
pub(crate) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    tokio::spawn(work).await.unwrap_or_else(|e| Err(ApiError::Internal(format!("a task: {e}"))))
}
