//! A lane: one task with one channel of its own, on which many publishes await their confirms at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::{Confirmation, Consumer};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::backoff::Backoff;
use super::flight::{DIRECT_REPLY, Flight, Landed};
use super::lanes::Job;
use super::link::{Link, RETRY, Session};
use super::replies::Replies;
use super::settings::RabbitSettings;
use super::wire::{Fault, size_limit};
use crate::port::{Error, Result};

/// How many jobs are sent before confirms are looked at again.
const AT_A_TIME: usize = 64;

/// The task's state. A job is in `unconfirmed` from when it is sent first until it is confirmed or refused; whatever happens
/// to channels and connections meanwhile, what is in it is sent again over the next one, in order.
pub(super) struct Lane {
    link: Link,
    jobs: mpsc::Receiver<Job>,
    unconfirmed: BTreeMap<u64, Job>,
    next: u64,
    replies: Replies,
    largest: Arc<AtomicUsize>,
    window: usize,
    /// Whether queues are declared with a bound, which is then what RabbitMQ refuses messages for.
    queues_are_bounded: bool,
    patience: Duration,
    retry: Backoff,
}

impl Lane {
    pub(super) fn new(
        link: Link,
        jobs: mpsc::Receiver<Job>,
        largest: Arc<AtomicUsize>,
        settings: &RabbitSettings,
    ) -> Self {
        Self {
            link,
            jobs,
            unconfirmed: BTreeMap::new(),
            next: 0,
            replies: Replies::new(settings.replies),
            largest,
            window: settings.lane_window,
            queues_are_bounded: settings.queue_messages.is_some(),
            patience: settings.publish_timeout,
            retry: Backoff::new(RETRY.0, RETRY.1),
        }
    }

    /// Goes on until the link is closed.
    pub(super) async fn run(mut self) {
        while let Some(session) = self.link.lasting_session().await {
            self.drop_given_up();
            match session.during(Flight::begin(&session)).await {
                Some(Ok((flight, replies))) => {
                    session.during(self.fly(flight, replies, &session)).await;
                }
                Some(Err(reason)) => debug!(%reason, "no channel to publish on"),
                None => {}
            }
            // The addresses of their replies went with the channel. Those that are sent again get new ones.
            let Self { replies, unconfirmed, .. } = &mut self;
            replies.give_up(|request| unconfirmed.contains_key(&request));
            self.retry.wait().await;
        }
    }

    /// Publishes over one channel until it is no more.
    async fn fly(&mut self, mut flight: Flight, mut replies: Consumer, session: &Session) {
        for (number, job) in &self.unconfirmed {
            flight.send(*number, job).await;
        }
        let mut look = tokio::time::interval(self.patience);
        look.reset();
        loop {
            tokio::select! {
                biased;
                landed = flight.landed() => {
                    if let Err(error) = self.settle(&mut flight, landed) {
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
                job = self.jobs.recv(), if self.unconfirmed.len() < self.window => match job {
                    Some(job) => self.send(&mut flight, job).await,
                    None => return,
                },
                _ = look.tick() => {
                    if self.is_stuck() && !session.is_blocked() {
                        warn!("messages stay without a confirm; going on over another channel");
                        return;
                    }
                }
            }
        }
    }

    /// Sends a job, and some of those that wait behind it.
    async fn send(&mut self, flight: &mut Flight, job: Job) {
        self.send_one(flight, job).await;
        for _ in 1..AT_A_TIME {
            if self.unconfirmed.len() >= self.window {
                return;
            }
            let Ok(job) = self.jobs.try_recv() else { return };
            self.send_one(flight, job).await;
        }
    }

    async fn send_one(&mut self, flight: &mut Flight, mut job: Job) {
        // In this order: whoever has given up before the second line reads the first one's mark, if it is sent nevertheless.
        job.sent.store(true, Ordering::SeqCst);
        if job.done.is_closed() {
            return;
        }
        let number = self.next;
        self.next += 1;
        match self.prepare(number, &mut job) {
            Ok(()) => {
                flight.send(number, &job).await;
                self.unconfirmed.insert(number, job);
            }
            Err(error) => {
                let _ = job.done.send(Err(error));
            }
        }
    }

    /// Writes onto a message what tells it and its reply from the others.
    fn prepare(&mut self, number: u64, job: &mut Job) -> Result<()> {
        let mut properties = std::mem::take(&mut job.properties);
        if job.queue.is_some() {
            properties = properties.with_message_id(number.to_string().into());
        }
        if let Some(waiter) = job.reply.take() {
            if !self.replies.await_for(number, waiter) {
                return Err(Error::Unavailable("too many replies are awaited already".into()));
            }
            properties = properties.with_reply_to(DIRECT_REPLY.into()).with_correlation_id(number.to_string().into());
        }
        job.properties = properties;
        Ok(())
    }

    /// Tells the publishers what became of their messages.
    ///
    /// # Errors
    /// The channel's end. What it leaves unconfirmed is still there to be sent again.
    fn settle(&mut self, flight: &mut Flight, landed: Vec<Landed>) -> std::result::Result<(), lapin::Error> {
        let mut end = Ok(());
        for (number, confirmation) in landed {
            let confirmed = match confirmation {
                Ok(Confirmation::Ack(_)) => true,
                Ok(Confirmation::Nack(_) | Confirmation::NotRequested) => false,
                Err(error) => {
                    end = Err(error);
                    continue;
                }
            };
            let was_returned = flight.was_returned(number);
            let Some(job) = self.unconfirmed.remove(&number) else { continue };
            let result = match job.queue {
                Some(queue) if was_returned => Err(Error::NoQueue(queue)),
                _ if confirmed => Ok(()),
                Some(queue) if self.queues_are_bounded => Err(Error::Full(queue)),
                _ => Err(Error::Unconfirmed("RabbitMQ could not take the message".into())),
            };
            if result.is_err() {
                self.replies.forget(number);
            }
            // Nobody may be waiting any more.
            let _ = job.done.send(result);
            self.retry.reset();
        }
        end
    }

    fn replied(&mut self, reply: Delivery) {
        let request = reply.properties.correlation_id().as_ref().and_then(|id| id.as_str().parse().ok());
        if let Some(request) = request {
            self.replies.arrived(request, reply.data.into());
        }
    }

    /// The channel has ended with messages on it. If one of them is why, it must not end the next one too.
    fn channel_lost(&mut self, error: &lapin::Error) {
        debug!(%error, unconfirmed = self.unconfirmed.len(), "the channel to publish on was lost");
        let Fault::Refused(reason) = Fault::from(error) else { return };
        let Some(limit) = size_limit(&reason) else { return };
        warn!(limit, "RabbitMQ takes smaller messages than the settings say");
        self.largest.fetch_min(limit, Ordering::Relaxed);
        let too_large = |_: &u64, job: &mut Job| job.body.len() > limit;
        for (number, job) in self.unconfirmed.extract_if(.., too_large) {
            self.replies.forget(number);
            let _ = job.done.send(Err(Error::Rejected(reason.clone())));
        }
    }

    /// Whether more than half of the window is taken by messages whose publishers have given up waiting: a queue that cannot
    /// confirm must not stop the others on this lane.
    fn is_stuck(&self) -> bool {
        self.unconfirmed.values().filter(|job| job.done.is_closed()).count() > self.window / 2
    }

    /// Lets go of what nobody waits for any more. It may be in its queue or not.
    fn drop_given_up(&mut self) {
        for (number, _) in self.unconfirmed.extract_if(.., |_, job| job.done.is_closed()) {
            self.replies.forget(number);
        }
    }
}
