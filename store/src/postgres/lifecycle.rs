//! Moves that are decided by the domain, one execution at a time: its row is read and held, and
//! what comes of it is written.

use std::collections::HashSet;

use sqlx::postgres::PgRow;
use wasmill_domain::{
    AttemptKey, Dispatch, Effects, ExecutionId, Lifecycle, Operation, Outcome, TenantName,
    Timestamp,
};

use super::columns::{Columns, get, id_of};
use super::early_rows;
use super::error::Result;
use super::history;
use super::partitions::share_old_days;
use super::queries::{self, count, text_if_any, time, time_if_any};
use super::session::Session;
use super::text::stored;
use crate::convert;
use crate::operate::{self, Row, WithEvent};
use crate::port::OperationResult;
use crate::quota::TenantQuota;

macro_rules! read {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant, state, epoch, attempt, max_attempts, outcome, message, queued_at, due_at, finished_at, held_by, reason, \
             changed_at, run_time_ns IS NOT NULL AS has_attempt, event_id <> '' AS has_event FROM executions WHERE ",
            $rest
        )
    };
}

const READ: &str = read!("id = $1 FOR UPDATE");

/// Those of some executions that were written before their events, in the order in which everybody
/// holds rows.
const WITHOUT_EVENT: &str = read!("id = ANY($1) AND event_id = '' ORDER BY id FOR UPDATE");

const DISPATCH: &str = "SELECT id, tenant, function, attempt, max_attempts, accepted_at, queued_at, traceparent, tracestate, parent, \
     event, epoch, root, origin_kind, origin FROM executions WHERE id = $1";

const WRITE: &str = "UPDATE executions SET state = $2, epoch = $3, attempt = $4, max_attempts = $5, outcome = $6, message = $7, \
     queued_at = $8, due_at = $9, finished_at = $10, held_by = $11, reason = $12, changed_at = $13 WHERE id = $1";

const ADD_EVENT: &str = "UPDATE executions SET tenant = $2, function = $3, event_type = $4, event_id = $5, event_source = $6, \
     parent = $7, traceparent = $8, tracestate = $9, accepted_at = $10, event = $11, root = $12, origin_kind = $13, origin = $14, \
     max_attempts = $15 WHERE id = $1";

/// What operations read of an execution, which is held; `None` where it has no row.
pub(super) async fn read(session: &mut Session<'_>, id: ExecutionId) -> Result<Option<Row>> {
    session.row_if_any(sqlx::query(READ).bind(id.0)).await?.as_ref().map(of_row).transpose()
}

fn of_row(row: &PgRow) -> Result<Row> {
    let (state, outcome, is_known) = operate::words(get(row, "state")?, get(row, "outcome")?);
    let lifecycle = Lifecycle {
        state,
        epoch: count(row, "epoch")?,
        attempt: count(row, "attempt")?,
        max_attempts: count(row, "max_attempts")?,
        outcome,
        message: text_if_any(row, "message")?,
        queued_at: time(row, "queued_at")?,
        due_at: time_if_any(row, "due_at")?,
        finished_at: time_if_any(row, "finished_at")?,
        held_by: text_if_any(row, "held_by")?,
        reason: text_if_any(row, "reason")?,
        changed_at: time_if_any(row, "changed_at")?,
        has_attempt: get(row, "has_attempt")?,
        has_event: get(row, "has_event")?,
    };
    Ok(Row { tenant: get(row, "tenant")?, lifecycle, is_known })
}

/// Writes the effects of an operation. Where it publishes, the outbox's entry counts as made at
/// `made_at`.
pub(super) async fn write(
    session: &mut Session<'_>,
    id: ExecutionId,
    effects: &Effects,
    made_at: Timestamp,
) -> Result<()> {
    let Effects { after, archives_attempt, publishes, deletes_row } = effects;
    if *deletes_row {
        return early_rows::delete(session, id).await;
    }
    if *archives_attempt {
        history::set_apart(session, id).await?;
    }
    let write = sqlx::query(WRITE)
        .bind(id.0)
        .bind(after.state.as_stored())
        .bind(i64::from(after.epoch))
        .bind(i64::from(after.attempt))
        .bind(i64::from(after.max_attempts))
        .bind(after.outcome.map(Outcome::as_str))
        .bind(after.message.as_deref().map(stored))
        .bind(after.queued_at.as_micros())
        .bind(after.due_at.map(Timestamp::as_micros))
        .bind(after.finished_at.map(Timestamp::as_micros))
        .bind(after.held_by.as_deref().map(stored))
        .bind(after.reason.as_deref().map(stored))
        .bind(after.changed_at.map(Timestamp::as_micros));
    session.execute(write).await?;
    if *publishes {
        let key = AttemptKey { execution: id, epoch: after.epoch, attempt: after.attempt };
        history::insert_outbox(session, &[key], made_at).await?;
    }
    Ok(())
}

