//! What is still to be done.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use wasmill_domain::{AttemptKey, Dispatch, ExecutionId, Timestamp};

use super::bulk::{Bulk, Values};
use super::history::{id_bytes, id_of};
use super::store::SqliteStore;
use super::{error, history, lifecycle, queries};
use crate::convert;
use crate::port::{Agenda, Leases, Result, Term};

static PROMOTE: Bulk = Bulk::new(
    "UPDATE executions SET state = 'queued', due_at = NULL, queued_at = new.column2 FROM (",
    2,
    ") AS new WHERE id = new.column1 AND state = 'scheduled'",
);

/// An entry of a later epoch stays: somebody else is to publish it.
static PUBLISHED: Bulk = Bulk::new(
    "DELETE FROM outbox WHERE (execution_id, attempt) IN (SELECT o.execution_id, o.attempt FROM (",
    3,
    ") AS gone JOIN outbox o ON o.execution_id = gone.column1 AND o.attempt = gone.column2 AND o.epoch <= gone.column3)",
);

/// An entry is looked at again here: the execution may have been resumed since it was found to be
/// of no use.
static SWEEP: Bulk = Bulk::new(
    "DELETE FROM outbox WHERE (execution_id, attempt) IN (",
    2,
    ") AND NOT EXISTS (SELECT 1 FROM executions e WHERE e.id = execution_id AND e.attempt = outbox.attempt \
     AND e.state IN ('queued', 'running'))",
);

#[async_trait]
impl Agenda for SqliteStore {
    async fn promote_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Dispatch>> {
        // Asked several times a second, and mostly in vain: that must not take the writer's turn.
        let due =
            "SELECT EXISTS (SELECT 1 FROM executions WHERE state = 'scheduled' AND due_at <= ?)";
        let due: bool = sqlx::query_scalar(due)
            .bind(now.as_micros())
            .fetch_one(&self.readers)
            .await
            .map_err(error::of)?;
        if !due {
            return Ok(Vec::new());
        }
        let mut transaction = self.writer.begin().await?;
        let made_at = now.plus(self.publish_timeout);
        let result = promote_due(&mut transaction, now, limit, made_at).await;
        transaction.end(result).await
    }

    async fn outbox(&self, before: Timestamp, limit: u32) -> Result<Vec<Dispatch>> {
        loop {
            let page = outbox_page(&self.readers, before, limit).await?;
            if page.stale.is_empty() && page.unreadable.is_empty() {
                return Ok(page.dispatches);
            }
            // Takes out what would be in the way each time, and looks again: others may have their
            // place.
            let mut transaction = self.writer.begin().await?;
            let result = clear(&mut transaction, &page).await;
            transaction.end(result).await?;
        }
    }

    async fn published(&self, entries: &[AttemptKey]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut transaction = self.writer.begin().await?;
        let result = PUBLISHED.execute(&mut transaction, entries, bind_published).await;
        transaction.end(result).await
    }
}

#[async_trait]
impl Leases for SqliteStore {
    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Term>> {
        let mut transaction = self.writer.begin().await?;
        // No lease is for longer, and the sum of it and the clock stays a number that SQLite keeps
        // exactly.
        let ttl = ttl.min(Duration::from_secs(365 * 24 * 3600));
        let term = sqlx::query_scalar(
            "WITH clock (now) AS (SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000) \
             INSERT INTO leases (name, holder, term, expires_at) SELECT ?1, ?2, 1, now + ?3 FROM clock WHERE true \
             ON CONFLICT (name) DO UPDATE SET \
             term = term + (holder <> excluded.holder), holder = excluded.holder, expires_at = excluded.expires_at \
             WHERE holder = excluded.holder OR expires_at <= excluded.expires_at - ?3 RETURNING term",
        )
        .bind(name)
        .bind(holder)
        .bind(Timestamp::default().plus(ttl).as_micros())
        .fetch_optional(&mut *transaction)
        .await
        .map_err(error::of);
        Ok(transaction.end(term).await?.map(Term))
    }
}

fn bind_entry(
    (id, attempt): &(ExecutionId, u32),
    values: &mut Values,
) -> Result<(), sqlx::error::BoxDynError> {
    values.push(id_bytes(id))?.push(i64::from(*attempt)).map(drop)
}

fn bind_published(key: &AttemptKey, values: &mut Values) -> Result<(), sqlx::error::BoxDynError> {
    bind_entry(&(key.execution, key.attempt), values)?;
    values.push(i64::from(key.epoch)).map(drop)
}

