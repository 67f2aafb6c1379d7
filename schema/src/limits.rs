//! What a schema may cost, and how formats are taken.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::Deserialize;

/// What the keyword `format` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Formats {
    /// Data must be of the format, where it is one that is known: an unknown one only annotates.
    #[default]
    Assert,
    /// It only annotates: nothing is checked by it.
    Annotate,
}

/// A text that names no way to take formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 'assert' or 'annotate'")]
pub struct UnknownFormats;

impl FromStr for Formats {
    type Err = UnknownFormats;

    fn from_str(text: &str) -> Result<Self, UnknownFormats> {
        match text {
            "assert" => Ok(Self::Assert),
            "annotate" => Ok(Self::Annotate),
            _ => Err(UnknownFormats),
        }
    }
}

impl Display for Formats {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Assert => "assert",
            Self::Annotate => "annotate",
        })
    }
}

/// The bounds of schemas and of the checks by them, and how formats are taken. Every bound has a
/// default that ordinary schemas stay far below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaLimits {
    /// The most subschemas in one schema: objects and booleans where a schema may stand. Default:
    /// 10,000.
    pub max_subschemas: usize,
    /// How deep subschemas may stand in each other. Default: 64.
    pub max_depth: usize,
    /// The most regular expressions in one schema: `pattern` and the names in `patternProperties`.
    /// Default: 256.
    pub max_patterns: usize,
    /// The largest regular expression, compiled, in bytes. Default: 1 MiB.
    pub max_pattern_bytes: usize,
    /// The steps that the compilation of one schema may take. Each resource (`$id`) counts with all
    /// that is in it, once for every dynamic scope in which it is reached. Default: 200,000.
    pub max_compile_steps: u64,
    /// The steps that the checks of one request's data, or of all that one attempt emits, may take.
    /// A step is a look at one value by one keyword; long texts, comparisons and patterns take
    /// more. Default: 10,000,000.
    pub max_check_steps: u64,
    /// What the compiled schemas of one tenant may take together in each process, in bytes, as
    /// estimated from their text. Default: 64 MiB.
    pub max_tenant_bytes: usize,
    /// Whether `format` is asserted. Default: it is.
    pub formats: Formats,
}

impl Default for SchemaLimits {
    fn default() -> Self {
        Self {
            max_subschemas: 10_000,
            max_depth: 64,
            max_patterns: 256,
            max_pattern_bytes: 1 << 20,
            max_compile_steps: 200_000,
            max_check_steps: 10_000_000,
            max_tenant_bytes: 64 << 20,
            formats: Formats::default(),
        }
    }
}
