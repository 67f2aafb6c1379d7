//! The folder that a process keeps files of versions in: its own, and gone with it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// What the names of lock files end with.
const LOCK: &str = "lock";

/// The folder, deleted when it is dropped; what a process leaves behind that was killed, the next
/// one deletes.
pub(super) struct Root {
    path: PathBuf,
    lock: PathBuf,
    /// Locked for as long as the process lives.
    _locked: File,
}

impl Root {
    /// Makes one below `base`, or where the system keeps what is temporary.
    ///
    /// # Errors
    /// Where it cannot be made, or where others than this process's user may write to `base`.
    pub(super) fn make(base: Option<&Path>) -> io::Result<Self> {
        let base = match base {
            Some(base) => {
                DirBuilder::new().recursive(true).mode(0o700).create(base)?;
                let metadata = fs::metadata(base)?;
                if metadata.uid() != rustix::process::geteuid().as_raw()
                    || metadata.mode() & 0o022 != 0
                {
                    let message = format!("'{}' can be written to by others", base.display());
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
                }
                delete_left_behind(base);
                base.to_owned()
            }
            None => std::env::temp_dir(),
        };
        // A name that nobody can have put there before.
        let name = format!("wasmill-files-{}", Uuid::new_v4());
        let path = base.join(&name);
        let lock = base.join(format!("{name}.{LOCK}"));
        let locked = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&lock)?;
        // Who looks for what is left behind may hold it for a moment.
        locked.lock()?;
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path, lock, _locked: locked })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
        let _ = fs::remove_file(&self.lock);
    }
}

/// Deletes the folders of processes that are gone: nobody holds their locks.
fn delete_left_behind(base: &Path) {
    for file in fs::read_dir(base).into_iter().flatten().flatten() {
        let lock = file.path();
        if lock.extension().is_some_and(|extension| extension == LOCK)
            && let Ok(locked) = File::open(&lock)
            && locked.try_lock().is_ok()
        {
            let folder = lock.with_extension("");
            // A process that has not locked its file yet has no folder either.
            if folder.is_dir() {
                let _ = fs::remove_dir_all(&folder);
                let _ = fs::remove_file(&lock);
            }
        }
    }
}
