//! What the compilation of one component may take: settings of whatever has an engine, in a pool's
//! configuration and on command lines.

use std::ops::RangeInclusive;
use std::time::Duration;

use wasmill_domain::units::{ByteSize, Span};
use wasmill_host::CompileSettings;

use super::LONGEST_COMPILATION;

/// What the time may be.
pub(super) const TIMES: &str = "1ms to 10m";

/// What the memory may be.
pub(super) const SIZES: &str = "256MiB to 1024GiB";

const MEMORY: RangeInclusive<u64> = 256 << 20..=1 << 40;

pub(super) fn is_time(time: Span) -> bool {
    (Duration::from_millis(1)..=LONGEST_COMPILATION).contains(&time.0)
}

pub(super) fn is_size(size: ByteSize) -> bool {
    MEMORY.contains(&size.0)
}

/// What the compilation of one component may take, on a command line.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Compilation {
    /// How long one component may take to compile. A pool's engine.compile_timeout
    #[arg(
        long = "compile-timeout",
        env = "WASMILL_ENGINE_COMPILE_TIMEOUT",
        value_parser = compile_timeout,
        default_value_t = Compilation::default().timeout,
        value_name = "DURATION"
    )]
    pub(crate) timeout: Span,

    /// The address space of the process that compiles one component: large ones need more. A
    /// pool's engine.compile_memory
    #[arg(
        long = "compile-memory",
        env = "WASMILL_ENGINE_COMPILE_MEMORY",
        value_parser = compile_memory,
        default_value_t = Compilation::default().memory,
        value_name = "SIZE"
    )]
    pub(crate) memory: ByteSize,
}

impl Default for Compilation {
    fn default() -> Self {
        let CompileSettings { timeout, memory, .. } = CompileSettings::default();
        Self { timeout: Span(timeout), memory: ByteSize(memory) }
    }
}

/// Reads the time from a command line.
///
/// # Errors
/// Where it is no duration, or out of bounds.
fn compile_timeout(text: &str) -> Result<Span, String> {
    let time: Span = text.parse().map_err(|e| format!("{e}"))?;
    if is_time(time) { Ok(time) } else { Err(format!("must be {TIMES}")) }
}

/// Reads the memory from a command line.
///
/// # Errors
/// Where it is no size, or out of bounds.
fn compile_memory(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse().map_err(|e| format!("{e}"))?;
    if is_size(size) { Ok(size) } else { Err(format!("must be {SIZES}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_have_bounds() {
        assert_eq!(compile_memory("4GiB").unwrap().0, 4 << 30);
        assert_eq!(compile_timeout("2m").unwrap().0, Duration::from_secs(120));
        for wrong in ["255MiB", "1025GiB", "much"] {
            assert!(compile_memory(wrong).is_err(), "{wrong}");
        }
        for wrong in ["0ms", "11m", "long"] {
            assert!(compile_timeout(wrong).is_err(), "{wrong}");
        }
    }
}
