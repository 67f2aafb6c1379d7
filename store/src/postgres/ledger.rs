//! What became of events: the verbs that write. Those that only read are in `queries`.

use async_trait::async_trait;
use wasmill_domain::{AttemptKey, Dispatch, ExecutionId, Operation, TenantName, Timestamp};

use super::error::Result;
use super::history::{self, Written};
use super::partitions::share_old_days;
use super::session::Session;
use super::store::PostgresStore;
use super::{lifecycle, queries};
use crate::fence::{self, CurrentStates, RowChange};
use crate::port::{
    self, ExecutionDetail, ExecutionQuery, Finished, History, Ledger, ListedExecution, LogEntry,
    LogPosition, OperationResult, Publication, Started,
};

#[async_trait]
impl Ledger for PostgresStore {
    async fn enqueue(&self, dispatches: &[Dispatch], publication: Publication) -> port::Result<()> {
        if dispatches.is_empty() {
            return Ok(());
        }
        self.inner.keep_ahead();
        let all: Vec<&Dispatch> = dispatches.iter().collect();
        let made_at = Timestamp::now();
        self.inner.write(|session| Box::pin(enqueue(session, &all, publication, made_at))).await
    }

    async fn start(&self, attempts: &[Started]) -> port::Result<()> {
        if attempts.is_empty() {
            return Ok(());
        }
        self.inner.keep_ahead();
        self.inner.write(|session| Box::pin(start(session, attempts))).await
    }

    async fn unfinished(&self, attempts: &[Dispatch]) -> port::Result<Vec<bool>> {
        let ids: Vec<ExecutionId> = attempts.iter().map(|dispatch| dispatch.execution).collect();
        let current_states =
            self.inner.read(|session| Box::pin(history::current_states(session, &ids))).await?;
        let is_open = |dispatch: &Dispatch| {
            fence::is_open_for(current_states.get(&dispatch.execution), dispatch)
        };
        Ok(attempts.iter().map(is_open).collect())
    }

    async fn record(&self, finished: &[Finished]) -> port::Result<Vec<bool>> {
        if finished.is_empty() {
            return Ok(Vec::new());
        }
        self.inner.keep_ahead();
        // Hosts publish what was emitted once it is committed.
        let made_at = Timestamp::now().plus(self.inner.settings.publish_timeout);
        self.inner.write(|session| Box::pin(record(session, finished, made_at))).await
    }

    async fn transition_execution(
        &self,
        tenant: &TenantName,
        id: ExecutionId,
        operation: &Operation,
    ) -> port::Result<OperationResult> {
        let settings = &self.inner.settings;
        let quota = settings.quotas.of(tenant);
        // Whoever asks publishes it once it is committed.
        let made_at = operation.at.plus(settings.publish_timeout);
        self.inner
            .write(|session| {
                Box::pin(lifecycle::operate(session, quota, tenant, id, operation, made_at))
            })
            .await
    }
}

#[async_trait]
impl History for PostgresStore {
    async fn executions(&self, query: &ExecutionQuery) -> port::Result<Vec<ListedExecution>> {
        self.inner.read(|session| Box::pin(queries::executions(session, query))).await
    }

    async fn execution(
        &self,
        tenant: &TenantName,
        id: ExecutionId,
    ) -> port::Result<Option<ExecutionDetail>> {
        self.inner.read(|session| Box::pin(queries::execution(session, tenant, id))).await
    }

    async fn logs(
        &self,
        tenant: &TenantName,
        id: ExecutionId,
        after: Option<LogPosition>,
        limit: u32,
    ) -> port::Result<Vec<LogEntry>> {
        self.inner.read(|session| Box::pin(queries::logs(session, tenant, id, after, limit))).await
    }
}

async fn enqueue(
    session: &mut Session<'_>,
    dispatches: &[&Dispatch],
    publication: Publication,
    made_at: Timestamp,
) -> Result<()> {
    share_old_days(session, dispatches.iter().map(|dispatch| dispatch.execution)).await?;
    let mut rounds = fence::rounds(dispatches, |dispatch| dispatch.execution);
    if publication == Publication::Confirmed
        && let Some(first) = rounds.first_mut()
    {
        // Most have ended by now: to look is cheaper than to send what is there.
        let ids: Vec<ExecutionId> =
            first.iter().map(|&index| dispatches[index].execution).collect();
        let known = history::current_states(session, &ids).await?;
        let lacks_event = |index: &&usize| {
            known.get(&dispatches[**index].execution).is_some_and(|k| !k.has_event)
        };
        let without_event: Vec<&Dispatch> =
            first.iter().filter(lacks_event).map(|&index| dispatches[index]).collect();
        lifecycle::add_events(session, &without_event).await?;
        first.retain(|&index| !known.contains_key(&dispatches[index].execution));
    }
    let first = rounds.first().map_or(&[] as &[usize], Vec::as_slice);
    let changes: Vec<RowChange<'_>> =
        first.iter().map(|&index| RowChange::accepted(dispatches[index])).collect();
    let written = history::accept(session, &changes).await?;
    if publication == Publication::Confirmed {
        // An operator may have written a row since these were looked for.
        let others = first.iter().map(|&index| dispatches[index]);
        let others: Vec<&Dispatch> =
            others.filter(|dispatch| !written.contains(&dispatch.execution)).collect();
        return lifecycle::add_events(session, &others).await.map(drop);
    }
    let (new, others): (Vec<&Dispatch>, Vec<&Dispatch>) = first
        .iter()
        .map(|&index| dispatches[index])
        .partition(|dispatch| written.contains(&dispatch.execution));
    let new: Vec<AttemptKey> = new.iter().map(|dispatch| dispatch.key()).collect();
    let later = rounds.iter().skip(1).flatten().map(|&index| dispatches[index]);
    let others: Vec<&Dispatch> = others.into_iter().chain(later).collect();
    lifecycle::add_events(session, &others).await?;
    history::insert_outbox(session, &new, made_at).await?;
    history::insert_outbox_if_open(session, &others, made_at).await
}

