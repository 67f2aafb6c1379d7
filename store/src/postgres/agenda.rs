//! What is still to be done.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use wasmill_domain::{AttemptKey, Dispatch, ExecutionId, Timestamp};

use super::columns::{Columns, get, id_of, pieces};
use super::error::{Fault, Result};
use super::session::Session;
use super::store::PostgresStore;
use super::{history, lifecycle, queries};
use crate::fence;
use crate::port::{self, Agenda, Leases, Term};

/// Rows that another scheduler is just promoting are left to it.
const PROMOTE: &str = "WITH due AS MATERIALIZED (SELECT id, due_at FROM executions WHERE state = 'scheduled' AND due_at <= $1 \
     ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED), \
     promoted AS (UPDATE executions e SET state = 'queued', due_at = NULL, queued_at = $1 FROM due WHERE e.id = due.id \
     RETURNING e.id, e.tenant, e.function, e.attempt, e.max_attempts, e.accepted_at, e.queued_at, e.traceparent, e.tracestate, \
     e.parent, e.event, e.epoch, e.root, e.origin_kind, e.origin, due.due_at) SELECT * FROM promoted ORDER BY due_at";

const OUTBOX: &str = "SELECT o.execution_id, o.attempt, e.id, e.tenant, e.function, e.max_attempts, e.accepted_at, e.queued_at, \
     e.traceparent, e.tracestate, e.parent, e.event, e.root, e.origin_kind, e.origin, coalesce(e.epoch, o.epoch) AS epoch FROM \
     (SELECT * FROM outbox WHERE made_at < $1 ORDER BY made_at, execution_id, attempt LIMIT $2) o \
     LEFT JOIN executions e ON e.id = o.execution_id AND e.attempt = o.attempt AND e.state IN ('queued', 'running') ORDER BY o.made_at, o.execution_id, o.attempt";

const PUBLISHED: &str = "DELETE FROM outbox o USING unnest($1, $2, $3) AS gone (id, attempt, epoch) \
     WHERE o.execution_id = gone.id AND o.attempt = gone.attempt AND o.epoch <= gone.epoch";

const LEASE: &str = "INSERT INTO leases AS l (name, holder, term, expires_at) \
     SELECT $1, $2, 1, now + $3 FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now) clock \
     ON CONFLICT (name) DO UPDATE SET \
     term = l.term + (l.holder <> excluded.holder)::int, holder = excluded.holder, expires_at = excluded.expires_at \
     WHERE l.holder = excluded.holder OR l.expires_at <= excluded.expires_at - $3 RETURNING term";

#[async_trait]
impl Agenda for PostgresStore {
    async fn promote_due(&self, now: Timestamp, limit: u32) -> port::Result<Vec<Dispatch>> {
        let made_at = now.plus(self.inner.settings.publish_timeout);
        self.inner.write(|session| Box::pin(promote_due(session, now, limit, made_at))).await
    }

    async fn outbox(&self, before: Timestamp, limit: u32) -> port::Result<Vec<Dispatch>> {
        loop {
            let page =
                self.inner.read(|session| Box::pin(outbox_page(session, before, limit))).await?;
            if page.stale.is_empty() && page.unreadable.is_empty() {
                return Ok(page.dispatches);
            }
            // Takes out what would be in the way each time, and looks again: others may have their
            // place.
            self.inner.write(|session| Box::pin(clear(session, &page))).await?;
        }
    }

    async fn published(&self, entries: &[AttemptKey]) -> port::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        self.inner.write(|session| Box::pin(delete_entries(session, entries))).await
    }
}

#[async_trait]
impl Leases for PostgresStore {
    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> port::Result<Option<Term>> {
        // No lease is for longer, and the sum of it and the clock stays a number that the column
        // holds.
        let ttl =
            Timestamp::default().plus(ttl.min(Duration::from_secs(365 * 24 * 3600))).as_micros();
        self.inner.write(|session| Box::pin(take_lease(session, name, holder, ttl))).await
    }
}

/// What came out of rows that are to be sent.
#[derive(Default)]
pub(super) struct Page {
    dispatches: Vec<Dispatch>,
    /// Entries whose execution has gone on without them.
    pub(super) stale: Vec<AttemptKey>,
    unreadable: Vec<(ExecutionId, String)>,
}

impl Page {
    fn add(&mut self, row: &PgRow) -> Result<()> {
        match queries::dispatch(row) {
            Ok(dispatch) => self.dispatches.push(dispatch),
            Err(why) => {
                self.unreadable.push((id_of(row, "id")?, Fault::into_error(why).to_string()));
            }
        }
        Ok(())
    }
}

