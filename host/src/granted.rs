//! What an instance may ask of its manifest's `[config]` and `[secrets]`,
//! and which of them were resolved for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmill_domain::{Manifest, SecretName, TenantName};
use wasmill_secrets::{Secret, SecretSource};

use crate::execution::CurrentExecution;
use crate::mask::Mask;

/// A secret that the manifest grants cannot be had. The text says which one, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoSecret(String);

/// Why a guest does not get what it asked for.
#[derive(Debug)]
pub(crate) enum NotGranted {
    /// The manifest has no such name.
    Unknown,
    /// There is no execution yet: it is only tried whether an instance can be made.
    NoExecution,
    /// The attempt is to end.
    Failed(NoSecret),
}

/// The granted configuration and secrets of one instance.
pub(crate) struct GrantedValues {
    source: Arc<dyn SecretSource>,
    config: BTreeMap<String, String>,
    granted: BTreeMap<String, SecretName>,
    /// Whose secrets they are; `None` before there is an execution.
    tenant: Option<TenantName>,
    /// What was fetched in this attempt: each once, so that it stays the same. At most as many as
    /// are granted.
    fetched: BTreeMap<String, Secret>,
    /// Every secret that was ever resolved for the instance, by name. It may remember all of it.
    resolved: BTreeMap<String, Secret>,
    /// Whether two values of one secret were resolved for it.
    is_stale: bool,
    mask: Mask,
}

impl GrantedValues {
    /// For a new instance of a function.
    pub(crate) fn new(manifest: &Manifest, source: Arc<dyn SecretSource>) -> Self {
        Self {
            source,
            config: manifest.config.clone().unwrap_or_default(),
            granted: manifest.granted_secrets().map(|(key, name)| (key.to_owned(), name)).collect(),
            tenant: None,
            fetched: BTreeMap::new(),
            resolved: BTreeMap::new(),
            is_stale: false,
            mask: Mask::default(),
        }
    }

    /// Begins an attempt.
    pub(crate) fn begin(&mut self, execution: &CurrentExecution) {
        self.fetched.clear();
        // Attempts are counted from 1; 0 is the trial before a deploy.
        self.tenant = (execution.attempt > 0).then(|| execution.tenant.clone());
    }

    /// A setting's value.
    pub(crate) fn config(&self) -> &BTreeMap<String, String> {
        &self.config
    }

    /// The names of the secrets that are granted.
    pub(crate) fn secret_names(&self) -> Vec<String> {
        self.granted.keys().cloned().collect()
    }

    /// The secret that the manifest calls `key`.
    pub(crate) async fn secret(&mut self, key: &str) -> Result<Secret, NotGranted> {
        let name = self.granted.get(key).ok_or(NotGranted::Unknown)?;
        let tenant = self.tenant.as_ref().ok_or(NotGranted::NoExecution)?;
        if let Some(secret) = self.fetched.get(key) {
            return Ok(secret.clone());
        }
        let failed = |why: String| NotGranted::Failed(NoSecret(why));
        let secret =
            self.source.reveal(tenant, name).await.map_err(|error| failed(error.to_string()))?;
        let secret = secret.ok_or_else(|| {
            failed(format!("secret '{name}' ({key} in [secrets]) does not exist: `wasmill secrets set {name}` sets it"))
        })?;
        let before = self.resolved.insert(key.to_owned(), secret.clone());
        if before.as_ref().is_none_or(|before| before.expose() != secret.expose()) {
            self.is_stale |= before.is_some();
            self.mask.add(&secret);
        }
        self.fetched.insert(key.to_owned(), secret.clone());
        Ok(secret)
    }

    /// Whether the instance may hold a value that the secret has no more: it is not used again
    /// then.
    pub(crate) fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// What hides all that was resolved for the instance.
    pub(crate) fn mask(&self) -> &Mask {
        &self.mask
    }
}

#[cfg(test)]
mod tests;
