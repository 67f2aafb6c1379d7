//! How wasmtime is set up, and how large its pool can be on this machine.

use rustix::process::{Resource, getrlimit};
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
    WasmFeatures,
};

use crate::settings::EngineSettings;

/// Address space for one linear memory: what 32 bits can address, so that no access needs a bounds
/// check.
const MEMORY_RESERVATION: u64 = 4 << 30;

/// Tables in the pool for each slot. A component from today's toolchains has two: its own, and that
/// of its adapters.
pub(super) const TABLES_PER_SLOT: u32 = 4;

/// The fewest slots that a pool is worth having for.
const FEWEST_SLOTS: u32 = 4;

/// An engine, and how many instances it can hold at once.
pub(super) struct Sized {
    pub(super) wasmtime: wasmtime::Engine,
    pub(super) slots: u32,
    /// Whether instances come from a pool.
    pub(super) pooled: bool,
}

/// Makes the engine with the largest pool that fits, up to the settings' `slots`; without one where
/// even a small pool does not fit.
pub(super) fn build(settings: &EngineSettings) -> wasmtime::Result<Sized> {
    let mut slots = settings.slots.max(1).min(slots_in(address_space_limit(), settings));
    while slots >= FEWEST_SLOTS.min(settings.slots.max(1)) {
        let mut config = base(settings);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(settings, slots)));
        match wasmtime::Engine::new(&config) {
            Ok(wasmtime) => {
                if slots < settings.slots {
                    tracing::warn!(
                        slots,
                        wanted = settings.slots,
                        "address space is short: a smaller instance pool"
                    );
                }
                return Ok(Sized { wasmtime, slots, pooled: true });
            }
            // The system may refuse for more reasons than the limit that was looked at: try with
            // less.
            Err(error) => tracing::debug!(
                slots,
                error = format!("{error:#}"),
                "the instance pool does not fit"
            ),
        }
        slots /= 2;
    }
    tracing::warn!("address space is too short for an instance pool: instances start more slowly");
    let config = without_pool(settings);
    Ok(Sized {
        wasmtime: wasmtime::Engine::new(&config)?,
        slots: settings.slots.max(1),
        pooled: false,
    })
}

/// The configuration of an engine where a pool does not fit.
fn without_pool(settings: &EngineSettings) -> Config {
    let mut config = base(settings);
    // No reservation and small guards: memories are moved when they outgrow their place, and
    // accesses are checked.
    config.memory_reservation(0).memory_guard_size(64 << 10).guard_before_linear_memory(false);
    config
        .memory_reservation_for_growth(1 << 20)
        .gc_heap_reservation(0)
        .gc_heap_guard_size(64 << 10);
    config.gc_heap_reservation_for_growth(1 << 20);
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    config
}

/// The configuration of an engine that only compiles, for one with such settings: no instance is
/// made in it, so that it takes no address space.
pub(crate) fn compiling(wasm_stack: usize, wasi_0_3: bool, pooled: bool) -> Config {
    let settings = EngineSettings { wasm_stack, wasi_0_3, ..EngineSettings::default() };
    if pooled { base(&settings) } else { without_pool(&settings) }
}

/// The process's limit on address space, where it has one.
fn address_space_limit() -> Option<u64> {
    getrlimit(Resource::As).current
}

/// How many slots may be taken of `limit` bytes of address space. Half of it is left for everything
/// else.
fn slots_in(limit: Option<u64>, settings: &EngineSettings) -> u32 {
    let Some(limit) = limit else { return u32::MAX };
    let tables = u64::from(TABLES_PER_SLOT) * settings.guest.table_elements as u64 * 8;
    // A memory, a heap for garbage-collected objects, and a call stack, each with its guards.
    let each =
        2 * (MEMORY_RESERVATION + (64 << 20)) + tables + 2 * settings.wasm_stack as u64 + (1 << 20);
    u32::try_from(limit / 2 / each).unwrap_or(u32::MAX)
}

