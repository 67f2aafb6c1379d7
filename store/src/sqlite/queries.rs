//! What is read of executions.

use std::sync::Arc;
use std::time::Duration;

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Decode, QueryBuilder, Row as _, Sqlite, Type};
use wasmill_domain::{
    AttemptReport, Digest, Dispatch, ExecutionId, Origin, Outcome, Output, State, TenantName,
    Timestamp,
};

use super::error;
use super::history::{id_bytes, id_of};
use crate::convert::{self, TriggerRow};
use crate::port::{
    ExecutionDetail, ExecutionQuery, ExecutionSummary, ListedExecution, LogEntry, LogPosition,
    Result, UnreadableExecution,
};

const SUMMARY_COLUMNS: &str = "id, tenant, function, state, epoch, attempt, max_attempts, root, origin_kind, origin, version, outcome, message, event_type, event_id, \
                               event_source, parent, trace_id, accepted_at, due_at, started_at, finished_at, changed_at, held_by, reason";

/// The columns that an attempt has beside those of its execution's summary.
const LAST_COLUMNS: &str =
    "host, queue_wait_ns, run_time_ns, fuel_used, peak_memory, log_lines_dropped, span, backtrace";

/// An id is made when its event is accepted, by the same process: the two times differ by no more
/// than this. It lets a time's bound cut the index short.
const ID_SLACK: Duration = Duration::from_secs(60);

/// The most children of one execution that are listed. (An attempt emits at most 1,000 events.)
const MAX_CHILDREN: i64 = 10_000;

/// A column's value.
pub(super) fn get<'r, T: Decode<'r, Sqlite> + Type<Sqlite>>(
    row: &'r SqliteRow,
    column: &str,
) -> Result<T> {
    row.try_get(column).map_err(error::of)
}

/// A time's column.
pub(super) fn time(row: &SqliteRow, column: &str) -> Result<Timestamp> {
    get(row, column).map(Timestamp::from_micros)
}

/// A time's column that may be empty.
pub(super) fn time_opt(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>> {
    Ok(get::<Option<i64>>(row, column)?.map(Timestamp::from_micros))
}

fn digest_opt(row: &SqliteRow, column: &str) -> Result<Option<Digest>> {
    get::<Option<&[u8]>>(row, column)?.map(|bytes| convert::digest(column, bytes)).transpose()
}

/// A column that holds a word or a name.
pub(super) fn word<T: std::str::FromStr<Err: std::fmt::Display>>(
    row: &SqliteRow,
    column: &str,
) -> Result<T> {
    convert::word(column, get(row, column)?)
}

pub(super) async fn executions(
    connection: &mut SqliteConnection,
    query: &ExecutionQuery,
) -> Result<Vec<ListedExecution>> {
    let mut sql = QueryBuilder::<Sqlite>::new(format!(
        "SELECT {SUMMARY_COLUMNS} FROM executions WHERE tenant = "
    ));
    sql.push_bind(query.tenant.as_str());
    let words = [
        ("function", query.function.as_deref()),
        ("state", query.state.map(State::as_stored)),
        ("outcome", query.outcome.map(Outcome::as_str)),
        ("event_type", query.event_type.as_deref()),
        ("event_id", query.event_id.as_deref()),
    ];
    for (column, wanted) in words {
        if let Some(wanted) = wanted {
            sql.push(format_args!(" AND {column} = ")).push_bind(wanted);
        }
    }
    if let Some(since) = query.since {
        sql.push(" AND accepted_at >= ").push_bind(since.as_micros());
        sql.push(" AND id >= ").push_bind(first_id(since.minus(ID_SLACK)));
    }
    if let Some(until) = query.until {
        sql.push(" AND accepted_at < ").push_bind(until.as_micros());
        sql.push(" AND id < ").push_bind(first_id(until.plus(ID_SLACK)));
    }
    if let Some(before) = query.before {
        sql.push(" AND id < ").push_bind(id_bytes(&before).to_vec());
    }
    sql.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(query.limit));
    let rows = sql.build().fetch_all(connection).await.map_err(error::of)?;
    rows.iter().map(listed).collect()
}

