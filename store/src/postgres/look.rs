//! Looking at a day of history, and dropping it as a whole where all in it is old.
//!
//! A look goes page by page, each in a transaction of its own that holds the day's lock: whoever
//! writes to the day waits for a page at most. What was seen of it stays true between two pages for
//! as long as the look's row in `leases` is there: whoever writes to an old day deletes it
//! ([`partitions::share_old_days`]), and the look begins again. The release before does not delete
//! it; so whether something has not ended is asked once more in the transaction that drops the day.
//! A process keeps how far it came, so a day that takes longer than a pass is gone on with in the
//! next one.

use std::time::{Duration, Instant};

use sqlx::AssertSqlSafe;
use uuid::Uuid;
use wasmill_domain::Timestamp;

use super::columns::get;
use super::days::{Day, Position};
use super::error::Result;
use super::partitions::{self, TABLES};
use super::session::{Access, Session};
use super::settings::millis;
use super::store::Inner;
use crate::convert;
use crate::port;

/// What one transaction has found.
#[derive(Debug)]
pub(super) enum Look {
    /// All of the day is old, and it is dropped: so many executions.
    Dropped(u64),
    /// Something in it has not ended, or ended at this time, which is not long ago.
    Young(Option<Timestamp>),
    /// All until here is old.
    Begun(Position),
}

/// Some executions of a day, in the order of their ids.
struct Page {
    count: u64,
    /// Whether one has not ended, or is in a state that only a later release knows.
    is_open: bool,
    /// When the last of them ended.
    last: Option<Timestamp>,
    next: Uuid,
}

/// The time of one look. What is left of it bounds each of its statements at the server, so that
/// the server gives up before the caller does, and it is known to have been a statement.
#[derive(Clone, Copy)]
pub(super) struct LookDeadline {
    end: Instant,
}

impl LookDeadline {
    /// Most of the time of a call that begins now.
    pub(super) fn of_call(call_timeout: Duration) -> Self {
        Self { end: Instant::now() + call_timeout / 4 * 3 }
    }

    /// Bounds the statements that follow.
    async fn bound(self, session: &mut Session<'_>) -> Result<()> {
        let left = millis(self.end.saturating_duration_since(Instant::now()));
        session.run(format!("SET LOCAL statement_timeout = {left}")).await
    }
}

impl Inner {
    /// Drops a day if all in it has ended before `before`, and gives how many executions that were.
    /// Where that cannot be found out or done now, another time.
    pub(super) async fn drop_if_old(
        &self,
        day: Day,
        before: Timestamp,
    ) -> port::Result<Option<u64>> {
        let end = Instant::now() + self.settings.upkeep_timeout;
        loop {
            let (position, size) = self.partitions.look(day, before);
            let limit = self.settings.call_timeout;
            let deadline = LookDeadline::of_call(limit);
            let look = self.transact(Access::Upkeep, limit, |session| {
                Box::pin(self.look(session, deadline, day, before, position.as_ref(), size))
            });
            let why = match look.await {
                Ok(Look::Dropped(count)) => return Ok(Some(count)),
                Ok(Look::Young(last)) => {
                    self.partitions.found_young(day, last);
                    return Ok(None);
                }
                Ok(Look::Begun(position)) => {
                    self.partitions.has_looked(day, position);
                    if Instant::now() < end {
                        continue;
                    }
                    "to look at it takes long"
                }
                Err(fault) if fault.is_lock_timeout() => "it is in use",
                Err(fault) if fault.is_statement_timeout() => {
                    if self.partitions.looks_at_less(day) && Instant::now() < end {
                        continue;
                    }
                    "the server takes long to read it"
                }
                Err(fault) => return Err(fault.into_error()),
            };
            tracing::info!(day = day.suffix(), why, "a day that is old is dropped another time");
            return Ok(None);
        }
    }

    /// Looks at the next `size` executions of a day, and drops it where they are the last ones.
    pub(super) async fn look(
        &self,
        session: &mut Session<'_>,
        deadline: LookDeadline,
        day: Day,
        before: Timestamp,
        position: Option<&Position>,
        size: i64,
    ) -> Result<Look> {
        self.limit_locks(session).await?;
        deadline.bound(session).await?;
        partitions::own_day(session, day).await?;
        let position = match position {
            Some(position) if still_holds(session, day, position).await? => Some(position),
            _ => None,
        };
        if position.is_none() && has_open(session, day).await? {
            return Ok(Look::Young(None));
        }
        let after = position.map_or(Uuid::nil(), |position| position.after);
        deadline.bound(session).await?;
        let page = page(session, day, after, size).await?;
        if page.is_open {
            return Ok(Look::Young(None));
        }
        if page.last.is_some_and(|last| last >= before) {
            return Ok(Look::Young(page.last));
        }
        let count = position.map_or(0, |position| position.count) + page.count;
        if page.count < convert::measure("size", size)? {
            deadline.bound(session).await?;
            if position.is_some() && has_open(session, day).await? {
                return Ok(Look::Young(None));
            }
            drop_day(session, deadline, day).await?;
            return Ok(Look::Dropped(count));
        }
        let id = match position {
            Some(position) => position.id,
            None => note(session, day).await?,
        };
        Ok(Look::Begun(Position { id, before, after: page.next, count }))
    }
}

