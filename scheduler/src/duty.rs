//! How a duty is done: by whoever holds its lease, round after round.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use wasmill_domain::backoff::Backoff;
use wasmill_store::Term;

use crate::error::DutyError;
use crate::lease::{GateState, HeldLease, Lease, Loss, asking};
use crate::parts::SchedulerParts;

/// How long a shutdown waits for the round that is under way, and what others have left. What is not done then is left to the
/// next holder, who publishes some of it once more.
const ROUND_TIMEOUT: Duration = Duration::from_secs(1);

/// What comes after a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another round at once: there may be more to do.
    AtOnce,
    /// Another round when it is time again.
    InTime,
}

/// Something that a scheduler does again and again. A round may be dropped at any await: its lease
/// was lost, or the scheduler ends.
#[async_trait]
pub(crate) trait Duty: Send {
    /// What it is called in the log, and in the name of its lease.
    fn name(&self) -> &'static str;

    /// How long it rests between two rounds.
    fn pace(&self) -> Duration;

    /// Begins anew: another scheduler may have done some of it since the last round.
    fn begin(&mut self) {}

    /// Does a bounded piece of what is to be done.
    async fn round(&mut self) -> Result<Next, DutyError>;

    /// Brings to an end what rounds have left under way: the scheduler ends. May be dropped as
    /// well.
    async fn finish(&mut self) -> Result<(), DutyError> {
        Ok(())
    }
}

/// Does a duty whenever this process has its lease.
pub(crate) struct Runner {
    parts: SchedulerParts,
    gate: watch::Receiver<GateState>,
    shutdown: CancellationToken,
}

/// Why no further round is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    /// The lease or the gate is lost, or the scheduler ends.
    Lost,
    /// Rounds have failed for as long as a lease lasts: another scheduler may succeed.
    Failing,
}

impl Runner {
    pub(crate) fn new(
        parts: &SchedulerParts,
        gate: watch::Receiver<GateState>,
        shutdown: CancellationToken,
    ) -> Self {
        Self { parts: parts.clone(), gate, shutdown }
    }

