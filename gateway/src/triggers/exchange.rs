//! Requests whose response a handler makes while the caller waits: both bodies are streamed, over a
//! request stream to the host.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use wasmill_broker::{
    BrokerError, QueueName, RequestStream, STREAM_CHUNK_BYTES, StreamReceiver, StreamSender,
};
use wasmill_domain::event::Attribute;
use wasmill_domain::http_message::{BODY_OMITTED, Download, MEDIA_TYPE, Opening, Upload};
use wasmill_domain::wire::Writes;
use wasmill_domain::{ExecutionId, Outcome};
use wasmill_http::has_no_content;

use super::{Routed, event, failed, keys, request};
use crate::app::{App, Reservation};
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
    let reservation = app.admit_waiting(&routed.tenant)?;
    drop(reading);
    event::check(app, &routed, &parts, &first, (Arc::clone(&reservation), read.clone())).await?;
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

    let writes = app.publisher.writes();
    let RequestStream { sender, mut receiver } = call(app, &routed, opening.encode(writes)).await?;
    let mut upload = Uploading(rest.map(|body| {
        AbortOnDropHandle::new(tokio::spawn(upload(body, sender, writes.clone(), limit)))
    }));
    let deadline = Instant::now() + routed.function.manifest.limits.timeout.0 + MARGIN;
    let received = tokio::select! {
        biased;
        Failure { error, sender } = upload.failure() => {
            cancel(receiver, sender, deadline);
            return Err(error);
        }
        received = timeout_at(deadline, receiver.receive()) => received,
        () = app.shutdown.cancelled() => return Err(ApiError::Unavailable("this gateway is being stopped")),
    };
    let received = received.map_err(|_| failed(StatusCode::GATEWAY_TIMEOUT, execution))?;
    let head = match received.map(|frame| Download::decode(&frame)) {
        Some(Ok(Download::Head(head))) => head,
        Some(Ok(Download::Failed { outcome, message })) => {
            return Err(refused(execution, outcome, &message));
        }
        // A host that died, or that speaks another version.
        _ => return Err(failed(StatusCode::BAD_GATEWAY, execution)),
    };
    let status = StatusCode::from_u16(head.status).ok().filter(|status| !status.is_informational());
    let status = status.ok_or_else(|| failed(StatusCode::BAD_GATEWAY, execution))?;
    let headers = request::response_fields(head.headers);
    let left = if parts.method == Method::HEAD || has_no_content(status) {
        Some(0)
    } else {
        length_of(&headers)
    };
    let talk = Talk {
        receiver,
        deadline: Box::pin(tokio::time::sleep_until(deadline)),
        upload,
        _reservation: reservation,
    };
    let mut response = Response::new(Body::new(ResponseBody { talk: Some(talk), left }));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    Ok(response)
}

/// What is read of a request's body before a host accepts the request.
struct Beginning {
    first: Bytes,
    /// What it counts as, where it is the whole body: it is in memory until the host has answered.
    read: Option<BufferedBody>,
    /// Where the rest of it comes from, if there may be some.
    rest: Option<Body>,
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
    let mut first = Bytes::new();
    if parts.headers.contains_key(EXPECT) {
        // It waits to be told that its body is wanted, which reading does; after the response's
        // head it would be too late.
        first = first_chunk(app, &mut body).await?;
    }
    Ok(Beginning { first, read: None, rest: Some(body) })
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

/// A request's body that cannot be sent on to its end.
struct Failure {
    error: ApiError,
    /// Kept, as without it the guest would be told that its request's body is broken before its
    /// attempt is aborted.
    sender: StreamSender,
}

/// The rest of a request's body on its way to the host, if there is any.
struct Uploading(Option<AbortOnDropHandle<Result<(), Failure>>>);

impl Uploading {
    /// Awaits that the body cannot be sent on. If it can, that is never.
    async fn failure(&mut self) -> Failure {
        std::future::poll_fn(|context| self.poll_failure(context)).await
    }

