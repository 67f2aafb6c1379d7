//! What of a message is still to be run.

use std::sync::Arc;

use tokio::time::sleep;
use wasmill_domain::Dispatch;
use wasmill_store::{Publication, StoreError};

use super::host::Host;

/// Those whose outcome is not committed and could be. Asked of a message that was delivered before,
/// as an earlier delivery may have got far; and of one that has waited, or that was dispatched
/// before the host heard of orders, as an operator may have moved what is in it.
///
/// The others are not run by this message. Where an operator has written the row of one before its
/// event came, this is what brings the event.
pub(super) async fn still_open(host: Arc<Host>, dispatches: Vec<Dispatch>) -> Vec<Dispatch> {
    let mut backoff = host.settings.recorder.backoff();
    let open = loop {
        match host.store.ledger.unfinished(&dispatches).await {
            Ok(open) => break open,
            Err(error) => {
                tracing::debug!(%error, "the store cannot say what is left of a message");
                sleep(backoff.pause()).await;
            }
        }
    };
    let (open, closed): (Vec<_>, Vec<_>) =
        dispatches.into_iter().zip(open).partition(|(_, open)| *open);
    let [open, closed] = [open, closed]
        .map(|all| all.into_iter().map(|(dispatch, _)| dispatch).collect::<Vec<Dispatch>>());
    while let Err(error) = host.store.ledger.enqueue(&closed, Publication::Confirmed).await {
        if !matches!(error, StoreError::Unavailable(_)) {
            tracing::error!(%error, "the store refuses the events of executions that were moved");
            break;
        }
        sleep(backoff.pause()).await;
    }
    open
}
