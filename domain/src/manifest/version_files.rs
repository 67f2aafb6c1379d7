//! The files of a manifest: patterns in a manifest file, files in the API's form.

use super::Manifest;
use super::error::{ManifestError, out_of_bounds};
use super::files::{FileEntry, FilePart, FilePattern, MOST_FILES};
use crate::digest::Digest;

/// How many patterns a manifest file may have.
const MOST_PATTERNS: usize = 64;

impl Manifest {
    /// The files of a version. A manifest file has patterns instead, and none of these.
    pub fn file_parts(&self) -> impl Iterator<Item = &FilePart> {
        self.files.iter().filter_map(|entry| match entry {
            FileEntry::Part(part) => Some(part),
            FileEntry::Pattern(_) => None,
        })
    }

    /// The patterns of a manifest file.
    pub fn file_patterns(&self) -> impl Iterator<Item = &FilePattern> {
        self.files.iter().filter_map(|entry| match entry {
            FileEntry::Pattern(pattern) => Some(pattern),
            FileEntry::Part(_) => None,
        })
    }

    /// What stands for all files of a version together, paths and contents; `None` where there are
    /// none.
    pub fn files_digest(&self) -> Option<Digest> {
        let mut parts: Vec<&FilePart> = self.file_parts().collect();
        if parts.is_empty() {
            return None;
        }
        parts.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        // No path holds a line's end.
        let lines = parts.iter().map(|part| format!("{} {}\n", part.digest, part.path));
        Some(Digest::of(lines.collect::<String>().as_bytes()))
    }

    /// Makes sure that there are only patterns: this is a manifest file.
    pub(super) fn check_patterns(&self) -> Result<(), ManifestError> {
        if self.files.len() > MOST_PATTERNS {
            return Err(out_of_bounds("files", "a manifest has at most 64 patterns of files"));
        }
        match self.files.iter().position(|entry| matches!(entry, FileEntry::Part(_))) {
            Some(at) => {
                Err(out_of_bounds(&format!("files[{at}]"), "must be a pattern such as 'data/**'"))
            }
            None => Ok(()),
        }
    }

    /// Makes sure that there are only files, and that each has a place of its own: this is the
    /// API's form.
    pub(super) fn check_parts(&self) -> Result<(), ManifestError> {
        if self.files.len() > MOST_FILES {
            return Err(out_of_bounds("files", "a function has at most 1,024 files"));
        }
        if let Some(at) = self.files.iter().position(|entry| matches!(entry, FileEntry::Pattern(_)))
        {
            let message = "must be a file's path, digest and size: patterns are for wasmill.toml";
            return Err(out_of_bounds(&format!("files[{at}]"), message));
        }
        // With a slash after them, so that whatever is in a folder comes right after its name.
        let mut paths: Vec<String> =
            self.file_parts().map(|part| format!("{}/", part.path)).collect();
        paths.sort_unstable();
        match paths.windows(2).find(|pair| pair[1].starts_with(&pair[0])) {
            Some(pair) if pair[0] == pair[1] => Err(out_of_bounds(
                "files",
                &format!("'{}' is there twice", pair[0].trim_end_matches('/')),
            )),
            Some(pair) => {
                let [file, below] = [&pair[0], &pair[1]].map(|path| path.trim_end_matches('/'));
                Err(out_of_bounds(
                    "files",
                    &format!("'{file}' cannot be a file and the folder of '{below}'"),
                ))
            }
            None => Ok(()),
        }
    }
}
