//! The rows of executions and what belongs to them, written many at a time.

use std::collections::HashSet;

use wasmill_domain::{AttemptKey, Dispatch, ExecutionId, LogLine, Outcome, Timestamp};

use super::columns::{Columns, get, id_of, pieces};
use super::error::Result;
use super::session::Session;
use super::text::stored;
use crate::convert;
use crate::fence::{self, CurrentState, CurrentStates, RowChange};
use crate::port::Finished;

/// The columns of `executions` that a batch brings, in the order of its parameters, and the rows
/// that these make.
macro_rules! rows {
    () => {
        "(id, tenant, function, state, attempt, max_attempts, version, host, outcome, message, event_type, event_id, event_source, \
         parent, traceparent, tracestate, accepted_at, queued_at, due_at, started_at, finished_at, queue_wait_ns, run_time_ns, \
         fuel_used, peak_memory, log_lines_dropped, span, backtrace, logs, content_type, output, event, epoch, root, origin_kind, \
         origin) SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, \
         $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36)"
    };
}

/// The fence, in one statement for a whole batch: a row that is there is changed if it is of the
/// same tenant and function, and its attempt and its state allow it, in one step with looking; a
/// row that is not there is made; and where another transaction has the row, this waits for what it
/// makes of it. A retry names the next attempt already. The attempt that a cancellation has ended
/// is added to its row. It tells which rows it has written.
const REPORT: &str = concat!(
    "INSERT INTO executions AS e ",
    rows!(),
    " ON CONFLICT (id) DO UPDATE SET state = excluded.state, attempt = excluded.attempt, \
     version = coalesce(excluded.version, e.version), host = excluded.host, outcome = excluded.outcome, \
     message = excluded.message, due_at = excluded.due_at, started_at = excluded.started_at, finished_at = excluded.finished_at, \
     queue_wait_ns = excluded.queue_wait_ns, run_time_ns = excluded.run_time_ns, fuel_used = excluded.fuel_used, \
     peak_memory = excluded.peak_memory, log_lines_dropped = excluded.log_lines_dropped, span = excluded.span, \
     backtrace = excluded.backtrace, logs = excluded.logs, content_type = excluded.content_type, output = excluded.output \
     WHERE e.tenant = excluded.tenant AND e.function = excluded.function \
     AND e.attempt = excluded.attempt - (excluded.state = 'scheduled')::int \
     AND (e.epoch = excluded.epoch OR e.epoch = 0 OR excluded.epoch = 0) \
     AND (e.state IN ('queued', 'running') OR excluded.state = 'cancelled' AND e.state IN ('scheduled', 'suspended') \
     OR excluded.state = 'cancelled' AND excluded.outcome = 'cancelled' AND e.state = 'cancelled' AND e.run_time_ns IS NULL \
     AND e.epoch = excluded.epoch) RETURNING id"
);

/// The rows that are not there yet.
const ACCEPT: &str =
    concat!("INSERT INTO executions ", rows!(), " ON CONFLICT DO NOTHING RETURNING id");

const INSERT_ATTEMPTS: &str = "INSERT INTO attempts (execution_id, attempt, version, host, outcome, message, started_at, finished_at, \
     queue_wait_ns, run_time_ns, fuel_used, peak_memory, log_lines_dropped, span, backtrace, logs) \
     SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";

/// Sets the last attempt of an execution apart, because another will follow it.
const SET_APART: &str = "WITH last AS (UPDATE executions e SET queue_wait_ns = NULL, run_time_ns = NULL, fuel_used = NULL, \
     peak_memory = NULL, log_lines_dropped = NULL, span = NULL, backtrace = NULL, logs = NULL FROM executions old \
     WHERE e.id = $1 AND old.id = $1 AND e.run_time_ns IS NOT NULL RETURNING old.*) \
     INSERT INTO attempts (execution_id, attempt, version, host, outcome, message, started_at, finished_at, \
     queue_wait_ns, run_time_ns, fuel_used, peak_memory, log_lines_dropped, span, backtrace, logs) \
     SELECT id, attempt, version, host, outcome, message, started_at, finished_at, queue_wait_ns, run_time_ns, fuel_used, \
     peak_memory, log_lines_dropped, span, backtrace, logs FROM last";

const CURRENT_STATES: &str = "SELECT id, tenant, function, state, epoch, attempt, run_time_ns IS NOT NULL AS has_attempt, event_id <> '' AS has_event \
     FROM executions WHERE id = ANY($1)";

