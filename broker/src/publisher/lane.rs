//! The frames of one queue.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, oneshot};
use wasmill_domain::Dispatch;
use wasmill_domain::batch::{MAX_DISPATCHES, SOFT_MAX_BYTES};

use super::{Inner, message_of};
use crate::port::{Error, Message, QueueName, Result};

type Waiter = oneshot::Sender<Result<()>>;

/// What waits to be framed for one queue.
pub(super) struct Lane {
    waiting: VecDeque<Waiting>,
    /// The task has nothing to frame, and must be told when there is something.
    idle: bool,
    news: Arc<Notify>,
}

struct Waiting {
    dispatch: Dispatch,
    weight: usize,
    done: Waiter,
}

impl Lane {
    pub(super) fn new() -> Self {
        Self { waiting: VecDeque::new(), idle: false, news: Arc::new(Notify::new()) }
    }

    /// How many dispatches wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn push(&mut self, dispatch: Dispatch, weight: usize, done: Waiter) {
        self.waiting.push_back(Waiting { dispatch, weight, done });
        if std::mem::take(&mut self.idle) {
            self.news.notify_one();
        }
    }

    /// What makes the next frame, and its weight: no more than a frame may hold, and at least one.
    fn take_frame(&mut self) -> (Vec<Waiting>, usize) {
        let mut weight = 0;
        let fitting = self.waiting.iter().take(MAX_DISPATCHES).take_while(|next| {
            let fits = weight == 0 || weight + next.weight <= SOFT_MAX_BYTES;
            weight += if fits { next.weight } else { 0 };
            fits
        });
        let count = fitting.count();
        (self.waiting.drain(..count).collect(), weight)
    }
}

/// A frame on its way.
struct Sent {
    /// Its place among the queue's frames.
    place: u64,
    message: Message,
    waiters: Vec<Waiter>,
    /// It is sent for the second time, after its queue was declared.
    again: bool,
}

type Sending = Pin<Box<dyn Future<Output = (Sent, Result<()>)> + Send>>;

/// Takes a queue's lane away however its task ends, so that nothing waits for a task that is gone.
struct Running {
    inner: Arc<Inner>,
    queue: QueueName,
    left: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.left {
            let mut lanes = self.inner.lock();
            if let Some(lane) = lanes.queues.remove(&self.queue) {
                lanes.bytes -= lane.waiting.iter().map(|waiting| waiting.weight).sum::<usize>();
            }
        }
    }
}

/// The task of one queue: frames and sends until nothing waits and everything is confirmed.
pub(super) async fn run(inner: Arc<Inner>, queue: QueueName) {
    let mut lane = Sender {
        running: Running { inner, queue, left: false },
        sending: FuturesUnordered::new(),
        refused: Vec::new(),
        next_place: 0,
    };
    while lane.step().await {}
}

struct Sender {
    running: Running,
    sending: FuturesUnordered<Sending>,
    /// Frames that came back because there is no such queue.
    refused: Vec<Sent>,
    next_place: u64,
}

/// What is to be done next.
enum Next {
    Send(Vec<Waiting>),
    Await { news: Option<Arc<Notify>> },
    Leave,
}

impl Sender {
    /// One step; `false` after the last one.
    async fn step(&mut self) -> bool {
        if !self.refused.is_empty() && self.sending.is_empty() {
            self.declare_and_resend().await;
            return true;
        }
        match self.next() {
            Next::Send(waiting) => self.frame(waiting).await,
            Next::Await { news: None } => self.await_confirm().await,
            Next::Await { news: Some(news) } => {
                tokio::select! {
                    () = self.await_confirm() => {}
                    () = news.notified() => {}
                }
            }
            Next::Leave => return false,
        }
        true
    }

    fn next(&mut self) -> Next {
        // While frames have come back, those that follow them wait, so that the order is kept.
        let may_send = self.sending.len() < self.running.inner.settings.in_flight.max(1) && self.refused.is_empty();
        if !may_send {
            return Next::Await { news: None };
        }
        let mut lanes = self.running.inner.lock();
        let Some(lane) = lanes.queues.get_mut(&self.running.queue) else { return Next::Leave };
        if lane.waiting.is_empty() {
            if !self.sending.is_empty() {
                lane.idle = true;
                return Next::Await { news: Some(Arc::clone(&lane.news)) };
            }
            lanes.queues.remove(&self.running.queue);
            self.running.left = true;
            return Next::Leave;
        }
        let (waiting, weight) = lane.take_frame();
        lanes.bytes -= weight;
        Next::Send(waiting)
    }

    /// Makes a frame and begins to send it.
    async fn frame(&mut self, waiting: Vec<Waiting>) {
        let (dispatches, waiters): (Vec<_>, Vec<_>) = waiting.into_iter().map(|w| (w.dispatch, w.done)).unzip();
        match message_of(dispatches, &self.running.inner.settings.writes) {
            Ok(message) => {
                let place = self.next_place;
                self.next_place += 1;
                self.send(Sent { place, message, waiters, again: false }).await;
            }
            Err(error) => answer(waiters, &Err(error)),
        }
    }

    /// Begins to send a frame: when this returns, the frame has its place behind those that were sent before.
    async fn send(&mut self, sent: Sent) {
        let broker = Arc::clone(&self.running.inner.broker);
        let queue = self.running.queue.clone();
        let mut sending: Sending = Box::pin(async move {
            let result = broker.publish(&queue, sent.message.clone()).await;
            (sent, result)
        });
        // A broker keeps the order in which publishes are first polled; a set of futures promises none.
        match poll_fn(|context| Poll::Ready(sending.as_mut().poll(context))).await {
            Poll::Ready((sent, result)) => self.conclude(sent, &result),
            Poll::Pending => self.sending.push(sending),
        }
    }

    async fn await_confirm(&mut self) {
        if let Some((sent, result)) = self.sending.next().await {
            self.conclude(sent, &result);
        }
    }

    fn conclude(&mut self, sent: Sent, result: &Result<()>) {
        if matches!(result, Err(Error::NoQueue(_))) && !sent.again {
            self.refused.push(sent);
        } else {
            answer(sent.waiters, result);
        }
    }

    /// Declares the queue and sends what has come back, in order.
    async fn declare_and_resend(&mut self) {
        let mut refused = std::mem::take(&mut self.refused);
        refused.sort_unstable_by_key(|sent| sent.place);
        match self.running.inner.broker.declare(&self.running.queue).await {
            Ok(()) => {
                for sent in refused {
                    self.send(Sent { again: true, ..sent }).await;
                }
            }
            Err(error) => refused.into_iter().for_each(|sent| answer(sent.waiters, &Err(error.clone()))),
        }
    }
}

fn answer(waiters: Vec<Waiter>, result: &Result<()>) {
    for waiter in waiters {
        // Where nobody waits any more, the dispatch is published all the same.
        let _ = waiter.send(result.clone());
    }
}