/// Whether nobody has written to a day since a look at it began.
async fn still_holds(session: &mut Session<'_>, day: Day, position: &Position) -> Result<bool> {
    let held = sqlx::query("SELECT EXISTS (SELECT 1 FROM leases WHERE name = $1 AND holder = $2)");
    let held = held.bind(day.lease()).bind(position.id.to_string());
    get(&session.row(held).await?, "exists")
}

/// Notes that a look at a day has begun, and gives its id.
async fn note(session: &mut Session<'_>, day: Day) -> Result<Uuid> {
    let id = Uuid::now_v7();
    let note = sqlx::query(
        "INSERT INTO leases (name, holder, term, expires_at) VALUES ($1, $2, 1, 0) \
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder",
    );
    session.execute(note.bind(day.lease()).bind(id.to_string())).await?;
    Ok(id)
}

/// Whether something in a day has not ended. Mostly the answer where a day has to stay. It is
/// looked for tenant by tenant, from one to the next in the index of those that have not succeeded:
/// however many have failed.
async fn has_open(session: &mut Session<'_>, day: Day) -> Result<bool> {
    let table = format!("executions_{}", day.suffix());
    let open = format!(
        "WITH RECURSIVE tenants AS (SELECT min(tenant) AS tenant FROM {table} WHERE state <> 'succeeded' UNION ALL \
         SELECT (SELECT min(e.tenant) FROM {table} e WHERE e.state <> 'succeeded' AND e.tenant > t.tenant) \
         FROM tenants t WHERE t.tenant IS NOT NULL) \
         SELECT 1 FROM tenants t WHERE EXISTS (SELECT 1 FROM {table} e WHERE e.tenant = t.tenant AND e.state <> 'succeeded' \
         AND e.state IN ('scheduled', 'queued', 'running', 'suspended')) LIMIT 1"
    );
    Ok(!session.rows_once(sqlx::query(AssertSqlSafe(open))).await?.is_empty())
}

async fn page(session: &mut Session<'_>, day: Day, after: Uuid, size: i64) -> Result<Page> {
    let table = format!("executions_{}", day.suffix());
    let page = format!(
        "WITH page AS MATERIALIZED (SELECT id, state, finished_at FROM {table} WHERE id > $1 ORDER BY id LIMIT $2) \
         SELECT count(*) AS count, max(finished_at) AS last, (SELECT id FROM page ORDER BY id DESC LIMIT 1) AS next, \
         coalesce(bool_or(finished_at IS NULL OR state NOT IN ('succeeded', 'failed', 'cancelled')), false) AS is_open FROM page"
    );
    let query = sqlx::query(AssertSqlSafe(page)).bind(after).bind(size);
    let rows = session.rows_once(query).await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    Ok(Page {
        count: convert::measure("count", get(row, "count")?)?,
        is_open: get(row, "is_open")?,
        last: get::<Option<i64>>(row, "last")?.map(Timestamp::from_micros),
        next: get::<Option<Uuid>>(row, "next")?.unwrap_or(after),
    })
}

/// Drops a day with all that belongs to its executions.
async fn drop_day(session: &mut Session<'_>, deadline: LookDeadline, day: Day) -> Result<()> {
    let tables = TABLES.map(|(table, _)| format!("{table}_{}", day.suffix())).join(", ");
    deadline.bound(session).await?;
    session.run(format!("DROP TABLE {tables}")).await?;
    session.execute(sqlx::query("DELETE FROM leases WHERE name = $1").bind(day.lease())).await?;
    for delete in [
        "DELETE FROM outbox WHERE execution_id >= $1 AND execution_id < $2",
        "DELETE FROM early_rows WHERE execution_id >= $1 AND execution_id < $2",
    ] {
        deadline.bound(session).await?;
        let delete = sqlx::query(delete).bind(day.first_id().0).bind(day.plus(1).first_id().0);
        session.execute(delete).await?;
    }
    Ok(())
}
