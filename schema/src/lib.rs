//! JSON Schema, compiled: <https://json-schema.org/draft/2020-12>, and older drafts where `$schema`
//! names one.
//!
//! Whoever defines a schema decides what it costs to compile and to check by, so both are bounded:
//! what is in a schema before it is compiled (`plan.rs`), the compilation itself, and every check
//! (`meter.rs`).
//!
//! The registry of the domain asks for it by the trait [`SchemaCompiler`], which [`Compiler`] is.

mod limits;
mod meter;
mod node;
mod pattern;
mod plan;
#[cfg(test)]
mod tests;
mod unevaluated;

use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::Location;
use jsonschema::{Keyword, PatternOptions, Retrieve, Uri, ValidationError, Validator};
use serde_json::{Map, Value};
use wasmill_domain::schema::{
    CompileError, CompiledSchema, Failure, MAX_BYTES, SchemaCompiler, Violation,
};

pub use self::limits::{Formats, SchemaLimits, UnknownFormats};
use self::meter::{Rates, Stop, charge, metered};
use self::node::{Metered, MeteredValue};
use self::plan::{Plan, as_written};

/// How many violations of one document are reported.
pub const MAX_VIOLATIONS: usize = 20;

/// How often a pattern with look-around may go back in one match; others never do.
const BACKTRACK_LIMIT: usize = 10_000;

/// The stack of the thread that compiles: subschemas stand in each other, and references lead on
/// from the innermost.
const COMPILE_STACK: usize = 32 << 20;

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    source: Arc<Value>,
    validator: Validator<Metered>,
    rates: Rates,
}

/// What a registry has its schemas compiled by.
#[derive(Clone, Debug, Default)]
pub struct Compiler {
    limits: SchemaLimits,
}

/// A schema is complete in itself: nothing is fetched, neither from the network nor from files.
struct NoRetrieval;

impl Retrieve for NoRetrieval {
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!(
            "'{uri}' would have to be fetched, and schemas are never fetched: put it under $defs"
        )
        .into())
    }
}

/// `$id`, where it comes to be compiled: it says nothing of a document.
struct Resource;

impl<'i> Keyword<'i, Metered> for Resource {
    fn validate(&self, _: MeteredValue<'i>) -> Result<(), ValidationError<'i>> {
        Ok(())
    }

    fn is_valid(&self, _: MeteredValue<'i>) -> bool {
        true
    }
}

impl Compiler {
    /// One that compiles within these bounds.
    pub fn new(limits: SchemaLimits) -> Self {
        Self { limits }
    }
}

impl SchemaCompiler for Compiler {
    fn compile(&self, source: Arc<Value>) -> Result<Box<dyn CompiledSchema>, CompileError> {
        Ok(Box::new(Schema::compile_within(source, &self.limits)?))
    }

    fn bytes_of(&self, source: &Value) -> Result<usize, CompileError> {
        Plan::of(source, &self.limits).map(|plan| plan.bytes)
    }

    fn max_tenant_bytes(&self) -> usize {
        self.limits.max_tenant_bytes
    }

    fn max_check_steps(&self) -> u64 {
        self.limits.max_check_steps
    }
}

impl Schema {
    /// Compiles `source`, within the default bounds.
    ///
    /// # Errors
    /// Where it is not a valid schema, names an unknown draft, is too long, exceeds a bound, or
    /// refers to the network or to files.
    pub fn compile(source: Arc<Value>) -> Result<Self, CompileError> {
        Self::compile_within(source, &SchemaLimits::default())
    }

    /// Compiles `source`.
    ///
    /// # Errors
    /// Where it is not a valid schema, names an unknown draft, is too long, exceeds a bound, or
    /// refers to the network or to files.
    pub fn compile_within(source: Arc<Value>, limits: &SchemaLimits) -> Result<Self, CompileError> {
        if source.to_string().len() > MAX_BYTES {
            return Err(CompileError::of_all("the schema is longer than 1 MiB"));
        }
        let Plan { counted, rates, bytes } = Plan::of(&source, limits)?;
        if bytes > limits.max_tenant_bytes {
            return Err(CompileError::over_quota(limits.max_tenant_bytes));
        }
        let mut steps = limits.max_compile_steps;
        let built = std::thread::scope(|scope| {
            let thread =
                std::thread::Builder::new().name("schema".into()).stack_size(COMPILE_STACK);
            let build = || metered(&mut steps, Rates::default(), || build(&counted, limits));
            let thread = thread.spawn_scoped(scope, build);
            let thread =
                thread.map_err(|e| CompileError::of_all(format!("no thread to compile: {e}")))?;
            thread.join().map_err(|_| CompileError::of_all("the compiler of schemas broke down"))
        })?;
        match built {
            Ok(Ok(validator)) => Ok(Self { source, validator, rates }),
            Ok(Err(error)) => Err(compile_error(&source, &error, limits)),
            Err(_) => Err(CompileError::of_all(format!(
                "the schema takes more than {} steps to compile: its resources refer to each other in too many ways \
                 (schemas.max_compile_steps)",
                limits.max_compile_steps
            ))),
        }
    }

    /// The schema's text, parsed.
    pub fn source(&self) -> &Arc<Value> {
        &self.source
    }

