//! Commits the ends of attempts, many at once: what came while the last commit was made is in the
//! next one, fair between tenants.
//!
//! The order is the protocol. An end is committed; then what it emitted is published, from the
//! outbox that the commit has filled; then the worker is told, and acknowledges the message. A
//! crash at any point repeats the steps after it: a message that is delivered again finds its
//! attempt closed, and an entry that stays in the outbox is published by the scheduler. While the
//! store is away nothing is acknowledged and nothing is dropped: ends stay here until the
//! recorder's permits are used up; then attempts that end wait for one, with the permits of their
//! own, and hosts take nothing more.

mod batches;
mod entry;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{self, sleep};
use wasmill_domain::Outcome;
use wasmill_store::{Finished, Ledger, StoreError};

use self::batches::{Batches, Size};
use self::entry::{PendingRecord, weight};
use crate::machine::kib;
use crate::outbox::Outbox;
use crate::settings::RecorderSettings;
use crate::shares::TenantShares;

/// Where ends of attempts go. They are held in memory until the store has them, for as long as it
/// takes; as room is limited, whoever hands over waits.
#[derive(Clone)]
pub(crate) struct Recorder {
    entries: mpsc::UnboundedSender<PendingRecord>,
    permits: TenantShares,
    /// In KiB.
    memory: TenantShares,
    outbox: Outbox,
}

/// Tells when an end is committed.
pub(crate) struct Committed(oneshot::Receiver<()>);

impl Committed {
    /// Waits until the end is committed, or turned out to be a later one than that which stands;
    /// either way there is no more to do. `false` where the recorder ended before that.
    pub(crate) async fn wait(self) -> bool {
        self.0.await.is_ok()
    }
}

impl Recorder {
    /// The recorder, and what it does, which ends when the last clone is dropped and everything is
    /// committed.
    pub(crate) fn new(
        ledger: Arc<dyn Ledger>,
        outbox: Outbox,
        settings: &RecorderSettings,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        // Bounded by the places: each entry has one.
        let (entries, receiver) = mpsc::unbounded_channel();
        let recorder = Self {
            entries,
            permits: TenantShares::new(settings.waiting as u64),
            memory: TenantShares::new(u64::from(kib(settings.waiting_bytes))),
            outbox: outbox.clone(),
        };
        let work = Work { ledger, outbox, settings: settings.clone() };
        (recorder, run(Arc::new(work), receiver))
    }

    /// Says whether there is more than one tenant.
    pub(crate) fn set_shared(&self, is_shared: bool) {
        self.permits.set_shared(is_shared);
        self.memory.set_shared(is_shared);
        self.outbox.set_shared(is_shared);
    }

    /// Hands an end over. Returns when there is room for it.
    pub(crate) async fn record(&self, finished: Finished) -> Committed {
        let weight = u64::from(kib(weight(&finished)));
        let (tenant, function) = (&finished.dispatch.tenant, &finished.dispatch.function);
        let permit = self.permits.acquire(tenant, function, 1).await;
        let memory = self.memory.acquire(tenant, function, weight).await;
        let (done, committed) = oneshot::channel();
        // Where the recorder is gone, `committed` says so.
        let _ = self.entries.send(PendingRecord { finished, done, _reserved: [permit, memory] });
        Committed(committed)
    }
}

struct Work {
    ledger: Arc<dyn Ledger>,
    outbox: Outbox,
    settings: RecorderSettings,
}

