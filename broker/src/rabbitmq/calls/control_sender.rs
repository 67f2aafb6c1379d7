//! Sends control messages to the other ends of streams.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use lapin::types::ShortString;
use uuid::Uuid;
use wasmill_domain::wire::Writes;

use super::codec;
use super::control_message::{Control, ControlMessage};
use crate::port::{QueueName, Result};
use crate::rabbitmq::amqp;
use crate::rabbitmq::publish_channels::PublishChannels;

/// A control message that is being sent. It ends when RabbitMQ has confirmed it.
pub(super) type Sending = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// An end of a stream, and the reply queue of its process.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) reply_queue: ShortString,
    pub(super) stream: Uuid,
}

/// Sends control messages. Clones share the channels.
#[derive(Clone)]
pub(super) struct ControlSender {
    channels: Arc<PublishChannels>,
    writes: Writes,
}

impl ControlSender {
    pub(super) fn new(channels: Arc<PublishChannels>, writes: Writes) -> Self {
        Self { channels, writes }
    }

    /// Opens a stream at the service whose queue RabbitMQ calls `route`.
    pub(super) async fn open(
        &self,
        service: &QueueName,
        route: ShortString,
        open: &ControlMessage,
    ) -> Result<()> {
        let (bytes, properties) = (self.encode(open), amqp::transient());
        self.channels.publish(Some(service.clone()), route, properties, bytes, None).await
    }

    /// Sends a message to an end. Those to one end arrive in the order of the first polls.
    pub(super) fn send(&self, to: Peer, control: Control) -> Sending {
        let Peer { reply_queue, stream } = to;
        let bytes = self.encode(&ControlMessage { stream, control });
        let channels = Arc::clone(&self.channels);
        Box::pin(async move {
            channels.publish(None, reply_queue, amqp::transient(), bytes, None).await
        })
    }

    /// Tells an end that there is no other one.
    pub(super) fn close(&self, peer: &Peer) {
        for control in [Control::Stop, Control::End { count: 0 }] {
            tokio::spawn(self.send(peer.clone(), control));
        }
    }

    fn encode(&self, message: &ControlMessage) -> Bytes {
        codec::encode(message, self.writes.streams())
    }
}
