//! Writes the rows of accepted executions behind the answer, in batches.
//!
//! The broker has the events already, so nothing is lost where a row cannot be written: whoever
//! runs the execution makes the row then. These writes only make executions visible while they
//! wait, so each is put off for a moment: an execution that has ended by then has its row, written
//! once and by its host. Whoever asks this gateway meanwhile is answered from memory, or has the
//! writes made first.
//!
//! Rows that are older than the delay are written, as many as a batch takes, and after a batch
//! there is a pause of twice the time that it took: what nobody waits for leaves the database to
//! what somebody does. [`RowWriter::flush`] is for who does wait: it ends the pauses until
//! everything before it is written. A batch that fails is dropped and counted, not tried again, as
//! its executions have no need of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use wasmill_domain::{Dispatch, ExecutionId, Timestamp};
use wasmill_store::{Ledger, Publication};

use crate::settings::GatewaySettings;

/// The part that the handlers hold of the writer, whose task ends with it.
pub(crate) struct RowWriter {
    shared: Arc<PendingRows>,
    /// Closed when this is dropped.
    _alive: watch::Sender<()>,
}

struct PendingRows {
    rows: Mutex<Rows>,
    /// Something changed that the task should look at.
    notification: Notify,
    /// How many batches are written or dropped.
    batches: watch::Sender<u64>,
    max_rows: usize,
    max_bytes: usize,
}

#[derive(Default)]
struct Rows {
    /// What waits and what is being written, by id, which is nearly the order of acceptance.
    pending: BTreeMap<ExecutionId, Dispatch>,
    bytes: usize,
    dropped: u64,
    /// Somebody waits for everything up to this one.
    wanted: Option<ExecutionId>,
}

impl RowWriter {
    /// Starts the task that writes.
    pub(crate) fn start(ledger: Arc<dyn Ledger>, settings: &GatewaySettings) -> Self {
        let shared = Arc::new(PendingRows {
            rows: Mutex::default(),
            notification: Notify::new(),
            batches: watch::Sender::new(0),
            max_rows: settings.row_buffer.max(1),
            max_bytes: settings.row_buffer_bytes,
        });
        let (alive, handle) = watch::channel(());
        let (batch, delay) = (settings.row_batch.max(1), settings.row_delay);
        tokio::spawn(
            Task { ledger, shared: Arc::clone(&shared), batch, delay, store_is_away: false }
                .run(handle),
        );
        Self { shared, _alive: alive }
    }

    /// Has the row of an accepted execution written; drops it where too many wait.
    pub(crate) fn write(&self, dispatch: Dispatch) {
        let bytes = size(&dispatch);
        let mut rows = self.shared.lock();
        if rows.pending.len() >= self.shared.max_rows
            || rows.bytes.saturating_add(bytes) > self.shared.max_bytes
        {
            rows.dropped += 1;
            return;
        }
        rows.bytes += bytes;
        let was_idle = rows.pending.is_empty();
        rows.pending.insert(dispatch.execution, dispatch);
        drop(rows);
        if was_idle {
            self.shared.notification.notify_one();
        }
    }

    /// An execution whose row may not be written yet.
    pub(crate) fn pending(&self, id: ExecutionId) -> Option<Dispatch> {
        self.shared.lock().pending.get(&id).cloned()
    }

    /// Waits until every row given before is written or dropped, at most for `wait_timeout`. Says
    /// whether it came to that.
    pub(crate) async fn flush(&self, wait_timeout: Duration) -> bool {
        let mut batches = self.shared.batches.subscribe();
        let last = {
            let mut rows = self.shared.lock();
            let Some(last) = rows.pending.last_key_value().map(|(id, _)| *id) else { return true };
            rows.wanted = rows.wanted.max(Some(last));
            last
        };
        self.shared.notification.notify_one();
        let is_done =
            || self.shared.lock().pending.first_key_value().is_none_or(|(first, _)| *first > last);
        // The sender is at hand.
        tokio::time::timeout(wait_timeout, batches.wait_for(|_| is_done())).await.is_ok()
    }

    /// How many rows were dropped since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.lock().dropped
    }
}

impl PendingRows {
    fn lock(&self) -> MutexGuard<'_, Rows> {
        // Never held across an await, and nothing panics while it is held.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Task {
    ledger: Arc<dyn Ledger>,
    shared: Arc<PendingRows>,
    batch: usize,
    delay: Duration,
    store_is_away: bool,
}

impl Task {
    async fn run(mut self, mut alive: watch::Receiver<()>) {
        loop {
            let pause = match self.take() {
                Next::Write(batch) => {
                    let begun = Instant::now();
                    self.write(batch).await;
                    // Nobody waits for these, and somebody may for what else the database does.
                    if self.shared.lock().wanted.is_some() {
                        Duration::ZERO
                    } else {
                        begun.elapsed() * 2
                    }
                }
                Next::Pause(pause) => pause,
            };
            tokio::select! {
                () = self.shared.notification.notified() => {}
                () = tokio::time::sleep(pause) => {}
                // Nothing is ever sent: the writer is gone.
                _ = alive.changed() => return,
            }
        }
    }

    /// What is to be written now: what is old enough or asked for.
    fn take(&self) -> Next {
        let now = Timestamp::now();
        let mut rows = self.shared.lock();
        let wanted = rows.wanted;
        let waits =
            |dispatch: &Dispatch| self.delay.saturating_sub(now.since(dispatch.accepted_at));
        let is_due = |(id, dispatch): &(&ExecutionId, &Dispatch)| {
            Some(**id) <= wanted || waits(dispatch).is_zero()
        };
        let batch: Vec<Dispatch> = rows
            .pending
            .iter()
            .take_while(is_due)
            .take(self.batch)
            .map(|(_, dispatch)| dispatch.clone())
            .collect();
        if !batch.is_empty() {
            return Next::Write(batch);
        }
        rows.wanted = None;
        // Not for each row's sake: those that fall due in the meantime make a batch.
        let first =
            rows.pending.first_key_value().map(|(_, dispatch)| waits(dispatch).max(self.delay / 8));
        Next::Pause(first.unwrap_or(Duration::MAX))
    }

    async fn write(&mut self, batch: Vec<Dispatch>) {
        let written = self.ledger.enqueue(&batch, Publication::Confirmed).await;
        let mut rows = self.shared.lock();
        for dispatch in &batch {
            rows.pending.remove(&dispatch.execution);
            rows.bytes -= size(dispatch);
        }
        if written.is_err() {
            rows.dropped += batch.len() as u64;
        }
        let dropped = rows.dropped;
        drop(rows);
        self.shared.batches.send_modify(|batches| *batches += 1);
        self.note(written, dropped);
    }

    /// Logs the beginning and the end of an outage once each.
    fn note(&mut self, written: wasmill_store::Result<()>, dropped: u64) {
        let was_away = std::mem::replace(&mut self.store_is_away, written.is_err());
        match written {
            Ok(()) if was_away => tracing::info!(dropped, "the store takes rows again"),
            Err(error) if !was_away => {
                tracing::warn!(%error, "the store takes no rows; executions show up once a host runs them");
            }
            _ => {}
        }
    }
}

enum Next {
    Write(Vec<Dispatch>),
    Pause(Duration),
}

/// About what a row holds in memory beyond itself. Executions of one event share it, so this is an
/// upper bound.
fn size(dispatch: &Dispatch) -> usize {
    dispatch.event.data.as_ref().map_or(0, bytes::Bytes::len)
}
