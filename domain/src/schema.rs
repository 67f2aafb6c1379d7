//! What the registry asks of a compiler of JSON Schema, and what it says. The compiler itself is
//! crate `wasmill-schema`: the domain knows it by [`SchemaCompiler`] only, so that what needs no
//! schemas need not be compiled with it.

use std::fmt::Debug;
use std::sync::Arc;

use serde_json::Value;

/// The longest schema, in bytes of JSON text.
pub const MAX_BYTES: usize = 1 << 20;

/// Compiles schemas within bounds of its own: whoever defines a schema decides what it costs to
/// compile and to check by.
pub trait SchemaCompiler: Debug + Send + Sync {
    /// Compiles `source`. Takes a while at times: not for threads that serve requests.
    ///
    /// # Errors
    /// Where it is not a valid schema, names an unknown draft, is longer than [`MAX_BYTES`],
    /// exceeds a bound, or refers to the network or to files.
    fn compile(&self, source: Arc<Value>) -> Result<Box<dyn CompiledSchema>, CompileError>;

    /// What `source` takes when it is compiled, in bytes, as estimated from its text.
    ///
    /// # Errors
    /// Where it exceeds a bound.
    fn bytes_of(&self, source: &Value) -> Result<usize, CompileError>;

    /// What the compiled schemas of one tenant may take together in each process, in bytes.
    fn max_tenant_bytes(&self) -> usize;

    /// The steps that the checks of one request's data, or of all that one attempt emits, may take.
    fn max_check_steps(&self) -> u64;
}

/// A schema that data can be checked by.
pub trait CompiledSchema: Debug + Send + Sync {
    /// Checks a document in no more than `steps`, and takes off what it took.
    ///
    /// # Errors
    /// What is wrong with it, or that it could not be found out.
    fn check(&self, document: &Value, steps: &mut u64) -> Result<(), Failure>;

    /// The same, for whoever can give it more steps: nothing is said that more steps could say
    /// better.
    ///
    /// # Errors
    /// What is wrong with it, or that it could not be found out.
    fn try_check(&self, document: &Value, steps: &mut u64) -> Result<(), Failure>;
}

/// Why a schema cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (in the schema at '{pointer}')")]
pub struct CompileError {
    /// The JSON pointer of the offending location in the schema.
    pub pointer: String,
    /// What is wrong with it.
    pub message: String,
}

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The JSON pointer of the offending value.
    pub pointer: String,
    /// What is wrong with it.
    pub message: String,
    /// The JSON pointer of the rule in the schema.
    pub schema_pointer: String,
}

/// Why a document did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It does not satisfy the schema: at least one violation, and as many as the compiler reports.
    Violations(Vec<Violation>),
    /// No step was left before it was known.
    Steps,
    /// It was about to go too deep: schema and document refer each other on and on.
    Depth,
}

impl CompileError {
    /// What is wrong with a schema as a whole.
    pub fn of_all(message: impl Into<String>) -> Self {
        Self { pointer: String::new(), message: message.into() }
    }

    /// The refusal of a schema that its tenant has no room for: its schemas may take `most` bytes
    /// together.
    pub fn over_quota(most: usize) -> Self {
        Self::of_all(format!(
            "the tenant's schemas together take more than {most} bytes (schemas.max_tenant_bytes)"
        ))
    }
}

impl Violation {
    /// A violation by the whole document of the whole schema.
    pub fn of_all(message: &str) -> Self {
        Self { pointer: String::new(), message: message.into(), schema_pointer: String::new() }
    }
}

/// Of a registry that only looks things up: no schema can be used, so that no data pass one
/// unchecked.
#[derive(Debug)]
pub(crate) struct NoCompiler;

impl SchemaCompiler for NoCompiler {
    fn compile(&self, _: Arc<Value>) -> Result<Box<dyn CompiledSchema>, CompileError> {
        Err(CompileError::of_all("nothing is checked by schemas here"))
    }

    fn bytes_of(&self, _: &Value) -> Result<usize, CompileError> {
        Ok(0)
    }

    fn max_tenant_bytes(&self) -> usize {
        0
    }

    fn max_check_steps(&self) -> u64 {
        0
    }
}
