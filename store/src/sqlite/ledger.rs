//! What became of events: the verbs that write. Those that only read are in `queries`.

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;
use wasmill_domain::{AttemptKey, Dispatch, ExecutionId, Move, State, TenantName, Timestamp};

use super::store::SqliteStore;
use super::{error, history, queries};
use crate::convert;
use crate::fence::{self, Change};
use crate::port::{
    Error, ExecutionDetail, ExecutionQuery, Finished, History, Ledger, ListedExecution, LogEntry,
    LogPosition, Publication, Result, Started,
};

#[async_trait]
impl Ledger for SqliteStore {
    async fn enqueue(&self, dispatches: &[Dispatch], publication: Publication) -> Result<()> {
        if dispatches.is_empty() {
            return Ok(());
        }
        let mut transaction = self.writer.begin().await?;
        let result = match publication {
            Publication::Confirmed => accept(&mut transaction, dispatches).await,
            Publication::Pending => put_in_outbox(&mut transaction, dispatches.iter()).await,
        };
        transaction.end(result).await
    }

    async fn start(&self, attempts: &[Started]) -> Result<()> {
        if attempts.is_empty() {
            return Ok(());
        }
        let mut transaction = self.writer.begin().await?;
        let result = start(&mut transaction, attempts).await;
        transaction.end(result).await
    }

    async fn unfinished(&self, attempts: &[Dispatch]) -> Result<Vec<bool>> {
        let ids: Vec<ExecutionId> = attempts.iter().map(|dispatch| dispatch.execution).collect();
        let mut reader = self.readers.acquire().await.map_err(error::of)?;
        let standings = history::standings(&mut reader, &ids).await?;
        let is_open =
            |dispatch: &Dispatch| fence::is_open_for(standings.get(&dispatch.execution), dispatch);
        Ok(attempts.iter().map(is_open).collect())
    }

    async fn record(&self, finished: &[Finished]) -> Result<Vec<bool>> {
        if finished.is_empty() {
            return Ok(Vec::new());
        }
        let mut transaction = self.writer.begin().await?;
        let result = record(&mut transaction, finished).await;
        transaction.end(result).await
    }

    async fn move_execution(
        &self,
        tenant: &TenantName,
        id: ExecutionId,
        what: Move,
        at: Timestamp,
    ) -> Result<State> {
        let mut transaction = self.writer.begin().await?;
        let result = move_execution(&mut transaction, tenant, id, what, at).await;
        transaction.end(result).await
    }
}

#[async_trait]
impl History for SqliteStore {
    async fn executions(&self, query: &ExecutionQuery) -> Result<Vec<ListedExecution>> {
        let mut reader = self.readers.acquire().await.map_err(error::of)?;
        queries::executions(&mut reader, query).await
    }

    async fn execution(
        &self,
        tenant: &TenantName,
        id: ExecutionId,
    ) -> Result<Option<ExecutionDetail>> {
        // One snapshot: what happens meanwhile is in all of it or in none.
        let mut snapshot = self.readers.begin().await.map_err(error::of)?;
        queries::execution(&mut snapshot, tenant, id).await
    }

    async fn logs(
        &self,
        tenant: &TenantName,
        id: ExecutionId,
        after: Option<LogPosition>,
        limit: u32,
    ) -> Result<Vec<LogEntry>> {
        let mut reader = self.readers.acquire().await.map_err(error::of)?;
        queries::logs(&mut reader, tenant, id, after, limit).await
    }
}

/// Makes the rows that are not there. Most have ended by now: to look is cheaper than to write what
/// is there.
async fn accept(connection: &mut SqliteConnection, dispatches: &[Dispatch]) -> Result<()> {
    let ids: Vec<ExecutionId> = dispatches.iter().map(|dispatch| dispatch.execution).collect();
    let known = history::standings(connection, &ids).await?;
    let new = dispatches.iter().filter(|dispatch| !known.contains_key(&dispatch.execution));
    let changes: Vec<Change<'_>> = new.map(Change::accepted).collect();
    history::apply(connection, &changes).await
}

