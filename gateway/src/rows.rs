//! Writes the rows of accepted executions behind the answer, in batches.
//!
//! The broker has the events already, so nothing is lost where a row cannot be written: whoever runs the execution
//! makes the row then. These writes only make executions visible while they wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
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
    Row(Dispatch),
    /// Answered when everything before it is written or dropped.
    Barrier(oneshot::Sender<()>),
}

impl RowWriter {
    /// Starts the task that writes.
    pub(crate) fn start(store: Arc<dyn Store>, settings: &GatewaySettings) -> Self {
        let (sender, receiver) = mpsc::channel(settings.row_buffer.max(1));
        let counters = Arc::new(Counters::default());
        let (batch, linger) = (settings.row_batch.max(1), settings.row_linger);
        tokio::spawn(Task { store, receiver, counters: Arc::clone(&counters), batch, linger }.run());
        Self { sender, counters, max_bytes: settings.row_buffer_bytes }
    }

    /// Has the row of an accepted execution written; drops it where too many wait.
    pub(crate) fn write(&self, dispatch: Dispatch) {
        let bytes = size(&dispatch);
        let held = self.counters.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        if held.saturating_add(bytes) > self.max_bytes || self.sender.try_send(Entry::Row(dispatch)).is_err() {
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
    linger: Duration,
}

impl Task {
    async fn run(mut self) {
        let mut entries = Vec::with_capacity(self.batch);
        while self.receiver.recv_many(&mut entries, self.batch).await > 0 {
            let deadline = Instant::now() + self.linger;
            while entries.len() < self.batch && !entries.iter().any(|entry| matches!(entry, Entry::Barrier(_))) {
                let room = self.batch - entries.len();
                match timeout_at(deadline, self.receiver.recv_many(&mut entries, room)).await {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => break,
                }
            }
            self.flush(&mut entries).await;
        }
    }

    async fn flush(&self, entries: &mut Vec<Entry>) {
        let (mut rows, mut barriers) = (Vec::with_capacity(entries.len()), Vec::new());
        for entry in entries.drain(..) {
            match entry {
                Entry::Row(dispatch) => rows.push(dispatch),
                Entry::Barrier(done) => barriers.push(done),
            }
        }
        if !rows.is_empty() {
            let written = self.store.enqueue(&rows, Publication::Confirmed).await;
            self.counters.held_bytes.fetch_sub(rows.iter().map(size).sum(), Ordering::Relaxed);
            self.note(rows.len() as u64, written);
        }
        for done in barriers {
            // Whoever waited may have given up.
            let _ = done.send(());
        }
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
