//! What operators do with one execution: cancel, suspend, resume.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use tokio::time::timeout;
use wasmill_domain::lifecycle::LONGEST_REASON;
use wasmill_domain::wire::Broadcast;
use wasmill_domain::{ExecutionId, Operation, Order, OrderKind, TenantName, Timestamp, Transition};
use wasmill_store::{OperationResult, Publication};

use crate::app::{App, SharedApp, to_its_end};
use crate::auth::Caller;
use crate::documents::operations::{OperateExecution, OperationResultDocument};
use crate::error::{ApiError, Result};
use crate::extract::{Params, Segment};

/// How long an answer waits for its order to be broadcast, at least.
const TOLD_WITHIN: Duration = Duration::from_millis(250);

/// How far the clock of whoever made an id may be ahead.
const CLOCK_DIFFERENCE: Duration = Duration::from_secs(60);

/// The version of UUIDs that executions have.
const ID_VERSION: usize = 7;

/// Cancel an execution
///
/// It ends as `cancelled`, whether it is delayed, queued, suspended or running; an attempt that
/// runs is stopped, and ends with the outcome `cancelled`. No attempt at it begins after the
/// answer. One that was accepted a moment ago and is not shown yet can be cancelled as well.
#[utoipa::path(post, path = "/v1/executions/{id}/cancel", tag = "executions", operation_id = "cancel_execution",
    params(("id" = uuid::Uuid, Path, description = "The execution's id"), OperateExecution),
    responses(
        (status = 200, description = "It is cancelled", body = OperationResultDocument),
        (status = 400, description = "Not an id, or the reason is too long"),
        (status = 404, description = "No such execution in this tenant"),
        (status = 409, description = "It has ended already")))]
pub(crate) async fn cancel(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(id): Segment<ExecutionId>,
    Params(query): Params<OperateExecution>,
) -> Result<Json<OperationResultDocument>> {
    operate(app, caller, id, Transition::Cancel, query).await
}

/// Suspend an execution
///
/// It is held until it is resumed or cancelled, whether it is delayed, queued or running. An
/// attempt that runs is interrupted; it did not end, and is made again when the execution is
/// resumed. One that was accepted a moment ago and is not shown yet can be suspended as well.
#[utoipa::path(post, path = "/v1/executions/{id}/suspend", tag = "executions", operation_id = "suspend_execution",
    params(("id" = uuid::Uuid, Path, description = "The execution's id"), OperateExecution),
    responses(
        (status = 200, description = "It is suspended", body = OperationResultDocument),
        (status = 400, description = "Not an id, or the reason is too long"),
        (status = 404, description = "No such execution in this tenant"),
        (status = 409, description = "It has ended, or is suspended already")))]
pub(crate) async fn suspend(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(id): Segment<ExecutionId>,
    Params(query): Params<OperateExecution>,
) -> Result<Json<OperationResultDocument>> {
    operate(app, caller, id, Transition::Suspend, query).await
}

/// Resume an execution
///
/// One that is suspended is queued again, at the attempt that it was at.
#[utoipa::path(post, path = "/v1/executions/{id}/resume", tag = "executions", operation_id = "resume_execution",
    params(("id" = uuid::Uuid, Path, description = "The execution's id"), OperateExecution),
    responses(
        (status = 200, description = "It is queued", body = OperationResultDocument),
        (status = 400, description = "Not an id, or the reason is too long"),
        (status = 404, description = "No such execution in this tenant"),
        (status = 409, description = "It is not suspended")))]
pub(crate) async fn resume(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(id): Segment<ExecutionId>,
    Params(query): Params<OperateExecution>,
) -> Result<Json<OperationResultDocument>> {
    operate(app, caller, id, Transition::Resume, query).await
}

async fn operate(
    app: SharedApp,
    caller: Caller,
    id: ExecutionId,
    what: Transition,
    query: OperateExecution,
) -> Result<Json<OperationResultDocument>> {
    let reason = query.reason.filter(|reason| !reason.is_empty());
    if reason.as_ref().is_some_and(|reason| reason.len() > LONGEST_REASON) {
        return Err(ApiError::BadRequest(format!(
            "'reason' must have at most {LONGEST_REASON} bytes"
        )));
    }
    let at = Timestamp::now();
    let may_precede_row = is_of_late(id, at, app.settings.order_window);
    let operation =
        Operation::new(what, at).with_reason(reason).by(caller.name()).before_row(may_precede_row);
    // What is decided is told to hosts even if the client goes away now.
    let moved = to_its_end(carry_out(app, caller.tenant, id, operation)).await?;
    Ok(Json(OperationResultDocument::new(id, &moved)))
}

/// Performs the operation, and then notifies hosts: so whoever asks the store when notified finds
/// it.
async fn carry_out(
    app: Arc<App>,
    tenant: TenantName,
    id: ExecutionId,
    operation: Operation,
) -> Result<OperationResult> {
    // What this gateway has accepted has its row first, with all that belongs to it.
    if let Some(dispatch) = app.rows.pending(id).filter(|dispatch| dispatch.tenant == tenant) {
        app.store.ledger.enqueue(std::slice::from_ref(&dispatch), Publication::Confirmed).await?;
    }
    let moved = app.store.ledger.transition_execution(&tenant, id, &operation).await?;
    tracing::info!(execution = %id, %tenant, what = %operation.what, state = %moved.state, "moved by an operator");
    if let Some(kind) = OrderKind::of(operation.what) {
        let reason = operation.reason;
        tell(&app, Order { execution: id, epoch: moved.epoch, kind, reason }, moved.queued_at)
            .await;
    }
    Ok(moved)
}

/// Whether an execution with this id may have been accepted without a row of it being there yet: it
/// was made not too long ago, by whoever makes ids.
fn is_of_late(id: ExecutionId, now: Timestamp, window: Duration) -> bool {
    let made_at = id.made_at();
    id.0.get_version_num() == ID_VERSION
        && now.since(made_at) <= window
        && made_at.since(now) <= CLOCK_DIFFERENCE
}

/// Broadcasts an order, and returns when every host that listens has it on its way to it. Where
/// that cannot be had, it returns when hosts ask the store about what was dispatched at `queued_at`
/// anyway, before they run it.
async fn tell(app: &App, order: Order, queued_at: Timestamp) {
    let execution = order.execution;
    let body = Broadcast { orders: vec![order] }.encode(app.publisher.writes());
    let broadcasts = Arc::clone(&app.broker.broadcasts);
    let telling = tokio::spawn(async move { broadcasts.broadcast(body.into()).await });
    let asked_at = queued_at.plus(app.settings.order_timeout);
    let left = || asked_at.since(Timestamp::now());
    match timeout(left().max(TOLD_WITHIN), telling).await {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_id_of_late_may_have_no_row() {
        let now = Timestamp::now();
        let hour = Duration::from_secs(3600);
        let id = ExecutionId::new();
        assert!(is_of_late(id, now, hour));
        assert!(is_of_late(id, now.minus(CLOCK_DIFFERENCE / 2), hour));
        assert!(!is_of_late(id, now.plus(hour * 2), hour));
        assert!(!is_of_late(id, now.minus(hour), hour));
        assert!(!is_of_late(ExecutionId(uuid::Uuid::new_v4()), now, hour));
        assert!(!is_of_late(ExecutionId(uuid::Uuid::nil()), Timestamp::from_micros(0), hour));
    }
}
