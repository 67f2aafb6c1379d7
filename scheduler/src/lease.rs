//! Leases: which scheduler does which duty.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
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

/// How often within its length a lease is renewed, and how many renewals may be under way.
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

    /// For how long it is taken.
    pub(crate) fn length(&self) -> Duration {
        self.length
    }

    /// Takes it where it is free; `None` while somebody else has it.
    pub(crate) async fn take(&self) -> Result<Option<HeldLease>> {
        let Some((term, until)) = self.ask().await? else { return Ok(None) };
        let (sender, end) = watch::channel(LeaseEnd::At(until));
        let renewing = AbortOnDropHandle::new(tokio::spawn(self.clone().renew(term, sender)));
        Ok(Some(HeldLease { term, end, _renewing: renewing }))
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
    /// long does not keep it from being asked for again, nor is it dropped for that, which would cut
    /// its connection.
    async fn renew(self, term: Term, end: watch::Sender<LeaseEnd>) {
        let mut tick = interval_at(Instant::now() + self.length / RENEWALS, self.length / RENEWALS);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asking = FuturesUnordered::new();
        loop {
            let LeaseEnd::At(until) = *end.borrow() else { return };
            tokio::select! {
                answer = asking.next(), if !asking.is_empty() => match answer {
                    Some(Ok(Some((same, until)))) if same == term => {
                        end.send_if_modified(|end| end.is_put_off_to(until));
                    }
                    Some(Ok(_)) => {
                        end.send_replace(LeaseEnd::Taken);
                    }
                    Some(Err(why)) => {
                        tracing::debug!(%why, lease = &*self.name, "a lease is not renewed");
                    }
                    None => {}
                },
                _ = tick.tick() => {
                    if asking.len() < RENEWALS as usize {
                        asking.push(self.ask());
                    }
                }
                () = sleep_until(until) => {
                    tracing::debug!(lease = &*self.name, "a lease is not renewed in time");
                    return;
                }
            }
        }
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

/// When a lease ends, as far as is known.
#[derive(Clone, Copy)]
enum LeaseEnd {
    At(Instant),
    /// Somebody else has it, or has had it meanwhile.
    Taken,
}

impl LeaseEnd {
    /// Puts it off to a later time, if it is later.
    fn is_put_off_to(&mut self, later: Instant) -> bool {
        match self {
            Self::At(end) if *end < later => {
                *end = later;
                true
            }
            _ => false,
        }
    }
}

/// How a lease was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Somebody else has it, or has had it.
    Taken,
    /// It could not be renewed in time: nobody else is known to have it.
    RanOut,
}

/// A lease that is held, and renewed for as long as this exists.
pub(crate) struct HeldLease {
    pub(crate) term: Term,
    end: watch::Receiver<LeaseEnd>,
    _renewing: AbortOnDropHandle<()>,
}

impl HeldLease {
    /// Waits until the lease is lost.
    pub(crate) async fn lost(&mut self) -> Loss {
        loop {
            let LeaseEnd::At(end) = *self.end.borrow_and_update() else { return Loss::Taken };
            tokio::select! {
                () = sleep_until(end) => return Loss::RanOut,
                changed = self.end.changed() => {
                    // It is renewed no more.
                    if changed.is_err() && matches!(*self.end.borrow(), LeaseEnd::At(_)) {
                        return Loss::RanOut;
                    }
                }
            }
        }
    }
}

/// Whether duties may be done beside schedulers of the releases before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GateState {
    /// They may.
    Open,
    /// The old lease ran out, and nobody is known to have it: the round of a duty that is under way
    /// goes on, and none begins.
    Lapsed,
    /// A scheduler of a release before does them.
    Shut,
}

/// Keeps schedulers of the releases before from working beside those that have a lease for each
/// duty: these hold the old lease together, under one name. So either one of the old ones does all
/// that it knows of, or the new ones share their duties.
///
/// It can go with the release after the one that brought it.
pub(crate) struct Gate {
    lease: Lease,
    state: watch::Sender<GateState>,
}

impl Gate {
    pub(crate) fn new(parts: &SchedulerParts) -> Self {
        let lease = Lease {
            leases: Arc::clone(&parts.store.leases),
            name: WHOLE.into(),
            holder: TOGETHER.into(),
            length: parts.settings.lease,
        };
        Self { lease, state: watch::Sender::new(GateState::Shut) }
    }

    /// Tells whether duties may be done.
    pub(crate) fn watch(&self) -> watch::Receiver<GateState> {
        self.state.subscribe()
    }

    /// Opens the gate whenever the old lease is free or held by others like this one, and shuts it
    /// when somebody else has it. It is never given back, as others may rely on it: it runs out by
    /// itself once nobody renews it any more.
    pub(crate) async fn keep(self) {
        loop {
            match self.lease.take().await {
                Ok(Some(mut held)) => {
                    self.state.send_replace(GateState::Open);
                    let loss = held.lost().await;
                    tracing::warn!(?loss, "the lease that all schedulers share is lost");
                    self.state.send_replace(match loss {
                        Loss::Taken => GateState::Shut,
                        Loss::RanOut => GateState::Lapsed,
                    });
                }
                Ok(None) => {
                    self.state.send_replace(GateState::Shut);
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