/// Everything but where instances come from.
pub(crate) fn base(settings: &EngineSettings) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .consume_fuel(true)
        .epoch_interruption(true)
        // WASI 0.3 is made with it. Without it, a call on its own stack costs as much as one on the
        // caller's.
        .concurrency_support(settings.wasi_0_3)
        .wasm_component_model_async(settings.wasi_0_3)
        // Atomic instructions, and no shared memory, which would let a guest make a thread wait.
        .wasm_features(WasmFeatures::THREADS, true)
        .shared_memory(false)
        .memory_init_cow(true)
        .max_wasm_stack(settings.wasm_stack)
        // As much again for the host functions that guests call.
        .async_stack_size(settings.wasm_stack + (1 << 20))
        // Not by an environment variable: what is compiled must not depend on it.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config
}

fn pool(settings: &EngineSettings, slots: u32) -> PoolingAllocationConfig {
    let guest = &settings.guest;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(guest.core_instances))
        // One more for the heap of a guest with garbage-collected objects, which is counted as a
        // memory.
        .total_memories(slots.saturating_mul(2))
        .total_tables(slots.saturating_mul(TABLES_PER_SLOT))
        // A guest of WASI 0.3 may wait in several places at once.
        .total_stacks(if settings.wasi_0_3 { slots.saturating_mul(4) } else { slots })
        .total_gc_heaps(slots)
        .max_core_instances_per_component(guest.core_instances)
        .max_memories_per_component(guest.memories)
        .max_tables_per_component(guest.tables)
        .max_memories_per_module(guest.memories)
        .max_tables_per_module(guest.tables)
        .table_elements(guest.table_elements)
        .max_memory_size(usize::try_from(MEMORY_RESERVATION).unwrap_or(usize::MAX))
        .max_unused_warm_slots(slots)
        .linear_memory_keep_resident(settings.keep_resident)
        .table_keep_resident(settings.keep_resident)
        // Finds the pages that were written to and clears only these. Needs Linux 6.7.
        .pagemap_scan(Enabled::Auto);
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_leaves_room_for_the_rest() {
        let settings = EngineSettings::default();
        assert_eq!(slots_in(None, &settings), u32::MAX);
        assert_eq!(slots_in(Some(4 << 30), &settings), 0);
        let some = slots_in(Some(1 << 40), &settings);
        assert!((50..64).contains(&some), "{some}");
    }

    /// What one engine compiles is what the other loads.
    #[test]
    fn an_engine_that_only_compiles_makes_the_same_code() {
        for (wasi_0_3, slots) in [(false, 4), (true, 4)] {
            let settings = EngineSettings { wasi_0_3, slots, ..EngineSettings::default() };
            let Sized { wasmtime, pooled, .. } = build(&settings).unwrap();
            for pooled in [pooled, false] {
                let runs = if pooled {
                    wasmtime.clone()
                } else {
                    wasmtime::Engine::new(&without_pool(&settings)).unwrap()
                };
                let compiles =
                    wasmtime::Engine::new(&compiling(settings.wasm_stack, wasi_0_3, pooled))
                        .unwrap();
                let compiled =
                    compiles.precompile_component(&wat::parse_str("(component)").unwrap()).unwrap();
                // SAFETY: the bytes are what an engine has just compiled.
                unsafe { wasmtime::component::Component::deserialize(&runs, compiled) }.unwrap();
            }
        }
    }

    /// What `inspect` lets pass is what the engine compiles.
    #[test]
    fn features_are_those_that_components_are_checked_for() {
        for (wasi_0_3, expected) in
            [(false, wasmill_component::FEATURES), (true, wasmill_component::FEATURES_0_3)]
        {
            let settings = EngineSettings { wasi_0_3, ..EngineSettings::default() };
            let engine = wasmtime::Engine::new(&base(&settings)).unwrap();
            assert_eq!(engine.get_wasm_features().bits(), expected.bits());
        }
    }
}
