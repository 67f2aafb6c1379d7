//! The rows of executions and what belongs to them, written many at a time.

use sqlx::error::BoxDynError;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Row as _, sqlite::SqliteRow};
use wasmill_domain::{AttemptKey, Dispatch, ExecutionId, Outcome, Timestamp};

use super::bulk::{Bulk, Values};
use super::error;
use crate::convert;
use crate::fence::{self, CurrentState, CurrentStates, RowChange};
use crate::port::{Finished, Result};

static CURRENT_STATES: Bulk = Bulk::new(
    "SELECT id, tenant, function, state, epoch, attempt, run_time_ns IS NOT NULL AS has_attempt, event_id <> '' AS has_event \
     FROM executions WHERE id IN (",
    1,
    ")",
);

static INSERT_EXECUTIONS: Bulk = Bulk::new(
    "INSERT INTO executions (id, state, attempt, version, host, outcome, message, due_at, started_at, finished_at, queue_wait_ns, \
     run_time_ns, fuel_used, peak_memory, log_lines_dropped, span, backtrace, logs, content_type, output, tenant, function, \
     max_attempts, event_type, event_id, event_source, parent, traceparent, tracestate, accepted_at, queued_at, event, \
     epoch, root, origin_kind, origin)",
    36,
    "ON CONFLICT DO NOTHING",
);

static UPDATE_EXECUTIONS: Bulk = Bulk::new(
    "UPDATE executions SET state = new.column2, attempt = new.column3, version = coalesce(new.column4, version), \
     host = new.column5, outcome = new.column6, message = new.column7, due_at = new.column8, started_at = new.column9, \
     finished_at = new.column10, queue_wait_ns = new.column11, run_time_ns = new.column12, fuel_used = new.column13, \
     peak_memory = new.column14, log_lines_dropped = new.column15, span = new.column16, backtrace = new.column17, \
     logs = new.column18, content_type = new.column19, output = new.column20 FROM (",
    20,
    ") AS new WHERE executions.id = new.column1",
);

static INSERT_ATTEMPTS: Bulk = Bulk::new(
    "INSERT INTO attempts (execution_id, attempt, version, host, outcome, message, started_at, finished_at, \
     queue_wait_ns, run_time_ns, fuel_used, peak_memory, log_lines_dropped, span, backtrace, logs)",
    16,
    "",
);

/// Sets the last attempt of an execution apart, if it has ended, because another will follow it.
const SET_APART: [&str; 2] = [
    "INSERT INTO attempts (execution_id, attempt, version, host, outcome, message, started_at, finished_at, queue_wait_ns, \
     run_time_ns, fuel_used, peak_memory, log_lines_dropped, span, backtrace, logs) \
     SELECT id, attempt, version, host, outcome, message, started_at, finished_at, queue_wait_ns, run_time_ns, fuel_used, \
     peak_memory, log_lines_dropped, span, backtrace, logs FROM executions WHERE id = ? AND run_time_ns IS NOT NULL",
    "UPDATE executions SET queue_wait_ns = NULL, run_time_ns = NULL, fuel_used = NULL, peak_memory = NULL, \
     log_lines_dropped = NULL, span = NULL, backtrace = NULL, logs = NULL WHERE id = ?",
];

// Only what a host could still run belongs there. An entry that is there is of the execution's
// epoch from then on, and as young: whoever has begun that epoch publishes it first.
static INSERT_OUTBOX: Bulk = Bulk::new(
    "INSERT INTO outbox (execution_id, attempt, made_at, epoch) SELECT new.column1, new.column2, new.column3, e.epoch FROM (",
    3,
    ") AS new JOIN executions e ON e.id = new.column1 AND e.attempt = new.column2 AND e.state IN ('queued', 'running') \
     WHERE true ON CONFLICT DO UPDATE SET epoch = excluded.epoch, made_at = excluded.made_at",
);

