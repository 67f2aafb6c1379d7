//! Moves that are decided by the domain, one execution at a time: its row is read, and what comes
//! of it is written.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use wasmill_domain::{
    AttemptKey, Dispatch, Effects, ExecutionId, Lifecycle, Operation, Outcome, TenantName,
    Timestamp,
};

use super::early_rows;
use super::error;
use super::history::{self, id_bytes};
use super::queries::{self, get, time, time_opt};
use crate::convert;
use crate::fence::CurrentStates;
use crate::operate::{self, Row, WithEvent};
use crate::port::{OperationResult, Result};
use crate::quota::TenantQuota;

const READ: &str = "SELECT tenant, state, epoch, attempt, max_attempts, outcome, message, queued_at, due_at, finished_at, held_by, \
     reason, changed_at, run_time_ns IS NOT NULL AS has_attempt, event_id <> '' AS has_event FROM executions WHERE id = ?";

const DISPATCH: &str = "SELECT id, tenant, function, attempt, max_attempts, accepted_at, queued_at, traceparent, tracestate, parent, \
     event, epoch, root, origin_kind, origin FROM executions WHERE id = ?";

const WRITE: &str = "UPDATE executions SET state = ?2, epoch = ?3, attempt = ?4, max_attempts = ?5, outcome = ?6, message = ?7, \
     queued_at = ?8, due_at = ?9, finished_at = ?10, held_by = ?11, reason = ?12, changed_at = ?13 WHERE id = ?1";

const ADD_EVENT: &str = "UPDATE executions SET tenant = ?2, function = ?3, event_type = ?4, event_id = ?5, event_source = ?6, \
     parent = ?7, traceparent = ?8, tracestate = ?9, accepted_at = ?10, event = ?11, root = ?12, origin_kind = ?13, origin = ?14, \
     max_attempts = ?15 WHERE id = ?1";

/// What operations read of an execution; `None` where it has no row.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    id: ExecutionId,
) -> Result<Option<Row>> {
    let row = sqlx::query(READ).bind(id_bytes(&id)).fetch_optional(connection).await;
    row.map_err(error::of)?.as_ref().map(of_row).transpose()
}

fn of_row(row: &SqliteRow) -> Result<Row> {
    let count = |column: &str| convert::count(column, get(row, column)?);
    let (state, outcome, is_known) = operate::words(get(row, "state")?, get(row, "outcome")?);
    let lifecycle = Lifecycle {
        state,
        epoch: count("epoch")?,
        attempt: count("attempt")?,
        max_attempts: count("max_attempts")?,
        outcome,
        message: get(row, "message")?,
        queued_at: time(row, "queued_at")?,
        due_at: time_opt(row, "due_at")?,
        finished_at: time_opt(row, "finished_at")?,
        held_by: get(row, "held_by")?,
        reason: get(row, "reason")?,
        changed_at: time_opt(row, "changed_at")?,
        has_attempt: get(row, "has_attempt")?,
        has_event: get(row, "has_event")?,
    };
    Ok(Row { tenant: get(row, "tenant")?, lifecycle, is_known })
}

/// Writes the effects of an operation. Where it publishes, the outbox's entry counts as made at
/// `made_at`.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    id: ExecutionId,
    effects: &Effects,
    made_at: Timestamp,
) -> Result<()> {
    let Effects { after, archives_attempt, publishes, deletes_row } = effects;
    if *deletes_row {
        return early_rows::delete(connection, &[id]).await;
    }
    if *archives_attempt {
        history::set_apart(connection, id).await?;
    }
    sqlx::query(WRITE)
        .bind(id_bytes(&id))
        .bind(after.state.as_stored())
        .bind(i64::from(after.epoch))
        .bind(i64::from(after.attempt))
        .bind(i64::from(after.max_attempts))
        .bind(after.outcome.map(Outcome::as_str))
        .bind(after.message.as_deref())
        .bind(after.queued_at.as_micros())
        .bind(after.due_at.map(Timestamp::as_micros))
        .bind(after.finished_at.map(Timestamp::as_micros))
        .bind(after.held_by.as_deref())
        .bind(after.reason.as_deref())
        .bind(after.changed_at.map(Timestamp::as_micros))
        .execute(&mut *connection)
        .await
        .map_err(error::of)?;
    if *publishes {
        let key = AttemptKey { execution: id, epoch: after.epoch, attempt: after.attempt };
        history::insert_outbox(connection, &[key], made_at).await?;
    }
    Ok(())
}

