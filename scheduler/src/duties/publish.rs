//! From the outbox to the queues.

use futures_util::future::join_all;
use wasmill_broker::BrokerError;
use wasmill_domain::{AttemptKey, AttemptReport, Dispatch, Outcome};
use wasmill_store::Finished;

use crate::error::DutyError;
use crate::parts::SchedulerParts;

/// What became of dispatches.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Published {
    /// How many are in the outbox no more.
    pub(crate) gone: usize,
    /// How many are there still, because their queues are full.
    pub(crate) refused: usize,
}

/// Publishes dispatches, all at once so that they share batches, and takes those that the broker
/// has confirmed out of the outbox. The others stay in it.
///
/// # Errors
/// Where the broker or the store is away; what was confirmed before is taken out nevertheless.
pub(crate) async fn publish_all(
    parts: &SchedulerParts,
    dispatches: Vec<Dispatch>,
) -> Result<Published, DutyError> {
    let attempts = dispatches.into_iter().map(|dispatch| async {
        let answer = parts.publisher.publish(dispatch.clone()).await;
        (dispatch, answer)
    });
    let mut published = Published::default();
    let mut confirmed: Vec<AttemptKey> = Vec::new();
    let mut unfit: Vec<Dispatch> = Vec::new();
    let mut away = None;
    for (dispatch, answer) in join_all(attempts).await {
        match answer {
            Ok(()) => confirmed.push(dispatch.key()),
            Err(BrokerError::Full(_)) => published.refused += 1,
            Err(BrokerError::Rejected(_)) => unfit.push(dispatch),
            Err(error) => away = Some(error),
        }
    }
    published.gone = confirmed.len() + unfit.len();
    parts.store.agenda.published(&confirmed).await?;
    for dispatch in unfit {
        publish_alone(parts, dispatch).await?;
    }
    away.map_or(Ok(published), |error| Err(error.into()))
}

/// Publishes what the broker refused in company. If it is the cause, its execution fails: nothing
/// would ever come of it, and whoever reads the outbox would come upon it for ever.
async fn publish_alone(parts: &SchedulerParts, dispatch: Dispatch) -> Result<(), DutyError> {
    match parts.publisher.publish(dispatch.clone()).await {
        Ok(()) => parts.store.agenda.published(&[dispatch.key()]).await?,
        Err(BrokerError::Rejected(why)) => {
            tracing::warn!(execution = %dispatch.execution, why, "the broker can never take this execution");
            parts
                .store
                .ledger
                .record(&[never_sent(dispatch, &why, &parts.settings.holder)])
                .await?;
        }
        Err(BrokerError::Full(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn never_sent(dispatch: Dispatch, why: &str, holder: &str) -> Finished {
    let report = AttemptReport {
        message: Some(format!("it could not be sent to a host: {why}")),
        ..AttemptReport::new(holder, Outcome::Rejected, dispatch.trace.child())
    };
    Finished { dispatch, report, retry_at: None, logs: Vec::new(), emitted: Vec::new() }
}
