//! Which ends of attempts are committed together, and when.
//!
//! There is no timer. While a commit is under way, what ends meanwhile waits, and makes the next
//! batch: a host that is quiet commits each end at once, a busy one many in one transaction, and
//! the size follows the database's pace without a setting.
//!
//! A backlog of one function would still fill every batch. So what waits is taken fairly between
//! tenants and functions, and there is one commit more for functions that have little to record
//! ([`Size::Small`]) when all others are under way. Once such a function meets a backlog, the
//! backlog is throttled for a while: one commit at a time, of a quarter of the size, and a pause
//! after each. The pause is what lets the others in where all share one disk.

use std::time::{Duration, Instant};

use super::entry::{PendingRecord, weight};
use crate::fair_queue::FairQueue;
use crate::settings::RecorderSettings;

/// How long a backlog makes room after somebody came who has little to record.
const THROTTLED_FOR: Duration = Duration::from_secs(1);

/// The pause after each of its commits, in times that the commit took.
const PAUSE: u32 = 2;

/// Ends of attempts that wait for a commit, and the commits under way.
pub(super) struct Batches {
    settings: RecorderSettings,
    waiting: FairQueue<PendingRecord>,
    large: usize,
    small: usize,
    /// Until then, functions with a backlog have one commit at a time, a smaller one, and a pause
    /// after each: where all share a machine or a database, nothing else would keep a backlog from
    /// taking all of it.
    throttled_until: Instant,
    resumes_at: Instant,
}

/// Whose a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// Anybody's.
    Large,
    /// Of functions that have little to record.
    Small,
}

impl Batches {
    pub(super) fn new(settings: RecorderSettings) -> Self {
        let now = Instant::now();
        Self {
            settings,
            waiting: FairQueue::default(),
            large: 0,
            small: 0,
            throttled_until: now,
            resumes_at: now,
        }
    }

    /// A function that has no more than this waiting has little to record.
    fn few(&self) -> usize {
        self.settings.batch / 16
    }

    pub(super) fn push(&mut self, entry: PendingRecord, now: Instant) {
        let (tenant, function) =
            (entry.finished.dispatch.tenant.clone(), entry.finished.dispatch.function.clone());
        let of_function = self.waiting.push(&tenant, &function, entry);
        if of_function <= self.few() && self.waiting.len() > of_function + self.settings.batch / 2 {
            self.throttled_until = now + THROTTLED_FOR;
        }
    }

