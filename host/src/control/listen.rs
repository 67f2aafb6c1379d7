//! Subscribes to broadcasts, for ever.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::sleep;
use wasmill_broker::Broadcasts;
use wasmill_domain::backoff::Backoff;

use super::Control;

/// Subscribes, and again whenever the broker was away. `began` is true from the first time on.
pub(crate) async fn listen(
    control: Arc<Control>,
    broadcasts: Arc<dyn Broadcasts>,
    mut backoff: Backoff,
    began: watch::Sender<bool>,
) {
    loop {
        let listener = Arc::clone(&control);
        match broadcasts.subscribe(Arc::new(move |body| listener.receive(&body))).await {
            Ok(mut subscription) => {
                control.begin_to_receive();
                began.send_replace(true);
                backoff.reset();
                subscription.ended().await;
                control.receive_no_more();
                tracing::debug!("orders may be missed: the store is asked instead");
            }
            Err(error) => tracing::debug!(%error, "orders cannot be received yet"),
        }
        sleep(backoff.pause()).await;
    }
}
