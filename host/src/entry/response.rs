//! A handler's response, which is read while the handler goes on: for both versions of WASI. What is
//! read of a response whose handler has trapped does not depend on which of the two was quicker.

use std::fmt::Debug;
use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::returned::InvalidReturn;

/// How long what a handler had written before it trapped may take on its way to the caller.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// What a handler set as its response, or the name of the error that it set instead.
pub(super) type Answer = Result<http::Response<HyperOutgoingBody>, String>;

/// What is set as a response where it is made.
pub(super) type Set<E> = Result<http::Response<HyperOutgoingBody>, E>;

/// Lets the guest go on (`handled`) while something is done with its response (`answered`). Both go
/// on at once, as the guest may wait until what it has written is read; an error of `answered` ends
/// both. Of a handler that traps, what it had written until then is still taken: so its caller gets
/// a response that was finished, whichever of the two was quicker.
pub(super) async fn both<T>(
    handled: impl Future<Output = wasmtime::Result<()>>,
    answered: impl Future<Output = wasmtime::Result<T>>,
    returned: CancellationToken,
    deadline: Instant,
) -> wasmtime::Result<T> {
    let mut handled = pin!(handled);
    let mut answered = pin!(answered);
    let mut answer = None;
    while !returned.is_cancelled() || answer.is_none() {
        tokio::select! {
            biased;
            handled = &mut handled, if !returned.is_cancelled() => {
                returned.cancel();
                if let Err(trap) = handled {
                    if answer.is_none() {
                        // How that fares changes nothing: the attempt has trapped.
                        let soon = deadline.saturating_duration_since(Instant::now()).min(LAST_WORDS);
                        let _ = tokio::time::timeout(soon, answered).await;
                    }
                    return Err(trap);
                }
            }
            answered = &mut answered, if answer.is_none() => answer = Some(answered?),
        }
    }
    answer.ok_or_else(|| InvalidReturn("returned without a response").into())
}

/// A response that a guest will set, or not.
pub(super) struct Response<E> {
    set: oneshot::Receiver<Set<E>>,
    /// The guest is done: what has not come by then never will.
    returned: CancellationToken,
}

impl<E: Debug> Response<E> {
    /// What `set` will receive, by the time that `returned` is cancelled or never.
    pub(super) fn new(set: oneshot::Receiver<Set<E>>, returned: CancellationToken) -> Self {
        Self { set, returned }
    }

    /// The response's head and body, or the error that the guest set instead.
    pub(super) async fn head(self) -> wasmtime::Result<(Answer, Chunks)> {
        let Self { set, returned } = self;
        let never =
            InvalidReturn("returned without a response (response-outparam.set was not called)");
        let answer = awaited(set, &returned, never).await?;
        let answer = answer.map_err(|_| {
            InvalidReturn("dropped its response-outparam without setting a response")
        })?;
        Ok((answer.map_err(|code| format!("{code:?}")), Chunks { returned }))
    }
}

/// Reads a response's body.
pub(super) struct Chunks {
    /// What has not come by then never will.
    returned: CancellationToken,
}

impl Chunks {
    /// The next frame; `None` at the end.
    pub(super) async fn next(
        &self,
        body: &mut HyperOutgoingBody,
    ) -> wasmtime::Result<Option<Frame<Bytes>>> {
        let unfinished = InvalidReturn("returned before it had finished its response's body");
        let frame = awaited(body.frame(), &self.returned, unfinished).await?;
        Ok(frame
            .transpose()
            .map_err(|_| InvalidReturn("ended its response's body with an error"))?)
    }
}

/// What comes of `future`, which the guest makes ready; an error once it has returned and has not.
async fn awaited<T>(
    future: impl Future<Output = T>,
    returned: &CancellationToken,
    otherwise: InvalidReturn,
) -> wasmtime::Result<T> {
    // Not interrupted for fairness: it would look as if nothing were there.
    let mut future = pin!(tokio::task::unconstrained(future));
    tokio::select! {
        biased;
        done = &mut future => return Ok(done),
        () = returned.cancelled() => {}
    }
    future.now_or_never().ok_or_else(|| otherwise.into())
}
