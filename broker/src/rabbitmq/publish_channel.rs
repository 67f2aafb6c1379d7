//! A publish channel: a task with a channel of its own, on which many publishes await their
//! confirms at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::{Confirmation, Consumer};
use tokio::sync::mpsc;
use tracing::{debug, warn};
use wasmill_domain::backoff::Backoff;

use super::amqp::{Fault, size_limit};
use super::in_flight::{Confirmed, DIRECT_REPLY, InFlight};
use super::link::{Link, RETRY, Session};
use super::publish_request::PublishRequest;
use super::replies::Replies;
use super::settings::RabbitSettings;
use crate::port::{BrokerError, Result};

/// How many requests are sent before confirms are read again.
const AT_A_TIME: usize = 64;

/// The task's state. A request is in `unconfirmed` from when it is sent first until it is confirmed
/// or refused; whatever happens to channels and connections meanwhile, it is sent again over the
/// next one, in order.
pub(super) struct PublishChannel {
    link: Link,
    requests: mpsc::Receiver<PublishRequest>,
    unconfirmed: BTreeMap<u64, PublishRequest>,
    next: u64,
    replies: Replies,
    largest: Arc<AtomicUsize>,
    window: usize,
    /// Whether queues are declared with a bound, which is then what RabbitMQ refuses messages for.
    queues_are_bounded: bool,
    timeout: Duration,
    retry: Backoff,
}

impl PublishChannel {
    pub(super) fn new(
        link: Link,
        requests: mpsc::Receiver<PublishRequest>,
        largest: Arc<AtomicUsize>,
        settings: &RabbitSettings,
    ) -> Self {
        Self {
            link,
            requests,
            unconfirmed: BTreeMap::new(),
            next: 0,
            replies: Replies::new(settings.replies),
            largest,
            window: settings.channel_window,
            queues_are_bounded: settings.queue_max_batches.is_some(),
            timeout: settings.publish_timeout,
            retry: Backoff::new(RETRY.0, RETRY.1).jittered(),
        }
    }

    /// Runs until the link is closed.
    pub(super) async fn run(mut self) {
        while let Some(session) = self.link.lasting_session().await {
            self.drop_abandoned();
            match session.during(InFlight::begin(&session)).await {
                Some(Ok((in_flight, replies))) => {
                    session.during(self.publish_over(in_flight, replies, &session)).await;
                }
                Some(Err(reason)) => debug!(%reason, "no channel to publish on"),
                None => {}
            }
            // Reply addresses are those of the channel. Requests that are sent again get new ones.
            let Self { replies, unconfirmed, .. } = &mut self;
            replies.give_up(|request| unconfirmed.contains_key(&request));
            tokio::time::sleep(self.retry.pause()).await;
        }
    }

    /// Publishes over one channel until it is lost.
    async fn publish_over(
        &mut self,
        mut in_flight: InFlight,
        mut replies: Consumer,
        session: &Session,
    ) {
        for (number, request) in &self.unconfirmed {
            in_flight.send(*number, request).await;
        }
        let mut timer = tokio::time::interval(self.timeout);
        timer.reset();
        loop {
            tokio::select! {
                biased;
                confirmed = in_flight.confirmed() => {
                    if let Err(error) = self.settle(&mut in_flight, confirmed) {
                        self.channel_lost(&error);
                        return;
                    }
                }
                reply = replies.next() => match reply {
                    Some(Ok(reply)) => self.replied(reply),
                    Some(Err(error)) => {
                        self.channel_lost(&error);
                        return;
                    }
                    None => return,
                },
                request = self.requests.recv(), if self.unconfirmed.len() < self.window => match request {
                    Some(request) => self.send(&mut in_flight, request).await,
                    None => return,
                },
                _ = timer.tick() => {
                    if self.is_stuck() && !session.is_blocked() {
                        warn!("messages are not confirmed; publishing over another channel");
                        return;
                    }
                }
            }
        }
    }

    /// Sends a request, and some of those that wait behind it.
    async fn send(&mut self, in_flight: &mut InFlight, request: PublishRequest) {
        self.send_one(in_flight, request).await;
        for _ in 1..AT_A_TIME {
            if self.unconfirmed.len() >= self.window {
                return;
            }
            let Ok(request) = self.requests.try_recv() else { return };
            self.send_one(in_flight, request).await;
        }
    }

