//! What all guests of a process share of the network: the threads, the settings, and a pool of
//! connections for each function.

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OnceCell, Semaphore};
use tokio_util::task::AbortOnDropHandle;
use wasmill_domain::{FunctionName, TenantName};

use super::address::Networks;
use super::pool::FunctionPool;
use super::resolve::Resolve;
use crate::error::StartError;
use crate::settings::OutgoingSettings;
use crate::shares::TenantShares;

/// What all guests of a process share of the network.
pub(crate) struct Network {
    /// There until it is dropped.
    runtime: Option<Runtime>,
    settings: OutgoingSettings,
    pub(super) networks: Networks,
    pub(super) resolver: Arc<dyn Resolve>,
    /// Certificates that are trusted besides the system's.
    own_roots: Vec<CertificateDer<'static>>,
    tls: OnceCell<Arc<ClientConfig>>,
    /// Connections in use at once.
    pub(super) connections: TenantShares,
    /// Connections that are kept.
    idle_permits: TenantShares,
    pools: Mutex<Pools>,
    /// The lookups of each tenant that has a pool.
    tenant_lookups: Mutex<HashMap<TenantName, Weak<Semaphore>>>,
}

/// The pool of each function that has connections or is about to.
type Pools = HashMap<(TenantName, FunctionName), Arc<FunctionPool>>;

impl Network {
    /// Starts the threads.
    ///
    /// # Errors
    /// Where they cannot be started, and where the file of certificates cannot be read.
    pub(crate) fn start(
        settings: OutgoingSettings,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Arc<Self>, StartError> {
        let own_roots =
            settings.ca_file.as_deref().map(read_certificates).transpose()?.unwrap_or_default();
        let runtime = Builder::new_multi_thread()
            .worker_threads(settings.threads.max(1))
            .max_blocking_threads(settings.lookups.max(1) + 1)
            .thread_name("wasmill-net")
            .enable_all()
            .build()?;
        let network = Arc::new(Self {
            networks: Networks::new(settings.allowed_networks.clone()),
            resolver,
            own_roots,
            tls: OnceCell::new(),
            connections: TenantShares::new(settings.connections as u64),
            idle_permits: TenantShares::new(settings.idle as u64),
            pools: Mutex::default(),
            tenant_lookups: Mutex::default(),
            settings,
            runtime: Some(runtime),
        });
        let sweeping = sweep(Arc::downgrade(&network), network.settings.idle_timeout);
        // Ends with the network.
        drop(network.handle().spawn(sweeping));
        Ok(network)
    }

    /// Says whether there are functions of more than one tenant.
    pub(crate) fn set_shared(&self, is_shared: bool) {
        self.connections.set_shared(is_shared);
        self.idle_permits.set_shared(is_shared);
    }

    pub(super) fn settings(&self) -> &OutgoingSettings {
        &self.settings
    }

    fn handle(&self) -> &tokio::runtime::Handle {
        match &self.runtime {
            Some(runtime) => runtime.handle(),
            // Taken by `drop` only.
            None => unreachable!("the network is gone"),
        }
    }

    /// Runs a future on the network's threads.
    pub(super) fn spawn<F>(&self, future: F) -> AbortOnDropHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        AbortOnDropHandle::new(self.handle().spawn(future))
    }

    fn pools(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connections of a function.
    pub(super) fn pool(&self, tenant: &TenantName, function: &FunctionName) -> Arc<FunctionPool> {
        let mut pools = self.pools();
        let new = || {
            Arc::new(FunctionPool::new(
                &self.settings,
                tenant.clone(),
                self.idle_permits.clone(),
                self.lookups_of(tenant),
            ))
        };
        Arc::clone(pools.entry((tenant.clone(), function.clone())).or_insert_with(new))
    }

    /// The permits for lookups that all of a tenant's functions share.
    fn lookups_of(&self, tenant: &TenantName) -> Arc<Semaphore> {
        let mut all = self.tenant_lookups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lookups) = all.get(tenant).and_then(Weak::upgrade) {
            return lookups;
        }
        all.retain(|_, lookups| lookups.strong_count() > 0);
        let lookups = Arc::new(Semaphore::new(self.settings.lookups_per_tenant.max(1)));
        all.insert(tenant.clone(), Arc::downgrade(&lookups));
        lookups
    }

    /// Closes what was not used for long, and forgets functions that have nothing here.
    fn expire(&self, now: Instant) {
        self.pools().retain(|_, pool| {
            pool.expire(now, self.settings.idle_timeout);
            !pool.is_empty() || Arc::strong_count(pool) > 1
        });
    }

    /// How TLS is spoken. Reads the system's certificates the first time.
    ///
    /// # Errors
    /// Where there are none.
    pub(super) async fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        let config = self.tls.get_or_try_init(|| async {
            let own_roots = self.own_roots.clone();
            let config = tokio::task::spawn_blocking(move || tls_config(own_roots)).await;
            config.map_err(|e| e.to_string())?.map(Arc::new)
        });
        config.await.map(Arc::clone)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // The last one who held it may be on one of its own threads, or another runtime's,
            // which must not wait.
            runtime.shutdown_background();
        }
    }
}

/// Closes connections that nobody needed, as long as there is a network.
async fn sweep(network: Weak<Network>, idle_timeout: Duration) {
    let pause = (idle_timeout / 4).max(Duration::from_millis(10));
    loop {
        tokio::time::sleep(pause).await;
        match network.upgrade() {
            Some(network) => network.expire(Instant::now()),
            None => return,
        }
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let fault = |why: String| StartError::Certificates(format!("'{}': {why}", path.display()));
    let certificates = CertificateDer::pem_file_iter(path).map_err(|e| fault(e.to_string()))?;
    let certificates: Vec<_> =
        certificates.collect::<Result<_, _>>().map_err(|e| fault(e.to_string()))?;
    let mut usable = RootCertStore::empty();
    for certificate in &certificates {
        usable.add(certificate.clone()).map_err(|e| fault(e.to_string()))?;
    }
    if certificates.is_empty() {
        Err(fault("has no certificate in PEM".into()))
    } else {
        Ok(certificates)
    }
}

fn tls_config(own_roots: Vec<CertificateDer<'static>>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(%error, "some of the system's certificates cannot be read");
    }
    // A certificate that rustls does not understand vouches for nobody, and the others still do.
    roots.add_parsable_certificates(system.certs.into_iter().chain(own_roots));
    if roots.is_empty() {
        return Err("the system has no certificates to trust, and host.ca_file names none".into());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config =
        builder.map_err(|e| e.to_string())?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
