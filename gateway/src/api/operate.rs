//! What operators do with one execution: cancel, suspend, resume.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::HttpBody as _;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use tokio::time::timeout;
use wasmill_domain::lifecycle::LONGEST_REASON;
use wasmill_domain::wire::Broadcast;
use wasmill_domain::{
    Dispatch, ExecutionId, Operation, Order, OrderKind, TenantName, Timestamp, Transition,
};
use wasmill_store::{OperationResult, Publication, StoreError};

use crate::app::{App, SharedApp, to_its_end};
use crate::auth::Caller;
use crate::body;
use crate::budget::Owner;
use crate::documents::operations::{
    EarlyOperationDocument, OperateExecution, OperateExecutionBody, OperationResultDocument,
};
use crate::error::{ApiError, Result};
use crate::extract::{Params, Segment};

/// How long an answer waits for its order to be broadcast, at least.
const MIN_NOTIFY_TIMEOUT: Duration = Duration::from_millis(250);

/// How far the clock of whoever made an id may be ahead.
const CLOCK_DIFFERENCE: Duration = Duration::from_secs(60);

/// The longest body: a reason of which every byte is escaped.
const LONGEST_BODY: usize = 16 << 10;

/// The version of UUIDs that executions have.
const ID_VERSION: usize = 7;

/// Cancel an execution
///
/// It ends as `cancelled`, whether it is delayed, queued, suspended or running; an attempt that
/// runs is stopped, and ends with the outcome `cancelled`. No attempt at it begins after the
/// answer. One that was accepted a moment ago and is not shown yet can be cancelled as well: of an
/// id of the last 7 days of which nothing is known it is noted for as long, and answered with 202.
#[utoipa::path(post, path = "/v1/executions/{id}/cancel", tag = "executions", operation_id = "cancel_execution",
    params(("id" = uuid::Uuid, Path, description = "The execution's id"), OperateExecution),
    request_body(content = OperateExecutionBody, description = "Why, where the query does not say so; none is needed"),
    responses(
        (status = 200, description = "It is cancelled", body = OperationResultDocument),
        (status = 202, description = "Nothing is known of this execution yet; the text says what was noted", body = EarlyOperationDocument),
        (status = 400, description = "Not an id, or the reason is too long or given twice"),
        (status = 404, description = "No such execution in this tenant, and it cannot be one that is not known yet"),
        (status = 413, description = "The body is too large"),
        (status = 415, description = "The body is not JSON"),
        (status = 409, description = "It has ended already"),
        (status = 429, description = "The tenant has cancelled or suspended too many executions of which nothing is known")))]
pub(crate) async fn cancel(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(id): Segment<ExecutionId>,
    Params(query): Params<OperateExecution>,
    request: Request,
) -> Result<Response> {
    let reason = reason_of(&app, &caller.owner, query, request).await?;
    operate(app, caller, id, Transition::Cancel, reason).await
}

/// Suspend an execution
///
/// It is held until it is resumed or cancelled, whether it is delayed, queued or running. An
/// attempt that runs is interrupted; it did not end, and is made again when the execution is
/// resumed. One that was accepted a moment ago and is not shown yet can be suspended as well: of an
/// id of the last 7 days of which nothing is known it is noted for as long, and answered with 202.
#[utoipa::path(post, path = "/v1/executions/{id}/suspend", tag = "executions", operation_id = "suspend_execution",
    params(("id" = uuid::Uuid, Path, description = "The execution's id"), OperateExecution),
    request_body(content = OperateExecutionBody, description = "Why, where the query does not say so; none is needed"),
    responses(
        (status = 200, description = "It is suspended", body = OperationResultDocument),
        (status = 202, description = "Nothing is known of this execution yet; the text says what was noted", body = EarlyOperationDocument),
        (status = 400, description = "Not an id, or the reason is too long or given twice"),
        (status = 404, description = "No such execution in this tenant, and it cannot be one that is not known yet"),
        (status = 413, description = "The body is too large"),
        (status = 415, description = "The body is not JSON"),
        (status = 409, description = "It has ended, or is suspended already"),
        (status = 429, description = "The tenant has cancelled or suspended too many executions of which nothing is known")))]
