//! Requests that become events on the function's queue: answered at once, or with the result.

use std::sync::Arc;

use axum::Json;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::request::Parts;
use tokio::time::Instant;
use uuid::Uuid;
use wasmill_domain::event::{Event, EventParts, is_json_media_type};
use wasmill_domain::http_message::{EVENT_TYPE, HTTP_SCHEME, MEDIA_TYPE};
use wasmill_domain::manifest::Kind;
use wasmill_domain::registry::Refusal;
use wasmill_domain::{Dispatch, Origin, Outcome, State, TenantName, Timestamp, json};
use wasmill_store::ExecutionDetail;

use super::request;
use super::routed::{Routed, failed};
use crate::app::App;
use crate::awaited::{end_of, publish};
use crate::body::{self, media_type, not_json};
use crate::budget::Owner;
use crate::documents::events::Accepted;
use crate::error::{ApiError, Result};
use crate::ingest::{self, check::INLINE_BYTES, check::INLINE_STEPS};
use crate::problem::Fault;

/// How much longer than its attempts an execution is waited for: its way through the queue.
const MARGIN: std::time::Duration = std::time::Duration::from_secs(5);

/// Answers `202` with the execution's id; it runs from the queue.
pub(super) async fn accept(app: &Arc<App>, routed: Routed, request: Request) -> Result<Response> {
    let owner = Owner::without_key(request.extensions(), &routed.tenant);
    let reservation = app.admit(&owner)?;
    let (parts, body) = request.into_parts();
    let body = body::read_as_it_is(app, &owner, body, app.settings.max_event_bytes).await?;
    let max_attempts = routed.function.manifest.retry.max_attempts;
    let reserved = (reservation, body.clone());
    let dispatch =
        dispatch_of(app, &routed, &parts, &body.bytes, max_attempts, reserved.clone()).await?;
    let accepted = Accepted::new(&dispatch.event, std::slice::from_ref(&dispatch));
    ingest::accept::accept(app, vec![dispatch], reserved).await?;
    Ok((StatusCode::ACCEPTED, Json(accepted)).into_response())
}

/// Runs the function from the queue and answers with its result. Only one attempt is made: the
/// caller can try again.
pub(super) async fn run(app: &Arc<App>, routed: Routed, request: Request) -> Result<Response> {
    let owner = Owner::without_key(request.extensions(), &routed.tenant);
    let reading = app.admit(&owner)?;
    let (parts, body) = request.into_parts();
    let body = body::read_as_it_is(app, &owner, body, app.settings.max_event_bytes).await?;
    // Kept until the function has answered, as the body is in memory until then.
    let reserved = (app.admit_waiting(&routed.tenant, &owner)?, body.clone());
    drop(reading);
    let dispatch = dispatch_of(app, &routed, &parts, &body.bytes, 1, reserved.clone()).await?;
    let deadline = Instant::now() + routed.function.manifest.limits.timeout.0 + MARGIN;
    let (awaited, _reserved) = publish(app, &dispatch, reserved).await?;
    let detail = end_of(app, &dispatch, awaited, deadline).await;
    match detail {
        Some(detail) if detail.summary.state.is_terminal() => response_of(detail),
        Some(detail) if detail.summary.state == State::Suspended => {
            Err(ApiError::Suspended(detail.summary.id))
        }
        // It goes on; the caller learns where to look.
        _ => {
            let location = format!("/v1/executions/{}", dispatch.execution);
            Ok((StatusCode::ACCEPTED, [(LOCATION, location)]).into_response())
        }
    }
}

/// The result as a response.
fn response_of(detail: ExecutionDetail) -> Result<Response> {
    let execution = detail.summary.id;
    match (detail.summary.state, detail.summary.outcome) {
        (State::Succeeded, _) => {
            let Some(output) = detail.output else {
                return Ok(StatusCode::NO_CONTENT.into_response());
            };
            let mut response = output.data.into_response();
            // Cannot fail: a result's media type was checked when it was recorded.
            if let Ok(value) = HeaderValue::try_from(output.content_type) {
                response.headers_mut().insert(CONTENT_TYPE, value);
            }
            Ok(response)
        }
        (_, Some(Outcome::Rejected)) => {
            let reason = detail.summary.message.unwrap_or_default();
            Err(ApiError::Unprocessable(format!("the function refuses the request: {reason}")))
        }
        (_, Some(Outcome::TimedOut)) => Err(failed(StatusCode::GATEWAY_TIMEOUT, execution)),
        (_, Some(Outcome::Cancelled)) => Err(failed(StatusCode::SERVICE_UNAVAILABLE, execution)),
        _ => Err(failed(StatusCode::BAD_GATEWAY, execution)),
    }
}

