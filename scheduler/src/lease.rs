//! Leases: which scheduler sees to which duty.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;
use wasmill_store::{Leases, Result, Term};

use crate::parts::SchedulerParts;

/// The lease of a scheduler that is of a release before 0.2. It has this one for all that it does.
const WHOLE: &str = "scheduler";

/// Who holds [`WHOLE`] for all schedulers that have a lease for each duty.
const TOGETHER: &str = "duties";

/// How long a shutdown waits for the store to take a lease back.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// How seldom a lease is asked for at most.
const LONGEST_ASKING: Duration = Duration::from_secs(1);

/// How often within its length a lease is renewed.
const RENEWALS: u32 = 3;

/// How often whoever does not have a lease of this length asks for it: who has it may end, and
/// gives it back then.
pub(crate) fn asking(length: Duration) -> Duration {
    (length / 8).min(LONGEST_ASKING)
}

/// A lease by its name, and who would hold it for how long.
#[derive(Clone)]
pub(crate) struct Lease {
    leases: Arc<dyn Leases>,
    name: Arc<str>,
    holder: Arc<str>,
    length: Duration,
}

impl Lease {
    pub(crate) fn of_duty(parts: &SchedulerParts, duty: &str, length: Duration) -> Self {
        Self {
            leases: Arc::clone(&parts.store.leases),
            name: format!("{WHOLE}/{duty}").into(),
            holder: parts.settings.holder.as_str().into(),
            length,
        }
    }

    /// Takes it where it is free; `None` while somebody else has it.
    pub(crate) async fn take(&self) -> Result<Option<HeldLease>> {
        let Some((term, until)) = self.ask().await? else { return Ok(None) };
        let (sender, ends) = watch::channel(until);
        let renewing = AbortOnDropHandle::new(tokio::spawn(self.clone().renew(term, sender)));
        Ok(Some(HeldLease { term, ends, _renewing: renewing }))
    }

    /// Asks for it, and gives its term and until when this process may believe in it. That is
    /// counted from before the call, so that it never believes in a lease longer than the database
    /// does.
    async fn ask(&self) -> Result<Option<(Term, Instant)>> {
        let asked = Instant::now();
        let term = self.leases.lease(&self.name, &self.holder, self.length).await?;
        Ok(term.map(|term| (term, asked + self.length)))
    }

    /// Renews it again and again, until somebody else has it or it has run out. A call that takes
    /// too long does not keep it from being asked for again: by the end of the lease it is lost.
    async fn renew(self, term: Term, until: watch::Sender<Instant>) {
        let pace = self.length / RENEWALS;
        loop {
            tokio::time::sleep(pace).await;
            match timeout(pace, self.ask()).await {
                Ok(Ok(Some((same, end)))) if same == term => {
                    until.send_replace(end);
                }
                // Somebody else has had it meanwhile, or has it.
                Ok(Ok(_)) => break,
                Ok(Err(why)) => {
                    tracing::debug!(%why, lease = &*self.name, "a lease is not renewed");
                }
                Err(_) => tracing::debug!(lease = &*self.name, "a lease is not renewed in time"),
            }
            if *until.borrow() <= Instant::now() {
                break;
            }
        }
        // With the sender, whoever holds it hears that it is lost.
    }

    /// Lets it go at once, so that a successor need not wait. Asks even where this one does not
    /// know of a lease: it may have been granted just as the shutdown came.
    pub(crate) async fn release(&self) {
        let release = self.leases.lease(&self.name, &self.holder, Duration::ZERO);
        match timeout(RELEASE_TIMEOUT, release).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the lease runs out by itself"),
            Err(_) => tracing::debug!("the store does not answer; the lease runs out by itself"),
        }
    }
}

/// A lease that is held, and renewed for as long as this exists.
pub(crate) struct HeldLease {
    pub(crate) term: Term,
    ends: watch::Receiver<Instant>,
    _renewing: AbortOnDropHandle<()>,
}

impl HeldLease {
    /// Waits until the lease is lost: somebody else has it, or it could not be renewed in time.
    pub(crate) async fn lost(&mut self) {
        loop {
            let end = *self.ends.borrow_and_update();
            tokio::select! {
                () = sleep_until(end) => return,
                changed = self.ends.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// Keeps schedulers of the releases before from working beside those that have a lease for each
/// duty: these hold the old lease together, under one name. So either one of the old ones does all
/// that it knows of, or the new ones share their duties.
///
/// It can go with the release after the one that brought it.
pub(crate) struct Gate {
    lease: Lease,
    is_open: watch::Sender<bool>,
}

impl Gate {
    pub(crate) fn new(parts: &SchedulerParts) -> Self {
        let lease = Lease {
            leases: Arc::clone(&parts.store.leases),
            name: WHOLE.into(),
            holder: TOGETHER.into(),
            length: parts.settings.lease,
        };
        Self { lease, is_open: watch::Sender::new(false) }
    }

    /// Tells whether duties may be seen to.
    pub(crate) fn watch(&self) -> watch::Receiver<bool> {
        self.is_open.subscribe()
    }

    /// Opens the gate whenever the old lease is free or held by others like this one, and shuts it
    /// when it is lost. It is never given back, as others may rely on it: it runs out by itself
    /// once nobody renews it any more.
    pub(crate) async fn keep(self) {
        loop {
            match self.lease.take().await {
                Ok(Some(mut held)) => {
                    self.is_open.send_replace(true);
                    held.lost().await;
                    self.is_open.send_replace(false);
                    tracing::warn!(
                        "the lease that all schedulers share is lost: their duties wait"
                    );
                }
                Ok(None) => {
                    tracing::debug!(
                        "a scheduler of an earlier release works: duties are left to it"
                    );
                }
                Err(why) => tracing::debug!(%why, "the store cannot say whose turn it is"),
            }
            tokio::time::sleep(asking(self.lease.length)).await;
        }
    }
}
