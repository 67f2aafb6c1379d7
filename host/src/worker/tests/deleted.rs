//! What becomes of a function that is deleted: of what waits for it, and of its queue.

use std::num::NonZeroU16;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use wasmill_broker::{BatchPublisher, BrokerError, Consuming as _, Depth, QueueName, Queues};
use wasmill_domain::{Digest, Dispatch, Manifest, Outcome, Registry, State, TenantName, Timestamp};
use wasmill_schema::Compiler;
use wasmill_store::{Catalog as _, Change, Ledger as _, Publication, RegistryWatch};

use super::proxy::Proxy;
use super::{HELLO, System, WAIT_TIMEOUT, dispatch, name, queue};
use crate::{HostBroker, HostSettings};

const ADA: &str = r#"{"name": "Ada"}"#;

fn delete(function: &str) -> Change {
    Change::DeleteFunction { tenant: TenantName::default(), function: name(function) }
}

/// A host that does not wait before it deletes an empty queue.
fn at_once() -> HostSettings {
    HostSettings { cleanup_after: Duration::ZERO, ..HostSettings::default() }
}

impl System {
    async fn has_queue(&self, function: &str) -> bool {
        !matches!(self.broker.depth(&queue(function)).await, Err(BrokerError::NoQueue(_)))
    }

    /// Waits until neither the queue nor the memory of a deleted function is there.
    async fn forgets(&self, function: &str) {
        let is_remembered = || self.registry.current().is_deleted(&TenantName::default(), function);
        let gone = async {
            while self.has_queue(function).await || is_remembered() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(WAIT_TIMEOUT, gone).await.expect("queue and memory go in time");
    }
}

#[tokio::test]
async fn what_is_left_of_a_deleted_function_is_cancelled() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let before = system.publish("hello", "greeting.requested", "{}").await;
    system.define(delete("hello")).await;
    let host = system.start();
    let detail = system.ended(before).await;
    assert_eq!(
        (detail.summary.state, detail.summary.outcome),
        (State::Cancelled, Some(Outcome::Cancelled))
    );
    assert_eq!(detail.summary.message.as_deref(), Some("the function 'hello' was deleted"));
    // What comes late is found as well.
    let late = system.publish("hello", "greeting.requested", "{}").await;
    assert_eq!(system.ended(late).await.summary.state, State::Cancelled);
    // Deployed again, it runs.
    system.deploy(HELLO, "name = 'hello'").await;
    system.comes_to_succeed("hello", "greeting.requested", r#"{"name": "Ada"}"#).await;
    host.stop().await;
}

#[tokio::test]
async fn the_queue_of_a_deleted_function_goes_when_it_is_empty() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let waiting = system.publish("hello", "greeting.requested", "{}").await;
    system.define(delete("hello")).await;
    let host = system.start_with(at_once());
    assert_eq!(system.ended(waiting).await.summary.state, State::Cancelled);
    system.forgets("hello").await;
    // Deployed again, it has a queue again.
    system.deploy(HELLO, "name = 'hello'").await;
    let id = system.publish("hello", "greeting.requested", r#"{"name": "Ada"}"#).await;
    assert_eq!(system.ended(id).await.summary.state, State::Succeeded);
    host.stop().await;
}

/// The broker's queues, whose first deletion fails, after a message has come into the queue.
struct DeletesLater {
    queues: Arc<dyn Queues>,
    publisher: BatchPublisher,
    comes: Mutex<Option<Dispatch>>,
}

#[async_trait]
impl Queues for DeletesLater {
    async fn delete(&self, queue: &QueueName) -> wasmill_broker::Result<()> {
        let comes = self.comes.lock().unwrap().take();
        match comes {
            Some(dispatch) => {
                self.publisher.publish(dispatch).await.unwrap();
                Err(BrokerError::Unavailable("for a moment".into()))
            }
            None => self.queues.delete(queue).await,
        }
    }

    async fn depth(&self, queue: &QueueName) -> wasmill_broker::Result<Depth> {
        self.queues.depth(queue).await
    }

    async fn queues(&self) -> wasmill_broker::Result<Option<Vec<(QueueName, Depth)>>> {
        self.queues.queues().await
    }
}

#[tokio::test]
async fn a_queue_that_is_not_empty_any_more_is_not_deleted() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    system.define(delete("hello")).await;
    let comes = dispatch("hello", "greeting.requested", "{}");
    let id = comes.execution;
    let queues = DeletesLater {
        queues: Arc::clone(&system.broker) as _,
        publisher: system.publisher.clone(),
        comes: Mutex::new(Some(comes)),
    };
    let broker = HostBroker { queues: Arc::new(queues), ..HostBroker::of(&system.broker) };
    let host = system.start_on(broker, at_once());
    assert_eq!(system.ended(id).await.summary.state, State::Cancelled);
    host.stop().await;
}

