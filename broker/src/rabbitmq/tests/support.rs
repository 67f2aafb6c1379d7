//! What the tests share.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use uuid::Uuid;

use crate::port::{
    Consuming as _, Consumption, Deliveries, Delivery, Depth, Message, Publishing as _, QueueName,
    Queues as _, Settle,
};
use crate::rabbitmq::testing::address;
use crate::rabbitmq::{RabbitBroker, RabbitSettings};

/// How long anything may take before a test gives up.
pub(super) const TIMEOUT: Duration = Duration::from_secs(90);

/// A broker whose queues are its own. They are deleted with it.
pub(crate) struct Scope {
    pub(crate) broker: Arc<RabbitBroker>,
    /// Where its queues can be deleted whatever happens to the way to them that is under test.
    direct: String,
    settings: RabbitSettings,
}

impl Scope {
    pub(crate) fn new(settings: RabbitSettings) -> Self {
        Self::by(&address(), &address(), settings)
    }

    /// Gets to the RabbitMQ at `direct` by the way of `address`.
    pub(super) fn by(address: &str, direct: &str, settings: RabbitSettings) -> Self {
        let queue_prefix = format!("wasmill-test.{}.", Uuid::new_v4());
        let settings = RabbitSettings { queue_prefix, name: "wasmill test".into(), ..settings };
        let broker = Arc::new(RabbitBroker::connect(address, settings.clone()).unwrap());
        Self { broker, direct: direct.into(), settings }
    }

    /// Another broker with the same queues, as another process would have it.
    pub(crate) fn other(&self) -> RabbitBroker {
        RabbitBroker::connect(&self.direct, self.settings.clone()).unwrap()
    }

    /// Another broker with the same queues and other settings.
    pub(crate) fn other_with(&self, settings: RabbitSettings) -> RabbitBroker {
        let queue_prefix = self.settings.queue_prefix.clone();
        RabbitBroker::connect(&self.direct, RabbitSettings { queue_prefix, ..settings }).unwrap()
    }

    /// A queue that is not ours, on a connection of its own.
    pub(super) async fn foreign_queue(&self, option: &str) -> Foreign {
        let queue: QueueName = Uuid::new_v4().to_string().parse().unwrap();
        let connection =
            Connection::connect(&self.direct, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let options = QueueDeclareOptions {
            exclusive: option == "exclusive",
            auto_delete: option == "auto_delete",
            ..QueueDeclareOptions::default()
        };
        let name = format!("{}{queue}", self.settings.queue_prefix);
        channel.queue_declare(name.clone().into(), options, FieldTable::default()).await.unwrap();
        Foreign { queue, name, channel, _connection: connection }
    }

    /// Declares a queue with other arguments than ours.
    pub(super) async fn declare_raw(
        &self,
        queue: &QueueName,
        arguments: FieldTable,
    ) -> lapin::Result<()> {
        let connection = Connection::connect(&self.direct, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let name = format!("{}{queue}", self.settings.queue_prefix);
        channel.queue_declare(name.into(), options, arguments).await.map(drop)
    }

    pub(crate) async fn queue(&self) -> QueueName {
        let queue: QueueName = Uuid::new_v4().to_string().parse().unwrap();
        in_time(self.broker.declare(&queue)).await.unwrap();
        queue
    }

    pub(super) async fn publish(
        &self,
        queue: &QueueName,
        bodies: impl IntoIterator<Item = String>,
    ) {
        for body in bodies {
            in_time(self.broker.publish(queue, Message::new(body))).await.unwrap();
        }
    }

    pub(crate) async fn consume(
        &self,
        queue: &QueueName,
        prefetch: u16,
    ) -> (Box<dyn Deliveries>, Arc<dyn Settle>) {
        let prefetch = NonZeroU16::new(prefetch).unwrap();
        let Consumption { deliveries, settle } =
            in_time(self.broker.consume(queue, prefetch)).await.unwrap();
        (deliveries, settle)
    }

    pub(super) async fn depth_becomes(&self, queue: &QueueName, ready: u64, unacked: u64) {
        let wanted = Depth { ready, unacked };
        becomes(async || self.broker.depth(queue).await.unwrap() == wanted).await;
    }
}

/// A queue that was declared without our broker.
pub(super) struct Foreign {
    pub(super) queue: QueueName,
    name: String,
    channel: Channel,
    _connection: Connection,
}

impl Foreign {
    pub(super) async fn delete(self) {
        self.channel.queue_delete(self.name.into(), QueueDeleteOptions::default()).await.unwrap();
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let queues = self.broker.known.names();
        let (direct, settings) = (self.direct.clone(), self.settings.clone());
        let delete = async move {
            let broker = RabbitBroker::connect(&direct, settings).unwrap();
            for queue in queues {
                broker.delete(&queue).await.unwrap();
            }
            broker.close().await;
        };
        // The test's own runtime is busy with this very drop.
        std::thread::scope(|scope| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            scope.spawn(move || runtime.block_on(delete)).join().ok();
        });
    }
}

pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, future).await.expect("it takes too long")
}

/// Waits until a condition holds.
pub(crate) async fn becomes(condition: impl AsyncFn() -> bool) {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    in_time(holds).await;
}

pub(crate) async fn next(deliveries: &mut Box<dyn Deliveries>) -> Delivery {
    in_time(deliveries.next()).await.expect("the consumer has ended")
}

pub(super) fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.body.to_vec()).unwrap()
}

pub(super) fn numbered(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}
