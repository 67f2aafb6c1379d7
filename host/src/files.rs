//! The files of versions, as folders that guests see: written when a version needs them first, each
//! file checked by its digest, and deleted when others need the room or the process ends.

mod root;

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use wasmill_component::{FileSource, PreflightError};
use wasmill_domain::manifest::files::FilePart;
use wasmill_domain::units::ByteSize;
use wasmill_domain::{Digest, Manifest};

use self::root::Root;
use crate::under_way::{DigestLock, UnderWay};

/// What a file takes besides its content, about: its place in the file system.
const FILE: u64 = 4096;

/// The files of a version, in a folder of their own. They are there for as long as anybody holds
/// this.
pub struct Files {
    folder: PathBuf,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Files").field(&self.folder).finish()
    }
}

impl Files {
    /// What guests see as `/`.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// The folders of all versions that have files.
pub(crate) struct Folders {
    /// Where they are kept; nowhere in particular where there is no such place.
    base: Option<PathBuf>,
    most_bytes: u64,
    kept: Mutex<Kept>,
    /// Who makes a folder holds its lock, so that it is made once.
    under_way: UnderWay,
}

#[derive(Default)]
struct Kept {
    /// Made when it is needed first.
    root: Option<Arc<Root>>,
    folders: HashMap<Digest, Folder>,
    /// How much is there and promised, in bytes.
    bytes: u64,
    /// Counts uses.
    uses: u64,
    /// Counts folders that were begun.
    begun: u64,
}

/// A folder that is whole.
struct Folder {
    files: Weak<Files>,
    bytes: u64,
    used: u64,
}

impl Folders {
    /// Keeps them below `base`, or where the system keeps what is temporary, `most_bytes` of them.
    pub(crate) fn new(base: Option<PathBuf>, most_bytes: u64) -> Self {
        Self { base, most_bytes, kept: Mutex::default(), under_way: UnderWay::default() }
    }

    /// The files of a version: those that are there, or else made of what `source` has. `None`
    /// where it has none.
    pub(crate) async fn of(
        self: &Arc<Self>,
        manifest: &Manifest,
        source: &dyn FileSource,
    ) -> Result<Option<Arc<Files>>, PreflightError> {
        let Some(digest) = manifest.files_digest() else { return Ok(None) };
        if let Some(files) = self.kept().use_folder(digest) {
            return Ok(Some(files));
        }
        let lock = self.under_way.lock(digest).await;
        if let Some(files) = self.kept().use_folder(digest) {
            return Ok(Some(files));
        }
        self.make(digest, lock, manifest, source).await.map(Some)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // After a panic the map is still a map.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn make(
        self: &Arc<Self>,
        digest: Digest,
        lock: DigestLock,
        manifest: &Manifest,
        source: &dyn FileSource,
    ) -> Result<Arc<Files>, PreflightError> {
        let parts: Vec<&FilePart> = manifest.file_parts().collect();
        let bytes =
            parts.iter().map(|part| part.size.saturating_add(FILE)).fold(0, u64::saturating_add);
        let reserved = self.reserve(bytes)?;
        let this = Arc::clone(self);
        // Each step has the folder, its room and the lock: what is being written is not deleted,
        // and nobody else makes it or has its room, where nobody waits for it any more.
        let mut making =
            blocking(move || Ok(Making { begun: this.begin()?, reserved, _lock: lock })).await?;
        for part in parts {
            let content = source.file(part.digest).await?;
            let part = part.clone();
            making = blocking(move || {
                write(&making.begun.path, &part, &content)?;
                Ok(making)
            })
            .await?;
        }
        let this = Arc::clone(self);
        blocking(move || this.finish(digest, making)).await
    }

