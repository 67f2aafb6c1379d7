//! Reads and validates a `.wasm`.

use std::borrow::Cow;

use wasmill_domain::manifest::Kind;
use wasmill_domain::{Digest, Manifest};
use wasmparser::{
    Chunk, FuncToValidate, FuncValidatorAllocations, FunctionBody, Parser, Payload, TypeRef,
    ValidPayload, Validator, ValidatorResources, WasmFeatures,
};

use crate::adapt::{Adapter, adapt};
use crate::error::InspectError;
use crate::exports::{describe_unknown, draft_wasi, export_of, is_wasi3, kinds_of, wasi3};
use crate::features::{FEATURES, FEATURES_0_3};
use crate::format::{MAGIC, describe};
use crate::grants::{NotGranted, not_granted};
use crate::imports::{MissingImport, missing};
use crate::limits::Limits;
use crate::outline::Outline;

/// What is known of a valid `.wasm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// What it is for, told from its exports; at least one. The first is what it is where a
    /// manifest names none.
    pub kinds: Vec<Kind>,
    /// What turned it into a component, of a core module. Imports and exports are the component's.
    pub adapter: Option<Adapter>,
    /// The SHA-256 of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// What it asks its host for, in its own order.
    pub imports: Vec<String>,
    /// What it offers, in its own order.
    pub exports: Vec<String>,
    /// What makes it one for WASI 0.3, if anything does: the first name, or the ABI.
    pub wasi3: Option<String>,
    /// Whether it is the same for WASI 0.2 too, and needs nothing of WASI 0.3 for that.
    pub runs_without_wasi3: bool,
}

/// Why a valid `.wasm` cannot be run by this version of wasmill.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unrunnable {
    /// The manifest says that it is of a kind that it is not.
    #[error("kind: is {wanted}, and the component is {}; it would have to export {}", kinds(.is), export_of(*.wanted))]
    Kind {
        /// What the manifest says.
        wanted: Kind,
        /// What the component is.
        is: Vec<Kind>,
    },
    /// It is one for WASI 0.3, and running these is not enabled at the host.
    #[error(
        "the component is made for WASI 0.3 ('{0}'), which is experimental and off: build it for WASI 0.2 alone \
         (wasm32-wasip2), or turn it on by engine.wasi_0_3 = true, or `--wasi-0-3` for `wasmill dev`"
    )]
    Wasi3(String),
    /// It imports what the host does not have; at least one.
    #[error("the component imports what the host does not have: {}", list(.0))]
    Imports(Vec<MissingImport>),
    /// It imports what its manifest does not grant; at least one.
    #[error("{}", list(.0))]
    NotGranted(Vec<NotGranted>),
}

