//! What is under way on one channel.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Confirmation, Consumer};
use tokio::time::timeout;

use super::lanes::Job;
use super::link::Session;

/// What became of a message, by its number.
pub(super) type Landed = (u64, lapin::Result<Confirmation>);

type Confirming = Pin<Box<dyn Future<Output = Landed> + Send>>;

/// A channel with publishes under way on it.
pub(super) struct Flight {
    channel: Arc<Channel>,
    /// Where replies come out.
    pub(super) replies: Consumer,
    pub(super) under_way: UnderWay,
    /// Messages that RabbitMQ sent back because there is no queue for them, and whose confirms are still to come.
    returned: HashSet<u64>,
}

impl Flight {
    /// Opens a channel that confirms, and that replies come to.
    pub(super) async fn begin(session: &Session) -> Result<Self, String> {
        let channel = session.channel().await?;
        let set_up = async {
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
            let replies = "amq.rabbitmq.reply-to".into();
            channel.basic_consume(replies, ShortString::default(), options, FieldTable::default()).await
        };
        match timeout(session.patience(), set_up).await {
            Ok(Ok(replies)) => {
                let channel = Arc::new(channel);
                Ok(Self { channel, replies, under_way: UnderWay::default(), returned: HashSet::new() })
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("the channel was not ready within {:?}", session.patience())),
        }
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
            Poll::Ready(landed) => self.under_way.0.push(Box::pin(std::future::ready(landed))),
            Poll::Pending => self.under_way.0.push(confirming),
        }
    }

    /// Remembers the message that came back with a confirm.
    pub(super) fn note_returned(&mut self, confirmation: &lapin::Result<Confirmation>) {
        if let Ok(Confirmation::Ack(Some(message)) | Confirmation::Nack(Some(message))) = confirmation {
            let number: Option<u64> = message.properties.message_id().as_ref().and_then(|id| id.as_str().parse().ok());
            self.returned.extend(number);
        }
    }

    /// Whether a message that has landed had come back.
    pub(super) fn was_returned(&mut self, number: u64) -> bool {
        self.returned.remove(&number)
    }
}

/// Messages whose confirms are awaited.
#[derive(Default)]
pub(super) struct UnderWay(FuturesUnordered<Confirming>);

impl UnderWay {
    /// What has come of the messages under way, at least one; never where there is none.
    pub(super) async fn landed(&mut self) -> Vec<Landed> {
        if self.0.is_empty() {
            std::future::pending::<()>().await;
        }
        let mut landed: Vec<Landed> = self.0.next().await.into_iter().collect();
        self.drain(&mut landed);
        landed
    }

    /// Takes everything that has landed already.
    ///
    /// lapin gives a returned message to whichever confirm it completes next, often another one's; it completes that one not
    /// later than the returned message's own. So one who has seen a confirm knows of its return once nothing ready is left.
    fn drain(&mut self, landed: &mut Vec<Landed>) {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        loop {
            match self.0.poll_next_unpin(&mut context) {
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
