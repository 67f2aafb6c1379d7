//! The bytes of artifacts: files of a folder beside the database, named by their digests, so that
//! results need not wait while one is written. The rows in the database say which there are.
//!
//! A file is there before the row that says so, and goes after it. Both are looked at within a
//! transaction, so the database's lock orders those who add and those who delete, in this process
//! and in others.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use wasmill_background::Background;
use wasmill_domain::Digest;

use super::settings::{SqliteSettings, Synchronous};
use crate::convert;
use crate::port::{Result, StoreError};

/// How old a file must be that no row names before it is taken for what a crash has left.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// What the names of files end with that are being written.
const TEMPORARY: &str = ".tmp";

/// Waits until the disk has a file's bytes, or the names in a folder.
type SyncPath = Arc<dyn Fn(&Path) -> io::Result<()> + Send + Sync>;

/// The folder.
#[derive(Clone)]
pub(super) struct Blobs {
    folder: PathBuf,
    /// Nothing where nobody waits for the disk.
    sync: Option<SyncPath>,
    /// Whether the disk is known to have the folder's own name.
    is_named: Arc<AtomicBool>,
    /// Threads that read and write files as long as users make them.
    background: Arc<Background>,
}

/// That an artifact's bytes are not where its row says.
#[derive(Debug, thiserror::Error)]
#[error(
    "the file of artifact {digest} is {what}: '{}'; another upload mends it: `wasmill deploy` of a function that has this component",
    path.display()
)]
pub(super) struct Lost {
    digest: Digest,
    /// "missing", or what else it is.
    what: &'static str,
    path: PathBuf,
}

impl Blobs {
    /// That of the database at `path`. It is made when there is something to put into it.
    pub(super) fn beside(path: &Path, settings: &SqliteSettings) -> Self {
        let mut folder = path.as_os_str().to_owned();
        folder.push("-artifacts");
        let sync: SyncPath = Arc::new(|path| File::open(path)?.sync_all());
        let sync = (settings.synchronous == Synchronous::Full).then_some(sync);
        Self {
            folder: folder.into(),
            sync,
            is_named: Arc::default(),
            background: Arc::new(Background::new("artifacts")),
        }
    }

    /// Writes an artifact's file, unless it is there with these very bytes.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] where the digest is not that of the bytes.
    pub(super) async fn write(&self, digest: Digest, bytes: Bytes) -> Result<()> {
        let this = self.clone();
        let written = self.background.run(move || {
            convert::check_digest(digest, &bytes)?;
            this.write_now(digest, &bytes)
                .map_err(|error| this.unavailable("written", digest, &error))
        });
        written.await.map_err(|e| {
            StoreError::Unavailable(format!("the writing of an artifact failed: {e}"))
        })?
    }

    fn write_now(&self, digest: Digest, bytes: &[u8]) -> io::Result<()> {
        static TEMPORARIES: AtomicU64 = AtomicU64::new(0);
        let path = self.path(digest);
        self.make_folder()?;
        if holds(&path, bytes) {
            // Whoever wrote it may have ended before the disk had it.
            self.sync(&path)?;
            return self.sync(&self.folder);
        }
        let unique = TEMPORARIES.fetch_add(1, Ordering::Relaxed);
        let temporary = self.folder.join(format!("{}-{unique}{TEMPORARY}", std::process::id()));
        let result = self.write_as(&temporary, bytes).and_then(|()| fs::rename(&temporary, &path));
        if result.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        result?;
        // A file's name is its folder's to keep.
        self.sync(&self.folder)
    }

    /// Makes the folder where there is none. Its own name is its parent's to keep.
    fn make_folder(&self) -> io::Result<()> {
        if self.is_named.load(Ordering::Acquire) && self.folder.is_dir() {
            return Ok(());
        }
        DirBuilder::new().mode(0o700).recursive(true).create(&self.folder)?;
        let parent = self.folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        self.sync(parent.unwrap_or(Path::new(".")))?;
        self.is_named.store(true, Ordering::Release);
        Ok(())
    }

    fn write_as(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        self.sync(path)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.sync.as_ref().map_or(Ok(()), |sync| sync(path))
    }

    /// Whether an artifact's file is there.
    pub(super) fn has(&self, digest: Digest) -> bool {
        self.path(digest).exists()
    }

    /// The bytes of an artifact that a row says is there; they are those of its digest.
    pub(super) async fn read(&self, digest: Digest) -> Result<Result<Bytes, Lost>> {
        let this = self.clone();
        let read = self.background.run(move || this.read_now(digest)).await;
        read.map_err(|e| {
            StoreError::Unavailable(format!("the reading of an artifact failed: {e}"))
        })?
    }

