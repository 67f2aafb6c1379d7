//! Runs functions. wasmtime lives here, and in wasmill-guest, which links WASI.
//!
//! [`Engine`] compiles components and makes single attempts, [`Engine::run`], under every limit
//! there is; it knows nothing of stores and brokers. [`run`](fn@run) is a host's work: it takes
//! batches off the queues, lets the engine make the attempts, has the ends recorded and
//! acknowledges what is recorded.

mod bindings;
mod calls;
mod capabilities;
mod control;
mod emit;
mod engine;
mod entry;
mod error;
mod execution;
mod fair_queue;
mod fair_semaphore;
mod fairness;
mod files;
mod granted;
mod guest;
mod host_memory;
mod imports;
mod instance;
mod limits;
mod log;
mod machine;
mod mask;
mod outbox;
mod outcome;
mod ports;
mod preflight;
mod preflights;
mod prepare;
mod recorder;
mod reuse;
mod run;
mod settings;
mod shares;
mod streams;
#[cfg(test)]
mod tests;
mod under_way;
mod worker;

pub use capabilities::Capabilities;
pub use engine::Engine;
pub use error::StartError;
pub use files::Files;
pub use imports::keyvalue::access::KeyvalueStore;
pub use ports::{HostBroker, HostStore};
pub use preflights::{PreflightParts, answer_preflights};
pub use prepare::compile;
pub use prepare::prepared::Prepared;
pub use run::{Attempt, Emitted, Invocation};
pub use settings::{
    CompileSettings, Compiler, CompilerProgram, EmissionSettings, EngineSettings, GuestSettings,
    HostSettings, OutgoingSettings, RecorderSettings,
};
pub use worker::{HostParts, HostStatus, PartFailed, run};
