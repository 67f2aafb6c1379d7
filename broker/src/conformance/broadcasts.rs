//! Broadcasts.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::support::{QUIET_TIME, in_time};
use crate::broadcasts::{Broadcasts, Subscription};

/// Runs every test of broadcasts. `factory` gives a broker with nobody who listens.
///
/// # Panics
/// Where the broker does not do what the port says.
pub(crate) async fn broadcasts_suite<F, Fut>(factory: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Broadcasts>>,
{
    everybody_who_listens_hears(&*factory().await).await;
    who_is_late_does_not_hear(&*factory().await).await;
    who_is_gone_is_not_told(&*factory().await).await;
    a_broadcast_to_nobody_is_no_error(&*factory().await).await;
}

type Received = mpsc::UnboundedReceiver<Bytes>;

async fn subscribe(broker: &dyn Broadcasts) -> (Received, Subscription) {
    let (sender, received) = mpsc::unbounded_channel();
    let listener = Arc::new(move |body| {
        // Its test may have ended.
        let _ = sender.send(body);
    });
    (received, in_time(broker.subscribe(listener)).await.unwrap())
}

async fn tell(broker: &dyn Broadcasts, body: &'static str) {
    in_time(broker.broadcast(body.into())).await.unwrap();
}

async fn next(received: &mut Received) -> Bytes {
    in_time(received.recv()).await.expect("the listener is there")
}

async fn everybody_who_listens_hears(broker: &dyn Broadcasts) {
    let (mut one, mut subscription) = subscribe(broker).await;
    let (mut other, _subscription) = subscribe(broker).await;
    for body in ["1", "2", ""] {
        tell(broker, body).await;
    }
    for received in [&mut one, &mut other] {
        for body in ["1", "2", ""] {
            assert_eq!(next(received).await, body);
        }
    }
    assert!(tokio::time::timeout(QUIET_TIME, subscription.ended()).await.is_err());
}

async fn who_is_late_does_not_hear(broker: &dyn Broadcasts) {
    tell(broker, "early").await;
    let (mut received, _subscription) = subscribe(broker).await;
    tell(broker, "late").await;
    assert_eq!(next(&mut received).await, "late");
}

async fn who_is_gone_is_not_told(broker: &dyn Broadcasts) {
    let (mut gone, subscription) = subscribe(broker).await;
    let (mut there, _subscription) = subscribe(broker).await;
    drop(subscription);
    // With the listener its sender is dropped.
    assert_eq!(in_time(gone.recv()).await, None);
    tell(broker, "still").await;
    assert_eq!(next(&mut there).await, "still");
}

async fn a_broadcast_to_nobody_is_no_error(broker: &dyn Broadcasts) {
    let (_, subscription) = subscribe(broker).await;
    drop(subscription);
    tell(broker, "nobody").await;
    let (mut received, _subscription) = subscribe(broker).await;
    tell(broker, "somebody").await;
    assert_eq!(next(&mut received).await, "somebody");
}