pub(crate) async fn suspend(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(id): Segment<ExecutionId>,
    Params(query): Params<OperateExecution>,
    request: Request,
) -> Result<Response> {
    let reason = reason_of(&app, &caller.owner, query, request).await?;
    operate(app, caller, id, Transition::Suspend, reason).await
}

/// Resume an execution
///
/// One that is suspended is queued again, at the attempt that it was at. Where nothing is known of
/// it yet, that it was suspended is forgotten, and the answer is 202.
#[utoipa::path(post, path = "/v1/executions/{id}/resume", tag = "executions", operation_id = "resume_execution",
    params(("id" = uuid::Uuid, Path, description = "The execution's id"), OperateExecution),
    request_body(content = OperateExecutionBody, description = "Why, where the query does not say so; none is needed"),
    responses(
        (status = 200, description = "It is queued", body = OperationResultDocument),
        (status = 202, description = "Nothing is known of this execution yet; the text says what was noted", body = EarlyOperationDocument),
        (status = 400, description = "Not an id, or the reason is too long or given twice"),
        (status = 404, description = "No such execution in this tenant"),
        (status = 413, description = "The body is too large"),
        (status = 415, description = "The body is not JSON"),
        (status = 409, description = "It is not suspended")))]
pub(crate) async fn resume(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(id): Segment<ExecutionId>,
    Params(query): Params<OperateExecution>,
    request: Request,
) -> Result<Response> {
    let reason = reason_of(&app, &caller.owner, query, request).await?;
    operate(app, caller, id, Transition::Resume, reason).await
}

async fn operate(
    app: SharedApp,
    caller: Caller,
    id: ExecutionId,
    what: Transition,
    reason: Option<String>,
) -> Result<Response> {
    let reason = reason.filter(|reason| !reason.is_empty());
    if reason.as_ref().is_some_and(|reason| reason.len() > LONGEST_REASON) {
        return Err(ApiError::BadRequest(format!(
            "'reason' must have at most {LONGEST_REASON} bytes"
        )));
    }
    let (at, window) = (Timestamp::now(), app.settings.order_window);
    let operation = Operation::new(what, at)
        .with_reason(reason)
        .by(caller.name())
        .before_row(may_precede_row(id, at, window));
    // What is decided is brought to hosts even if the client goes away now.
    let reservation = app.admit(&caller.owner)?;
    let moved = to_its_end(async move {
        let _reservation = reservation;
        carry_out(app, caller.tenant, id, operation).await
    });
    let moved = moved.await?;
    if moved.has_event {
        return Ok(Json(OperationResultDocument::new(id, &moved)).into_response());
    }
    let document = EarlyOperationDocument::new(id, what, window);
    Ok((StatusCode::ACCEPTED, Json(document)).into_response())
}

/// Why an execution is moved: the query says so, or the body.
async fn reason_of(
    app: &App,
    owner: &Owner,
    query: OperateExecution,
    request: Request,
) -> Result<Option<String>> {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return Ok(query.reason);
    }
    let limit = app.settings.max_document_bytes.min(LONGEST_BODY);
    let of_body: Option<OperateExecutionBody> =
        body::optional_document(app, owner, &parts.headers, body, limit).await?;
    match (query.reason, of_body.and_then(|of_body| of_body.reason)) {
        (Some(_), Some(_)) => Err(ApiError::BadRequest(
            "'reason' is in the query and in the body: one is meant".into(),
        )),
        (of_query, of_body) => Ok(of_query.or(of_body)),
    }
}

