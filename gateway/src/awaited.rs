//! Executions whose end a caller waits for: they are published with a reply awaited, and the store
//! is asked what became of them.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use wasmill_broker::{BrokerError, PendingReply};
use wasmill_domain::backoff::Backoff;
use wasmill_domain::{Dispatch, State};
use wasmill_store::{ExecutionDetail, Publication, StoreError};

use crate::app::App;
use crate::error::{ApiError, Result};
use crate::ingest::accept::{MAYBE, NOTHING};
use crate::waiters::Waiter;

/// The first and the longest pause between two looks at an execution whose reply is not to be had:
/// the next attempt's end is not replied to.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A published execution whose end is awaited.
pub(crate) struct Awaited {
    /// `None` where the broker was away and the outbox took it.
    reply: Option<PendingReply>,
    waiter: Waiter,
}

/// Publishes an execution whose end is awaited. What is `reserved` for the request is given back
/// with it: until it is published it is kept also where the client has gone.
pub(crate) async fn publish<R: Send + 'static>(
    app: &Arc<App>,
    dispatch: &Dispatch,
    reserved: R,
) -> Result<(Awaited, R)> {
    let waiter = app.waiters.add(dispatch);
    let (app, dispatch) = (Arc::clone(app), dispatch.clone());
    let publishing =
        tokio::spawn(async move { (publish_for_reply(&app, &dispatch).await, reserved) });
    let (reply, reserved) = publishing
        .await
        .map_err(|e| ApiError::Internal(format!("the task that publishes an execution: {e}")))?;
    Ok((Awaited { reply: reply?, waiter }, reserved))
}

async fn publish_for_reply(app: &App, dispatch: &Dispatch) -> Result<Option<PendingReply>> {
    let wait_timeout = app.settings.publish_timeout;
    // It may go on without us.
    let late = |_| BrokerError::Unconfirmed(format!("no confirm within {wait_timeout:?}"));
    let request = app.publisher.request(dispatch.clone());
    match tokio::time::timeout(wait_timeout, request).await.map_err(late).flatten() {
        Ok(reply) => {
            app.rows.write(dispatch.clone());
            Ok(Some(reply))
        }
        Err(BrokerError::Full(_)) => Err(ApiError::QueueFull(dispatch.function.to_string())),
        Err(BrokerError::Rejected(why)) => Err(ApiError::TooLarge(why)),
        Err(error) => {
            tracing::debug!(function = %dispatch.function, %error, "accepted into the outbox");
            let is_unknown = matches!(error, BrokerError::Unconfirmed(_));
            app.store
                .ledger
                .enqueue(std::slice::from_ref(dispatch), Publication::Pending)
                .await
                .map_err(|error| {
                    tracing::warn!(%error, "neither broker nor store takes events");
                    ApiError::Unavailable(if is_unknown { MAYBE } else { NOTHING })
                })?;
            Ok(None)
        }
    }
}

/// Waits until an execution has ended or is suspended, for no longer than the deadline, and gives
/// what the store knows of it then.
pub(crate) async fn end_of(
    app: &App,
    dispatch: &Dispatch,
    awaited: Awaited,
    deadline: Instant,
) -> Option<ExecutionDetail> {
    let Awaited { reply, waiter } = awaited;
    if let Some(reply) = reply {
        let mut wait = pin!(reply.wait(deadline.saturating_duration_since(Instant::now())));
        loop {
            tokio::select! {
                // Whatever it says, the store says more: an end, a retry to come, or nothing yet.
                _ = &mut wait => break,
                // An operator may have moved it: nothing replies to what does not run.
                () = waiter.notified() => {
                    match timeout_at(deadline, at_rest(app, dispatch)).await {
                        Ok(Ok(Some(detail))) => return Some(detail),
                        Ok(Ok(None)) => {}
                        // It may be at rest, and then nothing else tells of it.
                        Ok(Err(_)) => break,
                        Err(_) => return None,
                    }
                }
                () = app.shutdown.cancelled() => return None,
            }
        }
    }
    let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
    loop {
        let shown = app.store.history.execution(&dispatch.tenant, dispatch.execution);
        let detail = match timeout_at(deadline, shown).await {
            Ok(Ok(detail)) => detail,
            // It is accepted, so a store that is away now is no error: the answer says where to
            // look later.
            Ok(Err(StoreError::Unavailable(_))) | Err(_) => None,
            Ok(Err(error)) => {
                tracing::error!(execution = %dispatch.execution, %error, "an execution cannot be read back");
                return None;
            }
        };
        // What cannot be read now never can.
        let is_over = |detail: &ExecutionDetail| is_at_rest(detail) || detail.event.is_err();
        let ended = detail.as_ref().is_some_and(is_over);
        let left = deadline.saturating_duration_since(Instant::now());
        if ended || left.is_zero() {
            return detail;
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.pause().min(left)) => {}
            () = waiter.notified() => {}
            () = app.shutdown.cancelled() => return detail,
        }
    }
}

/// Whether nothing happens to an execution unless an operator asks for it.
fn is_at_rest(detail: &ExecutionDetail) -> bool {
    detail.summary.state.is_terminal() || detail.summary.state == State::Suspended
}

/// What became of an execution that an operator may have moved, where it is at rest.
async fn at_rest(
    app: &App,
    dispatch: &Dispatch,
) -> std::result::Result<Option<ExecutionDetail>, StoreError> {
    // Where the operation came before its row, this brings the event.
    let one = std::slice::from_ref(dispatch);
    app.store.ledger.enqueue(one, Publication::Confirmed).await?;
    let detail = app.store.history.execution(&dispatch.tenant, dispatch.execution).await?;
    Ok(detail.filter(is_at_rest))
}
