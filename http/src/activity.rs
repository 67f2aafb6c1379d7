//! Whether a connection has requests at work, and since when it has none.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::stream_tasks::Pieces;
use crate::unread::Unread;

/// The largest piece of a body that is handed on at once, in bytes. A body counts as work until its
/// last piece is handed on, so that no more than this is on its way to a slow client when its
/// connection seems to be quiet.
const PIECE: usize = 64 << 10;

/// The same over HTTP/2, where it is that of each stream: as much as goes into one of its frames
/// where the client does not ask for more.
const STREAM_PIECE: usize = 16 << 10;

/// The requests of a connection.
pub(crate) struct Activity {
    at_work: AtomicUsize,
    /// How many there were altogether.
    begun: AtomicUsize,
    /// How many there were when all was written and none was at work.
    written: AtomicUsize,
    /// Which of them has a body of which something is still to come.
    pub(crate) unread: Unread,
    /// Whether one asked for another protocol.
    upgrade: AtomicBool,
    /// When the last one ended, in milliseconds since the connection began.
    quiet_since: AtomicU64,
    start: Instant,
}

/// A request at work, until it is dropped.
pub(crate) struct Work {
    activity: Arc<Activity>,
    /// Which of its connection's requests it is, from 1.
    pub(crate) number: usize,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            at_work: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            written: AtomicUsize::new(0),
            unread: Unread::default(),
            upgrade: AtomicBool::new(false),
            quiet_since: AtomicU64::new(0),
            start: Instant::now(),
        }
    }
}

impl Activity {
    /// A request begins.
    pub(crate) fn begin(self: &Arc<Self>) -> Work {
        self.at_work.fetch_add(1, Ordering::AcqRel);
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        Work { activity: Arc::clone(self), number }
    }

    /// How many requests have begun.
    pub(crate) fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether none is at work.
    pub(crate) fn is_idle(&self) -> bool {
        self.at_work.load(Ordering::Acquire) == 0
    }

    /// All is written that there is. Gives whether the connection is settled by that and was not
    /// before.
    pub(crate) fn all_written(&self) -> bool {
        let is_new = !self.is_settled() && self.is_idle();
        if is_new {
            self.written.store(self.begun(), Ordering::Relaxed);
        }
        is_new
    }

    /// Whether no request has begun since all was written and none was at work.
    pub(crate) fn is_settled(&self) -> bool {
        self.written.load(Ordering::Relaxed) == self.begun()
    }

    /// A request asks for another protocol.
    pub(crate) fn note_upgrade(&self) {
        self.upgrade.store(true, Ordering::Relaxed);
    }

    /// Whether a request asked for another protocol since this was last asked.
    pub(crate) fn take_upgrade(&self) -> bool {
        self.upgrade.swap(false, Ordering::Relaxed)
    }

    /// Time counts from now on.
    pub(crate) fn restart(&self) {
        self.quiet_since.store(
            u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX),
            Ordering::Release,
        );
    }

    /// Waits until there has been no request at work for a while: for `first` if there never was
    /// one, otherwise for `later`.
    pub(crate) async fn quiet(&self, first: Duration, later: Duration) {
        loop {
            let wait_timeout = if self.begun() == 0 { first } else { later };
            let since = if self.is_idle() {
                self.start + Duration::from_millis(self.quiet_since.load(Ordering::Acquire))
            } else {
                Instant::now()
            };
            if since.elapsed() >= wait_timeout {
                return;
            }
            // The first request may come meanwhile, and another timeout count.
            tokio::time::sleep_until((since + wait_timeout).min(Instant::now() + first.min(later)))
                .await;
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.activity.restart();
        self.activity.at_work.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A response's body, which is work until it is handed on.
///
/// One that breaks off does so a moment later: hyper ends a connection where it stands when a body
/// fails, and what it has not written by then, up to the response's head, would never reach the
/// client.
pub(crate) struct Tracked {
    body: Body,
    /// The rest of a piece that was too large.
    rest: Bytes,
    /// Why the body breaks off, until that is told.
    failure: Option<axum::Error>,
    /// Where the client says for each response how much it takes.
    pieces: Option<Arc<Pieces>>,
    _work: Work,
}

impl Tracked {
    pub(crate) fn new(body: Body, work: Work) -> Self {
        let pieces = Pieces::of_this_task();
        Self { body, rest: Bytes::new(), failure: None, pieces, _work: work }
    }
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(pieces) = &self.pieces {
            pieces.take();
        }
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        if self.rest.is_empty() {
            let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(frame))) => return Poll::Ready(Some(Ok(frame))),
                Some(Err(failure)) => {
                    // Whoever asks writes what it has before it asks again.
                    self.failure = Some(failure);
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                None => return Poll::Ready(None),
            }
        }
        let most = match &self.pieces {
            Some(pieces) => {
                pieces.hand_on();
                STREAM_PIECE
            }
            None => PIECE,
        };
        let length = self.rest.len().min(most);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.failure.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        // The upper bound goes first: it may not be below the lower one at any time.
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use http_body::Body as _;
    use http_body_util::BodyExt as _;
    use hyper::body::Incoming;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn time_counts_from_the_last_request() {
        let (short, long) = (Duration::from_millis(20), Duration::from_secs(3600));
        let activity = Arc::new(Activity::default());
        let begun = Instant::now();
        activity.quiet(short, long).await;
        assert!(begun.elapsed() >= short);
        let work = activity.begin();
        let waiting = Arc::clone(&activity);
        let quiet = tokio::spawn(async move {
            waiting.quiet(long, short).await;
            Instant::now()
        });
        tokio::time::sleep(short * 3).await;
        assert!(!quiet.is_finished(), "there is a request at work");
        let ended = Instant::now();
        drop(work);
        // Times are kept in whole milliseconds.
        assert!(quiet.await.unwrap() + Duration::from_millis(1) >= ended + short);
    }

    #[tokio::test]
    async fn a_body_is_work_and_comes_in_pieces() {
        let activity = Arc::new(Activity::default());
        let sent = Bytes::from(vec![7; 2 * PIECE + 1]);
        let mut body = Tracked::new(Body::from(sent.clone()), activity.begin());
        assert_eq!(body.size_hint().exact(), Some(sent.len() as u64));
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!((first.len(), body.size_hint().exact()), (PIECE, Some(PIECE as u64 + 1)));
        assert_eq!(activity.at_work.load(Ordering::Relaxed), 1);
        let rest = body.collect().await.unwrap().to_bytes();
        assert_eq!([first, rest].concat(), sent);
        assert_eq!(activity.at_work.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn what_came_before_a_body_broke_off_is_written() {
        let (near, mut far) = tokio::io::duplex(4096);
        let service = service_fn(async |_: Request<Incoming>| {
            let frames: [Result<Bytes, &str>; 2] =
                [Ok("the first piece".into()), Err("broken off")];
            let body = Body::from_stream(futures_util::stream::iter(frames));
            Ok::<_, Infallible>(Response::new(Tracked::new(
                body,
                Arc::new(Activity::default()).begin(),
            )))
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(near), service);
        far.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert!(connection.await.unwrap_err().is_user());
        let mut written = String::new();
        far.read_to_string(&mut written).await.unwrap();
        assert!(written.starts_with("HTTP/1.1 200 OK\r\n"), "{written}");
        assert!(written.ends_with("the first piece\r\n"), "{written}");
    }
}
