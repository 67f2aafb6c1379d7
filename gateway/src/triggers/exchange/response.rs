//! The body of a response on its way to the caller.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use wasmill_broker::StreamReceiver;
use wasmill_domain::http_message::Download;

use super::upload::{Failure, Uploading, cancel};
use crate::app::Reservation;
use crate::triggers::request;

/// What is between the gateway and the host after the response's head.
pub(super) struct Talk {
    pub(super) receiver: StreamReceiver,
    /// When the host is not waited for any more.
    pub(super) deadline: Pin<Box<Sleep>>,
    pub(super) upload: Uploading,
    pub(super) _reservation: Reservation,
}

impl Talk {
    /// Receives the rest, which the caller has no use for.
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

/// A talk as a body and its timer share it.
#[derive(Default)]
struct Line {
    /// Nothing once the body has ended, or its time is over.
    talk: Option<Talk>,
    /// Its time was over before it had ended, which nobody has been told.
    is_overdue: bool,
    /// When the caller took something last.
    last_taken: Option<Instant>,
    waker: Option<Waker>,
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    // Nothing panics while it is held.
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends a talk when its time is over and the caller has taken nothing for `write_timeout`, whether
/// or not anybody asks for the response by then: a caller that takes nothing lets nobody ask. What
/// there is to take by then is bounded by the stream's window, and so is this.
async fn end_after(line: Arc<Mutex<Line>>, deadline: Instant, write_timeout: Duration) {
    let mut latest = deadline + write_timeout;
    let (talk, waker) = loop {
        sleep_until(latest).await;
        let mut line = lock(&line);
        match line.last_taken.map(|taken| taken + write_timeout) {
            Some(later) if later > latest && line.talk.is_some() => latest = later,
            _ => {
                line.is_overdue = line.talk.is_some();
                break (line.talk.take(), line.waker.take());
            }
        }
    };
    drop(talk);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// A response's body, as it comes over the stream. Dropped before the caller has all of it, it
/// tells the host that the caller is gone; otherwise the attempt goes on to its end.
pub(super) struct ResponseBody {
    line: Arc<Mutex<Line>>,
    /// How much the caller has not got yet, where that is known.
    left: Option<u64>,
    _timer: AbortOnDropHandle<()>,
}

impl ResponseBody {
    /// The rest of what the host says, of which the caller gets `left` bytes where that is known.
    /// Once the host is not waited for any more, the caller has `write_timeout` to take the next
    /// piece of what is there.
    pub(super) fn new(talk: Talk, left: Option<u64>, write_timeout: Duration) -> Self {
        let deadline = talk.deadline.deadline();
        let line = Arc::new(Mutex::new(Line { talk: Some(talk), ..Line::default() }));
        let timer = tokio::spawn(end_after(Arc::clone(&line), deadline, write_timeout));
        Self { line, left, _timer: AbortOnDropHandle::new(timer) }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let Some(talk) = lock(&self.line).talk.take() else { return };
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
#[error("the response breaks off: the function failed, its host was lost, or its time was over")]
pub(super) struct Aborted;

/// Takes what was received next out of a talk; nothing where it breaks off.
fn poll_received(line: &mut Line, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
    let Some(talk) = &mut line.talk else { return Poll::Ready(None) };
    if let Poll::Ready(Failure { sender, .. }) = talk.upload.poll_failure(context) {
        let deadline = talk.deadline.deadline();
        if let Some(talk) = line.talk.take() {
            cancel(talk.receiver, sender, deadline);
        }
        return Poll::Ready(None);
    }
    if let Poll::Ready(received) = talk.receiver.poll_receive(context) {
        return Poll::Ready(received);
    }
    std::task::ready!(talk.deadline.as_mut().poll(context));
    Poll::Ready(None)
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let shared = Arc::clone(&self.line);
        let mut line = lock(&shared);
        if line.talk.is_none() {
            return Poll::Ready(std::mem::take(&mut line.is_overdue).then_some(Err(Aborted)));
        }
        let Poll::Ready(received) = poll_received(&mut line, context) else {
            line.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        let said = received.and_then(|frame| Download::decode(&frame).ok());
        if let Some(Download::Data(data)) = said {
            line.last_taken = Some(Instant::now());
            self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        line.talk = None;
        Poll::Ready(match said {
            Some(Download::End(trailers)) => (!trailers.is_empty())
                .then(|| Ok(Frame::trailers(request::response_fields(trailers)))),
            _ => Some(Err(Aborted)),
        })
    }
}

#[cfg(test)]
mod tests;