fn first_id(time: Timestamp) -> Vec<u8> {
    id_bytes(&convert::first_id_at(time)).to_vec()
}

/// One row that cannot be read does not fail the others.
fn listed(row: &SqliteRow) -> Result<ListedExecution> {
    let id = id_of(row, "id")?;
    Ok(summary(row).map_err(|why| UnreadableExecution { id, why: why.to_string() }))
}

fn summary(row: &SqliteRow) -> Result<ExecutionSummary> {
    Ok(ExecutionSummary {
        id: id_of(row, "id")?,
        tenant: word(row, "tenant")?,
        function: word(row, "function")?,
        state: word(row, "state")?,
        epoch: convert::count("epoch", get(row, "epoch")?)?,
        attempt: convert::count("attempt", get(row, "attempt")?)?,
        max_attempts: convert::count("max_attempts", get(row, "max_attempts")?)?,
        version: digest_opt(row, "version")?,
        outcome: get::<Option<&str>>(row, "outcome")?
            .map(|text| convert::word("outcome", text))
            .transpose()?,
        message: get(row, "message")?,
        event_type: word(row, "event_type")?,
        event_id: get(row, "event_id")?,
        event_source: get(row, "event_source")?,
        origin: origin(row)?,
        root: root(row)?,
        trace_id: get(row, "trace_id")?,
        accepted_at: time(row, "accepted_at")?,
        due_at: time_opt(row, "due_at")?,
        started_at: time_opt(row, "started_at")?,
        finished_at: time_opt(row, "finished_at")?,
        changed_at: time_opt(row, "changed_at")?,
        held_by: get(row, "held_by")?,
        reason: get(row, "reason")?,
    })
}

