//! The reply queue of this process.

use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::sync::watch;
use tracing::{debug, warn};
use uuid::Uuid;
use wasmill_domain::backoff::Backoff;

use super::codec;
use super::control_message::{Control, ControlMessage, DecodeError};
use super::control_sender::{ControlSender, Peer};
use super::open_streams::OpenStreams;
use crate::rabbitmq::amqp::{self, Fault};
use crate::rabbitmq::link::{Link, RETRY, Session};

/// Keeps a reply queue for as long as the link is there, and passes on what comes to it. `name` is
/// what RabbitMQ calls it, while there is one.
pub(super) async fn keep(
    link: Link,
    sender: ControlSender,
    streams: OpenStreams,
    prefix: String,
    name: watch::Sender<Option<ShortString>>,
) {
    let mut retry = Backoff::new(RETRY.0, RETRY.1).jittered();
    while let Some(session) = link.lasting_session().await {
        // A new name each time: messages for streams that are lost go nowhere.
        let Ok(new_name) = amqp::short(&format!("{prefix}wasmill.replies.{}", Uuid::new_v4()))
        else {
            return;
        };
        match session.during(declare(&session, new_name.clone())).await {
            // The channel is closed where it is dropped.
            Some(Ok((_channel, mut messages))) => {
                retry.reset();
                name.send_replace(Some(new_name));
                session.during(pass_on(&mut messages, &streams, &sender)).await;
                name.send_replace(None);
                // This is how their ends learn of it.
                streams.clear();
            }
            Some(Err(fault)) => debug!(%fault, "there is no reply queue for request streams yet"),
            None => {}
        }
        tokio::time::sleep(retry.pause()).await;
    }
}

/// Declares a reply queue and begins to consume it.
async fn declare(session: &Session, name: ShortString) -> Result<(Channel, Consumer), Fault> {
    let declaring = async {
        let channel = session.open().await?;
        let own = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        channel.queue_declare(name.clone(), own, FieldTable::default()).await?;
        let options =
            BasicConsumeOptions { no_ack: true, exclusive: true, ..BasicConsumeOptions::default() };
        let consumer = channel
            .basic_consume(name, ShortString::default(), options, FieldTable::default())
            .await?;
        Ok((channel, consumer))
    };
    session.set_up(declaring).await
}

/// Passes messages on to their streams until the queue is lost.
async fn pass_on(messages: &mut Consumer, streams: &OpenStreams, sender: &ControlSender) {
    while let Some(Ok(delivery)) = messages.next().await {
        match codec::decode(delivery.data.into()) {
            Ok(Some(message)) => pass_on_one(message, streams, sender),
            Ok(None) => {}
            Err(error @ (DecodeError::Kind { stream, .. } | DecodeError::Extra { stream, .. })) => {
                warn!(%stream, %error, "a request stream is closed");
                streams.remove(stream);
            }
            Err(error) => warn!(%error, "a control message cannot be read"),
        }
    }
}

fn pass_on_one(message: ControlMessage, streams: &OpenStreams, sender: &ControlSender) {
    let ControlMessage { stream, control } = message;
    match streams.get(stream) {
        Some(end) => {
            // An end that does not keep up breaks the rule of the window. Its stream ends; the
            // others are not kept waiting.
            if end.try_send(control).is_err() {
                streams.remove(stream);
            }
        }
        None => {
            // A stream was accepted that its caller has closed already.
            if let Control::Accepted { reply_queue, stream } = control
                && let Ok(reply_queue) = amqp::short(&reply_queue)
            {
                sender.close(&Peer { reply_queue, stream });
            }
        }
    }
}
