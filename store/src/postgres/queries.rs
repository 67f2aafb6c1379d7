//! What is read of executions.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;
use wasmill_domain::{
    AttemptReport, Digest, Dispatch, ExecutionId, Origin, Outcome, Output, State, TenantName,
    Timestamp,
};

use super::columns::{get, id_of};
use super::error::{Fault, Result};
use super::session::Session;
use super::text::{loaded, stored};
use crate::convert::{self, TriggerRow};
use crate::port::{
    ExecutionDetail, ExecutionQuery, ExecutionSummary, ListedExecution, LogEntry, LogPosition,
    UnreadableExecution,
};

const SUMMARY_COLUMNS: &str = "id, tenant, function, state, epoch, attempt, max_attempts, root, origin_kind, origin, version, outcome, message, event_type, event_id, \
                               event_source, parent, substr(traceparent, 4, 32) AS trace_id, accepted_at, due_at, started_at, \
                               finished_at, changed_at, held_by, reason";

/// The columns that an attempt has beside those of its execution's summary.
const LAST_COLUMNS: &str =
    "host, queue_wait_ns, run_time_ns, fuel_used, peak_memory, log_lines_dropped, span, backtrace";

/// An id is made when its event is accepted, by the same process: the two times differ by no more
/// than this. It lets a time's bound leave out the other days.
pub(super) const ID_SLACK: Duration = Duration::from_secs(60);

/// The most children of one execution that are listed. (An attempt emits at most 1,000 events.)
const MAX_CHILDREN: i64 = 10_000;

/// A time's column.
pub(super) fn time(row: &PgRow, column: &str) -> Result<Timestamp> {
    get(row, column).map(Timestamp::from_micros)
}

/// A time's column that may be empty.
pub(super) fn time_if_any(row: &PgRow, column: &str) -> Result<Option<Timestamp>> {
    Ok(get::<Option<i64>>(row, column)?.map(Timestamp::from_micros))
}

fn digest_if_any(row: &PgRow, column: &str) -> Result<Option<Digest>> {
    Ok(get::<Option<&[u8]>>(row, column)?
        .map(|bytes| convert::digest(column, bytes))
        .transpose()?)
}

/// A column that holds a word or a name.
pub(super) fn word<T: FromStr<Err: Display>>(row: &PgRow, column: &str) -> Result<T> {
    Ok(convert::word(column, get(row, column)?)?)
}

/// A column that holds any text.
pub(super) fn text(row: &PgRow, column: &str) -> Result<String> {
    get(row, column).map(loaded)
}

/// A text's column that may be empty.
pub(super) fn text_if_any(row: &PgRow, column: &str) -> Result<Option<String>> {
    Ok(get::<Option<&str>>(row, column)?.map(loaded))
}

/// A column that holds a number of 32 bits.
pub(super) fn count(row: &PgRow, column: &str) -> Result<u32> {
    Ok(convert::count(column, get(row, column)?)?)
}

pub(super) async fn executions(
    session: &mut Session<'_>,
    query: &ExecutionQuery,
) -> Result<Vec<ListedExecution>> {
    let mut sql = QueryBuilder::<Postgres>::new(format!(
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
            sql.push(format_args!(" AND {column} = ")).push_bind(stored(wanted));
        }
    }
    if let Some(since) = query.since {
        sql.push(" AND accepted_at >= ").push_bind(since.as_micros());
        sql.push(" AND id >= ").push_bind(convert::first_id_at(since.minus(ID_SLACK)).0);
    }
    if let Some(until) = query.until {
        sql.push(" AND accepted_at < ").push_bind(until.as_micros());
        sql.push(" AND id < ").push_bind(convert::first_id_at(until.plus(ID_SLACK)).0);
    }
    if let Some(before) = query.before {
        sql.push(" AND id < ").push_bind(before.0);
    }
    sql.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(query.limit));
    session.rows_once(sql.build()).await?.iter().map(listed).collect()
}

