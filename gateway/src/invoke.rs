//! `POST /v1/functions/{name}/invoke`: one event to one function, and its end in the answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;
use wasmill_broker::{Error as BrokerError, PendingReply};
use wasmill_domain::backoff::Backoff;
use wasmill_domain::manifest::Trigger;
use wasmill_domain::{Dispatch, EventType, FunctionDefinition, FunctionName, Origin};
use wasmill_store::{Error as StoreError, ExecutionDetail, Publication};

use crate::app::{App, Room, Shared};
use crate::auth::Caller;
use crate::body::{self, Held, media_type};
use crate::documents::executions::{ExecutionDocument, just_accepted};
use crate::documents::functions::InvokeFunction;
use crate::error::{Error, Result};
use crate::extract::{Params, Segment};
use crate::functions::missing;
use crate::ingest::accept::{Checked, MAYBE, NOTHING};
use crate::ingest::check::{Form, Incoming};
use crate::ingest::cloudevents::{BATCH, Mode, STRUCTURED};
use crate::problem::Fault;

/// How long an answer is waited for where the request does not say.
const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// The longest wait: the longest that an attempt may take.
const MAX_WAIT: Duration = Duration::from_secs(900);

/// The type of an event that has none, sent to a function that listens to none.
const DEFAULT_TYPE: &str = "wasmill.invoke";

/// The first and the longest pause between two looks at an execution whose reply is not to be had:
/// the next attempt's end is not replied to.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Run a function on one event and wait for its end
///
/// The body is the event's data, or a CloudEvent in structured or binary mode. Only this function
/// gets the event, whether or not it listens to its type; the data must satisfy the type's schema
/// and the function's own where they apply. An execution that has not ended after `wait` goes on;
/// the answer then is 202 and says where to look.
#[utoipa::path(post, path = "/v1/functions/{name}/invoke", tag = "functions",
    params(("name" = String, Path, description = "The function's name"), InvokeFunction),
    request_body(content(
        (serde_json::Value = "application/json"),
        (serde_json::Value = "application/cloudevents+json"),
        (serde_json::Value = "*/*"),
    ), description = "The data, or an event in the JSON format; none for an event without data"),
    responses(
        (status = 200, description = "It has ended, one way or another: `state` says how", body = ExecutionDocument),
        (status = 202, description = "It has not ended yet, and goes on", body = ExecutionDocument,
            headers(("Location" = String, description = "The execution"))),
        (status = 400, description = "Not an event, or its data does not satisfy a schema"),
        (status = 404, description = "No such function"),
        (status = 413, description = "The body is too large"),
        (status = 415, description = "Nothing says what the body is, or a schema needs it to be JSON"),
        (status = 422, description = "To check the data against a schema takes too many steps"),
        (status = 429, description = "The function's queue is full")))]
pub(crate) async fn invoke(
    State(app): State<Shared>,
    caller: Caller,
    Segment(name): Segment<FunctionName>,
    Params(query): Params<InvokeFunction>,
    request: Request,
) -> Result<Response> {
    let wait = query.wait.map_or(DEFAULT_WAIT, |span| span.0);
    if wait > MAX_WAIT {
        return Err(Error::BadRequest("'wait' must be at most 15m".into()));
    }
    let deadline = Instant::now() + wait;
    let room = app.admit_waiting()?;
    let function = caller.registry.function(&caller.tenant, &name);
    let function =
        Arc::clone(function.ok_or_else(|| missing(&caller.registry, &caller.tenant, &name))?);
    let (dispatch, _share) =
        event_of(&app, caller, &function, query.event_type, request, &room).await?;
    let reply = publish(&app, &dispatch).await?;
    let location = format!("/v1/executions/{}", dispatch.execution);
    Ok(match end_of(&app, &dispatch, reply, deadline).await {
        Some(detail) if detail.summary.state.is_terminal() => {
            Json(ExecutionDocument::from(detail)).into_response()
        }
        detail => {
            let document =
                ExecutionDocument::from(detail.unwrap_or_else(|| just_accepted(dispatch)));
            (StatusCode::ACCEPTED, [(LOCATION, location)], Json(document)).into_response()
        }
    })
}

