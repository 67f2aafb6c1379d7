//! Consumers, which outlive channels and connections.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};
use wasmill_domain::backoff::Backoff;

use super::amqp::Fault;
use super::link::{Link, RETRY, Session};
use super::operations;
use super::unacked::{RabbitSettle, UnackedDeliveries};
use crate::port::{Consumption, Deliveries, Delivery, QueueName, Result};

/// What a consumer consumes, and how.
struct ConsumerSpec {
    link: Link,
    queue: QueueName,
    /// What RabbitMQ calls the queue.
    name: ShortString,
    prefetch: NonZeroU16,
    unacked: Arc<UnackedDeliveries>,
}

/// A consumer over one channel.
struct Attached {
    session: Arc<Session>,
    channel: Arc<Channel>,
    consumer: Consumer,
}

/// Begins to consume.
pub(super) async fn consume(
    link: &Link,
    queue: &QueueName,
    name: ShortString,
    prefetch: NonZeroU16,
    timeout: Duration,
) -> Result<(Consumption, Arc<UnackedDeliveries>)> {
    let unacked = Arc::new(UnackedDeliveries::default());
    let spec = ConsumerSpec {
        link: link.clone(),
        queue: queue.clone(),
        name,
        prefetch,
        unacked: Arc::clone(&unacked),
    };
    let attached = link
        .work(timeout, |session| spec.attach(session))
        .await
        .map_err(|fault| operations::error(fault, queue))?;
    let deliveries = RabbitDeliveries { spec: Arc::new(spec), source: Source::Attached(attached) };
    let settle = Arc::new(RabbitSettle(Arc::clone(&unacked)));
    Ok((Consumption { deliveries: Box::new(deliveries), settle }, unacked))
}

impl ConsumerSpec {
    async fn attach(&self, session: Arc<Session>) -> std::result::Result<Attached, Fault> {
        let opening = async {
            let channel = session.open().await?;
            channel.basic_qos(self.prefetch.get(), BasicQosOptions::default()).await?;
            let (tag, options) = (ShortString::default(), BasicConsumeOptions::default());
            let consumer = channel
                .basic_consume(self.name.clone(), tag, options, FieldTable::default())
                .await?;
            Ok((channel, consumer))
        };
        let (channel, consumer) = session.set_up(opening).await?;
        let channel = Arc::new(channel);
        if !self.unacked.move_to(Arc::clone(&channel)) {
            return Err(Fault::Transient("the consumer is dropped".into()));
        }
        Ok(Attached { session, channel, consumer })
    }

    /// Consumes again after the channel or the connection was lost, or RabbitMQ has cancelled the
    /// consumer. `None` where there is nothing to consume any more.
    async fn attach_again(self: Arc<Self>) -> Option<Attached> {
        let mut retry = Backoff::new(RETRY.0, RETRY.1).jittered();
        while !self.unacked.is_ended() {
            let session = self.link.lasting_session().await?;
            match session.during(self.attach(Arc::clone(&session))).await {
                Some(Ok(attached)) => {
                    debug!(queue = %self.queue, "consuming again");
                    return Some(attached);
                }
                Some(Err(Fault::NoQueue)) => {
                    info!(queue = %self.queue, "the queue is gone, and its consumer with it");
                    return None;
                }
                Some(Err(Fault::Transient(reason))) => {
                    debug!(queue = %self.queue, reason, "cannot consume yet");
                }
                Some(Err(fault)) => {
                    warn!(queue = %self.queue, %fault, "RabbitMQ refuses to let a queue be consumed; trying again");
                }
                None => {}
            }
            tokio::time::sleep(retry.pause()).await;
        }
        None
    }
}

/// Where deliveries come from.
enum Source {
    Attached(Attached),
    Attaching(JoinHandle<Option<Attached>>),
    Ended,
}

/// The half of a consumer that receives deliveries.
struct RabbitDeliveries {
    spec: Arc<ConsumerSpec>,
    source: Source,
}

#[async_trait]
impl Deliveries for RabbitDeliveries {
    async fn next(&mut self) -> Option<Delivery> {
        loop {
            match &mut self.source {
                Source::Attached(attached) => {
                    match attached.session.during(attached.consumer.next()).await.flatten() {
                        Some(Ok(delivery)) if !self.spec.unacked.is_ended() => {
                            return Some(self.spec.unacked.take(delivery));
                        }
                        lost => {
                            if let Some(Err(error)) = lost {
                                debug!(queue = %self.spec.queue, %error, "the channel to consume on was lost");
                            }
                            self.spec.unacked.lose();
                            let again = Arc::clone(&self.spec).attach_again();
                            self.source = Source::Attaching(tokio::spawn(again));
                        }
                    }
                }
                Source::Attaching(attaching) => {
                    let attached = attaching.await.ok().flatten();
                    self.source = attached.map_or(Source::Ended, Source::Attached);
                }
                Source::Ended => return None,
            }
        }
    }
}

impl Drop for RabbitDeliveries {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.source, Source::Ended) {
            Source::Attached(attached) if !self.spec.unacked.is_ended() => {
                tokio::spawn(detach(attached));
            }
            Source::Attaching(attaching) => {
                attaching.abort();
                tokio::spawn(async move {
                    // It may have attached before it was aborted.
                    if let Ok(Some(attached)) = attaching.await {
                        detach(attached).await;
                    }
                });
            }
            _ => {}
        }
    }
}

/// Stops further deliveries; what was on its way and nobody has received is requeued. The channel
/// stays for what is unacknowledged.
async fn detach(attached: Attached) {
    let Attached { channel, mut consumer, .. } = attached;
    // Once this is answered nothing more is on its way, and the consumer ends after what has
    // arrived.
    if let Err(error) = channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await {
        debug!(%error, "the channel was lost before its consumer was cancelled");
        return;
    }
    let mut unseen = Vec::new();
    while let Some(Ok(delivery)) = consumer.next().await {
        unseen.push(delivery.delivery_tag);
    }
    UnackedDeliveries::requeue(&channel, unseen.into_iter());
}
