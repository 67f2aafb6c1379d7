//! The bytes of artifacts: files of a folder beside the database, named by their digests, so that results need not wait
//! while one is written. The rows in the database say which there are.
//!
//! A file is there before the row that says so, and goes after it. Both are looked at within a transaction, so the database's
//! lock orders those who add and those who delete, in this process and in others.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use wasmill_domain::Digest;

use super::{SqliteSettings, Synchronous};
use crate::convert;
use crate::port::{Error, Result};

/// How old a file must be that no row names before it is taken for what a crash has left.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// What the names of files end with that are being written.
const TEMPORARY: &str = ".tmp";

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Blobs {
    folder: PathBuf,
    synced: bool,
}

impl Blobs {
    /// That of the database at `path`. It is made when there is something to put into it.
    pub(super) fn beside(path: &Path, settings: &SqliteSettings) -> Self {
        let mut folder = path.as_os_str().to_owned();
        folder.push("-artifacts");
        Self { folder: folder.into(), synced: settings.synchronous == Synchronous::Full }
    }

    /// Writes an artifact's file, unless it is there with these very bytes.
    ///
    /// # Errors
    /// [`Error::Rejected`] where the digest is not that of the bytes.
    pub(super) async fn write(&self, digest: Digest, bytes: Bytes) -> Result<()> {
        let this = self.clone();
        let written = tokio::task::spawn_blocking(move || {
            convert::check_digest(digest, &bytes)?;
            this.write_now(digest, &bytes).map_err(|error| this.unavailable("written", digest, &error))
        });
        written.await.map_err(|e| Error::Unavailable(format!("the writing of an artifact broke down: {e}")))?
    }

    fn write_now(&self, digest: Digest, bytes: &[u8]) -> io::Result<()> {
        static TEMPORARIES: AtomicU64 = AtomicU64::new(0);
        let path = self.path(digest);
        if fs::metadata(&path).is_ok_and(|there| there.len() == bytes.len() as u64) && fs::read(&path)? == bytes {
            return Ok(());
        }
        DirBuilder::new().mode(0o700).recursive(true).create(&self.folder)?;
        let unique = TEMPORARIES.fetch_add(1, Ordering::Relaxed);
        let temporary = self.folder.join(format!("{}-{unique}{TEMPORARY}", std::process::id()));
        let result = self.write_as(&temporary, bytes).and_then(|()| fs::rename(&temporary, &path));
        if result.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        result?;
        // A file's name is its folder's to keep.
        if self.synced { File::open(&self.folder)?.sync_all() } else { Ok(()) }
    }

    fn write_as(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        if self.synced { file.sync_all() } else { Ok(()) }
    }

    /// Whether an artifact's file is there.
    pub(super) fn has(&self, digest: Digest) -> bool {
        self.path(digest).exists()
    }

    /// The bytes of an artifact that a row says is there.
    pub(super) async fn read(&self, digest: Digest) -> Result<Bytes> {
        let bytes = tokio::fs::read(self.path(digest)).await;
        bytes.map(Bytes::from).map_err(|error| self.unavailable("read", digest, &error))
    }

    /// Deletes an artifact's file, which no row names.
    pub(super) fn delete(&self, digest: Digest) {
        if let Err(error) = fs::remove_file(self.path(digest))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, %digest, "the file of an artifact that is not needed cannot be deleted");
        }
    }

    /// Artifacts whose files were written a while ago. Deletes what writers left behind that did not come to their end.
    pub(super) fn settled(&self) -> Vec<Digest> {
        // There need not be a folder.
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let settled = files.filter(|file| file.metadata().and_then(|file| file.modified()).is_ok_and(is_settled));
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

    fn unavailable(&self, what: &str, digest: Digest, error: &io::Error) -> Error {
        let path = self.path(digest);
        Error::Unavailable(format!("the artifact {digest} cannot be {what}: '{}': {error}", path.display()))
    }
}

/// A clock that was set back makes no file old.
fn is_settled(modified: SystemTime) -> bool {
    modified.elapsed().is_ok_and(|age| age > LEFT_BEHIND)
}
