//! The body of a request on its way in, whether something of it is still to come when its
//! connection ends, and what becomes of that over HTTP/2.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::activity::Activity;

/// How much of what a client sends after it was refused is read, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Linger {
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
    /// For how long at most once the server is to stop.
    pub(crate) last: Duration,
}

/// What becomes of the rest of a request's body over HTTP/2 that nobody wants: it is read and
/// thrown away within bounds, as on a connection of HTTP/1.1 that ends. Otherwise the stream is
/// reset as soon as the response is written, and there are clients that forget the response over
/// that.
pub(crate) struct Drain {
    linger: Linger,
    /// The server is to stop: then it goes on for a moment only.
    shutdown: CancellationToken,
}

impl Drain {
    pub(crate) fn new(linger: Linger, shutdown: &CancellationToken) -> Self {
        Self { linger, shutdown: shutdown.clone() }
    }

    async fn read(self, mut body: Incoming) {
        let mut wanted = self.linger.bytes;
        let rest = async {
            while wanted > 0
                && let Some(Ok(frame)) = body.frame().await
            {
                wanted = wanted.saturating_sub(frame.data_ref().map_or(0, Bytes::len) as u64);
            }
        };
        let stopped = async {
            self.shutdown.cancelled().await;
            tokio::time::sleep(self.linger.last).await;
        };
        tokio::select! {
            _ = tokio::time::timeout(self.linger.time, rest) => {}
            () = stopped => {}
        }
    }
}

/// A request's body, which tells whether there is more of it to come.
pub(crate) struct Upload {
    /// There until it is dropped.
    body: Option<Incoming>,
    activity: Arc<Activity>,
    number: usize,
    /// For HTTP/2.
    drain: Option<Drain>,
}

impl Upload {
    pub(crate) fn new(
        body: Incoming,
        activity: &Arc<Activity>,
        number: usize,
        drain: Option<Drain>,
    ) -> Self {
        activity.unread.begin(number, !body.is_end_stream());
        Self { body: Some(body), activity: Arc::clone(activity), number, drain }
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if frame.is_none() || self.is_end_stream() {
            self.activity.unread.end(self.number);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        self.activity.unread.give_up(self.number);
        if let (Some(drain), Ok(runtime)) = (self.drain.take(), Handle::try_current()) {
            runtime.spawn(drain.read(body));
        }
    }
}
