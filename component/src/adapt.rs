//! Core modules turned into components: what compilers for WASI preview 1 make is deployed as it
//! comes out.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use wasi_preview1_component_adapter_provider as published;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use crate::error::InspectError;
use crate::foreign::{HANDLE, PREVIEW_1, module_of, why_not};
use crate::format::TYPES_SECTION;
use crate::outline::Outline;

/// The contract, for modules that fulfil it and do not carry it.
const CONTRACT: &str = include_str!("../../wit/wasmill-function.wit");

/// What stands for the adapters in use; another one makes other components of the same modules.
pub const ADAPTERS: &str = "wasi-preview1-component-adapter-provider 48.0.8, wit-component 0.254.2";

/// Which of the published adapters turns a core module into a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adapter {
    /// The module is a program with `_start`.
    Command,
    /// The module is a library that is called, and may use all of WASI.
    Reactor,
    /// The module is a library that answers HTTP requests.
    Proxy,
    /// The module does not import preview 1, so its types are all that it needs.
    None,
}

impl Adapter {
    /// What a module of this outline needs.
    fn of(module: &Outline) -> Result<Self, InspectError> {
        let exports = |name: &str| module.exports.iter().any(|export| export == name);
        let is_http =
            module.exports.iter().any(|export| export.starts_with("wasi:http/incoming-handler@"));
        let has_types = module.custom_sections.iter().any(|name| name.starts_with(TYPES_SECTION));
        if !has_types && let Some(why) = why_not(module) {
            return Err(InspectError::Module(why));
        }
        Ok(match module.imports.iter().any(|import| module_of(import) == PREVIEW_1) {
            false if has_types || exports(HANDLE) => Self::None,
            _ if exports("_start") && !exports(HANDLE) => Self::Command,
            _ if is_http => Self::Proxy,
            _ => Self::Reactor,
        })
    }

    fn bytes(self) -> Option<&'static [u8]> {
        match self {
            Self::Command => Some(published::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER),
            Self::Reactor => Some(published::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER),
            Self::Proxy => Some(published::WASI_SNAPSHOT_PREVIEW1_PROXY_ADAPTER),
            Self::None => None,
        }
    }
}

/// Turns a valid core module into a component.
///
/// # Errors
/// [`InspectError::Module`] and [`InspectError::Adapt`], saying what the module is or lacks.
pub(crate) fn adapt(module: &[u8], outline: &Outline) -> Result<(Adapter, Vec<u8>), InspectError> {
    let adapter = Adapter::of(outline)?;
    let failed = |e: anyhow::Error| InspectError::Adapt(format!("{e:#}"));
    let has_types = outline.custom_sections.iter().any(|name| name.starts_with(TYPES_SECTION));
    let takes_events = outline.exports.iter().any(|export| export == HANDLE);
    let module = if !has_types && takes_events {
        with_contract(module).map_err(failed)?.into()
    } else {
        Cow::from(module)
    };
    let mut encoder = ComponentEncoder::default().module(&module).map_err(failed)?;
    if let Some(bytes) = adapter.bytes() {
        encoder = encoder.adapter(PREVIEW_1, bytes).map_err(failed)?;
    }
    Ok((adapter, encoder.encode().map_err(failed)?))
}

/// Adds the contract's types to a module.
fn with_contract(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut wit = wit_parser::Resolve::default();
    let package = wit.push_source("wasmill-function.wit", CONTRACT)?;
    let world = wit.select_world(&[package], Some("function"))?;
    let mut module = module.to_vec();
    embed_component_metadata(&mut module, &wit, world, StringEncoding::UTF8)?;
    Ok(module)
}

#[cfg(test)]
mod tests;
