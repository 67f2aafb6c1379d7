//! Asks the store about what runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use wasmill_store::Orders;

use crate::worker::running_attempts::RunningAttempts;

/// Asks, for ever, about what has run for as long as there is between two times, and stops what is
/// to be stopped. Nothing is asked where nothing has. It makes good for broadcasts that were
/// missed.
pub(crate) async fn beat(running: Arc<RunningAttempts>, orders: Arc<dyn Orders>, every: Duration) {
    let every = every.max(Duration::from_millis(1));
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let attempts = running.longer_than(every);
        if attempts.is_empty() {
            continue;
        }
        match orders.orders(&attempts).await {
            Ok(orders) => {
                orders.iter().for_each(|(attempt, order)| running.stop_attempt(attempt, order));
            }
            // What comes of it will not stand, whenever it ends.
            Err(error) => tracing::debug!(%error, "the store cannot say what is to be stopped"),
        }
    }
}
