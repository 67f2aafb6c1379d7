//! What a gateway accepted is what a host reads, whatever it looks like.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use uuid::Uuid;
use wasmill_domain::event::arbitrary::any_event;
use wasmill_domain::wire::{Reads, Writes};
use wasmill_domain::{Batch, Dispatch, Event, ExecutionId, TenantName, TraceContext};

use super::Broker;
use super::support::{consume, depth_becomes, in_time, next};
use crate::port::{Deliveries, QueueName, Tag};
use crate::publisher::{BatchPublisher, PublisherSettings};

/// How many events are tried in each version of batches.
const EVENTS: usize = 150;

/// Published in batches of each version that is written, consumed, given back and consumed again.
pub(super) async fn any_event_comes_out_as_it_was(broker: Arc<dyn Broker>) {
    let mut runner = TestRunner::deterministic();
    let function = format!("f{}", Uuid::new_v4().simple());
    for batch in [1, 2] {
        let writes = Writes::new(Reads { batch, ..Reads::HERE });
        let sent: Vec<Dispatch> = (0..EVENTS)
            .map(|_| {
                let event = any_event().new_tree(&mut runner).unwrap().current();
                Dispatch::new(
                    TenantName::default(),
                    function.parse().unwrap(),
                    TraceContext::new_root(),
                    Arc::new(event),
                )
            })
            .collect();
        let queue = QueueName::of_function(&sent[0].tenant, &sent[0].function);
        let settings = PublisherSettings { writes, in_flight: 2, ..PublisherSettings::default() };
        let publisher = BatchPublisher::new(Arc::clone(&broker) as _, settings);
        let published = sent.iter().map(|dispatch| publisher.publish(dispatch.clone()));
        for published in in_time(futures_util::future::join_all(published)).await {
            published.unwrap();
        }
        let (mut deliveries, settle) = consume(&broker, &queue, 1_000).await;
        let tags = come_out(&mut deliveries, batch, &sent).await;
        settle.release(&tags).await.unwrap();
        let tags = come_out(&mut deliveries, batch, &sent).await;
        settle.ack(&tags).await.unwrap();
        depth_becomes(&broker, &queue, 0, 0).await;
        in_time(broker.delete(&queue)).await.unwrap();
    }
}

/// Takes messages until all that was sent is there, each event as it was, and gives their tags.
async fn come_out(
    deliveries: &mut Box<dyn Deliveries>,
    version: u8,
    sent: &[Dispatch],
) -> Vec<Tag> {
    let mut left: HashMap<ExecutionId, &Event> =
        sent.iter().map(|dispatch| (dispatch.execution, &*dispatch.event)).collect();
    let mut tags = Vec::new();
    while !left.is_empty() {
        let delivery = next(deliveries).await;
        assert_eq!(delivery.message.body[0], version);
        tags.push(delivery.tag);
        for dispatch in Batch::decode(&delivery.message.body).unwrap().into_dispatches() {
            let event = left.remove(&dispatch.execution).expect("it was sent, and comes once");
            assert_eq!(*dispatch.event, *event);
        }
    }
    tags
}