/// Reads and checks the event of a request, and mints its execution. The body's share of what
/// bodies may hold comes with it, as the execution keeps the bytes.
async fn event_of(
    app: &App,
    caller: Caller,
    function: &FunctionDefinition,
    wanted: Option<EventType>,
    request: Request,
    room: &Room,
) -> Result<(Dispatch, Held)> {
    let (parts, body) = request.into_parts();
    let form = form_of(&parts.headers, function, wanted.as_ref())?;
    let held = body::read(app, &parts.headers, body, app.settings.max_event_bytes).await?;
    let tenant = caller.tenant.clone();
    let incoming = Incoming {
        tenant: caller.tenant,
        registry: caller.registry,
        form,
        headers: parts.headers,
        body: held.clone(),
        _room: Arc::clone(room),
        function: Some(function.name.clone()),
        max_event_bytes: app.settings.max_event_bytes,
        max_batch_events: 1,
    };
    let events: Vec<Checked> = incoming.check(app).await?;
    let dispatch = events.iter().flat_map(|event| event.mint(&tenant)).next();
    let dispatch = dispatch.map(|dispatch| dispatch.with_origin(Origin::Invocation));
    // One event to one function is one execution.
    let dispatch = dispatch
        .ok_or_else(|| Error::Internal("an event to one function led to no execution".into()))?;
    match wanted {
        Some(wanted) if wanted != dispatch.event.event_type => {
            let detail = format!(
                "the event's type is '{}', but the request is for '{wanted}'",
                dispatch.event.event_type
            );
            Err(Error::InvalidEvent(Fault::at("/type", detail)))
        }
        _ => Ok((dispatch, held)),
    }
}

/// Tells how a request carries its event: as a CloudEvent in structured mode, or as data. Binary
/// mode is data with headers.
fn form_of(
    headers: &HeaderMap,
    function: &FunctionDefinition,
    wanted: Option<&EventType>,
) -> Result<Form> {
    match media_type(headers)?.as_deref() {
        Some(STRUCTURED) => return Ok(Form::CloudEvents(Mode::Structured)),
        Some(BATCH) => {
            return Err(Error::MediaType(
                "a function is invoked with one event, not with a batch".into(),
                &[STRUCTURED, "*/*"],
            ));
        }
        _ => {}
    }
    if let Some(event_type) = wanted {
        return Ok(Form::Plain(event_type.clone()));
    }
    let header = headers.get("ce-type").and_then(|value| value.to_str().ok());
    if let Some(text) = header {
        let event_type =
            text.parse().map_err(|e| Error::InvalidEvent(Fault::at("/type", format!("{e}"))))?;
        return Ok(Form::Plain(event_type));
    }
    let mut events = function.manifest.triggers.iter().filter_map(Trigger::as_event);
    let exact = events.find(|trigger| trigger.event.is_exact());
    let text = exact.map_or(DEFAULT_TYPE, |trigger| trigger.event.as_str());
    // An exact pattern is a type, so this cannot fail.
    text.parse()
        .map(Form::Plain)
        .map_err(|e| Error::Internal(format!("an exact pattern that is no type: {e}")))
}

/// Publishes an execution whose end is awaited. `None` where the broker is away and the outbox took
/// it.
pub(crate) async fn publish(app: &App, dispatch: &Dispatch) -> Result<Option<PendingReply>> {
    let patience = app.settings.publish_timeout;
    // It may go on without us.
    let late = |_| BrokerError::Unconfirmed(format!("no confirm within {patience:?}"));
    let request = app.publisher.request(dispatch.clone());
    match tokio::time::timeout(patience, request).await.map_err(late).flatten() {
        Ok(reply) => {
            app.rows.write(dispatch.clone());
            Ok(Some(reply))
        }
        Err(BrokerError::Full(_)) => Err(Error::QueueFull(dispatch.function.to_string())),
        Err(BrokerError::Rejected(why)) => Err(Error::TooLarge(why)),
        Err(error) => {
            tracing::debug!(function = %dispatch.function, %error, "accepted into the outbox");
            let is_unknown = matches!(error, BrokerError::Unconfirmed(_));
            app.store
                .ledger
                .enqueue(std::slice::from_ref(dispatch), Publication::Pending)
                .await
                .map_err(|error| {
                    tracing::warn!(%error, "neither broker nor store takes events");
                    Error::Unavailable(if is_unknown { MAYBE } else { NOTHING })
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