    /// The next batch, if it is not better to wait.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Size, Vec<PendingRecord>)> {
        let throttled = now < self.throttled_until;
        if self.small == 0 && (throttled || self.large >= self.settings.commits) {
            let batch = self.waiting.take_of_small(self.few());
            if !batch.is_empty() {
                self.small += 1;
                return Some((Size::Small, batch));
            }
        }
        let quarter = self.settings.batch / 4;
        let is_time = if throttled {
            self.large == 0 && now >= self.resumes_at
        } else {
            // A second one needs a certain size, or it would only keep its members from sharing the
            // next.
            let wanted = if self.large + self.small == 0 { 1 } else { quarter };
            self.large < self.settings.commits && self.waiting.len() >= wanted
        };
        if !is_time || self.waiting.len() == 0 {
            return None;
        }
        self.large += 1;
        // What follows a commit comes in as large a burst as it was.
        Some((Size::Large, self.take(if throttled { quarter } else { self.settings.batch })))
    }

    /// As much as a transaction holds, up to `most` and at least one.
    fn take(&mut self, most: usize) -> Vec<PendingRecord> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < most.max(1)
            && bytes < self.settings.batch_bytes
            && let Some(entry) = self.waiting.pop()
        {
            bytes += weight(&entry.finished);
            batch.push(entry);
        }
        batch
    }

    /// A commit has ended.
    pub(super) fn ended(&mut self, size: Size, took: Duration, now: Instant) {
        match size {
            Size::Small => self.small -= 1,
            Size::Large => {
                self.large -= 1;
                self.resumes_at = now + took * PAUSE;
            }
        }
    }

    /// Whether something waits that only time brings on.
    pub(super) fn pauses(&self, now: Instant) -> bool {
        self.waiting.len() > 0 && self.large == 0 && now < self.resumes_at
    }

    pub(super) fn resumes_at(&self) -> Instant {
        self.resumes_at
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use wasmill_domain::{Dispatch, Outcome};

    use super::*;
    use crate::shares::TenantShares;

    const SETTINGS: fn() -> RecorderSettings =
        || RecorderSettings { batch: 64, commits: 2, ..RecorderSettings::default() };

    fn entry(function: &str) -> PendingRecord {
        let event = crate::tests::event("a", "{}");
        let dispatch =
            Dispatch { function: function.parse().unwrap(), ..crate::tests::dispatch(event) };
        let finished = crate::tests::ended(dispatch, Outcome::Trap);
        let permit = || TenantShares::new(1).try_acquire(&finished.dispatch.tenant, 1).unwrap();
        let _reserved = [permit(), permit()];
        PendingRecord { finished, done: oneshot::channel().0, _reserved }
    }

    fn push(batches: &mut Batches, function: &str, count: usize, now: Instant) {
        for _ in 0..count {
            batches.push(entry(function), now);
        }
    }

    fn next(batches: &mut Batches, now: Instant) -> Option<(Size, usize)> {
        batches.next(now).map(|(size, batch)| (size, batch.len()))
    }

    #[test]
    fn what_comes_during_a_commit_shares_the_next() {
        let (mut batches, now) = (Batches::new(SETTINGS()), Instant::now());
        push(&mut batches, "f", 1, now);
        assert_eq!(next(&mut batches, now), Some((Size::Large, 1)));
        push(&mut batches, "f", 15, now);
        assert_eq!(next(&mut batches, now), None);
        push(&mut batches, "f", 100, now);
        // Enough for a second one; then all are in use.
        assert_eq!(next(&mut batches, now), Some((Size::Large, 64)));
        assert_eq!(next(&mut batches, now), None);
        batches.ended(Size::Large, Duration::ZERO, now);
        assert_eq!(next(&mut batches, now), Some((Size::Large, 51)));
        assert!(!batches.pauses(now));
    }

    #[test]
    fn who_has_little_passes_a_backlog_which_makes_room() {
        let (mut batches, now) = (Batches::new(SETTINGS()), Instant::now());
        push(&mut batches, "much", 300, now);
        assert_eq!(next(&mut batches, now), Some((Size::Large, 64)));
        assert_eq!(next(&mut batches, now), Some((Size::Large, 64)));
        assert_eq!(next(&mut batches, now), None);
        push(&mut batches, "little", 2, now);
        assert_eq!(next(&mut batches, now), Some((Size::Small, 2)));
        let took = Duration::from_millis(10);
        batches.ended(Size::Large, took, now);
        assert_eq!(next(&mut batches, now), None, "one at a time");
        batches.ended(Size::Large, took, now);
        assert_eq!(next(&mut batches, now), None, "after a pause");
        assert!(batches.pauses(now) && batches.resumes_at() == now + took * PAUSE);
        assert_eq!(next(&mut batches, now + took * PAUSE), Some((Size::Large, 16)));
        // Some time after the last of those with little, the backlog has everything again.
        let later = now + THROTTLED_FOR;
        assert_eq!(next(&mut batches, later), Some((Size::Large, 64)));
        batches.ended(Size::Small, took, later);
        batches.ended(Size::Large, took, later);
        assert_eq!(next(&mut batches, later), Some((Size::Large, 64)));
    }

    #[test]
    fn a_batch_is_bounded_by_its_bytes() {
        let settings = RecorderSettings { batch_bytes: 1, ..SETTINGS() };
        let (mut batches, now) = (Batches::new(settings), Instant::now());
        push(&mut batches, "f", 3, now);
        assert_eq!(next(&mut batches, now), Some((Size::Large, 1)));
    }
}
