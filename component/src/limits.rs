//! How large a file may be in its parts, so that reading, validating and adapting it takes time and
//! memory in proportion to its length.

use wasmparser::{
    ComponentType, ComponentTypeDeclaration, CompositeInnerType, CoreType, CustomSectionReader,
    FuncType, FunctionBody, InstanceTypeDeclaration, ModuleTypeDeclaration, Parser, Payload,
    RecGroup,
};

use crate::error::InspectError;
use crate::features::FEATURES_0_3;
use crate::format::{MAGIC, TYPES_SECTION};

/// The most that a file may have of each thing. What the validator itself bounds is not here. All
/// of a file counts: its nested modules and components, and the component types that a core module
/// carries in its custom sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Modules and components inside of each other, and component types inside of each other.
    /// Default: 16.
    pub nesting: u32,
    /// Modules and components in all. Default: 256.
    pub modules: u32,
    /// Functions that have a body. Default: 200,000.
    pub functions: u32,
    /// The code of one function, in bytes. Default: 1 MiB.
    pub function_bytes: u32,
    /// Local variables of one function. Default: 20,000.
    pub locals: u32,
    /// Parameters and results of one core function type together. Default: 256.
    pub arity: u32,
    /// Types, imports, exports, globals, tables, memories, tags and segments of all core modules.
    /// Default: 500,000.
    pub module_items: u32,
    /// Types (with what they declare), imports, exports, aliases, instances and canonical functions
    /// of all components. Default: 50,000.
    pub items: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            nesting: 16,
            modules: 256,
            functions: 200_000,
            function_bytes: 1 << 20,
            locals: 20_000,
            arity: 256,
            module_items: 500_000,
            items: 50_000,
        }
    }
}

/// Component types that one section may hold inside of others. The reader calls itself for each
/// that is inside of another, so that this bounds its stack before it is known how deep they are.
const MOST_INNER_TYPES: usize = 1_000;

impl Limits {
    /// Counts what a file holds, in one pass that validates nothing. What cannot be read is no
    /// error here: whoever validates the file says what is wrong, and where.
    ///
    /// # Errors
    /// [`InspectError::TooMuch`], with the first bound that does not hold.
    pub fn check(&self, bytes: &[u8]) -> Result<(), InspectError> {
        Scan { limits: *self, ..Scan::default() }.file(bytes, 0)
    }
}

/// What was counted so far.
#[derive(Default)]
struct Scan {
    limits: Limits,
    modules: u32,
    functions: u32,
    module_items: u32,
    items: u32,
}

fn too_much(what: &'static str, is: u32, most: u32) -> Result<(), InspectError> {
    if is > most { Err(InspectError::TooMuch { what: what.to_owned(), is, most }) } else { Ok(()) }
}

/// Stops reading without an error where something cannot be read.
macro_rules! readable {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(_) => return Ok(()),
        }
    };
}

impl Scan {
    fn file(&mut self, bytes: &[u8], outer: u32) -> Result<(), InspectError> {
        let mut parser = Parser::new(0);
        parser.set_features(FEATURES_0_3);
        let mut depth = outer;
        for payload in parser.parse_all(bytes) {
            match readable!(payload) {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                    depth += 1;
                    self.modules += 1;
                    too_much(
                        "modules and components inside of each other",
                        depth,
                        self.limits.nesting,
                    )?;
                    too_much("modules and components", self.modules, self.limits.modules)?;
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                payload => self.payload(&payload, bytes, depth)?,
            }
        }
        Ok(())
    }

    fn payload(
        &mut self,
        payload: &Payload<'_>,
        bytes: &[u8],
        depth: u32,
    ) -> Result<(), InspectError> {
        match payload {
            Payload::CodeSectionStart { count, .. } => {
                self.functions = self.functions.saturating_add(*count);
                too_much("functions", self.functions, self.limits.functions)
            }
            Payload::CodeSectionEntry(body) => self.body(body),
            Payload::TypeSection(section) => {
                self.in_module(section.count())?;
                for group in section.clone() {
                    self.group(&readable!(group))?;
                }
                Ok(())
            }
            Payload::ImportSection(section) => self.in_module(section.count()),
            Payload::TableSection(section) => self.in_module(section.count()),
            Payload::MemorySection(section) => self.in_module(section.count()),
            Payload::TagSection(section) => self.in_module(section.count()),
            Payload::GlobalSection(section) => self.in_module(section.count()),
            Payload::ExportSection(section) => self.in_module(section.count()),
            Payload::ElementSection(section) => self.in_module(section.count()),
            Payload::DataSection(section) => self.in_module(section.count()),
            Payload::InstanceSection(section) => self.in_component(section.count()),
            Payload::ComponentInstanceSection(section) => self.in_component(section.count()),
            Payload::ComponentAliasSection(section) => self.in_component(section.count()),
            Payload::ComponentCanonicalSection(section) => self.in_component(section.count()),
            Payload::ComponentImportSection(section) => self.in_component(section.count()),
            Payload::ComponentExportSection(section) => self.in_component(section.count()),
            Payload::CoreTypeSection(section) => {
                for ty in section.clone() {
                    self.core_type(&readable!(ty))?;
                }
                Ok(())
            }
            Payload::ComponentTypeSection(section) => {
                self.inner_types(bytes.get(section.range()).unwrap_or_default())?;
                for ty in section.clone() {
                    self.component_type(&readable!(ty), 1)?;
                }
                Ok(())
            }
            Payload::CustomSection(section) => self.custom(section, depth),
            _ => Ok(()),
        }
    }

