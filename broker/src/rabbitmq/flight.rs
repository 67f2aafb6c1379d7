//! What is under way on one channel.

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

use super::lanes::Job;
use super::link::Session;
use super::wire::Fault;

/// What became of a message, by its number.
pub(super) type Landed = (u64, lapin::Result<Confirmation>);

/// Where replies come to, and what goes where a request's reply address is to be: RabbitMQ puts in that of the channel.
pub(super) const DIRECT_REPLY: &str = "amq.rabbitmq.reply-to";

type Confirming = Pin<Box<dyn Future<Output = Landed> + Send>>;

/// A channel with publishes under way on it.
pub(super) struct Flight {
    channel: Arc<Channel>,
    under_way: FuturesUnordered<Confirming>,
    /// Messages that RabbitMQ sent back because there is no queue for them, and whose confirms are still to come.
    returned: HashSet<u64>,
}

impl Flight {
    /// Opens a channel that confirms, and that replies come to: they come out of the second.
    pub(super) async fn begin(session: &Session) -> Result<(Self, Consumer), Fault> {
        let opening = async {
            let channel = session.open().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
            let (tag, arguments) = (ShortString::default(), FieldTable::default());
            let replies = channel.basic_consume(DIRECT_REPLY.into(), tag, options, arguments).await?;
            Ok((channel, replies))
        };
        let (channel, replies) = session.set_up(opening).await?;
        let flight = Self { channel: Arc::new(channel), under_way: FuturesUnordered::new(), returned: HashSet::new() };
        Ok((flight, replies))
    }

    /// Sends a message: when this returns, it is behind those sent before. Its number must be its message id where it must
    /// get to a queue.
    pub(super) async fn send(&mut self, number: u64, job: &Job) {
        let channel = Arc::clone(&self.channel);
        let (route, properties, body) = (job.route.clone(), job.properties.clone(), job.body.clone());
        let options = BasicPublishOptions { mandatory: job.queue.is_some(), ..BasicPublishOptions::default() };
        let mut confirming: Confirming = Box::pin(async move {
            let published = channel.basic_publish(ShortString::default(), route, options, &body, properties).await;
            let confirmation = match published {
                Ok(confirm) => confirm.await,
                Err(error) => Err(error),
            };
            (number, confirmation)
        });
        // The first poll numbers the message for its confirm and queues its bytes. lapin does these two one after the other:
        // nobody else may publish on this channel in between, or confirms would be taken for each other's.
        match std::future::poll_fn(|context| Poll::Ready(confirming.as_mut().poll(context))).await {
            Poll::Ready(landed) => self.under_way.push(Box::pin(std::future::ready(landed))),
            Poll::Pending => self.under_way.push(confirming),
        }
    }

    /// What RabbitMQ has said of the messages under way, about at least one; never where there is none.
    ///
    /// lapin gives a returned message to whichever confirm it completes next, often another one's; it completes that one not
    /// later than the returned message's own, or together with it. So nobody may believe a confirm before all those that lapin
    /// works at in one go are through.
    pub(super) async fn landed(&mut self) -> Vec<Landed> {
        let Some(first) = self.under_way.next().await else { return std::future::pending().await };
        let mut landed = vec![first];
        let mut known = 0;
        while known < landed.len() {
            known = landed.len();
            self.let_lapin_finish();
            self.drain(&mut landed);
        }
        for (_, confirmation) in &landed {
            if let Ok(Confirmation::Ack(Some(message)) | Confirmation::Nack(Some(message))) = confirmation {
                let number = message.properties.message_id().as_ref().and_then(|id| id.as_str().parse::<u64>().ok());
                self.returned.extend(number);
            }
        }
        landed
    }

    /// Whether a message that has landed came back, as there is no queue for it.
    pub(super) fn was_returned(&mut self, number: u64) -> bool {
        self.returned.remove(&number)
    }

    /// Waits until lapin is not in the midst of completing confirms, which takes no longer than a glance: it holds a lock
    /// meanwhile, and this needs the same one.
    fn let_lapin_finish(&self) {
        let looked = pin!(self.channel.wait_for_confirms()).poll(&mut Context::from_waker(Waker::noop()));
        // That all are confirmed, or not, is of no interest: none is ever dropped unseen.
        drop(looked);
    }

    /// Takes everything that has landed already.
    fn drain(&mut self, landed: &mut Vec<Landed>) {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        loop {
            match self.under_way.poll_next_unpin(&mut context) {
                Poll::Ready(Some(one)) => landed.push(one),
                Poll::Ready(None) => return,
                // A set that was polled for long wakes its poller and takes a break before it is through.
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
