//! Listens to broadcasts, for ever.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wasmill_broker::Broadcasts;

use super::Control;
use crate::backoff::Backoff;

/// Listens, and again whenever the broker was away. `began` is true from the first time on.
pub(crate) async fn listen(
    control: Arc<Control>,
    broadcasts: Arc<dyn Broadcasts>,
    longest_pause: Duration,
    began: watch::Sender<bool>,
) {
    let mut backoff = Backoff::new(longest_pause);
    loop {
        let listener = Arc::clone(&control);
        match broadcasts.subscribe(Arc::new(move |body| listener.hear(&body))).await {
            Ok(mut subscription) => {
                control.listens();
                began.send_replace(true);
                backoff = Backoff::new(longest_pause);
                subscription.ended().await;
                control.listens_no_more();
                tracing::debug!("orders may be missed: the store is asked instead");
            }
            Err(error) => tracing::debug!(%error, "orders cannot be heard yet"),
        }
        backoff.pause().await;
    }
}