/// The same for what was dispatched: the row may be another's, who had the id first.
static INSERT_OUTBOX_OF: Bulk = Bulk::new(
    "INSERT INTO outbox (execution_id, attempt, made_at, epoch) SELECT new.column1, new.column2, new.column3, e.epoch FROM (",
    5,
    ") AS new JOIN executions e ON e.id = new.column1 AND e.attempt = new.column2 AND e.tenant = new.column4 \
     AND e.function = new.column5 AND e.state IN ('queued', 'running') WHERE true ON CONFLICT DO NOTHING",
);

/// An id as a column holds it.
pub(super) fn id_bytes(id: &ExecutionId) -> &[u8] {
    id.0.as_bytes()
}

/// An id from its column.
pub(super) fn id_of(row: &SqliteRow, column: &str) -> Result<ExecutionId> {
    row.try_get(column).map(ExecutionId).map_err(error::of)
}

/// Where executions stand; those without a row are left out.
pub(super) async fn current_states(
    connection: &mut SqliteConnection,
    ids: &[ExecutionId],
) -> Result<CurrentStates> {
    let rows = CURRENT_STATES
        .fetch(connection, ids, |id, values| values.push(id_bytes(id)).map(drop))
        .await?;
    let mut current_states = CurrentStates::with_capacity(rows.len());
    for row in &rows {
        let tenant = convert::word("tenant", row.try_get("tenant").map_err(error::of)?)?;
        let function = convert::word("function", row.try_get("function").map_err(error::of)?)?;
        let state = fence::stored_state(row.try_get("state").map_err(error::of)?);
        let epoch = convert::count("epoch", row.try_get("epoch").map_err(error::of)?)?;
        let attempt = convert::count("attempt", row.try_get("attempt").map_err(error::of)?)?;
        let has_attempt = row.try_get("has_attempt").map_err(error::of)?;
        let has_event = row.try_get("has_event").map_err(error::of)?;
        let current =
            CurrentState { tenant, function, state, epoch, attempt, has_attempt, has_event };
        current_states.insert(id_of(row, "id")?, current);
    }
    Ok(current_states)
}

/// Writes changes: rows that are new, and what changes in those that are there. One that is new but
/// there nevertheless is left as it is.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    changes: &[RowChange<'_>],
) -> Result<()> {
    let (new, known): (Vec<&RowChange<'_>>, Vec<&RowChange<'_>>) =
        changes.iter().partition(|change| change.is_new);
    UPDATE_EXECUTIONS
        .execute(connection, &known, |change, values| bind_change(change, values))
        .await?;
    INSERT_EXECUTIONS.execute(connection, &new, |change, values| bind_insert(change, values)).await
}

fn bind_change(change: &RowChange<'_>, values: &mut Values) -> Result<(), BoxDynError> {
    let report = change.last.map(|last| &last.report);
    let output = report.and_then(|report| report.output.as_ref());
    values
        .push(id_bytes(&change.dispatch.execution))?
        .push(change.state.as_stored())?
        .push(i64::from(change.attempt))?
        .push(change.version.as_ref().map(|digest| digest.as_bytes().as_slice()))?
        .push(change.host)?
        .push(change.outcome.map(Outcome::as_str))?
        .push(change.message)?
        .push(change.due_at.map(Timestamp::as_micros))?
        .push(change.started_at.map(Timestamp::as_micros))?
        .push(change.finished_at.map(Timestamp::as_micros))?
        .push(report.map(|r| convert::from_duration(r.queue_wait)))?
        .push(report.map(|r| convert::from_duration(r.run_time)))?
        .push(report.map(|r| convert::from_measure(r.fuel_used)))?
        .push(report.map(|r| convert::from_measure(r.peak_memory)))?
        .push(report.map(|r| convert::from_measure(r.log_lines_dropped)))?
        .push(report.map(|r| r.span.to_string()))?
        .push(report.and_then(|r| r.backtrace.as_deref()))?
        .push(change.last.map_or(Ok(None), |last| convert::from_logs(&last.logs))?)?
        .push(output.map(|output| output.content_type.as_str()))?
        .push(output.map(|output| output.data.as_ref()))?;
    Ok(())
}

