//! The WebAssembly that is taken.

use wasmparser::WasmFeatures;

/// The WebAssembly features that a component may use: all of WebAssembly 3.0. A test of the host
/// holds this against its engine. Of threads there are the atomic instructions; shared memory, in
/// which a guest could make a host's thread wait, is refused besides.
pub const FEATURES: WasmFeatures = WasmFeatures::WASM3.union(WasmFeatures::COMPONENT_MODEL);

/// The same for components of WASI 0.3.
pub const FEATURES_0_3: WasmFeatures = FEATURES.union(WasmFeatures::CM_ASYNC);
