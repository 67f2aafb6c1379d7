//! What became of events: executions, their events, results and logs.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::{
    ACCEPT, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;
use wasmill_domain::{Event, ExecutionId, Timestamp};
use wasmill_store::{ExecutionDetail, ExecutionQuery, ListedExecution};

use crate::app::{App, SharedApp};
use crate::auth::Caller;
use crate::documents::executions::{
    ExecutionDocument, ExecutionPage, ListExecutions, ListLogs, ListedDocument, LogCursor,
    LogDocument, LogPage, has_failed, just_accepted,
};
use crate::error::{ApiError, Result};
use crate::extract::{Params, Segment};
use crate::ingest::cloudevents::{STRUCTURED, write_binary};
use crate::page;

/// How long a list waits for rows that are written behind the answers to their events.
const ROW_TIMEOUT: Duration = Duration::from_secs(1);

/// How long beyond `row_delay` another gateway may take to write a row.
const ROW_SLACK: Duration = Duration::from_millis(500);

/// The pause between two looks for the row of an execution that was accepted a moment ago.
const ROW_PAUSE: Duration = Duration::from_millis(25);

/// The most bytes and header fields that an event has in binary mode. With more it is told in
/// structured mode: there are clients that read no response with more.
const LARGEST_HEAD: (usize, usize) = (16 << 10, 64);

/// The most lines in one page of a log.
const MAX_LINES: u32 = 1_000;

/// List executions
///
/// The newest first. All conditions hold together. An execution whose row cannot be read is listed
/// with its id and the reason.
#[utoipa::path(get, path = "/v1/executions", tag = "executions", params(ListExecutions),
    responses((status = 200, description = "A page of executions", body = ExecutionPage)))]
pub(crate) async fn list(
    State(app): State<SharedApp>,
    caller: Caller,
    Params(query): Params<ListExecutions>,
) -> Result<Json<ExecutionPage>> {
    let limit = page::limit(query.limit, 50, page::MAX_PAGE)?;
    // What this gateway has accepted is listed.
    app.rows.flush(ROW_TIMEOUT).await;
    let query = ExecutionQuery {
        tenant: caller.tenant,
        function: query.function,
        state: query.state,
        outcome: query.outcome,
        event_type: query.event_type,
        event_id: query.event_id,
        since: query.since,
        until: query.until,
        before: query.cursor,
        // One more than is shown says whether there is another page.
        limit: limit + 1,
    };
    let id = |listed: &ListedExecution| {
        listed.as_ref().map_or_else(|row| row.id, |execution| execution.id)
    };
    let (executions, next) = page::cut(app.store.history.executions(&query).await?, limit, id);
    Ok(Json(ExecutionPage {
        executions: executions.into_iter().map(ListedDocument::from).collect(),
        next,
    }))
}

/// Show an execution
///
/// With its event, its result and its attempts: outcome, fuel, memory and time of each.
#[utoipa::path(get, path = "/v1/executions/{id}", tag = "executions",
    params(("id" = uuid::Uuid, Path, description = "The execution's id")),
    responses(
        (status = 200, description = "The execution", body = ExecutionDocument),
        (status = 404, description = "No such execution in this tenant")))]
pub(crate) async fn show(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(id): Segment<ExecutionId>,
) -> Result<Json<ExecutionDocument>> {
    let detail = find(&app, &caller, id).await?;
    let function = Some(&detail.summary)
        .filter(|summary| summary.state == wasmill_domain::State::Queued)
        .and_then(|summary| caller.registry.function(&caller.tenant, &summary.function));
    let no_host = match function {
        Some(function) => app.no_host_for(&function.manifest).await,
        None => None,
    };
    Ok(Json(ExecutionDocument::from(detail).with_no_host(no_host)))
}

/// Get the event of an execution
///
/// As a CloudEvent in binary mode, so that the body is the data byte for byte; in structured mode
/// with `Accept: application/cloudevents+json`, and where the attributes would be more than 64
/// header fields or 16 KiB of them.
#[utoipa::path(get, path = "/v1/executions/{id}/event", tag = "executions",
    params(("id" = uuid::Uuid, Path, description = "The execution's id")),
    responses(
        (status = 200, description = "The event", content(
            (serde_json::Value = "application/cloudevents+json"), (serde_json::Value = "*/*"))),
        (status = 404, description = "No such execution in this tenant"),
        (status = 422, description = "What is stored is no event; the execution shows it as it is")))]
