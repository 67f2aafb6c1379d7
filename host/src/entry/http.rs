//! HTTP handlers: an event is a request in binary mode, as the HTTP binding of CloudEvents has it
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>),
//! and the response is the result.

use std::future::Future;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wasmill_broker::{STREAM_CHUNK_BYTES, StreamSender};
use wasmill_domain::Event;
use wasmill_domain::event::Attribute;
use wasmill_domain::http_message::{self, Download, Headers, RequestHead, ResponseHead};
use wasmill_domain::wire::Writes;
use wasmill_guest::GuestData;
use wasmtime::Store;
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::{Error as WasiHttpError, WasiHttpView as _};

use super::response::{Answer, Chunks, Response, both};
use super::returned::{InvalidReturn, Returned, contract, retry};
use crate::guest::Guest;
use crate::mask::Mask;
use crate::streams::TooMuchOutput;

/// The name that a handler sees itself called by.
const AUTHORITY: &str = "function.wasmill.internal";

/// How much of a refusing response's text becomes the reason, in characters.
const REASON: usize = 300;

/// How often a handler that has set its response is looked at, whether the body is finished too.
/// Each time it may compute until it waits for something or its time slice is over.
const LOOKS: usize = 4;

/// A request that a caller waits for the response to.
pub(crate) struct HttpExchange {
    /// The request.
    pub(crate) head: RequestHead,
    /// Its body, as it comes.
    pub(crate) body: UnsyncBoxBody<Bytes, WasiHttpError>,
    /// Where the response goes.
    pub(crate) sender: StreamSender,
    /// The versions that what is sent there is written in.
    pub(crate) writes: Writes,
}

/// An event as a request, and the response as its result.
pub(super) async fn call(
    proxy: &Proxy,
    store: &mut Store<GuestData>,
    event: &Event,
) -> wasmtime::Result<Returned> {
    let (scheme, request) = match request_of(event, Guest::of(store.data())) {
        Ok(request) => request,
        Err(why) => return Ok(Err(contract::Failure::Reject(why))),
    };
    let most = Guest::of(store.data()).output_limit();
    let response =
        handle(proxy, store, scheme, request, |response| collect(response.head(), most)).await?;
    Ok(returned(response, Guest::of(store.data()).granted.mask()))
}

/// A request whose response goes to its caller as it is made.
pub(super) async fn exchange(
    proxy: &Proxy,
    store: &mut Store<GuestData>,
    exchange: HttpExchange,
) -> wasmtime::Result<Returned> {
    let HttpExchange { head, body, sender, writes } = exchange;
    let mut request = match request_of_head(&head, body) {
        Ok(request) => request,
        Err(why) => return Ok(Err(contract::Failure::Reject(why))),
    };
    add_trace(request.headers_mut(), Guest::of(store.data()))?;
    let scheme = if head.scheme == "https" { Scheme::Https } else { Scheme::Http };
    let method = request.method().clone();
    let sent = handle(proxy, store, scheme, request, |response| {
        send(response.head(), method, sender, writes)
    })
    .await?;
    Ok(sent.summary())
}

/// Calls the handler, while `answering` does something with its response.
async fn handle<B, T, F>(
    proxy: &Proxy,
    store: &mut Store<GuestData>,
    scheme: Scheme,
    request: Request<B>,
    answering: impl FnOnce(Response<ErrorCode>) -> F,
) -> wasmtime::Result<T>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<WasiHttpError>,
    F: Future<Output = wasmtime::Result<T>>,
{
    let (sender, set) = oneshot::channel();
    let guest = Guest::of_mut(store.data_mut());
    let deadline = guest.deadline;
    let incoming = guest.http().new_incoming_request(scheme, request)?;
    let outparam = guest.http().new_response_outparam(sender)?;
    let returned = CancellationToken::new();
    let answered = answering(Response::new(set, returned.clone()));
    let handled = proxy.wasi_http_incoming_handler().call_handle(&mut *store, incoming, outparam);
    both(handled, answered, returned, deadline).await
}

/// A response that was sent to its caller.
pub(super) struct Sent {
    status: StatusCode,
    bytes: u64,
}