    fn read_now(&self, digest: Digest) -> Result<Result<Bytes, Lost>> {
        let path = self.path(digest);
        let what = match fs::read(&path) {
            Ok(bytes) if Digest::of(&bytes) == digest => return Ok(Ok(bytes.into())),
            Ok(_) => "damaged",
            Err(error) if error.kind() == io::ErrorKind::NotFound => "missing",
            Err(error) => return Err(self.unavailable("read", digest, &error)),
        };
        Ok(Err(Lost { digest, what, path }))
    }

    /// Deletes an artifact's file, which no row names.
    pub(super) fn delete(&self, digest: Digest) {
        if let Err(error) = fs::remove_file(self.path(digest))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, %digest, "the file of an artifact that is not needed cannot be deleted");
        }
    }

    /// Artifacts whose files were written a while ago. Deletes what writers left behind that did
    /// not come to their end.
    pub(super) fn settled(&self) -> Vec<Digest> {
        // There need not be a folder.
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let settled = files
            .filter(|file| file.metadata().and_then(|file| file.modified()).is_ok_and(is_settled));
        let digests = settled.filter_map(|file| {
            let name = file.file_name();
            let name = name.to_str()?;
            if name.ends_with(TEMPORARY) {
                let _ = fs::remove_file(file.path());
            }
            format!("sha256:{name}").parse().ok()
        });
        digests.collect()
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.to_hex())
    }

    fn unavailable(&self, what: &str, digest: Digest, error: &io::Error) -> StoreError {
        let path = self.path(digest);
        StoreError::Unavailable(format!(
            "the artifact {digest} cannot be {what}: '{}': {error}",
            path.display()
        ))
    }
}

/// Whether a file has these very bytes. One that is deleted meanwhile has not.
fn holds(path: &Path, bytes: &[u8]) -> bool {
    let Ok(mut file) = File::open(path) else { return false };
    let is_as_long = file.metadata().is_ok_and(|there| there.len() == bytes.len() as u64);
    let mut there = Vec::new();
    is_as_long && file.read_to_end(&mut there).is_ok() && there == bytes
}

/// A clock that was set back makes no file old.
fn is_settled(modified: SystemTime) -> bool {
    modified.elapsed().is_ok_and(|age| age > LEFT_BEHIND)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Those of a database called `db` in a folder, and the names of what the disk was waited for,
    /// in order.
    fn watched(folder: &Path) -> (Blobs, Arc<Mutex<Vec<PathBuf>>>) {
        let synced: Arc<Mutex<Vec<PathBuf>>> = Arc::default();
        let seen = Arc::clone(&synced);
        let sync: SyncPath = Arc::new(move |path| {
            seen.lock().unwrap().push(path.to_owned());
            File::open(path)?.sync_all()
        });
        let blobs = Blobs::beside(&folder.join("db"), &SqliteSettings::default());
        (Blobs { sync: Some(sync), ..blobs }, synced)
    }

    fn names(synced: &Mutex<Vec<PathBuf>>) -> Vec<PathBuf> {
        std::mem::take(&mut *synced.lock().unwrap())
    }

    #[test]
    fn the_disk_has_a_file_and_every_name_on_the_way_to_it() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("db-artifacts");
        let digest = Digest::of(b"wasm");
        let file = folder.join(digest.to_hex());
        let (blobs, synced) = watched(parent.path());
        blobs.write_now(digest, b"wasm").unwrap();
        let first = names(&synced);
        assert_eq!(
            (&first[0], &first[2], first.len()),
            (&parent.path().to_owned(), &folder, 3),
            "{first:?}"
        );
        assert!(first[1].to_string_lossy().ends_with(TEMPORARY), "{first:?}");
        // It may be there of a process that ended before the disk had it.
        blobs.write_now(digest, b"wasm").unwrap();
        assert_eq!(names(&synced), [file.clone(), folder.clone()]);
        let (again, synced) = watched(parent.path());
        again.write_now(digest, b"wasm").unwrap();
        assert_eq!(names(&synced), [parent.path().to_owned(), file, folder.clone()]);
        fs::remove_dir_all(&folder).unwrap();
        again.write_now(digest, b"wasm").unwrap();
        assert_eq!(names(&synced)[0], parent.path());
        let unsynced =
            SqliteSettings { synchronous: Synchronous::Normal, ..SqliteSettings::default() };
        assert!(Blobs::beside(parent.path(), &unsynced).sync.is_none());
    }

    #[test]
    fn a_file_that_is_deleted_meanwhile_is_written() {
        let parent = tempfile::tempdir().unwrap();
        let settings =
            SqliteSettings { synchronous: Synchronous::Normal, ..SqliteSettings::default() };
        let blobs = Blobs::beside(&parent.path().join("db"), &settings);
        let bytes = vec![7; 4096];
        let digest = Digest::of(&bytes);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    blobs.delete(digest);
                }
            });
            let written = (0..20_000).try_for_each(|_| blobs.write_now(digest, &bytes));
            done.store(true, Ordering::Relaxed);
            written.unwrap();
        });
    }
}