/// What came out of rows that are to be sent.
#[derive(Default)]
struct Page {
    dispatches: Vec<Dispatch>,
    /// Entries whose execution has gone on without them.
    stale: Vec<(ExecutionId, u32)>,
    unreadable: Vec<(ExecutionId, String)>,
}

impl Page {
    fn add(&mut self, row: &SqliteRow) -> Result<()> {
        match queries::dispatch(row) {
            Ok(dispatch) => self.dispatches.push(dispatch),
            Err(why) => self.unreadable.push((id_of(row, "id")?, why.to_string())),
        }
        Ok(())
    }
}

async fn promote_due(
    connection: &mut SqliteConnection,
    now: Timestamp,
    limit: u32,
    made_at: Timestamp,
) -> Result<Vec<Dispatch>> {
    let rows = sqlx::query(
        "SELECT id, tenant, function, attempt, max_attempts, accepted_at, queued_at, traceparent, tracestate, parent, event, epoch, \
         root, origin_kind, origin \
         FROM executions WHERE state = 'scheduled' AND due_at <= ? ORDER BY due_at LIMIT ?",
    )
    .bind(now.as_micros())
    .bind(i64::from(limit))
    .fetch_all(&mut *connection)
    .await
    .map_err(error::of)?;
    let ids: Vec<ExecutionId> = rows.iter().map(|row| id_of(row, "id")).collect::<Result<_>>()?;
    let bind = |id: &ExecutionId, values: &mut Values| {
        values.push(id_bytes(id))?.push(now.as_micros()).map(drop)
    };
    PROMOTE.execute(connection, &ids, bind).await?;
    let mut page = Page::default();
    for row in &rows {
        page.add(row)?;
    }
    for dispatch in &mut page.dispatches {
        dispatch.queued_at = now;
    }
    let entries: Vec<AttemptKey> = page.dispatches.iter().map(Dispatch::key).collect();
    history::insert_outbox(connection, &entries, made_at).await?;
    clear(connection, &page).await?;
    Ok(page.dispatches)
}

async fn outbox_page(readers: &sqlx::SqlitePool, before: Timestamp, limit: u32) -> Result<Page> {
    let rows = sqlx::query(
        "SELECT o.execution_id, o.attempt, e.id, e.tenant, e.function, e.max_attempts, e.accepted_at, e.queued_at, \
         e.traceparent, e.tracestate, e.parent, e.event, e.epoch, e.root, e.origin_kind, e.origin FROM outbox o \
         LEFT JOIN executions e ON e.id = o.execution_id AND e.attempt = o.attempt AND e.state IN ('queued', 'running') \
         WHERE o.made_at < ? ORDER BY o.made_at, o.execution_id, o.attempt LIMIT ?",
    )
    .bind(before.as_micros())
    .bind(i64::from(limit))
    .fetch_all(readers)
    .await
    .map_err(error::of)?;
    let mut page = Page::default();
    for row in &rows {
        if queries::get::<Option<&[u8]>>(row, "id")?.is_some() {
            page.add(row)?;
        } else {
            let attempt = convert::count("attempt", queries::get(row, "attempt")?)?;
            page.stale.push((id_of(row, "execution_id")?, attempt));
        }
    }
    Ok(page)
}

async fn clear(connection: &mut SqliteConnection, page: &Page) -> Result<()> {
    for (id, why) in &page.unreadable {
        tracing::error!(execution = %id, why, "an execution cannot be read back: given up");
        let (row, now) = (lifecycle::read(connection, *id).await?, Timestamp::now());
        if let Some(effects) = row.and_then(|row| row.lifecycle.give_up(why, now)) {
            lifecycle::write(connection, *id, &effects, now).await?;
        }
    }
    SWEEP.execute(connection, &page.stale, bind_entry).await
}

#[cfg(test)]
mod tests {
    use wasmill_domain::{State, Transition};

    use super::*;

    /// Many are promoted by one statement: what it says is what the domain's table says.
    #[test]
    fn the_statement_is_the_table_of_transitions() {
        let sources: Vec<State> = Transition::Promote.sources().collect();
        assert_eq!(sources, [State::Delayed]);
        let to = State::Delayed.after(Transition::Promote).unwrap();
        let text = PROMOTE.text(1);
        assert!(text.contains(&format!("SET state = '{to}', due_at = NULL, queued_at = ")));
        assert!(text.ends_with("AND state = 'scheduled'"));
    }
}
