//! What every backend must do, as tests that take any [`Broker`].

// A test states what must hold by panicking where it does not.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

mod calls;
mod consuming;
mod marks;
mod publishing;
mod requests;

use std::future::Future;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::port::{Broker, Consumption, Deliveries, Delivery, Depth, Message, QueueName, Settle, Tag};

/// The brokers under test take so many messages into a queue and answer the next one with [`Error::Full`](crate::Error::Full).
pub const QUEUE_MESSAGES: u64 = 1_000;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long nothing must happen where nothing may. A broker that keeps its promises never fails by it, however slow.
const SILENCE: Duration = Duration::from_millis(150);

/// What a broker knows of the deliveries of a message before the one at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redeliveries {
    /// How many there were, as the port wants it.
    Counted,
    /// Only whether there was any: 1 stands for one and more. Classic queues of RabbitMQ know no better.
    Marked,
}

impl Redeliveries {
    /// What [`Delivery::redeliveries`] is after so many deliveries.
    fn after(self, deliveries: u32) -> u32 {
        match self {
            Self::Counted => deliveries,
            Self::Marked => deliveries.min(1),
        }
    }
}

/// Runs every test. `factory` gives a broker whose queues are full at [`QUEUE_MESSAGES`]; it may be the same one each time,
/// as the tests use queues of their own. `redeliveries` is what it knows of these.
///
/// # Panics
/// Where the broker does not do what the port says.
pub async fn suite<F, Fut>(factory: F, redeliveries: Redeliveries)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Broker>>,
{
    publishing::what_is_published_comes_out_in_order(factory().await).await;
    publishing::contents_arrive_as_they_were(factory().await).await;
    publishing::large_messages_arrive(factory().await).await;
    publishing::publishers_at_once_keep_their_own_order(factory().await).await;
    publishing::publishes_under_way_keep_the_order_they_began_in(factory().await).await;
    publishing::queues_do_not_mind_each_other(factory().await).await;
    publishing::a_full_queue_refuses_and_takes_again(factory().await).await;
    publishing::no_queue_is_an_error(factory().await).await;
    publishing::declaring_twice_changes_nothing(factory().await).await;
    consuming::a_consumer_may_come_first(factory().await).await;
    consuming::no_more_than_the_prefetch_is_in_hand(factory().await).await;
    consuming::what_is_acked_is_gone(factory().await).await;
    consuming::what_is_released_comes_first_and_is_counted(factory().await, redeliveries).await;
    consuming::unknown_tags_are_ignored(factory().await).await;
    consuming::consumers_share_a_queue(factory().await).await;
    consuming::dropping_the_settler_puts_back(factory().await).await;
    consuming::dropping_the_deliveries_keeps_what_is_held(factory().await).await;
    consuming::a_dropped_next_loses_nothing(factory().await).await;
    consuming::deleting_ends_consumers(factory().await).await;
    requests::a_reply_finds_its_request(factory().await).await;
    requests::a_reply_to_nobody_is_no_error(factory().await).await;
    requests::no_reply_is_an_error(factory().await).await;
    marks::a_mark_is_told_from_others(factory().await).await;
    marks::queues_are_listed(factory().await).await;
    calls::both_ends_are_heard_in_order(factory().await).await;
    calls::whoever_says_no_more_still_hears(factory().await).await;
    calls::hanging_up_is_noticed(factory().await).await;
    calls::a_speaker_waits_for_whoever_listens(factory().await).await;
    calls::nobody_answers(factory().await).await;
    calls::calls_are_shared_and_each_answered_once(factory().await).await;
}

/// A queue that no other test has.
async fn queue(broker: &Arc<dyn Broker>) -> QueueName {
    let name: QueueName = format!("conformance.{}", Uuid::new_v4()).parse().unwrap();
    broker.declare(&name).await.unwrap();
    name
}

/// Publishes messages with these texts as bodies.
async fn publish(broker: &Arc<dyn Broker>, queue: &QueueName, bodies: impl IntoIterator<Item = String>) {
    for body in bodies {
        in_time(broker.publish(queue, Message::new(body))).await.unwrap();
    }
}

/// A consumer with its halves apart.
async fn consume(broker: &Arc<dyn Broker>, queue: &QueueName, prefetch: u16) -> (Box<dyn Deliveries>, Arc<dyn Settle>) {
    let prefetch = NonZeroU16::new(prefetch).unwrap();
    let Consumption { deliveries, settle } = in_time(broker.consume(queue, prefetch)).await.unwrap();
    (deliveries, settle)
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("the broker takes too long")
}

async fn next(deliveries: &mut Box<dyn Deliveries>) -> Delivery {
    in_time(deliveries.next()).await.expect("the consumer has ended")
}

/// The next `count` deliveries: the bodies as text, and the tags.
async fn take(deliveries: &mut Box<dyn Deliveries>, count: usize) -> (Vec<String>, Vec<Tag>) {
    let mut taken = (Vec::new(), Vec::new());
    for _ in 0..count {
        let delivery = next(deliveries).await;
        taken.0.push(text(&delivery));
        taken.1.push(delivery.tag);
    }
    taken
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.body.to_vec()).unwrap()
}

/// Nothing is delivered.
async fn silence(deliveries: &mut Box<dyn Deliveries>) {
    let next = tokio::time::timeout(SILENCE, deliveries.next()).await;
    assert!(next.is_err(), "{next:?} was delivered, and nothing should have been");
}

/// Waits until a queue is so deep.
async fn depth_becomes(broker: &Arc<dyn Broker>, queue: &QueueName, ready: u64, unacked: u64) {
    let wanted = Depth { ready, unacked };
    let reached = async {
        while broker.depth(queue).await.unwrap() != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, reached).await.is_err() {
        panic!("the depth should become {wanted:?} and is {:?}", broker.depth(queue).await);
    }
}

fn numbered(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}
