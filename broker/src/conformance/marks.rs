//! Whose a broker is.

use std::sync::Arc;

use uuid::Uuid;

use super::support::{in_time, publish, queue};
use crate::conformance::Broker;
use crate::port::{Depth, Owner, QueueName};

/// The broker must not be one that others mark meanwhile.
pub(super) async fn a_mark_is_told_from_others(broker: Arc<dyn Broker>) {
    let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
    in_time(broker.mark(first)).await.unwrap();
    assert_eq!(in_time(broker.owner(first)).await.unwrap(), Owner::This);
    assert!(is_other(&in_time(broker.owner(second)).await.unwrap(), first));
    // Asking changes nothing.
    assert_eq!(in_time(broker.owner(first)).await.unwrap(), Owner::This);
    in_time(broker.mark(second)).await.unwrap();
    assert_eq!(in_time(broker.owner(second)).await.unwrap(), Owner::This);
    assert!(is_other(&in_time(broker.owner(first)).await.unwrap(), second));
    in_time(broker.delete(&QueueName::installation())).await.unwrap();
}

/// Whether the owner is said to be `id`, or at least what it begins with.
fn is_other(owner: &Owner, id: Uuid) -> bool {
    let Owner::Other(text) = owner else { return false };
    let text = text.trim_end_matches('.');
    text.len() >= 16 && id.to_string().starts_with(text)
}

/// A broker that can list its queues lists them all.
pub(super) async fn queues_are_listed(broker: Arc<dyn Broker>) {
    let (full, empty) = (queue(&broker).await, queue(&broker).await);
    publish(&broker, &full, ["a".to_owned(), "b".to_owned()]).await;
    let Some(listed) = in_time(broker.queues()).await.unwrap() else { return };
    assert!(listed.is_sorted_by(|one, other| one.0 < other.0));
    for (name, ready) in [(full, 2), (empty, 0)] {
        assert!(listed.contains(&(name, Depth { ready, unacked: 0 })), "{listed:?}");
    }
}