async fn start(session: &mut Session<'_>, attempts: &[Started]) -> Result<()> {
    share_old_days(session, attempts.iter().map(|entry| entry.dispatch.execution)).await?;
    let all: Vec<&Started> = attempts.iter().collect();
    let written = report_starts(session, &all).await?;
    let others: Vec<&Started> =
        all.into_iter().filter(|entry| !written.contains(&entry.dispatch.execution)).collect();
    let dispatches: Vec<&Dispatch> = others.iter().map(|entry| &entry.dispatch).collect();
    // Nothing that another tenant's operator has written before the event came is in their way.
    let replaced = lifecycle::add_events(session, &dispatches).await?;
    let again: Vec<&Started> =
        others.into_iter().filter(|entry| replaced.contains(&entry.dispatch.execution)).collect();
    report_starts(session, &again).await.map(drop)
}

async fn report_starts(session: &mut Session<'_>, attempts: &[&Started]) -> Result<Written> {
    let mut written = Written::new();
    for round in fence::rounds(attempts, |entry| entry.dispatch.execution) {
        // What each would make of an execution that lets it; whether it does, the database finds.
        let change = |index: usize| {
            fence::start(std::slice::from_ref(attempts[index]), &mut CurrentStates::new())
        };
        let changes: Vec<RowChange<'_>> = round.into_iter().flat_map(change).collect();
        written.extend(history::report(session, &changes).await?);
    }
    Ok(written)
}

pub(super) async fn record(
    session: &mut Session<'_>,
    finished: &[Finished],
    made_at: Timestamp,
) -> Result<Vec<bool>> {
    share_old_days(session, finished.iter().map(|entry| entry.dispatch.execution)).await?;
    let mut stands = vec![false; finished.len()];
    let all: Vec<usize> = (0..finished.len()).collect();
    let mut winners = report_ends(session, finished, &all, &mut stands).await?;
    let others = finished.iter().zip(&stands).filter(|(_, stands)| !**stands);
    let others: Vec<&Dispatch> = others.map(|(entry, _)| &entry.dispatch).collect();
    let replaced = lifecycle::add_events(session, &others).await?;
    if !replaced.is_empty() {
        // Another tenant's operator has written these before their events came: void.
        let again = |index: &usize| {
            !stands[*index] && replaced.contains(&finished[*index].dispatch.execution)
        };
        let again: Vec<usize> = all.into_iter().filter(again).collect();
        winners.extend(report_ends(session, finished, &again, &mut stands).await?);
    }
    let followed: Vec<&Finished> =
        winners.iter().copied().filter(|entry| fence::is_followed(entry)).collect();
    history::insert_attempts(session, &followed).await?;
    let children: Vec<&Dispatch> =
        winners.iter().flat_map(|entry| fence::children(entry)).collect();
    if !children.is_empty() {
        enqueue(session, &children, Publication::Pending, made_at).await?;
    }
    Ok(stands)
}

/// Reports those of some ends, notes which of them stand, and gives these.
async fn report_ends<'a>(
    session: &mut Session<'_>,
    finished: &'a [Finished],
    indices: &[usize],
    stands: &mut [bool],
) -> Result<Vec<&'a Finished>> {
    let mut winners: Vec<&Finished> = Vec::with_capacity(indices.len());
    for round in fence::rounds(indices, |&index| finished[index].dispatch.execution) {
        let round: Vec<usize> = round.into_iter().map(|position| indices[position]).collect();
        // What each would make of an execution that lets it; whether it does, the database finds.
        let change =
            |index: usize| fence::finish(&finished[index..=index], &mut CurrentStates::new());
        let changes: Vec<RowChange<'_>> =
            round.iter().flat_map(|&index| change(index)).flatten().collect();
        let written = history::report(session, &changes).await?;
        for index in round {
            stands[index] = written.contains(&finished[index].dispatch.execution);
            if stands[index] {
                winners.push(&finished[index]);
            }
        }
    }
    Ok(winners)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fence::rounds;

    #[test]
    fn a_round_has_each_execution_once_and_in_order() {
        let ids: Vec<ExecutionId> = (0..3).map(|_| ExecutionId::new()).collect();
        let batch = [ids[2], ids[0], ids[2], ids[1], ids[2], ids[0]];
        assert_eq!(rounds(&batch, |id| *id), [vec![1, 3, 0], vec![5, 2], vec![4]]);
        assert!(rounds(&[] as &[ExecutionId], |id| *id).is_empty());
    }
}
