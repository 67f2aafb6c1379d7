//! Publishes the executions that committed outcomes emitted, right after the commit. They are in
//! the store's outbox as well: what is not published here, the scheduler publishes.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use wasmill_broker::BatchPublisher;
use wasmill_domain::Dispatch;
use wasmill_store::Agenda;

/// How many are published together.
const BATCH: usize = 256;

/// Where committed executions go.
#[derive(Clone)]
pub(crate) struct Outbox(mpsc::Sender<Dispatch>);

impl Outbox {
    /// The outbox with room for `waiting` executions, and what it does, which ends when the last
    /// clone is dropped and everything is published.
    pub(crate) fn new(
        agenda: Arc<dyn Agenda>,
        publisher: BatchPublisher,
        waiting: usize,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (sender, receiver) = mpsc::channel(waiting.max(1));
        (Self(sender), publish(agenda, publisher, receiver))
    }

    /// Has these published soon. Never waits: what there is no room for is left to the scheduler.
    pub(crate) fn publish(&self, dispatches: Vec<Dispatch>) {
        let mut left = 0_usize;
        for dispatch in dispatches {
            left += usize::from(self.0.try_send(dispatch).is_err());
        }
        if left > 0 {
            tracing::debug!(left, "emitted executions are left to the scheduler");
        }
    }
}

async fn publish(
    agenda: Arc<dyn Agenda>,
    publisher: BatchPublisher,
    mut receiver: mpsc::Receiver<Dispatch>,
) {
    let mut batch = Vec::new();
    while receiver.recv_many(&mut batch, BATCH).await > 0 {
        let publishing = batch.drain(..).map(|dispatch| {
            let entry = dispatch.key();
            let publisher = publisher.clone();
            async move { publisher.publish(dispatch).await.map(|()| entry) }
        });
        let mut confirmed = Vec::new();
        for result in join_all(publishing).await {
            match result {
                Ok(entry) => confirmed.push(entry),
                Err(error) => {
                    tracing::debug!(%error, "an emitted execution is left to the scheduler");
                }
            }
        }
        if !confirmed.is_empty()
            && let Err(error) = agenda.published(&confirmed).await
        {
            // Published twice, then; the second time finds the first one's outcome.
            tracing::debug!(%error, "published executions stay in the outbox");
        }
    }
}