    /// Promises room for a folder, and deletes those that nobody has used for longest where there
    /// is too little.
    fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reserved, PreflightError> {
        let most = ByteSize(self.most_bytes);
        if bytes > self.most_bytes {
            let message = format!(
                "take {}, and a host keeps {most} of all functions' files",
                ByteSize(bytes)
            );
            return Err(PreflightError::Manifest { key: "files".into(), message });
        }
        let mut kept = self.kept();
        while kept.bytes.saturating_add(bytes) > self.most_bytes {
            let unused = kept.folders.iter().filter(|(_, folder)| folder.files.strong_count() == 0);
            let Some((&digest, _)) = unused.min_by_key(|(_, folder)| folder.used) else {
                return Err(PreflightError::Unavailable(format!(
                    "the files of functions that run now take all of {most}"
                )));
            };
            kept.delete(digest);
        }
        kept.bytes += bytes;
        Ok(Reserved { folders: Arc::clone(self), bytes })
    }

    /// Makes a folder that nobody sees yet.
    fn begin(&self) -> io::Result<Begun> {
        let mut kept = self.kept();
        let root = match &kept.root {
            Some(root) => Arc::clone(root),
            None => Arc::clone(kept.root.insert(Arc::new(Root::make(self.base.as_deref())?))),
        };
        kept.begun += 1;
        let path = root.path().join(format!("begun-{}", kept.begun));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Begun { path, root })
    }

    /// Has a folder that is whole take its place.
    fn finish(&self, digest: Digest, making: Making) -> io::Result<Arc<Files>> {
        let Making { begun, reserved, _lock } = making;
        let folder = begun.root.path().join(digest.to_hex());
        fs::rename(&begun.path, &folder)?;
        let files = Arc::new(Files { folder });
        let mut kept = self.kept();
        kept.uses += 1;
        let used = kept.uses;
        kept.folders
            .insert(digest, Folder { files: Arc::downgrade(&files), bytes: reserved.bytes, used });
        drop(kept);
        reserved.keep();
        Ok(files)
    }
}

impl Kept {
    /// The files in a folder that is there.
    fn use_folder(&mut self, digest: Digest) -> Option<Arc<Files>> {
        let path = self.root.as_ref()?.path().join(digest.to_hex());
        let folder = self.folders.get_mut(&digest)?;
        self.uses += 1;
        folder.used = self.uses;
        let files = folder.files.upgrade().unwrap_or_else(|| Arc::new(Files { folder: path }));
        folder.files = Arc::downgrade(&files);
        Some(files)
    }

    /// Deletes a folder that nobody uses.
    fn delete(&mut self, digest: Digest) {
        let Some(folder) = self.folders.remove(&digest) else { return };
        self.bytes = self.bytes.saturating_sub(folder.bytes);
        let Some(root) = &self.root else { return };
        if let Err(error) = fs::remove_dir_all(root.path().join(digest.to_hex())) {
            tracing::warn!(%error, "the files of a version that nobody runs cannot be deleted");
        }
    }
}

/// Room that is promised, given back unless it is used.
struct Reserved {
    folders: Arc<Folders>,
    bytes: u64,
}

impl Reserved {
    fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.folders.kept().bytes -= self.bytes;
    }
}

/// A folder that is being filled, deleted unless it gets another name.
struct Begun {
    path: PathBuf,
    root: Arc<Root>,
}

impl Drop for Begun {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A folder that is being filled, with what is kept for it. In this order: it is deleted before
/// others have its room.
struct Making {
    begun: Begun,
    reserved: Reserved,
    _lock: DigestLock,
}

/// Writes one file, which nobody may change afterwards.
fn write(folder: &Path, part: &FilePart, content: &Bytes) -> io::Result<()> {
    if content.len() as u64 != part.size || Digest::of(content) != part.digest {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("what is kept as '{}' is damaged", part.path),
        ));
    }
    // A path has no `..` and does not begin at the root.
    let path = folder.join(part.path.as_str());
    if let Some(above) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(above)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?.write_all(content)
}

/// Does what reads and writes files on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, PreflightError> {
    let unavailable = |why: String| {
        PreflightError::Unavailable(format!("the function's files cannot be kept: {why}"))
    };
    let done = tokio::task::spawn_blocking(work).await.map_err(|e| unavailable(e.to_string()))?;
    done.map_err(|e| unavailable(e.to_string()))
}

#[cfg(test)]
mod tests;
