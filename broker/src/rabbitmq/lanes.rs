//! The publishers' side: every publish goes over one of a few lanes.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::ShortString;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::lane::Lane;
use super::link::{Link, closed};
use super::settings::RabbitSettings;
use crate::port::{Error, QueueName, Result};

/// A message on its way through a lane.
pub(super) struct Job {
    /// The queue that it must get to; a reply has none, and goes where it can.
    pub(super) queue: Option<QueueName>,
    /// What RabbitMQ calls where it goes.
    pub(super) route: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
    /// Who awaits the reply to it.
    pub(super) reply: Option<oneshot::Sender<Bytes>>,
    /// Who awaits its confirm. Where it is closed, nobody does any more.
    pub(super) done: oneshot::Sender<Result<()>>,
    /// Set before it is sent the first time, so that whoever gives up knows whether it may have been taken.
    pub(super) sent: Arc<AtomicBool>,
    /// The bytes that it takes of what all may take together.
    _room: OwnedSemaphorePermit,
}

/// All lanes.
pub(super) struct Lanes {
    link: Link,
    lanes: Vec<mpsc::Sender<Job>>,
    room: Arc<Semaphore>,
    /// How large a body may be. It shrinks where RabbitMQ turns out to take less than the settings say.
    largest: Arc<AtomicUsize>,
    patience: Duration,
}

impl Lanes {
    /// Lanes over a connection. Their tasks end when this is dropped and the link is closed.
    pub(super) fn start(link: Link, settings: &RabbitSettings) -> Self {
        let largest = Arc::new(AtomicUsize::new(settings.message_bytes.min(u32::MAX as usize)));
        let lane = |_| {
            let (jobs, receiver) = mpsc::channel(settings.lane_backlog);
            tokio::spawn(Lane::new(link.clone(), receiver, Arc::clone(&largest), settings).run());
            jobs
        };
        let lanes = (0..settings.lanes).map(lane).collect();
        let room = Arc::new(Semaphore::new(settings.publish_bytes.min(Semaphore::MAX_PERMITS)));
        Self { link, lanes, room, largest, patience: settings.publish_timeout }
    }

    /// Publishes and awaits the confirm. Publishes to one place keep the order in which these futures are polled first.
    pub(super) async fn publish(
        &self,
        queue: Option<QueueName>,
        route: ShortString,
        properties: BasicProperties,
        body: Bytes,
        reply: Option<oneshot::Sender<Bytes>>,
    ) -> Result<()> {
        self.link.takes_messages(self.patience)?;
        let largest = self.largest.load(Ordering::Relaxed);
        if body.len() > largest {
            let length = body.len();
            return Err(Error::Rejected(format!("its body is {length} bytes long, and at most {largest} are taken")));
        }
        // `largest` is never more than a u32.
        let room = Arc::clone(&self.room).try_acquire_many_owned(body.len() as u32);
        let room =
            room.map_err(|_| Error::Unavailable("too many bytes are on their way to RabbitMQ already".into()))?;
        let (done, mut confirmed) = oneshot::channel();
        let sent = Arc::new(AtomicBool::new(false));
        let lane = &self.lanes[self.lane_of(&route)];
        let job = Job { queue, route, properties, body, reply, done, sent: Arc::clone(&sent), _room: room };
        lane.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Error::Unavailable("too many messages are on their way to RabbitMQ already".into())
            }
            mpsc::error::TrySendError::Closed(_) => closed(),
        })?;
        let outcome = match timeout(self.patience, &mut confirmed).await {
            // An error: the lane has ended.
            Ok(outcome) => outcome.unwrap_or_else(|_| Err(closed())),
            Err(_) => {
                // From now on it is not sent any more. It may have been confirmed this very moment.
                confirmed.close();
                let late = || Error::Unavailable(format!("no confirm within {:?}", self.patience));
                let away = || self.link.takes_messages(Duration::ZERO).err().unwrap_or_else(late);
                confirmed.try_recv().unwrap_or_else(|_| Err(away()))
            }
        };
        match outcome {
            Err(Error::Unavailable(why)) if sent.load(Ordering::SeqCst) => Err(Error::Unconfirmed(why)),
            outcome => outcome,
        }
    }

    fn lane_of(&self, route: &ShortString) -> usize {
        let mut hasher = DefaultHasher::new();
        route.as_str().hash(&mut hasher);
        (hasher.finish() % self.lanes.len() as u64) as usize
    }
}
