//! Requests whose response a handler makes while the caller waits: both bodies are streamed, over a
//! request stream to the host.

mod response;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, sleep_until, timeout_at};
use wasmill_broker::{BrokerError, QueueName, RequestStream, STREAM_CHUNK_BYTES};
use wasmill_domain::event::Attribute;
use wasmill_domain::http_message::{BODY_OMITTED, Download, MEDIA_TYPE, Opening, ResponseHead};
use wasmill_domain::{ExecutionId, Outcome};
use wasmill_http::has_no_content;

use self::response::{ResponseBody, Talk};
use self::upload::{Failure, Held, Uploading, cancel};
use super::routed::{Routed, failed};
use super::{event, request};
use crate::app::App;
use crate::body::{self, BufferedBody, aborted, too_large};
use crate::budget::Owner;
use crate::error::{ApiError, Result};

/// How long a request waits for a host to accept it: for a new function to be ready there, say.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// How much longer than the attempt may take a response is waited for.
const MARGIN: Duration = Duration::from_secs(5);

/// The pause between two attempts where nobody accepts streams yet.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers with what the handler says, as it says it.
pub(super) async fn serve(app: &Arc<App>, routed: Routed, request: Request) -> Result<Response> {
    let owner = Owner::without_key(request.extensions(), &routed.tenant);
    let reading = app.admit(&owner)?;
    let (parts, body) = request.into_parts();
    let limit = app.settings.max_upload_bytes;
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    let Beginning { first, read, rest } = beginning(app, &owner, &routed, &parts, body).await?;
    let reservation = app.admit_waiting(&routed.tenant, &owner)?;
    drop(reading);
    event::check(app, &routed, &parts, &first, (Arc::clone(&reservation), read.clone())).await?;
    let opening = opening_of(&routed, &parts, first, rest.is_none())?;
    let execution = opening.dispatch.execution;

    let writes = app.publisher.writes();
    let RequestStream { sender, receiver } = call(app, &routed, opening.encode(writes)).await?;
    let upload = Uploading::begin(rest, sender, writes.clone(), limit);
    let deadline = Instant::now() + routed.function.manifest.limits.timeout.0 + MARGIN;
    let deadline = Box::pin(sleep_until(deadline));
    let talk = Talk { receiver, deadline, upload, _reservation: reservation };
    let (head, talk) = head_of(app, talk, execution).await?;
    response_of(app, parts.method == Method::HEAD, head, talk, execution)
}

/// What a request stream is opened with.
fn opening_of(routed: &Routed, parts: &Parts, body: Bytes, complete: bool) -> Result<Opening> {
    let head = request::head_of(parts, &routed.path);
    let mut event = event::blank(routed, parts)?;
    event.datacontenttype = Some(MEDIA_TYPE.into());
    event.data = Some(head.to_message(&body));
    if !complete {
        event.set(BODY_OMITTED, Attribute::Boolean(true))?;
    }
    let dispatch = event::mint(routed, event.check()?, 1);
    Ok(Opening { dispatch, head, body, complete })
}

/// The head of the handler's response, when it comes.
///
/// # Errors
/// Where none does.
async fn head_of(
    app: &App,
    mut talk: Talk,
    execution: ExecutionId,
) -> Result<(ResponseHead, Talk)> {
    let received = tokio::select! {
        biased;
        Failure { error, sender } = talk.upload.failure() => {
            cancel(talk.receiver, sender, talk.deadline.deadline());
            return Err(error);
        }
        received = talk.receiver.receive() => received,
        () = &mut talk.deadline => return Err(failed(StatusCode::GATEWAY_TIMEOUT, execution)),
        () = app.shutdown.cancelled() => return Err(ApiError::Unavailable("this gateway is being stopped")),
    };
    match received.map(|frame| Download::decode(&frame)) {
        Some(Ok(Download::Head(head))) => Ok((head, talk)),
        Some(Ok(Download::Failed { outcome, message })) => {
            Err(refused(execution, outcome, &message))
        }
        // A host that died, or that speaks another version.
        _ => Err(failed(StatusCode::BAD_GATEWAY, execution)),
    }
}

