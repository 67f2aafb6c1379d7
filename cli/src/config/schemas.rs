//! What schemas may cost, and how formats are taken.

use serde::Deserialize;
use wasmill_domain::units::ByteSize;
use wasmill_schema::{Formats, SchemaLimits};

use super::bounds::{OutOfBounds, within};

/// What schemas may cost, and how formats are taken, in gateways and in hosts: the same in all.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Schemas {
    /// Subschemas in one schema: 1 to 1,000,000.
    pub(crate) max_subschemas: usize,
    /// How deep they may stand in each other: 1 to 100.
    pub(crate) max_depth: usize,
    /// Regular expressions in one schema: 0 to 10,000.
    pub(crate) max_patterns: usize,
    /// A regular expression, compiled: 1 KiB to 64 MiB.
    pub(crate) max_pattern_bytes: ByteSize,
    /// Steps of the compilation of one schema: 1,000 to 10^9.
    pub(crate) max_compile_steps: u64,
    /// Steps of the checks of one request's data: 1,000 to 10^12.
    pub(crate) max_check_steps: u64,
    /// The compiled schemas of one tenant together, in each process: 64 KiB to 1 TiB.
    pub(crate) max_tenant_bytes: ByteSize,
    /// Whether `format` is asserted or only annotates. Default: asserted.
    pub(crate) formats: Formats,
}

impl Default for Schemas {
    fn default() -> Self {
        let limits = SchemaLimits::default();
        Self {
            max_subschemas: limits.max_subschemas,
            max_depth: limits.max_depth,
            max_patterns: limits.max_patterns,
            max_pattern_bytes: ByteSize(limits.max_pattern_bytes as u64),
            max_compile_steps: limits.max_compile_steps,
            max_check_steps: limits.max_check_steps,
            max_tenant_bytes: ByteSize(limits.max_tenant_bytes as u64),
            formats: limits.formats,
        }
    }
}

impl Schemas {
    /// The same as registries take it.
    pub(crate) fn limits(&self) -> SchemaLimits {
        SchemaLimits {
            max_subschemas: self.max_subschemas,
            max_depth: self.max_depth,
            max_patterns: self.max_patterns,
            max_pattern_bytes: self.max_pattern_bytes.as_usize(),
            max_compile_steps: self.max_compile_steps,
            max_check_steps: self.max_check_steps,
            max_tenant_bytes: self.max_tenant_bytes.as_usize(),
            formats: self.formats,
        }
    }

    pub(super) fn check(&self) -> Result<(), OutOfBounds> {
        within(
            "schemas.max_subschemas",
            (1..=1_000_000).contains(&self.max_subschemas),
            "1 to 1,000,000",
        )?;
        within("schemas.max_depth", (1..=100).contains(&self.max_depth), "1 to 100")?;
        within("schemas.max_patterns", self.max_patterns <= 10_000, "at most 10,000")?;
        let pattern = 1 << 10..=64 << 20;
        within(
            "schemas.max_pattern_bytes",
            pattern.contains(&self.max_pattern_bytes.0),
            "1KiB to 64MiB",
        )?;
        let steps = 1_000..=1_000_000_000;
        within(
            "schemas.max_compile_steps",
            steps.contains(&self.max_compile_steps),
            "1,000 to 10^9",
        )?;
        let steps = 1_000..=1_000_000_000_000;
        within("schemas.max_check_steps", steps.contains(&self.max_check_steps), "1,000 to 10^12")?;
        let tenant = 64 << 10..=1 << 40;
        within(
            "schemas.max_tenant_bytes",
            tenant.contains(&self.max_tenant_bytes.0),
            "64KiB to 1024GiB",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_domains() {
        assert_eq!(Schemas::default().limits(), SchemaLimits::default());
        assert!(Schemas::default().check().is_ok());
    }

    #[test]
    fn every_bound_has_bounds() {
        let wrong = [
            Schemas { max_subschemas: 0, ..Schemas::default() },
            Schemas { max_depth: 101, ..Schemas::default() },
            Schemas { max_patterns: 10_001, ..Schemas::default() },
            Schemas { max_pattern_bytes: ByteSize(1), ..Schemas::default() },
            Schemas { max_compile_steps: 1, ..Schemas::default() },
            Schemas { max_check_steps: 1, ..Schemas::default() },
            Schemas { max_tenant_bytes: ByteSize(1), ..Schemas::default() },
        ];
        let keys: std::collections::BTreeSet<_> =
            wrong.iter().map(|schemas| schemas.check().unwrap_err().key).collect();
        assert_eq!(keys.len(), wrong.len());
    }
}