    fn body(&self, body: &FunctionBody<'_>) -> Result<(), InspectError> {
        let length = u32::try_from(body.range().len()).unwrap_or(u32::MAX);
        too_much("bytes of code in one function", length, self.limits.function_bytes)?;
        let mut locals = 0_u32;
        for group in readable!(body.get_locals_reader()) {
            let (count, _) = readable!(group);
            locals = locals.saturating_add(count);
            too_much("local variables in one function", locals, self.limits.locals)?;
        }
        Ok(())
    }

    /// A core module brings the types of its interface along as a component; whoever adapts the
    /// module reads it.
    fn custom(
        &mut self,
        section: &CustomSectionReader<'_>,
        depth: u32,
    ) -> Result<(), InspectError> {
        if section.name().starts_with(TYPES_SECTION) && section.data().starts_with(MAGIC) {
            return self.file(section.data(), depth + 1);
        }
        Ok(())
    }

    fn in_module(&mut self, count: u32) -> Result<(), InspectError> {
        self.module_items = self.module_items.saturating_add(count);
        too_much(
            "types, imports, exports and segments of modules",
            self.module_items,
            self.limits.module_items,
        )
    }

    fn in_component(&mut self, count: u32) -> Result<(), InspectError> {
        self.items = self.items.saturating_add(count);
        too_much(
            "types, imports, exports and instances of components",
            self.items,
            self.limits.items,
        )
    }

    fn group(&mut self, group: &RecGroup) -> Result<(), InspectError> {
        for ty in group.types() {
            self.in_module(1)?;
            if let CompositeInnerType::Func(ty) = &ty.composite_type.inner {
                self.function_type(ty)?;
            }
        }
        Ok(())
    }

    fn function_type(&self, ty: &FuncType) -> Result<(), InspectError> {
        let arity = u32::try_from(ty.params().len() + ty.results().len()).unwrap_or(u32::MAX);
        too_much("parameters and results of one function", arity, self.limits.arity)
    }

    fn inner_types(&self, section: &[u8]) -> Result<(), InspectError> {
        // A declaration that is a type (01), and that type one of a component (41) or an instance
        // (42).
        let inner = section.windows(2).filter(|pair| matches!(pair, [0x01, 0x41 | 0x42])).count();
        let most = u32::try_from(MOST_INNER_TYPES).unwrap_or(u32::MAX);
        too_much(
            "component types inside of others in one section",
            u32::try_from(inner).unwrap_or(u32::MAX),
            most,
        )
    }

    fn core_type(&mut self, ty: &CoreType<'_>) -> Result<(), InspectError> {
        self.in_component(1)?;
        match ty {
            CoreType::Rec(group) => self.group(group),
            CoreType::Module(declarations) => {
                self.in_component(u32::try_from(declarations.len()).unwrap_or(u32::MAX))?;
                for declaration in declarations {
                    if let ModuleTypeDeclaration::Type(group) = declaration {
                        self.group(group)?;
                    }
                }
                Ok(())
            }
        }
    }

    fn component_type(&mut self, ty: &ComponentType<'_>, depth: u32) -> Result<(), InspectError> {
        too_much("component types inside of each other", depth, self.limits.nesting)?;
        self.in_component(1)?;
        match ty {
            ComponentType::Component(declarations) => {
                for declaration in declarations {
                    match declaration {
                        ComponentTypeDeclaration::Type(ty) => self.component_type(ty, depth + 1)?,
                        ComponentTypeDeclaration::CoreType(ty) => self.core_type(ty)?,
                        _ => self.in_component(1)?,
                    }
                }
            }
            ComponentType::Instance(declarations) => {
                for declaration in declarations {
                    match declaration {
                        InstanceTypeDeclaration::Type(ty) => self.component_type(ty, depth + 1)?,
                        InstanceTypeDeclaration::CoreType(ty) => self.core_type(ty)?,
                        _ => self.in_component(1)?,
                    }
                }
            }
            ComponentType::Defined(_) | ComponentType::Func(_) | ComponentType::Resource { .. } => {
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
