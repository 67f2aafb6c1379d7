//! The requests of connections of HTTP/2, each a task of its own, and whether their clients take
//! the responses.
//!
//! A client of HTTP/2 says for each stream how much it takes (its window), and may go on with
//! others while it takes nothing of one. hyper then waits with a piece of the response in its hand,
//! for as long as the connection lives, and asks the body for nothing more. So it is seen from
//! here: the body notes what it hands on and when it is asked again, and the task is dropped where
//! that takes too long, by which the stream is reset and no other one is touched.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::{Instant, Sleep, sleep};

tokio::task_local! {
    static PIECES: Arc<Pieces>;
}

/// The pieces of a response over HTTP/2 that were handed on and taken, together: odd while one is
/// handed on and not taken.
#[derive(Default)]
pub(crate) struct Pieces(AtomicUsize);

impl Pieces {
    /// Those of the request whose task this is; `None` where it is one of HTTP/1.1, whose bytes the
    /// connection's socket tells of.
    pub(crate) fn of_this_task() -> Option<Arc<Self>> {
        PIECES.try_with(Arc::clone).ok()
    }

    /// A piece is handed on.
    pub(crate) fn hand_on(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The next one is asked for, so that the one before is taken, if there was any.
    pub(crate) fn take(&self) {
        if self.waiting().is_some() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The piece that is handed on and not taken.
    fn waiting(&self) -> Option<usize> {
        let count = self.0.load(Ordering::Relaxed);
        (count % 2 == 1).then_some(count)
    }
}

/// Runs each request of a connection of HTTP/2 as a task, until its client takes nothing of a piece
/// of the response for so long.
#[derive(Clone)]
pub(crate) struct StreamTasks {
    pub(crate) write_timeout: Duration,
}

impl<F> Executor<F> for StreamTasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, request: F) {
        let pieces = Arc::<Pieces>::default();
        let task = until_stalled(request, Arc::clone(&pieces), self.write_timeout);
        tokio::spawn(PIECES.scope(pieces, task));
    }
}

async fn until_stalled<F: Future>(request: F, pieces: Arc<Pieces>, write_timeout: Duration) {
    let mut request = pin!(request);
    let mut timer: Option<(usize, Pin<Box<Sleep>>)> = None;
    poll_fn(|context| {
        if request.as_mut().poll(context).is_ready() {
            return std::task::Poll::Ready(());
        }
        let Some(piece) = pieces.waiting() else { return std::task::Poll::Pending };
        // Made when the first one has to wait, which most never do.
        let (of, timer) = timer.get_or_insert_with(|| (piece, Box::pin(sleep(write_timeout))));
        if *of != piece {
            *of = piece;
            timer.as_mut().reset(Instant::now() + write_timeout);
        }
        let stalled = timer.as_mut().poll(context);
        if stalled.is_ready() {
            tracing::debug!("a stream is reset: its client takes nothing of the response");
        }
        stalled
    })
    .await;
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::{CancellationToken, DropGuard};

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    /// Runs a request that hands on these pieces, the last of which is taken or not, and then has
    /// nothing to do. What is given is cancelled when it is dropped.
    fn run(pieces: usize, is_taken: bool) -> CancellationToken {
        let ended = CancellationToken::new();
        let guard: DropGuard = ended.clone().drop_guard();
        let request = async move {
            let _guard = guard;
            let of_body = Pieces::of_this_task().expect("it is one of HTTP/2");
            for _ in 0..pieces {
                of_body.take();
                of_body.hand_on();
                tokio::task::yield_now().await;
            }
            if is_taken {
                of_body.take();
            }
            std::future::pending::<()>().await;
        };
        StreamTasks { write_timeout: SHORT }.execute(request);
        ended
    }

    #[tokio::test]
    async fn a_piece_that_is_not_taken_ends_its_request_alone() {
        let quiet = [run(0, false), run(1, true), run(3, true)];
        for pieces in [1, 3] {
            run(pieces, false).cancelled().await;
        }
        // Nothing waits for these clients, for however long.
        sleep(SHORT * 3).await;
        assert!(quiet.iter().all(|quiet| !quiet.is_cancelled()));
        assert!(Pieces::of_this_task().is_none());
    }
}
