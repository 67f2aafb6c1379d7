//! How a duty is seen to: by whoever holds its lease, round after round.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use wasmill_domain::backoff::Backoff;
use wasmill_store::Term;

use crate::error::DutyError;
use crate::lease::{HeldLease, Lease, asking};
use crate::parts::SchedulerParts;

/// How long a shutdown waits for the round that is under way. What is not done then is left to the
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

    /// Does a bounded piece of what is to be done.
    async fn round(&mut self) -> Result<Next, DutyError>;
}

/// What a duty needs to be seen to.
pub(crate) struct Runner {
    parts: SchedulerParts,
    gate: watch::Receiver<bool>,
    shutdown: CancellationToken,
}

impl Runner {
    pub(crate) fn new(
        parts: &SchedulerParts,
        gate: watch::Receiver<bool>,
        shutdown: CancellationToken,
    ) -> Self {
        Self { parts: parts.clone(), gate, shutdown }
    }

    /// Sees to a duty whenever this process has its lease, until the shutdown.
    pub(crate) async fn run(mut self, mut duty: Box<dyn Duty>) {
        let (name, settings) = (duty.name(), &self.parts.settings);
        // A duty that is seldom seen to is not renewed more often for that.
        let length = settings.lease.max(duty.pace().saturating_mul(2));
        let lease = Lease::of_duty(&self.parts, name, length);
        let asking = asking(settings.lease);
        let mut outage = Outage::new(name, settings.interval, settings.max_backoff);
        let mut last_term = None;
        while !self.shutdown.is_cancelled() {
            let pause = match self.lead(&lease, &mut *duty, &mut outage, &mut last_term).await {
                Ok(()) => asking,
                Err(error) => outage.begin(&error),
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
        lease.release().await;
    }

    /// Waits for the gate, takes the lease if it is free, and sees to the duty until it is lost.
    async fn lead(
        &mut self,
        lease: &Lease,
        duty: &mut dyn Duty,
        outage: &mut Outage,
        last_term: &mut Option<Term>,
    ) -> Result<(), DutyError> {
        tokio::select! {
            // An error means that the gate is gone with the scheduler.
            open = self.gate.wait_for(|is_open| *is_open) => {
                if open.is_err() {
                    return Ok(());
                }
            }
            () = self.shutdown.cancelled() => return Ok(()),
        }
        let taken = tokio::select! {
            taken = lease.take() => taken?,
            () = self.shutdown.cancelled() => return Ok(()),
        };
        outage.end();
        let Some(mut held) = taken else { return Ok(()) };
        if *last_term != Some(held.term) {
            tracing::info!(duty = duty.name(), term = held.term.0, "sees to a duty");
            *last_term = Some(held.term);
        }
        self.work(&mut held, duty, outage).await;
        Ok(())
    }

    /// Round after round, until the lease or the gate is lost or the scheduler ends. The round that
    /// is under way is dropped then, before its next statement.
    async fn work(&mut self, held: &mut HeldLease, duty: &mut dyn Duty, outage: &mut Outage) {
        let (name, shutdown) = (duty.name(), self.shutdown.clone());
        let timed_out = async {
            shutdown.cancelled().await;
            sleep(ROUND_TIMEOUT).await;
        };
        tokio::select! {
            // In this order: whoever wakes up late sees that the lease is lost before it goes on.
            biased;
            () = held.lost() => tracing::info!(duty = name, "another scheduler may see to a duty"),
            _ = self.gate.wait_for(|is_open| !*is_open) => {}
            () = timed_out => {}
            () = rounds(duty, outage, &shutdown) => {}
        }
    }
}

/// Round after round until `shutdown`.
async fn rounds(duty: &mut dyn Duty, outage: &mut Outage, shutdown: &CancellationToken) {
    while !shutdown.is_cancelled() {
        let pause = match duty.round().await {
            Ok(next) => {
                outage.end();
                if next == Next::AtOnce { Duration::ZERO } else { duty.pace() }
            }
            Err(error) => outage.begin(&error),
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

/// Tells of the beginning and the end of an outage, once each, and paces the tries between.
struct Outage {
    duty: &'static str,
    is_on: bool,
    backoff: Backoff,
}

impl Outage {
    fn new(duty: &'static str, first: Duration, longest: Duration) -> Self {
        Self { duty, is_on: false, backoff: Backoff::new(first.saturating_mul(2), longest) }
    }

    /// How long to wait after a failure.
    fn begin(&mut self, error: &DutyError) -> Duration {
        if !self.is_on {
            tracing::warn!(%error, duty = self.duty, "a duty waits");
        }
        self.is_on = true;
        self.backoff.pause()
    }

    fn end(&mut self) {
        if self.is_on {
            tracing::info!(duty = self.duty, "a duty is seen to again");
        }
        self.is_on = false;
        self.backoff.reset();
    }
}
