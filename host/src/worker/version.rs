//! Which version of a function runs: the current one once it is ready, and until then the one
//! before.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio::time::sleep;
use wasmill_domain::{FunctionDefinition, Registry, Revision, TenantName};

use super::host::{FunctionKey, Host};

/// What is to be done with a function's executions.
#[derive(Clone, Debug)]
pub(crate) enum ResolvedVersion {
    /// This version runs them.
    Ready(Arc<FunctionDefinition>),
    /// This version should, and cannot: each ends with the reason.
    Failed(Arc<FunctionDefinition>, Arc<str>),
    /// The function was deleted: each is cancelled.
    Deleted,
    /// This release cannot read what should run them: each is given back, for a host that can.
    Unreadable,
}

impl ResolvedVersion {
    /// The definition, while there is one.
    pub(crate) fn definition(&self) -> Option<&Arc<FunctionDefinition>> {
        match self {
            Self::Ready(definition) | Self::Failed(definition, _) => Some(definition),
            Self::Deleted | Self::Unreadable => None,
        }
    }
}

/// What the registry says of a function.
#[derive(Clone)]
enum Wanted {
    Version(Arc<FunctionDefinition>),
    Deleted,
    Unreadable,
}

impl Wanted {
    /// Whether it and what runs make no difference to a host.
    fn is(&self, version: &ResolvedVersion) -> bool {
        match (self, version) {
            (
                Self::Version(wanted),
                ResolvedVersion::Ready(known) | ResolvedVersion::Failed(known, _),
            ) => same(wanted, known),
            (Self::Deleted, ResolvedVersion::Deleted)
            | (Self::Unreadable, ResolvedVersion::Unreadable) => true,
            _ => false,
        }
    }

    /// Whether two of them make no difference to a host.
    fn is_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Version(one), Self::Version(other)) => same(one, other),
            (Self::Deleted, Self::Deleted) | (Self::Unreadable, Self::Unreadable) => true,
            _ => false,
        }
    }
}

/// A function's version, and since when its tenant's definitions are as it was found in them:
/// [`Registry::changed_at`].
#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub(crate) changed_at: Revision,
    pub(crate) version: ResolvedVersion,
}

/// Where a function's version is found; `None` until the first one is ready.
pub(crate) type Versions = watch::Receiver<Option<Current>>;

/// Keeps `current` at the function's current version, for ever. Of changes of other tenants' it
/// does not hear.
pub(crate) async fn follow(
    host: Arc<Host>,
    key: FunctionKey,
    current: watch::Sender<Option<Current>>,
) {
    let mut changes = host.registry.subscribe_to(&key.0);
    loop {
        let (mut changed_at, wanted) = look(&host, &mut changes, &key);
        let known = current.borrow().clone().filter(|known| wanted.is(&known.version));
        let known = known
            .filter(|known| again_at(&host, &known.version).is_none_or(|at| Instant::now() < at));
        let version = match known {
            Some(known) => Some(known.version),
            None => {
                let mut making = std::pin::pin!(make_ready(&host, &key, wanted.clone()));
                loop {
                    tokio::select! {
                        version = &mut making => break Some(version),
                        changed = changes.changed() => {
                            if changed.is_err() {
                                return;
                            }
                            // Most changes are of other functions.
                            let (newer, other) = look(&host, &mut changes, &key);
                            if !wanted.is_as(&other) {
                                break None;
                            }
                            changed_at = newer;
                        }
                    }
                }
            }
        };
        let Some(version) = version else { continue };
        let again = again_at(&host, &version);
        current.send_replace(Some(Current { changed_at, version }));
        tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep_until(again.unwrap_or_else(Instant::now).into()), if again.is_some() => {}
        }
    }
}

/// When to try a version again that took too much to compile: a machine that is less busy may do it
/// in time.
fn again_at(host: &Host, version: &ResolvedVersion) -> Option<Instant> {
    match version {
        ResolvedVersion::Failed(definition, _) => host.engine.refused_until(definition.digest),
        ResolvedVersion::Ready(_) | ResolvedVersion::Deleted | ResolvedVersion::Unreadable => None,
    }
}

/// The version that runs what was decided by `revision`: one of that revision or a later one, once
/// it is ready. It is waited for as long as the store is away. A store that is there and does not
/// know the revision was set back: then nobody will ever know it.
pub(crate) async fn version_at(
    host: &Host,
    tenant: &TenantName,
    versions: &mut Versions,
    revision: Revision,
) -> ResolvedVersion {
    if host.registry.current().revision() >= revision || reach(host, revision).await {
        // Changes of other tenants made no difference, nor do those that came after `revision`.
        let needed = host.registry.current().change_before(tenant, revision);
        let is_there = |current: &Option<Current>| {
            current.as_ref().is_some_and(|current| current.changed_at >= needed)
        };
        // The sender lives as long as the worker.
        let _ = versions.wait_for(is_there).await;
    } else {
        tracing::warn!(%revision, "an event knows of definitions that the store does not: it runs by older ones");
    }
    versions.borrow().as_ref().map_or(ResolvedVersion::Deleted, |current| current.version.clone())
}

/// Waits until the registry is of `revision` or a later one; false if the store does not know it.
async fn reach(host: &Host, revision: Revision) -> bool {
    let mut backoff = host.settings.recorder.backoff();
    let mut unknown = 0;
    loop {
        let Err(error) = host.registry.reach(revision).await else { return true };
        tracing::debug!(%revision, %error, "the definitions are behind");
        // Once may be the very moment in which the store came back.
        unknown += u32::from(host.store.identity.ping().await.is_ok());
        if unknown > 1 {
            return false;
        }
        sleep(backoff.pause()).await;
    }
}

/// When the tenant's definitions changed last, and what they say of a function.
fn look(host: &Host, changes: &mut watch::Receiver<()>, key: &FunctionKey) -> (Revision, Wanted) {
    // What changes from here on is told again.
    changes.borrow_and_update();
    let registry = host.registry.current();
    (registry.changed_at(&key.0).unwrap_or_default(), wanted(&registry, key))
}

/// Whether two definitions make no difference to a host.
fn same(one: &FunctionDefinition, other: &FunctionDefinition) -> bool {
    one.digest == other.digest && one.manifest == other.manifest
}

fn wanted(registry: &Registry, (tenant, function): &FunctionKey) -> Wanted {
    match registry.function(tenant, function) {
        Some(definition) => Wanted::Version(Arc::clone(definition)),
        None if registry.unreadable_function(tenant, function).is_some() => Wanted::Unreadable,
        None => Wanted::Deleted,
    }
}

/// Compiles and links a version, however long the store is away.
async fn make_ready(
    host: &Arc<Host>,
    (tenant, function): &FunctionKey,
    wanted: Wanted,
) -> ResolvedVersion {
    let definition = match wanted {
        Wanted::Version(definition) => definition,
        Wanted::Deleted => return ResolvedVersion::Deleted,
        Wanted::Unreadable => return ResolvedVersion::Unreadable,
    };
    let mut backoff = host.settings.recorder.backoff();
    loop {
        match host.prepare(tenant, &definition).await {
            Ok(_) => {
                tracing::info!(%tenant, %function, version = definition.version, "ready");
                return ResolvedVersion::Ready(definition);
            }
            Err(error) if error.is_transient() => {
                tracing::warn!(%tenant, %function, version = definition.version, %error, "not ready yet");
                sleep(backoff.pause()).await;
            }
            Err(error) => {
                tracing::error!(%tenant, %function, version = definition.version, %error, "cannot be run");
                return ResolvedVersion::Failed(definition, error.to_string().into());
            }
        }
    }
}
