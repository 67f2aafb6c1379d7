//! The messages that are in flight on one channel: sent, and not confirmed.

use std::collections::HashSet;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Confirmation, Consumer};

use super::amqp::Fault;
use super::link::Session;
use super::publish_request::PublishRequest;

/// The result of a message, by its number.
pub(super) type Confirmed = (u64, lapin::Result<Confirmation>);

/// The queue that replies come to, and the reply address of a request: RabbitMQ replaces it with
/// the channel's own.
pub(super) const DIRECT_REPLY: &str = "amq.rabbitmq.reply-to";

type Confirming = Pin<Box<dyn Future<Output = Confirmed> + Send>>;

/// A channel with messages in flight.
pub(super) struct InFlight {
    channel: Arc<Channel>,
    confirming: FuturesUnordered<Confirming>,
    /// Messages that RabbitMQ returned because there is no queue for them, and whose confirms are
    /// still to come.
    returned: HashSet<u64>,
}

impl InFlight {
    /// Opens a channel that confirms, and that replies come to: they are what the consumer
    /// receives.
    pub(super) async fn begin(session: &Session) -> Result<(Self, Consumer), Fault> {
        let opening = async {
            let channel = session.open().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
            let (tag, arguments) = (ShortString::default(), FieldTable::default());
            let replies =
                channel.basic_consume(DIRECT_REPLY.into(), tag, options, arguments).await?;
            Ok((channel, replies))
        };
        let (channel, replies) = session.set_up(opening).await?;
        let in_flight = Self {
            channel: Arc::new(channel),
            confirming: FuturesUnordered::new(),
            returned: HashSet::new(),
        };
        Ok((in_flight, replies))
    }

    /// Sends a message: when this returns, it is behind those sent before. Where it must get to a
    /// queue, its message id must be its number.
    pub(super) async fn send(&mut self, number: u64, request: &PublishRequest) {
        let channel = Arc::clone(&self.channel);
        let (route, properties, body) =
            (request.route.clone(), request.properties.clone(), request.body.clone());
        let options = BasicPublishOptions {
            mandatory: request.queue.is_some(),
            ..BasicPublishOptions::default()
        };
        let mut confirming: Confirming = Box::pin(async move {
            let published = channel
                .basic_publish(ShortString::default(), route, options, &body, properties)
                .await;
            let confirmation = match published {
                Ok(confirm) => confirm.await,
                Err(error) => Err(error),
            };
            (number, confirmation)
        });
        // The first poll numbers the message for its confirm and queues its bytes. lapin does these
        // two one after the other: nobody else may publish on this channel in between, or confirms
        // would be taken for each other's.
        match std::future::poll_fn(|context| Poll::Ready(confirming.as_mut().poll(context))).await {
            Poll::Ready(confirmed) => self.confirming.push(Box::pin(std::future::ready(confirmed))),
            Poll::Pending => self.confirming.push(confirming),
        }
    }

    /// The results of messages in flight, at least one; never ends where there is none.
    ///
    /// lapin gives a returned message to whichever confirm it completes next, often another one's;
    /// it completes that one not later than the returned message's own, or together with it. So no
    /// confirm may be used before all those that lapin completes together are through.
    pub(super) async fn confirmed(&mut self) -> Vec<Confirmed> {
        let Some(first) = self.confirming.next().await else { return std::future::pending().await };
        let mut confirmed = vec![first];
        let mut known = 0;
        while known < confirmed.len() {
            known = confirmed.len();
            self.let_lapin_finish();
            self.drain(&mut confirmed);
        }
        for (_, confirmation) in &confirmed {
            if let Ok(Confirmation::Ack(Some(message)) | Confirmation::Nack(Some(message))) =
                confirmation
            {
                let number = message
                    .properties
                    .message_id()
                    .as_ref()
                    .and_then(|id| id.as_str().parse::<u64>().ok());
                self.returned.extend(number);
            }
        }
        confirmed
    }

    /// Whether a message that is confirmed was returned, as there is no queue for it.
    pub(super) fn was_returned(&mut self, number: u64) -> bool {
        self.returned.remove(&number)
    }

    /// Waits until lapin is not in the midst of completing confirms, which takes microseconds: it
    /// holds a lock meanwhile, and this needs the same one.
    fn let_lapin_finish(&self) {
        let looked =
            pin!(self.channel.wait_for_confirms()).poll(&mut Context::from_waker(Waker::noop()));
        // Whether all are confirmed does not matter here.
        drop(looked);
    }

    /// Takes everything that is confirmed already.
    fn drain(&mut self, confirmed: &mut Vec<Confirmed>) {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        loop {
            match self.confirming.poll_next_unpin(&mut context) {
                Poll::Ready(Some(one)) => confirmed.push(one),
                Poll::Ready(None) => return,
                // A set that was polled for long wakes its poller and yields before it is through.
                Poll::Pending if woken.0.swap(false, Ordering::AcqRel) => {}
                Poll::Pending => return,
            }
        }
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}
