//! What an instance may take of memory and tables, and how much it took. What the host holds for it
//! counts as its memory.

use wasmtime::ResourceLimiter;

use crate::host_memory::HostMemory;
use crate::settings::GuestSettings;

/// Counts the memory and the table elements of one store.
pub(crate) struct Limiter {
    memory_limit: usize,
    memory: usize,
    /// What the host holds for it, as of the last measurement.
    host_memory: HostMemory,
    peak: usize,
    /// What the last growth added; taken back if it fails after all.
    last_growth: usize,
    table_limit: usize,
    elements: usize,
    denied: Option<Denied>,
    core_instances: usize,
    memories: usize,
    tables: usize,
}

/// What was asked for and not given. The guest may have lived with it; if it trapped, this is the
/// likely reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// So many bytes of memory in all.
    Memory(usize),
    /// More than may be, of its own memory and what the host holds for it.
    HostMemory {
        /// Its own, in bytes.
        memory: usize,
        /// The host's.
        host_memory: HostMemory,
    },
    /// So many table elements in all.
    TableElements(usize),
}

impl Limiter {
    /// For a new store of a guest that may have `memory` bytes.
    pub(crate) fn new(memory: usize, settings: &GuestSettings) -> Self {
        Self {
            memory_limit: memory,
            memory: 0,
            host_memory: HostMemory::default(),
            peak: 0,
            last_growth: 0,
            table_limit: settings.table_elements,
            elements: 0,
            denied: None,
            core_instances: settings.core_instances as usize,
            memories: settings.memories as usize,
            tables: settings.tables as usize,
        }
    }

    /// Begins an attempt in a store that may hold memory from the one before.
    pub(crate) fn begin(&mut self, memory: usize) {
        self.memory_limit = memory;
        self.peak = self.total();
        self.denied = None;
    }

    /// The most memory that was held in this attempt, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.peak as u64
    }

    /// Memory and what the host holds, in bytes.
    fn total(&self) -> usize {
        self.memory.saturating_add(self.host_memory.bytes)
    }

    /// How much more may be taken, in bytes.
    pub(crate) fn remaining(&self) -> usize {
        self.memory_limit.saturating_sub(self.total())
    }

    /// Takes down what the host holds for the guest; says whether that is within the limit.
    pub(crate) fn set_host_memory(&mut self, host_memory: HostMemory) -> bool {
        self.host_memory = host_memory;
        self.peak = self.peak.max(self.total());
        let fits = self.total() <= self.memory_limit;
        if !fits {
            self.denied = Some(Denied::HostMemory { memory: self.memory, host_memory });
        }
        fits
    }

    /// What the host held for the guest when it was last measured.
    pub(crate) fn host_memory(&self) -> HostMemory {
        self.host_memory
    }

    /// What was denied in this attempt; the last, if more than once.
    pub(crate) fn denied(&self) -> Option<Denied> {
        self.denied
    }

    /// The limit on memory, in bytes.
    pub(crate) fn memory_limit(&self) -> usize {
        self.memory_limit
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        let memory = self.memory.saturating_add(growth);
        let total = memory.saturating_add(self.host_memory.bytes);
        if total > self.memory_limit || maximum.is_some_and(|maximum| desired > maximum) {
            self.denied = Some(Denied::Memory(total));
            self.last_growth = 0;
            return Ok(false);
        }
        self.memory = memory;
        self.peak = self.peak.max(total);
        self.last_growth = growth;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        tracing::debug!(error = format!("{error:#}"), "a guest's memory could not grow");
        self.denied = Some(Denied::Memory(self.total()));
        self.memory -= std::mem::take(&mut self.last_growth);
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.elements.saturating_add(desired.saturating_sub(current));
        if total > self.table_limit || maximum.is_some_and(|maximum| desired > maximum) {
            self.denied = Some(Denied::TableElements(total));
            return Ok(false);
        }
        self.elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.core_instances
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        self.memories
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 64 << 10;

    fn limiter(pages: usize) -> Limiter {
        Limiter::new(pages * PAGE, &GuestSettings::default())
    }

    #[test]
    fn all_memories_count_together() {
        let mut limiter = limiter(3);
        assert!(limiter.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(limiter.memory_growing(0, PAGE, None).unwrap());
        assert!(!limiter.memory_growing(PAGE, 2 * PAGE, None).unwrap());
        assert_eq!(limiter.denied(), Some(Denied::Memory(4 * PAGE)));
        assert_eq!(limiter.peak(), 3 * PAGE as u64);
    }

    #[test]
    fn what_the_host_holds_counts_as_memory() {
        let mut limiter = limiter(4);
        let memory_of = |bytes| HostMemory { bytes, resources: 1, fields: 0 };
        assert!(limiter.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(limiter.set_host_memory(memory_of(PAGE)));
        assert_eq!((limiter.remaining(), limiter.peak()), (PAGE, 3 * PAGE as u64));
        assert!(!limiter.memory_growing(2 * PAGE, 4 * PAGE, None).unwrap());
        assert_eq!(limiter.denied(), Some(Denied::Memory(5 * PAGE)));
        assert!(!limiter.set_host_memory(memory_of(3 * PAGE)));
        assert_eq!(
            limiter.denied(),
            Some(Denied::HostMemory { memory: 2 * PAGE, host_memory: memory_of(3 * PAGE) })
        );
        assert!(
            limiter.set_host_memory(memory_of(0))
                && limiter.memory_growing(2 * PAGE, 4 * PAGE, None).unwrap()
        );
        assert_eq!(limiter.peak(), 5 * PAGE as u64);
    }

    #[test]
    fn the_next_attempt_starts_with_what_is_held() {
        let mut limiter = limiter(3);
        assert!(limiter.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(!limiter.memory_growing(0, 2 * PAGE, None).unwrap());
        limiter.begin(4 * PAGE);
        assert_eq!((limiter.denied(), limiter.peak()), (None, 2 * PAGE as u64));
        assert!(limiter.memory_growing(0, 2 * PAGE, None).unwrap());
    }

    #[test]
    fn growth_that_fails_is_taken_back() {
        let mut limiter = limiter(3);
        assert!(limiter.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(limiter.memory_growing(2 * PAGE, 3 * PAGE, None).unwrap());
        limiter.memory_grow_failed(wasmtime::format_err!("no")).unwrap();
        assert!(limiter.memory_growing(2 * PAGE, 3 * PAGE, None).unwrap());
        assert!(!limiter.memory_growing(0, usize::MAX, None).unwrap());
    }

    #[test]
    fn table_elements_count_together() {
        let mut limiter = limiter(1);
        assert!(limiter.table_growing(0, 60_000, None).unwrap());
        assert!(!limiter.table_growing(0, 60_000, None).unwrap());
        assert_eq!(limiter.denied(), Some(Denied::TableElements(120_000)));
    }
}