/// Commits what comes until nothing can come any more and everything is committed.
async fn run(work: Arc<Work>, mut receiver: mpsc::UnboundedReceiver<PendingRecord>) {
    let mut batches = Batches::new(work.settings.clone());
    let mut commits: JoinSet<(Size, Duration)> = JoinSet::new();
    loop {
        while let Ok(entry) = receiver.try_recv() {
            batches.push(entry, Instant::now());
        }
        while let Some((size, batch)) = batches.next(Instant::now()) {
            let work = Arc::clone(&work);
            commits.spawn(async move {
                let begun = Instant::now();
                work.commit_batch(batch).await;
                (size, begun.elapsed())
            });
        }
        tokio::select! {
            Some(ended) = commits.join_next() => match ended {
                Ok((size, took)) => batches.ended(size, took, Instant::now()),
                Err(error) => if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                },
            },
            Some(entry) = receiver.recv() => batches.push(entry, Instant::now()),
            () = time::sleep_until(batches.resumes_at().into()), if batches.pauses(Instant::now()) => {}
            else => return,
        }
    }
}

impl Work {
    async fn commit_batch(&self, batch: Vec<PendingRecord>) {
        let (mut finished, mut waiting) =
            (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for entry in batch {
            finished.push(entry.finished);
            waiting.push((entry.done, entry._reserved));
        }
        let stands = self.commit(&mut finished).await;
        for (finished, stands) in finished.into_iter().zip(stands) {
            if let Some(since) = stands {
                self.outbox.publish(finished.emitted, since);
            }
        }
        for (done, _reserved) in waiting {
            // Whoever waited may be gone.
            let _ = done.send(());
        }
    }

    /// Commits all, whatever it takes; says which stand, and when the commit of each began.
    async fn commit(&self, finished: &mut [Finished]) -> Vec<Option<time::Instant>> {
        // Ranges still to be committed, the first one last.
        let mut ranges = Vec::new();
        ranges.push(0..finished.len());
        let mut stands = Vec::with_capacity(finished.len());
        while let Some(range) = ranges.pop() {
            let batch = &mut finished[range.clone()];
            match self.try_commit(batch).await {
                Ok(result) => stands.extend(result),
                Err(why) if range.len() > 1 => {
                    tracing::warn!(%why, size = range.len(), "the store refuses a batch: looking for the one it means");
                    let middle = range.start + range.len() / 2;
                    ranges.push(middle..range.end);
                    ranges.push(range.start..middle);
                }
                Err(why) => stands.push(self.commit_without_content(&mut batch[0], &why).await),
            }
        }
        stands
    }

    /// Commits a batch, however long the store is away.
    ///
    /// # Errors
    /// Where the store refuses the data.
    async fn try_commit(
        &self,
        batch: &[Finished],
    ) -> Result<Vec<Option<time::Instant>>, StoreError> {
        let mut backoff = self.settings.backoff();
        let mut is_away = false;
        loop {
            // As the store counts the age of what it puts into its outbox.
            let begun = time::Instant::now();
            match self.ledger.record(batch).await {
                Ok(stands) => {
                    if is_away {
                        tracing::info!("the store is back: outcomes are committed again");
                    }
                    return Ok(stands.into_iter().map(|stands| stands.then_some(begun)).collect());
                }
                Err(StoreError::Unavailable(why)) => {
                    if !is_away {
                        tracing::warn!(why, "outcomes cannot be committed and are held");
                    }
                    is_away = true;
                    sleep(backoff.pause()).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What the store refuses is most likely something that the guest made: the end is recorded
    /// without it.
    async fn commit_without_content(
        &self,
        finished: &mut Finished,
        why: &StoreError,
    ) -> Option<time::Instant> {
        let report = &mut finished.report;
        let message =
            format!("ended with {}, and what it left cannot be stored: {why}", report.outcome);
        tracing::warn!(execution = %finished.dispatch.execution, message);
        report.outcome = Outcome::Trap;
        report.message = Some(message);
        report.backtrace = None;
        report.output = None;
        finished.logs.clear();
        finished.emitted.clear();
        finished.retry_at = None;
        match self.try_commit(std::slice::from_ref(finished)).await {
            Ok(stands) => stands.first().copied().flatten(),
            Err(error) => {
                // The event itself, then. Trying for ever would hold up everybody.
                tracing::error!(execution = %finished.dispatch.execution, %error, "an outcome cannot be stored and is lost");
                None
            }
        }
    }
}
