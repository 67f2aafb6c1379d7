//! The bytes of a connection of HTTP/1.1, on their way between the socket and hyper, which says too
//! little of what it refuses and ends too early: a head that cannot be read is answered with a
//! problem document, and a client that still sends what will not be read is listened to for a
//! while, so that it gets the answer instead of a broken pipe.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::oneshot;

use crate::activity::Activity;
use crate::message::{self, MAX_HEAD, MAX_HEADERS};
use crate::refusal::{PROBLEM_JSON, Refusal};
use crate::upload::Linger;

/// How much is read at once of what nobody wants, in bytes.
const DISCARDED: usize = 16 << 10;

/// How much memory for heads a connection keeps from one request to the next, in bytes.
const KEPT: usize = 4 << 10;

/// What a client of HTTP/2 says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection's bytes.
pub(crate) struct Stream<I> {
    inner: I,
    activity: Arc<Activity>,
    /// Then this one does nothing: what HTTP/2 says of its errors and its end is enough.
    is_http_2: bool,
    /// What was read since the connection was settled. As long as no other request has begun,
    /// whatever is written is hyper's own, and it says something of its own only of a head that it
    /// cannot read.
    head: Vec<u8>,
    /// What is left of the answer to such a head.
    answer: Bytes,
    is_refused: bool,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Stream<I> {
    pub(crate) fn new(inner: I, activity: &Arc<Activity>) -> Self {
        Self {
            inner,
            activity: Arc::clone(activity),
            is_http_2: false,
            head: Vec::new(),
            answer: Bytes::new(),
            is_refused: false,
        }
    }

    /// What hyper may have of it, and what gives it back when hyper lets go.
    pub(crate) fn lend(self) -> (Lent<I>, oneshot::Receiver<Self>) {
        let (back, lent) = oneshot::channel();
        (Lent { stream: Some(self), back: Some(back) }, lent)
    }

    /// Ends a connection of HTTP/1.1. What its client still sends is thrown away until the client
    /// ends it too, or it is enough, where something of a request has not been read: it would get
    /// no answer otherwise.
    pub(crate) async fn end(mut self, linger: Linger) {
        if !self.is_http_2 {
            // A connection that breaks is the client's business.
            let _ = tokio::time::timeout(linger.time, self.say_the_end(linger.bytes)).await;
        }
    }

    async fn say_the_end(&mut self, mut wanted: u64) -> io::Result<()> {
        self.inner.write_all(&self.answer).await?;
        self.inner.shutdown().await?;
        if !self.is_refused && !self.activity.unread.is_some() {
            return Ok(());
        }
        let mut scratch = vec![0; DISCARDED];
        while wanted > 0 {
            let read = self.inner.read(&mut scratch).await?;
            if read == 0 {
                break;
            }
            wanted = wanted.saturating_sub(read as u64);
        }
        Ok(())
    }

    /// Notes what a client says between two requests.
    fn note(&mut self, read: &[u8]) {
        if self.is_http_2 {
            return;
        }
        if !self.activity.is_settled() {
            // It was the beginning of a request that is at work.
            self.head = Vec::new();
            return;
        }
        let remaining = MAX_HEAD.saturating_sub(self.head.len());
        self.head.extend_from_slice(&read[..read.len().min(remaining)]);
        if self.activity.begun() == 0 && self.head.starts_with(PREFACE) {
            (self.is_http_2, self.head) = (true, Vec::new());
        }
    }

    /// Puts a problem document in the place of what hyper says of a head that it cannot read.
    fn replace(&mut self, written: &[u8]) -> bool {
        let is_refusal = !self.is_http_2
            && self.activity.is_settled()
            && written.starts_with(b"HTTP/1.1 4")
            && self.answer.is_empty();
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
}

/// The answer to a head that hyper cannot read; `None` where it is something else that it says.
fn refusal(written: &[u8], head: &[u8]) -> Option<Bytes> {
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut said = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(_)) = said.parse(written) else { return None };
    let refusal = match StatusCode::from_u16(said.code?).ok()? {
        StatusCode::BAD_REQUEST => unreadable(head),
        StatusCode::URI_TOO_LONG => Refusal::UriTooLong,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => too_large(head),
        _ => return None,
    };
    let date = said.headers.iter().find(|field| field.name == "date").map(|field| field.value);
    let (kind, document) = (refusal.status(), refusal.document());
    let status = kind.as_u16();
    let reason = kind.canonical_reason().unwrap_or_default();
    let mut answer = format!("HTTP/1.1 {status} {reason}\r\ncontent-type: {PROBLEM_JSON}\r\n");
    answer += &format!("content-length: {}\r\nconnection: close\r\n", document.len());
    if let Some(date) = date.and_then(|date| std::str::from_utf8(date).ok()) {
        answer += &format!("date: {date}\r\n");
    }
    let content: &[u8] = if head.starts_with(b"HEAD ") { &[] } else { &document };
    Some([answer.as_bytes(), b"\r\n", content].concat().into())
}

/// What is too large of a head.
fn too_large(head: &[u8]) -> Refusal {
    let lines = head.trim_ascii_start();
    let ends = lines.iter().filter(|b| **b == b'\n').count();
    if ends > MAX_HEADERS {
        return Refusal::HeadTooLarge(message::too_many_fields());
    }
    let is_target = head.len() >= MAX_HEAD && ends == 0 && lines.contains(&b' ');
    if is_target { Refusal::UriTooLong } else { Refusal::HeadTooLarge(message::too_long()) }
}

/// What is wrong with a head that is not too large.
fn unreadable(head: &[u8]) -> Refusal {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut fields);
    let is_whole = matches!(request.parse(head), Ok(httparse::Status::Complete(_)));
    let is_new = request.version == Some(1);
    // Where it is told apart from the rest, it is because what is said last is not 'chunked'.
    let coding =
        request.headers.iter().rfind(|field| field.name.eq_ignore_ascii_case("transfer-encoding"));
    let is_coded = coding.is_some_and(|field| {
        let last = field.value.rsplit(|b| *b == b',').next().unwrap_or_default();
        !last.trim_ascii().eq_ignore_ascii_case(b"chunked")
    });
    if is_whole && is_new && is_coded {
        return message::unknown_coding();
    }
    Refusal::BadRequest("what was sent is not a request of HTTP/1.1 or HTTP/2".into())
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, buf))?;
        this.note(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(buf)])
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
        if !this.is_http_2 && this.activity.all_written() {
            this.head.clear();
            this.head.shrink_to(KEPT);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_http_2 {
            Pin::new(&mut this.inner).poll_shutdown(context)
        } else {
            Poll::Ready(Ok(()))
        }
    }
}

