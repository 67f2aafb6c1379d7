//! A request that is allowed, and its response.

use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Request, Response, Uri, Version};
use http_body_util::BodyExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::attempt::{AttemptRequests, Way};
use super::body::{RequestBody, ResponseBody};
use super::connect::connect;
use super::errors::of_hyper;
use super::lease::{ConnectionPermits, Lease, length_of_fields};
use super::target::{Failure, RequestTarget};
use crate::settings::OutgoingSettings;

/// The headers of W3C trace context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What the parts of an exchange may take: what the guest asks for, and at most what the host
/// allows.
#[derive(Clone, Copy)]
pub(super) struct Times {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

impl Times {
    pub(super) fn new(options: Option<RequestOptions>, settings: &OutgoingSettings) -> Self {
        let options = options.unwrap_or_default();
        let at_most =
            |asked: Option<Duration>, most: Duration| asked.map_or(most, |asked| asked.min(most));
        Self {
            connect: at_most(options.connect_timeout, settings.connect_timeout),
            first_byte: at_most(options.first_byte_timeout, settings.first_byte_timeout),
            between_bytes: at_most(options.between_bytes_timeout, settings.between_bytes_timeout),
        }
    }
}

/// Sends a request and waits for the head of its response. `permit` is the attempt's permit for it.
pub(super) async fn exchange(
    attempt: &Arc<AttemptRequests>,
    target: &RequestTarget,
    request: Request<WasiBody>,
    times: Times,
    permit: OwnedSemaphorePermit,
) -> Result<Response<WasiBody>, Failure> {
    let network = &attempt.network;
    let pool = network.pool(&attempt.tenant, &attempt.function);
    let not_after = Instant::from_std(attempt.deadline);
    let connect_by = not_after.min(Instant::now() + times.connect);
    let mut request = prepare(attempt, target, request)?;
    let permits = async {
        // The function's own first: while it waits for that, it is in nobody's way.
        let of_function = Arc::clone(&pool.connections).acquire_owned().await.ok()?;
        let of_host = network.connections.acquire(&attempt.tenant, &attempt.function, 1).await;
        Some(ConnectionPermits {
            _of_function: of_function,
            _of_host: of_host,
            _of_attempt: permit,
        })
    };
    let permits = timeout_at(connect_by, permits)
        .await
        .ok()
        .flatten()
        .ok_or(Error::ConnectionLimitReached)?;
    let mut lease = Lease::new(Arc::clone(attempt), Arc::clone(&pool), target.clone(), permits);
    loop {
        let (connection, is_new) = match pool.take(target).await {
            Some(connection) => (connection, false),
            None => (connect(network, &pool, target, connect_by).await?, true),
        };
        let connection = lease.hold(connection)?;
        let first_byte_by = not_after.min(Instant::now() + times.first_byte);
        let sent = timeout_at(first_byte_by, connection.sender.try_send_request(request)).await;
        match sent.map_err(|_| Error::ConnectionReadTimeout)? {
            Ok(response) => return receive(lease, response, times.between_bytes),
            // A connection that waited may have been closed in the same moment: then nothing was
            // sent.
            Err(mut error) => match error.take_message() {
                Some(unsent) if !is_new => request = unsent,
                _ => return Err(of_hyper(error.error()).into()),
            },
        }
    }
}

/// The request as it goes over the connection.
fn prepare(
    attempt: &Arc<AttemptRequests>,
    target: &RequestTarget,
    request: Request<WasiBody>,
) -> Result<Request<WasiBody>, Failure> {
    let (mut parts, body) = request.into_parts();
    parts.uri = origin_form(&parts.uri)?;
    parts.version = Version::HTTP_11;
    // What was checked, and in the spelling in which it was.
    parts.headers.insert(
        HOST,
        HeaderValue::try_from(target.authority()).map_err(|_| Error::HttpRequestUriInvalid)?,
    );
    if !parts.headers.contains_key(&TRACEPARENT) {
        let value = |text: &str| HeaderValue::try_from(text).ok();
        parts.headers.remove(&TRACESTATE);
        parts.headers.extend(value(&attempt.traceparent).map(|value| (TRACEPARENT, value)));
        parts
            .headers
            .extend(attempt.tracestate.as_deref().and_then(value).map(|value| (TRACESTATE, value)));
    }
    let line = parts.method.as_str().len()
        + parts.uri.path_and_query().map_or(0, |path| path.as_str().len());
    attempt.count_bytes(line + length_of_fields(&parts.headers), Way::Out)?;
    let body = RequestBody::new(body, Arc::clone(attempt), target.clone());
    Ok(Request::from_parts(parts, body.boxed_unsync()))
}

/// The path and the query alone, beginning with '/'.
fn origin_form(uri: &Uri) -> Result<Uri, Error> {
    let path = match uri.path_and_query().map(PathAndQuery::as_str) {
        None | Some("") => "/".to_owned(),
        Some(path) if path.starts_with('/') => path.to_owned(),
        Some(query) if query.starts_with('?') => format!("/{query}"),
        // Would name another host than the one that was checked.
        Some(_) => return Err(Error::HttpRequestUriInvalid),
    };
    Uri::builder().path_and_query(path).build().map_err(|_| Error::HttpRequestUriInvalid)
}

/// The response as the guest gets it.
fn receive(
    lease: Lease,
    response: Response<hyper::body::Incoming>,
    between_bytes: Duration,
) -> Result<Response<WasiBody>, Failure> {
    lease.count(length_of_fields(response.headers()))?;
    Ok(response.map(|incoming| ResponseBody::new(incoming, lease, between_bytes).boxed_unsync()))
}
