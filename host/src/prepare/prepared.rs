//! A version that is ready to run.

use std::sync::Arc;

use wasmill_domain::Digest;
use wasmill_domain::manifest::Kind;

use crate::entry::Entry;

/// A compiled component, linked with everything that it imports: an instance is made from it in
/// microseconds.
pub struct Prepared {
    pub(super) digest: Digest,
    pub(super) wasmtime: wasmtime::Engine,
    /// At least one.
    pub(super) entries: Vec<Arc<Entry>>,
    pub(super) size: u64,
    pub(super) slots: u32,
    pub(super) smallest_memory: u64,
}

impl Prepared {
    /// The artifact that it was compiled from.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The size of its machine code and data, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many of the engine's slots an instance takes.
    pub(crate) fn slots(&self) -> u32 {
        self.slots
    }

    /// The memory that an instance begins with, at least, in bytes.
    pub fn smallest_memory(&self) -> u64 {
        self.smallest_memory
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    /// The way into it as one kind. A manifest that names none, or one that the component is not,
    /// was deployed by another wasmill: the first kind that it is will do.
    pub(crate) fn entry(&self, kind: Option<Kind>) -> Arc<Entry> {
        let named = self.entries.iter().find(|entry| kind == Some(entry.kind()));
        Arc::clone(named.unwrap_or(&self.entries[0]))
    }
}