/// Performs the operation, and then notifies hosts: so whoever asks the store when notified finds
/// it.
async fn carry_out(
    app: Arc<App>,
    tenant: TenantName,
    id: ExecutionId,
    operation: Operation,
) -> Result<OperationResult> {
    if let Some(dispatch) = app.rows.pending(id) {
        if dispatch.tenant != tenant {
            return Err(ApiError::NotFound(format!("execution {id} not found")));
        }
        // What this gateway has accepted has its row first, with all that belongs to it.
        app.store.ledger.enqueue(std::slice::from_ref(&dispatch), Publication::Confirmed).await?;
    }
    let moved = app.store.ledger.transition_execution(&tenant, id, &operation).await;
    let mut moved = moved.map_err(|error| match error {
        StoreError::QuotaExceeded { why, .. } => ApiError::TooManyEarly(why),
        error => error.into(),
    })?;
    tracing::info!(execution = %id, %tenant, what = %operation.what, state = %moved.state, "moved by an operator");
    if let Some(dispatch) = moved.to_publish.take() {
        tokio::spawn(publish(Arc::clone(&app), dispatch));
    }
    if let Some(kind) = OrderKind::of(operation.what) {
        app.waiters.notify(&tenant, id);
        let (tenant, reason) = (Some(tenant), operation.reason);
        let order = Order { tenant, execution: id, epoch: moved.epoch, kind, reason };
        notify(&app, order, moved.queued_at).await;
    }
    Ok(moved)
}

/// Whether an execution with this id may have been accepted without a row of it being there yet: it
/// was made not too long ago, by whoever makes ids. What has another id and no row does not exist.
fn may_precede_row(id: ExecutionId, now: Timestamp, window: Duration) -> bool {
    let made_at = id.made_at();
    id.0.get_version_num() == ID_VERSION
        && now.since(made_at) <= window
        && made_at.since(now) <= CLOCK_DIFFERENCE
}

/// Broadcasts an order, and returns when every host that is subscribed has it on its way to it.
/// Where that cannot be had, it returns when hosts ask the store about what was dispatched at
/// `queued_at` anyway, before they run it.
async fn notify(app: &App, order: Order, queued_at: Timestamp) {
    let execution = order.execution;
    let body = Broadcast { orders: vec![order] }.encode(app.publisher.writes());
    let broadcasts = Arc::clone(&app.broker.broadcasts);
    let broadcasting = tokio::spawn(async move { broadcasts.broadcast(body.into()).await });
    let asked_at = queued_at.plus(app.settings.order_timeout);
    let left = || asked_at.since(Timestamp::now());
    match timeout(left().max(MIN_NOTIFY_TIMEOUT), broadcasting).await {
        Ok(Ok(Ok(()))) => return,
        Ok(Ok(Err(error))) => {
            tracing::warn!(%execution, %error, "an order cannot be broadcast: hosts find it in the store");
        }
        _ => {
            tracing::warn!(%execution, "an order is not broadcast in time: hosts find it in the store");
        }
    }
    tokio::time::sleep(left()).await;
}

/// Publishes what is in the outbox already, so that it does not wait for a scheduler. Where that
/// does not succeed it stays there.
async fn publish(app: Arc<App>, dispatch: Dispatch) {
    let (execution, entry) = (dispatch.execution, dispatch.key());
    if let Err(error) = app.publisher.publish(dispatch).await {
        tracing::debug!(%execution, %error, "what was resumed is left to the scheduler");
        return;
    }
    if let Err(error) = app.store.agenda.published(&[entry]).await {
        // Published twice, then; the fence lets one outcome count.
        tracing::debug!(%execution, %error, "what was resumed stays in the outbox");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_id_of_late_may_have_no_row() {
        let now = Timestamp::now();
        let hour = Duration::from_secs(3600);
        let id = ExecutionId::new();
        assert!(may_precede_row(id, now, hour));
        assert!(may_precede_row(id, now.minus(CLOCK_DIFFERENCE / 2), hour));
        assert!(!may_precede_row(id, now.plus(hour * 2), hour));
        assert!(!may_precede_row(id, now.minus(hour), hour));
        assert!(!may_precede_row(ExecutionId(uuid::Uuid::new_v4()), now, hour));
        assert!(!may_precede_row(ExecutionId(uuid::Uuid::nil()), Timestamp::from_micros(0), hour));
    }
}
