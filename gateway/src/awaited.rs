//! Executions whose end a caller waits for: they are published with a reply awaited, and the store
//! is asked what became of them.

use std::time::Duration;

use tokio::time::Instant;
use wasmill_broker::{BrokerError, PendingReply};
use wasmill_domain::Dispatch;
use wasmill_domain::backoff::Backoff;
use wasmill_store::{ExecutionDetail, Publication, StoreError};

use crate::app::App;
use crate::error::{ApiError, Result};
use crate::ingest::accept::{MAYBE, NOTHING};

/// The first and the longest pause between two looks at an execution whose reply is not to be had:
/// the next attempt's end is not replied to.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Publishes an execution whose end is awaited. `None` where the broker is away and the outbox took
/// it.
pub(crate) async fn publish(app: &App, dispatch: &Dispatch) -> Result<Option<PendingReply>> {
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

/// Waits until an execution has ended, for no longer than the deadline, and gives what the store
/// knows of it then.
pub(crate) async fn end_of(
    app: &App,
    dispatch: &Dispatch,
    reply: Option<PendingReply>,
    deadline: Instant,
) -> Option<ExecutionDetail> {
    if let Some(reply) = reply {
        let wait = reply.wait(deadline.saturating_duration_since(Instant::now()));
        tokio::select! {
            // Whatever it says, the store says more: an end, a retry to come, or nothing yet.
            _ = wait => {}
            () = app.shutdown.cancelled() => return None,
        }
    }
    let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
    loop {
        let detail = match app.store.history.execution(&dispatch.tenant, dispatch.execution).await {
            Ok(detail) => detail,
            // It is accepted, so a store that is away now is no error: the answer says where to
            // look later.
            Err(StoreError::Unavailable(_)) => None,
            Err(error) => {
                tracing::error!(execution = %dispatch.execution, %error, "an execution cannot be read back");
                return None;
            }
        };
        // What cannot be read now never can.
        let ended =
            |detail: &ExecutionDetail| detail.summary.state.is_terminal() || detail.event.is_err();
        let ended = detail.as_ref().is_some_and(ended);
        let left = deadline.saturating_duration_since(Instant::now());
        if ended || left.is_zero() {
            return detail;
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.pause().min(left)) => {}
            () = app.shutdown.cancelled() => return detail,
        }
    }
}
