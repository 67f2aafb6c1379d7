//! The log as it is written: appending, syncing, beginning segments, dropping them.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::disk::{Disk, LogFile};
use super::format::batch::Batch;
use super::format::segment::{Location, SEGMENT_HEADER, SegmentHeader, WRITTEN};
use super::settings::EmbeddedSettings;

/// A segment that takes no more batches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed {
    pub(super) number: u64,
    pub(super) length: u64,
}

/// The segment at the log's end.
struct Active {
    number: u64,
    file: Box<dyn LogFile>,
    /// Where the next batch goes.
    end: u64,
    /// Up to where it is on the disk, and not merely written.
    synced: u64,
    /// Up to where the file has bytes, zeros included.
    allocated: u64,
    /// Where the last batch with records ends.
    records_end: u64,
    /// The value of `synced` that the last batch has.
    announced: u64,
}

/// The log, open for writing.
pub(super) struct Log {
    dir: PathBuf,
    disk: Box<dyn Disk>,
    id: Uuid,
    /// How long a segment grows: as the settings say, or longer where the table of queues would
    /// fill it.
    segment_bytes: u64,
    /// As the settings say.
    usual_segment_bytes: u64,
    /// As many zeros as are written ahead at a time.
    zeros: Vec<u8>,
    sealed: VecDeque<Sealed>,
    active: Active,
    /// The file may hold more than `active.end`: a write failed in the middle, or a sync did.
    torn: bool,
    /// A file was created or deleted, and the directory is not synced yet.
    names_unsynced: bool,
}

/// The end of a log that was read: where it is continued.
pub(super) struct End {
    pub(super) id: Uuid,
    pub(super) sealed: VecDeque<Sealed>,
    pub(super) number: u64,
    pub(super) offset: u64,
}

/// The file of the segment called `number`.
pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.log"))
}

impl Log {
    /// Begins a log in an empty directory. `table` is the first batch.
    pub(super) fn begin(
        dir: &Path,
        disk: Box<dyn Disk>,
        settings: &EmbeddedSettings,
        table: &mut Batch,
    ) -> io::Result<Self> {
        let header =
            SegmentHeader { version: WRITTEN, log: Uuid::new_v4(), number: 1, previous_length: 0 };
        let active = begin_segment(dir, &*disk, header, table)?;
        disk.sync_dir(dir)?;
        Ok(Self::new(dir, disk, settings, header.log, VecDeque::new(), active))
    }

    /// Continues a log that was read. Whatever is behind its end is cut off.
    pub(super) fn resume(
        dir: &Path,
        disk: Box<dyn Disk>,
        settings: &EmbeddedSettings,
        end: End,
    ) -> io::Result<Self> {
        let file = disk.open(&segment_path(dir, end.number))?;
        file.set_len(end.offset)?;
        // What was read may so far have been in the page cache only.
        file.sync()?;
        disk.sync_dir(dir)?;
        let active = Active {
            number: end.number,
            file,
            end: end.offset,
            synced: end.offset,
            allocated: end.offset,
            records_end: end.offset,
            announced: 0,
        };
        Ok(Self::new(dir, disk, settings, end.id, end.sealed, active))
    }

    fn new(
        dir: &Path,
        disk: Box<dyn Disk>,
        settings: &EmbeddedSettings,
        id: Uuid,
        sealed: VecDeque<Sealed>,
        active: Active,
    ) -> Self {
        let ahead = usize::try_from(settings.preallocate_bytes).unwrap_or(0);
        Self {
            dir: dir.to_owned(),
            disk,
            id,
            segment_bytes: settings.segment_bytes,
            usual_segment_bytes: settings.segment_bytes,
            zeros: vec![0; ahead],
            sealed,
            active,
            torn: false,
            names_unsynced: false,
        }
    }

    /// The segment at the end.
    pub(super) fn active(&self) -> u64 {
        self.active.number
    }

    /// The segments before it.
    pub(super) fn sealed(&self) -> &VecDeque<Sealed> {
        &self.sealed
    }

    /// How long it is, all segments together.
    pub(super) fn length(&self) -> u64 {
        self.sealed.iter().map(|segment| segment.length).sum::<u64>() + self.active.end
    }

    /// How long a segment grows.
    pub(super) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// Whether nothing was written since the last sync.
    pub(super) fn is_synced(&self) -> bool {
        self.active.synced == self.active.end
    }

    /// Whether a batch of `length` bytes needs a new segment.
    pub(super) fn is_full_for(&self, length: u64) -> bool {
        self.active.records_end > SEGMENT_HEADER as u64
            && self.active.end + length > self.segment_bytes
    }