async fn put_in_outbox<'a>(
    connection: &mut SqliteConnection,
    dispatches: impl Iterator<Item = &'a Dispatch> + Send,
) -> Result<()> {
    let dispatches: Vec<&Dispatch> = dispatches.collect();
    let changes: Vec<Change<'_>> = dispatches.iter().copied().map(Change::accepted).collect();
    history::apply(connection, &changes).await?;
    history::insert_outbox_of(connection, &dispatches, Timestamp::now()).await
}

async fn start(connection: &mut SqliteConnection, attempts: &[Started]) -> Result<()> {
    let ids: Vec<ExecutionId> = attempts.iter().map(|entry| entry.dispatch.execution).collect();
    let mut standings = history::standings(connection, &ids).await?;
    history::apply(connection, &fence::start(attempts, &mut standings)).await
}

async fn record(connection: &mut SqliteConnection, finished: &[Finished]) -> Result<Vec<bool>> {
    let ids: Vec<ExecutionId> = finished.iter().map(|entry| entry.dispatch.execution).collect();
    let mut standings = history::standings(connection, &ids).await?;
    let verdicts = fence::finish(finished, &mut standings);
    let stands: Vec<bool> = verdicts.iter().map(Option::is_some).collect();
    let winners: Vec<&Finished> =
        finished.iter().zip(&stands).filter(|(_, stands)| **stands).map(|(f, _)| f).collect();
    let changes: Vec<Change<'_>> = verdicts.into_iter().flatten().collect();
    history::apply(connection, &changes).await?;
    let followed: Vec<&Finished> =
        winners.iter().copied().filter(|entry| fence::is_followed(entry)).collect();
    history::insert_attempts(connection, &followed).await?;
    let children = winners.iter().flat_map(|entry| fence::children(entry));
    put_in_outbox(connection, children).await?;
    Ok(stands)
}

async fn move_execution(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    id: ExecutionId,
    what: Move,
    at: Timestamp,
) -> Result<State> {
    let row =
        sqlx::query("SELECT state, epoch, attempt FROM executions WHERE id = ? AND tenant = ?")
            .bind(history::id_bytes(&id))
            .bind(tenant.as_str())
            .fetch_optional(&mut *connection)
            .await
            .map_err(error::of)?
            .ok_or_else(|| Error::NotFound(format!("execution {id}")))?;
    let from: State = convert::word("state", row.try_get("state").map_err(error::of)?)?;
    let attempt = convert::count("attempt", row.try_get("attempt").map_err(error::of)?)?;
    let epoch =
        fence::next_epoch(convert::count("epoch", row.try_get("epoch").map_err(error::of)?)?);
    let sql = match what {
        Move::Suspend => {
            "UPDATE executions SET state = ?2, epoch = ?4, due_at = NULL WHERE id = ?1"
        }
        Move::Resume => {
            "UPDATE executions SET state = ?2, epoch = ?4, queued_at = ?3 WHERE id = ?1"
        }
        // An attempt that runs is called off with it; one that ended before keeps its outcome.
        Move::Cancel => {
            "UPDATE executions SET outcome = iif(state = 'running', 'cancelled', outcome), \
             message = iif(state = 'running', 'cancelled by an operator', message), \
             state = ?2, epoch = ?4, due_at = NULL, finished_at = ?3 WHERE id = ?1"
        }
        Move::Replay => {
            "UPDATE executions SET state = ?2, epoch = ?4, attempt = attempt + 1, max_attempts = max_attempts + 1, queued_at = ?3 \
             WHERE id = ?1"
        }
        _ => return Err(Error::Conflict(format!("'{what}' is not an operator's move"))),
    };
    let to = from.after(what).map_err(|e| Error::Conflict(e.to_string()))?;
    if what == Move::Replay {
        history::set_apart(connection, id).await?;
    }
    sqlx::query(sql)
        .bind(history::id_bytes(&id))
        .bind(to.as_str())
        .bind(at.as_micros())
        .bind(i64::from(epoch))
        .execute(&mut *connection)
        .await
        .map_err(error::of)?;
    if to == State::Queued {
        let attempt = if what == Move::Replay { attempt.saturating_add(1) } else { attempt };
        history::insert_outbox(connection, &[AttemptKey { execution: id, epoch, attempt }], at)
            .await?;
    }
    Ok(to)
}
