//! Why bytes are not a component.

use serde::{Deserialize, Serialize};

/// Why bytes are not a component that could be of any use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum InspectError {
    /// Something else than WebAssembly. The text says what it looks like.
    #[error("this is not a WebAssembly file: {0}")]
    NotWasm(String),
    /// The end is missing.
    #[error("the file is cut off: it ends at byte {at}, and at least {missing} more must follow")]
    Truncated {
        /// Where it ends: its length in bytes.
        at: u64,
        /// How many bytes are missing at least.
        missing: u64,
    },
    /// WebAssembly that breaks the rules, or uses what the host does not have.
    #[error("the file is not valid WebAssembly: {message} (at byte {at})")]
    Invalid {
        /// Where: an offset into the file.
        at: u64,
        /// What is wrong there.
        message: String,
    },
    /// It may be valid, and reading it would take too long. The bounds are those of
    /// [`Limits`](crate::Limits).
    #[error("the file has too much in it: {is} {what}, and at most {most} are taken")]
    TooMuch {
        /// What there is too much of.
        what: String,
        /// How much there is at least.
        is: u32,
        /// How much there may be.
        most: u32,
    },
    /// A component of no known kind.
    #[error(
        "the component is of no kind that wasmill knows: it must export wasmill:function/handler@0.1.0 to take \
         events, wasi:http/incoming-handler@0.2 to answer HTTP requests, or wasi:cli/run@0.2 to be run as a command, but {0}"
    )]
    UnknownKind(String),
    /// A core module that nothing here can be done with. The text says what it is.
    #[error("this core module cannot be run: {0}")]
    Module(String),
    /// Something with a memory that threads would share.
    #[error(
        "the file has shared memory, which is for threads, and each instance has one: build it without threads"
    )]
    SharedMemory,
    /// A core module that cannot be turned into a component.
    #[error("this core module cannot be turned into a component: {0}")]
    Adapt(String),
    /// A component for WASI 0.3 before that was released. The text says what shows it.
    #[error(
        "the component is made for a draft of WASI 0.3: {0}. Drafts are not run, as each differs from the others and from the \
         release. Build it for WASI 0.2 (Rust: wasm32-wasip2 with wasi:http/incoming-handler; Spin's SDK: its module `http`, not \
         `http_wasip3`), or with bindings of the release 0.3.0 (Rust: wasip3 0.8) for hosts with engine.wasi_0_3 = true"
    )]
    DraftWasi(String),
}
