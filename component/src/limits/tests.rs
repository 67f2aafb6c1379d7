use super::*;
use crate::inspect::{inspect, inspect_within};

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// Nothing at all may be there of what `limits` has a zero for.
fn nothing() -> Limits {
    Limits {
        nesting: 0,
        modules: 0,
        functions: 0,
        function_bytes: 0,
        locals: 0,
        arity: 0,
        module_items: 0,
        items: 0,
    }
}

fn said(limits: Limits, text: &str) -> String {
    inspect_within(&wasm(text), &limits).unwrap_err().to_string()
}

#[test]
fn each_bound_is_named_with_what_is_and_what_may_be() {
    let most = Limits::default();
    for (limits, text, expected) in [
        (Limits { functions: 1, ..most }, "(module (func) (func))", "2 functions, and at most 1 "),
        (
            Limits { function_bytes: 8, ..most },
            "(module (func (drop (i64.const 0x7fffffffffffffff))))",
            "bytes of code in one function, and at most 8 ",
        ),
        (
            Limits { locals: 2, ..most },
            "(module (func (local i32 i64 i32)))",
            "3 local variables in one function",
        ),
        (
            Limits { arity: 2, ..most },
            "(module (type (func (param i32 i32) (result i32))))",
            "3 parameters and results of one function",
        ),
        (
            Limits { module_items: 2, ..most },
            r#"(module (global i32 (i32.const 0)) (memory 1) (data (i32.const 0) "a"))"#,
            "3 types, imports, exports and segments of modules, and at most 2 ",
        ),
        (
            Limits { modules: 1, ..most },
            "(component (core module) (core module))",
            "2 modules and components, ",
        ),
        (
            Limits { nesting: 2, ..most },
            "(component (component (component (component))))",
            "3 modules and components inside of each other, and at most 2 ",
        ),
        (
            Limits { nesting: 2, ..most },
            "(component (type (component (type (component (type (component)))))))",
            "3 component types inside of each other, and at most 2 ",
        ),
        (
            Limits { items: 3, ..most },
            r#"(component (type (instance (type string) (export "a" (func)))))"#,
            "4 types, imports, exports and instances of components, and at most 3 ",
        ),
    ] {
        let said = said(limits, text);
        assert!(said.contains(expected), "{text}: {said:?} lacks {expected:?}");
    }
}

#[test]
fn what_a_module_carries_for_its_adaptation_counts() {
    let types = wasm("(component (type (component (type (component)))))");
    let types: String = types.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let module =
        format!(r#"(module (@custom "component-type:test" "{types}") (func (export "_start")))"#);
    let said = said(Limits { items: 1, ..Limits::default() }, &module);
    assert!(
        said.contains("2 types, imports, exports and instances of components, and at most 1 "),
        "{said}"
    );
}

/// The defaults have room for what toolchains make today.
#[test]
fn what_is_made_in_earnest_passes() {
    let hello = include_bytes!("../../../functions/hello/hello.wasm");
    inspect(hello).unwrap();
    let said = inspect_within(hello, &nothing()).unwrap_err().to_string();
    assert!(said.starts_with("the file has too much in it: "), "{said}");
}

#[test]
fn types_beyond_the_reader_s_stack_are_not_read() {
    // Neither is inside of another: what is looked at are bytes.
    let scan = Scan::default();
    scan.inner_types(&[0x01, 0x41].repeat(MOST_INNER_TYPES)).unwrap();
    scan.inner_types(&[0x01, 0x42].repeat(MOST_INNER_TYPES + 1)).unwrap_err();
}

/// As deep as the reader is let go; it needs the stack of a usual thread at most.
#[test]
fn the_reader_s_stack_suffices() {
    let mut inner = vec![0x41, 0x00];
    for _ in 1..MOST_INNER_TYPES {
        inner = [&[0x41, 0x01, 0x01], inner.as_slice()].concat();
    }
    inner.insert(0, 0x01);
    let mut length = Vec::new();
    let mut rest = inner.len();
    while rest >= 0x80 {
        length.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    length.push(u8::try_from(rest).unwrap());
    let bytes = [b"\0asm\x0d\0\x01\0\x07".as_slice(), &length, &inner].concat();
    let said = inspect(&bytes).unwrap_err().to_string();
    assert!(said.contains("17 component types inside of each other"), "{said}");
}

#[test]
fn what_cannot_be_read_is_for_the_validator_to_say() {
    for bytes in [b"\0asm\x01\0\0\0\x0a\x02\x01".as_slice(), b"\0asm\x0d\0\x01\0\x07\x03\x01\x7f"] {
        Limits::default().check(bytes).unwrap();
        assert!(!matches!(inspect(bytes), Err(InspectError::TooMuch { .. }) | Ok(_)));
    }
}
