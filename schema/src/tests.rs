mod dialect;

use super::*;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

fn compile(source: Value) -> Result<Schema, CompileError> {
    Schema::compile(Arc::new(source))
}

#[test]
fn violations_point() {
    let schema =
        compile(json!({"type": "object", "properties": {"items": {"items": {"properties": {"qty": {"minimum": 1}}}}}}))
            .unwrap();
    assert!(schema.validate(&json!({"items": [{"qty": 1}]})).is_ok());
    let violations = schema.validate(&json!({"items": [{"qty": 1}, {"qty": 0}]})).unwrap_err();
    assert_eq!(violations[0].pointer, "/items/1/qty");
    assert!(violations[0].message.contains("minimum"), "{}", violations[0].message);
}

#[test]
fn older_drafts_are_spoken() {
    let draft4 = json!({"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 5, "exclusiveMinimum": true});
    let schema = compile(draft4).unwrap();
    assert!(schema.validate(&json!(5)).is_err());
    assert!(schema.validate(&json!(6)).is_ok());
}

#[test]
fn nothing_is_fetched() {
    for reference in ["https://example.com/a.json", "file:///etc/passwd", "other.json"] {
        let error =
            compile(json!({"properties": {"a": {"$ref": reference}}})).unwrap_err().to_string();
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

/// Schemas that refer to the one below twice, `levels` deep, in the way that `pair` says.
fn doubling(draft: &str, levels: usize, innermost: Value, pair: impl Fn(Value) -> Value) -> Value {
    let mut schemas = Map::new();
    schemas.insert("s0".into(), innermost);
    for level in 1..=levels {
        let below = json!({"$ref": format!("#/definitions/s{}", level - 1)});
        schemas.insert(format!("s{level}"), pair(below));
    }
    let top = format!("#/definitions/s{levels}");
    json!({"$schema": draft, "definitions": schemas, "allOf": [{"$ref": top}]})
}

const DRAFT_7: &str = "http://json-schema.org/draft-07/schema#";
const DRAFT_2020: &str = "https://json-schema.org/draft/2020-12/schema";

#[test]
fn what_multiplies_ends_with_its_steps() {
    type Pair = fn(Value) -> Value;
    let pairs: [(&str, Pair, bool); 5] = [
        ("allOf", |below| json!({"allOf": [below, below]}), true),
        ("anyOf", |below| json!({"anyOf": [below, below]}), false),
        ("oneOf", |below| json!({"oneOf": [below, {"not": below}]}), true),
        ("if", |below| json!({"if": below, "then": below}), true),
        ("not", |below| json!({"not": {"not": {"anyOf": [below, {"allOf": [below]}]}}}), false),
    ];
    for draft in [DRAFT_7, DRAFT_2020] {
        for (name, pair, all_pass) in pairs {
            // Innermost is what passes and looks at nothing, or what fails and looks at nothing.
            for innermost in [json!(all_pass), json!({"title": "nothing"}), json!({})] {
                let schema = compile(doubling(draft, 12, innermost.clone(), pair)).unwrap();
                let (few, mut many) = (schema.check(&json!(1), &mut 500), 1_000_000);
                let full = schema.check(&json!(1), &mut many);
                let took = 1_000_000 - many;
                assert!(
                    took < 500 || few == Err(Failure::Steps),
                    "{draft} {name} {innermost}: {few:?} after {took}"
                );
                assert!(!matches!(full, Err(Failure::Steps)), "{draft} {name} {innermost}");
                // Whatever is tried 2^12 times has taken at least so many steps.
                let tries_all = !(name == "anyOf" && innermost.is_object()) && name != "not";
                assert!(!tries_all || took >= 1 << 12, "{draft} {name} {innermost}: {took}");
            }
        }
    }
}

#[test]
fn what_recurs_ends_with_its_steps() {
    let again = json!({"items": {"$ref": "#"}});
    let schema =
        compile(json!({"allOf": [again, {"anyOf": [again, again]}], "not": {"type": "string"}}))
            .unwrap();
    let document = (0..12).fold(json!("x"), |inner, _| json!([inner]));
    let mut many = 10_000_000;
    assert_eq!(schema.is_valid(&document, &mut many), Ok(false));
    // How many it takes is the compiler's to say, too: a part of them is taken for the stack.
    let took = 10_000_000 - many;
    assert!(took > 36, "each of twelve levels is looked at in three ways: {took}");
    assert_eq!(schema.check(&document, &mut (took - 1)), Err(Failure::Steps));
    assert!(matches!(schema.check(&document, &mut 10_000_000), Err(Failure::Violations(_))));
}

#[test]
fn comparisons_and_texts_take_steps() {
    let numbers: Vec<u32> = (0..2_000).collect();
    let long = "a".repeat(100_000);
    for (source, document) in [
        (json!({"uniqueItems": true}), json!(numbers)),
        (json!({"const": numbers}), json!(numbers)),
        (json!({"enum": [numbers, "x"]}), json!(numbers)),
        (json!({"contains": {"type": "string"}, "minContains": 0}), json!(numbers)),
        (json!({"pattern": "^[a-z]*$"}), json!(long)),
        (json!({"minLength": 1}), json!(long)),
        (json!({"patternProperties": {"^[a-z]*$": true}}), json!({long.clone(): 1})),
        (json!({"propertyNames": {"pattern": "^[a-z]*$"}}), json!({long.clone(): 1})),
        (json!({"format": "email"}), json!(long)),
    ] {
        let schema = compile(source.clone()).unwrap();
        assert_eq!(schema.check(&document, &mut 1_000), Err(Failure::Steps), "{source}");
        assert_ne!(schema.check(&document, &mut 10_000_000), Err(Failure::Steps), "{source}");
    }
}

#[test]
fn many_violations_are_not_all_collected() {
    let schema = compile(json!({"items": {"type": "string"}})).unwrap();
    let violations = |count: usize| schema.validate(&json!(vec![0; count])).unwrap_err();
    assert_eq!(violations(100).len(), MAX_VIOLATIONS);
    let first = violations(50_000);
    assert_eq!((first.len(), first[0].pointer.as_str()), (1, "/0"));
    let mut steps = 150_000;
    let cut = schema.check(&json!(vec![0; 50_000]), &mut steps);
    assert!(matches!(cut, Err(Failure::Violations(found)) if found.len() == 1));
}

#[test]
fn definitions_are_bounded() {
    let limits = SchemaLimits {
        max_subschemas: 20,
        max_depth: 4,
        max_patterns: 2,
        max_pattern_bytes: 4_096,
        ..SchemaLimits::default()
    };
    let many: Map<String, Value> =
        (0..30).map(|i| (format!("p{i}"), json!({"type": "string"}))).collect();
    for (source, pointer, setting) in [
        (json!({"properties": many}), "/properties/p26", "max_subschemas"),
        (json!({"not": {"not": {"not": {"not": {}}}}}), "/not/not/not/not", "max_depth"),
        (json!({"items": {"pattern": "[a-z]{200}"}}), "/items/pattern", "max_pattern_bytes"),
        (
            json!({"patternProperties": {"^(a{20}/){20}$": {}}}),
            "/patternProperties/^(a{20}~1){20}$",
            "max_pattern_bytes",
        ),
        (
            json!({"allOf": [{"pattern": "a"}, {"pattern": "b"}, {"pattern": "c"}]}),
            "/allOf/2/pattern",
            "max_patterns",
        ),
        (json!({"anyOf": vec![true; 33], "x": 1}), "/anyOf", ""),
    ] {
        assert!(compile(source.clone()).is_ok() != setting.is_empty(), "{source}");
        let limits = if setting.is_empty() { SchemaLimits::default() } else { limits.clone() };
        let refused = Schema::compile_within(Arc::new(source), &limits).unwrap_err();
        assert_eq!(refused.pointer, pointer, "{refused}");
        assert!(
            setting.is_empty() || refused.message.contains(&format!("schemas.{setting}")),
            "{refused}"
        );
    }
    // The compiler has the last word on what a pattern takes.
    let limits = SchemaLimits { max_pattern_bytes: 1_000, ..SchemaLimits::default() };
    let refused =
        Schema::compile_within(Arc::new(json!({"not": {"pattern": "[^a]{2}x*y"}})), &limits)
            .unwrap_err();
    assert_eq!(
        (refused.pointer.as_str(), refused.message.contains("max_pattern_bytes")),
        ("/not/pattern", true)
    );
}

#[test]
fn scopes_do_not_multiply_for_ever() {
    let resource = |name: &str, level: usize| {
        let below = |name: &str| json!({"$ref": format!("{name}{}", level - 1)});
        let items = if level == 0 { json!([true]) } else { json!([below("a"), below("b")]) };
        json!({"$id": format!("{name}{level}"), "type": "array", "items": false, "prefixItems": items})
    };
    let resources: Map<String, Value> = (0..7)
        .flat_map(|level| ["a", "b"].map(|name| (format!("{name}{level}"), resource(name, level))))
        .collect();
    let source =
        Arc::new(json!({"$id": "https://example.com/root", "$defs": resources, "$ref": "a6"}));
    let limits = |max_compile_steps| SchemaLimits { max_compile_steps, ..SchemaLimits::default() };
    let refused = Schema::compile_within(Arc::clone(&source), &limits(300)).unwrap_err();
    assert!(refused.message.contains("schemas.max_compile_steps"), "{refused}");
    assert!(Schema::compile_within(source, &limits(1_000_000)).is_ok());
}

#[test]
fn references_lead_to_schemas() {
    for (reference, is_fine) in [
        ("#/$defs/a", true),
        ("#/properties/const/properties/enum", true),
        ("#/$defs", false),
        ("#/const/a", false),
        ("#/%63onst/a", false),
        ("#/allOf/0/enum/0", false),
        ("#/$defs/default", true),
        // What stands under a keyword of one's own may be a schema or a map of them.
        ("#/components/a", true),
        ("#/components/default", false),
    ] {
        let source = json!({
            "$ref": reference, "const": {"a": {}}, "$defs": {"a": {}, "default": {}}, "allOf": [{"enum": [{}]}],
            "components": {"a": {}, "default": {}},
            "properties": {"const": {"properties": {"enum": {}}}}
        });
        let compiled = compile(source);
        assert_eq!(compiled.is_ok(), is_fine, "{reference}");
        assert!(compiled.err().is_none_or(|error| error.pointer == "/$ref"));
    }
    for reference in ["#/const/a", "#/components/default"] {
        let error =
            compile(json!({"$ref": reference, "const": {"a": {}}, "components": {"default": {}}}))
                .unwrap_err();
        assert!(error.message.contains("stands under $defs"), "{error}");
    }
    let chain = |draft: &str, length: usize| {
        let link =
            |i: usize| (format!("s{i}"), json!({"$ref": format!("#/definitions/s{}", i + 1)}));
        let mut schemas: Map<String, Value> = (0..length).map(link).collect();
        schemas.insert(format!("s{length}"), json!({"type": "string"}));
        compile(
            json!({"$schema": draft, "definitions": schemas, "items": {"$ref": "#/definitions/s0"}}),
        )
    };
    assert!(chain(DRAFT_7, 20).is_ok() && chain(DRAFT_2020, 100).is_ok());
    assert!(chain(DRAFT_7, 50).unwrap_err().message.contains("a reference itself"));
}

#[test]
fn deep_schemas_neither_compile_nor_check_without_end() {
    let link = |i: usize| {
        let next = json!({"$ref": format!("#/$defs/s{}", i + 1)});
        (format!("s{i}"), (0..20).fold(next, |inner, _| json!({"not": inner})))
    };
    let mut schemas: Map<String, Value> = (0..20).map(link).collect();
    schemas.insert("s20".into(), json!({"items": {"$ref": "#/$defs/s0"}}));
    let schema = compile(json!({"$defs": schemas, "$ref": "#/$defs/s0"})).unwrap();
    assert_eq!(schema.check(&json!({}), &mut 1_000_000), Ok(()));
    // As deep as it takes.
    let nested = |depth: usize| (0..depth).fold(json!({}), |inner, _| json!([inner]));
    let document = (1..100)
        .map(nested)
        .find(|document| schema.check(document, &mut 10_000_000).is_err())
        .unwrap();
    assert_eq!(schema.check(&document, &mut 10_000_000), Err(Failure::Depth));
    assert!(schema.validate(&document).unwrap_err()[0].message.contains("too deep"));
}

/// The validator as it is without bounds.
fn plain(source: &Value) -> Option<Validator> {
    let patterns = PatternOptions::fancy_regex().backtrack_limit(BACKTRACK_LIMIT);
    let options = jsonschema::options().with_retriever(NoRetrieval).should_validate_formats(true);
    options.with_pattern_options(patterns).build(source).ok()
}

fn any_document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-3..3_i64).prop_map(Value::from),
        Just(json!(1.5)),
        "[ab@.]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[abc]", inner, 0..3)
                .prop_map(|members| json!(members)),
        ]
    })
}

fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        Just(json!({})),
        select(&["#", "#/$defs/a", "#/$defs/b"][..])
            .prop_map(|reference| json!({"$ref": reference})),
        select(&["null", "boolean", "object", "array", "number", "integer", "string"][..])
            .prop_map(|name| json!({"type": name})),
        any_document().prop_map(|value| json!({"const": value})),
        proptest::collection::vec(any_document(), 1..3).prop_map(|values| json!({"enum": values})),
        (0..3_u64, 0..3_u64)
            .prop_map(|(a, b)| json!({"minLength": a, "maxItems": b, "minimum": a})),
        select(&["^a", "b$", "^(?!a)", "[ab]{2}"][..])
            .prop_map(|pattern| json!({"pattern": pattern})),
        Just(json!({"uniqueItems": true, "format": "email", "required": ["a"], "multipleOf": 2})),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        let list = proptest::collection::vec(inner.clone(), 1..3);
        prop_oneof![
            (select(&["allOf", "anyOf", "oneOf", "prefixItems"][..]), list)
                .prop_map(|(keyword, schemas)| json!({keyword: schemas})),
            (
                select(
                    &[
                        "not",
                        "items",
                        "contains",
                        "additionalProperties",
                        "propertyNames",
                        "unevaluatedItems",
                        "unevaluatedProperties"
                    ][..]
                ),
                inner.clone()
            )
                .prop_map(|(keyword, schema)| json!({keyword: schema})),
            (inner.clone(), inner.clone())
                .prop_map(|(a, b)| json!({"if": a.clone(), "then": b, "else": a})),
            (
                select(&["properties", "patternProperties", "dependentSchemas"][..]),
                inner.clone(),
                inner.clone()
            )
                .prop_map(|(keyword, a, b)| json!({keyword: {"a": a, "b": b}})),
            (inner.clone(), inner).prop_map(|(a, b)| match (a, b) {
                (Value::Object(a), Value::Object(b)) =>
                    Value::Object(a.into_iter().chain(b).collect()),
                (a, _) => a,
            }),
        ]
    })
}