/// The broker's queues, of which nobody tells what others have: RabbitMQ does not.
struct WithoutUnacked(Arc<dyn Queues>);

#[async_trait]
impl Queues for WithoutUnacked {
    async fn delete(&self, queue: &QueueName) -> wasmill_broker::Result<()> {
        self.0.delete(queue).await
    }

    async fn depth(&self, queue: &QueueName) -> wasmill_broker::Result<Depth> {
        self.0.depth(queue).await.map(|depth| Depth { unacked: 0, ..depth })
    }

    async fn queues(&self) -> wasmill_broker::Result<Option<Vec<(QueueName, Depth)>>> {
        self.0.queues().await
    }
}

#[tokio::test]
async fn a_queue_stays_while_another_process_has_a_message_of_it() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    // Another host has it in its hands, and the gateway has written its row.
    let held = dispatch("hello", "greeting.requested", ADA);
    system.publisher.publish(held.clone()).await.unwrap();
    let mut other = system.broker.consume(&queue("hello"), NonZeroU16::MIN).await.unwrap();
    other.deliveries.next().await.unwrap();
    let row = std::slice::from_ref(&held);
    system.store.inner().enqueue(row, Publication::Confirmed).await.unwrap();
    system.define(delete("hello")).await;

    let queues = Arc::new(WithoutUnacked(Arc::clone(&system.broker) as _));
    let host = system.start_on(HostBroker { queues, ..HostBroker::of(&system.broker) }, at_once());
    let is_asked = async {
        while system.store.hook().asked_for_open() < 2 {
            assert!(system.has_queue("hello").await, "the queue is deleted under the message");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, is_asked).await.expect("it asks again and again");
    assert_eq!(system.depth("hello").await, Depth { ready: 0, unacked: 1 });
    // The other host dies, and nothing is lost by it.
    drop(other);
    assert_eq!(system.ended(held.execution).await.summary.state, State::Cancelled);
    system.forgets("hello").await;
    host.stop().await;
}

/// The broker's queues. When one is looked at for the first time, the function is deployed again,
/// and the host is not told.
struct DeployedMeanwhile {
    queues: Arc<dyn Queues>,
    store: Arc<Proxy>,
    deploy: Mutex<Option<Change>>,
    deleted: AtomicUsize,
}

#[async_trait]
impl Queues for DeployedMeanwhile {
    async fn delete(&self, queue: &QueueName) -> wasmill_broker::Result<()> {
        self.deleted.fetch_add(1, Ordering::SeqCst);
        self.queues.delete(queue).await
    }

    async fn depth(&self, queue: &QueueName) -> wasmill_broker::Result<Depth> {
        let deploy = self.deploy.lock().unwrap().take();
        if let Some(deploy) = deploy {
            self.store.inner().define(&deploy).await.unwrap();
        }
        self.queues.depth(queue).await
    }

    async fn queues(&self) -> wasmill_broker::Result<Option<Vec<(QueueName, Depth)>>> {
        self.queues.queues().await
    }
}

#[tokio::test]
async fn the_queue_of_a_function_that_is_deployed_again_stays() {
    let mut system = System::new().await;
    // It looks for changes only where somebody wants to know.
    let (first, never) = (Registry::new(Arc::new(Compiler::default())), Duration::from_secs(3_600));
    let of_registry = Arc::clone(&system.store) as _;
    system.registry = RegistryWatch::start_from(first, of_registry, never).await.unwrap();
    system.deploy(HELLO, "name = 'hello'").await;
    system.define(delete("hello")).await;
    let deploy = Change::Deploy {
        tenant: TenantName::default(),
        digest: Digest::of(HELLO),
        manifest: Manifest::from_toml("name = 'hello'").unwrap(),
        hostnames: Arc::default(),
        at: Timestamp::now(),
    };
    let queues = Arc::new(DeployedMeanwhile {
        queues: Arc::clone(&system.broker) as _,
        store: Arc::clone(&system.store),
        deploy: Mutex::new(Some(deploy)),
        deleted: AtomicUsize::new(0),
    });
    let broker = HostBroker { queues: Arc::clone(&queues) as _, ..HostBroker::of(&system.broker) };
    let host = system.start_on(broker, at_once());
    let is_known = async {
        while system.registry.current().is_deleted(&TenantName::default(), "hello") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, is_known).await.expect("it looks before it deletes");
    // Decided by the definitions that it is in.
    let revision = system.registry.current().revision();
    let event = dispatch("hello", "greeting.requested", ADA).with_revision(revision);
    let id = event.execution;
    system.publisher.publish(event).await.unwrap();
    assert_eq!(system.ended(id).await.summary.state, State::Succeeded);
    assert_eq!(queues.deleted.load(Ordering::SeqCst), 0);
    host.stop().await;
}
