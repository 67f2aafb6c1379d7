//! `POST /v1/functions/{name}/invoke`: one event to one function, and its end in the answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;
use wasmill_domain::manifest::Trigger;
use wasmill_domain::{Dispatch, EventType, FunctionDefinition, FunctionName, Origin};

use super::functions::missing;
use crate::app::{App, Reservation, SharedApp};
use crate::auth::Caller;
use crate::awaited::{end_of, publish};
use crate::body::{self, BufferedBody, media_type};
use crate::documents::executions::{ExecutionDocument, just_accepted};
use crate::documents::functions::InvokeFunction;
use crate::error::{ApiError, Result};
use crate::extract::{Params, Segment};
use crate::ingest::accept::Checked;
use crate::ingest::check::{BatchBounds, Form, Incoming};
use crate::ingest::cloudevents::{BATCH, Mode, STRUCTURED};
use crate::problem::Fault;

/// How long an answer is waited for where the request does not say.
const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// The longest wait: the longest that an attempt may take.
const MAX_WAIT: Duration = Duration::from_secs(900);

/// The type of an event that has none, sent to a function that listens to none.
const DEFAULT_TYPE: &str = "wasmill.invoke";

/// Run a function on one event and wait for its end
///
/// The body is the event's data, or a CloudEvent in structured or binary mode. Only this function
/// gets the event, whether or not it listens to its type; the data must satisfy the type's schema
/// and the function's own where they apply. An execution that has not ended after `wait` goes on;
/// the answer then is 202 and says where to look. It is 202 at once where an operator suspends the
/// execution: its state says so.
#[utoipa::path(post, path = "/v1/functions/{name}/invoke", tag = "functions",
    params(("name" = String, Path, description = "The function's name"), InvokeFunction),
    request_body(content(
        (serde_json::Value = "application/json"),
        (serde_json::Value = "application/cloudevents+json"),
        (serde_json::Value = "*/*"),
    ), description = "The data, or an event in the JSON format; none for an event without data"),
    responses(
        (status = 200, description = "It has ended, one way or another: `state` says how", body = ExecutionDocument),
        (status = 202, description = "It has not ended yet, and goes on; or it is suspended", body = ExecutionDocument,
            headers(("Location" = String, description = "The execution"))),
        (status = 400, description = "Not an event, or its data does not satisfy a schema"),
        (status = 404, description = "No such function"),
        (status = 413, description = "The body is too large"),
        (status = 415, description = "Nothing says what the body is, or a schema needs it to be JSON"),
        (status = 422, description = "To check the data against a schema takes too many steps"),
        (status = 429, description = "The function's queue is full")))]
pub(crate) async fn invoke(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(name): Segment<FunctionName>,
    Params(query): Params<InvokeFunction>,
    request: Request,
) -> Result<Response> {
    let wait = query.wait.map_or(DEFAULT_WAIT, |span| span.0);
    if wait > MAX_WAIT {
        return Err(ApiError::BadRequest("'wait' must be at most 15m".into()));
    }
    let deadline = Instant::now() + wait;
    let function = caller.registry.function(&caller.tenant, &name);
    let function =
        Arc::clone(function.ok_or_else(|| missing(&caller.registry, &caller.tenant, &name))?);
    let (dispatch, reserved) = event_of(&app, caller, &function, query.event_type, request).await?;
    let (awaited, _reserved) = publish(&app, &dispatch, reserved).await?;
    let location = format!("/v1/executions/{}", dispatch.execution);
    Ok(match end_of(&app, &dispatch, awaited, deadline).await {
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

/// Reads and checks the event of a request, and mints its execution. What is reserved for it comes
/// with it: a permit to wait, and the body's share of what bodies may hold, as the execution keeps
/// the bytes.
async fn event_of(
    app: &App,
    caller: Caller,
    function: &FunctionDefinition,
    wanted: Option<EventType>,
    request: Request,
) -> Result<(Dispatch, (Reservation, BufferedBody))> {
    let reading = app.admit(&caller.owner)?;
    let (parts, body) = request.into_parts();
    let form = form_of(&parts.headers, function, wanted.as_ref())?;
    let limit = app.settings.max_event_bytes;
    let buffered = body::read(app, &caller.owner, &parts.headers, body, limit).await?;
    let waiting = app.admit_waiting(&caller.tenant, &caller.owner)?;
    drop(reading);
    let tenant = caller.tenant.clone();
    let incoming = Incoming {
        tenant: caller.tenant,
        registry: caller.registry,
        form,
        headers: parts.headers,
        body: buffered.clone(),
        _reservation: Arc::clone(&waiting),
        function: Some(function.name.clone()),
        bounds: BatchBounds::of(&app.settings),
    };
    let events: Vec<Checked> = incoming.check(app).await?;
    let dispatch = events.iter().flat_map(|event| event.mint(&tenant)).next();
    let dispatch = dispatch.map(|dispatch| dispatch.with_origin(Origin::Invocation));
    // One event to one function is one execution.
    let dispatch = dispatch
        .ok_or_else(|| ApiError::Internal("an event to one function led to no execution".into()))?;
    match wanted {
        Some(wanted) if wanted != dispatch.event.event_type => {
            let detail = format!(
                "the event's type is '{}', but the request is for '{wanted}'",
                dispatch.event.event_type
            );
            Err(ApiError::InvalidEvent(Fault::at("/type", detail)))
        }
        _ => Ok((dispatch, (waiting, buffered))),
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
            return Err(ApiError::MediaType(
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
            text.parse().map_err(|e| ApiError::InvalidEvent(Fault::at("/type", format!("{e}"))))?;
        return Ok(Form::Plain(event_type));
    }
    let mut events = function.manifest.triggers.iter().filter_map(Trigger::as_event);
    let exact = events.find(|trigger| trigger.event.is_exact());
    let text = exact.map_or(DEFAULT_TYPE, |trigger| trigger.event.as_str());
    // An exact pattern is a type, so this cannot fail.
    text.parse()
        .map(Form::Plain)
        .map_err(|e| ApiError::Internal(format!("an exact pattern that is no type: {e}")))
}
