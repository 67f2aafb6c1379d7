//! The days of history.
//!
//! An execution's id begins with the time of its acceptance, so each day is a range of ids. The
//! tables of history have a partition for each day, made a few days ahead by whoever writes; rows
//! of all other days are in the default partitions.
//!
//! A day is dropped as a whole once all in it is old. To look at a day, for minutes perhaps, and
//! then drop it without locking anybody else out, whoever drops it and whoever writes to a day that
//! old agree on a lock and on a row in `leases`: see [`share_old_days`].

use std::collections::BTreeSet;
use std::sync::Arc;

use wasmill_domain::ExecutionId;

use super::columns::get;
use super::days::Day;
use super::error::{Fault, Result};
use super::session::{Access, Session};
use super::settings::millis;
use super::store::Inner;
use crate::port;

/// The tables of history, each with the column that its days are told by. Everybody locks them in
/// this order.
pub(super) const TABLES: [(&str, &str); 2] = [("executions", "id"), ("attempts", "execution_id")];

impl Inner {
    /// Makes the partitions of the days ahead beside everything else, where it is time. Cheap: called by everybody
    /// who writes and by schedulers.
    pub(super) fn keep_ahead(self: &Arc<Self>) {
        if self.partitions.is_due(self.last_day_ahead()) {
            let inner = Arc::clone(self);
            tokio::spawn(async move { inner.try_partitions().await });
        }
    }

    /// Makes the partitions of the days ahead, where it is time.
    pub(super) async fn make_days(&self) -> port::Result<()> {
        if self.partitions.is_due(self.last_day_ahead()) {
            self.make_partitions().await?;
        }
        Ok(())
    }

    /// Makes the partitions of the days ahead. Without them, rows go to the default partition; so that it fails is
    /// nobody else's problem.
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
        let made = self.upkeep(|session| Box::pin(days(session))).await?;
        let wanted = (0..).map(|ahead| Day::today().plus(ahead)).take_while(|day| *day <= last);
        for day in wanted.filter(|day| !made.contains(day)) {
            let limit = self.settings.call_timeout;
            match self
                .transact(Access::Upkeep, limit, |session| Box::pin(self.make_day(session, day)))
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
        self.partitions.has_covered(last);
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

/// Holds the locks of old days with others who write to them, until the transaction's end, and
/// makes looks at them begin again. Before anything is written to a day that somebody might be about
/// to drop; nearly all batches have none.
pub(super) async fn share_old_days(
    session: &mut Session<'_>,
    ids: impl Iterator<Item = ExecutionId>,
) -> Result<()> {
    let old: BTreeSet<Day> = ids.map(Day::of_id).filter(|day| day.is_old()).collect();
    if old.is_empty() {
        return Ok(());
    }
    let locks: BTreeSet<i64> = old.iter().map(|day| day.lock()).collect();
    session.lock_shared(&Vec::from_iter(locks)).await?;
    // What a look has seen of them is true no more.
    let looks: Vec<String> = old.iter().map(|day| day.lease()).collect();
    let forget = sqlx::query("DELETE FROM leases WHERE name = ANY($1)").bind(looks);
    session.execute(forget).await.map(drop)
}
