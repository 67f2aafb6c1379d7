//! Days, and what a process remembers of their partitions.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;
use wasmill_domain::{ExecutionId, Timestamp};

use crate::convert;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Days share this many locks, so that a batch of executions of any days needs few.
const DAY_LOCKS: i64 = 32;

/// How long to wait after a failure before the next try.
const RETRY_PAUSE: Duration = Duration::from_secs(60);

/// A day in UTC, counted from 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Day(i64);

impl Day {
    /// The day of a time; the first one for times before it.
    pub(super) fn of(time: Timestamp) -> Self {
        Self((time.as_micros() / DAY.as_micros() as i64).max(0))
    }

    /// The day whose partition an execution belongs to.
    pub(super) fn of_id(id: ExecutionId) -> Self {
        let millis = (id.0.as_u128() >> 80) as i64;
        Self(millis / DAY.as_millis() as i64)
    }

    pub(super) fn today() -> Self {
        Self::of(Timestamp::now())
    }

    pub(super) fn plus(self, days: i64) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// Its first moment.
    pub(super) fn start(self) -> Timestamp {
        Timestamp::from_micros(self.0.saturating_mul(DAY.as_micros() as i64))
    }

    /// The largest id that an execution of this day can have.
    pub(super) fn last_id(self) -> ExecutionId {
        ExecutionId(Uuid::from_u128(self.plus(1).first_id().0.as_u128().saturating_sub(1)))
    }

    /// The smallest id that an execution of this day can have.
    pub(super) fn first_id(self) -> ExecutionId {
        convert::first_id_at(self.start())
    }

    /// What its partitions' names end with: `d20261122`.
    pub(super) fn suffix(self) -> String {
        let date: String = self
            .start()
            .to_string()
            .chars()
            .take_while(|c| *c != 'T')
            .filter(|c| *c != '-')
            .collect();
        format!("d{date}")
    }

    /// The day whose partition of `executions` has this name, if any.
    pub(super) fn of_partition(name: &str) -> Option<Self> {
        let date = name.strip_prefix("executions_d").filter(|date| date.len() == 8)?;
        let midnight =
            format!("{}-{}-{}T00:00:00Z", date.get(..4)?, date.get(4..6)?, date.get(6..)?);
        Timestamp::parse(&midnight).ok().map(Self::of)
    }

    /// Whether it may be dropped, if all in it is old. Yesterday is not: a process whose clock is
    /// late may think that it is today.
    pub(super) fn is_old(self) -> bool {
        self < Self::today().plus(-1)
    }

    /// Whether it may be dropped by those who drop what ended before `before`, if all in it did.
    pub(super) fn is_over(self, before: Timestamp) -> bool {
        self.is_old() && self.plus(1).start() <= before
    }

    /// The number of its lock.
    pub(super) fn lock(self) -> i64 {
        self.0 % DAY_LOCKS
    }
}

/// What is remembered of the partitions.
#[derive(Default)]
pub(super) struct Partitions(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    /// All days until this one have been seen to, as far as that was possible.
    covered: Option<Day>,
    /// Not before this is it tried again.
    pause: Option<Instant>,
    /// When the last execution of a day ended that was found to be too young to be dropped.
    youngest: HashMap<Day, Timestamp>,
    /// Days that could not be dropped just now, though all that was seen of them is old.
    put_off: HashSet<Day>,
}

impl Partitions {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Nothing that holds the lock panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is something to do for `day` that nobody is doing. Whoever is told so does it.
    pub(super) fn is_due(&self, day: Day) -> bool {
        let mut memory = self.memory();
        let is_due = memory.covered.is_none_or(|covered| covered < day)
            && memory.pause.is_none_or(|until| until <= Instant::now());
        if is_due {
            memory.pause = Some(Instant::now() + RETRY_PAUSE);
        }
        is_due
    }

    pub(super) fn has_covered(&self, day: Day) {
        let mut memory = self.memory();
        memory.covered = memory.covered.max(Some(day));
        memory.pause = None;
    }

    /// Forgets what it has seen to, as a new process does.
    #[cfg(test)]
    pub(super) fn forget(&self) {
        *self.memory() = Memory::default();
    }

    /// Whether a day may have nothing in it that ended at or after `before`.
    pub(super) fn may_be_old(&self, day: Day, before: Timestamp) -> bool {
        self.memory().youngest.get(&day).is_none_or(|last| *last < before)
    }

    /// The last execution of a day ended at `last`.
    pub(super) fn ended_last(&self, day: Day, last: Timestamp) {
        self.memory().youngest.insert(day, last);
    }

    /// Begins to look for a day that can be dropped: forgets what it knew of other days than these,
    /// and which were put off.
    pub(super) fn begin_look(&self, days: &[Day]) {
        let mut memory = self.memory();
        memory.youngest.retain(|day, _| days.contains(day));
        memory.put_off.clear();
    }

    /// A day is to be dropped another time.
    pub(super) fn put_off(&self, day: Day) {
        self.memory().put_off.insert(day);
    }

    /// Whether a day is not deleted row by row by those who delete what ended before `before`: it
    /// is dropped as a whole before long.
    pub(super) fn is_left(&self, day: Day, before: Timestamp) -> bool {
        (day == Day::of(before) && day < Day::today()) || self.memory().put_off.contains(&day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_a_range_of_ids() {
        let noon = Timestamp::parse("2026-11-22T12:00:00Z").unwrap();
        let day = Day::of(noon);
        assert_eq!(day.suffix(), "d20261122");
        assert_eq!(day.start().to_string(), "2026-11-22T00:00:00Z");
        assert_eq!(Day::of_id(convert::first_id_at(noon)), day);
        assert_eq!(Day::of_id(day.first_id()), day);
        let last = ExecutionId(Uuid::from_u128(day.plus(1).first_id().0.as_u128() - 1));
        assert_eq!(Day::of_id(last), day);
        assert_eq!(Day::of_id(ExecutionId::new()), Day::today());
    }

    #[test]
    fn partitions_are_told_by_their_names() {
        let day = Day::of(Timestamp::parse("2024-02-29T23:59:59Z").unwrap());
        assert_eq!(Day::of_partition(&format!("executions_{}", day.suffix())), Some(day));
        for other in
            ["executions_rest", "executions_d2024", "executions_d20240230", "events_d20240229"]
        {
            assert_eq!(Day::of_partition(other), None, "{other}");
        }
    }

    #[test]
    fn the_days_ahead_are_seen_to_once() {
        let (partitions, day) = (Partitions::default(), Day(20_000));
        assert!(partitions.is_due(day));
        assert!(!partitions.is_due(day), "somebody does it");
        partitions.has_covered(day);
        assert!(!partitions.is_due(day));
        assert!(partitions.is_due(day.plus(1)));
    }
}
