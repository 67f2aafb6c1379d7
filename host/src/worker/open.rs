//! What of a message is still to be run.

use std::sync::Arc;

use tokio::time::sleep;
use wasmill_domain::Dispatch;
use wasmill_store::{Publication, StoreError};

use super::host::Host;

/// Those whose outcome is not committed and could be. Asked of a message that was delivered before,
/// as an earlier delivery may have got far; and of one that has waited, or that was dispatched
/// before the host received orders, as an operator may have moved what is in it.
///
/// The others are not run by this message. Where an operator has written the row of one before its
/// event came, this is what brings the event. Then the store is asked about them once more: what
/// was decided may have been undone just before, and nothing else would run them.
pub(super) async fn still_open(host: Arc<Host>, dispatches: Vec<Dispatch>) -> Vec<Dispatch> {
    let is_open = unfinished(&host, &dispatches).await;
    if is_open.iter().all(|open| *open) {
        return dispatches;
    }
    let closed: Vec<Dispatch> = dispatches
        .iter()
        .zip(&is_open)
        .filter(|(_, open)| !**open)
        .map(|(dispatch, _)| dispatch.clone())
        .collect();
    add_events(&host, &closed).await;
    let mut is_open_again = unfinished(&host, &closed).await.into_iter();
    // In the order of the message.
    let is_open = is_open.into_iter().map(|open| open || is_open_again.next().unwrap_or_default());
    dispatches.into_iter().zip(is_open).filter(|(_, open)| *open).map(|(one, _)| one).collect()
}

/// Asks the store, whatever it takes.
async fn unfinished(host: &Host, dispatches: &[Dispatch]) -> Vec<bool> {
    let mut backoff = host.settings.recorder.backoff();
    loop {
        match host.store.ledger.unfinished(dispatches).await {
            Ok(open) => return open,
            Err(error) => {
                tracing::debug!(%error, "the store cannot say what is left of a message");
                sleep(backoff.pause()).await;
            }
        }
    }
}

/// Adds the events of executions to rows that lack them.
async fn add_events(host: &Host, dispatches: &[Dispatch]) {
    let mut backoff = host.settings.recorder.backoff();
    while let Err(error) = host.store.ledger.enqueue(dispatches, Publication::Confirmed).await {
        if !matches!(error, StoreError::Unavailable(_)) {
            tracing::error!(%error, "the store refuses the events of executions that were moved");
            return;
        }
        sleep(backoff.pause()).await;
    }
}
