//! Accepts the streams that are opened at a service.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tracing::{debug, warn};
use uuid::Uuid;

use super::codec;
use super::control_message::{Control, ControlMessage, DecodeError};
use super::control_sender::Peer;
use super::router::CallRouter;
use crate::port::{Consumption, Deliveries, Delivery, IncomingStreams, Settle, Tag};
use crate::rabbitmq::amqp;
use crate::request_stream::{IncomingStream, RequestStream};

/// How long an opening message that cannot be read is kept before it is requeued, so that it does
/// not come back at once while there is no process that can read it.
const REQUEUE_DELAY: Duration = Duration::from_secs(1);

/// Somebody who accepts streams.
pub(crate) struct Acceptor {
    router: Arc<CallRouter>,
    deliveries: Box<dyn Deliveries>,
    settle: Arc<dyn Settle>,
}

/// An opening message that is not acknowledged yet.
struct UnackedOpening {
    settle: Arc<dyn Settle>,
    tag: Tag,
}

impl UnackedOpening {
    /// Acknowledges it: its stream has ended, or there is none.
    async fn ack(self) {
        if let Err(error) = self.settle.ack(&[self.tag]).await {
            debug!(%error, "an opening message cannot be acknowledged");
        }
    }

    /// Requeues it after a while, for a process that can read it.
    async fn requeue(self) {
        tokio::time::sleep(REQUEUE_DELAY).await;
        if let Err(error) = self.settle.release(&[self.tag]).await {
            debug!(%error, "an opening message cannot be requeued");
        }
    }
}

impl Acceptor {
    /// Accepts the streams whose opening messages `consumption` receives.
    pub(crate) fn new(router: Arc<CallRouter>, consumption: Consumption) -> Self {
        let Consumption { deliveries, settle } = consumption;
        Self { router, deliveries, settle }
    }

    /// Accepts a stream; `None` where there is none to be accepted.
    async fn accept(&mut self, delivery: Delivery) -> Option<IncomingStream> {
        let unacked = UnackedOpening { settle: Arc::clone(&self.settle), tag: delivery.tag };
        let (stream, reply_queue, opening) = match codec::decode(delivery.message.body) {
            Ok(Some(ControlMessage {
                stream,
                control: Control::Open { reply_queue, opening },
            })) => (stream, reply_queue, opening),
            Err(
                error @ (DecodeError::Version(_)
                | DecodeError::Kind { .. }
                | DecodeError::Extra { .. }),
            ) => {
                warn!(%error, "an opening message cannot be read here and is requeued");
                tokio::spawn(unacked.requeue());
                return None;
            }
            Ok(_) | Err(DecodeError::Malformed) => {
                warn!("a message that opens no stream was in the queue of a service");
                unacked.ack().await;
                return None;
            }
        };
        let (Ok(caller), Ok(own)) = (amqp::short(&reply_queue), self.router.reply_queue().await)
        else {
            unacked.ack().await;
            return None;
        };
        let (peer, sender) = (Peer { reply_queue: caller, stream }, self.router.sender());
        if delivery.redeliveries > 0 {
            sender.close(&peer);
            unacked.ack().await;
            return None;
        }
        let (stream, transport) = RequestStream::open();
        transport.accepted.send_replace(true);
        // Another id than the caller's: both ends may be in one process.
        let id = Uuid::new_v4();
        let accepted = Control::Accepted { reply_queue: own.to_string(), stream: id };
        tokio::spawn(sender.send(peer.clone(), accepted));
        let carrying = self.router.begin(id, Some(peer), transport);
        tokio::spawn(async move {
            carrying.await;
            unacked.ack().await;
        });
        Some(IncomingStream { opening, stream })
    }
}

#[async_trait]
impl IncomingStreams for Acceptor {
    async fn next(&mut self) -> Option<IncomingStream> {
        loop {
            let delivery = self.deliveries.next().await?;
            if let Some(incoming) = self.accept(delivery).await {
                return Some(incoming);
            }
        }
    }
}
