//! The way in: `POST /v1/events` and `POST /v1/events/{type}`.
//!
//! A request is read ([`crate::body`]), its events are made ([`cloudevents`], [`plain`]), routed
//! and validated ([`check`]), and their executions published ([`accept()`]).

pub(crate) mod accept;
pub(crate) mod check;
pub(crate) mod cloudevents;
mod plain;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use http::StatusCode;
use wasmill_domain::{Dispatch, EventType};

use self::accept::accept;
use self::check::{BatchBounds, Form, Incoming};
use self::cloudevents::{Mode, mode_of};
use crate::app::{App, SharedApp};
use crate::auth::Caller;
use crate::body;
use crate::documents::events::{Accepted, Answer, Batch};
use crate::error::Result;
use crate::extract::Segment;

/// Accept CloudEvents
///
/// One event in structured or binary mode, or a batch of events, as the HTTP protocol binding of
/// CloudEvents 1.0 has it. A batch is accepted as a whole or not at all. Each event goes to every
/// function with a trigger that matches its type.
#[utoipa::path(post, path = "/v1/events", tag = "events",
    request_body(content(
        (serde_json::Value = "application/cloudevents+json"),
        (Vec<serde_json::Value> = "application/cloudevents-batch+json"),
        (serde_json::Value = "*/*"),
    ), description = "One event in the JSON format, an array of them, or with the headers ce-specversion, ce-id, \
        ce-source and ce-type (values percent-encoded) the data itself"),
    responses(
        (status = 202, description = "Accepted: it will run, whatever fails now", body = Answer),
        (status = 400, description = "Not an event, or its data does not satisfy a schema"),
        (status = 404, description = "Nobody listens to the event's type; `event_types` has what exists"),
        (status = 413, description = "The event, the body or the batch is too large, or what it leads to: too many executions, or bytes of them"),
        (status = 415, description = "Not a CloudEvent in one of the three modes; `accepted` has what is"),
        (status = 422, description = "To check the data against a schema takes too many steps"),
        (status = 429, description = "A function's queue is full")))]
pub(crate) async fn post_events(
    State(app): State<SharedApp>,
    caller: Caller,
    request: Request,
) -> Result<(StatusCode, Json<Answer>)> {
    let mode = mode_of(request.headers())?;
    let limit = if mode == Mode::Batch {
        app.settings.max_batch_bytes
    } else {
        app.settings.max_event_bytes
    };
    let mut results = ingest(&app, caller, Form::CloudEvents(mode), request, limit).await?;
    let answer = match mode {
        Mode::Batch => Answer::Batch(Batch { results }),
        // One event went in, so one result came out.
        Mode::Binary | Mode::Structured => Answer::One(results.remove(0)),
    };
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

/// Accept an event whose data is the body
///
/// The shortest way: `curl -d '{…}' localhost:7070/v1/events/order.created`. Other attributes than
/// the type may come as `ce-` headers; without them the id is a new UUID and the source is `/http`.
/// A slash in the type is written %2F.
#[utoipa::path(post, path = "/v1/events/{type}", tag = "events",
    params(("type" = String, Path, description = "The event's type, for example `order.created`")),
    request_body(content(
        (serde_json::Value = "application/json"),
        (serde_json::Value = "*/*"),
    ), description = "The data. A body without Content-Type is taken for JSON if it is JSON"),
    responses(
        (status = 202, description = "Accepted: it will run, whatever fails now", body = Accepted),
        (status = 400, description = "Not JSON, or it does not satisfy a schema"),
        (status = 404, description = "Nobody listens to the type; `event_types` has what exists"),
        (status = 413, description = "The body is too large, or what it leads to: too many executions, or bytes of them"),
        (status = 415, description = "Nothing says what the body is, or a schema needs it to be JSON"),
        (status = 422, description = "To check the data against a schema takes too many steps"),
        (status = 429, description = "A function's queue is full")))]
pub(crate) async fn post_typed_event(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(event_type): Segment<EventType>,
    request: Request,
) -> Result<(StatusCode, Json<Accepted>)> {
    let limit = app.settings.max_event_bytes;
    let mut results = ingest(&app, caller, Form::Plain(event_type), request, limit).await?;
    // One event went in, so one result came out.
    Ok((StatusCode::ACCEPTED, Json(results.remove(0))))
}

async fn ingest(
    app: &Arc<App>,
    caller: Caller,
    form: Form,
    request: Request,
    limit: usize,
) -> Result<Vec<Accepted>> {
    let reservation = app.admit(&caller.owner)?;
    let (parts, body) = request.into_parts();
    let buffered = body::read(app, &caller.owner, &parts.headers, body, limit).await?;
    let tenant = caller.tenant.clone();
    let incoming = Incoming {
        tenant: caller.tenant,
        registry: caller.registry,
        form,
        headers: parts.headers,
        body: buffered.clone(),
        _reservation: Arc::clone(&reservation),
        function: None,
        bounds: BatchBounds::of(&app.settings),
    };
    let checked = incoming.check(app).await?;
    let minted: Vec<Vec<Dispatch>> =
        checked.iter().map(|event| event.mint(&tenant).collect()).collect();
    let results = checked
        .iter()
        .zip(&minted)
        .map(|(event, dispatches)| Accepted::new(&event.event, dispatches))
        .collect();
    accept(app, minted.into_iter().flatten().collect(), (reservation, buffered)).await?;
    Ok(results)
}