/// Entries of rows that are held, each execution once. One that is there is of the later epoch from
/// then on, and as young: whoever has begun that epoch publishes it first.
const INSERT_OUTBOX: &str = "INSERT INTO outbox (execution_id, attempt, epoch, made_at) SELECT *, $4 FROM unnest($1, $2, $3) \
     ON CONFLICT (execution_id, attempt) DO UPDATE SET epoch = excluded.epoch, made_at = excluded.made_at WHERE outbox.epoch < excluded.epoch";

/// Entries of rows that were there before, if a host could still run them and they are of who asks.
const INSERT_OUTBOX_IF_OPEN: &str = "INSERT INTO outbox (execution_id, attempt, epoch, made_at) SELECT new.id, new.attempt, e.epoch, $5 \
     FROM unnest($1, $2, $3, $4) AS new (id, attempt, tenant, function) JOIN executions e ON e.id = new.id \
     AND e.attempt = new.attempt AND e.tenant = new.tenant AND e.function = new.function \
     AND e.state IN ('queued', 'running') WHERE e.id = ANY($1) ORDER BY 1, 2 ON CONFLICT DO NOTHING";

/// About what a row takes beside its texts of any length, in bytes.
const ROW_BYTES: usize = 768;

/// About what a line of a log takes beside its texts, in bytes.
const LINE_BYTES: usize = 96;

/// Where executions stand; those without a row are left out.
pub(super) async fn current_states(
    session: &mut Session<'_>,
    ids: &[ExecutionId],
) -> Result<CurrentStates> {
    let mut current_states = CurrentStates::with_capacity(ids.len());
    for piece in pieces(ids, |_| size_of::<ExecutionId>()) {
        let columns = Columns::default().add(piece.iter().map(|id| id.0))?;
        let rows = session.rows(columns.of(CURRENT_STATES)).await?;
        for row in &rows {
            let tenant = convert::word("tenant", get(row, "tenant")?)?;
            let function = convert::word("function", get(row, "function")?)?;
            let state = fence::stored_state(get(row, "state")?);
            let epoch = convert::count("epoch", get(row, "epoch")?)?;
            let attempt = convert::count("attempt", get(row, "attempt")?)?;
            let (has_attempt, has_event) = (get(row, "has_attempt")?, get(row, "has_event")?);
            let current =
                CurrentState { tenant, function, state, epoch, attempt, has_attempt, has_event };
            current_states.insert(id_of(row, "id")?, current);
        }
    }
    Ok(current_states)
}

/// The rows that were written.
pub(super) type Written = HashSet<ExecutionId>;