proptest! {
    #[test]
    fn an_answer_is_the_plain_one_or_none(
        root in any_schema(), a in any_schema(), b in any_schema(), document in any_document(), few in 0..200_u64,
        draft in prop_oneof![Just(DRAFT_7), Just(DRAFT_2020)],
    ) {
        let mut source = match root {
            Value::Object(root) => Value::Object(root),
            other => json!({"allOf": [other]}),
        };
        source["$schema"] = json!(draft);
        source["$defs"] = json!({"a": a, "b": b});
        let Some(plain) = plain(&source) else { return Ok(()) };
        let schema = match compile(source) {
            Ok(schema) => schema,
            // It refers to itself, and must be looked through.
            Err(error) if error.message.contains("look through") => return Ok(()),
            Err(error) => panic!("{error}"),
        };
        let mut expected: Vec<Violation> = plain.iter_errors(&document).map(violation).collect();
        expected.truncate(MAX_VIOLATIONS);
        let is_valid = plain.is_valid(&document);
        let mut steps = 1_000_000;
        match schema.check(&document, &mut steps) {
            Ok(()) => prop_assert!(is_valid),
            Err(Failure::Violations(violations)) => {
                prop_assert!(!is_valid);
                if !expected.is_empty() {
                    prop_assert_eq!(violations, expected);
                }
            }
            other => prop_assert!(false, "{:?}", other),
        }
        let mut left = few;
        match schema.check(&document, &mut left) {
            Ok(()) => prop_assert!(is_valid),
            Err(Failure::Violations(_)) => prop_assert!(!is_valid),
            Err(Failure::Steps) => prop_assert!(1_000_000 - steps > few),
            Err(Failure::Depth) => prop_assert!(false, "too deep"),
        }
    }
}

