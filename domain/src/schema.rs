//! JSON Schema, compiled: <https://json-schema.org/draft/2020-12>, and older drafts where `$schema` names one.

use std::sync::Arc;

use jsonschema::{PatternOptions, Retrieve, Uri, Validator};
use serde_json::Value;

/// The longest schema, in bytes of JSON text.
pub const MAX_BYTES: usize = 1 << 20;

/// How many violations of one document are reported.
pub const MAX_VIOLATIONS: usize = 20;

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    source: Arc<Value>,
    validator: Validator,
}

/// Why a schema cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (in the schema at '{pointer}')")]
pub struct CompileError {
    /// The JSON pointer of the offending place in the schema.
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

/// A schema is complete in itself: nothing is fetched, neither from the network nor from files.
struct NoRetrieval;

impl Retrieve for NoRetrieval {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("'{uri}' would have to be fetched, and schemas are never fetched: put it under $defs").into())
    }
}

impl Schema {
    /// Compiles `source`.
    ///
    /// # Errors
    /// Where it is not a valid schema, names an unknown draft, is too long, or refers to the network or to files.
    pub fn compile(source: Arc<Value>) -> Result<Self, CompileError> {
        let refused = |pointer: String, message: String| CompileError { pointer, message };
        if source.to_string().len() > MAX_BYTES {
            return Err(refused(String::new(), "the schema is longer than 1 MiB".into()));
        }
        let validator = jsonschema::options()
            .with_retriever(NoRetrieval)
            .should_validate_formats(true)
            // Bounds the time that a pattern with look-around may take; others run in linear time.
            .with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(100_000))
            .build(&source)
            .map_err(|e| refused(e.instance_path().to_string(), e.to_string()))?;
        Ok(Self { source, validator })
    }

    /// The schema's text, parsed.
    pub fn source(&self) -> &Arc<Value> {
        &self.source
    }

    /// Checks a document.
    ///
    /// # Errors
    /// What is wrong with it: at least one and at most [`MAX_VIOLATIONS`] violations.
    pub fn validate(&self, document: &Value) -> Result<(), Vec<Violation>> {
        // The common case is valid, and answering just that is the fastest.
        if self.validator.is_valid(document) {
            return Ok(());
        }
        let violation = |e: jsonschema::ValidationError<'_>| Violation {
            pointer: e.instance_path().to_string(),
            schema_pointer: e.schema_path().to_string(),
            message: shortened(&e.to_string()),
        };
        Err(self.validator.iter_errors(document).take(MAX_VIOLATIONS).map(violation).collect())
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn compile(source: Value) -> Result<Schema, CompileError> {
        Schema::compile(Arc::new(source))
    }

    #[test]
    fn violations_point() {
        let schema = compile(
            json!({"type": "object", "properties": {"items": {"items": {"properties": {"qty": {"minimum": 1}}}}}}),
        )
        .unwrap();
        assert!(schema.validate(&json!({"items": [{"qty": 1}]})).is_ok());
        let violations = schema.validate(&json!({"items": [{"qty": 1}, {"qty": 0}]})).unwrap_err();
        assert_eq!(violations[0].pointer, "/items/1/qty");
        assert!(violations[0].message.contains("minimum"), "{}", violations[0].message);
    }

    #[test]
    fn older_drafts_are_spoken() {
        let draft4 =
            json!({"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 5, "exclusiveMinimum": true});
        let schema = compile(draft4).unwrap();
        assert!(schema.validate(&json!(5)).is_err());
        assert!(schema.validate(&json!(6)).is_ok());
    }

    #[test]
    fn nothing_is_fetched() {
        for reference in ["https://example.com/a.json", "file:///etc/passwd", "other.json"] {
            let error = compile(json!({"properties": {"a": {"$ref": reference}}})).unwrap_err().to_string();
            assert!(error.contains(reference) && error.contains("retrieving it failed"), "{error}");
        }
        assert!(compile(json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}})).is_ok());
    }

    #[test]
    fn broken_schemas_are_refused() {
        assert!(compile(json!({"type": "strnig"})).is_err());
        assert!(compile(json!({"pattern": "("})).is_err());
        assert!(compile(json!({"$schema": "https://example.com/mine"})).is_err());
    }

    #[test]
    fn a_pattern_cannot_take_for_ever() {
        let schema = compile(json!({"pattern": "^(?=(a+)+$)(a+)+b$"})).unwrap();
        assert!(schema.validate(&json!("a".repeat(60))).is_err());
    }
}
