//! What is deleted when it is old.
//!
//! A day that is past is not deleted row by row while `before` goes through it: it is dropped in
//! one go when all of it is old. So an execution may stay for up to a day longer than asked for.
//! Row by row goes what else is old: in today's partition, in the default partition, and in days in
//! which something is not old or has not even ended.

use sqlx::AssertSqlSafe;
use wasmill_domain::{ExecutionId, Timestamp};

use super::columns::{Columns, get, id_of};
use super::error::{Fault, Result};
use super::partitions::{self, Day, TABLES};
use super::session::{Access, Session};
use super::{Inner, artifacts, millis};
use crate::convert;
use crate::port;

/// How many executions are deleted in one transaction.
const STEP: u64 = 1_000;

/// The ids of what has ended and is old. What somebody is just changing is left for another time.
const OLD: &str = "SELECT id FROM executions WHERE id < $1 AND (id < $2 OR id >= $3) \
     AND state IN ('succeeded', 'failed', 'cancelled') AND finished_at < $4 ORDER BY id LIMIT $5 FOR UPDATE SKIP LOCKED";

/// Every table with rows of an execution.
const DELETE: [&str; 3] = [
    "DELETE FROM executions WHERE id = ANY($1)",
    "DELETE FROM attempts WHERE execution_id = ANY($1)",
    "DELETE FROM outbox WHERE execution_id = ANY($1)",
];

impl Inner {
    pub(super) async fn prune(&self, before: Timestamp, limit: u32) -> port::Result<u64> {
        let days = self.read(|session| Box::pin(partitions::days(session))).await?;
        self.upkeep.retain(&days);
        let limit = u64::from(limit);
        let mut deleted = 0;
        for day in days.iter().copied().filter(|day| day.is_old() && day.plus(1).start() <= before)
        {
            if deleted < limit && self.upkeep.may_be_old(day, before) {
                deleted += self.drop_if_old(day, before).await?;
            }
        }
        // The day that is to be dropped next.
        let skipped = days.into_iter().find(|day| *day == Day::of(before) && *day < Day::today());
        while deleted < limit {
            let step = (limit - deleted).min(STEP);
            let gone =
                self.write(|session| Box::pin(delete_rows(session, before, skipped, step))).await?;
            deleted += gone;
            if gone < step {
                break;
            }
        }
        let unused = before.max(Timestamp::now().minus(self.settings.quotas.unused_artifacts));
        self.write(|session| Box::pin(artifacts::prune(session, unused, limit))).await?;
        Ok(deleted)
    }

    /// Drops a day if all in it has ended before `before`, and gives how many executions that were.
    /// Where it cannot be locked now, another time.
    async fn drop_if_old(&self, day: Day, before: Timestamp) -> port::Result<u64> {
        let limit = self.settings.upkeep_timeout;
        let dropped = self.transact(Access::Write, limit, |session| {
            Box::pin(self.look_and_drop(session, day, before))
        });
        match dropped.await {
            Err(fault) if fault.is_lock_timeout() => {
                tracing::info!(
                    day = day.suffix(),
                    "a day that is old is in use: it is dropped another time"
                );
                Ok(0)
            }
            other => other.map_err(Fault::into_error),
        }
    }

    async fn look_and_drop(
        &self,
        session: &mut Session<'_>,
        day: Day,
        before: Timestamp,
    ) -> Result<u64> {
        session
            .run(format!("SET LOCAL statement_timeout = {}", millis(self.settings.upkeep_timeout)))
            .await?;
        self.limit_locks(session).await?;
        partitions::own_day(session, day).await?;
        match self.count_if_old(session, day, before).await? {
            Some(count) => drop_day(session, day).await.map(|()| count),
            None => Ok(0),
        }
    }

    /// How many executions a day has, if it has none that has not ended or ended later.
    async fn count_if_old(
        &self,
        session: &mut Session<'_>,
        day: Day,
        before: Timestamp,
    ) -> Result<Option<u64>> {
        let table = format!("executions_{}", day.suffix());
        // Found in an index, and mostly the answer where a day has to stay.
        let open = format!(
            "SELECT 1 FROM {table} WHERE state IN ('scheduled', 'queued', 'running', 'suspended') LIMIT 1"
        );
        if !session.rows_once(sqlx::query(AssertSqlSafe(open))).await?.is_empty() {
            return Ok(None);
        }
        let count = format!("SELECT count(*) AS count, max(finished_at) AS last FROM {table}");
        let rows = session.rows_once(sqlx::query(AssertSqlSafe(count))).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        match get::<Option<i64>>(row, "last")?.map(Timestamp::from_micros) {
            Some(last) if last >= before => {
                self.upkeep.ended_last(day, last);
                Ok(None)
            }
            _ => Ok(Some(convert::measure("count", get(row, "count")?)?)),
        }
    }
}

async fn drop_day(session: &mut Session<'_>, day: Day) -> Result<()> {
    let tables = TABLES.map(|(table, _)| format!("{table}_{}", day.suffix())).join(", ");
    session.run(format!("DROP TABLE {tables}")).await?;
    let entries = sqlx::query("DELETE FROM outbox WHERE execution_id >= $1 AND execution_id < $2");
    session.execute(entries.bind(day.first_id().0).bind(day.plus(1).first_id().0)).await.map(drop)
}

/// Deletes up to `limit` executions that ended before `before`, but for those of a day.
async fn delete_rows(
    session: &mut Session<'_>,
    before: Timestamp,
    but_for: Option<Day>,
    limit: u64,
) -> Result<u64> {
    // What ended before was accepted before, and ids are made at acceptance: only the old end of
    // the table is read.
    let end = convert::first_id_at(before);
    let (from, to) = but_for.map_or((end, end), |day| (day.first_id(), day.plus(1).first_id()));
    let old = sqlx::query(OLD).bind(end.0).bind(from.0).bind(to.0).bind(before.as_micros());
    let rows = session.rows_once(old.bind(convert::from_measure(limit))).await?;
    let ids: Vec<ExecutionId> = rows.iter().map(|row| id_of(row, "id")).collect::<Result<_>>()?;
    if !ids.is_empty() {
        for sql in DELETE {
            let columns = Columns::default().add(ids.iter().map(|id| id.0))?;
            session.execute(columns.of(sql)).await?;
        }
    }
    Ok(ids.len() as u64)
}
