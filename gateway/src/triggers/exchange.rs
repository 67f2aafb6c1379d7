//! Requests whose response a handler makes while the caller waits: both bodies are streamed, over a line to the host.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http::header::EXPECT;
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use wasmill_broker::{Error as BrokerError, LINE_FRAME, Line, Listener, QueueName, Speaker};
use wasmill_domain::event::Attribute;
use wasmill_domain::http_message::{BODY_OMITTED, Download, MEDIA_TYPE, Opening, Upload};
use wasmill_domain::{ExecutionId, Outcome};

use super::{Routed, event, failed, keys, request};
use crate::app::{App, Room};
use crate::error::{Error, Result};

/// How long a call waits for a host to answer it: for a new function to be ready there, say.
const ANSWER: Duration = Duration::from_secs(10);

/// How much longer than the attempt may take a response is waited for.
const MARGIN: Duration = Duration::from_secs(5);

/// The pause between two calls where nobody answers yet.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers with what the handler says, as it says it.
pub(super) async fn serve(app: &Arc<App>, routed: Routed, request: Request) -> Result<Response> {
    let room = app.admit_waiting()?;
    let (parts, body) = request.into_parts();
    let limit = app.settings.max_upload_bytes;
    let is_whole = routed.route.is_checked() || request::is_short(&body, LINE_FRAME);
    let (first, rest) = if is_whole {
        let most = if routed.route.is_checked() { app.settings.max_event_bytes } else { LINE_FRAME };
        (request::read(app, body, most).await?, None)
    } else if parts.headers.contains_key(EXPECT) {
        // It waits to be told that its body is wanted, which reading does; after the response's head it would be too late.
        let mut body = body;
        (first_chunk(app, &mut body).await?, Some(body))
    } else {
        (Bytes::new(), Some(body))
    };
    event::check(app, &routed, &parts, &first, &[&room]).await?;
    let head = request::head_of(&parts, &routed.path);
    let mut event = event::blank(&routed, &parts)?;
    event.datacontenttype = Some(MEDIA_TYPE.into());
    event.data = Some(head.to_message(&first));
    if rest.is_some() {
        event.set(BODY_OMITTED, Attribute::Boolean(true))?;
    }
    let dispatch = event::mint(&routed, event.check()?, 1);
    let execution = dispatch.execution;
    let opening = Opening { dispatch, head, body: first, complete: rest.is_none() };

    let Line { speaker, mut listener } = call(app, &routed, opening.encode()).await?;
    let upload = rest.map(|body| AbortOnDropHandle::new(tokio::spawn(upload(body, speaker, limit))));
    let deadline = Instant::now() + routed.function.manifest.limits.timeout.0 + MARGIN;
    let heard = tokio::select! {
        heard = timeout_at(deadline, listener.hear()) => heard,
        () = app.shutdown.cancelled() => return Err(Error::Unavailable("this gateway is being stopped")),
    };
    let heard = heard.map_err(|_| failed(StatusCode::GATEWAY_TIMEOUT, execution))?;
    let head = match heard.map(|frame| Download::decode(&frame)) {
        Some(Ok(Download::Head(head))) => head,
        Some(Ok(Download::Failed { outcome, message })) => return Err(refused(execution, outcome, &message)),
        // A host that died, or that speaks another version.
        _ => return Err(failed(StatusCode::BAD_GATEWAY, execution)),
    };
    let body =
        ResponseBody { listener, deadline: Box::pin(tokio::time::sleep_until(deadline)), _upload: upload, _room: room };
    let mut response = Response::new(Body::new(body));
    *response.status_mut() =
        StatusCode::from_u16(head.status).map_err(|_| failed(StatusCode::BAD_GATEWAY, execution))?;
    *response.headers_mut() = request::header_map(head.headers);
    Ok(response)
}

/// The beginning of a body, when it comes.
async fn first_chunk(app: &App, body: &mut Body) -> Result<Bytes> {
    let patience = app.settings.body_timeout;
    let frame = tokio::time::timeout(patience, body.frame()).await.map_err(|_| Error::Timeout(patience))?;
    let frame = frame.transpose().map_err(|_| Error::BadRequest("the body breaks off".into()))?;
    Ok(frame.and_then(|frame| frame.into_data().ok()).unwrap_or_default())
}

/// Calls the function's hosts until one answers.
///
/// # Errors
/// Where none does in time.
async fn call(app: &App, routed: &Routed, opening: Bytes) -> Result<Line> {
    let service = QueueName::of_calls(&routed.tenant, &routed.function.name);
    let deadline = Instant::now() + ANSWER;
    let nobody = || Error::Unavailable("no host answers for this function now");
    loop {
        match timeout_at(deadline, app.publisher.broker().call(&service, opening.clone())).await {
            Ok(Ok(mut line)) => {
                return match timeout_at(deadline, line.listener.answered()).await {
                    Ok(true) => Ok(line),
                    _ => Err(nobody()),
                };
            }
            Ok(Err(BrokerError::NoQueue(_))) if Instant::now() + PAUSE < deadline => tokio::time::sleep(PAUSE).await,
            Ok(Err(BrokerError::Full(_))) => return Err(Error::QueueFull(routed.function.name.to_string())),
            Ok(Err(BrokerError::Rejected(why))) => return Err(Error::TooLarge(why)),
            Ok(Err(error)) => {
                tracing::warn!(function = %routed.function.name, %error, "a call cannot be made");
                return Err(nobody());
            }
            Err(_) => return Err(nobody()),
        }
    }
}

/// What a caller hears of an attempt that made no response.
fn refused(execution: ExecutionId, outcome: Outcome, message: &str) -> Error {
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

/// Sends the request's body on as it comes. One that breaks off, or is longer than `limit`, ends without its end, which the guest
/// sees.
async fn upload(mut body: Body, speaker: Speaker, limit: usize) {
    let mut left = limit;
    let mut trailers = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return };
        match frame.into_data() {
            Ok(mut data) => {
                let Some(rest) = left.checked_sub(data.len()) else { return };
                left = rest;
                while !data.is_empty() {
                    let chunk = data.split_to(data.len().min(LINE_FRAME));
                    if speaker.say(Upload::Data(chunk).encode()).await.is_err() {
                        return;
                    }
                }
            }
            Err(frame) => {
                let mut map = frame.into_trailers().unwrap_or_default();
                keys::strip_from(&mut map);
                trailers = request::end_to_end(&map).collect();
            }
        }
    }
    // Whoever does not hear it has no use for it.
    let _ = speaker.say(Upload::End(trailers).encode()).await;
}

/// A response's body, as it comes over the line. Dropped before its end, it tells the host that the caller is gone.
struct ResponseBody {
    listener: Listener,
    deadline: Pin<Box<tokio::time::Sleep>>,
    _upload: Option<AbortOnDropHandle<()>>,
    _room: Room,
}

/// The response breaks off.
#[derive(Debug, thiserror::Error)]
#[error("the response breaks off: the function failed, or its host was lost")]
struct BrokenOff;

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let heard = match self.listener.poll_hear(context) {
            Poll::Ready(heard) => heard,
            Poll::Pending => {
                return self.deadline.as_mut().poll(context).map(|()| Some(Err(BrokenOff)));
            }
        };
        Poll::Ready(match heard.and_then(|frame| Download::decode(&frame).ok()) {
            Some(Download::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Download::End(trailers)) if trailers.is_empty() => None,
            Some(Download::End(trailers)) => Some(Ok(Frame::trailers(request::header_map(trailers)))),
            Some(Download::Head(_) | Download::Failed { .. }) | None => Some(Err(BrokenOff)),
        })
    }
}
