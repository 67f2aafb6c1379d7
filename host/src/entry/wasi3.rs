//! Components for WASI 0.3, where they are enabled: handlers and commands. Requests, responses and
//! ends mean what they mean for those of WASI 0.2.

use std::future::{Future, poll_fn};

use bytes::Bytes;
use http::header::HOST;
use http::{Request, Uri};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wasmill_domain::Event;
use wasmill_guest::GuestData;
use wasmtime::Store;
use wasmtime::component::Accessor;
pub(super) use wasmtime_wasi::p3::bindings::{Command, CommandPre};
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
pub(super) use wasmtime_wasi_http::p3::bindings::{Service, ServicePre};
use wasmtime_wasi_http::{Error as WasiHttpError, WasiHttpView as _, p3};

use super::http::HttpExchange;
use super::response::{Response, both};
use super::returned::{Returned, contract};
use super::{command, http as entry};
use crate::guest::Guest;

/// Runs a program.
pub(super) async fn run(
    command: &Command,
    store: &mut Store<GuestData>,
) -> wasmtime::Result<Returned> {
    let ended = store.run_concurrent(async |guest| {
        let ended = command.wasi_cli_run().call_run(guest).await?;
        rest(guest).await;
        Ok(ended)
    });
    let ended = ended.await.flatten();
    command::returned(ended, Guest::of(store.data()))
}

/// An event as a request, and the response as its result.
pub(super) async fn call(
    service: &Service,
    store: &mut Store<GuestData>,
    event: &Event,
) -> wasmtime::Result<Returned> {
    let (scheme, request) = match entry::request_of(event, Guest::of(store.data())) {
        Ok(request) => request,
        Err(why) => return Ok(Err(contract::Failure::Reject(why))),
    };
    let most = Guest::of(store.data()).output_limit();
    let collected =
        handle(service, store, scheme, request, |response| entry::collect(response.head(), most))
            .await?;
    Ok(entry::returned(collected, Guest::of(store.data()).granted.mask()))
}

/// A request whose response goes to its caller as it is made.
pub(super) async fn exchange(
    service: &Service,
    store: &mut Store<GuestData>,
    exchange: HttpExchange,
) -> wasmtime::Result<Returned> {
    let HttpExchange { head, body, sender, writes } = exchange;
    let mut request = match entry::request_of_head(&head, body) {
        Ok(request) => request,
        Err(why) => return Ok(Err(contract::Failure::Reject(why))),
    };
    entry::add_trace(request.headers_mut(), Guest::of(store.data()))?;
    let scheme = if head.scheme == "https" { Scheme::Https } else { Scheme::Http };
    let method = request.method().clone();
    let sent = handle(service, store, scheme, request, |response| {
        entry::send(response.head(), method, sender, writes)
    })
    .await?;
    Ok(sent.summary())
}

/// Waits until the guest is done with what it has started and not waited for.
async fn rest(guest: &Accessor<GuestData>) {
    poll_fn(|context| guest.poll_no_interesting_tasks(context)).await;
}

/// Calls the handler, while `answering` does something with its response: beside the guest's tasks
/// and not among them, as a trap of one ends them all, and what was written before that is read.
async fn handle<B, T, F>(
    service: &Service,
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
    let request = absolute(&scheme, request)?;
    let deadline = Guest::of(store.data()).deadline;
    // How the request's body fared, the guest is told; nobody else asks.
    let request = p3::Request::from_http(store.data_mut().http().hooks, request).0;
    let (sender, set) = oneshot::channel();
    let (returned, read) = (CancellationToken::new(), CancellationToken::new());
    let answered = answering(Response::new(set, returned.clone()));
    let answered = async {
        let answered = answered.await;
        read.cancel();
        answered
    };
    let handled = store.run_concurrent(async |guest| {
        let answer = match service.handle(guest, request).await? {
            Ok(response) => Ok(guest.with(|store| response.into_http(store, async { Ok(()) }))?),
            Err(code) => Err(code),
        };
        // Whoever does not want it any more ends all this.
        let _ = sender.send(answer);
        // What the guest has left to the host to write is written as long as this goes on.
        read.cancelled().await;
        rest(guest).await;
        Ok(())
    });
    both(async { handled.await.flatten() }, answered, returned, deadline).await
}

/// The request with its host in its URI, where WASI 0.3 looks for it.
fn absolute<B>(scheme: &Scheme, mut request: Request<B>) -> wasmtime::Result<Request<B>> {
    let scheme = if matches!(scheme, Scheme::Https) { "https" } else { "http" };
    let mut uri = std::mem::take(request.uri_mut()).into_parts();
    let host = request.headers_mut().remove(HOST);
    if let Some(host) = host {
        uri.authority = Some(host.as_bytes().try_into()?);
    }
    uri.scheme = Some(scheme.try_into()?);
    *request.uri_mut() = Uri::from_parts(uri)?;
    Ok(request)
}
