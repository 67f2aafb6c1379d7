//! Disks that misbehave, each in its own way.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::embedded::disk::{Disk, FileSystem, LogFile};

/// The real file system without its syncs, which make no difference to what other processes see.
pub(super) struct Unsynced;

struct UnsyncedFile(Box<dyn LogFile>);

impl Disk for Unsynced {
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(UnsyncedFile(FileSystem.create(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(UnsyncedFile(FileSystem.open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        FileSystem.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        FileSystem.remove(path)
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl LogFile for UnsyncedFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}

/// What the disk is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Create,
    Write,
    Sync,
    SetLen,
    Rename,
    Remove,
}

type Refuses = Box<dyn Fn(Act, u64) -> bool + Send + Sync>;

/// A disk on which any act may fail: a closure is asked about each, which is given its number. A
/// write that fails has written its first half.
#[derive(Clone)]
pub(super) struct Faulty {
    refuses: Arc<Refuses>,
    acts: Arc<AtomicU64>,
}

struct FaultyFile {
    file: Box<dyn LogFile>,
    disk: Faulty,
}

impl Faulty {
    pub(super) fn new(refuses: impl Fn(Act, u64) -> bool + Send + Sync + 'static) -> Self {
        Self { refuses: Arc::new(Box::new(refuses)), acts: Arc::default() }
    }

    /// A disk on which `act` fails for as long as the switch is on.
    pub(super) fn switched(act: Act) -> (Self, Arc<AtomicBool>) {
        let switch = Arc::new(AtomicBool::new(false));
        let on = Arc::clone(&switch);
        (Self::new(move |what, _| what == act && on.load(Ordering::SeqCst)), switch)
    }

    /// How many acts there were.
    pub(super) fn acts(&self) -> u64 {
        self.acts.load(Ordering::SeqCst)
    }

    fn ask(&self, act: Act) -> io::Result<()> {
        let number = self.acts.fetch_add(1, Ordering::SeqCst);
        if (self.refuses)(act, number) {
            Err(io::Error::other(format!("{act:?} fails")))
        } else {
            Ok(())
        }
    }

    fn file(&self, file: Box<dyn LogFile>) -> Box<dyn LogFile> {
        Box::new(FaultyFile { file, disk: self.clone() })
    }
}

impl Disk for Faulty {
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        self.ask(Act::Create)?;
        Ok(self.file(FileSystem.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(self.file(FileSystem.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.ask(Act::Rename)?;
        FileSystem.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.ask(Act::Remove)?;
        FileSystem.remove(path)
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        self.ask(Act::Sync)
    }
}

impl LogFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let asked = self.disk.ask(Act::Write);
        let length = if asked.is_ok() { bytes.len() } else { bytes.len() / 2 };
        self.file.write_at(&bytes[..length], offset)?;
        asked
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.ask(Act::Sync)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.ask(Act::SetLen)?;
        self.file.set_len(length)
    }
}

/// A disk that can lose its power: of what was written and not synced since, any part may be lost
/// then. Names and lengths last at once.
#[derive(Clone, Default)]
pub(super) struct Powered {
    journal: Arc<Mutex<Journal>>,
}

#[derive(Default)]
struct Journal {
    /// What stood where something was written, the oldest first.
    unsynced: Vec<Overwritten>,
    syncs: u64,
    /// How many acts there were.
    acts: u64,
    /// The act at which the power fails.
    fails_at: Option<u64>,
    off: bool,
}

struct Overwritten {
    path: PathBuf,
    offset: u64,
    bytes: Vec<u8>,
}

struct PoweredFile {
    path: Mutex<PathBuf>,
    file: Box<dyn LogFile>,
    disk: Powered,
}

/// So much is written or lost as a whole.
const SECTOR: usize = 64;

impl Powered {
    /// A disk whose power fails at its act number `at`.
    pub(super) fn until(at: u64) -> Self {
        Self { journal: Arc::new(Mutex::new(Journal { fails_at: Some(at), ..Journal::default() })) }
    }

    /// Whether it still has power.
    pub(super) fn is_on(&self) -> bool {
        !self.journal.lock().unwrap().off
    }

    /// Cuts the power: for each sector that is not synced, `keeps` says whether it is on the disk.
    pub(super) fn cut(&self, mut keeps: impl FnMut() -> bool) {
        let mut journal = self.journal.lock().unwrap();
        journal.off = true;
        while let Some(Overwritten { path, offset, bytes }) = journal.unsynced.pop() {
            let file = FileSystem.open(&path).unwrap();
            for (at, sector) in bytes.chunks(SECTOR).enumerate() {
                if !keeps() {
                    file.write_at(sector, offset + (at * SECTOR) as u64).unwrap();
                }
            }
        }
    }

    /// How often a file was synced.
    pub(super) fn syncs(&self) -> u64 {
        self.journal.lock().unwrap().syncs
    }

    fn journal(&self) -> io::Result<std::sync::MutexGuard<'_, Journal>> {
        let mut journal = self.journal.lock().unwrap();
        journal.off |= journal.fails_at == Some(journal.acts);
        journal.acts += 1;
        if journal.off { Err(io::Error::other("the power is off")) } else { Ok(journal) }
    }

    fn file(&self, path: &Path, file: Box<dyn LogFile>) -> Box<dyn LogFile> {
        Box::new(PoweredFile { path: Mutex::new(path.to_owned()), file, disk: self.clone() })
    }
}

impl Disk for Powered {
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let _on = self.journal()?;
        Ok(self.file(path, FileSystem.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(self.file(path, FileSystem.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut journal = self.journal()?;
        FileSystem.rename(from, to)?;
        for overwritten in
            journal.unsynced.iter_mut().filter(|overwritten| overwritten.path == from)
        {
            to.clone_into(&mut overwritten.path);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut journal = self.journal()?;
        journal.unsynced.retain(|overwritten| overwritten.path != path);
        FileSystem.remove(path)
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        self.journal().map(drop)
    }
}

impl PoweredFile {
    /// A file is made under another name than it has afterwards.
    fn path(&self) -> PathBuf {
        let mut path = self.path.lock().unwrap();
        if !path.exists() {
            path.set_extension("log");
        }
        path.clone()
    }
}

impl LogFile for PoweredFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut journal = self.disk.journal()?;
        let path = self.path();
        let before = std::fs::read(&path)?;
        let start = usize::try_from(offset).unwrap().min(before.len());
        let end = (start + bytes.len()).min(before.len());
        let mut overwritten = before[start..end].to_vec();
        overwritten.resize(bytes.len(), 0);
        journal.unsynced.push(Overwritten { path, offset, bytes: overwritten });
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        let mut journal = self.disk.journal()?;
        let path = self.path();
        journal.unsynced.retain(|overwritten| overwritten.path != path);
        journal.syncs += 1;
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let _on = self.disk.journal()?;
        self.file.set_len(length)
    }
}
