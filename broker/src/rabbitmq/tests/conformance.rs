//! The suite that every backend passes.

use std::sync::Arc;

use super::support::Scope;
use crate::broadcasts::Broadcasts;
use crate::conformance::{Broker, QUEUE_MAX_BATCHES, Redeliveries, broadcasts_suite, suite};
use crate::rabbitmq::{QueueKind, RabbitSettings};

async fn run(queue_kind: QueueKind, redeliveries: Redeliveries) {
    let settings = RabbitSettings {
        queue_kind,
        queue_max_batches: Some(QUEUE_MAX_BATCHES),
        ..RabbitSettings::default()
    };
    let scope = Scope::new(settings);
    suite(|| async { Arc::clone(&scope.broker) as Arc<dyn Broker> }, redeliveries).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_broadcasts() {
    let scope = Scope::new(RabbitSettings::default());
    broadcasts_suite(|| async { Arc::clone(&scope.broker) as Arc<dyn Broadcasts> }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_with_quorum_queues_conforms() {
    run(QueueKind::Quorum, Redeliveries::Counted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_with_classic_queues_conforms() {
    run(QueueKind::Classic, Redeliveries::Marked).await;
}
