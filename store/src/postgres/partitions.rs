//! The days of history.
//!
//! An execution's id begins with the time of its acceptance, so each day is a range of ids. The
//! tables of history have a partition for each day, made a few days ahead by whoever writes; rows
//! of all other days are in the default partitions.
//!
//! A day is dropped as a whole once all in it is old. To look at a day for some seconds and then
//! drop it without locking anybody else out, whoever drops it and whoever writes to a day that old
//! agree on a lock: see [`share_old_days`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wasmill_domain::{ExecutionId, Timestamp};

use super::columns::get;
use super::error::{Fault, Result};
use super::session::{Access, Session};
use super::{Inner, millis};
use crate::convert;
use crate::port;

/// The tables of history, each with the column that its days are told by. Everybody locks them in
/// this order.
pub(super) const TABLES: [(&str, &str); 2] = [("executions", "id"), ("attempts", "execution_id")];

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
    fn of_id(id: ExecutionId) -> Self {
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
    fn of_partition(name: &str) -> Option<Self> {
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

    /// The number of its lock.
    fn lock(self) -> i64 {
        self.0 % DAY_LOCKS
    }
}

/// What is remembered of the partitions.
#[derive(Default)]
pub(super) struct Upkeep(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    /// All days until this one have been seen to, as far as that was possible.
    covered: Option<Day>,
    /// Not before this is it tried again.
    pause: Option<Instant>,
    /// When the last execution of a day ended that was found to be too young to be dropped.
    youngest: HashMap<Day, Timestamp>,
}

impl Upkeep {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Nothing that holds the lock panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is something to do for `day` that nobody is doing. Whoever is told so does it.
    fn is_due(&self, day: Day) -> bool {
        let mut memory = self.memory();
        let is_due = memory.covered.is_none_or(|covered| covered < day)
            && memory.pause.is_none_or(|until| until <= Instant::now());
        if is_due {
            memory.pause = Some(Instant::now() + RETRY_PAUSE);
        }
        is_due
    }

    fn has_covered(&self, day: Day) {
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

    /// Forgets what it knew of other days than these.
    pub(super) fn retain(&self, days: &[Day]) {
        self.memory().youngest.retain(|day, _| days.contains(day));
    }
}

impl Inner {
    /// Sees to the days ahead beside everything else, where it is time. Cheap: called by everybody
    /// who writes and by schedulers.
    pub(super) fn keep_ahead(self: &Arc<Self>) {
        if self.upkeep.is_due(self.last_day_ahead()) {
            let inner = Arc::clone(self);
            tokio::spawn(async move { inner.try_partitions().await });
        }
    }

    /// Sees to the days ahead. Without them, rows go to the default partition; so that it fails is
    /// nobody else's trouble.
    pub(super) async fn try_partitions(&self) {
        if let Err(why) = self.make_partitions().await {
            tracing::warn!(%why, "partitions for the days ahead cannot be made: tried again later");
        }
    }

    fn last_day_ahead(&self) -> Day {
        Day::today().plus(self.settings.days_ahead.into())
    }

    /// Makes the partitions of today and the days ahead, where they are missing.
    async fn make_partitions(&self) -> port::Result<()> {
        let last = self.last_day_ahead();
        let made = self.read(|session| Box::pin(days(session))).await?;
        let wanted = (0..).map(|ahead| Day::today().plus(ahead)).take_while(|day| *day <= last);
        for day in wanted.filter(|day| !made.contains(day)) {
            let limit = self.settings.call_timeout;
            match self
                .transact(Access::Write, limit, |session| Box::pin(self.make_day(session, day)))
                .await
            {
                Err(fault) if fault.is_check_violation() => {
                    tracing::warn!(
                        day = day.suffix(),
                        "a day has rows already: it stays in the default partition"
                    );
                }
                other => other.map_err(Fault::into_error)?,
            }
        }
        self.upkeep.has_covered(last);
        Ok(())
    }

    /// Makes the partitions of a day, if it has none.
    pub(super) async fn make_day(&self, session: &mut Session<'_>, day: Day) -> Result<()> {
        self.limit_locks(session).await?;
        own_day(session, day).await?;
        if days(session).await?.contains(&day) {
            return Ok(());
        }
        let (suffix, from, to) = (day.suffix(), day.first_id(), day.plus(1).first_id());
        for (table, _) in TABLES {
            // In two steps, because `CREATE TABLE … PARTITION OF` would lock everybody out of the
            // table.
            session
                .run(format!(
                    "CREATE TABLE {table}_{suffix} (LIKE {table} INCLUDING ALL) WITH (toast_tuple_target = 8160); \
                     ALTER TABLE {table} ATTACH PARTITION {table}_{suffix} FOR VALUES FROM ('{from}') TO ('{to}')"
                ))
                .await?;
        }
        Ok(())
    }

    /// Makes the transaction give up where it would have to wait for a lock, and with it everybody
    /// who waits behind it.
    pub(super) async fn limit_locks(&self, session: &mut Session<'_>) -> Result<()> {
        session
            .run(format!(
                "SET LOCAL lock_timeout = {}",
                millis(self.settings.partition_lock_timeout)
            ))
            .await
    }
}

/// The days that have partitions, in order.
pub(super) async fn days(session: &mut Session<'_>) -> Result<Vec<Day>> {
    let rows = session
        .rows(sqlx::query(
            "SELECT c.relname::text AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
             WHERE i.inhparent = 'executions'::regclass ORDER BY 1",
        ))
        .await?;
    let mut days = Vec::with_capacity(rows.len());
    for row in &rows {
        days.extend(Day::of_partition(get(row, "name")?));
    }
    Ok(days)
}

/// Holds the lock of a day alone, until the transaction's end: nobody writes to it, if it is old.
pub(super) async fn own_day(session: &mut Session<'_>, day: Day) -> Result<()> {
    session.lock(day.lock()).await
}

/// Holds the locks of old days with others who write to them, until the transaction's end. Before
/// anything is written to a day that somebody might be about to drop; nearly all batches have none.
pub(super) async fn share_old_days(
    session: &mut Session<'_>,
    ids: impl Iterator<Item = ExecutionId>,
) -> Result<()> {
    let mut locks: Vec<i64> =
        ids.map(Day::of_id).filter(|day| day.is_old()).map(Day::lock).collect();
    if locks.is_empty() {
        return Ok(());
    }
    locks.sort_unstable();
    locks.dedup();
    session.lock_shared(&locks).await
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
        let last = ExecutionId(uuid::Uuid::from_u128(day.plus(1).first_id().0.as_u128() - 1));
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
        let (upkeep, day) = (Upkeep::default(), Day(20_000));
        assert!(upkeep.is_due(day));
        assert!(!upkeep.is_due(day), "somebody does it");
        upkeep.has_covered(day);
        assert!(!upkeep.is_due(day));
        assert!(upkeep.is_due(day.plus(1)));
    }
}
