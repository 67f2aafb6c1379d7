//! The worker of one queue: takes messages off it as fast as the function's concurrency allows.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use wasmill_broker::{Consumption, Deliveries, Delivery, QueueName, Settle, Tag};

use super::batch::work;
use super::clear_away::clear_away;
use super::host::{FunctionKey, Host};
use super::settled::Settled;
use super::version::{ResolvedVersion, Versions, follow};
use crate::calls;
use crate::machine::kib;

/// How often the worker of a deleted function looks whether its queue is empty.
const EMPTY_CHECK: Duration = Duration::from_secs(1);

/// How many messages of a deleted function's queue are taken at once.
const DELETED_CONCURRENCY: u16 = 16;

/// How long acknowledgements may take when the host ends.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// How many acknowledgements go to the broker together.
const ACK_BATCH: usize = 256;

/// The worker of one function's queue.
pub(super) struct QueueWorker {
    host: Arc<Host>,
    key: FunctionKey,
    queue: QueueName,
    versions: Versions,
    follow: AbortOnDropHandle<()>,
    /// Unacknowledged messages.
    messages: JoinSet<Settled>,
    unacked: HashMap<Id, UnackedMessage>,
    /// What answers the function's calls, and what has it accept no more of them.
    answering: JoinHandle<()>,
    stop_answering: CancellationToken,
    /// What sends acknowledgements, for each consumer that still has unacknowledged messages.
    acking: JoinSet<()>,
}

/// An unacknowledged message.
struct UnackedMessage {
    tag: Tag,
    consumer: Arc<Consumer>,
}

/// Where the messages of one consumer are settled. Acknowledgements go together.
struct Consumer {
    settle: Arc<dyn Settle>,
    acks: mpsc::Sender<Tag>,
}

/// Why a consumer was given up.
enum Ended {
    /// The host is to stop.
    Stop,
    /// It must be made anew: the broker ended it, or the concurrency is another.
    Again,
    /// The function is deleted and its queue has been empty for a while.
    Empty,
    /// The function's current version asks for a label that this host does not have, or is one that
    /// it cannot read.
    Elsewhere,
}

impl QueueWorker {
    pub(super) fn new(host: Arc<Host>, key: FunctionKey) -> Self {
        let (sender, versions) = watch::channel(None);
        let follow =
            AbortOnDropHandle::new(tokio::spawn(follow(Arc::clone(&host), key.clone(), sender)));
        let queue = QueueName::of_function(&key.0, &key.1);
        let stop_answering = host.stop.child_token();
        let answering = tokio::spawn(calls::answer(
            Arc::clone(&host),
            key.clone(),
            versions.clone(),
            stop_answering.clone(),
        ));
        Self {
            host,
            key,
            queue,
            versions,
            follow,
            messages: JoinSet::new(),
            unacked: HashMap::new(),
            answering,
            stop_answering,
            acking: JoinSet::new(),
        }
    }