#[test]
fn what_looks_through_others_is_bounded() {
    let level = |i: usize| {
        let next = json!({"$ref": format!("#/$defs/l{}", i + 1)});
        (format!("l{i}"), json!({"allOf": [next, next], "unevaluatedProperties": false}))
    };
    let schema = |levels: usize| {
        let mut defs: Map<String, Value> = (0..levels).map(level).collect();
        defs.insert(format!("l{levels}"), json!({"type": "object"}));
        json!({"$defs": defs, "$ref": "#/$defs/l0"})
    };
    assert!(compile(schema(3)).is_ok());
    let limits = SchemaLimits { max_subschemas: 50, ..SchemaLimits::default() };
    let refused = Schema::compile_within(Arc::new(schema(4)), &limits).unwrap_err();
    assert!(
        refused.message.contains("schemas.max_subschemas")
            && refused.message.contains("look through"),
        "{refused}"
    );
}

#[test]
fn what_is_no_schema_is_left_as_it_is() {
    let schema = compile(
        json!({"properties": {"o": {"dependentRequired": {"a": ["b"], "pattern": ["c"]}}}}),
    )
    .unwrap();
    assert!(schema.validate(&json!({"o": {"a": 1, "b": 2}})).is_ok());
    let violations = schema.validate(&json!({"o": {"a": 1}})).unwrap_err();
    assert_eq!((violations[0].pointer.as_str(), violations.len()), ("/o", 1));
}

#[test]
fn violations_that_quote_much_are_few() {
    let document = json!(vec!["x"; 100]);
    let schema = |values: usize| {
        let values: Vec<Value> = (0..values).map(Value::from).chain([json!("x")]).collect();
        compile(json!({"items": {"not": {"enum": values}}})).unwrap()
    };
    assert_eq!(schema(10).validate(&document).unwrap_err().len(), MAX_VIOLATIONS);
    // Each has the whole schema in it, so only the first is looked for.
    assert_eq!(schema(20_000).validate(&document).unwrap_err().len(), 1);
}