/// One row that cannot be read does not fail the others.
fn listed(row: &PgRow) -> Result<ListedExecution> {
    let id = id_of(row, "id")?;
    Ok(summary(row)
        .map_err(|why| UnreadableExecution { id, why: Fault::into_error(why).to_string() }))
}

fn summary(row: &PgRow) -> Result<ExecutionSummary> {
    Ok(ExecutionSummary {
        id: id_of(row, "id")?,
        tenant: word(row, "tenant")?,
        function: word(row, "function")?,
        state: word(row, "state")?,
        epoch: count(row, "epoch")?,
        attempt: count(row, "attempt")?,
        max_attempts: count(row, "max_attempts")?,
        version: digest_if_any(row, "version")?,
        outcome: get::<Option<&str>>(row, "outcome")?
            .map(|text| convert::word("outcome", text))
            .transpose()?,
        message: text_if_any(row, "message")?,
        event_type: word(row, "event_type")?,
        event_id: text(row, "event_id")?,
        event_source: text(row, "event_source")?,
        origin: origin(row)?,
        root: root(row)?,
        trace_id: get(row, "trace_id")?,
        accepted_at: time(row, "accepted_at")?,
        due_at: time_if_any(row, "due_at")?,
        started_at: time_if_any(row, "started_at")?,
        finished_at: time_if_any(row, "finished_at")?,
        changed_at: time_if_any(row, "changed_at")?,
        held_by: text_if_any(row, "held_by")?,
        reason: text_if_any(row, "reason")?,
    })
}

pub(super) async fn execution(
    session: &mut Session<'_>,
    tenant: &TenantName,
    id: ExecutionId,
) -> Result<Option<ExecutionDetail>> {
    let sql = format!(
        "SELECT {SUMMARY_COLUMNS}, {LAST_COLUMNS}, tracestate, content_type, output, event FROM executions \
         WHERE id = $1 AND tenant = $2"
    );
    let one = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id.0).bind(tenant.as_str());
    let Some(row) = session.row_if_any(one).await? else { return Ok(None) };
    let mut attempts = Vec::new();
    if count(&row, "attempt")? > 1 {
        let earlier = format!(
            "SELECT attempt, version, outcome, message, started_at, finished_at, {LAST_COLUMNS}, $2::text AS tracestate \
             FROM attempts WHERE execution_id = $1 ORDER BY attempt"
        );
        let earlier = sqlx::query(sqlx::AssertSqlSafe(earlier))
            .bind(id.0)
            .bind(get::<Option<&str>>(&row, "tracestate")?);
        attempts = session.rows(earlier).await?.iter().map(attempt).collect::<Result<_>>()?;
    }
    if get::<Option<&str>>(&row, "span")?.is_some() {
        attempts.push(attempt(&row)?);
    }
    let children = sqlx::query("SELECT id FROM executions WHERE parent = $1 ORDER BY id LIMIT $2");
    let children = session.rows(children.bind(id.0).bind(MAX_CHILDREN)).await?;
    Ok(Some(ExecutionDetail {
        summary: summary(&row)?,
        event: convert::event_if_any(get(&row, "event_id")?, get(&row, "event")?),
        output: output(&row)?,
        attempts,
        children: children.iter().map(|row| id_of(row, "id")).collect::<Result<_>>()?,
    }))
}

fn output(row: &PgRow) -> Result<Option<Output>> {
    let Some(data) = get::<Option<Vec<u8>>>(row, "output")? else { return Ok(None) };
    Ok(Some(Output { content_type: text(row, "content_type")?, data: data.into() }))
}