    /// Does a duty whenever this process has its lease, until the shutdown.
    pub(crate) async fn run(mut self, mut duty: Box<dyn Duty>) {
        let (name, settings) = (duty.name(), &self.parts.settings);
        // A duty that is seldom done is not renewed more often for that.
        let length = settings.lease.max(duty.pace().saturating_mul(2));
        let lease = Lease::of_duty(&self.parts, name, length);
        let asking = asking(settings.lease);
        let mut outage = Outage::new(name, settings.interval, settings.max_backoff);
        let mut last_term = None;
        while !self.shutdown.is_cancelled() {
            let pause = match self.lead(&lease, &mut *duty, &mut outage, &mut last_term).await {
                Ok(Stopped::Lost) => asking,
                Ok(Stopped::Failing) => {
                    outage.leave();
                    lease.release().await;
                    // All others have asked for it by then.
                    asking * 2
                }
                Err(error) => outage.begin(&error),
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
        lease.release().await;
    }

    /// Waits for the gate, takes the lease if it is free, and does the duty until that is over.
    async fn lead(
        &mut self,
        lease: &Lease,
        duty: &mut dyn Duty,
        outage: &mut Outage,
        last_term: &mut Option<Term>,
    ) -> Result<Stopped, DutyError> {
        tokio::select! {
            // An error means that the gate is gone with the scheduler.
            open = self.gate.wait_for(|state| *state == GateState::Open) => {
                if open.is_err() {
                    return Ok(Stopped::Lost);
                }
            }
            () = self.shutdown.cancelled() => return Ok(Stopped::Lost),
        }
        let taken = tokio::select! {
            taken = lease.take() => taken?,
            () = self.shutdown.cancelled() => return Ok(Stopped::Lost),
        };
        let Some(mut held) = taken else {
            outage.is_of_another();
            return Ok(Stopped::Lost);
        };
        if *last_term != Some(held.term) {
            tracing::info!(duty = duty.name(), term = held.term.0, "this scheduler has a duty");
            *last_term = Some(held.term);
            duty.begin();
        }
        Ok(self.work(&mut held, lease.length(), duty, outage).await)
    }

    /// Round after round, until the lease is lost, somebody else has the gate's, rounds have failed
    /// for `longest`, or the scheduler ends. The round that is under way is dropped then, before its
    /// next statement.
    async fn work(
        &mut self,
        held: &mut HeldLease,
        longest: Duration,
        duty: &mut dyn Duty,
        outage: &mut Outage,
    ) -> Stopped {
        let (name, shutdown, gate) = (duty.name(), self.shutdown.clone(), self.gate.clone());
        let timed_out = async {
            shutdown.cancelled().await;
            sleep(ROUND_TIMEOUT).await;
        };
        tokio::select! {
            // In this order: whoever wakes up late sees that the lease is lost before it goes on.
            biased;
            loss = held.lost() => {
                match loss {
                    Loss::Taken => tracing::info!(duty = name, "another scheduler has a duty now"),
                    Loss::RanOut => tracing::info!(duty = name, "the lease of a duty ran out"),
                }
                Stopped::Lost
            }
            _ = self.gate.wait_for(|state| *state == GateState::Shut) => Stopped::Lost,
            () = timed_out => Stopped::Lost,
            stopped = rounds(duty, outage, gate, longest, &shutdown) => stopped,
        }
    }
}

/// Round after round until `shutdown`, or until they have failed for `longest`. None begins while
/// the gate is not open.
async fn rounds(
    duty: &mut dyn Duty,
    outage: &mut Outage,
    mut gate: watch::Receiver<GateState>,
    longest: Duration,
    shutdown: &CancellationToken,
) -> Stopped {
    let mut failing_since = None;
    while !shutdown.is_cancelled() {
        if gate.wait_for(|state| *state == GateState::Open).await.is_err() {
            break;
        }
        let pause = match duty.round().await {
            Ok(next) => {
                outage.end();
                failing_since = None;
                if next == Next::AtOnce { Duration::ZERO } else { duty.pace() }
            }
            Err(error) => {
                let pause = outage.begin(&error);
                if failing_since.get_or_insert_with(Instant::now).elapsed() >= longest {
                    return Stopped::Failing;
                }
                pause
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = shutdown.cancelled() => {}
        }
    }
    if let Err(error) = duty.finish().await {
        tracing::debug!(%error, duty = duty.name(), "a duty is left undone at the end");
    }
    Stopped::Lost
}

/// Tells of the beginning and the end of an outage, once each, and paces the tries between.
struct Outage {
    duty: &'static str,
    is_on: bool,
    was_left: bool,
    backoff: Backoff,
}

impl Outage {
    fn new(duty: &'static str, first: Duration, longest: Duration) -> Self {
        let backoff = Backoff::new(first.saturating_mul(2), longest);
        Self { duty, is_on: false, was_left: false, backoff }
    }

    /// How long to wait after a failure.
    fn begin(&mut self, error: &DutyError) -> Duration {
        if !self.is_on {
            tracing::warn!(%error, duty = self.duty, "a duty fails and is tried again");
        }
        self.is_on = true;
        self.backoff.pause()
    }

    /// Other schedulers may try it.
    fn leave(&mut self) {
        if !self.was_left {
            tracing::warn!(duty = self.duty, "a duty that fails is left to other schedulers");
        }
        self.was_left = true;
        self.backoff.reset();
    }

    /// Another scheduler has it.
    fn is_of_another(&mut self) {
        if self.is_on {
            tracing::info!(duty = self.duty, "another scheduler has a duty that failed here");
        }
        self.reset();
    }

    fn end(&mut self) {
        if self.is_on {
            tracing::info!(duty = self.duty, "a duty succeeds again");
        }
        self.reset();
    }

    fn reset(&mut self) {
        (self.is_on, self.was_left) = (false, false);
        self.backoff.reset();
    }
}
