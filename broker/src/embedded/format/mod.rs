//! The bytes of the log. The layout of segments and batches is in the documentation of
//! [`embedded`](super).
//!
//! # Versions
//! A segment's header has the version of everything behind it. This release writes
//! [`segment::WRITTEN`] and reads [`segment::READ`]. A segment of a newer version is an error that
//! says so (`OpenError::Version`), and nothing is changed then.
//!
//! Each version has its own types, in a module of its own (`v1`): they are made of integers, texts
//! and bytes only, so that no change elsewhere can change what is written. [`record::Record`] is
//! what the broker works with; a version's module turns one into the other. `golden/` has bytes of
//! every version, which tests decode and encode.
//!
//! ## Adding a field
//! Needs no new version: it is an **extra**, a record that adds to the record before it
//! (`RecordV1::Extra`, a tag and a body). A reader skips tags that it does not know, unless the bit
//! [`record::MUST_UNDERSTAND`] is set: then the log is refused (`OpenError::Extra`). When a release
//! that does not know a tag compacts the log, the extra is dropped with the old segment; one that
//! must survive that has to have the bit.
//!
//! ## Adding a version
//! 1. Copy the newest version's module, change the copy, and have [`reader::Reader`] and
//!    [`batch::Batch`] use it. The first 16 bytes of a segment, up to its checksum, stay as they
//!    are: they are what tells an older release that it cannot read the rest.
//! 2. `READ` is the version before and the new one. `WRITTEN` stays for a release, so that the
//!    release before can open the log again, and is raised in the next one.
//! 3. A segment has one version: where the last one is older than `WRITTEN`, `Log::resume` begins a
//!    new segment before anything is appended.
//! 4. Add golden bytes of the new version, and never change those that are there.

pub(super) mod batch;
pub(super) mod reader;
pub(super) mod record;
pub(super) mod segment;
#[cfg(test)]
mod tests;
mod v1;