fn attempt(row: &PgRow) -> Result<(u32, AttemptReport)> {
    let measure =
        |column: &str| -> Result<u64> { Ok(convert::measure(column, get(row, column)?)?) };
    let duration =
        |column: &str| -> Result<Duration> { Ok(convert::duration(column, get(row, column)?)?) };
    let tracestate = text_if_any(row, "tracestate")?;
    let span = convert::trace(get(row, "span")?, tracestate.as_deref())?;
    let report = AttemptReport {
        version: digest_if_any(row, "version")?,
        message: text_if_any(row, "message")?,
        backtrace: text_if_any(row, "backtrace")?,
        started_at: time(row, "started_at")?,
        finished_at: time(row, "finished_at")?,
        queue_wait: duration("queue_wait_ns")?,
        run_time: duration("run_time_ns")?,
        fuel_used: measure("fuel_used")?,
        peak_memory: measure("peak_memory")?,
        log_lines_dropped: measure("log_lines_dropped")?,
        ..AttemptReport::new(text(row, "host")?, word(row, "outcome")?, span)
    };
    Ok((count(row, "attempt")?, report))
}

pub(super) async fn logs(
    session: &mut Session<'_>,
    tenant: &TenantName,
    id: ExecutionId,
    after: Option<LogPosition>,
    limit: u32,
) -> Result<Vec<LogEntry>> {
    let first = after.map_or(0, |position| i64::from(position.attempt));
    let logs = sqlx::query(
        "SELECT a.attempt, a.logs FROM attempts a JOIN executions e ON e.id = $1 AND e.tenant = $2 \
         WHERE a.execution_id = $1 AND a.attempt >= $3 AND a.logs IS NOT NULL \
         UNION ALL SELECT attempt, logs FROM executions WHERE id = $1 AND tenant = $2 AND attempt >= $3 AND logs IS NOT NULL \
         ORDER BY attempt",
    );
    let mut page = Vec::new();
    for row in &session.rows(logs.bind(id.0).bind(tenant.as_str()).bind(first)).await? {
        convert::add_to_page(
            &mut page,
            count(row, "attempt")?,
            get(row, "logs")?,
            after,
            limit as usize,
        )?;
    }
    Ok(page)
}

/// What is sent to a host, from a row of `executions` joined with its event.
pub(super) fn dispatch(row: &PgRow) -> Result<Dispatch> {
    let tracestate = text_if_any(row, "tracestate")?;
    let trace = convert::trace(get(row, "traceparent")?, tracestate.as_deref())?;
    let event = Arc::new(convert::event(get(row, "event")?)?);
    let dispatch = Dispatch::new(word(row, "tenant")?, word(row, "function")?, trace, event)
        .with_execution(id_of(row, "id")?)
        .with_attempt(count(row, "attempt")?, count(row, "max_attempts")?)
        .with_accepted_at(time(row, "accepted_at")?);
    Ok(Dispatch {
        epoch: count(row, "epoch")?,
        queued_at: time(row, "queued_at")?,
        origin: origin(row)?,
        root: root(row)?,
        ..dispatch
    })
}

fn origin(row: &PgRow) -> Result<Origin> {
    Ok(convert::origin(get(row, "origin_kind")?, get(row, "origin")?, parent(row)?))
}

/// The first execution of the chain. The release before knew but the one that emitted the event.
fn root(row: &PgRow) -> Result<ExecutionId> {
    match (get::<Option<Uuid>>(row, "root")?.map(ExecutionId), parent(row)?) {
        (Some(root), _) | (None, Some(root)) => Ok(root),
        (None, None) => id_of(row, "id"),
    }
}

fn parent(row: &PgRow) -> Result<Option<ExecutionId>> {
    Ok(get::<Option<Uuid>>(row, "parent")?.map(ExecutionId))
}

/// What a row of a trigger has.
pub(super) fn trigger_row(row: &PgRow) -> Result<TriggerRow> {
    Ok(TriggerRow {
        event: get(row, "event")?,
        http: get(row, "http")?,
        schema: get(row, "schema")?,
    })
}

/// A digest's column.
pub(super) fn digest(row: &PgRow, column: &str) -> Result<Digest> {
    Ok(convert::digest(column, get(row, column)?)?)
}
