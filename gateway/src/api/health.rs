//! Whether the gateway lives, and whether it can do its work.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::app::SharedApp;
use crate::error::{ApiError, Result};

/// How long a part may take to answer before it counts as away.
const WAIT_TIMEOUT: Duration = Duration::from_secs(2);

/// That the process lives.
#[derive(Serialize, ToSchema)]
pub(crate) struct Alive {
    /// Always `ok`.
    status: &'static str,
    /// The version of wasmill.
    version: &'static str,
}

/// Whether events are accepted, and how.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ready {
    /// `ok`, or `degraded` while database or broker is away: events are accepted still, other
    /// requests may not work.
    status: &'static str,
    /// `ok` or `away`.
    store: &'static str,
    /// `ok` or `away`.
    broker: &'static str,
    /// Rows of waiting executions that could not be written since the start. They are made when the
    /// executions run.
    rows_dropped: u64,
    /// What was found at the start and operators should look at, though events are accepted;
    /// `wasmill doctor` says more. Left out where there is nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// Tell whether the process lives
#[utoipa::path(get, path = "/healthz", tag = "service",
    responses((status = 200, description = "It lives", body = Alive)))]
pub(crate) async fn alive() -> Json<Alive> {
    Json(Alive { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// Tell whether events are accepted
///
/// They are while database or broker answers, as either can stand in for the other, and until the
/// process is told to stop.
#[utoipa::path(get, path = "/readyz", tag = "service",
    responses((status = 200, description = "Events are accepted", body = Ready)))]
pub(crate) async fn ready(State(app): State<SharedApp>) -> Result<Json<Ready>> {
    if app.shutdown.is_cancelled() {
        return Err(ApiError::Unavailable("this gateway is shutting down"));
    }
    let [store, broker] = app.backends.get(backends(Arc::clone(&app))).await;
    if !store && !broker {
        return Err(ApiError::Unavailable("neither the database nor the broker answers"));
    }
    let word = |answers: bool| if answers { "ok" } else { "away" };
    Ok(Json(Ready {
        status: if store && broker { "ok" } else { "degraded" },
        store: word(store),
        broker: word(broker),
        rows_dropped: app.rows.dropped(),
        notes: app.notes.clone(),
    }))
}

/// Whether the database and the broker answer.
async fn backends(app: SharedApp) -> [bool; 2] {
    let store = timeout(WAIT_TIMEOUT, app.store.identity.ping());
    let broker = timeout(WAIT_TIMEOUT, app.broker.control.ping());
    let (store, broker) = tokio::join!(store, broker);
    [store.is_ok_and(|pong| pong.is_ok()), broker.is_ok_and(|pong| pong.is_ok())]
}
