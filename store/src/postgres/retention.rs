//! What is deleted when it is old.
//!
//! A day that is past is not deleted row by row while `before` goes through it: it is dropped in
//! one go when all of it is old. So an execution may stay for up to a day longer than asked for.
//! Row by row goes what else is old: in today's partition, in the default partition, and in days in
//! which something was found that is not old or has not even ended.
//!
//! Nobody waits for any of it for long: it has a connection of its own (`Access::Upkeep`), each
//! transaction looks at a bounded number of rows, those who write to an old day wait for one of
//! them at most, and whoever cannot lock a day at once leaves it for another time. A day has one
//! turn in a pass, whatever comes of it, so none keeps those after it from theirs.

use async_trait::async_trait;
use uuid::Uuid;
use wasmill_domain::{ExecutionId, Timestamp};

use super::artifacts;
use super::columns::{Columns, get, id_of};
use super::days::Day;
use super::early_rows;
use super::error::Result;
use super::partitions;
use super::session::Session;
use super::store::PostgresStore;
use crate::convert;
use crate::port::{self, Pruned, Retention};

/// Executions from one on and before another, the oldest first, and whether each has ended and is
/// old.
const PAGE: &str = "SELECT id, coalesce(state IN ('succeeded', 'failed', 'cancelled') AND finished_at < $3, false) AS is_old \
     FROM executions WHERE id >= $1 AND id < $2 ORDER BY id LIMIT $4";

/// Those that are old still. What somebody is just changing is left for another time.
const HOLD: &str = "SELECT id FROM executions WHERE id = ANY($1) AND state IN ('succeeded', 'failed', 'cancelled') \
     AND finished_at < $2 ORDER BY id FOR UPDATE SKIP LOCKED";

/// Every table with rows of an execution.
const DELETE: [&str; 4] = [
    "DELETE FROM executions WHERE id = ANY($1)",
    "DELETE FROM attempts WHERE execution_id = ANY($1)",
    "DELETE FROM outbox WHERE execution_id = ANY($1)",
    "DELETE FROM early_rows WHERE execution_id = ANY($1)",
];

#[async_trait]
impl Retention for PostgresStore {
    async fn prune_executions(
        &self,
        before: Timestamp,
        after: Option<ExecutionId>,
        limit: u32,
    ) -> port::Result<Pruned> {
        let inner = &self.inner;
        let days = inner.upkeep(|session| Box::pin(partitions::days(session))).await?;
        let left: Vec<Day> =
            days.into_iter().filter(|day| inner.partitions.is_left(*day, before)).collect();
        inner.upkeep(|session| Box::pin(prune_page(session, before, &left, after, limit))).await
    }

    async fn prune_artifacts(&self, before: Timestamp, limit: u32) -> port::Result<()> {
        let unused =
            before.max(Timestamp::now().minus(self.inner.settings.quotas.unused_artifacts));
        self.inner.upkeep(|session| Box::pin(artifacts::prune(session, unused, limit.into()))).await
    }

    async fn prune_early_rows(&self, before: Timestamp, limit: u32) -> port::Result<u64> {
        self.inner.upkeep(|session| Box::pin(early_rows::prune(session, before, limit))).await
    }

    async fn make_days(&self) -> port::Result<()> {
        self.inner.make_days().await
    }

    async fn drop_day(&self, before: Timestamp) -> port::Result<Option<u64>> {
        let inner = &self.inner;
        let days = inner.upkeep(|session| Box::pin(partitions::days(session))).await?;
        inner.partitions.keep_only(&days);
        for day in days.into_iter().filter(|day| day.is_over(before)) {
            if inner.partitions.takes_turn(day, before)
                && let Some(count) = inner.drop_if_old(day, before).await?
            {
                return Ok(Some(count));
            }
        }
        inner.partitions.end_turns();
        Ok(None)
    }
}

/// Looks at up to `limit` executions that were accepted before `before`, but for those of the days
/// that are `left`, and deletes those that are old.
async fn prune_page(
    session: &mut Session<'_>,
    before: Timestamp,
    left: &[Day],
    after: Option<ExecutionId>,
    limit: u32,
) -> Result<Pruned> {
    // What ended before was accepted before, and ids are made at acceptance: only the old end of
    // the table is read.
    let end = convert::first_id_at(before);
    let mut after = after.unwrap_or(ExecutionId(Uuid::nil()));
    let (mut looked, mut old, mut next) = (0, Vec::new(), None);
    // From each day that is left to the next one, and to the end.
    let gaps = left.iter().map(|day| (day.first_id(), day.last_id())).chain([(end, end)]);
    for (until, skip) in gaps {
        let room = limit.saturating_sub(looked);
        if after < until.min(end) && room > 0 {
            // By its first id, so that the server leaves the partition of a day before alone.
            let first = Uuid::from_u128(after.0.as_u128().saturating_add(1));
            let page = sqlx::query(PAGE).bind(first).bind(until.min(end).0);
            let page = page.bind(before.as_micros()).bind(i64::from(room));
            for row in &session.rows_once(page).await? {
                let id = id_of(row, "id")?;
                looked += 1;
                after = id;
                if get(row, "is_old")? {
                    old.push(id);
                }
            }
            if looked >= limit {
                next = Some(after);
                break;
            }
        }
        after = after.max(skip);
    }
    Ok(Pruned { deleted: delete(session, &old, before).await?, next })
}

/// Deletes those of some executions that nobody is just changing, and gives how many.
async fn delete(session: &mut Session<'_>, old: &[ExecutionId], before: Timestamp) -> Result<u64> {
    if old.is_empty() {
        return Ok(0);
    }
    let old = Columns::default().add(old.iter().map(|id| id.0))?;
    let rows = session.rows_once(old.of(HOLD).bind(before.as_micros())).await?;
    let ids: Vec<ExecutionId> = rows.iter().map(|row| id_of(row, "id")).collect::<Result<_>>()?;
    if !ids.is_empty() {
        for sql in DELETE {
            let columns = Columns::default().add(ids.iter().map(|id| id.0))?;
            session.execute(columns.of(sql)).await?;
        }
    }
    Ok(ids.len() as u64)
}
