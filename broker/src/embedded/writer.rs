//! The thread that writes the log: it takes the pending work, writes it as one batch, syncs it
//! where somebody waits for that, and notifies those who wait.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::format::batch::{Batch, write_record};
use super::format::record::Record;
use super::inbox::InboxDeliveries;
use super::log::Log;
use super::message::{Publish, Relocation, Waiter};
use super::settings::EmbeddedSettings;
use super::shared::SharedState;
use super::state::Work;
use crate::port::{BrokerError, Result, Tag};

/// So many bytes of unsynced notes are synced even where no message is to be.
const NOTES_UNSYNCED: usize = 1 << 20;
/// While nothing can be written, so many bytes of notes are kept; then records of deliveries are
/// left out.
const NOTES_UNWRITTEN: usize = 8 << 20;

/// Records about messages that nobody waits for to be synced. They are kept until they are, as a
/// failed sync may lose what was written before it.
#[derive(Default)]
struct Notes {
    bytes: Vec<u8>,
    /// So many of the bytes are in the log.
    written: usize,
    /// When the first of them was written.
    since: Option<Instant>,
}

impl Notes {
    fn note(&mut self, record: &Record) {
        write_record(&mut self.bytes, record);
    }

    fn unwritten(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    fn set_written(&mut self) {
        self.written = self.bytes.len();
        if self.written > 0 && self.since.is_none() {
            self.since = Some(Instant::now());
        }
    }

    fn set_synced(&mut self) {
        self.bytes.drain(..self.written);
        self.bytes.shrink_to(NOTES_UNSYNCED);
        self.written = 0;
        self.since = None;
    }
}

/// The oldest segment, while what is alive in it is moved to the log's end.
struct Compaction {
    segment: u64,
    candidates: Vec<(u64, u64)>,
}

/// The writer's own part of the broker.
pub(super) struct Writer {
    shared: Arc<SharedState>,
    settings: EmbeddedSettings,
    log: Log,
    batch: Batch,
    notes: Notes,
    compaction: Option<Compaction>,
    failing: bool,
    /// A segment of no more use could not be deleted just now.
    undeletable: bool,
    /// Held for as long as the log may be written to.
    _lock: File,
}

/// Tells everybody that the writer has ended, also where it has panicked.
struct Ending(Arc<SharedState>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Writer {
    pub(super) fn new(
        shared: Arc<SharedState>,
        settings: EmbeddedSettings,
        log: Log,
        lock: File,
    ) -> Self {
        Self {
            shared,
            settings,
            log,
            batch: Batch::new(),
            notes: Notes::default(),
            compaction: None,
            failing: false,
            undeletable: false,
            _lock: lock,
        }
    }

    /// The thread's main function.
    pub(super) fn run(mut self) {
        // Dropped after the lock file, which is part of `self`: whoever waits for the end may open
        // the directory again.
        let ending = Ending(Arc::clone(&self.shared));
        while let Some(work) = self.next_work() {
            self.cycle(work);
        }
        self.finish();
        drop(self);
        drop(ending);
    }

    /// Waits for work; `None` once the broker is closed and everything is done.
    fn next_work(&mut self) -> Option<Work> {
        self.sleep();
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        if state.closing && !state.has_work() {
            return None;
        }
        let mut work = state.take_work();
        if self.compaction.is_none() && self.wants_compaction(state.alive().bytes()) {
            let segment = self.log.sealed().front()?.number;
            self.compaction = Some(Compaction { segment, candidates: state.alive_in(segment) });
        }
        if let Some(compaction) = &mut self.compaction {
            work.moves = state.take_moves(compaction.segment, &mut compaction.candidates);
            if compaction.candidates.is_empty() {
                self.compaction = None;
            }
        }
        Some(work)
    }

    /// Whether so much of the log is dead that what is alive in its oldest segment should be moved
    /// to its end.
    fn wants_compaction(&self, alive: u64) -> bool {
        let may = !self.failing && !self.undeletable && !self.log.sealed().is_empty();
        may && self.log.length() > 2 * alive + 3 * self.log.segment_bytes()
    }

    /// Sleeps while there is nothing to do.
    fn sleep(&mut self) {
        if self.compaction.is_some() || self.wants_compaction(self.shared.lock().alive().bytes()) {
            return;
        }
        if self.log.has_unannounced_sync() && !self.failing && !self.shared.lock().has_work() {
            self.batch.clear();
            if let Err(error) = self.log.append(&mut self.batch) {
                self.fail(&error);
            }
        }
        let at_most = if self.failing || self.undeletable {
            Some(self.settings.retry_after)
        } else {
            self.notes.since.map(|since| self.settings.sync_after.saturating_sub(since.elapsed()))
        };
        self.shared.sleep(at_most);
        self.undeletable = false;
    }

    fn cycle(&mut self, work: Work) {
        let Work { publishes, moves, acked, delivered, changes, deliveries, on_written, on_synced } =
            work;
        for change in &changes {
            self.notes.note(change);
        }
        if !delivered.is_empty() && self.notes.bytes.len() < NOTES_UNWRITTEN {
            self.notes.note(&Record::Delivered(delivered));
        }
        if !acked.is_empty() {
            self.notes.note(&Record::Acked(acked));
        }
        let written = self.write(&publishes, &moves);
        // They are made even where the log could not be written: only their counts may be lost.
        self.deliver(deliveries);
        answer(on_written, &written);
        let is_awaited = !publishes.is_empty() || !moves.is_empty() || !on_synced.is_empty();
        let synced = written
            .and_then(|()| if is_awaited || self.sync_is_due() { self.sync() } else { Ok(()) });
        answer(on_synced, &synced);
        self.conclude(publishes, &moves, &synced);
        self.delete_dead_segments();
    }

    fn sync_is_due(&self) -> bool {
        let old = self.notes.since.is_some_and(|since| since.elapsed() >= self.settings.sync_after);
        // While writing fails, a sync shows whether it works again.
        old || self.notes.bytes.len() > NOTES_UNSYNCED || self.failing
    }

    /// Writes one batch of everything that is new, if anything is.
    fn write(&mut self, publishes: &[Publish], moves: &[Relocation]) -> Result<()> {
        self.batch.clear();
        self.batch.add_encoded(self.notes.unwritten());
        for Relocation { record, deliveries } in moves {
            self.batch.add_message(record, *deliveries);
        }
        for publish in publishes {
            self.batch.add_message(&publish.record, 0);
        }
        if self.batch.is_empty() && !self.failing {
            return Ok(());
        }
        if self.log.is_full_for(self.batch.length()) {
            self.roll()?;
        }
        self.log.append(&mut self.batch).map_err(|error| self.fail(&error))?;
        self.notes.set_written();
        Ok(())
    }

    fn roll(&mut self) -> Result<()> {
        self.sync()?;
        let mut table = Batch::new();
        table.add(&self.shared.lock().table());
        self.log.roll(&mut table).map_err(|error| self.fail(&error))
    }

    fn sync(&mut self) -> Result<()> {
        self.log.sync().map_err(|error| self.fail(&error))?;
        self.notes.set_synced();
        Ok(())
    }

    /// Writing has failed: remembers why, and what is to be written again.
    fn fail(&mut self, error: &io::Error) -> BrokerError {
        if self.log.is_synced() {
            // Whatever was written and not synced has been cut off.
            self.notes.written = 0;
            self.notes.since = None;
        }
        let why = format!("the queue's log cannot be written: {error}");
        if !self.failing {
            tracing::error!("{why}; publishing is refused until it can");
        }
        self.failing = true;
        self.compaction = None;
        self.shared.lock().failing = Some(why.clone());
        BrokerError::Unavailable(why)
    }

    fn deliver(&self, all: Vec<InboxDeliveries>) {
        for InboxDeliveries { id, inbox, deliveries } in all {
            if let Err(unseen) = inbox.put(deliveries) {
                let tags: Vec<Tag> = unseen.iter().map(|delivery| delivery.tag).collect();
                self.shared.lock().release(id, &tags);
            }
        }
    }

    /// Brings the state up to date with the log and answers the publishers.
    fn conclude(&mut self, publishes: Vec<Publish>, moves: &[Relocation], synced: &Result<()>) {
        if publishes.is_empty() && moves.is_empty() && !self.failing {
            return;
        }
        let mut state = self.shared.lock();
        match synced {
            Ok(()) => {
                let segment = self.log.active();
                state.moved(moves, segment);
                state.commit(&publishes, segment);
                if self.failing {
                    self.failing = false;
                    state.failing = None;
                    tracing::info!("the queue's log can be written again");
                }
            }
            Err(_) => state.abandon(&publishes),
        }
        drop(state);
        for publish in publishes {
            // Where nobody waits for the answer any more, the message is published all the same.
            let _ = publish.done.send(synced.clone());
        }
    }

    fn delete_dead_segments(&mut self) {
        while let Some(oldest) = self.log.sealed().front().copied() {
            if self.keeps_segment(oldest.number) {
                break;
            }
        }
    }

    /// Deletes the oldest segment if nothing in it is alive; whether it is still there.
    fn keeps_segment(&mut self, oldest: u64) -> bool {
        if !self.shared.lock().alive().is_dead(oldest) {
            return true;
        }
        if let Err(error) = self.log.delete_oldest() {
            self.undeletable = true;
            tracing::warn!(
                "segment {oldest} of the queue's log, of no more use, cannot be deleted yet: {error}"
            );
            return true;
        }
        self.shared.lock().alive().remove_oldest();
        false
    }

    /// Writes and syncs what is left when the broker is closed.
    fn finish(&mut self) {
        let finished = self.write(&[], &[]).and_then(|()| self.sync());
        if finished.is_ok() && self.log.has_unannounced_sync() {
            self.batch.clear();
            let _ = self.log.append(&mut self.batch);
        }
        if !self.notes.bytes.is_empty() {
            tracing::error!(
                "acknowledgements could not be written: messages that are done will be delivered again"
            );
        }
    }
}

fn answer(waiters: Vec<Waiter>, result: &Result<()>) {
    for waiter in waiters {
        let _ = waiter.send(result.clone());
    }
}