pub(super) async fn execution(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    id: ExecutionId,
) -> Result<Option<ExecutionDetail>> {
    let sql = format!(
        "SELECT {SUMMARY_COLUMNS}, {LAST_COLUMNS}, tracestate, content_type, output, event FROM executions WHERE id = ? AND tenant = ?"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(id_bytes(&id))
        .bind(tenant.as_str())
        .fetch_optional(&mut *connection)
        .await
        .map_err(error::of)?;
    let Some(row) = row else { return Ok(None) };
    let earlier = format!(
        "SELECT attempt, version, outcome, message, started_at, finished_at, {LAST_COLUMNS}, ?2 AS tracestate FROM attempts \
         WHERE execution_id = ?1 ORDER BY attempt"
    );
    let earlier = sqlx::query(sqlx::AssertSqlSafe(earlier))
        .bind(id_bytes(&id))
        .bind(get::<Option<&str>>(&row, "tracestate")?)
        .fetch_all(&mut *connection)
        .await
        .map_err(error::of)?;
    let mut attempts: Vec<_> = earlier.iter().map(attempt).collect::<Result<_>>()?;
    if get::<Option<&str>>(&row, "span")?.is_some() {
        attempts.push(attempt(&row)?);
    }
    let children = sqlx::query("SELECT id FROM executions WHERE parent = ? ORDER BY id LIMIT ?")
        .bind(id_bytes(&id))
        .bind(MAX_CHILDREN)
        .fetch_all(connection)
        .await
        .map_err(error::of)?;
    Ok(Some(ExecutionDetail {
        summary: summary(&row)?,
        event: convert::event_if_any(get(&row, "event_id")?, get(&row, "event")?),
        output: output(&row)?,
        attempts,
        children: children.iter().map(|row| id_of(row, "id")).collect::<Result<_>>()?,
    }))
}

fn output(row: &SqliteRow) -> Result<Option<Output>> {
    let Some(data) = get::<Option<Vec<u8>>>(row, "output")? else { return Ok(None) };
    Ok(Some(Output { content_type: get(row, "content_type")?, data: data.into() }))
}

fn attempt(row: &SqliteRow) -> Result<(u32, AttemptReport)> {
    let measure = |column: &str| convert::measure(column, get(row, column)?);
    let duration = |column: &str| convert::duration(column, get(row, column)?);
    let span = convert::trace(get(row, "span")?, get(row, "tracestate")?)?;
    let host: String = get(row, "host")?;
    let report = AttemptReport {
        version: digest_opt(row, "version")?,
        message: get(row, "message")?,
        backtrace: get(row, "backtrace")?,
        started_at: time(row, "started_at")?,
        finished_at: time(row, "finished_at")?,
        queue_wait: duration("queue_wait_ns")?,
        run_time: duration("run_time_ns")?,
        fuel_used: measure("fuel_used")?,
        peak_memory: measure("peak_memory")?,
        log_lines_dropped: measure("log_lines_dropped")?,
        ..AttemptReport::new(host, word(row, "outcome")?, span)
    };
    Ok((convert::count("attempt", get(row, "attempt")?)?, report))
}

pub(super) async fn logs(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    id: ExecutionId,
    after: Option<LogPosition>,
    limit: u32,
) -> Result<Vec<LogEntry>> {
    let first = after.map_or(0, |position| i64::from(position.attempt));
    let rows = sqlx::query(
        "SELECT a.attempt, a.logs FROM attempts a JOIN executions e ON e.id = ?1 AND e.tenant = ?2 \
         WHERE a.execution_id = ?1 AND a.attempt >= ?3 AND a.logs IS NOT NULL \
         UNION ALL SELECT attempt, logs FROM executions WHERE id = ?1 AND tenant = ?2 AND attempt >= ?3 AND logs IS NOT NULL \
         ORDER BY attempt",
    )
    .bind(id_bytes(&id))
    .bind(tenant.as_str())
    .bind(first)
    .fetch_all(connection)
    .await
    .map_err(error::of)?;
    let mut page = Vec::new();
    for row in &rows {
        let attempt = convert::count("attempt", get(row, "attempt")?)?;
        convert::add_to_page(&mut page, attempt, get(row, "logs")?, after, limit as usize)?;
    }
    Ok(page)
}

/// What is sent to a host, from a row of `executions` joined with its event.
pub(super) fn dispatch(row: &SqliteRow) -> Result<Dispatch> {
    let trace = convert::trace(get(row, "traceparent")?, get(row, "tracestate")?)?;
    let event = Arc::new(convert::event(get(row, "event")?)?);
    let dispatch = Dispatch::new(word(row, "tenant")?, word(row, "function")?, trace, event)
        .with_execution(id_of(row, "id")?)
        .with_attempt(
            convert::count("attempt", get(row, "attempt")?)?,
            convert::count("max_attempts", get(row, "max_attempts")?)?,
        )
        .with_accepted_at(time(row, "accepted_at")?);
    Ok(Dispatch {
        epoch: convert::count("epoch", get(row, "epoch")?)?,
        queued_at: time(row, "queued_at")?,
        origin: origin(row)?,
        root: root(row)?,
        ..dispatch
    })
}

fn origin(row: &SqliteRow) -> Result<Origin> {
    Ok(convert::origin(get(row, "origin_kind")?, get(row, "origin")?, parent(row)?))
}

/// The first execution of the chain. The release before knew but the one that emitted the event.
fn root(row: &SqliteRow) -> Result<ExecutionId> {
    match (get::<Option<uuid::Uuid>>(row, "root")?.map(ExecutionId), parent(row)?) {
        (Some(root), _) | (None, Some(root)) => Ok(root),
        (None, None) => id_of(row, "id"),
    }
}

fn parent(row: &SqliteRow) -> Result<Option<ExecutionId>> {
    Ok(get::<Option<uuid::Uuid>>(row, "parent")?.map(ExecutionId))
}

/// What a row of a trigger has.
pub(super) fn trigger_row(row: &SqliteRow) -> Result<TriggerRow> {
    Ok(TriggerRow {
        event: get(row, "event")?,
        http: get(row, "http")?,
        schema: get(row, "schema")?,
    })
}

/// Runs a statement and gives how many rows it changed.
pub(super) async fn run(
    connection: &mut SqliteConnection,
    query: Query<'_, Sqlite, SqliteArguments>,
) -> Result<u64> {
    query.execute(connection).await.map(|done| done.rows_affected()).map_err(error::of)
}
