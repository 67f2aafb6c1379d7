//! What a `.wasm` is: whether it is valid, of which kind, what it exports and what it asks its host
//! for.
//!
//! Everything here reads bytes and nothing runs them: wasmtime lives in the host. What only a
//! compiler can tell (whether the types of imports and exports fit) is behind the trait
//! [`Preflight`], which the host implements.

mod adapt;
mod embed;
mod error;
mod exports;
mod features;
mod foreign;
mod format;
mod grant_status;
mod grants;
mod imports;
mod inspect;
mod limits;
mod outline;
mod preflight;

pub use adapt::{ADAPTERS, Adapter};
pub use embed::{CAPACITY_BYTES, EmbedError, embed};
pub use error::InspectError;
pub use features::{FEATURES, FEATURES_0_3};
pub use grant_status::GrantStatus;
pub use grants::NotGranted;
pub use imports::{MissingImport, provided_interfaces};
pub use inspect::{Inspection, Unrunnable, component_of, inspect, inspect_within};
pub use limits::Limits;
pub use preflight::{Artifact, FileSource, Preflight, PreflightError};
