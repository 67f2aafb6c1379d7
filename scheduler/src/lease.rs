//! Which scheduler leads.

use std::time::{Duration, Instant};

use wasmill_store::{Result, Store, Term};

use crate::settings::SchedulerSettings;

/// The lease that schedulers compete for.
const NAME: &str = "scheduler";

/// How long a shutdown waits for the store to take the lease back.
const RELEASE_PATIENCE: Duration = Duration::from_secs(1);

/// This scheduler's standing in the competition.
pub(crate) struct Leadership {
    holder: String,
    lease: Duration,
    held: Option<Held>,
}

struct Held {
    term: Term,
    renewed: Instant,
}

impl Leadership {
    pub(crate) fn new(settings: &SchedulerSettings) -> Self {
        Self { holder: settings.holder.clone(), lease: settings.lease, held: None }
    }

    /// Whether this one leads now. Takes the lease where it is free, and renews it when a third of
    /// it has passed.
    pub(crate) async fn leads(&mut self, store: &dyn Store) -> Result<bool> {
        if self.held.as_ref().is_some_and(|held| held.renewed.elapsed() < self.lease / 3) {
            return Ok(true);
        }
        // Counted from before the call, so that this process never believes in a lease longer than
        // the database does.
        let asked = Instant::now();
        let term = store.lease(NAME, &self.holder, self.lease).await?;
        let before = self.held.as_ref().map(|held| held.term);
        if term != before {
            match term {
                Some(Term(term)) => tracing::info!(term, "leads"),
                None => tracing::info!("leads no more"),
            }
        }
        self.held = term.map(|term| Held { term, renewed: asked });
        Ok(self.held.is_some())
    }

    /// Lets the lease go at once, so that a successor need not wait. Asks even where this one does
    /// not know of a lease: it may have been granted just as the shutdown came.
    pub(crate) async fn release(&mut self, store: &dyn Store) {
        self.held = None;
        let release = store.lease(NAME, &self.holder, Duration::ZERO);
        match tokio::time::timeout(RELEASE_PATIENCE, release).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the lease runs out by itself"),
            Err(_) => tracing::debug!("the store does not answer; the lease runs out by itself"),
        }
    }
}
