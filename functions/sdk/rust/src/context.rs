//! What is known about the execution at hand.

pub use crate::bindings::wasmill::function::context::Execution;

/// The execution that this call belongs to. In native tests, one whose texts are empty.
pub fn execution() -> Execution {
    current()
}

#[cfg(target_arch = "wasm32")]
fn current() -> Execution {
    crate::bindings::wasmill::function::context::current()
}

#[cfg(not(target_arch = "wasm32"))]
fn current() -> Execution {
    Execution {
        id: String::new(),
        tenant: String::new(),
        function: String::new(),
        version: String::new(),
        attempt: 1,
        max_attempts: 1,
        deadline_ms: u64::MAX,
        traceparent: String::new(),
        tracestate: None,
    }
}
