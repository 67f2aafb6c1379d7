//! Whether a client takes what is written to it, as its connection's socket tells.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What became of the bytes that were to be written to a connection.
pub(crate) struct Writes {
    /// Since when bytes wait of which the socket takes none, in milliseconds since the connection
    /// began, and one more; 0 while none wait.
    waiting_since: AtomicU64,
    start: Instant,
}

impl Default for Writes {
    fn default() -> Self {
        Self { waiting_since: AtomicU64::new(0), start: Instant::now() }
    }
}

impl Writes {
    fn note(&self, is_waiting: bool) {
        if !is_waiting {
            self.waiting_since.store(0, Ordering::Relaxed);
        } else if self.waiting_since.load(Ordering::Relaxed) == 0 {
            let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
            self.waiting_since.store(now + 1, Ordering::Relaxed);
        }
    }

    fn waiting_since(&self) -> Option<Instant> {
        let since = self.waiting_since.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.start + Duration::from_millis(since))
    }

    /// Waits until there have been bytes to write for so long of which the client took none.
    /// Where there is nothing to write, it may be quiet for as long as it likes.
    pub(crate) async fn stalled(&self, write_timeout: Duration) {
        loop {
            let now = Instant::now();
            let ends = self.waiting_since().unwrap_or(now) + write_timeout;
            if ends <= now {
                return;
            }
            tokio::time::sleep_until(ends).await;
        }
    }
}

/// A socket that notes what becomes of what is written to it. It is below TLS, where a byte that is
/// taken is one that the client's end has room for.
pub(crate) struct Metered<I> {
    inner: I,
    writes: Arc<Writes>,
}

impl<I> Metered<I> {
    pub(crate) fn new(inner: I, writes: &Arc<Writes>) -> Self {
        Self { inner, writes: Arc::clone(writes) }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Metered<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Metered<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, buf);
        self.writes.note(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, bufs);
        self.writes.note(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    /// Whether it is seen that nothing is taken, which must not be at any time.
    async fn stalls(writes: &Writes) -> bool {
        tokio::time::timeout(SHORT * 5, writes.stalled(SHORT)).await.is_ok()
    }

    #[tokio::test]
    async fn only_bytes_that_wait_are_waited_for() {
        let writes = Arc::<Writes>::default();
        let (near, mut far) = tokio::io::duplex(4);
        let mut near = Metered::new(near, &writes);
        assert!(!stalls(&writes).await, "there is nothing to write");
        near.write_all(b"1234").await.unwrap();
        assert!(!stalls(&writes).await, "all is written");
        let writing = tokio::spawn(async move {
            near.write_all(b"56789").await.unwrap();
            near
        });
        writes.stalled(SHORT).await;
        let before = writes.waiting_since().unwrap();
        // A byte that is taken begins it anew.
        far.read_u8().await.unwrap();
        while writes.waiting_since() == Some(before) {
            tokio::task::yield_now().await;
        }
        far.read_exact(&mut [0; 8]).await.unwrap();
        let _near = writing.await.unwrap();
        assert!(!stalls(&writes).await);
    }
}
