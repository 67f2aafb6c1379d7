//! What to say of core modules that cannot be run: what each is, in one sentence.

use std::collections::HashSet;
use std::sync::LazyLock;

use wasi_preview1_component_adapter_provider as published;
use wasmparser::{ExportSectionReader, Parser, Payload};

use crate::exports::shown;
use crate::outline::Outline;

/// The module that preview 1 is imported from.
pub(crate) const PREVIEW_1: &str = published::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;

/// What a module exports that takes events, by the canonical ABI's naming.
pub(crate) const HANDLE: &str = "wasmill:function/handler@0.1.0#handle";

/// The functions of preview 1: those that the adapter exports.
static FUNCTIONS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let adapter = Parser::new(0).parse_all(published::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER);
    let exports = adapter.filter_map(|payload| match payload {
        Ok(Payload::ExportSection(section)) => Some(names(&section)),
        _ => None,
    });
    exports.flatten().collect()
});

fn names(section: &ExportSectionReader<'static>) -> Vec<&'static str> {
    section.clone().into_iter().filter_map(|export| Some(export.ok()?.name)).collect()
}

/// Why nobody here can run a module without component types; `None` where nothing is known to be
/// wrong with it.
pub(crate) fn why_not(module: &Outline) -> Option<String> {
    let foreign: Vec<&String> =
        module.imports.iter().filter(|import| !is_provided(import)).collect();
    if let Some(what) = foreign.iter().find_map(|import| made_for(import)) {
        return Some(what.to_owned());
    }
    if let Some(import) = foreign.first() {
        let more = match foreign.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        let import = shown(import);
        return Some(if module_of(&import) == PREVIEW_1 {
            format!("it imports '{import}'{more}, which WASI preview 1 does not have")
        } else {
            format!("it imports '{import}'{more}, which only the host has that it was written for")
        });
    }
    let exports = |name: &str| module.exports.iter().any(|export| export == name);
    if exports("_start") || exports(HANDLE) {
        return None;
    }
    Some(if exports("_initialize") {
        format!(
            "it is a reactor, a library that is to be called (`_initialize` and no `_start`), and has no `{HANDLE}` to call"
        )
    } else {
        format!("it exports neither `_start` (a program) nor `{HANDLE}` (what takes events)")
    })
}

/// What a module was made for that has this import, where it is known.
fn made_for(import: &str) -> Option<&'static str> {
    // Go's functions have dots in their names.
    if import.starts_with("gojs.") || import.starts_with("go.runtime.") {
        return Some("it is made by Go for JavaScript (GOOS=js): build it with GOOS=wasip1");
    }
    let (module, name) = (module_of(import), import.rsplit_once('.').map_or("", |(_, name)| name));
    let of_emscripten =
        ["emscripten_", "_emscripten_", "__syscall_", "invoke_", "__cxa_", "_embind_", "_emval_"];
    let starts = |starts: &[&str]| starts.iter().any(|start| name.starts_with(start));
    Some(match module {
        "wasi_unstable" => {
            "it is made for 'wasi_unstable', which was before WASI preview 1: build it with a newer WASI SDK"
        }
        "wasi" if name == "thread-spawn" => {
            "it starts threads ('wasi.thread-spawn'), and each instance has one: build it without"
        }
        _ if module.starts_with("wasix_") => {
            "it is made for WASIX, which Wasmer has: build it for WASI (wasm32-wasip1)"
        }
        "wbg" | "__wbindgen_placeholder__" | "__wbindgen_externref_xform__" => {
            "it is made by wasm-bindgen to be called from JavaScript: build it for wasm32-wasip2 instead"
        }
        "env" | "napi" if name.starts_with("napi_") => {
            "it is an addon of Node.js, which calls it and which it calls"
        }
        "env" if starts(&of_emscripten) => {
            "it is made by Emscripten for JavaScript: build it with a WASI SDK instead"
        }
        // Names that were shortened.
        "a" if name.len() <= 2 => {
            "it is made by Emscripten for JavaScript: build it with a WASI SDK instead"
        }
        _ => return None,
    })
}

