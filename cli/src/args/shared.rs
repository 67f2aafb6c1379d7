//! Arguments that several verbs have.

use wasmill_domain::units::ByteSize;
use wasmill_schema::Formats;

use crate::config::{MAX_ARTIFACT_BYTES, artifact_bytes};

/// How large artifacts may be.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Artifacts {
    /// The largest .wasm that may be deployed: the gateway's gateway.max_artifact_bytes
    #[arg(
        long,
        env = "WASMILL_GATEWAY_MAX_ARTIFACT_BYTES",
        value_parser = artifact_bytes,
        default_value_t = MAX_ARTIFACT_BYTES,
        value_name = "SIZE"
    )]
    pub(crate) max_artifact_bytes: ByteSize,
}

/// How the schemas of events are taken.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct SchemaFormats {
    /// What `format` does in JSON Schemas: assert, so that data must be of it, or annotate. A
    /// pool's schemas.formats
    #[arg(
        long = "schema-formats",
        env = "WASMILL_SCHEMAS_FORMATS",
        default_value_t = Formats::default(),
        value_name = "HOW"
    )]
    pub(crate) formats: Formats,
}

/// Which WASI functions may be made for.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Wasi {
    /// Run components for WASI 0.3 as well. What there is of it is experimental and gets no
    /// security fixes
    #[arg(long, env = "WASMILL_WASI_0_3")]
    pub(crate) wasi_0_3: bool,
}
