//! Artifacts that are files of versions: how they are kept from being pruned.
//!
//! What a version's manifest names besides its code has no column. Such an artifact is kept by the
//! time at which it was put: it is never, until the last version goes that has it among its files.
//! So an earlier release, which knows nothing of files, keeps them too.

use std::collections::BTreeMap;

use wasmill_domain::manifest::files::FilePart;
use wasmill_domain::{Digest, Manifest};

use crate::port::StoreError;

/// When an artifact was put that is a file of a version.
pub(crate) const KEPT: i64 = i64::MAX;

/// How the manifest of a version with files looks, as `LIKE` has it.
pub(crate) const HAS_FILES: &str = "%\"files\":[%";

/// The files of a version by their digests.
pub(crate) fn files_of(manifest: &Manifest) -> BTreeMap<Digest, &FilePart> {
    manifest.file_parts().map(|part| (part.digest, part)).collect()
}

/// What to say of a file whose artifact the tenant does not have.
pub(crate) fn missing(part: &FilePart) -> StoreError {
    StoreError::NotFound(format!(
        "artifact {} of {} bytes, the file '{}',",
        part.digest, part.size, part.path
    ))
}
