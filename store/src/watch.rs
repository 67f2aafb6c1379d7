//! Follows the definitions, so that every process knows of a change within a second: at once where
//! the store tells of changes ([`crate::Catalog::changes`]), otherwise, and while it cannot, by
//! asking again and again.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::sleep;
use wasmill_domain::backoff::Backoff;
use wasmill_domain::{Definitions, Registry, Revision, TenantName};

use crate::port::{Catalog, Result, StoreError};

/// The longest pause between two tries while the store is away, however long the interval.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// How long [`RegistryWatch::reach`] goes on asking.
const REACH_TRIES: u32 = 20;

/// The pause between two of its tries.
const REACH_PAUSE: Duration = Duration::from_millis(50);

/// A revision that never was: whoever knows it is given everything.
const NONE: Revision = Revision(-1);

/// The fewest tenants followed at which it is looked who still follows them.
const FEW_TENANTS: usize = 64;

/// The registry of the store's current revision, kept current. Clones share one registry; following
/// ends when the last of them is dropped.
#[derive(Clone)]
pub struct RegistryWatch {
    shared: Arc<WatchState>,
    /// Nothing is sent: the task ends when the last sender is gone.
    _alive: mpsc::Sender<()>,
}

struct WatchState {
    store: Arc<dyn Catalog>,
    registry: watch::Sender<Arc<Registry>>,
    tenants: Tenants,
    /// Whoever builds a registry holds it, so that an older one never follows a newer one. Whether
    /// the last question was answered: after an outage the database may be another, with another
    /// history, and what changed since some revision says nothing.
    building: Mutex<bool>,
}

/// Who follows a tenant.
#[derive(Default)]
struct Tenants(std::sync::Mutex<Followed>);

#[derive(Default)]
struct Followed {
    senders: HashMap<TenantName, watch::Sender<()>>,
    /// How many there were after it was last looked who still follows them.
    left: usize,
}

impl RegistryWatch {
    /// Loads the definitions and follows them from then on, asking every `interval`, and whenever
    /// the store tells of a change. While the store is away the last registry stays; the outage is
    /// logged once, and so is its end. For whoever looks things up: data that a schema should be
    /// checked by are refused ([`Registry::default`]).
    ///
    /// # Errors
    /// Where the definitions cannot be loaded the first time.
    pub async fn start(store: Arc<dyn Catalog>, interval: Duration) -> Result<Self> {
        Self::start_from(Registry::default(), store, interval).await
    }

    /// The same with schemas that are compiled by what `first`, a registry of nothing, was made
    /// with.
    ///
    /// # Errors
    /// Where the definitions cannot be loaded the first time.
    pub async fn start_from(
        first: Registry,
        store: Arc<dyn Catalog>,
        interval: Duration,
    ) -> Result<Self> {
        let registry = watch::Sender::new(Arc::new(first));
        let (tenants, building) = (Tenants::default(), Mutex::new(false));
        let shared = Arc::new(WatchState { store, registry, tenants, building });
        shared.refresh(None).await?;
        let (alive, ended) = mpsc::channel(1);
        tokio::spawn(follow(Arc::clone(&shared), interval, ended));
        Ok(Self { shared, _alive: alive })
    }

    /// The registry of the latest revision that is known here.
    pub fn current(&self) -> Arc<Registry> {
        Arc::clone(&self.shared.registry.borrow())
    }

    /// Tells of every registry that replaces another. It ends with the last clone of this.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Registry>> {
        self.shared.registry.subscribe()
    }

    /// Tells of every change of one tenant's definitions or secrets, and of no other's, once the
    /// registry has it: for whoever is one of many. It ends with the last clone of this.
    pub fn subscribe_to(&self, tenant: &TenantName) -> watch::Receiver<()> {
        self.shared.tenants.subscribe(tenant)
    }

    /// Makes sure that the registry is of `revision` or a later one: what follows sees the change
    /// that made it.
    ///
    /// # Errors
    /// Where the store cannot be asked, or does not know the revision after a second.
    pub async fn reach(&self, revision: Revision) -> Result<()> {
        for _ in 0..REACH_TRIES {
            if self.current().revision() >= revision {
                return Ok(());
            }
            self.refresh(Some(revision)).await?;
            if self.current().revision() >= revision {
                return Ok(());
            }
            sleep(REACH_PAUSE).await;
        }
        let current = self.current().revision();
        Err(StoreError::Unavailable(format!(
            "it is at revision {current} still, and revision {revision} was asked for"
        )))
    }

    /// Makes sure that the registry is of the store's present revision: what follows sees every change
    /// that was committed before this was called.
    ///
    /// # Errors
    /// Where the store cannot be asked.
    pub async fn catch_up(&self) -> Result<()> {
        self.refresh(None).await
    }

    /// Looks what changed, in a task of its own: that whoever waits for it goes away is no outage.
    async fn refresh(&self, wanted: Option<Revision>) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move { shared.refresh(wanted).await }).await.unwrap_or_else(|e| {
            Err(StoreError::Unavailable(format!("the definitions cannot be read: {e}")))
        })
    }
}

