//! What the emitted events of one attempt may lead to.

/// What one attempt may lead to by what it emits. One that would lead to more traps, and publishes
/// nothing.
#[derive(Clone, Debug)]
pub struct EmissionSettings {
    /// Executions: one for each event and each function that it reaches. Default: 10,000, as many
    /// as one request may lead to.
    pub executions: usize,
    /// Bytes of those executions' events, which each of them has of its own where it is stored and
    /// sent. Default: 64 MiB.
    pub bytes: usize,
    /// How many executions may follow each other, each led to by what the one before has emitted.
    /// Default: 32.
    pub chain_depth: u32,
}

impl Default for EmissionSettings {
    fn default() -> Self {
        Self { executions: 10_000, bytes: 64 << 20, chain_depth: 32 }
    }
}
