//! What `$schema` and `format` say.

use super::*;

/// For each format a text that is of it, and one that is not.
const FORMATS: [(&str, &str, &str); 19] = [
    ("date", "2024-02-29", "2023-02-29"),
    ("time", "10:00:00Z", "25:00:00Z"),
    ("date-time", "2024-02-29T10:00:00Z", "yesterday"),
    ("duration", "P1D", "1 day"),
    ("email", "ada@example.com", "ada"),
    ("idn-email", "아다@실례.테스트", "아다"),
    ("hostname", "example.com", "-a-"),
    ("idn-hostname", "실례.테스트", "\u{302e}실례"),
    ("ipv4", "127.0.0.1", "127.0.0.256"),
    ("ipv6", "::1", "::g"),
    ("uri", "urn:a", "a"),
    ("uri-reference", "a", "a b"),
    ("uri-template", "/{a}", "/{a"),
    ("iri", "http://실례.테스트/", "a"),
    ("iri-reference", "실례", "\\실례"),
    ("uuid", "2eb8aa08-aa98-11ea-b4aa-73b441d16380", "2eb8aa08"),
    ("json-pointer", "/a/~0", "a"),
    ("relative-json-pointer", "1/a", "/a"),
    ("regex", "^a$", "^(a"),
];

#[test]
fn every_known_format_is_asserted_and_may_be_only_annotated() {
    let annotate = SchemaLimits { formats: Formats::Annotate, ..SchemaLimits::default() };
    for (format, good, bad) in FORMATS {
        let source = Arc::new(json!({"format": format}));
        let asserted = Schema::compile(Arc::clone(&source)).unwrap();
        assert!(asserted.validate(&json!(good)).is_ok(), "{format}: {good}");
        let violations = asserted.validate(&json!(bad)).expect_err(format);
        assert_eq!(violations[0].schema_pointer, "/format", "{format}: {bad}");
        let annotated = Schema::compile_within(source, &annotate).unwrap();
        assert!(annotated.validate(&json!(bad)).is_ok(), "{format}: {bad}");
    }
}

#[test]
fn a_format_that_is_not_known_annotates() {
    for source in [json!({"format": "phone"}), json!({"$schema": DRAFT_7, "format": "uuid"})] {
        assert!(compile(source.clone()).unwrap().validate(&json!("x")).is_ok(), "{source}");
    }
}

/// Each of the labels is encoded in a time that grows with its square, so few steps must not let
/// much of them pass.
#[test]
fn international_names_take_steps_as_they_take_time() {
    let labels: Vec<String> = (0..40_u32)
        .map(|label| {
            (0..500).filter_map(|i| char::from_u32(0x4e00 + 500 * label % 20_000 + i)).collect()
        })
        .collect();
    for format in ["idn-hostname", "idn-email"] {
        let schema = compile(json!({"format": format})).unwrap();
        let name = format!("a@{}", labels.join("."));
        assert_eq!(schema.check(&json!(name), &mut 100_000), Err(Failure::Steps), "{format}");
        assert!(
            matches!(schema.check(&json!(name), &mut 1_000_000), Err(Failure::Violations(_))),
            "{format}"
        );
    }
}

#[test]
fn a_meta_schema_of_ones_own_is_refused_by_name() {
    for name in
        ["https://example.com/meta", "http://json-schema.org/draft-03/schema#", "urn:example:meta"]
    {
        for (source, pointer) in [
            (json!({"$schema": name, "type": "object"}), "/$schema"),
            (
                json!({"$defs": {"a": {"$id": "https://example.com/a", "$schema": name}}}),
                "/$defs/a/$schema",
            ),
        ] {
            let refused = compile(source).unwrap_err();
            assert_eq!(refused.pointer, pointer);
            for part in [name, "2020-12, 2019-09, 7, 6 and 4", "leave '$schema' out"] {
                assert!(refused.message.contains(part), "{refused}");
            }
        }
    }
    for known in
        ["https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/draft-07/schema#"]
    {
        assert!(compile(json!({"$schema": known})).is_ok(), "{known}");
    }
}

/// A schema that is a meta-schema itself is one like others, whatever vocabularies it declares.
#[test]
fn a_meta_schema_checks_schemas_as_events_data() {
    let meta = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.com/meta",
        "$vocabulary": {"https://example.com/vocabulary": true, "https://json-schema.org/draft/2020-12/vocab/core": true},
        "type": "object", "required": ["title"]
    });
    let schema = compile(meta).unwrap();
    assert!(schema.validate(&json!({"title": "order"})).is_ok());
    assert!(schema.validate(&json!({"type": "object"})).is_err());
}
