//! What the workers of a host share.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use wasmill_broker::BatchPublisher;
use wasmill_component::{FileSource, PreflightError};
use wasmill_domain::wire::Writes;
use wasmill_domain::{Digest, FunctionDefinition, FunctionName, Registry, TenantName};
use wasmill_store::{Artifacts, RegistryWatch};

use super::running_attempts::RunningAttempts;
use super::status::HostStatus;
use crate::control::Control;
use crate::engine::Engine;
use crate::fair_semaphore::FairSemaphore;
use crate::files::Files;
use crate::ports::{HostBroker, HostStore};
use crate::prepare::prepared::Prepared;
use crate::recorder::Recorder;
use crate::settings::HostSettings;
use crate::shares::TenantShares;

/// What the workers share.
pub(crate) struct Host {
    pub(crate) store: HostStore,
    pub(crate) registry: RegistryWatch,
    pub(crate) broker: HostBroker,
    pub(crate) publisher: BatchPublisher,
    pub(crate) engine: Arc<Engine>,
    pub(crate) settings: HostSettings,
    pub(crate) status: HostStatus,
    pub(crate) recorder: Recorder,
    /// Executions in flight.
    pub(crate) admission: TenantShares,
    /// Whose turn it is to have checked what it emits.
    pub(crate) checks: Arc<FairSemaphore>,
    pub(crate) running: Arc<RunningAttempts>,
    pub(crate) control: Arc<Control>,
    /// Memory for unacknowledged messages, in KiB.
    pub(crate) unacked: TenantShares,
    /// The runtime that talks to the store and to the broker. Guests run on another.
    pub(crate) io: Handle,
    /// Take nothing more.
    pub(crate) stop: CancellationToken,
    /// Let go of what still runs.
    pub(crate) cut: CancellationToken,
}

/// Names a worker.
pub(crate) type FunctionKey = (TenantName, FunctionName);

impl Host {
    /// The versions that messages are written in.
    pub(crate) fn writes(&self) -> &Writes {
        self.publisher.writes()
    }

    /// Says whether there are functions of more than one tenant here: then each has a share only of
    /// what all of them need.
    pub(super) fn set_shared(&self, is_shared: bool) {
        self.admission.set_shared(is_shared);
        self.unacked.set_shared(is_shared);
        self.recorder.set_shared(is_shared);
        self.engine.set_shared(is_shared);
    }

    /// What this host is to work for, of one tenant's.
    pub(super) fn wanted<'a>(
        &'a self,
        registry: &'a Registry,
        tenant: &'a TenantName,
    ) -> impl Iterator<Item = FunctionKey> + 'a {
        let functions = registry.functions_of(tenant).into_iter();
        let functions = functions.filter(|function| self.may_run(function)).map(|f| &f.name);
        functions.chain(registry.deleted_of(tenant)).map(|name| (tenant.clone(), name.clone()))
    }

    /// The same of every tenant's: once, when it starts.
    pub(super) fn wanted_of_all<'a>(
        &'a self,
        registry: &'a Registry,
    ) -> impl Iterator<Item = FunctionKey> + 'a {
        registry.tenants().flat_map(|tenant| self.wanted(registry, tenant))
    }

    /// Whether this host is to work for a function, or for what is left of it.
    pub(super) fn is_wanted(&self, registry: &Registry, (tenant, name): &FunctionKey) -> bool {
        registry.function(tenant, name).is_some_and(|function| self.may_run(function))
            || registry.is_deleted(tenant, name)
    }

    /// Whether this host has every label that the function asks for.
    pub(crate) fn may_run(&self, function: &FunctionDefinition) -> bool {
        match &self.settings.labels {
            Some(labels) => function.manifest.runs_on.iter().all(|label| labels.contains(label)),
            None => true,
        }
    }

    /// A version, ready to run, and its files. May be awaited on any thread.
    pub(super) async fn prepare(
        &self,
        tenant: &TenantName,
        definition: &Arc<FunctionDefinition>,
    ) -> Result<(Arc<Prepared>, Option<Arc<Files>>), PreflightError> {
        let prepared = self.prepare_code(tenant, definition.digest).await?;
        if definition.manifest.files.is_empty() {
            return Ok((prepared, None));
        }
        let (engine, artifacts) = self.what_prepares();
        let definition = Arc::clone(definition);
        let preparing = self
            .io
            .spawn(async move { engine.files(&definition.manifest, &Stored(&artifacts)).await });
        let files = preparing.await.map_err(|e| PreflightError::Unavailable(e.to_string()))??;
        Ok((prepared, files))
    }

    pub(super) async fn prepare_code(
        &self,
        tenant: &TenantName,
        digest: Digest,
    ) -> Result<Arc<Prepared>, PreflightError> {
        if let Some(prepared) = self.engine.ready(digest) {
            return Ok(prepared);
        }
        let (engine, artifacts) = self.what_prepares();
        let tenant = tenant.clone();
        let preparing = self.io.spawn(async move {
            let fetch = async { fetch(&artifacts, digest).await };
            engine.prepare_for(&tenant, digest, fetch).await
        });
        preparing.await.map_err(|e| PreflightError::Unavailable(e.to_string()))?
    }

    /// What a preparation needs. It goes on where nobody waits for it, for as long as the store
    /// takes: with the whole host in its hands the recorder would never end, nor would the host.
    fn what_prepares(&self) -> (Arc<Engine>, Arc<dyn Artifacts>) {
        (Arc::clone(&self.engine), Arc::clone(&self.store.artifacts))
    }
}

/// The contents of files, in the store.
struct Stored<'a>(&'a Arc<dyn Artifacts>);

#[async_trait]
impl FileSource for Stored<'_> {
    async fn file(&self, digest: Digest) -> Result<Bytes, PreflightError> {
        fetch(self.0, digest).await
    }
}

async fn fetch(store: &Arc<dyn Artifacts>, digest: Digest) -> Result<Bytes, PreflightError> {
    match store.artifact(digest).await {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(PreflightError::Mismatch(format!("the store has no artifact {digest}"))),
        Err(error) => Err(PreflightError::Unavailable(error.to_string())),
    }
}