/// Writes what reports make of their executions, where the fence lets them. No two may be of one
/// execution, and they must be in the order of their ids.
pub(super) async fn report(
    session: &mut Session<'_>,
    changes: &[RowChange<'_>],
) -> Result<Written> {
    write(session, REPORT, changes).await
}

/// Writes rows of accepted executions that have none.
pub(super) async fn accept(
    session: &mut Session<'_>,
    changes: &[RowChange<'_>],
) -> Result<Written> {
    write(session, ACCEPT, changes).await
}

async fn write(
    session: &mut Session<'_>,
    sql: &'static str,
    changes: &[RowChange<'_>],
) -> Result<Written> {
    let mut written = Written::with_capacity(changes.len());
    for piece in pieces(changes, row_size) {
        for row in &session.rows(executions(piece)?.of(sql)).await? {
            written.insert(id_of(row, "id")?);
        }
    }
    Ok(written)
}

/// About what a row takes, in bytes.
fn row_size(change: &RowChange<'_>) -> usize {
    let data = change.dispatch.event.data.as_ref().map_or(0, |data| data.len() * 4 / 3);
    let output = change
        .last
        .and_then(|last| last.report.output.as_ref())
        .map_or(0, |output| output.data.len());
    ROW_BYTES
        + data
        + output
        + change.message.map_or(0, str::len)
        + change.last.map_or(0, rest_size)
}

/// About what the log and the backtrace of an attempt take, in bytes.
fn rest_size(finished: &Finished) -> usize {
    let line = |line: &LogLine| {
        LINE_BYTES + line.message.len() + line.fields.as_ref().map_or(0, String::len)
    };
    finished.logs.iter().map(line).sum::<usize>()
        + finished.report.backtrace.as_ref().map_or(0, String::len)
}

/// The columns of rows of executions.
fn executions(changes: &[RowChange<'_>]) -> Result<Columns> {
    let dispatches = || changes.iter().map(|change| change.dispatch);
    let events = || dispatches().map(|dispatch| &*dispatch.event);
    let reports = || changes.iter().map(|change| change.last.map(|last| &last.report));
    let outputs = || reports().map(|report| report.and_then(|r| r.output.as_ref()));
    let logs = changes
        .iter()
        .map(|change| change.last.map_or(Ok(None), |last| convert::from_logs(&last.logs)));
    let logs: Vec<Option<String>> = logs.collect::<crate::Result<_>>()?;
    let origins: Vec<Option<String>> = dispatches()
        .map(|dispatch| convert::from_origin(&dispatch.origin))
        .collect::<crate::Result<_>>()?;
    let json: Vec<String> =
        events().map(|event| convert::from_event(event)).collect::<crate::Result<_>>()?;
    Columns::default()
        .add(dispatches().map(|d| d.execution.0))?
        .add(dispatches().map(|d| d.tenant.as_str()))?
        .add(dispatches().map(|d| d.function.as_str()))?
        .add(changes.iter().map(|change| change.state.as_stored()))?
        .add(changes.iter().map(|change| i64::from(change.attempt)))?
        .add(dispatches().map(|d| i64::from(d.max_attempts)))?
        .add(
            changes
                .iter()
                .map(|change| change.version.as_ref().map(|digest| digest.as_bytes().as_slice())),
        )?
        .add(changes.iter().map(|change| change.host.map(stored)))?
        .add(changes.iter().map(|change| change.outcome.map(Outcome::as_str)))?
        .add(changes.iter().map(|change| change.message.map(stored)))?
        .add(events().map(|event| event.event_type.as_str()))?
        .add(events().map(|event| stored(&event.id)))?
        .add(events().map(|event| stored(&event.source)))?
        .add(dispatches().map(|d| d.parent().map(|parent| parent.0)))?
        .add(dispatches().map(|d| d.trace.to_string()))?
        .add(dispatches().map(|d| d.trace.tracestate.as_deref().map(stored)))?
        .add(dispatches().map(|d| d.accepted_at.as_micros()))?
        .add(dispatches().map(|d| d.queued_at.as_micros()))?
        .add(changes.iter().map(|change| change.due_at.map(Timestamp::as_micros)))?
        .add(changes.iter().map(|change| change.started_at.map(Timestamp::as_micros)))?
        .add(changes.iter().map(|change| change.finished_at.map(Timestamp::as_micros)))?
        .add(reports().map(|report| report.map(|r| convert::from_duration(r.queue_wait))))?
        .add(reports().map(|report| report.map(|r| convert::from_duration(r.run_time))))?
        .add(reports().map(|report| report.map(|r| convert::from_measure(r.fuel_used))))?
        .add(reports().map(|report| report.map(|r| convert::from_measure(r.peak_memory))))?
        .add(reports().map(|report| report.map(|r| convert::from_measure(r.log_lines_dropped))))?
        .add(reports().map(|report| report.map(|r| r.span.to_string())))?
        .add(reports().map(|report| report.and_then(|r| r.backtrace.as_deref().map(stored))))?
        .add(logs.iter().map(Option::as_deref))?
        .add(outputs().map(|output| output.map(|o| stored(&o.content_type))))?
        .add(outputs().map(|output| output.map(|o| o.data.as_ref())))?
        .add(json.iter())?
        .add(dispatches().map(|d| i64::from(d.epoch)))?
        .add(dispatches().map(|d| convert::root(d).map(|root| root.0)))?
        .add(dispatches().map(|d| d.origin.kind()))?
        .add(origins.iter().map(Option::as_deref))
}

/// Writes attempts that ended and that another follows.
pub(super) async fn insert_attempts(
    session: &mut Session<'_>,
    finished: &[&Finished],
) -> Result<()> {
    let size = |entry: &&Finished| {
        ROW_BYTES + entry.report.message.as_ref().map_or(0, String::len) + rest_size(entry)
    };
    for piece in pieces(finished, size) {
        session.execute(attempts(piece)?.of(INSERT_ATTEMPTS)).await?;
    }
    Ok(())
}

fn attempts(finished: &[&Finished]) -> Result<Columns> {
    let reports = || finished.iter().map(|entry| &entry.report);
    let logs = finished.iter().map(|entry| convert::from_logs(&entry.logs));
    let logs: Vec<Option<String>> = logs.collect::<crate::Result<_>>()?;
    Columns::default()
        .add(finished.iter().map(|entry| entry.dispatch.execution.0))?
        .add(finished.iter().map(|entry| i64::from(entry.dispatch.attempt)))?
        .add(reports().map(|r| r.version.as_ref().map(|digest| digest.as_bytes().as_slice())))?
        .add(reports().map(|r| stored(&r.host)))?
        .add(reports().map(|r| r.outcome.as_str()))?
        .add(reports().map(|r| r.message.as_deref().map(stored)))?
        .add(reports().map(|r| r.started_at.as_micros()))?
        .add(reports().map(|r| r.finished_at.as_micros()))?
        .add(reports().map(|r| convert::from_duration(r.queue_wait)))?
        .add(reports().map(|r| convert::from_duration(r.run_time)))?
        .add(reports().map(|r| convert::from_measure(r.fuel_used)))?
        .add(reports().map(|r| convert::from_measure(r.peak_memory)))?
        .add(reports().map(|r| convert::from_measure(r.log_lines_dropped)))?
        .add(reports().map(|r| r.span.to_string()))?
        .add(reports().map(|r| r.backtrace.as_deref().map(stored)))?
        .add(logs.iter().map(Option::as_deref))
}

/// Gives the last attempt of an execution a row of its own, if it has ended: another will follow.
pub(super) async fn set_apart(session: &mut Session<'_>, id: ExecutionId) -> Result<()> {
    session.execute(sqlx::query(SET_APART).bind(id.0)).await.map(drop)
}

/// Three columns: ids, attempts and epochs.
pub(super) fn entries(entries: &[AttemptKey]) -> Result<Columns> {
    Columns::default()
        .add(entries.iter().map(|key| key.execution.0))?
        .add(entries.iter().map(|key| i64::from(key.attempt)))?
        .add(entries.iter().map(|key| i64::from(key.epoch)))
}

/// Puts attempts in the outbox that are queued for sure.
pub(super) async fn insert_outbox(
    session: &mut Session<'_>,
    queued: &[AttemptKey],
    made_at: Timestamp,
) -> Result<()> {
    for piece in pieces(queued, |_| size_of::<AttemptKey>()) {
        session.execute(entries(piece)?.of(INSERT_OUTBOX).bind(made_at.as_micros())).await?;
    }
    Ok(())
}

/// Puts attempts in the outbox, those that a host could still run.
pub(super) async fn insert_outbox_if_open(
    session: &mut Session<'_>,
    any: &[&Dispatch],
    made_at: Timestamp,
) -> Result<()> {
    for piece in pieces(any, |_| size_of::<Dispatch>()) {
        let columns = Columns::default()
            .add(piece.iter().map(|dispatch| dispatch.execution.0))?
            .add(piece.iter().map(|dispatch| i64::from(dispatch.attempt)))?
            .add(piece.iter().map(|dispatch| dispatch.tenant.as_str()))?
            .add(piece.iter().map(|dispatch| dispatch.function.as_str()))?;
        session.execute(columns.of(INSERT_OUTBOX_IF_OPEN).bind(made_at.as_micros())).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wasmill_domain::{State, Transition};

    use super::*;

    /// What the statement says is what the domain's table says.
    #[test]
    fn the_fence_is_the_table_of_transitions() {
        let states = |wanted: &dyn Fn(&State) -> bool| {
            let words: Vec<String> =
                [State::Queued, State::Running, State::Delayed, State::Suspended]
                    .iter()
                    .filter(|s| wanted(s))
                    .map(|s| format!("'{}'", s.as_stored()))
                    .collect();
            format!("({})", words.join(", "))
        };
        let may = |state: &State, what: Transition| state.after(what).is_ok();
        for what in [Transition::Start, Transition::Succeed, Transition::Fail, Transition::Retry] {
            assert!(what.sources().all(|state| !state.is_terminal()));
            assert!(
                REPORT.contains(&format!("e.state IN {} OR", states(&|state| may(state, what)))),
                "{what}"
            );
        }
        assert!(Transition::Cancel.sources().all(|state| !state.is_terminal()));
        let others =
            states(&|state| may(state, Transition::Cancel) && !may(state, Transition::Fail));
        let cancelled = format!("excluded.state = 'cancelled' AND e.state IN {others} OR");
        assert!(REPORT.contains(&cancelled));
    }
}
