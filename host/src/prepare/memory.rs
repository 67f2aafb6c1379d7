//! Compiled components in memory, the least recently used going first.

use std::collections::HashMap;
use std::sync::Arc;

use wasmill_domain::Digest;

use super::prepared::Prepared;

/// Holds so many components of so many bytes in all.
pub(super) struct Memory {
    entries: HashMap<Digest, CachedComponent>,
    bytes: u64,
    clock: u64,
    most: usize,
    most_bytes: u64,
}

struct CachedComponent {
    prepared: Arc<Prepared>,
    used: u64,
}

impl Memory {
    pub(super) fn new(most: usize, most_bytes: u64) -> Self {
        Self { entries: HashMap::new(), bytes: 0, clock: 0, most: most.max(1), most_bytes }
    }

    pub(super) fn get(&mut self, digest: Digest) -> Option<Arc<Prepared>> {
        self.clock += 1;
        let entry = self.entries.get_mut(&digest)?;
        entry.used = self.clock;
        Some(Arc::clone(&entry.prepared))
    }

    /// The artifacts whose components are here.
    pub(super) fn digests(&self) -> Vec<Digest> {
        self.entries.keys().copied().collect()
    }

    /// Drops a component; whoever has it still keeps it.
    pub(super) fn remove(&mut self, digest: Digest) {
        if let Some(entry) = self.entries.remove(&digest) {
            self.bytes -= entry.prepared.size();
        }
    }

    /// Adds a component, and drops others until the bounds hold. The new one stays even if it alone
    /// is too large: it is about to be used.
    pub(super) fn insert(&mut self, prepared: Arc<Prepared>) {
        self.clock += 1;
        let digest = prepared.digest();
        self.bytes += prepared.size();
        let entry = CachedComponent { prepared, used: self.clock };
        if let Some(old) = self.entries.insert(digest, entry) {
            self.bytes -= old.prepared.size();
        }
        while self.entries.len() > 1
            && (self.entries.len() > self.most || self.bytes > self.most_bytes)
        {
            let Some(oldest) =
                self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(digest, _)| *digest)
            else {
                break;
            };
            self.remove(oldest);
        }
    }
}