impl WatchState {
    /// Takes over what changed of the store's definitions since the registry's revision; nothing
    /// where that is the one that is `wanted` or a later one.
    async fn refresh(&self, wanted: Option<Revision>) -> Result<()> {
        let mut was_answered = self.building.lock().await;
        let current = Arc::clone(&self.registry.borrow());
        if wanted.is_some_and(|wanted| current.revision() >= wanted) {
            return Ok(());
        }
        // It stays so where the question is aborted.
        let is_certain = std::mem::replace(&mut *was_answered, false);
        let definitions = self.definitions(current.revision(), is_certain).await?;
        *was_answered = true;
        if let Some(definitions) = definitions {
            for unreadable in definitions
                .unreadable
                .iter()
                .filter(|unreadable| !current.knows_unreadable(unreadable))
            {
                tracing::error!(
                    why = unreadable.why,
                    "{unreadable} cannot be read and has no effect here"
                );
            }
            let next = Arc::new(Registry::build(definitions, &current));
            self.registry.send_replace(Arc::clone(&next));
            self.tenants.tell(&next.differing_tenants(&current));
        }
        Ok(())
    }

    async fn definitions(&self, known: Revision, is_certain: bool) -> Result<Option<Definitions>> {
        match self.store.definitions(known).await? {
            Some(definitions) if is_certain || definitions.changes.is_none() => {
                Ok(Some(definitions))
            }
            Some(_) => self.store.definitions(NONE).await,
            None => Ok(None),
        }
    }
}

impl Tenants {
    fn lock(&self) -> std::sync::MutexGuard<'_, Followed> {
        // Nothing that holds the lock panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subscribe(&self, tenant: &TenantName) -> watch::Receiver<()> {
        let mut followed = self.lock();
        if followed.senders.len() >= 2 * followed.left.max(FEW_TENANTS) {
            followed.senders.retain(|_, sender| !sender.is_closed());
            followed.left = followed.senders.len();
        }
        followed.senders.entry(tenant.clone()).or_insert_with(|| watch::Sender::new(())).subscribe()
    }

    fn tell(&self, changed: &[&TenantName]) {
        let followed = self.lock();
        for tenant in changed {
            if let Some(sender) = followed.senders.get(*tenant) {
                sender.send_replace(());
            }
        }
    }
}

async fn follow(shared: Arc<WatchState>, interval: Duration, mut ended: mpsc::Receiver<()>) {
    let mut notified = shared.store.changes();
    let mut backoff = Backoff::new(interval, MAX_BACKOFF.max(interval));
    let mut pause = backoff.pause();
    let mut is_away = false;
    loop {
        tokio::select! {
            // Gives something only once there is no watch left.
            _ = ended.recv() => return,
            () = change(&mut notified) => {}
            () = sleep(pause) => {}
        }
        match shared.refresh(None).await {
            Ok(()) => {
                if is_away {
                    tracing::info!("the definitions can be read again");
                }
                is_away = false;
                backoff.reset();
            }
            Err(why) => {
                if !is_away {
                    tracing::warn!(%why, "the definitions cannot be read: those of revision {} stay", shared.revision());
                }
                is_away = true;
            }
        }
        pause = backoff.pause();
    }
}

/// Waits until a change is notified; for ever where none can be.
async fn change(notified: &mut Option<watch::Receiver<Revision>>) {
    if let Some(receiver) = notified {
        if receiver.changed().await.is_ok() {
            return;
        }
        *notified = None;
    }
    std::future::pending::<()>().await;
}

impl WatchState {
    fn revision(&self) -> Revision {
        self.registry.borrow().revision()
    }
}
