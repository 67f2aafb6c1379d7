//! Which version of a function runs: the current one once it is ready, and until then the one before.

use std::sync::Arc;

use tokio::sync::watch;
use wasmill_domain::{FunctionDefinition, Registry};

use super::{Host, Key};
use crate::backoff::Backoff;

/// What is to be done with a function's executions.
#[derive(Clone, Debug)]
pub(super) enum Version {
    /// This version runs them.
    Ready(Arc<FunctionDefinition>),
    /// This version should, and cannot: each ends with the reason.
    Broken(Arc<FunctionDefinition>, Arc<str>),
    /// The function was deleted: each is cancelled.
    Deleted,
}

impl Version {
    /// The definition, while there is one.
    pub(super) fn definition(&self) -> Option<&Arc<FunctionDefinition>> {
        match self {
            Self::Ready(definition) | Self::Broken(definition, _) => Some(definition),
            Self::Deleted => None,
        }
    }
}

/// Keeps `current` at the function's current version, for ever. What `current` holds until the first version is ready is
/// `None`.
pub(super) async fn follow(host: Arc<Host>, key: Key, current: watch::Sender<Option<Version>>) {
    let mut registry = host.registry.subscribe();
    loop {
        let wanted = wanted(&registry.borrow_and_update(), &key);
        let is_current = current.borrow().as_ref().is_some_and(|version| same(version.definition(), wanted.as_ref()));
        if !is_current {
            let mut making = std::pin::pin!(make_ready(&host, &key, wanted.clone()));
            let version = loop {
                tokio::select! {
                    version = &mut making => break Some(version),
                    changed = registry.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        // Most changes are of other functions.
                        if !same(wanted.as_ref(), self::wanted(&registry.borrow_and_update(), &key).as_ref()) {
                            break None;
                        }
                    }
                }
            };
            match version {
                Some(version) => current.send_replace(Some(version)),
                None => continue,
            };
        }
        if registry.changed().await.is_err() {
            return;
        }
    }
}

/// Whether two definitions make no difference to a host.
fn same(one: Option<&Arc<FunctionDefinition>>, other: Option<&Arc<FunctionDefinition>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.digest == other.digest && one.manifest == other.manifest,
        (None, None) => true,
        _ => false,
    }
}

fn wanted(registry: &Registry, (tenant, function): &Key) -> Option<Arc<FunctionDefinition>> {
    registry.function(tenant, function).cloned()
}

/// Compiles and links a version, however long the store is away.
async fn make_ready(host: &Arc<Host>, (tenant, function): &Key, wanted: Option<Arc<FunctionDefinition>>) -> Version {
    let Some(definition) = wanted else { return Version::Deleted };
    let mut backoff = Backoff::new(host.settings.recorder.max_pause);
    loop {
        match host.prepare(definition.digest).await {
            Ok(_) => {
                tracing::info!(%tenant, %function, version = definition.version, "ready");
                return Version::Ready(definition);
            }
            Err(error) if error.may_pass_later() => {
                tracing::warn!(%tenant, %function, version = definition.version, %error, "not ready yet");
                backoff.pause().await;
            }
            Err(error) => {
                tracing::error!(%tenant, %function, version = definition.version, %error, "cannot be run");
                return Version::Broken(definition, error.to_string().into());
            }
        }
    }
}
