//! The task of one queue: makes batches of what waits and publishes them.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;

use super::batchers::{Batchers, Waiter, Waiting};
use super::message::message_of;
use crate::port::{BrokerError, Message, QueueName, Result};

/// A batch that is published, and not confirmed yet.
struct SentBatch {
    /// Its position among the queue's batches.
    position: u64,
    message: Message,
    waiters: Vec<Waiter>,
    /// It is published for the second time, after its queue was declared.
    again: bool,
}

type Publishing = Pin<Box<dyn Future<Output = (SentBatch, Result<()>)> + Send>>;

/// Forgets a queue's batcher however its task ends, so that nothing waits for a task that is gone.
struct Registration {
    batchers: Arc<Batchers>,
    queue: QueueName,
    /// The task has taken the batcher away itself.
    removed: bool,
}

impl Drop for Registration {
    fn drop(&mut self) {
        if !self.removed {
            self.batchers.abandon(&self.queue);
        }
    }
}

/// Runs until nothing waits for the queue and every batch of it is confirmed.
pub(super) async fn run(batchers: Arc<Batchers>, queue: QueueName) {
    let mut sender = BatchSender {
        registration: Registration { batchers, queue, removed: false },
        publishing: FuturesUnordered::new(),
        without_queue: Vec::new(),
        next_position: 0,
    };
    while sender.step().await {}
}

struct BatchSender {
    registration: Registration,
    publishing: FuturesUnordered<Publishing>,
    /// Batches that were refused because there is no such queue.
    without_queue: Vec<SentBatch>,
    next_position: u64,
}

/// What is to be done next.
enum Next {
    Publish(Vec<Waiting>),
    Await { wake: Option<Arc<Notify>> },
    End,
}

impl BatchSender {
    /// One step; `false` after the last one.
    async fn step(&mut self) -> bool {
        if !self.without_queue.is_empty() && self.publishing.is_empty() {
            self.declare_and_publish_again().await;
            return true;
        }
        match self.next() {
            Next::Publish(waiting) => self.publish(waiting).await,
            Next::Await { wake: None } => self.await_confirm().await,
            Next::Await { wake: Some(wake) } => {
                tokio::select! {
                    () = self.await_confirm() => {}
                    () = wake.notified() => {}
                }
            }
            Next::End => return false,
        }
        true
    }

    fn next(&mut self) -> Next {
        let Registration { batchers, queue, removed } = &mut self.registration;
        // While batches were refused, those that follow them wait, so that the order is kept.
        let may_publish = self.publishing.len() < batchers.settings.in_flight.max(1)
            && self.without_queue.is_empty();
        if !may_publish {
            return Next::Await { wake: None };
        }
        let mut state = batchers.lock();
        let Some(batcher) = state.queues.get_mut(queue) else { return Next::End };
        if batcher.waiting() == 0 {
            if !self.publishing.is_empty() {
                return Next::Await { wake: Some(batcher.set_idle()) };
            }
            state.queues.remove(queue);
            *removed = true;
            return Next::End;
        }
        Next::Publish(state.take_batch(queue))
    }

    /// Makes a batch and begins to publish it.
    async fn publish(&mut self, waiting: Vec<Waiting>) {
        let (dispatches, waiters): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|w| (w.dispatch, w.done)).unzip();
        match message_of(dispatches, &self.registration.batchers.settings.writes) {
            Ok(message) => {
                let position = self.next_position;
                self.next_position += 1;
                self.send(SentBatch { position, message, waiters, again: false }).await;
            }
            Err(error) => answer(waiters, &Err(error)),
        }
    }

    /// Begins to publish a batch: when this returns, it has its position behind those before it.
    async fn send(&mut self, batch: SentBatch) {
        let broker = Arc::clone(&self.registration.batchers.broker);
        let queue = self.registration.queue.clone();
        let mut publishing: Publishing = Box::pin(async move {
            let result = broker.publish(&queue, batch.message.clone()).await;
            (batch, result)
        });
        // A broker keeps the order in which publishes are first polled; a `FuturesUnordered` polls
        // them in any order, so each is polled once before it gets there.
        match poll_fn(|context| Poll::Ready(publishing.as_mut().poll(context))).await {
            Poll::Ready((batch, result)) => self.conclude(batch, &result),
            Poll::Pending => self.publishing.push(publishing),
        }
    }

    async fn await_confirm(&mut self) {
        if let Some((batch, result)) = self.publishing.next().await {
            self.conclude(batch, &result);
        }
    }

    fn conclude(&mut self, batch: SentBatch, result: &Result<()>) {
        if matches!(result, Err(BrokerError::NoQueue(_))) && !batch.again {
            self.without_queue.push(batch);
        } else {
            answer(batch.waiters, result);
        }
    }

    /// Declares the queue and publishes what was refused for want of it, in order.
    async fn declare_and_publish_again(&mut self) {
        let mut refused = std::mem::take(&mut self.without_queue);
        refused.sort_unstable_by_key(|batch| batch.position);
        match self.registration.batchers.broker.declare(&self.registration.queue).await {
            Ok(()) => {
                for batch in refused {
                    self.send(SentBatch { again: true, ..batch }).await;
                }
            }
            Err(error) => {
                refused.into_iter().for_each(|batch| answer(batch.waiters, &Err(error.clone())));
            }
        }
    }
}

fn answer(waiters: Vec<Waiter>, result: &Result<()>) {
    for waiter in waiters {
        // Where nobody waits any more, the dispatch is published all the same.
        let _ = waiter.send(result.clone());
    }
}