    fn poll_failure(&mut self, context: &mut Context<'_>) -> Poll<Failure> {
        let Some(handle) = &mut self.0 else { return Poll::Pending };
        let ended = std::task::ready!(Pin::new(handle).poll(context));
        self.0 = None;
        match ended {
            Ok(Err(failure)) => Poll::Ready(failure),
            _ => Poll::Pending,
        }
    }
}

/// Cancels an attempt whose request's body is no good. The host learns that the stream is closed
/// before it learns that the body is broken off.
fn cancel(receiver: StreamReceiver, sender: StreamSender, deadline: Instant) {
    drop(receiver);
    tokio::spawn(async move { timeout_at(deadline, sender.closed()).await });
}

/// Sends the request's body on as it comes.
///
/// # Errors
/// Where it breaks off, is not what HTTP has, or is longer than `limit`.
async fn upload(
    mut body: Body,
    sender: StreamSender,
    writes: Writes,
    limit: usize,
) -> Result<(), Failure> {
    let mut left = limit;
    let mut trailers = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(Failure { error: aborted(), sender }) };
        match frame.into_data() {
            Ok(mut data) => {
                let Some(rest) = left.checked_sub(data.len()) else {
                    return Err(Failure { error: too_large(limit), sender });
                };
                left = rest;
                while !data.is_empty() {
                    let chunk = data.split_to(data.len().min(STREAM_CHUNK_BYTES));
                    if sender.send(Upload::Data(chunk).encode(&writes)).await.is_err() {
                        return Ok(());
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
    // Whoever does not receive it has no use for it.
    let _ = sender.send(Upload::End(trailers).encode(&writes)).await;
    Ok(())
}

/// What is between the gateway and the host after the response's head.
struct Talk {
    receiver: StreamReceiver,
    deadline: Pin<Box<tokio::time::Sleep>>,
    upload: Uploading,
    _reservation: Reservation,
}

impl Talk {
    /// Hears the rest, which the caller has no use for.
    async fn drain(self) {
        let Self { mut receiver, mut deadline, mut upload, _reservation } = self;
        let ended = async {
            while let Some(frame) = receiver.receive().await {
                if !matches!(Download::decode(&frame), Ok(Download::Data(_))) {
                    return;
                }
            }
        };
        // A guest that still reads its request learns that no more of it comes: the caller has the
        // whole response and may be gone.
        let aborted = async {
            drop(upload.failure().await);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = ended => {}
            () = aborted => {}
            () = &mut deadline => {}
        }
    }
}

/// A response's body, as it comes over the stream. Dropped before the caller has all of it, it
/// tells the host that the caller is gone; otherwise the attempt goes on to its end.
struct ResponseBody {
    /// Nothing once the body has ended.
    talk: Option<Talk>,
    /// How much the caller has not got yet, where that is known.
    left: Option<u64>,
}

impl ResponseBody {
    /// Breaks off.
    fn aborted(&mut self) -> Option<Result<Frame<Bytes>, Aborted>> {
        self.talk = None;
        Some(Err(Aborted))
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let Some(talk) = self.talk.take() else { return };
        // Outside of a runtime everything ends.
        if self.left == Some(0)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(talk.drain());
        }
    }
}

/// The response breaks off.
#[derive(Debug, thiserror::Error)]
#[error("the response breaks off: the function failed, or its host was lost")]
struct Aborted;

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let Some(talk) = &mut self.talk else { return Poll::Ready(None) };
        if let Poll::Ready(Failure { sender, .. }) = talk.upload.poll_failure(context) {
            let deadline = talk.deadline.deadline();
            if let Some(talk) = self.talk.take() {
                cancel(talk.receiver, sender, deadline);
            }
            return Poll::Ready(self.aborted());
        }
        let received = match talk.receiver.poll_receive(context) {
            Poll::Ready(received) => received,
            Poll::Pending => {
                std::task::ready!(talk.deadline.as_mut().poll(context));
                return Poll::Ready(self.aborted());
            }
        };
        Poll::Ready(match received.and_then(|frame| Download::decode(&frame).ok()) {
            Some(Download::Data(data)) => {
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                Some(Ok(Frame::data(data)))
            }
            Some(Download::End(trailers)) => {
                self.talk = None;
                (!trailers.is_empty())
                    .then(|| Ok(Frame::trailers(request::response_fields(trailers))))
            }
            Some(Download::Head(_) | Download::Failed { .. }) | None => self.aborted(),
        })
    }
}