impl Sent {
    /// What is recorded of it.
    pub(super) fn summary(&self) -> Returned {
        let status = self.status;
        if status.is_server_error() {
            return Err(retry(format!("answered with {status}"), None));
        }
        let data =
            format!(r#"{{"status":{},"bytes":{}}}"#, status.as_u16(), self.bytes).into_bytes();
        Ok(contract::Output {
            content_type: Some("application/json".into()),
            data,
            emit: Vec::new(),
        })
    }
}

/// Makes sure that a response is one: what comes before it is HTTP's, and no handler has a say in
/// it.
fn check_final(status: StatusCode) -> wasmtime::Result<()> {
    if status.is_informational() {
        return Err(InvalidReturn("answered with a status of 1xx, which is no response").into());
    }
    Ok(())
}

/// Whether a response to `method` may say that it has no content by its length.
fn may_be_empty(method: &Method, status: StatusCode) -> bool {
    method != Method::HEAD && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Sends a response to its caller as it is made. A caller that closes the stream ends the attempt.
pub(super) async fn send(
    head: impl Future<Output = wasmtime::Result<(Answer, Chunks)>>,
    method: Method,
    sender: StreamSender,
    writes: Writes,
) -> wasmtime::Result<Sent> {
    let sending = async {
        let (answer, chunks) = head.await?;
        let response = answer.map_err(Answered)?;
        check_final(response.status())?;
        let (mut head, mut body) = response.into_parts();
        let mut sent = Sent { status: head.status, bytes: 0 };
        // What the guest writes at once; the head does not wait for more.
        let mut first = chunks.next(&mut body).now_or_never();
        for _ in 0..LOOKS {
            if first.is_none() {
                tokio::task::yield_now().await;
                first = chunks.next(&mut body).now_or_never();
            }
        }
        if matches!(first, Some(Ok(None))) && may_be_empty(&method, head.status) {
            head.headers.entry(CONTENT_LENGTH).or_insert(HeaderValue::from_static("0"));
        }
        let begun = ResponseHead { status: head.status.as_u16(), headers: fields(&head.headers) };
        send_part(&sender, &writes, Download::Head(begun)).await?;
        let mut trailers = Vec::new();
        loop {
            let frame = match first.take() {
                Some(frame) => frame,
                None => chunks.next(&mut body).await,
            };
            let Some(frame) = frame? else { break };
            match frame.into_data() {
                Ok(mut data) => {
                    sent.bytes += data.len() as u64;
                    while !data.is_empty() {
                        let chunk = data.split_to(data.len().min(STREAM_CHUNK_BYTES));
                        send_part(&sender, &writes, Download::Data(chunk)).await?;
                    }
                }
                Err(frame) => {
                    trailers = frame.into_trailers().map(|map| fields(&map)).unwrap_or_default();
                }
            }
        }
        send_part(&sender, &writes, Download::End(trailers)).await?;
        Ok(sent)
    };
    tokio::select! {
        biased;
        sent = sending => sent,
        () = sender.closed() => Err(CallerGone.into()),
    }
}

async fn send_part(
    sender: &StreamSender,
    writes: &Writes,
    download: Download,
) -> Result<(), CallerGone> {
    sender.send(download.encode(writes)).await.map_err(|_| CallerGone)
}

fn fields(headers: &HeaderMap) -> Headers {
    let field = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), Bytes::copy_from_slice(value.as_bytes()))
    };
    headers.iter().map(field).collect()
}

/// Whoever waited for the response does not any more.
#[derive(Debug, thiserror::Error)]
#[error("the caller has gone away")]
pub(crate) struct CallerGone;

/// The guest set an error instead of a response.
#[derive(Debug, thiserror::Error)]
#[error("answered with an error instead of a response: {0}")]
pub(crate) struct Answered(String);

/// The event as a request: the one that it carries, or itself in binary mode.
pub(super) fn request_of(
    event: &Event,
    guest: &Guest,
) -> Result<(Scheme, Request<Full<Bytes>>), String> {
    let data = event.data.clone().unwrap_or_default();
    let mut scheme = Scheme::Http;
    let mut request = if event.datacontenttype.as_deref() == Some(http_message::MEDIA_TYPE) {
        if event.extensions.contains_key(http_message::BODY_OMITTED) {
            return Err(
                "the request's body was streamed and is not kept, so it cannot be made again"
                    .into(),
            );
        }
        let (head, body) = RequestHead::from_message(&data).map_err(|e| e.to_string())?;
        if matches!(event.extensions.get(http_message::HTTP_SCHEME), Some(Attribute::String(scheme)) if scheme == "https")
        {
            scheme = Scheme::Https;
        }
        request_of_head(&head, Full::new(body))?
    } else {
        let mut request = Request::new(Full::new(data));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::from_static("/");
        request.headers_mut().insert(HOST, HeaderValue::from_static(AUTHORITY));
        for (name, value) in event.headers() {
            // Cannot fail: attribute names are lower-case letters and digits, values visible ASCII.
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::try_from(value))
            {
                request.headers_mut().insert(name, value);
            }
        }
        request
    };
    add_trace(request.headers_mut(), guest).map_err(|e| e.to_string())?;
    Ok((scheme, request))
}