/// An operator's operation. What it publishes counts as put into the outbox at `made_at`.
pub(super) async fn operate(
    session: &mut Session<'_>,
    quota: &TenantQuota,
    tenant: &TenantName,
    id: ExecutionId,
    operation: &Operation,
    made_at: Timestamp,
) -> Result<OperationResult> {
    share_old_days(session, std::iter::once(id)).await?;
    let row = match read(session, id).await? {
        Some(row) => row,
        None => {
            let row = operate::before_event(id, operation)?;
            if early_rows::insert(session, quota, tenant, id, &row, operation.at).await? {
                return Ok(operate::moved(&row, None));
            }
            // Somebody else has written it since: they were waited for.
            read(session, id).await?.ok_or_else(|| operate::not_found(id))?
        }
    };
    if !row.is_of(tenant) {
        return Err(operate::not_found(id).into());
    }
    let effects = row.operate(operation)?;
    write(session, id, &effects, made_at).await?;
    let to_publish = if effects.publishes { dispatch(session, id).await? } else { None };
    Ok(operate::moved(&effects.after, to_publish))
}

/// The attempt that an execution is at, as it is sent to a host; `None` where its row cannot be read
/// back: whoever publishes the outbox finds out.
async fn dispatch(session: &mut Session<'_>, id: ExecutionId) -> Result<Option<Dispatch>> {
    let row = session.row_if_any(sqlx::query(DISPATCH).bind(id.0)).await?;
    Ok(row.and_then(|row| queries::dispatch(&row).ok()))
}

/// Adds the events of dispatches to rows that were written before them, and gives the executions
/// whose rows were another tenant's and are their own now.
pub(super) async fn add_events(
    session: &mut Session<'_>,
    dispatches: &[&Dispatch],
) -> Result<HashSet<ExecutionId>> {
    let mut replaced = HashSet::new();
    if dispatches.is_empty() {
        return Ok(replaced);
    }
    let ids = Columns::default().add(dispatches.iter().map(|dispatch| dispatch.execution.0))?;
    for row in &session.rows(ids.of(WITHOUT_EVENT)).await? {
        let id = id_of(row, "id")?;
        let Some(dispatch) = dispatches.iter().find(|dispatch| dispatch.execution == id) else {
            continue;
        };
        let row = of_row(row)?;
        if !row.is_of(&dispatch.tenant) {
            replaced.insert(id);
        }
        let WithEvent { max_attempts, effects } = operate::with_event(&row, dispatch);
        add_event(session, dispatch, max_attempts).await?;
        early_rows::has_come(session, id).await?;
        if let Some(effects) = effects {
            write(session, id, &effects, Timestamp::now()).await?;
        }
    }
    Ok(replaced)
}

async fn add_event(
    session: &mut Session<'_>,
    dispatch: &Dispatch,
    max_attempts: u32,
) -> Result<()> {
    let add = sqlx::query(ADD_EVENT)
        .bind(dispatch.execution.0)
        .bind(dispatch.tenant.as_str())
        .bind(dispatch.function.as_str())
        .bind(dispatch.event.event_type.as_str())
        .bind(stored(&dispatch.event.id))
        .bind(stored(&dispatch.event.source))
        .bind(dispatch.parent().map(|parent| parent.0))
        .bind(dispatch.trace.to_string())
        .bind(dispatch.trace.tracestate.as_deref().map(stored))
        .bind(dispatch.accepted_at.as_micros())
        .bind(convert::from_event(&dispatch.event)?)
        .bind(convert::root(dispatch).map(|root| root.0))
        .bind(dispatch.origin.kind())
        .bind(convert::from_origin(&dispatch.origin)?)
        .bind(i64::from(max_attempts));
    session.execute(add).await.map(drop)
}