    /// Checks a document, in no more than the steps of the default bounds.
    ///
    /// # Errors
    /// What is wrong with it: at least one and at most [`MAX_VIOLATIONS`] violations.
    pub fn validate(&self, document: &Value) -> Result<(), Vec<Violation>> {
        let mut steps = SchemaLimits::default().max_check_steps;
        self.check(document, &mut steps).map_err(|failure| match failure {
            Failure::Violations(violations) => violations,
            Failure::Steps => vec![Violation::of_all("the check takes too many steps")],
            Failure::Depth => {
                vec![Violation::of_all("schema and document go too deep to be checked")]
            }
        })
    }

    fn is_valid(&self, document: &Value, steps: &mut u64) -> Result<bool, Failure> {
        // The common case is valid, and answering just that is the fastest.
        metered(steps, self.rates, || self.validator.is_valid(MeteredValue(document)))
            .map_err(Failure::from)
    }

    fn violations(&self, document: &Value, steps: &mut u64) -> Result<Vec<Violation>, Failure> {
        let node = MeteredValue(document);
        let all = || self.validator.iter_errors(node).take(MAX_VIOLATIONS).map(violation).collect();
        let found: Vec<Violation> = match metered(steps, self.rates, all) {
            // Each would take memory, and only a few are reported.
            Err(Stop::Errors) => {
                let first = || self.validator.validate(node).err().map(violation);
                match metered(steps, self.rates, first) {
                    Ok(first) => first.into_iter().collect(),
                    Err(Stop::Errors) => Vec::new(),
                    Err(stop) => return Err(stop.into()),
                }
            }
            found => found?,
        };
        let something =
            || vec![Violation::of_all("it is not valid, in more ways than can be told")];
        Ok(if found.is_empty() { something() } else { found })
    }
}

impl CompiledSchema for Schema {
    fn check(&self, document: &Value, steps: &mut u64) -> Result<(), Failure> {
        if self.is_valid(document, steps)? {
            return Ok(());
        }
        // That something is wrong is known, so that is the answer, even if it cannot be said what.
        Err(Failure::Violations(self.violations(document, steps).unwrap_or_else(|_| {
            vec![Violation::of_all(
                "it is not valid; to find out where takes more steps than are left",
            )]
        })))
    }

    fn try_check(&self, document: &Value, steps: &mut u64) -> Result<(), Failure> {
        if self.is_valid(document, steps)? {
            return Ok(());
        }
        Err(Failure::Violations(self.violations(document, steps)?))
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Steps | Stop::Errors => Self::Steps,
            Stop::Depth => Self::Depth,
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "errors are consumed")]
fn violation(error: ValidationError<'_>) -> Violation {
    Violation {
        pointer: error.instance_path().to_string(),
        schema_pointer: error.schema_path().to_string(),
        message: shortened(&message_of(&error)),
    }
}

fn build(
    schema: &Value,
    limits: &SchemaLimits,
) -> Result<Validator<Metered>, ValidationError<'static>> {
    let patterns = PatternOptions::fancy_regex()
        .backtrack_limit(BACKTRACK_LIMIT)
        .size_limit(limits.max_pattern_bytes)
        .dfa_size_limit(limits.max_pattern_bytes);
    jsonschema::options_for::<Metered>()
        .with_retriever(NoRetrieval)
        .should_validate_formats(limits.formats == Formats::Assert)
        .with_pattern_options(patterns)
        .with_keyword("$id", resource)
        .with_keyword("id", resource)
        .build(schema)
}

/// A resource comes to be compiled: anew for each way in which others lead to it, with all that is
/// in it.
fn resource<'a>(
    parent: &'a Map<String, Value>,
    _: &'a Value,
    _: Location,
) -> Result<Box<dyn for<'i> Keyword<'i, Metered>>, ValidationError<'a>> {
    charge(parent.values().map(values).sum());
    Ok(Box::new(Resource))
}

/// How many values there are in one.
fn values(value: &Value) -> u64 {
    match value {
        Value::Array(items) => 1 + items.iter().map(values).sum::<u64>(),
        Value::Object(members) => 1 + members.values().map(values).sum::<u64>(),
        _ => 1,
    }
}

/// What is wrong with `source`, as the compiler says.
fn compile_error(
    source: &Value,
    error: &ValidationError<'_>,
    limits: &SchemaLimits,
) -> CompileError {
    // What was compiled has been made ready to be counted; what is told must be as it was written.
    if let Err(plain) = jsonschema::meta::validate(source) {
        return CompileError {
            pointer: plain.instance_path().to_string(),
            message: plain.to_string(),
        };
    }
    if matches!(error.kind(), ValidationErrorKind::Format { format } if format == "regex") {
        let most = limits.max_pattern_bytes;
        let message = format!(
            "the pattern is not a regular expression that is known here, or takes more than {most} bytes compiled \
             (schemas.max_pattern_bytes)"
        );
        return CompileError { pointer: error.schema_path().to_string(), message };
    }
    CompileError { pointer: error.instance_path().to_string(), message: error.to_string() }
}

/// What a violation says. One kind quotes the schema, which must be as it was written.
fn message_of(error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::Not { schema } => {
            format!("{} is not allowed for {}", as_written(schema), error.instance())
        }
        ValidationErrorKind::PropertyNames { error } => message_of(error),
        _ => error.to_string(),
    }
}

/// Messages quote the offending value, which may be as long as the document.
fn shortened(message: &str) -> String {
    const MAX_CHARS: usize = 300;
    match message.char_indices().nth(MAX_CHARS) {
        None => message.to_owned(),
        Some((end, _)) => format!("{} … (shortened)", &message[..end]),
    }
}
