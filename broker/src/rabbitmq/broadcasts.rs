//! Broadcasts: a fanout exchange, and a queue for each subscription that is deleted with its
//! connection. Messages are transient, and the exchange is deleted with its last queue.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Confirmation, Consumer, ExchangeKind};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::amqp::{self, Fault};
use super::link::{Link, Session};
use crate::broadcasts::{BroadcastReceiver, Subscription};
use crate::port::{BrokerError, Result};

/// What the exchange is called, behind the prefix.
const EXCHANGE: &str = "wasmill.broadcast";

/// The exchange's name for RabbitMQ.
pub(super) fn exchange(prefix: &str) -> Result<ShortString> {
    amqp::short(&format!("{prefix}{EXCHANGE}"))
}

/// Publishes a broadcast on a channel and awaits its confirm: it is in the queue of every
/// subscription then.
pub(super) async fn publish(
    channel: &Channel,
    exchange: &ShortString,
    body: &[u8],
) -> lapin::Result<()> {
    // Both change nothing where they were done before. A message to an exchange that is not there
    // would end the channel.
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    declare(channel, exchange).await?;
    let confirm = channel
        .basic_publish(
            exchange.clone(),
            ShortString::default(),
            BasicPublishOptions::default(),
            body,
            amqp::transient(),
        )
        .await?;
    // Not refused: its queues have no bound, and one that is gone has nobody who listens.
    let _: Confirmation = confirm.await?;
    Ok(())
}

async fn declare(channel: &Channel, exchange: &ShortString) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions { auto_delete: true, ..ExchangeDeclareOptions::default() };
    channel
        .exchange_declare(exchange.clone(), ExchangeKind::Fanout, options, FieldTable::default())
        .await
}

/// Ends a task where the subscription is dropped.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Subscribes over the current connection, which is awaited within reason. The subscription ends
/// with it.
pub(super) async fn subscribe(
    link: &Link,
    exchange: ShortString,
    listener: BroadcastReceiver,
    timeout: Duration,
) -> Result<Subscription> {
    // Again where another one ends meanwhile: with the last queue the exchange goes.
    let exchange = &exchange;
    let begun = |session: Arc<Session>| async move {
        let begun = session.set_up(begin(&session, exchange)).await?;
        Ok((session, begun))
    };
    let unavailable = |fault: Fault| BrokerError::Unavailable(fault.to_string());
    let (session, (channel, mut messages)) =
        link.work(timeout, begun).await.map_err(unavailable)?;
    let (end, alive) = watch::channel(());
    let task = tokio::spawn(async move {
        // The channel is closed where it is dropped.
        let (_channel, _end) = (channel, end);
        let listening = async {
            while let Some(Ok(message)) = messages.next().await {
                listener(message.data.into());
            }
        };
        session.during(listening).await;
    });
    Ok(Subscription::new(alive, Task(task)))
}

async fn begin(session: &Session, exchange: &ShortString) -> lapin::Result<(Channel, Consumer)> {
    let channel = session.open().await?;
    declare(&channel, exchange).await?;
    let own = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    // RabbitMQ names it.
    let queue = channel.queue_declare(ShortString::default(), own, FieldTable::default()).await?;
    let name = queue.name().clone();
    channel
        .queue_bind(
            name.clone(),
            exchange.clone(),
            ShortString::default(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let options =
        BasicConsumeOptions { no_ack: true, exclusive: true, ..BasicConsumeOptions::default() };
    let consumer =
        channel.basic_consume(name, ShortString::default(), options, FieldTable::default()).await?;
    Ok((channel, consumer))
}
