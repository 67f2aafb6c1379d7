//! Follows the definitions, so that every process knows of a change within a second: at once where
//! the store tells of changes ([`crate::Catalog::changes`]), otherwise, and while it cannot, by
//! asking again and again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::sleep;
use wasmill_domain::backoff::Backoff;
use wasmill_domain::{Registry, Revision};

use crate::port::{Catalog, Error, Result};

/// The longest pause between two tries while the store is away, however long the interval.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// How long [`RegistryWatch::reach`] goes on asking.
const REACH_TRIES: u32 = 20;

/// The pause between two of its tries.
const REACH_PAUSE: Duration = Duration::from_millis(50);

/// The registry of the store's current revision, kept current. Clones share one registry; following
/// ends when the last of them is dropped.
#[derive(Clone)]
pub struct RegistryWatch {
    shared: Arc<Shared>,
    /// Nothing is sent: the task ends when the last sender is gone.
    _alive: mpsc::Sender<()>,
}

struct Shared {
    store: Arc<dyn Catalog>,
    registry: watch::Sender<Arc<Registry>>,
    /// Whoever builds a registry holds it, so that an older one never follows a newer one.
    building: Mutex<()>,
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
        let shared = Arc::new(Shared { store, registry, building: Mutex::new(()) });
        shared.refresh().await?;
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
            self.shared.refresh().await?;
            if self.current().revision() >= revision {
                return Ok(());
            }
            sleep(REACH_PAUSE).await;
        }
        let current = self.current().revision();
        Err(Error::Unavailable(format!(
            "it is at revision {current} still, and revision {revision} was asked for"
        )))
    }
}

impl Shared {
    /// Takes over the store's definitions where they are of another revision than the registry's.
    async fn refresh(&self) -> Result<()> {
        let _building = self.building.lock().await;
        let current = Arc::clone(&self.registry.borrow());
        if let Some(definitions) = self.store.definitions(current.revision()).await? {
            for broken in
                definitions.broken.iter().filter(|broken| !current.broken().contains(broken))
            {
                tracing::error!(why = broken.why, "{broken} cannot be read and has no effect here");
            }
            self.registry.send_replace(Arc::new(Registry::build(definitions, &current)));
        }
        Ok(())
    }
}

async fn follow(shared: Arc<Shared>, interval: Duration, mut ended: mpsc::Receiver<()>) {
    let mut heard = shared.store.changes();
    let mut backoff = Backoff::new(interval, MAX_BACKOFF.max(interval));
    let mut pause = backoff.pause();
    let mut is_away = false;
    loop {
        tokio::select! {
            // Gives something only once there is no watch left.
            _ = ended.recv() => return,
            () = change(&mut heard) => {}
            () = sleep(pause) => {}
        }
        match shared.refresh().await {
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

/// Waits until a change is heard of; for ever where none can be.
async fn change(heard: &mut Option<watch::Receiver<Revision>>) {
    if let Some(receiver) = heard {
        if receiver.changed().await.is_ok() {
            return;
        }
        *heard = None;
    }
    std::future::pending::<()>().await;
}

impl Shared {
    fn revision(&self) -> Revision {
        self.registry.borrow().revision()
    }
}
