//! What there is in a schema, before it is compiled: bounded here, and made ready to be counted.

use std::collections::HashSet;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use wasmill_domain::schema::CompileError;

use crate::limits::SchemaLimits;
use crate::meter::{Rate, Rates};
use crate::pattern::PatternCost;
use crate::unevaluated::looked_through;

/// Keywords whose value has schemas by name.
const MAPS: [&str; 6] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];

/// Keywords whose value is never a schema, whatever it looks like.
const LITERALS: [&str; 8] = [
    "const",
    "enum",
    "default",
    "examples",
    "example",
    "$vocabulary",
    "discriminator",
    "dependentRequired",
];

/// Keywords that apply other schemas to the same value.
const IN_PLACE: [&str; 12] = [
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "$ref",
    "$dynamicRef",
    "$recursiveRef",
    "dependentSchemas",
    "dependencies",
];

/// Keywords that look at the value before any that applies other schemas to it.
const FIRST: [&str; 4] = ["type", "const", "enum", COUNTER];

/// The keyword that makes a subschema look at the value: with 0 it lets everything pass.
const COUNTER: &str = "minProperties";

/// Further keywords that always look at the value.
const LOOKING: [&str; 9] = [
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "multipleOf",
    "minItems",
    "maxItems",
    "maxProperties",
];

const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// The drafts that are spoken, without the `#` that the older ones end with.
const DRAFTS: [&str; 5] = [
    "json-schema.org/draft/2020-12/schema",
    "json-schema.org/draft/2019-09/schema",
    "json-schema.org/draft-07/schema",
    "json-schema.org/draft-06/schema",
    "json-schema.org/draft-04/schema",
];

/// Formats whose check maps each character and encodes each label, which takes up to the square of
/// a label's length.
const INTERNATIONAL: [&str; 2] = ["idn-hostname", "idn-email"];

/// The steps that such a check takes for 64 bytes.
const INTERNATIONAL_STEPS: u64 = 256;

/// The most alternatives of one list that are `true` or `false`: they are tried without being
/// counted.
const MAX_CONSTANTS: usize = 32;

/// The most references, in the drafts where nothing stands beside one, that are themselves referred
/// to: they are followed without being counted.
const MAX_LINKS: usize = 32;

/// The bytes that a compiled subschema takes, roughly.
const SUBSCHEMA_BYTES: u64 = 1024;

/// The bytes that a subschema takes, roughly, for each time that `unevaluatedProperties` or
/// `unevaluatedItems` looks through it.
const LOOKED_THROUGH_BYTES: u64 = 8 << 10;

/// What the violations that are collected of one document may take in bytes: each may quote a part
/// of the schema.
const VIOLATION_BYTES: u64 = 64 << 20;

/// The bytes that a value in `const` or `enum` takes, roughly.
const LITERAL_BYTES: u64 = 96;

/// A schema that keeps the bounds.
pub(crate) struct Plan {
    /// The schema with a keyword in each subschema that always looks at the value:
    /// `minProperties: 0` where no other does. It changes no answer, and without it a value could
    /// be passed around without anybody looking.
    pub(crate) counted: Value,
    pub(crate) rates: Rates,
    /// What the compiled schema takes, in bytes, roughly.
    pub(crate) bytes: usize,
}

impl Plan {
    /// Reads a schema.
    ///
    /// # Errors
    /// Where it exceeds a bound, or has something that cannot be counted.
    pub(crate) fn of(source: &Value, limits: &SchemaLimits) -> Result<Self, CompileError> {
        let mut reader = Reader {
            limits,
            pointer: String::new(),
            depth: 0,
            subschemas: 0,
            patterns: 0,
            bytes: 0,
            rates: Rates { text: Rate { block: 8, backtracking: 0 }, ..Rates::default() },
            targets: HashSet::new(),
            links: Vec::new(),
            is_legacy: false,
        };
        let counted = reader.value(source)?;
        reader.check_links()?;
        reader.look_through(source)?;
        // Some violations have all of the schema in them.
        let quoted = reader.bytes.saturating_add(8 * source.to_string().len() as u64);
        let most = VIOLATION_BYTES / quoted.max(1);
        reader.rates.violations = u32::try_from(most).unwrap_or(u32::MAX).max(4);
        let bytes = usize::try_from(reader.bytes).unwrap_or(usize::MAX);
        Ok(Self { counted, rates: reader.rates, bytes })
    }
}

struct Reader<'a> {
    limits: &'a SchemaLimits,
    pointer: String,
    depth: usize,
    subschemas: usize,
    patterns: usize,
    bytes: u64,
    rates: Rates,
    /// The fragments of all references.
    targets: HashSet<String>,
    /// The pointers of subschemas with a reference.
    links: Vec<String>,
    /// Whether a draft is spoken in which nothing stands beside a reference.
    is_legacy: bool,
}

