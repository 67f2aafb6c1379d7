//! Opens what is kept, and remembers it for a moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use wasmill_domain::{Revision, SealedSecret, SecretName, TenantName};

use crate::keyring::Keyring;
use crate::secret::Secret;
use crate::source::{SecretError, SecretSource};

/// What keeps sealed secrets does not answer now. The text says what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// Where sealed secrets are kept. Whoever puts a process together implements it over its store.
#[async_trait]
pub trait SealedSecrets: Send + Sync + 'static {
    /// When a tenant's definitions changed last, as far as this process knows. Every change of one
    /// of its secrets is such a change, so that what was read is good until this is another.
    fn changed_at(&self, tenant: &TenantName) -> Revision;

    /// A secret as it is kept; `None` where there is none of this name.
    ///
    /// # Errors
    /// Where the store does not answer.
    async fn sealed(
        &self,
        tenant: &TenantName,
        name: &SecretName,
    ) -> Result<Option<SealedSecret>, Unavailable>;
}

/// How much a vault remembers.
#[derive(Clone, Debug)]
pub struct VaultSettings {
    /// How many opened secrets, and names without one, are kept in memory. Default: 256.
    pub remembered: usize,
    /// For how long, where no change of the tenant's definitions comes first. Default: 5 s.
    pub remember_for: Duration,
}

impl Default for VaultSettings {
    fn default() -> Self {
        Self { remembered: 256, remember_for: Duration::from_secs(5) }
    }
}

/// Opens sealed secrets with the operator's keys.
pub struct Vault {
    keyring: Arc<Keyring>,
    sealed: Arc<dyn SealedSecrets>,
    settings: VaultSettings,
    memory: Mutex<Memory>,
}

/// What was opened.
type Memory = HashMap<(TenantName, SecretName), Opened>;

/// A secret that was opened, when, and how its tenant's definitions were.
struct Opened {
    /// Nothing where there was none of this name: whoever may call a webhook may have it looked for
    /// as often as they like.
    secret: Option<Secret>,
    since: Instant,
    changed_at: Revision,
}

impl Vault {
    /// A vault that remembers nothing yet.
    pub fn new(
        keyring: Arc<Keyring>,
        sealed: Arc<dyn SealedSecrets>,
        settings: VaultSettings,
    ) -> Self {
        Self { keyring, sealed, settings, memory: Mutex::default() }
    }

    /// What is remembered. Never held across an await.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(
        &self,
        changed_at: Revision,
        tenant: &TenantName,
        name: &SecretName,
    ) -> Option<Option<Secret>> {
        let memory = self.memory();
        let opened = memory.get(&(tenant.clone(), name.clone()))?;
        let is_good =
            opened.changed_at == changed_at && opened.since.elapsed() < self.settings.remember_for;
        is_good.then(|| opened.secret.clone())
    }

    fn remember(
        &self,
        changed_at: Revision,
        tenant: &TenantName,
        name: &SecretName,
        secret: Option<&Secret>,
    ) {
        // What was read while the definitions changed may be what was before.
        if self.sealed.changed_at(tenant) != changed_at {
            return;
        }
        let key = (tenant.clone(), name.clone());
        let mut memory = self.memory();
        // What is not good any more makes room.
        memory.remove(&key);
        if memory.len() >= self.settings.remembered {
            let longest = self.settings.remember_for;
            memory.retain(|(tenant, _), opened| {
                opened.since.elapsed() < longest
                    && opened.changed_at == self.sealed.changed_at(tenant)
            });
        }
        if memory.len() < self.settings.remembered {
            let opened = Opened { secret: secret.cloned(), since: Instant::now(), changed_at };
            memory.insert(key, opened);
        }
    }
}

#[async_trait]
impl SecretSource for Vault {
    async fn reveal(
        &self,
        tenant: &TenantName,
        name: &SecretName,
    ) -> Result<Option<Secret>, SecretError> {
        let changed_at = self.sealed.changed_at(tenant);
        if let Some(secret) = self.remembered(changed_at, tenant, name) {
            return Ok(secret);
        }
        let sealed = self
            .sealed
            .sealed(tenant, name)
            .await
            .map_err(|Unavailable(why)| SecretError::Unavailable(why))?;
        let Some(sealed) = sealed else {
            self.remember(changed_at, tenant, name, None);
            return Ok(None);
        };
        // The row is opened as what was asked for, whatever it says that it is.
        let secret = self.keyring.open(&SealedSecret {
            tenant: tenant.clone(),
            name: name.clone(),
            ..sealed
        })?;
        self.remember(changed_at, tenant, name, Some(&secret));
        Ok(Some(secret))
    }
}

#[cfg(test)]
mod tests;
