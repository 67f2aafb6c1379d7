//! From the outbox to the queues.

use std::mem::take;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, timeout, timeout_at};
use wasmill_broker::{BatchPublisher, BrokerError};
use wasmill_domain::{AttemptKey, AttemptReport, Dispatch, Outcome};
use wasmill_store::Finished;

use crate::error::DutyError;
use crate::parts::SchedulerParts;

/// How long what the broker has confirmed waits for other confirms before it is taken out of the
/// outbox. Long enough that a batch mostly leaves in one statement; and far shorter than the time
/// for which the store leaves entries to whoever made them, so that a queue which does not answer
/// keeps nobody else's entries there to be published again.
const SETTLE_PAUSE: Duration = Duration::from_millis(200);

/// What became of dispatches.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// How many are in the outbox no more.
    pub(crate) gone: usize,
    /// How many are there still, because their queues are full.
    pub(crate) refused: usize,
    /// How many are there still, because their queues have not answered in time.
    pub(crate) late: usize,
    /// Why the broker has not taken the last one that it has not taken otherwise than for a full
    /// queue.
    away: Option<BrokerError>,
}

impl Published {
    fn add(&mut self, more: Self) {
        self.gone += more.gone;
        self.refused += more.refused;
        self.late += more.late;
        self.away = more.away.or(self.away.take());
    }

    /// Whether the broker works, as far as these tell. Where some went, those that did not are the
    /// matter of their queues.
    ///
    /// # Errors
    /// None went, and the broker is why.
    pub(crate) fn reached(self) -> Result<(), DutyError> {
        match self.away {
            Some(error) if self.gone == 0 => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Dispatches on their way to their queues. Those that the broker confirms are taken out of the
/// outbox, whatever becomes of the others; these stay in it.
pub(crate) struct Underway {
    parts: SchedulerParts,
    publishing: FuturesUnordered<BoxFuture<'static, (Dispatch, Result<(), BrokerError>)>>,
    /// They are in the outbox still.
    confirmed: Vec<AttemptKey>,
    unfit: Vec<Dispatch>,
}

impl Underway {
    pub(crate) fn new(parts: &SchedulerParts) -> Self {
        let publishing = FuturesUnordered::new();
        Self { parts: parts.clone(), publishing, confirmed: Vec::new(), unfit: Vec::new() }
    }

    /// How many are not answered yet.
    pub(crate) fn len(&self) -> usize {
        self.publishing.len()
    }

    /// Publishes dispatches from the next [`Underway::settle`] on, all at once so that they share
    /// batches.
    pub(crate) fn add(&mut self, dispatches: Vec<Dispatch>) {
        for dispatch in dispatches {
            let publisher = self.parts.publisher.clone();
            let limit = self.parts.settings.publish_timeout;
            self.publishing.push(Box::pin(async move {
                let answer = publish(&publisher, limit, dispatch.clone()).await;
                (dispatch, answer)
            }));
        }
    }

    /// Waits until all are answered, but not for long, and takes those that are confirmed out of
    /// the outbox.
    ///
    /// # Errors
    /// Where the store is away: what is confirmed is taken out by the next call.
    pub(crate) async fn settle(&mut self) -> Result<Published, DutyError> {
        let (mut published, until) = (Published::default(), Instant::now() + SETTLE_PAUSE);
        while let Ok(Some((dispatch, answer))) = timeout_at(until, self.publishing.next()).await {
            match answer {
                Ok(()) => self.confirmed.push(dispatch.key()),
                Err(BrokerError::Full(_)) => published.refused += 1,
                Err(BrokerError::Rejected(_)) => self.unfit.push(dispatch),
                Err(error) => {
                    published.late += usize::from(matches!(error, BrokerError::Unconfirmed(_)));
                    published.away = Some(error);
                }
            }
        }
        self.parts.store.agenda.published(&self.confirmed).await?;
        published.gone += take(&mut self.confirmed).len();
        for dispatch in take(&mut self.unfit) {
            publish_alone(&self.parts, dispatch).await?;
            published.gone += 1;
        }
        Ok(published)
    }

    /// Waits until all are answered, each in its time, and takes those that are confirmed out of
    /// the outbox.
    ///
    /// # Errors
    /// Where the store is away in the end.
    pub(crate) async fn finish(&mut self) -> Result<Published, DutyError> {
        let mut published = Published::default();
        loop {
            let settled = self.settle().await;
            let is_over = self.publishing.is_empty();
            match settled {
                Ok(more) => published.add(more),
                Err(error) if is_over => return Err(error),
                Err(error) => tracing::debug!(%error, "published executions are in the outbox yet"),
            }
            if is_over {
                return Ok(published);
            }
        }
    }
}

/// Publishes dispatches that are in the outbox, and waits until all are answered.
///
/// # Errors
/// Where the store is away.
pub(crate) async fn publish_all(
    parts: &SchedulerParts,
    dispatches: Vec<Dispatch>,
) -> Result<Published, DutyError> {
    let mut underway = Underway::new(parts);
    underway.add(dispatches);
    underway.finish().await
}

/// Publishes a dispatch, which may have to wait for a batch and for a queue to be declared.
async fn publish(
    publisher: &BatchPublisher,
    limit: Duration,
    dispatch: Dispatch,
) -> Result<(), BrokerError> {
    // It goes on without us.
    let late = |_| BrokerError::Unconfirmed(format!("no confirm within {limit:?}"));
    timeout(limit, publisher.publish(dispatch)).await.map_err(late)?
}

/// Publishes what the broker refused in company. If it is the cause, its execution fails: nothing
/// would ever come of it, and whoever reads the outbox would come upon it for ever.
async fn publish_alone(parts: &SchedulerParts, dispatch: Dispatch) -> Result<(), DutyError> {
    let limit = parts.settings.publish_timeout;
    match publish(&parts.publisher, limit, dispatch.clone()).await {
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
