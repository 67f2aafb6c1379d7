//! Reads and validates a `.wasm`.

use serde::{Deserialize, Serialize};
use wasmill_domain::Digest;
use wasmparser::{
    Chunk, FuncToValidate, FuncValidatorAllocations, FunctionBody, Parser, Payload, ValidPayload, Validator,
    ValidatorResources, WasmFeatures,
};

use crate::exports::{describe_unknown, kind_of};
use crate::format::{MAGIC, describe};
use crate::imports::{MissingImport, missing};

/// The WebAssembly features that a component may use: all of WebAssembly 3.0 but shared memory, in which a guest could make
/// a host's thread wait. A test of the host holds this against its engine.
pub const FEATURES: WasmFeatures =
    WasmFeatures::WASM3.union(WasmFeatures::COMPONENT_MODEL).difference(WasmFeatures::THREADS);

/// What a `.wasm` is for, told from its exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Exports `wasmill:function/handler`: takes events.
    Function,
    /// Exports `wasi:http/incoming-handler`: answers HTTP requests.
    Http,
    /// Exports `wasi:cli/run`: a program that reads standard input and writes standard output.
    Command,
    /// A core module, not a component.
    CoreModule,
}

impl Kind {
    /// The kind as a reader knows it.
    pub fn description(self) -> &'static str {
        match self {
            Self::Function => "a function (wasmill:function/handler)",
            Self::Http => "an HTTP handler (wasi:http/incoming-handler)",
            Self::Command => "a command (wasi:cli/run)",
            Self::CoreModule => "a core module",
        }
    }
}

/// What is known of a valid `.wasm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// What it is for.
    pub kind: Kind,
    /// The SHA-256 of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// What it asks its host for, in its own order. Of a core module: `module.name`.
    pub imports: Vec<String>,
    /// What it offers, in its own order.
    pub exports: Vec<String>,
}

/// Why bytes are not a component that could be of any use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
    /// A component of no known kind.
    #[error(
        "the component is of no kind that wasmill knows: it must export wasmill:function/handler@0.1.0 to take \
         events, but {0}"
    )]
    UnknownKind(String),
}

/// Why a valid `.wasm` cannot be run by this version of wasmill.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unrunnable {
    /// Of a kind that is known and not run.
    #[error("{}", describe_kind(*.0))]
    Kind(Kind),
    /// It imports what the host does not have; at least one.
    #[error("the component imports what the host does not have: {}", list(.0))]
    Imports(Vec<MissingImport>),
}

fn describe_kind(kind: Kind) -> String {
    let what = kind.description();
    match kind {
        Kind::CoreModule => format!(
            "this is {what}, and a component is needed: build for wasm32-wasip2, or turn it into a component with \
             `wasm-tools component new`"
        ),
        _ => format!("this is {what}, a kind that is recognised but not run by this version of wasmill"),
    }
}

fn list(missing: &[MissingImport]) -> String {
    missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Inspection {
    /// Makes sure that this is a function, the only kind that runs for now.
    ///
    /// # Errors
    /// [`Unrunnable::Kind`].
    pub fn require_function(&self) -> Result<(), Unrunnable> {
        if self.kind == Kind::Function { Ok(()) } else { Err(Unrunnable::Kind(self.kind)) }
    }

    /// Makes sure that the host has every import. (Whether their types fit as well is for the host to say.)
    ///
    /// # Errors
    /// [`Unrunnable::Imports`] with every one that is missing.
    pub fn require_imports(&self) -> Result<(), Unrunnable> {
        let missing = missing(&self.imports);
        if missing.is_empty() { Ok(()) } else { Err(Unrunnable::Imports(missing)) }
    }
}

/// Reads a `.wasm`, validates all of it and says what it is.
///
/// # Errors
/// Where the bytes are not WebAssembly, are cut off or break a rule, and where a component exports nothing that makes a
/// kind. Any bytes whatever get an answer.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, InspectError> {
    if !bytes.starts_with(MAGIC) {
        return Err(if !bytes.is_empty() && MAGIC.starts_with(bytes) {
            InspectError::Truncated { at: bytes.len() as u64, missing: 8 - bytes.len() as u64 }
        } else {
            InspectError::NotWasm(describe(bytes))
        });
    }
    let outline = Outline::read(bytes).map_err(|error| match missing_bytes(bytes) {
        Some(missing) => InspectError::Truncated { at: bytes.len() as u64, missing },
        None => InspectError::Invalid { at: error.offset() as u64, message: error.message().to_owned() },
    })?;
    let kind = if outline.is_component {
        kind_of(&outline.exports).ok_or_else(|| InspectError::UnknownKind(describe_unknown(&outline.exports)))?
    } else {
        Kind::CoreModule
    };
    let Outline { imports, exports, .. } = outline;
    Ok(Inspection { kind, digest: Digest::of(bytes), size: bytes.len() as u64, imports, exports })
}