impl Reader<'_> {
    fn refused<T>(&self, message: String) -> Result<T, CompileError> {
        Err(CompileError { pointer: self.pointer.clone(), message })
    }

    /// Reads something one level deeper.
    fn at<T>(
        &mut self,
        token: &str,
        read: impl FnOnce(&mut Self) -> Result<T, CompileError>,
    ) -> Result<T, CompileError> {
        let length = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
        let read = read(self)?;
        self.pointer.truncate(length);
        Ok(read)
    }

    /// Reads what stands where a schema may stand.
    fn value(&mut self, value: &Value) -> Result<Value, CompileError> {
        match value {
            Value::Object(members) => self.schema(members),
            Value::Array(items) => {
                let items = items.iter().enumerate();
                let items =
                    items.map(|(i, item)| self.at(&i.to_string(), |reader| reader.value(item)));
                items.collect::<Result<Vec<_>, _>>().map(Value::Array)
            }
            Value::Bool(_) => {
                self.count()?;
                Ok(value.clone())
            }
            _ => Ok(value.clone()),
        }
    }

    /// Counts what `unevaluatedProperties` and `unevaluatedItems` look through.
    fn look_through(&mut self, source: &Value) -> Result<(), CompileError> {
        let looked_through = looked_through(source);
        self.bytes = self.bytes.saturating_add(looked_through.saturating_mul(LOOKED_THROUGH_BYTES));
        let most = self.limits.max_subschemas as u64;
        if looked_through > most {
            return self.refused(format!(
                "'unevaluatedProperties' and 'unevaluatedItems' look through more than {most} subschemas, counted for each way \
                 that leads to them (schemas.max_subschemas)"
            ));
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), CompileError> {
        self.subschemas += 1;
        self.bytes = self.bytes.saturating_add(SUBSCHEMA_BYTES);
        let most = self.limits.max_subschemas;
        if self.subschemas > most {
            return self.refused(format!(
                "the schema has more than {most} subschemas (schemas.max_subschemas)"
            ));
        }
        Ok(())
    }

    fn schema(&mut self, members: &Map<String, Value>) -> Result<Value, CompileError> {
        self.count()?;
        self.depth += 1;
        let most = self.limits.max_depth;
        if self.depth > most {
            return self.refused(format!(
                "subschemas stand in each other more than {most} deep (schemas.max_depth)"
            ));
        }
        if members.get("$ref").is_some_and(Value::is_string) {
            self.links.push(self.pointer.clone());
        }
        let mut counted = Map::new();
        for (keyword, value) in members {
            let read = self.at(keyword, |reader| reader.keyword(keyword, value))?;
            counted.insert(keyword.clone(), read);
        }
        self.depth -= 1;
        if !looks(members) {
            counted.insert(COUNTER.into(), 0.into());
        }
        Ok(Value::Object(counted))
    }

    fn keyword(&mut self, keyword: &str, value: &Value) -> Result<Value, CompileError> {
        match (keyword, value) {
            _ if LITERALS.contains(&keyword) => {
                self.bytes = self.bytes.saturating_add(literal_bytes(value));
                Ok(value.clone())
            }
            (_, Value::Object(members)) if MAPS.contains(&keyword) => {
                if keyword == "patternProperties" {
                    self.names(members)?;
                }
                let members = members.iter();
                let members = members.map(|(name, value)| {
                    Ok((name.clone(), self.at(name, |reader| reader.value(value))?))
                });
                members.collect::<Result<Map<_, _>, _>>().map(Value::Object)
            }
            ("pattern", Value::String(pattern)) => {
                let cost = self.pattern(pattern)?;
                self.rates.text.block = self.rates.text.block.max(cost.atoms);
                self.rates.text.backtracking |= u64::from(cost.backtracks);
                Ok(value.clone())
            }
            ("format", Value::String(format)) => {
                if INTERNATIONAL.contains(&format.as_str()) {
                    self.rates.text.block = self.rates.text.block.max(INTERNATIONAL_STEPS);
                }
                Ok(value.clone())
            }
            ("$schema", Value::String(draft)) => {
                self.draft(draft)?;
                Ok(value.clone())
            }
            (_, Value::String(reference)) if REFERENCES.contains(&keyword) => {
                self.reference(reference)?;
                Ok(value.clone())
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(items))
                if items.iter().filter(|item| item.is_boolean()).count() > MAX_CONSTANTS =>
            {
                self.refused(format!(
                    "more than {MAX_CONSTANTS} of the schemas are 'true' or 'false'; one would do"
                ))
            }
            _ => self.value(value),
        }
    }

    fn names(&mut self, members: &Map<String, Value>) -> Result<(), CompileError> {
        for pattern in members.keys() {
            let cost = self.at(pattern, |reader| reader.pattern(pattern))?;
            let name = &mut self.rates.name;
            name.block = name.block.saturating_add(cost.atoms.max(8));
            name.backtracking += u64::from(cost.backtracks);
        }
        Ok(())
    }

    fn pattern(&mut self, pattern: &str) -> Result<PatternCost, CompileError> {
        self.patterns += 1;
        if self.patterns > self.limits.max_patterns {
            let most = self.limits.max_patterns;
            return self.refused(format!(
                "the schema has more than {most} patterns (schemas.max_patterns)"
            ));
        }
        let cost = PatternCost::of(pattern);
        let most = self.limits.max_pattern_bytes;
        if cost.bytes() > most as u64 {
            return self.refused(format!(
                "the pattern is too large: with its repetitions written out it takes more than {most} bytes \
                 (schemas.max_pattern_bytes)"
            ));
        }
        self.bytes = self.bytes.saturating_add(cost.bytes());
        Ok(cost)
    }

    fn draft(&mut self, draft: &str) -> Result<(), CompileError> {
        let name = draft.trim_end_matches('#');
        let name =
            name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
        if !DRAFTS.contains(&name) {
            return self.refused(format!(
                "'{draft}' is none of the drafts that are known here (2020-12, 2019-09, 7, 6 and 4), and a meta-schema of one's \
                 own is not used: name the draft that it builds on, such as 'https://json-schema.org/draft/2020-12/schema', or \
                 leave '$schema' out"
            ));
        }
        self.is_legacy |= name.contains("draft-0");
        Ok(())
    }

    /// Makes sure that a reference leads to where schemas are read.
    fn reference(&mut self, reference: &str) -> Result<(), CompileError> {
        let Some((_, fragment)) = reference.split_once('#') else { return Ok(()) };
        let fragment = percent_decode_str(fragment).decode_utf8_lossy().into_owned();
        let mut is_map = false;
        for token in fragment.split('/').skip(1) {
            if !is_map && LITERALS.contains(&token) {
                return self.refused(format!(
                    "'{reference}' leads into '{token}', where no schema stands; one that is called so stands under $defs"
                ));
            }
            is_map = !is_map && MAPS.contains(&token);
        }
        if is_map {
            return self.refused(format!(
                "'{reference}' leads to schemas by name, and not to one of them"
            ));
        }
        self.targets.insert(fragment);
        Ok(())
    }

    /// Makes sure that references do not lead from one to the next for long where they could not be
    /// counted.
    fn check_links(&self) -> Result<(), CompileError> {
        let is_target = |pointer: &&String| {
            // A pointer may count from the root or from any resource around.
            pointer.is_empty()
                || pointer
                    .match_indices('/')
                    .any(|(start, _)| self.targets.contains(&pointer[start..]))
        };
        if !self.is_legacy || self.links.len() <= MAX_LINKS {
            return Ok(());
        }
        match self.links.iter().filter(is_target).nth(MAX_LINKS) {
            None => Ok(()),
            Some(link) => Err(CompileError {
                pointer: link.clone(),
                message: format!(
                    "more than {MAX_LINKS} references lead to what is a reference itself: refer to its target instead"
                ),
            }),
        }
    }
}

