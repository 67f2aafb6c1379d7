//! Accepts checked events: publishes their executions, and falls back to the store's outbox where
//! the broker is away.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use wasmill_broker::BrokerError;
use wasmill_domain::{
    Dispatch, Event, FunctionDefinition, Revision, TenantName, Timestamp, TraceContext,
};
use wasmill_store::Publication;

use crate::app::App;
use crate::error::{ApiError, Result};

/// What is answered where neither broker nor database took an event.
pub(crate) const NOTHING: &str =
    "neither the broker nor the database is available now; nothing was accepted";

/// What is answered where nobody knows.
pub(crate) const MAYBE: &str = "broker and database went away while the event was being accepted: it may have been, for some of its functions or all";

/// An event that may be accepted: checked, and with somewhere to go.
pub(crate) struct Checked {
    pub(crate) event: Arc<Event>,
    pub(crate) functions: Vec<Arc<FunctionDefinition>>,
    /// The definitions' revision that says so.
    pub(crate) revision: Revision,
    pub(crate) trace: TraceContext,
}

impl Checked {
    /// The executions that it leads to, one for each function.
    pub(crate) fn mint(&self, tenant: &TenantName) -> impl Iterator<Item = Dispatch> {
        let now = Timestamp::now();
        self.functions.iter().map(move |function| {
            Dispatch::new(
                tenant.clone(),
                function.name.clone(),
                self.trace.clone(),
                Arc::clone(&self.event),
            )
            .with_max_attempts(function.manifest.retry.max_attempts)
            .with_accepted_at(now)
            .with_revision(self.revision)
        })
    }
}

/// Publishes executions, all or none as far as that can be had: what the broker does not take goes
/// into the store's outbox, unless it took nothing because queues are full. `reserved` is
/// what the request has: what goes on without its client keeps it.
///
/// # Errors
/// [`ApiError::QueueFull`] and [`ApiError::Unavailable`]: nothing was accepted. The latter's text
/// says where that is not sure.
pub(crate) async fn accept(
    app: &Arc<App>,
    dispatches: Vec<Dispatch>,
    reserved: impl Send + 'static,
) -> Result<()> {
    // What is begun is brought to its end, and has what is reserved for it until then, whether or
    // not the client waits for the answer.
    let app = Arc::clone(app);
    let accepted = tokio::spawn(async move {
        let _reserved = reserved;
        let outcomes = publish_all(&app, &dispatches).await;
        finish(&app, dispatches, outcomes).await
    });
    accepted
        .await
        .unwrap_or_else(|e| Err(ApiError::Internal(format!("the task that accepts events: {e}"))))
}

async fn publish_all(app: &App, dispatches: &[Dispatch]) -> Vec<Result<(), BrokerError>> {
    let publishing =
        stream::iter(dispatches.iter().cloned()).map(|dispatch| publish(app, dispatch));
    publishing.buffered(app.settings.publish_concurrency.max(1)).collect().await
}

/// Brings a publication to its end, whatever became of its parts.
async fn finish(
    app: &App,
    dispatches: Vec<Dispatch>,
    outcomes: Vec<Result<(), BrokerError>>,
) -> Result<()> {
    let any_accepted = outcomes.iter().any(std::result::Result::is_ok);
    let any_unknown =
        outcomes.iter().any(|outcome| matches!(outcome, Err(BrokerError::Unconfirmed(_))));
    let mut rest = Vec::new();
    let mut refusal = None;
    for (dispatch, outcome) in dispatches.into_iter().zip(outcomes) {
        match outcome {
            Ok(()) => app.rows.write(dispatch),
            Err(error) => {
                // A broker that is away decides: where one queue is full and another away, the
                // outbox takes both.
                if refusal.is_none()
                    || matches!(error, BrokerError::Unavailable(_) | BrokerError::Unconfirmed(_))
                {
                    refusal = Some((dispatch.function.clone(), error));
                }
                rest.push(dispatch);
            }
        }
    }
    match refusal {
        Some((function, BrokerError::Full(_))) if !any_accepted => {
            return Err(ApiError::QueueFull(function.to_string()));
        }
        Some((_, BrokerError::Rejected(why))) if !any_accepted => {
            return Err(ApiError::TooLarge(why));
        }
        Some((function, error)) => {
            tracing::debug!(%function, %error, executions = rest.len(), "accepted into the outbox");
        }
        None => return Ok(()),
    }
    match app.store.ledger.enqueue(&rest, Publication::Pending).await {
        Ok(()) => Ok(()),
        Err(error) => {
            tracing::warn!(%error, any_accepted, any_unknown, "neither broker nor store takes events");
            Err(ApiError::Unavailable(if any_accepted || any_unknown { MAYBE } else { NOTHING }))
        }
    }
}

/// Publishes one execution. Takes no longer than the setting says.
async fn publish(app: &App, dispatch: Dispatch) -> Result<(), BrokerError> {
    let wait_timeout = app.settings.publish_timeout;
    // It goes on without us.
    let late = |_| BrokerError::Unconfirmed(format!("no confirm within {wait_timeout:?}"));
    tokio::time::timeout(wait_timeout, app.publisher.publish(dispatch)).await.map_err(late)?
}
