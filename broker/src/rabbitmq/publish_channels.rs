//! Publishes messages over a few channels: one queue's always over the same.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::ShortString;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::link::{Link, closed};
use super::publish_channel::PublishChannel;
use super::publish_request::PublishRequest;
use super::settings::RabbitSettings;
use crate::port::{BrokerError, QueueName, Result};

/// All publish channels.
pub(super) struct PublishChannels {
    link: Link,
    channels: Vec<mpsc::Sender<PublishRequest>>,
    /// The bytes of bodies that may be on their way together.
    bytes: Arc<Semaphore>,
    /// How large a body may be. It shrinks where RabbitMQ turns out to take less than the settings
    /// say.
    largest: Arc<AtomicUsize>,
    timeout: Duration,
}

impl PublishChannels {
    /// Channels over a connection. Their tasks end when this is dropped and the link is closed.
    pub(super) fn start(link: Link, settings: &RabbitSettings) -> Self {
        let largest = Arc::new(AtomicUsize::new(settings.message_bytes.min(u32::MAX as usize)));
        let channel = |_| {
            let (requests, receiver) = mpsc::channel(settings.channel_backlog);
            tokio::spawn(
                PublishChannel::new(link.clone(), receiver, Arc::clone(&largest), settings).run(),
            );
            requests
        };
        let channels = (0..settings.publish_channels).map(channel).collect();
        let bytes = Arc::new(Semaphore::new(settings.publish_bytes.min(Semaphore::MAX_PERMITS)));
        Self { link, channels, bytes, largest, timeout: settings.publish_timeout }
    }

    /// Publishes and awaits the confirm. Publishes with one route keep the order in which these
    /// futures are polled first.
    pub(super) async fn publish(
        &self,
        queue: Option<QueueName>,
        route: ShortString,
        properties: BasicProperties,
        body: Bytes,
        reply: Option<oneshot::Sender<Bytes>>,
    ) -> Result<()> {
        self.link.takes_messages(self.timeout)?;
        let largest = self.largest.load(Ordering::Relaxed);
        if body.len() > largest {
            let length = body.len();
            return Err(BrokerError::Rejected(format!(
                "its body is {length} bytes long, and at most {largest} are taken"
            )));
        }
        // `largest` is never more than a u32.
        let permit = Arc::clone(&self.bytes).try_acquire_many_owned(body.len() as u32);
        let permit = permit.map_err(|_| {
            BrokerError::Unavailable("too many bytes are on their way to RabbitMQ already".into())
        })?;
        let (done, mut confirmed) = oneshot::channel();
        let sent = Arc::new(AtomicBool::new(false));
        let channel = &self.channels[self.channel_of(&route)];
        let sent_flag = Arc::clone(&sent);
        let request = PublishRequest {
            queue,
            route,
            properties,
            body,
            reply,
            done,
            sent: sent_flag,
            _permit: permit,
        };
        channel.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => BrokerError::Unavailable(
                "too many messages are on their way to RabbitMQ already".into(),
            ),
            mpsc::error::TrySendError::Closed(_) => closed(),
        })?;
        let outcome = match tokio::time::timeout(self.timeout, &mut confirmed).await {
            // An error: the channel's task has ended.
            Ok(outcome) => outcome.unwrap_or_else(|_| Err(closed())),
            Err(_) => {
                // From now on it is not sent any more. It may have been confirmed just now.
                confirmed.close();
                let late =
                    || BrokerError::Unavailable(format!("no confirm within {:?}", self.timeout));
                let away = || self.link.takes_messages(Duration::ZERO).err().unwrap_or_else(late);
                confirmed.try_recv().unwrap_or_else(|_| Err(away()))
            }
        };
        match outcome {
            Err(BrokerError::Unavailable(why)) if sent.load(Ordering::SeqCst) => {
                Err(BrokerError::Unconfirmed(why))
            }
            outcome => outcome,
        }
    }

    fn channel_of(&self, route: &ShortString) -> usize {
        let mut hasher = DefaultHasher::new();
        route.as_str().hash(&mut hasher);
        (hasher.finish() % self.channels.len() as u64) as usize
    }
}
