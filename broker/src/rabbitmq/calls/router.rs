//! Opens request streams, and begins to accept them.

use std::sync::Arc;

use bytes::Bytes;
use lapin::types::ShortString;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;
use wasmill_domain::wire::Writes;

use super::control_message::{Control, ControlMessage};
use super::control_sender::{ControlSender, Peer};
use super::open_streams::OpenStreams;
use super::reply_queue;
use super::stream_end::StreamEnd;
use crate::port::{BrokerError, QueueName, Result};
use crate::rabbitmq::link::{Link, RETRY};
use crate::rabbitmq::publish_channels::PublishChannels;
use crate::request_stream::{RequestStream, STREAM_WINDOW, StreamTransport};

/// Control messages of one stream that wait to be read: a window of data, and some others.
const INBOX: usize = 2 * STREAM_WINDOW;

/// All request streams of a process.
pub(crate) struct CallRouter {
    sender: ControlSender,
    streams: OpenStreams,
    /// This process's reply queue, while it has one.
    reply_queue: watch::Receiver<Option<ShortString>>,
}

impl CallRouter {
    /// Begins to keep a reply queue on `link`, whose name begins with `prefix`, and sends over
    /// `channels`.
    pub(crate) fn start(
        link: Link,
        channels: Arc<PublishChannels>,
        prefix: &str,
        writes: Writes,
    ) -> Self {
        let streams = OpenStreams::default();
        let sender = ControlSender::new(channels, writes);
        let (name, reply_queue) = watch::channel(None);
        tokio::spawn(reply_queue::keep(
            link,
            sender.clone(),
            streams.clone(),
            prefix.to_owned(),
            name,
        ));
        Self { sender, streams, reply_queue }
    }

    /// Opens a stream at the service whose queue RabbitMQ calls `route`.
    pub(crate) async fn open(
        &self,
        service: &QueueName,
        route: ShortString,
        opening: Bytes,
    ) -> Result<RequestStream> {
        let reply_queue = self.reply_queue().await?.to_string();
        let (stream, transport) = RequestStream::open();
        let id = Uuid::new_v4();
        tokio::spawn(self.begin(id, None, transport));
        let open = ControlMessage { stream: id, control: Control::Open { reply_queue, opening } };
        // Where this fails the stream is dropped, and with that it ends.
        self.sender.open(service, route, &open).await?;
        Ok(stream)
    }

    /// The reply queue, awaited for a moment where there is none.
    pub(super) async fn reply_queue(&self) -> Result<ShortString> {
        let mut reply_queue = self.reply_queue.clone();
        let found = tokio::time::timeout(RETRY.1 * 2, reply_queue.wait_for(Option::is_some)).await;
        let name = found.ok().and_then(|found| found.ok().and_then(|name| name.clone()));
        name.ok_or_else(|| {
            BrokerError::Unavailable(
                "there is no connection to RabbitMQ for request streams".into(),
            )
        })
    }

    /// What sends control messages.
    pub(super) fn sender(&self) -> &ControlSender {
        &self.sender
    }

    /// Begins a stream: the future carries it until it has ended.
    pub(super) fn begin(
        &self,
        id: Uuid,
        peer: Option<Peer>,
        transport: StreamTransport,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (sender, controls) = mpsc::channel(INBOX);
        self.streams.insert(id, sender);
        let end = StreamEnd::new(id, self.sender.clone(), peer, controls, transport);
        let streams = self.streams.clone();
        async move {
            end.run().await;
            streams.remove(id);
        }
    }
}