/// What a valid file says about itself at its top level.
#[derive(Default)]
struct Outline {
    is_component: bool,
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Outline {
    fn read(bytes: &[u8]) -> Result<Self, wasmparser::Error> {
        let mut validator = Validator::new_with_features(FEATURES);
        let mut parser = Parser::new(0);
        parser.set_features(FEATURES);
        let mut outline = Self::default();
        let mut functions = Vec::new();
        // How many modules or components the payload at hand is inside of, the file itself not counted.
        let mut depth = 0_usize;
        for payload in parser.parse_all(bytes) {
            let payload = payload?;
            match validator.payload(&payload)? {
                ValidPayload::Func(function, body) => functions.push((function, body)),
                ValidPayload::Parser(_) => depth += 1,
                ValidPayload::End(_) => depth = depth.saturating_sub(1),
                ValidPayload::Ok if depth == 0 => outline.note(&payload)?,
                ValidPayload::Ok => {}
            }
        }
        validate_functions(functions)?;
        Ok(outline)
    }

    /// Takes down imports and exports.
    fn note(&mut self, payload: &Payload<'_>) -> Result<(), wasmparser::Error> {
        match payload {
            Payload::Version { encoding, .. } => self.is_component = *encoding == wasmparser::Encoding::Component,
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    self.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    self.exports.push(export?.name.name.to_owned());
                }
            }
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    let import = import?;
                    self.imports.push(format!("{}.{}", import.module, import.name));
                }
            }
            Payload::ExportSection(section) => {
                for export in section.clone() {
                    self.exports.push(export?.name.to_owned());
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn validate_functions(
    functions: Vec<(FuncToValidate<ValidatorResources>, FunctionBody<'_>)>,
) -> Result<(), wasmparser::Error> {
    let mut allocations = FuncValidatorAllocations::default();
    for (function, body) in functions {
        let mut validator = function.into_validator(allocations);
        validator.validate(&body)?;
        allocations = validator.into_allocations();
    }
    Ok(())
}

/// How many bytes are missing at least, where the file ends before its last section does. Found by reading it as a stream of
/// which more may come: the reader then asks for more instead of failing.
fn missing_bytes(bytes: &[u8]) -> Option<u64> {
    let mut rest = bytes;
    let mut parser = Parser::new(0);
    let mut outer = Vec::new();
    loop {
        let (payload, consumed) = match parser.parse(rest, false).ok()? {
            // Between two sections, or after the last one, nothing is known to be missing.
            Chunk::NeedMoreData(_) if rest.is_empty() && bytes.len() >= 8 && outer.is_empty() => return None,
            Chunk::NeedMoreData(missing) => return Some(missing.max(1)),
            Chunk::Parsed { payload, consumed } => (payload, consumed),
        };
        rest = &rest[consumed..];
        match payload {
            Payload::ModuleSection { parser: inner, .. } | Payload::ComponentSection { parser: inner, .. } => {
                outer.push(std::mem::replace(&mut parser, inner));
            }
            Payload::End(_) => parser = outer.pop()?,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
