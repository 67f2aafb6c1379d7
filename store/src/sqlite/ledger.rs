//! What became of events: the verbs that write. Those that only read are in `queries`.

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;
use wasmill_domain::{Dispatch, ExecutionId, Operation, TenantName, Timestamp};

use super::store::SqliteStore;
use super::{error, history, lifecycle, queries};
use crate::fence::{self, CurrentStates, RowChange};
use crate::port::{
    ExecutionDetail, ExecutionQuery, Finished, History, Ledger, ListedExecution, LogEntry,
    LogPosition, OperationResult, Publication, Result, Started,
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
            Publication::Pending => {
                put_in_outbox(&mut transaction, dispatches.iter(), Timestamp::now()).await
            }
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
        let current_states = history::current_states(&mut reader, &ids).await?;
        let is_open = |dispatch: &Dispatch| {
            fence::is_open_for(current_states.get(&dispatch.execution), dispatch)
        };
        Ok(attempts.iter().map(is_open).collect())
    }

    async fn record(&self, finished: &[Finished]) -> Result<Vec<bool>> {
        if finished.is_empty() {
            return Ok(Vec::new());
        }
        let mut transaction = self.writer.begin().await?;
        // Hosts publish what was emitted once it is committed.
        let made_at = Timestamp::now().plus(self.publish_timeout);
        let result = record(&mut transaction, finished, made_at).await;
        transaction.end(result).await
    }

    async fn transition_execution(
        &self,
        tenant: &TenantName,
        id: ExecutionId,
        operation: &Operation,
    ) -> Result<OperationResult> {
        let mut transaction = self.writer.begin().await?;
        let quota = self.quotas.of(tenant);
        // Whoever asks publishes it once it is committed.
        let made_at = operation.at.plus(self.publish_timeout);
        let result =
            lifecycle::operate(&mut transaction, quota, tenant, id, operation, made_at).await;
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
    let known = history::current_states(connection, &ids).await?;
    let new = dispatches.iter().filter(|dispatch| !known.contains_key(&dispatch.execution));
    let changes: Vec<RowChange<'_>> = new.map(RowChange::accepted).collect();
    history::apply(connection, &changes).await?;
    lifecycle::add_events(connection, dispatches.iter(), &known).await
}

async fn put_in_outbox<'a>(
    connection: &mut SqliteConnection,
    dispatches: impl Iterator<Item = &'a Dispatch> + Send,
    made_at: Timestamp,
) -> Result<()> {
    let dispatches: Vec<&Dispatch> = dispatches.collect();
    if dispatches.is_empty() {
        return Ok(());
    }
    let ids: Vec<ExecutionId> = dispatches.iter().map(|dispatch| dispatch.execution).collect();
    let known = history::current_states(connection, &ids).await?;
    lifecycle::add_events(connection, dispatches.iter().copied(), &known).await?;
    let changes: Vec<RowChange<'_>> = dispatches.iter().copied().map(RowChange::accepted).collect();
    history::apply(connection, &changes).await?;
    history::insert_outbox_of(connection, &dispatches, made_at).await
}

async fn start(connection: &mut SqliteConnection, attempts: &[Started]) -> Result<()> {
    let dispatches: Vec<&Dispatch> = attempts.iter().map(|entry| &entry.dispatch).collect();
    let mut current_states = own_states(connection, &dispatches).await?;
    let changes = fence::start(attempts, &mut current_states);
    // What an operator has decided before the event came stands; the event is known from now on.
    lifecycle::add_events(connection, dispatches.into_iter(), &current_states).await?;
    history::apply(connection, &changes).await
}

/// Where the executions of dispatches stand. A row that another tenant's operator has made before
/// the event came is replaced by their own first.
async fn own_states(
    connection: &mut SqliteConnection,
    dispatches: &[&Dispatch],
) -> Result<CurrentStates> {
    let ids: Vec<ExecutionId> = dispatches.iter().map(|dispatch| dispatch.execution).collect();
    let current_states = history::current_states(connection, &ids).await?;
    let is_void = |dispatch: &&&Dispatch| {
        current_states.get(&dispatch.execution).is_some_and(|row| row.is_void_for(dispatch))
    };
    let void: Vec<&Dispatch> = dispatches.iter().filter(is_void).copied().collect();
    if void.is_empty() {
        return Ok(current_states);
    }
    lifecycle::add_events(connection, void.into_iter(), &current_states).await?;
    history::current_states(connection, &ids).await
}

async fn record(
    connection: &mut SqliteConnection,
    finished: &[Finished],
    made_at: Timestamp,
) -> Result<Vec<bool>> {
    let dispatches: Vec<&Dispatch> = finished.iter().map(|entry| &entry.dispatch).collect();
    let mut current_states = own_states(connection, &dispatches).await?;
    let verdicts = fence::finish(finished, &mut current_states);
    let stands: Vec<bool> = verdicts.iter().map(Option::is_some).collect();
    let others = finished.iter().zip(&stands).filter(|(_, stands)| !**stands);
    lifecycle::add_events(connection, others.map(|(entry, _)| &entry.dispatch), &current_states)
        .await?;
    let winners: Vec<&Finished> =
        finished.iter().zip(&stands).filter(|(_, stands)| **stands).map(|(f, _)| f).collect();
    let changes: Vec<RowChange<'_>> = verdicts.into_iter().flatten().collect();
    // A statement changes a row once: what an execution became of two reports is the second's.
    for round in fence::rounds(&changes, |change| change.dispatch.execution) {
        let changes: Vec<RowChange<'_>> = round.into_iter().map(|index| changes[index]).collect();
        history::apply(connection, &changes).await?;
    }
    let followed: Vec<&Finished> =
        winners.iter().copied().filter(|entry| fence::is_followed(entry)).collect();
    history::insert_attempts(connection, &followed).await?;
    let children = winners.iter().flat_map(|entry| fence::children(entry));
    put_in_outbox(connection, children, made_at).await?;
    Ok(stands)
}