    /// Works until the host is to stop, the function is deleted and nothing is left of it, or it is
    /// for other hosts. Gives its name back.
    pub(super) async fn run(mut self) -> FunctionKey {
        let stop = self.host.stop.clone();
        let stopped = tokio::select! {
            () = stop.cancelled() => true,
            // The sender lives as long as this.
            _ = self.versions.wait_for(Option::is_some) => false,
        };
        if stopped {
            return self.end().await;
        }
        let mut backoff = self.host.settings.recorder.backoff();
        while self.is_for_here() {
            let concurrency = self.concurrency();
            let consumption = tokio::select! {
                () = stop.cancelled() => break,
                consumption = self.consume(concurrency) => consumption,
            };
            let consumption = match consumption {
                Ok(consumption) => consumption,
                Err(error) => {
                    tracing::warn!(queue = %self.queue, %error, "the queue cannot be consumed yet");
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = sleep(backoff.pause()) => continue,
                    }
                }
            };
            backoff = self.host.settings.recorder.backoff();
            match self.take(consumption, concurrency).await {
                Ended::Again => {}
                Ended::Empty if clear_away(&self.host, &self.key, &self.queue).await => break,
                Ended::Empty => {}
                Ended::Stop | Ended::Elsewhere => break,
            }
        }
        self.finish().await;
        self.end().await
    }

    /// Ends with the calls that run.
    async fn end(self) -> FunctionKey {
        // Calls that run may wait for their version still, so `follow` goes after them.
        let Self { key, follow: _follow, answering, stop_answering, .. } = self;
        stop_answering.cancel();
        if let Err(error) = answering.await {
            tracing::error!(tenant = %key.0, function = %key.1, %error, "the host broke down over its calls");
        }
        key
    }

    async fn consume(&self, concurrency: NonZeroU16) -> wasmill_broker::Result<Consumption> {
        self.host.broker.publishing.declare(&self.queue).await?;
        self.host.broker.consuming.consume(&self.queue, concurrency).await
    }

    fn is_deleted(&self) -> bool {
        matches!(self.current(), ResolvedVersion::Deleted)
    }

    fn current(&self) -> ResolvedVersion {
        self.versions
            .borrow()
            .as_ref()
            .map_or(ResolvedVersion::Deleted, |current| current.version.clone())
    }

    /// What is left of a deleted function any host may clear away.
    fn is_for_here(&self) -> bool {
        match self.current() {
            ResolvedVersion::Unreadable => false,
            current => current.definition().is_none_or(|definition| self.host.may_run(definition)),
        }
    }

    fn concurrency(&self) -> NonZeroU16 {
        let wanted = self
            .current()
            .definition()
            .map_or(u32::from(DELETED_CONCURRENCY), |d| d.manifest.limits.concurrency);
        u16::try_from(wanted).ok().and_then(NonZeroU16::new).unwrap_or(NonZeroU16::MAX)
    }

    /// Takes messages until there is a reason to stop.
    async fn take(&mut self, consumption: Consumption, concurrency: NonZeroU16) -> Ended {
        let Consumption { mut deliveries, settle } = consumption;
        let _consuming = self.host.status.consume();
        let (acks, receiver) = mpsc::channel(usize::from(concurrency.get()));
        while self.acking.try_join_next().is_some() {}
        self.acking.spawn(acknowledge(Arc::clone(&settle), receiver));
        let consumer = Arc::new(Consumer { settle, acks });
        let slots = Arc::new(Semaphore::new(usize::from(concurrency.get())));
        let stop = self.host.stop.clone();
        let mut empty_since = None;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ended::Stop,
                Some(ended) = self.messages.join_next_with_id() => self.settle(ended).await,
                Ok(()) = self.versions.changed() => {
                    if !self.is_for_here() {
                        return Ended::Elsewhere;
                    }
                    if self.concurrency() != concurrency {
                        return Ended::Again;
                    }
                }
                delivery = next(&slots, &mut *deliveries) => match delivery {
                    Some(delivery) => self.begin(delivery, &slots, &consumer).await,
                    None => return Ended::Again,
                },
                () = sleep(EMPTY_CHECK), if self.is_deleted() => {
                    if !self.messages.is_empty() || !self.is_empty().await {
                        empty_since = None;
                    } else if empty_since.get_or_insert_with(Instant::now).elapsed() >= self.host.settings.cleanup_after {
                        return Ended::Empty;
                    }
                }
            }
        }
    }

    async fn is_empty(&self) -> bool {
        self.host.broker.queues.depth(&self.queue).await.is_ok_and(|depth| depth.ready == 0)
    }

    /// Begins with a message, when there is room for it.
    async fn begin(
        &mut self,
        delivery: Delivery,
        slots: &Arc<Semaphore>,
        consumer: &Arc<Consumer>,
    ) {
        let weight = u64::from(kib(delivery.message.body.len()));
        let tag = delivery.tag;
        let stop = self.host.stop.clone();
        let memory = tokio::select! {
            () = stop.cancelled() => None,
            memory = self.host.unacked.acquire(&self.key.0, &self.key.1, weight) => Some(memory),
        };
        let Some(memory) = memory else {
            consumer.release(&[tag]).await;
            return;
        };
        let working = work(
            Arc::clone(&self.host),
            self.key.clone(),
            self.versions.clone(),
            Arc::clone(slots),
            delivery,
        );
        let message = self.messages.spawn(async move {
            let settled = working.await;
            drop(memory);
            settled
        });
        self.unacked.insert(message.id(), UnackedMessage { tag, consumer: Arc::clone(consumer) });
    }

    /// Does with a message what has turned out to be right.
    async fn settle(&mut self, ended: Result<(Id, Settled), JoinError>) {
        let (id, settled) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(queue = %self.queue, %error, "the host broke down over a message");
                }
                (error.id(), Settled::Release)
            }
        };
        let Some(UnackedMessage { tag, consumer }) = self.unacked.remove(&id) else { return };
        match settled {
            Settled::Ack => consumer.ack(tag).await,
            Settled::Release => consumer.release(&[tag]).await,
        }
    }

    /// Lets what runs come to its end, or gives it back when the host says so.
    async fn finish(&mut self) {
        let cut = self.host.cut.clone();
        loop {
            tokio::select! {
                biased;
                () = cut.cancelled() => break,
                ended = self.messages.join_next_with_id() => match ended {
                    Some(ended) => self.settle(ended).await,
                    None => break,
                },
            }
        }
        self.messages.shutdown().await;
        for (_, UnackedMessage { tag, consumer }) in self.unacked.drain() {
            consumer.release(&[tag]).await;
        }
        // Nothing holds a consumer any more, so these end.
        let acked = async { while self.acking.join_next().await.is_some() {} };
        if tokio::time::timeout(ACK_TIMEOUT, acked).await.is_err() {
            tracing::warn!(queue = %self.queue, "the broker does not take acknowledgements: work is delivered again");
        }
    }
}

/// The next message, once the function has room for one more execution.
async fn next(slots: &Semaphore, deliveries: &mut dyn Deliveries) -> Option<Delivery> {
    // Cannot fail: the semaphore is never closed. Given back at once: the execution takes its own.
    drop(slots.acquire().await);
    deliveries.next().await
}

impl Consumer {
    async fn ack(&self, tag: Tag) {
        // The task ends after this only.
        let _ = self.acks.send(tag).await;
    }

    async fn release(&self, tags: &[Tag]) {
        if let Err(error) = self.settle.release(tags).await {
            tracing::debug!(%error, "messages could not be given back; the broker will see that nobody holds them");
        }
    }
}

/// Acknowledges what has come while the last acknowledgement was under way.
async fn acknowledge(settle: Arc<dyn Settle>, mut acks: mpsc::Receiver<Tag>) {
    let mut tags = Vec::new();
    while acks.recv_many(&mut tags, ACK_BATCH).await > 0 {
        if let Err(error) = settle.ack(&tags).await {
            // They are delivered again, and found to be done.
            tracing::debug!(%error, "acknowledgements got lost");
        }
        tags.clear();
    }
}
