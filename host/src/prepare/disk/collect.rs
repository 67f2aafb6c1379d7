//! What of the folder is of no use any more.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use wasmill_domain::Digest;

use super::{Disk, Pair};

impl Disk {
    /// The artifacts that were compiled, for this engine or another, and that nobody has used since
    /// `before`. What a process that is gone has left half written is deleted.
    pub(in crate::prepare) fn unused_since(&self, before: SystemTime) -> HashSet<Digest> {
        let mut unused = HashSet::new();
        for path in self.files() {
            match Pair::of(path.clone()) {
                Some(pair) if pair.used < before => unused.extend(pair.digest()),
                Some(_) => {}
                None => delete_leftover(&path, before),
            }
        }
        unused
    }

    /// Deletes what was compiled of these artifacts, for whichever engine, unless somebody has used
    /// it since `before`, and says how much that was.
    pub(in crate::prepare) fn delete_unused(
        &self,
        digests: &HashSet<Digest>,
        before: SystemTime,
    ) -> usize {
        let _sweeping = self.sweeping.lock();
        let pairs = self.files().into_iter().filter_map(Pair::of);
        let unused = pairs.filter(|pair| {
            pair.used < before && pair.digest().is_some_and(|digest| digests.contains(&digest))
        });
        unused.map(|pair| pair.delete()).count()
    }

    /// The files of this engine's folder and of others'.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let folders = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let files = folders.filter_map(|folder| fs::read_dir(folder.path()).ok());
        files.flatten().flatten().map(|file| file.path()).collect()
    }
}

impl Pair {
    /// The artifact that was compiled.
    fn digest(&self) -> Option<Digest> {
        format!("sha256:{}", self.compiled.file_stem()?.to_str()?).parse().ok()
    }
}

/// Deletes a file that was written last before `before`, where it is one of a process that ended
/// while it wrote it, or vouches for nothing.
fn delete_leftover(path: &Path, before: SystemTime) {
    let is_alone = match path.extension().and_then(|extension| extension.to_str()) {
        Some("tmp") => true,
        Some("sum") => !path.with_extension("cwasm").exists(),
        _ => false,
    };
    let is_old = || fs::metadata(path).and_then(|file| file.modified()).is_ok_and(|at| at < before);
    if is_alone && is_old() {
        let _ = fs::remove_file(path);
    }
}