/// Whether a subschema looks at the value, and before it passes it on.
fn looks(members: &Map<String, Value>) -> bool {
    let has = |keywords: &[&str]| keywords.iter().any(|keyword| members.contains_key(*keyword));
    has(&FIRST) || (has(&LOOKING) && !has(&IN_PLACE))
}

/// The schema as it was written, of one that was made ready to be counted.
pub(crate) fn as_written(counted: &Value) -> Value {
    match counted {
        Value::Object(members) => {
            let mut written = Map::new();
            for (keyword, value) in members {
                let value = match value {
                    _ if LITERALS.contains(&keyword.as_str()) => value.clone(),
                    Value::Object(schemas) if MAPS.contains(&keyword.as_str()) => schemas
                        .iter()
                        .map(|(name, schema)| (name.clone(), as_written(schema)))
                        .collect(),
                    _ => as_written(value),
                };
                written.insert(keyword.clone(), value);
            }
            if let Some(counter) = written.remove(COUNTER)
                && (counter != 0 || looks(&written))
            {
                written.insert(COUNTER.into(), counter);
            }
            Value::Object(written)
        }
        Value::Array(items) => items.iter().map(as_written).collect(),
        other => other.clone(),
    }
}

/// The bytes that a value takes, roughly.
fn literal_bytes(value: &Value) -> u64 {
    LITERAL_BYTES
        + match value {
            Value::Array(items) => items.iter().map(literal_bytes).sum(),
            Value::Object(members) => members
                .iter()
                .map(|(name, value)| name.len() as u64 + literal_bytes(value))
                .sum::<u64>(),
            Value::String(text) => text.len() as u64,
            _ => 0,
        }
}