async fn promote_due(
    session: &mut Session<'_>,
    now: Timestamp,
    limit: u32,
    made_at: Timestamp,
) -> Result<Vec<Dispatch>> {
    // Asked several times a second, and mostly in vain: then nothing is locked.
    let due = "SELECT EXISTS (SELECT 1 FROM executions WHERE state = 'scheduled' AND due_at <= $1) AS due";
    if !get::<bool>(&session.row(sqlx::query(due).bind(now.as_micros())).await?, "due")? {
        return Ok(Vec::new());
    }
    let promote = sqlx::query(PROMOTE).bind(now.as_micros()).bind(i64::from(limit));
    let mut page = Page::default();
    for row in &session.rows(promote).await? {
        page.add(row)?;
    }
    let mut entries: Vec<AttemptKey> = page.dispatches.iter().map(Dispatch::key).collect();
    entries.sort_unstable();
    history::insert_outbox(session, &entries, made_at).await?;
    clear(session, &page).await?;
    Ok(page.dispatches)
}

pub(super) async fn outbox_page(
    session: &mut Session<'_>,
    before: Timestamp,
    limit: u32,
) -> Result<Page> {
    let mut page = Page::default();
    for row in
        &session.rows(sqlx::query(OUTBOX).bind(before.as_micros()).bind(i64::from(limit))).await?
    {
        if get::<Option<uuid::Uuid>>(row, "id")?.is_some() {
            page.add(row)?;
        } else {
            let (execution, epoch) = (id_of(row, "execution_id")?, queries::count(row, "epoch")?);
            page.stale.push(AttemptKey {
                execution,
                epoch,
                attempt: queries::count(row, "attempt")?,
            });
        }
    }
    Ok(page)
}

/// Takes out what cannot be sent.
pub(super) async fn clear(session: &mut Session<'_>, page: &Page) -> Result<()> {
    for (id, why) in &page.unreadable {
        tracing::error!(execution = %id, why, "an execution cannot be read back: given up");
        let (row, now) = (lifecycle::read(session, *id).await?, Timestamp::now());
        if let Some(effects) = row.and_then(|row| row.lifecycle.give_up(why, now)) {
            lifecycle::write(session, *id, &effects, now).await?;
        }
    }
    sweep(session, &page.stale).await
}

/// Deletes entries that are of no use any more. Their executions are looked at again and held: one
/// may have been resumed since.
async fn sweep(session: &mut Session<'_>, stale: &[AttemptKey]) -> Result<()> {
    if stale.is_empty() {
        return Ok(());
    }
    let ids: HashSet<ExecutionId> = stale.iter().map(|key| key.execution).collect();
    let hold = Columns::default().add(ids.iter().map(|id| id.0))?;
    session
        .execute(hold.of("SELECT FROM executions WHERE id = ANY($1) ORDER BY id FOR SHARE"))
        .await?;
    let current_states =
        history::current_states(session, &ids.into_iter().collect::<Vec<_>>()).await?;
    let is_stale = |key: &&AttemptKey| {
        current_states
            .get(&key.execution)
            .is_none_or(|current| !fence::is_open(Some(current), key.attempt))
    };
    let stale: Vec<AttemptKey> = stale.iter().filter(is_stale).copied().collect();
    delete_entries(session, &stale).await
}

async fn take_lease(
    session: &mut Session<'_>,
    name: &str,
    holder: &str,
    ttl: i64,
) -> Result<Option<Term>> {
    let row = session.row_if_any(sqlx::query(LEASE).bind(name).bind(holder).bind(ttl)).await?;
    row.map(|row| get(&row, "term").map(Term)).transpose()
}

async fn delete_entries(session: &mut Session<'_>, entries: &[AttemptKey]) -> Result<()> {
    let mut entries = entries.to_vec();
    entries.sort_unstable();
    for piece in pieces(&entries, |_| size_of::<AttemptKey>()) {
        session.execute(history::entries(piece)?.of(PUBLISHED)).await?;
    }
    Ok(())
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
        assert!(PROMOTE.contains("WHERE state = 'scheduled' AND due_at <= $1"));
        let to = State::Delayed.after(Transition::Promote).unwrap();
        assert!(PROMOTE.contains(&format!("SET state = '{to}', due_at = NULL, queued_at = $1")));
    }
}