fn bind_insert(change: &RowChange<'_>, values: &mut Values) -> Result<(), BoxDynError> {
    bind_change(change, values)?;
    let dispatch = change.dispatch;
    values
        .push(dispatch.tenant.as_str())?
        .push(dispatch.function.as_str())?
        .push(i64::from(dispatch.max_attempts))?
        .push(dispatch.event.event_type.as_str())?
        .push(dispatch.event.id.as_str())?
        .push(dispatch.event.source.as_str())?
        .push(dispatch.parent().as_ref().map(id_bytes))?
        .push(dispatch.trace.to_string())?
        .push(dispatch.trace.tracestate.as_deref())?
        .push(dispatch.accepted_at.as_micros())?
        .push(dispatch.queued_at.as_micros())?
        .push(convert::from_event(&dispatch.event)?)?
        .push(i64::from(dispatch.epoch))?
        .push(convert::root(dispatch).as_ref().map(id_bytes))?
        .push(dispatch.origin.kind())?
        .push(convert::from_origin(&dispatch.origin)?)?;
    Ok(())
}

/// Writes attempts that ended and that another follows.
pub(super) async fn insert_attempts(
    connection: &mut SqliteConnection,
    finished: &[&Finished],
) -> Result<()> {
    INSERT_ATTEMPTS.execute(connection, finished, |entry, values| bind_attempt(entry, values)).await
}

fn bind_attempt(finished: &Finished, values: &mut Values) -> Result<(), BoxDynError> {
    let Finished { dispatch, report, .. } = finished;
    values
        .push(id_bytes(&dispatch.execution))?
        .push(i64::from(dispatch.attempt))?
        .push(report.version.as_ref().map(|digest| digest.as_bytes().as_slice()))?
        .push(report.host.as_str())?
        .push(report.outcome.as_str())?
        .push(report.message.as_deref())?
        .push(report.started_at.as_micros())?
        .push(report.finished_at.as_micros())?
        .push(convert::from_duration(report.queue_wait))?
        .push(convert::from_duration(report.run_time))?
        .push(convert::from_measure(report.fuel_used))?
        .push(convert::from_measure(report.peak_memory))?
        .push(convert::from_measure(report.log_lines_dropped))?
        .push(report.span.to_string())?
        .push(report.backtrace.as_deref())?
        .push(convert::from_logs(&finished.logs)?)?;
    Ok(())
}

/// Gives the last attempt of an execution a row of its own, if it has ended: another will follow.
pub(super) async fn set_apart(connection: &mut SqliteConnection, id: ExecutionId) -> Result<()> {
    for sql in SET_APART {
        sqlx::query(sql).bind(id_bytes(&id)).execute(&mut *connection).await.map_err(error::of)?;
    }
    Ok(())
}

/// Puts attempts in the outbox.
pub(super) async fn insert_outbox(
    connection: &mut SqliteConnection,
    entries: &[AttemptKey],
    made_at: Timestamp,
) -> Result<()> {
    let bind = |key: &AttemptKey, values: &mut Values| {
        values
            .push(id_bytes(&key.execution))?
            .push(i64::from(key.attempt))?
            .push(made_at.as_micros())
            .map(drop)
    };
    INSERT_OUTBOX.execute(connection, entries, bind).await
}

/// Puts what was dispatched in the outbox, where the execution is its own.
pub(super) async fn insert_outbox_of(
    connection: &mut SqliteConnection,
    dispatches: &[&Dispatch],
    made_at: Timestamp,
) -> Result<()> {
    let bind = |dispatch: &&Dispatch, values: &mut Values| {
        values
            .push(id_bytes(&dispatch.execution))?
            .push(i64::from(dispatch.attempt))?
            .push(made_at.as_micros())?;
        values.push(dispatch.tenant.as_str())?.push(dispatch.function.as_str()).map(drop)
    };
    INSERT_OUTBOX_OF.execute(connection, dispatches, bind).await
}
