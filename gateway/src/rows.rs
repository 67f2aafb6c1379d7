//! Writes the rows of accepted executions behind the answer, in batches.
//!
//! The broker has the events already, so nothing is lost where a row cannot be written: whoever runs the execution
//! makes the row then. These writes only make executions visible while they wait, so they come a little later: most executions
//! have ended by then, and their row is written once instead of twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use wasmill_domain::Dispatch;
use wasmill_store::{Publication, Store};

use crate::settings::GatewaySettings;

/// The sending half of the writer, whose task ends with it.
pub(crate) struct RowWriter {
    sender: mpsc::Sender<Entry>,
    counters: Arc<Counters>,
    max_bytes: usize,
}

#[derive(Default)]
struct Counters {
    held_bytes: AtomicUsize,
    dropped: AtomicU64,
    store_is_away: AtomicBool,
}

enum Entry {
    /// A row, and when it was given.
    Row(Dispatch, Instant),
    /// Answered when everything before it is written or dropped.
    Barrier(oneshot::Sender<()>),
}

impl RowWriter {
    /// Starts the task that writes.
    pub(crate) fn start(store: Arc<dyn Store>, settings: &GatewaySettings) -> Self {
        let (sender, receiver) = mpsc::channel(settings.row_buffer.max(1));
        let counters = Arc::new(Counters::default());
        let (batch, delay) = (settings.row_batch.max(1), settings.row_delay);
        tokio::spawn(Task { store, receiver, counters: Arc::clone(&counters), batch, delay }.run());
        Self { sender, counters, max_bytes: settings.row_buffer_bytes }
    }

    /// Has the row of an accepted execution written; drops it where too many wait.
    pub(crate) fn write(&self, dispatch: Dispatch) {
        let bytes = size(&dispatch);
        let held = self.counters.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        if held.saturating_add(bytes) > self.max_bytes
            || self.sender.try_send(Entry::Row(dispatch, Instant::now())).is_err()
        {
            self.counters.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.counters.drop_rows(1);
        }
    }

    /// Waits until every row given before is written or dropped, at most for `patience`. Says whether it came to that.
    pub(crate) async fn settle(&self, patience: Duration) -> bool {
        let (done, wait) = oneshot::channel();
        let settled = async { self.sender.send(Entry::Barrier(done)).await.is_ok() && wait.await.is_ok() };
        tokio::time::timeout(patience, settled).await.unwrap_or(false)
    }

    /// How many rows were dropped since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.counters.dropped.load(Ordering::Relaxed)
    }
}

impl Counters {
    fn drop_rows(&self, rows: u64) {
        self.dropped.fetch_add(rows, Ordering::Relaxed);
    }
}

struct Task {
    store: Arc<dyn Store>,
    receiver: mpsc::Receiver<Entry>,
    counters: Arc<Counters>,
    batch: usize,
    delay: Duration,
}

impl Task {
    async fn run(mut self) {
        let mut entries = Vec::with_capacity(self.batch);
        while self.receiver.recv_many(&mut entries, self.batch).await > 0 {
            if let Some(Entry::Row(_, given)) = entries.last() {
                sleep_until(*given + self.delay).await;
            }
            self.flush(&mut entries).await;
        }
    }

    async fn flush(&self, entries: &mut Vec<Entry>) {
        let (mut rows, mut barriers) = (Vec::with_capacity(entries.len()), Vec::new());
        for entry in entries.drain(..) {
            match entry {
                Entry::Row(dispatch, _) => rows.push(dispatch),
                Entry::Barrier(done) => barriers.push(done),
            }
        }
        if !rows.is_empty() {
            let (count, bytes) = (rows.len() as u64, rows.iter().map(size).sum());
            let written = self.write(rows).await;
            self.counters.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.note(count, written);
        }
        for done in barriers {
            // Whoever waited may have given up.
            let _ = done.send(());
        }
    }

    /// Writes the rows of executions that have not ended.
    async fn write(&self, rows: Vec<Dispatch>) -> wasmill_store::Result<()> {
        let attempts: Vec<_> = rows.iter().map(|row| (row.execution, row.attempt)).collect();
        let open = self.store.unfinished(&attempts).await?;
        let open: Vec<Dispatch> =
            rows.into_iter().zip(open).filter_map(|(row, is_open)| is_open.then_some(row)).collect();
        if open.is_empty() { Ok(()) } else { self.store.enqueue(&open, Publication::Confirmed).await }
    }

    /// Counts what was not written, and logs the beginning and the end of an outage once each.
    fn note(&self, rows: u64, written: wasmill_store::Result<()>) {
        let away = written.is_err();
        let was_away = self.counters.store_is_away.swap(away, Ordering::Relaxed);
        match written {
            Ok(()) if was_away => {
                tracing::info!(dropped = self.counters.dropped.load(Ordering::Relaxed), "the store takes rows again");
            }
            Ok(()) => {}
            Err(error) => {
                self.counters.drop_rows(rows);
                if !was_away {
                    tracing::warn!(%error, "the store takes no rows; executions show up once a host runs them");
                }
            }
        }
    }
}

/// About what a row holds in memory beyond itself. Executions of one event share it, so this is an upper bound.
fn size(dispatch: &Dispatch) -> usize {
    dispatch.event.data.as_ref().map_or(0, bytes::Bytes::len)
}