pub(super) fn request_of_head<B>(head: &RequestHead, body: B) -> Result<Request<B>, String> {
    let mut builder = Request::builder().method(head.method.as_str()).uri(head.target.as_str());
    for (name, value) in &head.headers {
        builder = builder.header(
            name.as_str(),
            HeaderValue::from_maybe_shared(value.clone()).map_err(|e| e.to_string())?,
        );
    }
    let host = if head.authority.is_empty() { AUTHORITY } else { &head.authority };
    builder
        .header(HOST, host)
        .body(body)
        .map_err(|e| format!("not a request that can be made: {e}"))
}

/// The attempt's position in its trace.
pub(super) fn add_trace(headers: &mut HeaderMap, guest: &Guest) -> wasmtime::Result<()> {
    if let Some(execution) = &guest.execution {
        headers.insert("traceparent", HeaderValue::from_str(&execution.span.to_string())?);
        if let Some(state) = &execution.span.tracestate {
            headers.insert("tracestate", HeaderValue::from_str(state)?);
        }
    }
    Ok(())
}

/// A response, read to its end.
pub(super) async fn collect(
    head: impl Future<Output = wasmtime::Result<(Answer, Chunks)>>,
    most: usize,
) -> wasmtime::Result<Collected> {
    let (answer, chunks) = head.await?;
    let response = match answer {
        Ok(response) => response,
        Err(code) => return Ok(Err(code)),
    };
    check_final(response.status())?;
    let (head, mut body) = response.into_parts();
    let mut data = BytesMut::new();
    while let Some(frame) = chunks.next(&mut body).await? {
        // Trailers have no place in a result.
        let Ok(chunk) = frame.into_data() else { continue };
        if data.len().saturating_add(chunk.len()) > most {
            return Err(TooMuchOutput.into());
        }
        data.extend_from_slice(&chunk);
    }
    Ok(Ok((head.status, head.headers, data.freeze())))
}

/// A whole response, or the error that the guest set instead.
pub(super) type Collected = Result<(StatusCode, HeaderMap, Bytes), String>;

/// What a response says of the event: statuses that may pass are tried again, other refusals are
/// not.
pub(super) fn returned(collected: Collected, mask: &Mask) -> Returned {
    let (status, headers, data) = match collected {
        Ok(response) => response,
        Err(code) => {
            return Err(retry(
                format!("answered with an error instead of a response: {code}"),
                None,
            ));
        }
    };
    if status.is_success() {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or("application/octet-stream").to_owned();
        return Ok(contract::Output {
            content_type: Some(content_type),
            data: data.into(),
            emit: Vec::new(),
        });
    }
    let reason = match text_of(&headers, &data, mask) {
        Some(text) => format!("answered with {status}: {text}"),
        None => format!("answered with {status}"),
    };
    let may_pass = matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
    ) || status.is_server_error();
    Err(if may_pass {
        retry(reason, delay_of(&headers))
    } else {
        contract::Failure::Reject(reason)
    })
}

/// The pause that `Retry-After` asks for, where it is given in seconds.
fn delay_of(headers: &HeaderMap) -> Option<u64> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    seconds.checked_mul(1000)
}

/// The beginning of a body that is text. All of it is decoded before it is cut: half a character
/// would be none, and half a secret would not be known again.
fn text_of(headers: &HeaderMap, data: &[u8], mask: &Mask) -> Option<String> {
    let media_type =
        headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let says_text = ["text/", "application/json", "application/problem+json", "application/xml"];
    // Text in another encoding than UTF-8 is better shown in part than not at all; other bytes are
    // not.
    let text = match std::str::from_utf8(data) {
        Ok(text) => text.into(),
        Err(_) if says_text.iter().any(|start| media_type.starts_with(start)) => {
            String::from_utf8_lossy(data)
        }
        Err(_) => return None,
    };
    let text = text.trim();
    (!text.is_empty()).then(|| mask.text(text.to_owned()).chars().take(REASON).collect())
}

#[cfg(test)]
mod tests;
