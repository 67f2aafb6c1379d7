//! JSON values as the validator sees them: it can take nothing from a document but through here,
//! where it is counted.

use std::borrow::Cow;

use jsonschema::JsonType;
use jsonschema::json::{Array, Json, Node, NodeIdentity, Object, cmp, unique};
use serde_json::{Map, Number, Value};

use crate::meter;

/// Arrays up to this length are compared pair by pair where their elements must differ.
const PAIRWISE: usize = 15;

/// `serde_json` with a meter.
pub(crate) struct Metered;

/// A value.
#[derive(Clone, Copy)]
pub(crate) struct MeteredValue<'a>(pub(crate) &'a Value);

/// An object.
pub(crate) struct MeteredObject<'a>(&'a Map<String, Value>);

/// An array.
pub(crate) struct MeteredArray<'a>(&'a [Value]);

/// An object's members.
pub(crate) struct Members<'a>(serde_json::map::Iter<'a>);

/// An array's elements.
pub(crate) struct Elements<'a>(std::slice::Iter<'a, Value>);

impl Json for Metered {
    type Node<'a> = MeteredValue<'a>;
    type PreparedKey = String;
    type StringBuffer = Value;

    // As for `serde_json` itself, whose map this is.
    const KEYS_PER_LOOKUP: usize = 2;

    fn prepare_key(key: &str) -> String {
        // Done when a schema is compiled, once for each name in it.
        meter::charge(1);
        key.to_owned()
    }

    fn with_string_node<T>(
        buffer: &mut Value,
        string: &str,
        f: impl FnOnce(MeteredValue<'_>) -> T,
    ) -> T {
        if let Value::String(text) = buffer {
            text.clear();
            text.push_str(string);
        } else {
            *buffer = Value::String(string.to_owned());
        }
        f(MeteredValue(buffer))
    }
}

impl<'a> Node<'a, Metered> for MeteredValue<'a> {
    type Object = MeteredObject<'a>;
    type Array = MeteredArray<'a>;
    type Number = &'a Number;

    fn as_object(&self) -> Option<MeteredObject<'a>> {
        meter::descend();
        self.0.as_object().map(MeteredObject)
    }

    fn as_array(&self) -> Option<MeteredArray<'a>> {
        meter::descend();
        self.0.as_array().map(|items| MeteredArray(items))
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        let text = self.0.as_str();
        meter::text(text.map_or(0, str::len));
        text.map(Cow::Borrowed)
    }

    fn as_number(&self) -> Option<&'a Number> {
        // Fractions are compared, and divided, as such.
        meter::charge(if self.0.is_f64() { 10 } else { 1 });
        self.0.as_number()
    }

    fn as_boolean(&self) -> Option<bool> {
        meter::charge(1);
        self.0.as_bool()
    }

    fn is_null(&self) -> bool {
        meter::charge(1);
        self.0.is_null()
    }

    fn is_number(&self) -> bool {
        meter::charge(1);
        self.0.is_number()
    }

    fn is_string(&self) -> bool {
        meter::charge(1);
        self.0.is_string()
    }

    fn json_type(&self) -> JsonType {
        meter::descend();
        match self.0 {
            Value::Null => JsonType::Null,
            Value::Bool(_) => JsonType::Boolean,
            Value::Number(_) => JsonType::Number,
            Value::String(_) => JsonType::String,
            Value::Array(_) => JsonType::Array,
            Value::Object(_) => JsonType::Object,
        }
    }

    fn string_length(&self) -> Option<u64> {
        let text = self.0.as_str();
        meter::charge(1 + text.map_or(0, str::len) as u64 / 64);
        text.map(|text| text.chars().count() as u64)
    }

    fn equals_value(&self, expected: &Value) -> bool {
        meter::charge(comparison(self.0, expected));
        cmp::equal(self.0, expected)
    }

    fn to_value(&self) -> Cow<'a, Value> {
        // All else that would ask for it is done here, so that only a violation does.
        meter::error();
        Cow::Borrowed(self.0)
    }

    fn identity(&self) -> Option<NodeIdentity> {
        meter::enter();
        Some(NodeIdentity::new(std::ptr::from_ref(self.0) as usize))
    }
}

impl<'a> Object<'a, Metered> for MeteredObject<'a> {
    type Node = MeteredValue<'a>;
    type MemberName = &'a str;
    type MembersIter = Members<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, key: &String) -> Option<MeteredValue<'a>> {
        meter::charge(1);
        self.0.get(key).map(MeteredValue)
    }

    fn members(&self) -> Members<'a> {
        meter::charge(self.0.len() as u64);
        Members(self.0.iter())
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, MeteredValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.0.next()?;
        meter::name(name.len());
        Some((name, MeteredValue(value)))
    }
}

impl<'a> Array<'a, Metered> for MeteredArray<'a> {
    type Node = MeteredValue<'a>;
    type ElementsIter = Elements<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn elements(&self) -> Elements<'a> {
        meter::charge(self.0.len() as u64);
        Elements(self.0.iter())
    }

    fn is_unique(&self) -> bool {
        let each = if self.0.len() <= PAIRWISE { self.0.len() as u64 } else { 2 };
        meter::charge(self.0.iter().map(size).sum::<u64>().saturating_mul(each));
        unique::is_unique(self.0)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = MeteredValue<'a>;

    fn next(&mut self) -> Option<MeteredValue<'a>> {
        self.0.next().map(MeteredValue)
    }
}

/// The steps of a comparison: no more than the smaller of the two has.
fn comparison(value: &Value, expected: &Value) -> u64 {
    match (value, expected) {
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => size(expected),
        (Value::Object(left), Value::Object(right)) if left.len() == right.len() => size(expected),
        (Value::String(left), Value::String(right)) if left.len() == right.len() => size(expected),
        _ => 1,
    }
}

/// The steps of looking at all of a value.
fn size(value: &Value) -> u64 {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<u64>(),
        Value::Object(members) => {
            1 + members
                .iter()
                .map(|(name, value)| 1 + name.len() as u64 / 64 + size(value))
                .sum::<u64>()
        }
        Value::String(text) => 1 + text.len() as u64 / 64,
        _ => 1,
    }
}
