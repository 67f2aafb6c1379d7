use wasmill_domain::manifest::Kind;

use super::*;
use crate::inspect::{component_of, inspect};

/// A program: it imports preview 1 and has `_start`.
const PROGRAM: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 8) "hello\n")
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 8))
        (i32.store (i32.const 4) (i32.const 6))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20)))))"#;

/// What a module exports so that events and results can pass.
const MEMORY: &str = r#"(memory (export "memory") 1)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))"#;

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn handler(imports: &str) -> Vec<u8> {
    wasm(&format!(
        r#"(module {imports} {MEMORY} (func (export "{HANDLE}") (param i32) (result i32) (i32.const 0)))"#
    ))
}

fn error(text: &str) -> String {
    inspect(&wasm(text)).unwrap_err().to_string()
}

#[test]
fn a_program_is_a_command() {
    let bytes = wasm(PROGRAM);
    let inspection = inspect(&bytes).unwrap();
    assert_eq!(
        (inspection.kinds.as_slice(), inspection.adapter),
        (&[Kind::Command][..], Some(Adapter::Command))
    );
    assert!(
        inspection.imports.iter().any(|name| name.starts_with("wasi:cli/stdout@0.2")),
        "{:?}",
        inspection.imports
    );
    assert!(
        inspection.exports.iter().any(|name| name.starts_with("wasi:cli/run@0.2")),
        "{:?}",
        inspection.exports
    );
    assert_eq!(inspection.digest, wasmill_domain::Digest::of(&bytes));
    inspection.require_imports().unwrap();
    // The same component, each time.
    assert_eq!(component_of(&bytes).unwrap(), component_of(&bytes).unwrap());
}

#[test]
fn a_module_that_takes_events_needs_no_types_of_its_own() {
    let log = r#"(import "wasmill:function/log@0.1.0" "log" (func (param i32 i32 i32 i32 i32)))"#;
    let inspection = inspect(&handler(log)).unwrap();
    assert_eq!(
        (inspection.kinds.as_slice(), inspection.adapter),
        (&[Kind::Event][..], Some(Adapter::None))
    );
    assert!(
        inspection.imports.iter().any(|name| name == "wasmill:function/log@0.1.0"),
        "{:?}",
        inspection.imports
    );

    let clock = r#"(import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))"#;
    let inspection = inspect(&handler(clock)).unwrap();
    assert_eq!(
        (inspection.kinds.as_slice(), inspection.adapter),
        (&[Kind::Event][..], Some(Adapter::Reactor))
    );
    inspection.require_imports().unwrap();
}

#[test]
fn what_a_module_lacks_is_named() {
    let said = error(
        r#"(module (import "wasi_snapshot_preview1" "fd_close" (func)) (func (export "_start")))"#,
    );
    assert!(
        said.contains("cannot be turned into a component") && said.contains("fd_close"),
        "{said}"
    );
    let said = error(&format!(r#"(module (func (export "{HANDLE}") (param i64)))"#));
    assert!(
        said.contains("cannot be turned into a component") && said.contains("handle"),
        "{said}"
    );
}

/// Compilers use them wherever threads might be.
#[test]
fn atomics_on_memory_that_is_not_shared_are_allowed() {
    let atomic = PROGRAM.replace("(i32.store (i32.const 4)", "(i32.atomic.store (i32.const 4)");
    assert_eq!(inspect(&wasm(&atomic)).unwrap().kinds, [Kind::Command]);
}

#[test]
fn shared_memory_is_refused_by_name() {
    let expected = "the file has shared memory, which is for threads, and each instance has one: build it without threads";
    for text in [
        "(module (memory 1 1 shared))",
        r#"(module (import "env" "memory" (memory 1 1 shared)) (func (export "_start")))"#,
        "(component (core module (memory 1 1 shared)))",
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn a_component_stays_as_it_is() {
    let component = wasm("(component)");
    assert_eq!(component_of(&component).unwrap(), component);
}
