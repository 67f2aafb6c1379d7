//! Fills frames: what waits while earlier confirms are under way shares the next frame.

mod lane;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;
use wasmill_domain::event::Attribute;
use wasmill_domain::wire::Writes;
use wasmill_domain::{Batch, Dispatch, Timestamp};

use self::lane::Lane;
use crate::port::{Broker, Error, Message, PendingReply, QueueName, Result};

/// The media type of a batch, in the header `content-type` of its message. The version is the
/// message's first byte.
const CONTENT_TYPE: &str = "application/vnd.wasmill.batch";

/// The bounds of a [`FramePublisher`].
#[derive(Clone, Debug)]
pub struct PublisherSettings {
    /// How many frames of one queue may await their confirms at a time. Default: 8. While fewer do, a dispatch is sent at
    /// once; otherwise it waits for company.
    pub in_flight: usize,
    /// How many dispatches of one queue may wait to be framed. Default: 16,384.
    pub waiting: usize,
    /// How many bytes of dispatches may wait to be framed, those of all queues together. Default: 128 MiB.
    pub waiting_bytes: usize,
    /// The versions that messages are written in: those of batches here, and the others by whoever
    /// has the publisher. Default: the newest.
    pub writes: Writes,
}

impl Default for PublisherSettings {
    fn default() -> Self {
        Self { in_flight: 8, waiting: 16_384, waiting_bytes: 128 << 20, writes: Writes::default() }
    }
}

/// Publishes dispatches to the queues of their functions, grouped into frames. Cheap to clone; all clones share the
/// frames. It needs a Tokio runtime around it.
#[derive(Clone)]
pub struct FramePublisher {
    inner: Arc<Inner>,
}

struct Inner {
    broker: Arc<dyn Broker>,
    settings: PublisherSettings,
    lanes: Mutex<Lanes>,
}

/// The queues that dispatches wait for. Each has a task that is there for as long as anything waits or awaits a confirm.
#[derive(Default)]
struct Lanes {
    queues: HashMap<QueueName, Lane>,
    /// What all that waits weighs.
    bytes: usize,
}

impl FramePublisher {
    /// A publisher to `broker`.
    pub fn new(broker: Arc<dyn Broker>, settings: PublisherSettings) -> Self {
        Self { inner: Arc::new(Inner { broker, settings, lanes: Mutex::default() }) }
    }

    /// Publishes a dispatch. Ends when the broker has confirmed the frame that holds it. The frames of a queue hold its
    /// dispatches in the order of these calls. Once polled it goes on by itself: dropping the future does not take the
    /// dispatch back.
    ///
    /// # Errors
    /// [`Error::Full`] at once where too much waits already, and where the queue is full; [`Error::Unavailable`]. A queue that
    /// does not exist is declared.
    pub async fn publish(&self, dispatch: Dispatch) -> Result<()> {
        let queue = QueueName::of_function(&dispatch.tenant, &dispatch.function);
        let (done, confirmed) = oneshot::channel();
        self.inner.enqueue(queue, dispatch, done)?;
        // The task is gone without an answer only where the runtime is.
        confirmed.await.unwrap_or_else(|_| Err(Error::Unavailable("the publisher is shut down".into())))
    }

    /// Publishes a dispatch in a frame of its own and says where its reply arrives. The reply is empty: it says that the
    /// attempt's end is committed.
    ///
    /// # Errors
    /// As with [`FramePublisher::publish`].
    pub async fn request(&self, dispatch: Dispatch) -> Result<PendingReply> {
        let queue = QueueName::of_function(&dispatch.tenant, &dispatch.function);
        let broker = &self.inner.broker;
        let message = message_of(vec![dispatch], self.writes())?;
        match broker.request(&queue, message.clone()).await {
            Err(Error::NoQueue(_)) => {
                broker.declare(&queue).await?;
                broker.request(&queue, message).await
            }
            answer => answer,
        }
    }

    /// The versions that messages are written in.
    pub fn writes(&self) -> &Writes {
        &self.inner.settings.writes
    }

    /// The broker that it publishes to.
    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.inner.broker
    }
}

impl Inner {
    /// Lets a dispatch wait for its frame, and sees to it that somebody frames it.
    fn enqueue(
        self: &Arc<Self>,
        queue: QueueName,
        dispatch: Dispatch,
        done: oneshot::Sender<Result<()>>,
    ) -> Result<()> {
        let weight = weight(&dispatch);
        let mut lanes = self.lock();
        if lanes.bytes + weight > self.settings.waiting_bytes {
            return Err(Error::Full(queue));
        }
        match lanes.queues.entry(queue) {
            Entry::Occupied(mut lane) => {
                if lane.get().waiting() >= self.settings.waiting {
                    return Err(Error::Full(lane.key().clone()));
                }
                lane.get_mut().push(dispatch, weight, done);
            }
            Entry::Vacant(place) => {
                let queue = place.key().clone();
                place.insert(Lane::new()).push(dispatch, weight, done);
                tokio::spawn(lane::run(Arc::clone(self), queue));
            }
        }
        lanes.bytes += weight;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        // Nothing panics while it is locked.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a dispatch is in a frame, about: its texts and its data, and room for ids and lengths.
fn weight(dispatch: &Dispatch) -> usize {
    let event = &dispatch.event;
    let optional = [&event.subject, &event.time, &event.dataschema, &event.datacontenttype, &dispatch.trace.tracestate];
    let optional: usize = optional.into_iter().flatten().map(String::len).sum();
    let extension = |(name, value): (&String, &Attribute)| {
        let value = if let Attribute::String(text) = value { text.len() } else { 4 };
        name.len() + value + 4
    };
    let extensions: usize = event.extensions.iter().map(extension).sum();
    let data = event.data.as_ref().map_or(0, Bytes::len);
    192 + data + event.id.len() + event.source.len() + event.event_type.len() + optional + extensions
}

/// The message of a frame of these dispatches, which are handed to the broker now.
fn message_of(mut dispatches: Vec<Dispatch>, writes: &Writes) -> Result<Message> {
    let now = Timestamp::now();
    for dispatch in &mut dispatches {
        dispatch.queued_at = now;
    }
    let Some(batch) = Batch::new(dispatches) else {
        return Err(Error::Rejected("a batch must be of 1 to 64 dispatches of one function".into()));
    };
    let trace = batch.dispatches()[0].trace.to_string();
    Ok(Message {
        // The queue may be long: no spare capacity is kept in it.
        body: batch.encode(writes).into_boxed_slice().into(),
        headers: vec![("content-type".into(), CONTENT_TYPE.into()), ("traceparent".into(), trace)],
        reply_to: None,
    })
}
