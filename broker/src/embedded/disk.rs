//! The operations of a file system that the log uses, so that tests can make each of them fail.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// A file system.
pub(super) trait Disk: Send {
    /// Creates a file that only its owner can read, in place of one that is there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;
    /// Opens a file for writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;
    /// Gives a file another name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Deletes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes sure that the names in a directory survive a power failure.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// A file of the log.
pub(super) trait LogFile: Send {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes sure that what was written survives a power failure.
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file off, or makes it longer.
    fn set_len(&self, length: u64) -> io::Result<()>;
}

/// The operating system's.
#[derive(Debug)]
pub(super) struct FileSystem;

impl Disk for FileSystem {
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        // Whatever the umask says: it has events.
        Ok(Box::new(
            File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?,
        ))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(File::options().write(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

impl LogFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self, bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}
