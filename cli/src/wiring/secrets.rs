//! The operator's keys, and the store as what keeps secrets sealed: the one place where both are known.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use tokio::runtime::Handle;
use wasmill_domain::{Revision, SealedSecret, SecretName, TenantName};
use wasmill_secrets::{Keyring, NoSecrets, SealedSecrets, SecretSource, Unavailable, Vault, VaultSettings};
use wasmill_store::{RegistryWatch, Store};

/// The keys in `file`, where the configuration names one.
pub(super) fn keyring(file: Option<&Path>) -> anyhow::Result<Option<Arc<Keyring>>> {
    let keyring = file.map(Keyring::read).transpose().context("secrets.key_file")?;
    Ok(keyring.map(Arc::new))
}

/// What opens the secrets that are in `store`. To be called within the process's runtime.
pub(super) fn source(
    store: &Arc<dyn Store>,
    registry: &RegistryWatch,
    keyring: Option<&Arc<Keyring>>,
) -> Arc<dyn SecretSource> {
    let Some(keyring) = keyring else { return Arc::new(NoSecrets) };
    let stored = StoredSecrets { store: Arc::clone(store), registry: registry.clone(), runtime: Handle::current() };
    Arc::new(Vault::new(Arc::clone(keyring), Arc::new(stored), VaultSettings::default()))
}

struct StoredSecrets {
    store: Arc<dyn Store>,
    registry: RegistryWatch,
    /// Where the store's connections live: guests' threads, on which secrets are asked for, have no sockets.
    runtime: Handle,
}

#[async_trait]
impl SealedSecrets for StoredSecrets {
    fn revision(&self) -> Revision {
        self.registry.current().revision()
    }

    async fn sealed(&self, tenant: &TenantName, name: &SecretName) -> Result<Option<SealedSecret>, Unavailable> {
        let (store, tenant, name) = (Arc::clone(&self.store), tenant.clone(), name.clone());
        let asked = self.runtime.spawn(async move { store.secret(&tenant, &name).await }).await;
        let sealed = asked.map_err(|error| Unavailable(format!("the store was not asked: {error}")))?;
        sealed.map_err(|error| Unavailable(error.to_string()))
    }
}