    /// Whether everything is synced and no batch says so yet. A further batch, even an empty one,
    /// lets readers recognise damage as such, where they would otherwise have to assume a write
    /// that was cut short.
    pub(super) fn has_unannounced_sync(&self) -> bool {
        let Active { synced, announced, records_end, .. } = self.active;
        synced >= records_end && announced < records_end
    }

    /// Writes a batch at the end. It survives a crash of the process, not a power failure.
    pub(super) fn append(&mut self, batch: &mut Batch) -> io::Result<()> {
        self.mend()?;
        let active = &mut self.active;
        let at = Location { log: self.id, segment: active.number, offset: active.end };
        if let Err(error) = active.file.write_at(batch.seal(at, active.synced), active.end) {
            self.torn = true;
            return Err(error);
        }
        active.end += batch.length();
        active.announced = active.synced;
        if !batch.is_empty() {
            active.records_end = active.end;
        }
        self.write_ahead();
        Ok(())
    }

    /// Makes what was appended survive a power failure. After an error, what was appended since the
    /// last sync is no longer part of the log, as the kernel may have dropped any of it.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let synced = self.sync_names().and_then(|()| self.active.file.sync());
        let active = &mut self.active;
        if synced.is_err() {
            active.end = active.synced;
            active.records_end = active.records_end.min(active.end);
            self.torn = true;
        }
        active.synced = active.end;
        synced
    }

    /// Begins a new segment with `table` as its first batch. The old one must be synced; after an
    /// error it is still the active one.
    pub(super) fn roll(&mut self, table: &mut Batch) -> io::Result<()> {
        self.mend()?;
        debug_assert!(self.is_synced(), "a segment is sealed unsynced");
        let (number, length) = (self.active.number, self.active.end);
        if self.active.allocated > length {
            self.active.file.set_len(length)?;
            self.active.allocated = length;
        }
        let header = SegmentHeader {
            version: WRITTEN,
            log: self.id,
            number: number + 1,
            previous_length: length,
        };
        self.active = begin_segment(&self.dir, &*self.disk, header, table)?;
        self.sealed.push_back(Sealed { number, length });
        self.segment_bytes = self.usual_segment_bytes.max(4 * table.length());
        // The segment has its name: from here on it is the active one, and `sync` makes its name
        // survive a power failure.
        self.names_unsynced = true;
        Ok(())
    }

    /// Deletes the oldest segment. Names disappear in order, also where the power fails: a gap
    /// would look like a loss.
    pub(super) fn delete_oldest(&mut self) -> io::Result<()> {
        self.sync_names()?;
        let Some(oldest) = self.sealed.front() else { return Ok(()) };
        self.disk.remove(&segment_path(&self.dir, oldest.number))?;
        self.sealed.pop_front();
        self.names_unsynced = true;
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        if self.names_unsynced {
            self.disk.sync_dir(&self.dir)?;
            self.names_unsynced = false;
        }
        Ok(())
    }

    /// Cuts off what a failed write or sync has left.
    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            self.active.file.set_len(self.active.end)?;
            self.active.allocated = self.active.end;
            self.torn = false;
        }
        Ok(())
    }

    /// Keeps the file longer than what is in it. Only a matter of speed, so an error is left to the
    /// write that needs the space.
    fn write_ahead(&mut self) {
        let Active { file, end, allocated, .. } = &mut self.active;
        if *end < *allocated {
            return;
        }
        *allocated = *end;
        let room = self.segment_bytes.saturating_sub(*end).min(self.zeros.len() as u64);
        // `room` is at most the length of `zeros`, a usize.
        let zeros = &self.zeros[..usize::try_from(room).unwrap_or(0)];
        if !zeros.is_empty() && file.write_at(zeros, *end).is_ok() {
            *allocated += room;
        }
    }
}

/// Creates a segment's file with its header and its first batch. It gets its name only when it is
/// complete and synced.
fn begin_segment(
    dir: &Path,
    disk: &dyn Disk,
    header: SegmentHeader,
    table: &mut Batch,
) -> io::Result<Active> {
    let path = segment_path(dir, header.number);
    let unfinished = path.with_extension("new");
    let file = disk.create(&unfinished)?;
    let offset = SEGMENT_HEADER as u64;
    file.write_at(&header.encode(), 0)?;
    file.write_at(
        table.seal(Location { log: header.log, segment: header.number, offset }, 0),
        offset,
    )?;
    file.sync()?;
    disk.rename(&unfinished, &path)?;
    let end = offset + table.length();
    Ok(Active {
        number: header.number,
        file,
        end,
        synced: end,
        allocated: end,
        records_end: offset,
        announced: 0,
    })
}