/// The module in `module.name`, which is how an outline lists a core module's imports.
pub(crate) fn module_of(import: &str) -> &str {
    // The names of the contract's functions hold no dot, those of its interfaces do.
    import.rsplit_once('.').map_or(import, |(module, _)| module)
}

fn is_provided(import: &str) -> bool {
    match import.rsplit_once('.') {
        Some((PREVIEW_1, name)) => FUNCTIONS.contains(name),
        Some((module, _)) => module.starts_with("wasmill:function/"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::error::InspectError;
    use crate::inspect::inspect;

    fn said(text: &str) -> String {
        let error = inspect(&wat::parse_str(text).unwrap()).unwrap_err();
        assert!(matches!(error, InspectError::Module(_)), "{error:?}");
        error.to_string()
    }

    fn importing(imports: &[(&str, &str)]) -> String {
        let imports: String =
            imports.iter().map(|(m, name)| format!(r#"(import "{m}" "{name}" (func))"#)).collect();
        format!(r#"(module {imports} (func (export "_start")))"#)
    }

    #[test]
    fn a_library_is_called_one() {
        let reactor = r#"(module
            (import "wasi_snapshot_preview1" "fd_close" (func (param i32) (result i32)))
            (memory (export "memory") 1) (func (export "_initialize")) (func (export "qjs_eval")))"#;
        assert_eq!(
            said(reactor),
            "this core module cannot be run: it is a reactor, a library that is to be called (`_initialize` and no `_start`), \
             and has no `wasmill:function/handler@0.1.0#handle` to call"
        );
        assert_eq!(
            said(r#"(module (func (export "main")))"#),
            "this core module cannot be run: it exports neither `_start` (a program) nor \
             `wasmill:function/handler@0.1.0#handle` (what takes events)"
        );
    }

    #[test]
    fn what_it_was_made_for_is_named() {
        for (import, expected) in [
            (
                ("env", "foo"),
                "it imports 'env.foo', which only the host has that it was written for",
            ),
            (
                ("wasi_snapshot_preview1", "sock_open"),
                "'wasi_snapshot_preview1.sock_open', which WASI preview 1 does not have",
            ),
            (
                ("wasi_unstable", "fd_write"),
                "it is made for 'wasi_unstable', which was before WASI preview 1",
            ),
            (("wasix_32v1", "proc_fork"), "it is made for WASIX, which Wasmer has"),
            (("wasi", "thread-spawn"), "it starts threads ('wasi.thread-spawn')"),
            (("env", "emscripten_resize_heap"), "it is made by Emscripten for JavaScript"),
            (("env", "invoke_vii"), "it is made by Emscripten for JavaScript"),
            (("a", "b"), "it is made by Emscripten for JavaScript"),
            (("wbg", "__wbindgen_throw"), "it is made by wasm-bindgen"),
            (
                ("gojs", "runtime.wasmExit"),
                "it is made by Go for JavaScript (GOOS=js): build it with GOOS=wasip1",
            ),
            (("env", "napi_create_int32"), "it is an addon of Node.js"),
        ] {
            let text = said(&importing(&[import]));
            assert!(
                text.starts_with("this core module cannot be run: ") && text.contains(expected),
                "{import:?}: {text}"
            );
        }
    }

    /// One sentence, whatever else is wrong with it: what it was made for says more than the first
    /// name.
    #[test]
    fn it_is_said_once() {
        let text = said(&importing(&[
            ("env", "a"),
            ("env", "b"),
            ("env", "emscripten_notify_memory_growth"),
        ]));
        assert!(text.contains("Emscripten") && !text.contains("env.a"), "{text}");
        let text = said(&importing(&[("env", "a"), ("env", "b"), ("env", "c")]));
        assert!(text.contains("it imports 'env.a' and 2 more, which only"), "{text}");
        let text = said(r#"(module (import "env" "a" (func)) (func (export "main")))"#);
        assert!(text.contains("'env.a'") && !text.contains("_start"), "{text}");
    }
}