/// A stream while hyper has it. Whoever lent it ends it: hyper does so neither after an error, nor
/// after it has seen a request with a header `Upgrade`.
pub(crate) struct Lent<I> {
    /// There until it is given back.
    stream: Option<Stream<I>>,
    back: Option<oneshot::Sender<Stream<I>>>,
}

impl<I: Unpin> Lent<I> {
    fn stream(self: Pin<&mut Self>) -> io::Result<Pin<&mut Stream<I>>> {
        let stream = self.get_mut().stream.as_mut();
        stream.map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<I> Drop for Lent<I> {
    fn drop(&mut self) {
        if let (Some(stream), Some(back)) = (self.stream.take(), self.back.take()) {
            // Where nobody wants it back, its connection is cut.
            let _ = back.send(stream);
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Lent<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(context, buf)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lent<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(context, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(context, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that has read these pieces, each by itself.
    async fn read(activity: &Arc<Activity>, pieces: &[&[u8]]) -> Stream<tokio::io::DuplexStream> {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let mut stream = Stream::new(near, activity);
        for piece in pieces {
            far.write_all(piece).await.unwrap();
            stream.read_exact(&mut vec![0; piece.len()]).await.unwrap();
        }
        stream
    }

    #[tokio::test]
    async fn http_2_is_known_by_all_that_it_begins_with() {
        let activity = Arc::default();
        for at in [1, 2, 3, 23] {
            let (begin, end) = PREFACE.split_at(at);
            assert!(read(&activity, &[begin, end, b"more"]).await.is_http_2, "{at}");
        }
        assert!(read(&activity, &[&[PREFACE, b"more"].concat()]).await.is_http_2);
        for other in
            [&b"PRI nonsense"[..], b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", b"GET /PRI HTTP/1.1\r\n"]
        {
            let stream = read(&activity, &[other]).await;
            assert!(!stream.is_http_2 && stream.head == other);
        }
        drop(activity.begin());
        assert!(activity.all_written());
        assert!(
            !read(&activity, &[PREFACE]).await.is_http_2,
            "a connection does not change its protocol"
        );
    }

    #[tokio::test]
    async fn a_long_head_is_not_kept() {
        let activity = Arc::default();
        let mut stream = read(&activity, &[&[b'x'; 60_000]]).await;
        assert_eq!(stream.head.len(), 60_000);
        drop(activity.begin());
        stream.flush().await.unwrap();
        assert!(stream.head.is_empty() && stream.head.capacity() <= KEPT);
    }

    #[test]
    fn what_is_too_large_is_told() {
        let full = |begin: &str| [begin.as_bytes(), &vec![b'x'; MAX_HEAD - begin.len()]].concat();
        assert!(matches!(too_large(&full("GET /")), Refusal::UriTooLong));
        assert!(matches!(too_large(&full("\r\n\r\nGET /")), Refusal::UriTooLong));
        for other in
            [full("GET"), full("GET / HTTP/1.1\r\nx: "), vec![b'\n'; MAX_HEAD], b"GET /".to_vec()]
        {
            assert!(
                matches!(too_large(&other), Refusal::HeadTooLarge(text) if text == message::too_long())
            );
        }
        let many = format!("GET / HTTP/1.1\r\n{}", "x: 1\r\n".repeat(MAX_HEADERS + 1));
        assert!(
            matches!(too_large(many.as_bytes()), Refusal::HeadTooLarge(text) if text == message::too_many_fields())
        );
    }
}
