//! Files put into a module that has room for them: an interpreter becomes a program by the files
//! that it is to run.

use wasm_encoder::{ConstExpr, DataCountSection, DataSection, Module, RawSection};
use wasmparser::{ExternalKind, Operator, Parser, Payload};

/// The export that says where the room begins: a global.
const ROOM: &str = "wasmill_files";

/// How much room there is, as `functions/sdk/lua/runtime.c` has it.
pub const CAPACITY_BYTES: usize = 1 << 20;

/// Why files cannot be put into a module.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// They are too large.
    #[error(
        "the files have {bytes} bytes with their names, and there is room for {CAPACITY_BYTES}: leave some out"
    )]
    TooLarge {
        /// What would be put there.
        bytes: usize,
    },
    /// The module was not made for it.
    #[error("the module has no room for files: it exports no constant '{ROOM}', or holds no data")]
    NoCapacity,
    /// The module cannot be read.
    #[error("the module cannot be read: {0}")]
    Unreadable(#[from] wasmparser::Error),
}

/// The module with these files, each a name and its bytes, where it looks for them.
///
/// # Errors
/// Where they are too large, or the module has no room for any.
pub fn embed(module: &[u8], files: &[(String, Vec<u8>)]) -> Result<Vec<u8>, EmbedError> {
    let content = content(files)?;
    let at = free_offset(module)?;
    let mut made = Module::new();
    let mut is_embedded = false;
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::DataCountSection { count, .. } => {
                made.section(&DataCountSection { count: count + 1 });
            }
            Payload::DataSection(segments) => {
                let mut section = DataSection::new();
                for segment in segments {
                    section.raw(&module[segment?.range]);
                }
                section.active(0, &ConstExpr::i32_const(at), content.iter().copied());
                made.section(&section);
                is_embedded = true;
            }
            other => {
                if let Some((id, range)) = other.as_section() {
                    made.section(&RawSection { id, data: &module[range] });
                }
            }
        }
    }
    if is_embedded { Ok(made.finish()) } else { Err(EmbedError::NoCapacity) }
}

/// The files as the module reads them: the length of a name, the name, the length of the bytes, the
/// bytes; zeros end them.
fn content(files: &[(String, Vec<u8>)]) -> Result<Vec<u8>, EmbedError> {
    let mut content = Vec::new();
    for part in files.iter().flat_map(|(name, bytes)| [name.as_bytes(), bytes.as_slice()]) {
        content.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        content.extend(part);
    }
    let bytes = content.len() + size_of::<u32>();
    if bytes > CAPACITY_BYTES { Err(EmbedError::TooLarge { bytes }) } else { Ok(content) }
}

/// Where the room begins.
fn free_offset(module: &[u8]) -> Result<i32, EmbedError> {
    let (mut globals, mut exported) = (Vec::new(), None);
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::GlobalSection(section) => {
                for global in section {
                    globals.push(global?.init_expr);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.name == ROOM && export.kind == ExternalKind::Global {
                        exported = Some(export.index as usize);
                    }
                }
            }
            _ => {}
        }
    }
    let global = exported.and_then(|index| globals.get(index)).ok_or(EmbedError::NoCapacity)?;
    match global.get_operators_reader().read()? {
        Operator::I32Const { value } => Ok(value),
        _ => Err(EmbedError::NoCapacity),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNTIMES: [&[u8]; 2] = [
        include_bytes!("../../functions/sdk/lua/event.wasm"),
        include_bytes!("../../functions/sdk/lua/command.wasm"),
    ];

    fn file(name: &str, bytes: &[u8]) -> (String, Vec<u8>) {
        (name.to_owned(), bytes.to_vec())
    }

    #[test]
    fn what_is_embedded_is_a_valid_module_that_holds_the_files() {
        for runtime in RUNTIMES {
            let files = [file("a.lua", b"return 1"), file("b/c.txt", b"")];
            let made = embed(runtime, &files).unwrap();
            wasmparser::Validator::new_with_features(crate::FEATURES).validate_all(&made).unwrap();
            let held = b"\x05\0\0\0a.lua\x08\0\0\0return 1\x07\0\0\0b/c.txt\0\0\0\0";
            assert!(made.windows(held.len()).any(|window| window == held));
            assert!(free_offset(runtime).unwrap() as usize + CAPACITY_BYTES <= memory(runtime));
        }
    }

    fn memory(module: &[u8]) -> usize {
        let memory = Parser::new(0).parse_all(module).find_map(|payload| match payload.unwrap() {
            Payload::MemorySection(section) => {
                section.into_iter().next().map(|memory| memory.unwrap().initial)
            }
            _ => None,
        });
        memory.unwrap() as usize * 65_536
    }

    #[test]
    fn what_has_no_room_is_refused() {
        let all = vec![b'-'; CAPACITY_BYTES - 17];
        embed(RUNTIMES[0], &[file("a.lua", &all)]).unwrap();
        let more = vec![b'-'; CAPACITY_BYTES - 16];
        let refused = embed(RUNTIMES[0], &[file("a.lua", &more)]).unwrap_err().to_string();
        assert!(refused.contains("1048577 bytes") && refused.contains("1048576"), "{refused}");
        for other in [
            "(module)",
            "(module (global (export \"wasmill_files\") i32 (i32.const 0)) (memory 17))",
        ] {
            let other = wat::parse_str(other).unwrap();
            assert!(matches!(embed(&other, &[]), Err(EmbedError::NoCapacity)));
        }
        assert!(matches!(embed(b"not wasm", &[]), Err(EmbedError::Unreadable(_))));
    }
}
