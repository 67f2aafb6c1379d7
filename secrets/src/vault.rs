//! Opens what is kept, and remembers it for a moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use wasmill_domain::{Revision, SealedSecret, SecretName, TenantName};

use crate::keyring::Keyring;
use crate::secret::Secret;
use crate::source::{Error, SecretSource};

/// What keeps sealed secrets does not answer now. The text says what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// Where sealed secrets are kept. Whoever puts a process together implements it over its store.
#[async_trait]
pub trait SealedSecrets: Send + Sync + 'static {
    /// The revision of the definitions that this process knows. Every change of a secret raises it,
    /// so that what was read at one revision is good until there is another.
    fn revision(&self) -> Revision;

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
    /// How many opened secrets are kept in memory. Default: 256.
    pub remembered: usize,
    /// For how long, where no change of the definitions comes first. Default: 5 s.
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

/// What was opened at one revision.
#[derive(Default)]
struct Memory {
    revision: Revision,
    opened: HashMap<(TenantName, SecretName), (Secret, Instant)>,
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

    /// What is remembered at this revision. Never held across an await.
    fn memory(&self, revision: Revision) -> MutexGuard<'_, Memory> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.revision != revision {
            *memory = Memory { revision, opened: HashMap::new() };
        }
        memory
    }

    fn remembered(
        &self,
        revision: Revision,
        tenant: &TenantName,
        name: &SecretName,
    ) -> Option<Secret> {
        let memory = self.memory(revision);
        let (secret, since) = memory.opened.get(&(tenant.clone(), name.clone()))?;
        (since.elapsed() < self.settings.remember_for).then(|| secret.clone())
    }

    fn remember(
        &self,
        revision: Revision,
        tenant: &TenantName,
        name: &SecretName,
        secret: &Secret,
    ) {
        // What was read while the definitions changed may be what was before.
        if self.sealed.revision() != revision {
            return;
        }
        let mut memory = self.memory(revision);
        if memory.opened.len() >= self.settings.remembered {
            let longest = self.settings.remember_for;
            memory.opened.retain(|_, (_, since)| since.elapsed() < longest);
        }
        if memory.opened.len() < self.settings.remembered {
            memory.opened.insert((tenant.clone(), name.clone()), (secret.clone(), Instant::now()));
        }
    }
}

#[async_trait]
impl SecretSource for Vault {
    async fn reveal(
        &self,
        tenant: &TenantName,
        name: &SecretName,
    ) -> Result<Option<Secret>, Error> {
        let revision = self.sealed.revision();
        if let Some(secret) = self.remembered(revision, tenant, name) {
            return Ok(Some(secret));
        }
        let sealed = self
            .sealed
            .sealed(tenant, name)
            .await
            .map_err(|Unavailable(why)| Error::Unavailable(why))?;
        let Some(sealed) = sealed else { return Ok(None) };
        // The row is opened as what was asked for, whatever it says that it is.
        let secret = self.keyring.open(&SealedSecret {
            tenant: tenant.clone(),
            name: name.clone(),
            ..sealed
        })?;
        self.remember(revision, tenant, name, &secret);
        Ok(Some(secret))
    }
}

#[cfg(test)]
mod tests;
