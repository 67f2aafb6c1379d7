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

/// How many rows of a day one transaction looks at: some tens of milliseconds.
const MOST_ROWS: i64 = 20_000;

/// And where the server takes long for them.
const FEWEST_ROWS: i64 = 100;

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

    /// The row in `leases` that stands for a look at it.
    pub(super) fn lease(self) -> String {
        format!("look/{}", self.suffix())
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
    /// All days until this one have partitions, as far as they could be made.
    covered: Option<Day>,
    /// Not before this is it tried again.
    pause: Option<Instant>,
    /// Days that have had their turn to be dropped in this pass.
    had_turn: HashSet<Day>,
    /// When the last execution of a day ended that was found to be too young to be dropped.
    youngest: HashMap<Day, Timestamp>,
    /// Days in which something had not ended at their last turn.
    open: HashSet<Day>,
    /// How far looks at days have come that are to be gone on with.
    positions: HashMap<Day, Position>,
    /// How many rows of a day are looked at next, where those are not as many as may be.
    sizes: HashMap<Day, i64>,
}

/// How far a look at a day has come.
#[derive(Clone, Debug)]
pub(super) struct Position {
    /// What the look is called in the database.
    pub(super) id: Uuid,
    /// All that it has seen ended before this.
    pub(super) before: Timestamp,
    /// The last that it has seen.
    pub(super) after: Uuid,
    /// How many it has seen.
    pub(super) count: u64,
}

impl Memory {
    fn is_young(&self, day: Day, before: Timestamp) -> bool {
        self.open.contains(&day) || self.youngest.get(&day).is_some_and(|last| *last >= before)
    }
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

    /// Forgets everything, as a new process does.
    #[cfg(test)]
    pub(super) fn forget(&self) {
        *self.memory() = Memory::default();
    }

    /// Forgets what it knew of other days than these.
    pub(super) fn keep_only(&self, days: &[Day]) {
        let mut memory = self.memory();
        memory.youngest.retain(|day, _| days.contains(day));
        memory.open.retain(|day| days.contains(day));
        memory.positions.retain(|day, _| days.contains(day));
        memory.sizes.retain(|day, _| days.contains(day));
    }

    /// Whether it is a day's turn to be dropped by those who drop what ended before `before`: it has
    /// had none in this pass, and is not known to have something younger in it. It has had it from
    /// now on.
    pub(super) fn takes_turn(&self, day: Day, before: Timestamp) -> bool {
        let mut memory = self.memory();
        let is_new = memory.had_turn.insert(day);
        if is_new {
            // What had not ended then may have ended.
            memory.open.remove(&day);
        }
        is_new && !memory.is_young(day, before)
    }

    /// All days have had their turn: the next pass begins.
    pub(super) fn end_turns(&self) {
        self.memory().had_turn.clear();
    }

    /// How far a look at a day has come, and how many rows it sees next.
    pub(super) fn look(&self, day: Day, before: Timestamp) -> (Option<Position>, i64) {
        let memory = self.memory();
        let position = memory.positions.get(&day).filter(|position| position.before <= before);
        (position.cloned(), memory.sizes.get(&day).copied().unwrap_or(MOST_ROWS))
    }

    /// A look at a day has come as far as this.
    pub(super) fn has_looked(&self, day: Day, position: Position) {
        let mut memory = self.memory();
        memory.positions.insert(day, position);
        if let Some(size) = memory.sizes.get_mut(&day) {
            *size = size.saturating_mul(2).min(MOST_ROWS);
        }
    }

    /// Has the next look at a day see fewer rows, if they may be fewer.
    pub(super) fn looks_at_less(&self, day: Day) -> bool {
        let mut memory = self.memory();
        let size = memory.sizes.entry(day).or_insert(MOST_ROWS);
        let may_be_less = *size > FEWEST_ROWS;
        *size = (*size / 8).max(FEWEST_ROWS);
        may_be_less
    }

    /// Something in a day has not ended, or ended at `last` at the latest.
    pub(super) fn found_young(&self, day: Day, last: Option<Timestamp>) {
        let mut memory = self.memory();
        memory.positions.remove(&day);
        if let Some(last) = last {
            memory.youngest.insert(day, last);
        } else {
            memory.open.insert(day);
        }
    }

    /// Whether a day is not deleted row by row by those who delete what ended before `before`: it
    /// is dropped as a whole before long, as far as anybody knows.
    pub(super) fn is_left(&self, day: Day, before: Timestamp) -> bool {
        (day == Day::of(before) && day < Day::today())
            || (day.is_old() && !self.memory().is_young(day, before))
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

    /// A pass lasts past midnight: what has become old meanwhile has had no turn.
    #[test]
    fn only_days_that_were_found_young_go_row_by_row() {
        let partitions = Partitions::default();
        let [known, open, young] = [-10, -9, -8].map(|ago| Day::today().plus(ago));
        let before = Day::today().start();
        for day in [open, young] {
            assert!(partitions.takes_turn(day, before));
        }
        partitions.found_young(open, None);
        partitions.found_young(young, Some(before));
        let is_left = |day| partitions.is_left(day, before);
        assert_eq!([known, open, young].map(is_left), [true, false, false]);
        // Later, all of it is old.
        assert!(partitions.is_left(young, before.plus(DAY)));
        // In the next pass each has its turn again, but for what is known to be young still.
        assert!(!partitions.takes_turn(open, before), "once in a pass");
        partitions.end_turns();
        let turn = |day| partitions.takes_turn(day, before);
        assert_eq!([known, open, young].map(turn), [true, true, false]);
        assert!(is_left(open));
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