/// Makes the execution that a request with this body is.
async fn dispatch_of(
    app: &App,
    routed: &Routed,
    parts: &Parts,
    body: &Bytes,
    max_attempts: u32,
    reserved: impl Send + 'static,
) -> Result<Dispatch> {
    check(app, routed, parts, body, reserved).await?;
    let event = event_of(routed, parts, body.clone())?;
    Ok(mint(routed, event, max_attempts))
}

/// An execution of the routed function.
pub(super) fn mint(routed: &Routed, event: Event, max_attempts: u32) -> Dispatch {
    let now = Timestamp::now();
    Dispatch::new(
        routed.tenant.clone(),
        routed.function.name.clone(),
        routed.trace.clone(),
        Arc::new(event),
    )
    .with_max_attempts(max_attempts)
    .with_origin(Origin::Invocation)
    .with_accepted_at(now)
    .with_revision(routed.registry.revision())
}

/// Checks a body against the trigger's schema, where there is one. As long as that takes, it keeps
/// what is `reserved` for the request.
///
/// # Errors
/// Where it is not JSON, or does not satisfy the schema.
pub(super) async fn check(
    app: &App,
    routed: &Routed,
    parts: &Parts,
    body: &Bytes,
    reserved: impl Send + 'static,
) -> Result<()> {
    if !routed.route.is_checked() {
        return Ok(());
    }
    if !media_type(&parts.headers)?.as_deref().is_some_and(is_json_media_type) {
        return Err(ApiError::MediaType(
            "the route takes JSON: say so by 'Content-Type: application/json'".into(),
            &["application/json"],
        ));
    }
    let parsed = |body: &Bytes| {
        json::parse(body)
            .map_err(|error| ApiError::BadDocument(not_json("", "the body", body, &error)))
    };
    let mut steps = INLINE_STEPS.min(routed.registry.schema_compiler().max_check_steps());
    let is_short = body.len() <= INLINE_BYTES;
    let inline = if is_short { routed.route.try_check(&parsed(body)?, &mut steps) } else { None };
    let checked = match inline {
        Some(checked) => checked,
        None => {
            let (route, body) = (routed.route.clone(), body.clone());
            let check = move || {
                let _reserved = reserved;
                parsed(&body).map(|data| route.check(&data))
            };
            app.compute(&routed.tenant, check).await??
        }
    };
    checked.map_err(|refusal| refused(&routed.tenant, refusal))
}

/// The refusal of a body. Whose the schema is and what it looks like is not for whoever may call.
fn refused(tenant: &TenantName, refusal: Refusal) -> ApiError {
    match ingest::check::refused(tenant, refusal, "", "the body does") {
        ApiError::SchemaViolation(detail, faults) => {
            let faults = faults.into_iter().map(|fault| Fault::at(fault.pointer, fault.detail));
            ApiError::SchemaViolation(detail, faults.collect())
        }
        error => error,
    }
}

/// The event that a request is: to a handler the request itself, to others its body.
fn event_of(routed: &Routed, parts: &Parts, body: Bytes) -> Result<Event> {
    let mut event = blank(routed, parts)?;
    if routed.function.manifest.kind == Some(Kind::Http) {
        let head = request::head_of(parts, &routed.path);
        event.datacontenttype = Some(MEDIA_TYPE.into());
        event.data = Some(head.to_message(&body));
    } else if !body.is_empty() {
        match parts.headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()))
        {
            Some(text) => event.set_fitting_media_type(text.trim()),
            None => event.datacontenttype = Some("application/octet-stream".to_owned()),
        }
        event.data = Some(body);
    }
    Ok(event.check()?)
}

/// The event without its data: method, scheme, path, query and the path's parameters are
/// attributes, as far as they fit.
pub(super) fn blank(routed: &Routed, parts: &Parts) -> Result<EventParts> {
    // A type without a wildcard is valid, so this cannot fail.
    let event_type =
        EVENT_TYPE.parse().map_err(|e| ApiError::Internal(format!("the type of requests: {e}")))?;
    let mut event = EventParts::new(Uuid::now_v7().to_string(), "", event_type);
    event.set_fitting_source(&format!("/http/{}{}", routed.tenant, routed.path));
    event.set_fitting("httpmethod", parts.method.as_str());
    event.set_fitting(HTTP_SCHEME, request::scheme_of(parts));
    event.set_fitting("httppath", &routed.path);
    if let Some(query) = parts.uri.query() {
        event.set_fitting("httpquery", query);
    }
    for (name, value) in &routed.parameters {
        event.set_fitting(&format!("param{name}"), value);
    }
    Ok(event)
}

#[cfg(test)]
mod tests;
