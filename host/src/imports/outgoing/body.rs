//! Bodies that are counted while they pass.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::{Error, WasiBody};

use super::attempt::{AttemptRequests, Way};
use super::errors::of_hyper;
use super::lease::{Lease, length_of_fields};
use super::target::RequestTarget;

/// The body of a request, out of a guest.
pub(super) struct RequestBody {
    inner: WasiBody,
    attempt: Arc<AttemptRequests>,
    target: RequestTarget,
}

impl RequestBody {
    pub(super) fn new(
        inner: WasiBody,
        attempt: Arc<AttemptRequests>,
        target: RequestTarget,
    ) -> Self {
        Self { inner, attempt, target }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        // A guest that is gone leaves a body that looks finished: the other side must not take it
        // for one.
        if this.attempt.is_over() {
            return Poll::Ready(Some(Err(Error::ConnectionTerminated)));
        }
        Poll::Ready(frame.map(|frame| {
            let frame = frame?;
            let counted = this.attempt.count_bytes(length(&frame), Way::Out);
            counted.map(|()| frame).map_err(|refusal| this.attempt.refuse(&this.target, &refusal))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of a response, on its way to a guest.
pub(super) struct ResponseBody {
    incoming: Incoming,
    /// The connection, until the body has ended.
    lease: Option<Lease>,
    longest_pause: Duration,
    pause: Pin<Box<Sleep>>,
}

impl ResponseBody {
    /// To be called on the network's threads, whose clock it goes by.
    pub(super) fn new(incoming: Incoming, lease: Lease, longest_pause: Duration) -> Self {
        let pause = Box::pin(tokio::time::sleep(longest_pause));
        let mut body = Self { incoming, lease: Some(lease), longest_pause, pause };
        body.give_back_at_end();
        body
    }

    /// Gives the connection back where nothing more comes: nobody need read a body that is empty.
    fn give_back_at_end(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        let frame = match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                ready!(this.pause.as_mut().poll(cx));
                // Closes the connection.
                this.lease = None;
                return Poll::Ready(Some(Err(Error::ConnectionReadTimeout)));
            }
        };
        this.pause.as_mut().reset(Instant::now() + this.longest_pause);
        match frame {
            None => {
                if let Some(lease) = this.lease.take() {
                    lease.give_back();
                }
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                this.lease = None;
                Poll::Ready(Some(Err(of_hyper(&error))))
            }
            Some(Ok(frame)) => {
                let counted =
                    this.lease.as_ref().map_or(Ok(()), |lease| lease.count(length(&frame)));
                if let Err(error) = counted {
                    this.lease = None;
                    return Poll::Ready(Some(Err(error)));
                }
                this.give_back_at_end();
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// What a frame counts: its bytes, or those of its trailers.
fn length(frame: &Frame<Bytes>) -> usize {
    match (frame.data_ref(), frame.trailers_ref()) {
        (Some(data), _) => data.len(),
        (None, Some(trailers)) => length_of_fields(trailers),
        (None, None) => 0,
    }
}
