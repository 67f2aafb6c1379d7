//! The bytes of a connection of HTTP/1.1, on their way between the socket and hyper, which says too little of what it
//! refuses and ends too early: a head that cannot be read is answered with a problem document, and a client that still
//! sends what will not be read is listened to for a while, so that it gets the answer instead of a broken pipe.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use wasmill_domain::http_message::MAX_HEADERS;

use super::activity::Activity;
use super::connection::MAX_HEAD;
use super::message;
use crate::error::Error;

/// How much is read at once of what nobody wants, in bytes.
const DISCARDED: usize = 16 << 10;

/// How long nothing may come until it is taken that nothing will.
const PAUSE: Duration = Duration::from_secs(3);

/// How much of what a client sends after it was refused is read, and for how long.
#[derive(Clone, Copy)]
pub(super) struct Linger {
    pub(super) bytes: u64,
    pub(super) time: Duration,
}

/// A connection's bytes.
pub(super) struct Stream<I> {
    inner: I,
    activity: Arc<Activity>,
    /// Whether a request has a body of which something is still to come.
    unread: Arc<AtomicBool>,
    /// How many requests had begun when all was written and none was at work. As long as no other has begun, whatever is
    /// written is hyper's own, and it says something of its own only of a head that it cannot read.
    quiet_at: Option<usize>,
    /// What was read since then.
    head: Vec<u8>,
    /// What is left of the answer to such a head.
    answer: Bytes,
    is_refused: bool,
    linger: Linger,
    end: End,
}

/// How far the end of a connection has come.
enum End {
    No,
    /// Nothing is written any more; what comes is thrown away until it is enough, or nothing comes.
    Lingering {
        over: Pin<Box<Sleep>>,
        pause: Pin<Box<Sleep>>,
    },
    Over,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Stream<I> {
    pub(super) fn new(inner: I, activity: &Arc<Activity>, unread: &Arc<AtomicBool>, linger: Linger) -> Self {
        Self {
            inner,
            activity: Arc::clone(activity),
            unread: Arc::clone(unread),
            quiet_at: Some(0),
            head: Vec::new(),
            answer: Bytes::new(),
            is_refused: false,
            linger,
            end: End::No,
        }
    }

    /// Whether no request has begun since all was written.
    fn is_quiet(&self) -> bool {
        self.quiet_at == Some(self.activity.begun())
    }

    /// Notes what a client says between two requests.
    fn note(&mut self, read: &[u8]) {
        if !self.is_quiet() {
            // It was the beginning of a request that is at work.
            self.head = Vec::new();
            return;
        }
        if self.head.is_empty() && read.starts_with(b"PRI") {
            // HTTP/2, whose own errors say enough.
            self.quiet_at = None;
            return;
        }
        let room = (MAX_HEAD as usize).saturating_sub(self.head.len());
        self.head.extend_from_slice(&read[..read.len().min(room)]);
    }

    /// Puts a problem document in the place of what hyper says of a head that it cannot read.
    fn replace(&mut self, written: &[u8]) -> bool {
        let is_refusal = self.is_quiet() && written.starts_with(b"HTTP/1.1 4") && self.answer.is_empty();
        if is_refusal && let Some(answer) = refusal(written, &self.head) {
            (self.answer, self.is_refused) = (answer, true);
            return true;
        }
        false
    }

    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.answer.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(context, &self.answer))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.answer.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Throws away what comes, until the client ends too, or it is enough.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let End::Lingering { over, pause } = &mut self.end else { return Poll::Ready(()) };
        let mut scratch = [0; DISCARDED];
        while over.as_mut().poll(context).is_pending() && self.linger.bytes > 0 {
            let mut read = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.inner).poll_read(context, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                    self.linger.bytes = self.linger.bytes.saturating_sub(read.filled().len() as u64);
                    pause.as_mut().reset(Instant::now() + PAUSE);
                }
                Poll::Pending if pause.as_mut().poll(context).is_pending() => return Poll::Pending,
                _ => break,
            }
        }
        self.end = End::Over;
        Poll::Ready(())
    }
}

fn sleep(time: Duration) -> Pin<Box<Sleep>> {
    Box::pin(tokio::time::sleep(time))
}

/// The answer to a head that hyper cannot read; `None` where it is something else that it says.
fn refusal(written: &[u8], head: &[u8]) -> Option<Bytes> {
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut said = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(_)) = said.parse(written) else { return None };
    let error = match StatusCode::from_u16(said.code?).ok()? {
        StatusCode::BAD_REQUEST => unreadable(head),
        StatusCode::URI_TOO_LONG => Error::UriTooLong,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE if head.len() < MAX_HEAD as usize => {
            Error::HeadTooLarge(message::too_many_fields())
        }
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            Error::HeadTooLarge(format!("the request's head is longer than the {MAX_HEAD} bytes that are taken"))
        }
        _ => return None,
    };
    let date = said.headers.iter().find(|field| field.name == "date").map(|field| field.value);
    let (kind, document) = error.into_document();
    let status = kind.as_u16();
    let reason = kind.canonical_reason().unwrap_or_default();
    let mut answer = format!("HTTP/1.1 {status} {reason}\r\ncontent-type: {}\r\n", crate::problem::PROBLEM_JSON);
    answer += &format!("content-length: {}\r\nconnection: close\r\n", document.len());
    if let Some(date) = date.and_then(|date| std::str::from_utf8(date).ok()) {
        answer += &format!("date: {date}\r\n");
    }
    let content: &[u8] = if head.starts_with(b"HEAD ") { &[] } else { &document };
    Some([answer.as_bytes(), b"\r\n", content].concat().into())
}

/// What is wrong with a head that is not too large.
fn unreadable(head: &[u8]) -> Error {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut fields);
    let is_whole = matches!(request.parse(head), Ok(httparse::Status::Complete(_)));
    let is_new = request.version == Some(1);
    // Where it is told apart from the rest, it is because what is said last is not 'chunked'.
    let coding = request.headers.iter().rfind(|field| field.name.eq_ignore_ascii_case("transfer-encoding"));
    let is_coded = coding.is_some_and(|field| {
        let last = field.value.rsplit(|b| *b == b',').next().unwrap_or_default();
        !last.trim_ascii().eq_ignore_ascii_case(b"chunked")
    });
    if is_whole && is_new && is_coded {
        return message::unknown_coding();
    }
    Error::BadRequest("what was sent is not a request of HTTP/1.1 or HTTP/2".into())
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<I> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, buf))?;
        this.note(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<I> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.replace(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        ready!(this.poll_answer(context))?;
        Pin::new(&mut this.inner).poll_write(context, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let [only] = bufs
            && this.replace(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        ready!(this.poll_answer(context))?;
        Pin::new(&mut this.inner).poll_write_vectored(context, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_answer(context))?;
        ready!(Pin::new(&mut this.inner).poll_flush(context))?;
        // hyper flushes when it has written all that it has.
        if this.quiet_at.is_some() && !this.is_quiet() && this.activity.is_idle() {
            this.quiet_at = Some(this.activity.begun());
            this.head.clear();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.end, End::No) {
            ready!(this.poll_answer(context))?;
            ready!(Pin::new(&mut this.inner).poll_shutdown(context))?;
            let is_unread = this.is_refused || this.unread.load(Ordering::Acquire);
            this.end = if is_unread && this.quiet_at.is_some() {
                End::Lingering { over: sleep(this.linger.time), pause: sleep(PAUSE) }
            } else {
                End::Over
            };
        }
        ready!(this.poll_linger(context));
        Poll::Ready(Ok(()))
    }
}