/// An operator's operation. What it publishes counts as put into the outbox at `made_at`.
pub(super) async fn operate(
    connection: &mut SqliteConnection,
    quota: &TenantQuota,
    tenant: &TenantName,
    id: ExecutionId,
    operation: &Operation,
    made_at: Timestamp,
) -> Result<OperationResult> {
    match read(connection, id).await? {
        Some(row) if row.is_of(tenant) => {
            let effects = row.operate(operation)?;
            write(connection, id, &effects, made_at).await?;
            let to_publish = if effects.publishes { dispatch(connection, id).await? } else { None };
            Ok(operate::moved(&effects.after, to_publish))
        }
        Some(_) => Err(operate::not_found(id)),
        None => {
            let row = operate::before_event(id, operation)?;
            early_rows::insert(connection, quota, tenant, id, &row, operation.at).await?;
            Ok(operate::moved(&row, None))
        }
    }
}

/// The attempt that an execution is at, as it is sent to a host; `None` where its row cannot be read
/// back: whoever publishes the outbox finds out.
async fn dispatch(connection: &mut SqliteConnection, id: ExecutionId) -> Result<Option<Dispatch>> {
    let row = sqlx::query(DISPATCH).bind(id_bytes(&id)).fetch_optional(connection).await;
    Ok(row.map_err(error::of)?.and_then(|row| queries::dispatch(&row).ok()))
}

/// Adds the events of dispatches to rows that were written before them, by what is known of where
/// each stands.
pub(super) async fn add_events(
    connection: &mut SqliteConnection,
    dispatches: impl Iterator<Item = &Dispatch> + Send,
    current_states: &CurrentStates,
) -> Result<()> {
    for dispatch in dispatches {
        let id = dispatch.execution;
        if current_states.get(&id).is_none_or(|row| row.has_event) {
            continue;
        }
        // It may be in here twice.
        let row = read(connection, id).await?.filter(|row| !row.lifecycle.has_event);
        if let Some(row) = row {
            let WithEvent { max_attempts, effects } = operate::with_event(&row, dispatch);
            add_event(connection, dispatch, max_attempts).await?;
            early_rows::has_come(connection, id).await?;
            if let Some(effects) = effects {
                write(connection, id, &effects, Timestamp::now()).await?;
            }
        }
    }
    Ok(())
}

async fn add_event(
    connection: &mut SqliteConnection,
    dispatch: &Dispatch,
    max_attempts: u32,
) -> Result<()> {
    sqlx::query(ADD_EVENT)
        .bind(id_bytes(&dispatch.execution))
        .bind(dispatch.tenant.as_str())
        .bind(dispatch.function.as_str())
        .bind(dispatch.event.event_type.as_str())
        .bind(dispatch.event.id.as_str())
        .bind(dispatch.event.source.as_str())
        .bind(dispatch.parent().as_ref().map(id_bytes))
        .bind(dispatch.trace.to_string())
        .bind(dispatch.trace.tracestate.as_deref())
        .bind(dispatch.accepted_at.as_micros())
        .bind(convert::from_event(&dispatch.event)?)
        .bind(convert::root(dispatch).as_ref().map(id_bytes))
        .bind(dispatch.origin.kind())
        .bind(convert::from_origin(&dispatch.origin)?)
        .bind(i64::from(max_attempts))
        .execute(connection)
        .await
        .map(drop)
        .map_err(error::of)
}
