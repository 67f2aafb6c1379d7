//! What `unevaluatedProperties` and `unevaluatedItems` cost to compile: each looks through all that
//! is applied to the same value, and through what that refers to, again for each way in which it is
//! reached. A schema of a kilobyte can so be made that no memory is enough for it, so this counts
//! before anything is compiled.

use std::collections::HashMap;

use serde_json::Value;

/// Keywords with a schema, or several, for the same value.
const IN_PLACE: [&str; 9] =
    ["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"];

const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// Keywords that look through them.
const LOOKING_THROUGH: [&str; 2] = ["unevaluatedProperties", "unevaluatedItems"];

/// How far one leads to the next before it counts as without end: what is looked through is looked
/// through on the stack.
const MAX_DEPTH: u32 = 256;

/// How many subschemas are looked through, written out: an upper bound, and 0 without such
/// keywords.
pub(crate) fn looked_through(source: &Value) -> u64 {
    let mut locations = Locations {
        source,
        resources: vec![source],
        anchors: HashMap::new(),
        weights: HashMap::new(),
        depth: 0,
    };
    let mut looking = Vec::new();
    collect(source, &mut |node| {
        let text = |keyword| node.get(keyword).and_then(Value::as_str);
        for anchor in ["$anchor", "$dynamicAnchor"].into_iter().filter_map(text) {
            locations.anchors.entry(anchor).or_default().push(node);
        }
        if let Some(id) = text("$id").or_else(|| text("id")) {
            locations.resources.push(node);
            if let Some((_, anchor)) = id.split_once('#') {
                locations.anchors.entry(anchor).or_default().push(node);
            }
        }
        if looks_through(node) {
            looking.push(node);
        }
    });
    looking.into_iter().fold(0, |sum: u64, node| sum.saturating_add(locations.weight(node)))
}

/// Calls `see` with every object, whether it is a schema or not.
fn collect<'a>(value: &'a Value, see: &mut impl FnMut(&'a Value)) {
    match value {
        Value::Object(members) => {
            see(value);
            members.values().for_each(|member| collect(member, see));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, see)),
        _ => {}
    }
}

fn looks_through(node: &Value) -> bool {
    LOOKING_THROUGH.iter().any(|keyword| node.get(keyword).is_some())
}

struct Locations<'a> {
    source: &'a Value,
    /// What pointers may count from.
    resources: Vec<&'a Value>,
    anchors: HashMap<&'a str, Vec<&'a Value>>,
    /// By the address of a node; `None` while it is being found out.
    weights: HashMap<*const Value, Option<u64>>,
    depth: u32,
}

impl<'a> Locations<'a> {
    /// The subschemas that are looked through from a node on, itself included. What looks through
    /// others itself counts twice where it is reached. A circle has no end.
    fn weight(&mut self, node: &'a Value) -> u64 {
        let Value::Object(members) = node else { return 1 };
        let address = std::ptr::from_ref(node);
        match self.weights.get(&address) {
            Some(Some(weight)) => return *weight,
            Some(None) => return u64::MAX,
            None if self.depth == MAX_DEPTH => return u64::MAX,
            None => {}
        }
        self.weights.insert(address, None);
        self.depth += 1;
        let mut weight = 1_u64;
        for (keyword, value) in members {
            let below = match value {
                Value::String(reference) if REFERENCES.contains(&keyword.as_str()) => {
                    self.referred(reference)
                }
                Value::Array(items) if IN_PLACE.contains(&keyword.as_str()) => {
                    items.iter().fold(0, |sum: u64, item| sum.saturating_add(self.reached(item)))
                }
                Value::Object(schemas)
                    if matches!(keyword.as_str(), "dependentSchemas" | "dependencies") =>
                {
                    schemas
                        .values()
                        .fold(0, |sum: u64, schema| sum.saturating_add(self.reached(schema)))
                }
                Value::Object(_) if IN_PLACE.contains(&keyword.as_str()) => self.reached(value),
                _ => 0,
            };
            weight = weight.saturating_add(below);
        }
        self.depth -= 1;
        self.weights.insert(address, Some(weight));
        weight
    }

    fn reached(&mut self, node: &'a Value) -> u64 {
        let weight = self.weight(node);
        if looks_through(node) { weight.saturating_mul(2) } else { weight }
    }

    /// The weight of what a reference leads to. It may lead to one of several places, as resources
    /// have names and pointers of their own: the heaviest counts. What is not here is refused by
    /// the compiler, or a draft's own schema.
    fn referred(&mut self, reference: &str) -> u64 {
        let fragment = reference.split_once('#').map_or("", |(_, fragment)| fragment);
        let fragment = percent_encoding::percent_decode_str(fragment).decode_utf8_lossy();
        let targets: Vec<&'a Value> = if fragment.is_empty() || fragment.starts_with('/') {
            let from = self.resources.iter().copied().chain([self.source]);
            from.filter_map(|resource| resource.pointer(&fragment)).collect()
        } else {
            self.anchors.get(&*fragment).cloned().unwrap_or_default()
        };
        targets.into_iter().map(|target| self.reached(target)).max().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Levels that each apply the next one so many times.
    fn levels(count: usize, times: usize, looking: bool) -> Value {
        let mut defs = serde_json::Map::new();
        for i in 0..count {
            let next = json!({"$ref": format!("#/$defs/l{}", i + 1)});
            let mut level = json!({"allOf": vec![next; times]});
            if looking {
                level["unevaluatedProperties"] = json!(false);
            }
            defs.insert(format!("l{i}"), level);
        }
        defs.insert(format!("l{count}"), json!({"type": "object"}));
        json!({"$defs": defs, "$ref": "#/$defs/l0", "unevaluatedProperties": false})
    }

    #[test]
    fn ordinary_schemas_weigh_little() {
        let person = json!({"properties": {"name": {"type": "string"}}});
        let schema = json!({
            "$defs": {"person": person, "address": {"properties": {"city": true}}},
            "allOf": [{"$ref": "#/$defs/person"}, {"$ref": "#/$defs/address"}],
            "properties": {"child": {"$ref": "#", "unevaluatedProperties": false}},
            "unevaluatedProperties": false,
        });
        assert!((5..50).contains(&looked_through(&schema)), "{}", looked_through(&schema));
        assert_eq!(looked_through(&levels(3, 2, false)["$defs"]), 0);
        assert_eq!(looked_through(&json!(true)), 0);
    }

    #[test]
    fn what_multiplies_weighs_as_much() {
        let of = |count, times, looking| looked_through(&levels(count, times, looking));
        assert!(of(4, 2, true) > 3 * of(3, 2, true) && of(4, 2, true) < 5_000);
        assert!(of(4, 1, true) > of(3, 1, true) * 3 / 2);
        assert!(of(5, 2, false) > 3 * of(4, 2, false) / 2);
        assert!(of(60, 1, false) < 200);
        assert_eq!(of(300, 1, false), u64::MAX, "it is too deep");
        let circle = json!({"unevaluatedItems": false, "anyOf": [{"$ref": "#"}, true]});
        assert_eq!(looked_through(&circle), u64::MAX);
        let anchor = json!({
            "unevaluatedItems": false, "$ref": "#b",
            "$defs": {"b": {"$anchor": "b", "if": {"$ref": "urn:c"}}, "c": {"$id": "urn:c", "oneOf": [true, true]}},
        });
        assert!(looked_through(&anchor) > 5);
    }
}
