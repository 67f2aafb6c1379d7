//! What wasmill is about, with nothing of how it runs: names, events, executions and the
//! transitions between their states, the manifest, the messages that cross the broker, and the
//! registry that says which functions an event reaches.
//!
//! Pure: no clock but [`Timestamp::now`], no I/O, no async runtime. Every other crate may import
//! this one; it imports none of them.

pub mod backoff;
pub mod batch;
pub mod definition;
pub mod digest;
pub mod dispatch;
pub mod event;
pub mod execution;
pub mod hostname;
pub mod http_message;
pub mod json;
pub mod key;
pub mod key_hint;
pub mod lifecycle;
pub mod manifest;
pub mod names;
pub mod order;
mod ports;
pub mod preflight;
pub mod registry;
pub mod retry;
pub mod routes;
pub mod schema;
pub mod secret;
mod shared_map;
pub mod state;
mod text;
pub mod timestamp;
pub mod trace;
pub mod units;
pub mod wire;

pub use batch::Batch;
pub use definition::{
    DefinitionId, DefinitionKind, Definitions, FunctionDefinition, HostnameDefinition, Revision,
    SchemaDefinition, UnreadableDefinition,
};
pub use digest::Digest;
pub use dispatch::{AttemptKey, Dispatch, Origin};
pub use event::{Event, EventParts};
pub use execution::{AttemptReport, ExecutionId, LogLevel, LogLine, LogSource, Outcome, Output};
pub use hostname::{GrantedNames, HostnameGrants, HostnamePattern, HostnameRules};
pub use key::{ApiKey, KeyDefinition, KeyRole, mask_encoded_keys, mask_keys};
pub use lifecycle::{Effects, Lifecycle, Operation};
pub use manifest::Manifest;
pub use names::{
    BucketName, EventPattern, EventType, FunctionName, HostLabel, SealingKeyId, SecretName,
    TenantName,
};
pub use order::{Order, OrderKind};
pub use registry::Registry;
pub use retry::RetryPolicy;
pub use secret::{SealedSecret, SecretSummary};
pub use state::{State, Transition};
pub use timestamp::Timestamp;
pub use trace::TraceContext;