    async fn send_one(&mut self, in_flight: &mut InFlight, mut request: PublishRequest) {
        // In this order: a publisher that stops waiting before the second line finds the flag set,
        // if the message is sent all the same.
        request.sent.store(true, Ordering::SeqCst);
        if request.done.is_closed() {
            return;
        }
        let number = self.next;
        self.next += 1;
        match self.prepare(number, &mut request) {
            Ok(()) => {
                in_flight.send(number, &request).await;
                self.unconfirmed.insert(number, request);
            }
            Err(error) => {
                let _ = request.done.send(Err(error));
            }
        }
    }

    /// Sets the properties that tell a message and its reply from the others.
    fn prepare(&mut self, number: u64, request: &mut PublishRequest) -> Result<()> {
        let mut properties = std::mem::take(&mut request.properties);
        if request.queue.is_some() {
            properties = properties.with_message_id(number.to_string().into());
        }
        if let Some(waiter) = request.reply.take() {
            if !self.replies.await_for(number, waiter) {
                return Err(BrokerError::Unavailable(
                    "too many replies are awaited already".into(),
                ));
            }
            properties = properties
                .with_reply_to(DIRECT_REPLY.into())
                .with_correlation_id(number.to_string().into());
        }
        request.properties = properties;
        Ok(())
    }

    /// Gives the publishers the results of their messages.
    ///
    /// # Errors
    /// Why the channel has ended. What is unconfirmed then is kept, to be sent again.
    fn settle(
        &mut self,
        in_flight: &mut InFlight,
        confirmed: Vec<Confirmed>,
    ) -> std::result::Result<(), lapin::Error> {
        let mut end = Ok(());
        for (number, confirmation) in confirmed {
            let confirmed = match confirmation {
                Ok(Confirmation::Ack(_)) => true,
                Ok(Confirmation::Nack(_) | Confirmation::NotRequested) => false,
                Err(error) => {
                    end = Err(error);
                    continue;
                }
            };
            let was_returned = in_flight.was_returned(number);
            let Some(request) = self.unconfirmed.remove(&number) else { continue };
            let result = match request.queue {
                Some(queue) if was_returned => Err(BrokerError::NoQueue(queue)),
                _ if confirmed => Ok(()),
                Some(queue) if self.queues_are_bounded => Err(BrokerError::Full(queue)),
                _ => Err(BrokerError::Unconfirmed("RabbitMQ could not take the message".into())),
            };
            if result.is_err() {
                self.replies.forget(number);
            }
            // The publisher may have stopped waiting.
            let _ = request.done.send(result);
            self.retry.reset();
        }
        end
    }

    fn replied(&mut self, reply: Delivery) {
        let request =
            reply.properties.correlation_id().as_ref().and_then(|id| id.as_str().parse().ok());
        if let Some(request) = request {
            self.replies.arrived(request, reply.data.into());
        }
    }

    /// The channel has ended with messages in flight. If one of them is the reason, it must not end
    /// the next one too.
    fn channel_lost(&mut self, error: &lapin::Error) {
        debug!(%error, unconfirmed = self.unconfirmed.len(), "the channel to publish on was lost");
        let Fault::Refused(reason) = Fault::from(error) else { return };
        let Some(limit) = size_limit(&reason) else { return };
        warn!(limit, "RabbitMQ takes smaller messages than the settings say");
        self.largest.fetch_min(limit, Ordering::Relaxed);
        let too_large = |_: &u64, request: &mut PublishRequest| request.body.len() > limit;
        for (number, request) in self.unconfirmed.extract_if(.., too_large) {
            self.replies.forget(number);
            let _ = request.done.send(Err(BrokerError::Rejected(reason.clone())));
        }
    }

    /// Whether more than half of the window is taken by messages whose publishers have stopped
    /// waiting: a queue that cannot confirm must not stop the others on this channel.
    fn is_stuck(&self) -> bool {
        self.unconfirmed.values().filter(|request| request.done.is_closed()).count()
            > self.window / 2
    }

    /// Drops the requests that nobody waits for any more. They may be in their queues or not.
    fn drop_abandoned(&mut self) {
        for (number, _) in self.unconfirmed.extract_if(.., |_, request| request.done.is_closed()) {
            self.replies.forget(number);
        }
    }
}
