//! What is deleted when it is old.
//!
//! A day that is past is not deleted row by row while `before` goes through it: it is dropped in
//! one go when all of it is old. So an execution may stay for up to a day longer than asked for.
//! Row by row goes what else is old: in today's partition, in the default partition, and in days in
//! which something is not old or has not even ended.
//!
//! Nobody waits for any of it: it has a connection of its own (`Access::Upkeep`), each statement
//! looks at a bounded number of rows, whoever looks at a day gives way to those who write to it,
//! and whoever cannot lock a day at once leaves it for another time.

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use uuid::Uuid;
use wasmill_domain::{ExecutionId, Timestamp};

use super::artifacts;
use super::columns::{Columns, get, id_of};
use super::days::Day;
use super::early_rows;
use super::error::Result;
use super::partitions::{self, TABLES};
use super::session::{Access, Session};
use super::store::{Inner, PostgresStore};
use crate::convert;
use crate::port::{self, Pruned, Retention};

/// How many rows of a day one statement looks at: some tens of milliseconds.
const LOOK: i64 = 20_000;

/// Executions after one and before another, the oldest first, and whether each has ended and is
/// old.
const PAGE: &str = "SELECT id, coalesce(state IN ('succeeded', 'failed', 'cancelled') AND finished_at < $3, false) AS is_old \
     FROM executions WHERE id > $1 AND id < $2 ORDER BY id LIMIT $4";

/// Those that are old still. What somebody is just changing is left for another time.
const HOLD: &str = "SELECT id FROM executions WHERE id = ANY($1) AND state IN ('succeeded', 'failed', 'cancelled') \
     AND finished_at < $2 ORDER BY id FOR UPDATE SKIP LOCKED";

/// Every table with rows of an execution.
const DELETE: [&str; 3] = [
    "DELETE FROM executions WHERE id = ANY($1)",
    "DELETE FROM attempts WHERE execution_id = ANY($1)",
    "DELETE FROM outbox WHERE execution_id = ANY($1)",
];

/// Whether somebody waits for one of wasmill's locks that this transaction holds.
const IS_AWAITED: &str = "SELECT EXISTS (SELECT 1 FROM pg_locks mine JOIN pg_locks other ON other.locktype = mine.locktype \
     AND other.database = mine.database AND other.classid = mine.classid AND other.objid = mine.objid \
     AND other.objsubid = mine.objsubid AND NOT other.granted \
     WHERE mine.locktype = 'advisory' AND mine.pid = pg_backend_pid() AND mine.granted) AS is_awaited";

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
        inner.partitions.begin_look(&days);
        for day in days.into_iter().filter(|day| day.is_over(before)) {
            if !inner.partitions.may_be_old(day, before) {
                continue;
            }
            if let Some(count) = inner.drop_if_old(day, before).await? {
                return Ok(Some(count));
            }
        }
        Ok(None)
    }
}

/// What a look at a day has found.
#[derive(Debug)]
pub(super) enum Look {
    /// All of it is old: so many executions.
    Old(u64),
    /// Something in it has not ended, or not long ago.
    Young,
    /// Somebody waited to write to it.
    GaveWay,
}

impl Inner {
    /// Drops a day if all in it has ended before `before`, and gives how many executions that were.
    /// Where it cannot be locked now, another time.
    async fn drop_if_old(&self, day: Day, before: Timestamp) -> port::Result<Option<u64>> {
        let limit = self.settings.upkeep_timeout;
        let look = self.transact(Access::Upkeep, limit, |session| {
            Box::pin(self.look_and_drop(session, day, before))
        });
        match look.await {
            Ok(Look::Old(count)) => Ok(Some(count)),
            Ok(Look::Young) => Ok(None),
            Ok(Look::GaveWay) => {
                self.partitions.put_off(day);
                Ok(None)
            }
            Err(fault) if fault.is_lock_timeout() => {
                tracing::info!(
                    day = day.suffix(),
                    "a day that is old is in use: it is dropped another time"
                );
                self.partitions.put_off(day);
                Ok(None)
            }
            Err(fault) => Err(fault.into_error()),
        }
    }

    async fn look_and_drop(
        &self,
        session: &mut Session<'_>,
        day: Day,
        before: Timestamp,
    ) -> Result<Look> {
        self.limit_locks(session).await?;
        partitions::own_day(session, day).await?;
        let look = self.look(session, day, before).await?;
        if matches!(look, Look::Old(_)) {
            drop_day(session, day).await?;
        }
        Ok(look)
    }

    /// Looks at a day, page by page.
    pub(super) async fn look(
        &self,
        session: &mut Session<'_>,
        day: Day,
        before: Timestamp,
    ) -> Result<Look> {
        let table = format!("executions_{}", day.suffix());
        // Mostly the answer where a day has to stay. It is looked for tenant by tenant, from one to
        // the next in the index of those that have not succeeded: however many have failed.
        let open = format!(
            "WITH RECURSIVE tenants AS (SELECT min(tenant) AS tenant FROM {table} WHERE state <> 'succeeded' UNION ALL \
             SELECT (SELECT min(e.tenant) FROM {table} e WHERE e.state <> 'succeeded' AND e.tenant > t.tenant) \
             FROM tenants t WHERE t.tenant IS NOT NULL) \
             SELECT 1 FROM tenants t WHERE EXISTS (SELECT 1 FROM {table} e WHERE e.tenant = t.tenant AND e.state <> 'succeeded' \
             AND e.state IN ('scheduled', 'queued', 'running', 'suspended')) LIMIT 1"
        );
        if !session.rows_once(sqlx::query(AssertSqlSafe(open))).await?.is_empty() {
            return Ok(Look::Young);
        }
        let page = format!(
            "WITH page AS MATERIALIZED (SELECT id, finished_at FROM {table} WHERE id > $1 ORDER BY id LIMIT $2) \
             SELECT count(*) AS count, max(finished_at) AS last, (SELECT id FROM page ORDER BY id DESC LIMIT 1) AS next FROM page"
        );
        let (mut all, mut after) = (0, Uuid::nil());
        loop {
            let query = sqlx::query(AssertSqlSafe(page.clone())).bind(after).bind(LOOK);
            let rows = session.rows_once(query).await?;
            let Some(row) = rows.first() else { return Ok(Look::Young) };
            if let Some(last) = get::<Option<i64>>(row, "last")?.map(Timestamp::from_micros)
                && last >= before
            {
                self.partitions.ended_last(day, last);
                return Ok(Look::Young);
            }
            all += convert::measure("count", get(row, "count")?)?;
            match get::<Option<Uuid>>(row, "next")? {
                Some(next) => after = next,
                None => return Ok(Look::Old(all)),
            }
            let awaited = session.row(sqlx::query(IS_AWAITED)).await?;
            if get(&awaited, "is_awaited")? {
                return Ok(Look::GaveWay);
            }
        }
    }
}

async fn drop_day(session: &mut Session<'_>, day: Day) -> Result<()> {
    let tables = TABLES.map(|(table, _)| format!("{table}_{}", day.suffix())).join(", ");
    session.run(format!("DROP TABLE {tables}")).await?;
    let entries = sqlx::query("DELETE FROM outbox WHERE execution_id >= $1 AND execution_id < $2");
    session.execute(entries.bind(day.first_id().0).bind(day.plus(1).first_id().0)).await.map(drop)
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
            let page = sqlx::query(PAGE).bind(after.0).bind(until.min(end).0);
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
