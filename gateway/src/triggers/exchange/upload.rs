//! The body of a request on its way to the host that answers it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use wasmill_broker::{STREAM_CHUNK_BYTES, StreamClosed, StreamReceiver, StreamSender};
use wasmill_domain::http_message::Upload;
use wasmill_domain::wire::Writes;

use crate::body::{aborted, too_large};
use crate::budget::Share;
use crate::error::{ApiError, Result};
use crate::triggers::{keys, request};

/// How often it is counted anew what the host has not received, while nothing comes or more of it
/// has to wait.
const COUNT_INTERVAL: Duration = Duration::from_millis(500);

/// What of a body that is sent on while it comes is in memory here: the messages that the host has
/// not received. They count to what all bodies may hold.
pub(super) struct Held {
    /// At least one message's, so that a body that has begun goes on, however little is left.
    share: Share,
    /// How long each message is, the oldest first.
    lengths: VecDeque<usize>,
    bytes: usize,
}

impl Held {
    /// Takes what one message needs.
    ///
    /// # Errors
    /// As [`Share::grow`].
    pub(super) fn begin(mut share: Share) -> Result<Self> {
        share.grow(STREAM_CHUNK_BYTES)?;
        Ok(Self { share, lengths: VecDeque::new(), bytes: 0 })
    }

    /// Counts a message of this length, which is to be sent. Where all bodies together leave no
    /// room for it, it waits until they do, or until the host has received those before it.
    async fn admit(&mut self, length: usize, sender: &StreamSender) -> Result<(), StreamClosed> {
        loop {
            self.count(sender);
            let more = (self.bytes + length).saturating_sub(self.share.amount());
            if more == 0 || self.share.grow(more).is_ok() {
                break;
            }
            if let Ok(drained) = tokio::time::timeout(COUNT_INTERVAL, sender.drained()).await {
                drained?;
            }
        }
        self.lengths.push_back(length);
        self.bytes += length;
        Ok(())
    }

    /// Gives back what the host has received.
    fn count(&mut self, sender: &StreamSender) {
        while self.lengths.len() > sender.in_flight() {
            self.bytes -= self.lengths.pop_front().unwrap_or_default();
        }
        self.share.shrink(self.bytes.max(STREAM_CHUNK_BYTES));
    }

    /// The next frame of the body. What the host receives meanwhile is given back, though nothing
    /// comes.
    async fn frame(
        &mut self,
        body: &mut Body,
        sender: &StreamSender,
    ) -> Option<Result<Frame<Bytes>, axum::Error>> {
        while self.bytes > 0 {
            if let Ok(frame) = tokio::time::timeout(COUNT_INTERVAL, body.frame()).await {
                return frame;
            }
            self.count(sender);
        }
        body.frame().await
    }
}

/// A request's body that cannot be sent on to its end.
pub(super) struct Failure {
    pub(super) error: ApiError,
    /// Kept, as without it the guest would be told that its request's body is broken before its
    /// attempt is aborted.
    pub(super) sender: StreamSender,
}

/// The rest of a request's body on its way to the host, if there is any.
pub(super) struct Uploading(Option<AbortOnDropHandle<Result<(), Failure>>>);

impl Uploading {
    /// Begins to send the rest of a body of which at most `limit` bytes are taken, if there is any.
    pub(super) fn begin(
        rest: Option<(Body, Held)>,
        sender: StreamSender,
        writes: Writes,
        limit: usize,
    ) -> Self {
        let begin = |(body, held)| tokio::spawn(upload(body, held, sender, writes, limit));
        Self(rest.map(begin).map(AbortOnDropHandle::new))
    }

    /// Awaits that the body cannot be sent on. If it can, that is never.
    pub(super) async fn failure(&mut self) -> Failure {
        std::future::poll_fn(|context| self.poll_failure(context)).await
    }

    pub(super) fn poll_failure(&mut self, context: &mut Context<'_>) -> Poll<Failure> {
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
pub(super) fn cancel(receiver: StreamReceiver, sender: StreamSender, deadline: Instant) {
    drop(receiver);
    tokio::spawn(async move { timeout_at(deadline, sender.closed()).await });
}

/// Sends the request's body on as it comes. It may take as long as the exchange: whoever reads it
/// bounds how long that is.
///
/// # Errors
/// Where it breaks off, is not what HTTP has, or is longer than `limit`.
async fn upload(
    mut body: Body,
    mut held: Held,
    sender: StreamSender,
    writes: Writes,
    limit: usize,
) -> Result<(), Failure> {
    let mut left = limit;
    let mut trailers = Vec::new();
    while let Some(frame) = held.frame(&mut body, &sender).await {
        let Ok(frame) = frame else { return Err(Failure { error: aborted(), sender }) };
        match frame.into_data() {
            Ok(mut data) => {
                let Some(rest) = left.checked_sub(data.len()) else {
                    return Err(Failure { error: too_large(limit), sender });
                };
                left = rest;
                while !data.is_empty() {
                    let chunk = data.split_to(data.len().min(STREAM_CHUNK_BYTES));
                    let admitted = held.admit(chunk.len(), &sender).await;
                    if admitted.is_err()
                        || sender.send(Upload::Data(chunk).encode(&writes)).await.is_err()
                    {
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
    // Whoever does not receive it has no use for it. What is sent counts until it is received.
    let _ = sender.send(Upload::End(trailers).encode(&writes)).await;
    let _ = sender.drained().await;
    Ok(())
}
