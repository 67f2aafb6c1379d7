//! `files`: the files of its folder that a function may read.
//!
//! A manifest file has patterns (`data/**`); what is deployed has the files that they stand for,
//! each by its digest.

use std::fmt;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;
use crate::text::as_text;

/// How many files a version may have.
pub const MOST_FILES: usize = 1024;

/// The longest path, and the longest pattern, in bytes.
const LONGEST_PATH: usize = 512;

/// The longest name in a path, in bytes, which is what file systems take.
const LONGEST_NAME: usize = 255;

/// How deep a file may be.
const DEEPEST: usize = 32;

/// How often `**` may be in a pattern.
const MOST_STARS: usize = 4;

/// An entry of `files`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum FileEntry {
    /// In a manifest file: which files.
    Pattern(FilePattern),
    /// In the API's form: one file.
    Part(FilePart),
}

/// A file of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilePart {
    /// Where the guest finds it, below `/`.
    pub path: FilePath,
    /// Its content.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// A file's path, relative and with `/` between its names, none of which is `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilePath(String);

/// Which files of a folder: a path in which `*` stands for any characters of a name, `?` for one,
/// and `**`, as a whole name, for any folders or, at the end, for all that is below. Hidden files
/// and folders must be named with their dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePattern(String);

/// A text that is no path of a file, or no pattern. It says what would be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {what}")]
pub struct FilesError {
    text: String,
    what: &'static str,
}

impl FilesError {
    fn new(text: &str, what: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), what }
    }
}

impl FilePath {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FilePath {
    type Err = FilesError;

    fn from_str(text: &str) -> Result<Self, FilesError> {
        if is_path(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(FilesError::new(
            text,
            "the path of a file: relative, at most 512 bytes, with '/' between at most 32 names, none of them '.' or '..', and no \
             control characters",
        ))
    }
}

fn is_path(text: &str) -> bool {
    let is_name = |name: &str| !matches!(name, "" | "." | "..") && name.len() <= LONGEST_NAME;
    text.len() <= LONGEST_PATH
        && !text.chars().any(char::is_control)
        && text.split('/').count() <= DEEPEST
        && text.split('/').all(is_name)
}

impl FromStr for FilePattern {
    type Err = FilesError;

    fn from_str(text: &str) -> Result<Self, FilesError> {
        let names: Vec<&str> = text.split('/').collect();
        let is_plain = |name: &&str| *name == "**" || !name.contains("**");
        let repeats = names.windows(2).any(|pair| pair == ["**", "**"]);
        let stars = names.iter().filter(|name| **name == "**").count();
        if is_path(text)
            && !text.contains(['\\', '[', ']', '{', '}'])
            && names.iter().all(is_plain)
            && !repeats
            && stars <= MOST_STARS
        {
            return Ok(Self(text.to_owned()));
        }
        Err(FilesError::new(
            text,
            "a pattern of files such as 'data/**': relative to the manifest, without '.' and '..', with '*' and '?' within a name and \
             '**' for whole names, at most four times",
        ))
    }
}

impl FilePattern {
    /// Whether it stands for the file at `path`.
    pub fn matches(&self, path: &str) -> bool {
        let (pattern, path): (Vec<&str>, Vec<&str>) =
            (self.0.split('/').collect(), path.split('/').collect());
        matches(&pattern, &path)
    }

    /// Whether a file in the folder at `path`, or further below, may be one that it stands for.
    pub fn reaches(&self, path: &str) -> bool {
        let (pattern, path): (Vec<&str>, Vec<&str>) =
            (self.0.split('/').collect(), path.split('/').collect());
        reaches(&pattern, &path)
    }
}

fn matches(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**"], [_, ..]) => path.iter().all(|name| !name.starts_with('.')),
        (["**", rest @ ..], [name, below @ ..]) => {
            matches(rest, path) || (!name.starts_with('.') && matches(pattern, below))
        }
        ([first, rest @ ..], [name, below @ ..]) => is_like(first, name) && matches(rest, below),
        _ => false,
    }
}

fn reaches(pattern: &[&str], folder: &[&str]) -> bool {
    match (pattern, folder) {
        ([_, ..], []) => true,
        (["**", rest @ ..], [name, below @ ..]) => {
            reaches(rest, folder) || (!name.starts_with('.') && reaches(pattern, below))
        }
        ([first, rest @ ..], [name, below @ ..]) => is_like(first, name) && reaches(rest, below),
        ([], _) => false,
    }
}

/// Whether a name is like a pattern with `*` and `?`.
fn is_like(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut of) = (0, 0);
    // The last star, and what of the name it stands for so far.
    let mut star: Option<(usize, usize)> = None;
    while of < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, of));
                at += 1;
            }
            Some(c) if *c == '?' || *c == name[of] => (at, of) = (at + 1, of + 1),
            _ => match star {
                Some((begin, taken)) => {
                    star = Some((begin, taken + 1));
                    (at, of) = (begin + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

as_text!(FilePath);
as_text!(FilePattern);

impl<'de> Deserialize<'de> for FileEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entry;

        impl<'de> Visitor<'de> for Entry {
            type Value = FileEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a pattern of files, or a file's path, digest and size")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<FileEntry, E> {
                text.parse().map(FileEntry::Pattern).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FileEntry, A::Error> {
                FilePart::deserialize(MapAccessDeserializer::new(map)).map(FileEntry::Part)
            }
        }

        deserializer.deserialize_any(Entry)
    }
}

#[cfg(test)]
mod tests;