pub(crate) async fn event(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(id): Segment<ExecutionId>,
    headers: HeaderMap,
) -> Result<Response> {
    let event = find(&app, &caller, id).await?.event.map_err(|unreadable| {
        ApiError::Unprocessable(format!(
            "the event of execution {id} cannot be read: {}",
            unreadable.why
        ))
    })?;
    let structured = headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|text| text.contains(STRUCTURED));
    Ok(if structured || !fits_a_head(&event) {
        ([(CONTENT_TYPE, STRUCTURED)], event.to_json()).into_response()
    } else {
        let (headers, body) = write_binary(&event);
        // Made by hand: a conversion would add a content type where the event has none.
        let mut response = Response::new(Body::from(body));
        *response.headers_mut() = headers;
        response.headers_mut().extend(inert());
        response
    })
}

/// Whether a client can be expected to read a response with the attributes as header fields.
fn fits_a_head(event: &Event) -> bool {
    let (bytes, fields) = LARGEST_HEAD;
    let lines: Vec<usize> =
        event.headers().map(|(name, value)| name.len() + value.len() + ": \r\n".len()).collect();
    lines.len() <= fields && lines.iter().sum::<usize>() <= bytes
}

/// Get the result of an execution
///
/// The bytes as the function returned them.
#[utoipa::path(get, path = "/v1/executions/{id}/result", tag = "executions",
    params(("id" = uuid::Uuid, Path, description = "The execution's id")),
    responses(
        (status = 200, description = "The result, of the media type that the function gave it",
            content((serde_json::Value = "*/*"))),
        (status = 404, description = "No such execution in this tenant, or it has no result (yet)")))]
pub(crate) async fn result(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(id): Segment<ExecutionId>,
) -> Result<Response> {
    let detail = find(&app, &caller, id).await?;
    let state = detail.summary.state;
    let output =
        Some(&detail).filter(|detail| !has_failed(detail)).and_then(|detail| detail.output.clone());
    let output = output
        .ok_or_else(|| ApiError::NotFound(format!("the execution is {state} and has no result")))?;
    let octets = HeaderValue::from_static("application/octet-stream");
    let content_type = HeaderValue::try_from(output.content_type).unwrap_or(octets);
    Ok((inert(), [(CONTENT_TYPE, content_type)], output.data).into_response())
}

/// Get the log of an execution
///
/// Of every attempt, in order.
#[utoipa::path(get, path = "/v1/executions/{id}/logs", tag = "executions",
    params(("id" = uuid::Uuid, Path, description = "The execution's id"), ListLogs),
    responses(
        (status = 200, description = "A page of the log", body = LogPage),
        (status = 404, description = "No such execution in this tenant")))]
pub(crate) async fn logs(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(id): Segment<ExecutionId>,
    Params(query): Params<ListLogs>,
) -> Result<Json<LogPage>> {
    let limit = page::limit(query.limit, MAX_LINES, MAX_LINES)?;
    let after = query.cursor.map(|cursor| cursor.0);
    let lines = app.store.history.logs(&caller.tenant, id, after, limit + 1).await?;
    if lines.is_empty() {
        // No lines, or no execution?
        find(&app, &caller, id).await?;
    }
    let position = |entry: &wasmill_store::LogEntry| {
        LogCursor(wasmill_store::LogPosition { attempt: entry.attempt, seq: entry.line.seq })
    };
    let (lines, next) = page::cut(lines, limit, position);
    Ok(Json(LogPage { logs: lines.into_iter().map(LogDocument::from).collect(), next }))
}

/// Finds an execution of the caller's tenant. Where its event was accepted a moment ago, its row
/// may still be on its way: what is known here is told then, and a row that another gateway is to
/// write is waited for.
async fn find(app: &App, caller: &Caller, id: ExecutionId) -> Result<ExecutionDetail> {
    let pending = app.rows.pending(id).filter(|dispatch| dispatch.tenant == caller.tenant);
    let age = Timestamp::now().since(id.made_at());
    let until = Instant::now() + (app.settings.row_delay + ROW_SLACK).saturating_sub(age);
    loop {
        if let Some(found) = app.store.history.execution(&caller.tenant, id).await? {
            return Ok(found);
        }
        if let Some(dispatch) = pending {
            return Ok(just_accepted(dispatch));
        }
        if Instant::now() >= until {
            return Err(ApiError::NotFound(format!("there is no execution {id}")));
        }
        tokio::time::sleep(ROW_PAUSE).await;
    }
}

/// Headers that keep a browser from running what a sender or a guest wrote.
pub(crate) fn inert() -> [(http::HeaderName, HeaderValue); 3] {
    [
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox")),
        (CONTENT_DISPOSITION, HeaderValue::from_static("attachment")),
    ]
}