fn kinds(kinds: &[Kind]) -> String {
    kinds.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

fn list(imports: &[impl ToString]) -> String {
    imports.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Inspection {
    /// What it is to be run as: what the manifest says, or the first kind that it is.
    ///
    /// # Errors
    /// [`Unrunnable::Kind`] where it is not what the manifest says.
    pub fn kind(&self, wanted: Option<Kind>) -> Result<Kind, Unrunnable> {
        let Some(wanted) = wanted else { return Ok(self.kinds[0]) };
        if self.kinds.contains(&wanted) {
            Ok(wanted)
        } else {
            Err(Unrunnable::Kind { wanted, is: self.kinds.clone() })
        }
    }

    /// Makes sure that it is of a WASI that the host may run; 0.2 always is.
    ///
    /// # Errors
    /// [`Unrunnable::Wasi3`] where it needs WASI 0.3, unless `wasi_0_3`.
    pub fn require_wasi(&self, wasi_0_3: bool) -> Result<(), Unrunnable> {
        match &self.wasi3 {
            Some(name) if !wasi_0_3 && !self.runs_without_wasi3 => {
                Err(Unrunnable::Wasi3(name.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Whether it is run as one for WASI 0.3, where the host may (`wasi_0_3`) or may not run these.
    pub fn is_run_by_wasi3(&self, wasi_0_3: bool) -> bool {
        self.wasi3.is_some() && (wasi_0_3 || !self.runs_without_wasi3)
    }

    /// Makes sure that the host has every import. (Whether their types fit as well is for the host
    /// to say.)
    ///
    /// # Errors
    /// [`Unrunnable::Imports`] with every one that is missing.
    pub fn require_imports(&self) -> Result<(), Unrunnable> {
        let missing = missing(&self.imports);
        if missing.is_empty() { Ok(()) } else { Err(Unrunnable::Imports(missing)) }
    }

    /// Makes sure that the manifest grants every import that needs it to.
    ///
    /// # Errors
    /// [`Unrunnable::NotGranted`] with every one that is not granted, and what to add to the
    /// manifest.
    pub fn require_grants(&self, manifest: &Manifest) -> Result<(), Unrunnable> {
        let not_granted = not_granted(&self.imports, manifest);
        if not_granted.is_empty() { Ok(()) } else { Err(Unrunnable::NotGranted(not_granted)) }
    }
}

/// Reads a `.wasm`, validates all of it and says what it is.
///
/// # Errors
/// Where the bytes are not WebAssembly, are cut off or break a rule, and where a component exports
/// nothing that makes a kind. Any bytes whatever get an answer.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, InspectError> {
    inspect_within(bytes, &Limits::default())
}

/// The same with other limits than the usual ones.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_within(bytes: &[u8], limits: &Limits) -> Result<Inspection, InspectError> {
    let outline = Outline::of(bytes, limits)?;
    let (adapter, outline) = if outline.is_component {
        (None, outline)
    } else {
        let (adapter, component) = adapt(bytes, &outline)?;
        (Some(adapter), Outline::of(&component, limits)?)
    };
    let kinds = kinds_of(&outline.exports);
    // What it exports for a draft beside what is known asks nothing of the host.
    let is_known = !kinds.is_empty() && !outline.is_async;
    if let Some(draft) = draft_wasi(if is_known { &[] } else { &outline.exports }, &outline.imports)
    {
        return Err(InspectError::DraftWasi(draft));
    }
    if kinds.is_empty() {
        return Err(InspectError::UnknownKind(describe_unknown(&outline.exports)));
    }
    let wasi3 =
        wasi3(&outline).or_else(|| outline.is_async.then(|| "its asynchronous functions".into()));
    let Outline { imports, exports, is_async, .. } = outline;
    let released: Vec<String> = exports.iter().filter(|name| !is_wasi3(name)).cloned().collect();
    let runs_without_wasi3 =
        !is_async && !imports.iter().any(|name| is_wasi3(name)) && kinds_of(&released) == kinds;
    let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
    Ok(Inspection { kinds, adapter, digest, size, imports, exports, wasi3, runs_without_wasi3 })
}

/// The component that an artifact is, or that a core module is turned into.
///
/// # Errors
/// As [`inspect`].
pub fn component_of(bytes: &[u8]) -> Result<Cow<'_, [u8]>, InspectError> {
    // The first bytes tell components from modules; what is wrong after that, the compiler would
    // say less well.
    if Parser::is_component(bytes) {
        return Ok(bytes.into());
    }
    adapt(bytes, &Outline::of(bytes, &Limits::default())?).map(|(_, component)| component.into())
}

impl Outline {
    /// Reads and validates, and says what is wrong in words for people.
    fn of(bytes: &[u8], limits: &Limits) -> Result<Self, InspectError> {
        if !bytes.starts_with(MAGIC) {
            return Err(if !bytes.is_empty() && MAGIC.starts_with(bytes) {
                InspectError::Truncated { at: bytes.len() as u64, missing: 8 - bytes.len() as u64 }
            } else {
                InspectError::NotWasm(describe(bytes))
            });
        }
        limits.check(bytes)?;
        let outline = Self::read(bytes, FEATURES).or_else(|error| {
            if let Some(missing) = missing_bytes(bytes) {
                return Err(InspectError::Truncated { at: bytes.len() as u64, missing });
            }
            match Self::read(bytes, FEATURES_0_3) {
                Ok(outline) => Ok(Self { is_async: true, ..outline }),
                // The binary format was another in drafts, too.
                Err(_) => Err(match Self::named(bytes).draft() {
                    Some(draft) => InspectError::DraftWasi(draft),
                    None => InspectError::Invalid {
                        at: error.offset() as u64,
                        message: error.message().to_owned(),
                    },
                }),
            }
        })?;
        if outline.has_shared_memory { Err(InspectError::SharedMemory) } else { Ok(outline) }
    }

    /// What can be read of imports and exports without validating anything.
    fn named(bytes: &[u8]) -> Self {
        let mut outline = Self::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
            match payload {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ if depth > 0 => {}
                // What cannot be read has no names.
                payload => drop(outline.note(&payload)),
            }
        }
        outline
    }

    fn draft(&self) -> Option<String> {
        draft_wasi(&self.exports, &self.imports)
    }

    fn read(bytes: &[u8], features: WasmFeatures) -> Result<Self, wasmparser::Error> {
        let mut validator = Validator::new_with_features(features);
        let mut parser = Parser::new(0);
        parser.set_features(features);
        let mut outline = Self::default();
        let mut functions = Vec::new();
        // How many modules or components the payload at hand is inside of, the file itself not
        // counted.
        let mut depth = 0_usize;
        for payload in parser.parse_all(bytes) {
            let payload = payload?;
            outline.has_shared_memory |= has_shared_memory(&payload)?;
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
            Payload::Version { encoding, .. } => {
                self.is_component = *encoding == wasmparser::Encoding::Component;
            }
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
            Payload::CustomSection(section) => self.custom_sections.push(section.name().to_owned()),
            _ => {}
        }
        Ok(())
    }
}

/// Whether a module declares or imports a memory that is shared.
fn has_shared_memory(payload: &Payload<'_>) -> Result<bool, wasmparser::Error> {
    let mut has = false;
    match payload {
        Payload::MemorySection(section) => {
            for memory in section.clone() {
                has |= memory?.shared;
            }
        }
        Payload::ImportSection(section) => {
            for import in section.clone().into_imports() {
                has |= matches!(import?.ty, TypeRef::Memory(memory) if memory.shared);
            }
        }
        _ => {}
    }
    Ok(has)
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

/// How many bytes are missing at least, where the file ends before its last section does. Found by
/// reading it as a stream of which more may come: the reader then asks for more instead of failing.
fn missing_bytes(bytes: &[u8]) -> Option<u64> {
    let mut rest = bytes;
    let mut parser = Parser::new(0);
    let mut outer = Vec::new();
    loop {
        let (payload, consumed) = match parser.parse(rest, false).ok()? {
            // Between two sections, or after the last one, nothing is known to be missing.
            Chunk::NeedMoreData(_) if rest.is_empty() && bytes.len() >= 8 && outer.is_empty() => {
                return None;
            }
            Chunk::NeedMoreData(missing) => return Some(missing.max(1)),
            Chunk::Parsed { payload, consumed } => (payload, consumed),
        };
        rest = &rest[consumed..];
        match payload {
            Payload::ModuleSection { parser: inner, .. }
            | Payload::ComponentSection { parser: inner, .. } => {
                outer.push(std::mem::replace(&mut parser, inner));
            }
            Payload::End(_) => parser = outer.pop()?,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