/// The response with this head, whose body is what comes of the talk.
fn response_of(
    app: &App,
    is_head: bool,
    head: ResponseHead,
    talk: Talk,
    execution: ExecutionId,
) -> Result<Response> {
    let status = StatusCode::from_u16(head.status).ok().filter(|status| !status.is_informational());
    let status = status.ok_or_else(|| failed(StatusCode::BAD_GATEWAY, execution))?;
    let headers = request::response_fields(head.headers);
    let left = if is_head || has_no_content(status) { Some(0) } else { length_of(&headers) };
    let body = ResponseBody::new(talk, left, app.settings.server.write_timeout);
    let mut response = Response::new(Body::new(body));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    Ok(response)
}

/// What is read of a request's body before a host accepts the request.
struct Beginning {
    first: Bytes,
    /// What it counts as, where it is the whole body: it is in memory until the host has answered.
    read: Option<BufferedBody>,
    /// Where the rest of it comes from, if there may be some, and what of that is in memory.
    rest: Option<(Body, Held)>,
}

async fn beginning(
    app: &App,
    owner: &Owner,
    routed: &Routed,
    parts: &Parts,
    mut body: Body,
) -> Result<Beginning> {
    if routed.route.is_checked() || request::is_short(&body, STREAM_CHUNK_BYTES) {
        let most = if routed.route.is_checked() {
            app.settings.max_event_bytes
        } else {
            STREAM_CHUNK_BYTES
        };
        let read = body::read_as_it_is(app, owner, body, most).await?;
        return Ok(Beginning { first: read.bytes.clone(), read: Some(read), rest: None });
    }
    let held = Held::begin(app.bodies.share(owner))?;
    let mut first = Bytes::new();
    if parts.headers.contains_key(EXPECT) {
        // It waits to be told that its body is wanted, which reading does; after the response's
        // head it would be too late.
        first = first_chunk(app, &mut body).await?;
    }
    Ok(Beginning { first, read: None, rest: Some((body, held)) })
}

/// How long a response's content is, where its head says so.
fn length_of(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The beginning of a body, when it comes.
async fn first_chunk(app: &App, body: &mut Body) -> Result<Bytes> {
    let wait_timeout = app.settings.server.body_timeout;
    let frame = tokio::time::timeout(wait_timeout, body.frame())
        .await
        .map_err(|_| ApiError::Timeout(wait_timeout))?;
    let frame = frame.transpose().map_err(|_| aborted())?;
    Ok(frame.and_then(|frame| frame.into_data().ok()).unwrap_or_default())
}

/// Opens a request stream to the function's hosts, until one accepts it.
///
/// # Errors
/// Where none does in time.
async fn call(app: &App, routed: &Routed, opening: Bytes) -> Result<RequestStream> {
    let service = QueueName::of_streams(&routed.tenant, &routed.function.name);
    let deadline = Instant::now() + DIAL_TIMEOUT;
    let nobody = || ApiError::Unavailable("no host answers for this function now");
    loop {
        match timeout_at(deadline, app.broker.streams.open_stream(&service, opening.clone())).await
        {
            Ok(Ok(mut stream)) => {
                return match timeout_at(deadline, stream.receiver.accepted()).await {
                    Ok(true) => Ok(stream),
                    _ => Err(nobody()),
                };
            }
            Ok(Err(BrokerError::NoQueue(_))) if Instant::now() + PAUSE < deadline => {
                tokio::time::sleep(PAUSE).await;
            }
            Ok(Err(BrokerError::Full(_))) => {
                return Err(ApiError::QueueFull(routed.function.name.to_string()));
            }
            Ok(Err(BrokerError::Rejected(why))) => return Err(ApiError::TooLarge(why)),
            Ok(Err(error)) => {
                tracing::warn!(function = %routed.function.name, %error, "a request stream cannot be opened");
                return Err(nobody());
            }
            Err(_) => return Err(nobody()),
        }
    }
}

/// What a caller receives of an attempt that made no response.
fn refused(execution: ExecutionId, outcome: Outcome, message: &str) -> ApiError {
    tracing::debug!(%execution, %outcome, message, "a handler made no response");
    failed(
        match outcome {
            Outcome::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Outcome::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_GATEWAY,
        },
        execution,
    )
}
