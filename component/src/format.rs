//! A guess at what a file is that is not WebAssembly, so that the one who sent it sees the mix-up
//! at once.

/// Where a compiler of the component model leaves the types of a module's imports and exports.
pub(crate) const TYPES_SECTION: &str = "component-type";

/// What every WebAssembly file begins with.
pub(crate) const MAGIC: &[u8; 4] = b"\0asm";

/// How many of a file's first bytes are looked at.
const LOOK: usize = 512;

/// What the bytes seem to be, as the end of the sentence "this is not a WebAssembly file: …".
pub(crate) fn describe(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(LOOK)];
    let known: [(&[u8], &str); 12] = [
        (
            b"\x7fELF",
            "it is an ELF file, such as a program, a library or a component compiled ahead of time",
        ),
        (b"PK\x03\x04", "it is a zip archive"),
        (b"\x1f\x8b", "it is compressed with gzip"),
        (b"\x28\xb5\x2f\xfd", "it is compressed with zstd"),
        (b"BZh", "it is compressed with bzip2"),
        (b"\xfd7zXZ", "it is compressed with xz"),
        (b"MZ", "it is a Windows program"),
        (b"\xcf\xfa\xed\xfe", "it is a macOS program"),
        (b"!<arch>\n", "it is an archive of object files"),
        (b"BC\xc0\xde", "it is LLVM bitcode"),
        (b"#!", "it is a script"),
        (b"\x89PNG", "it is a PNG image"),
    ];
    if head.is_empty() {
        return "it is empty".into();
    }
    if let Some((_, what)) = known.iter().find(|(magic, _)| head.starts_with(magic)) {
        return (*what).into();
    }
    match printable_prefix(head) {
        Some(text) => describe_text(text),
        None => {
            let first: Vec<String> =
                head.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            format!("it begins with the bytes {}, not with 00 61 73 6d", first.join(" "))
        }
    }
}

/// The bytes as text, if that is what they look like. A character that is cut in two at the end
/// does not count.
fn printable_prefix(head: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&head[..e.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let printable = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\u{feff}');
    (!text.is_empty() && text.chars().all(printable)).then_some(text)
}

fn describe_text(text: &str) -> String {
    let start = text.trim_start_matches(['\u{feff}', ' ', '\n', '\r', '\t']);
    if start.is_empty() {
        "it holds nothing but white space".into()
    } else if start.starts_with("(component")
        || start.starts_with("(module")
        || start.starts_with(";;")
    {
        "it is WebAssembly text (WAT); translate it to binary first, for example with `wasm-tools parse`".into()
    } else if start.starts_with("package ")
        || start.starts_with("interface ")
        || start.starts_with("world ")
    {
        "it is a WIT document, which describes a component and is none".into()
    } else if start.starts_with("<!") || start.starts_with("<html") {
        "it is an HTML page; was something downloaded from the wrong address?".into()
    } else if start.starts_with("version https://git-lfs") {
        "it is a Git LFS pointer; fetch the file itself with `git lfs pull`".into()
    } else {
        let line = start.lines().next().unwrap_or_default();
        let shown: String = line.chars().take(40).collect();
        let dots = if shown.len() < line.len() { "…" } else { "" };
        format!("it is text that begins with '{shown}{dots}'")
    }
}

#[cfg(test)]
mod tests {
    use super::describe;

    #[test]
    fn mix_ups_are_named() {
        for (bytes, word) in [
            (b"".as_slice(), "empty"),
            (b"\x7fELF\x02\x01", "ELF"),
            (b"PK\x03\x04\0\0", "zip"),
            (b"\x1f\x8b\x08", "gzip"),
            (b" (component)", "WAT"),
            (b";; my module\n(module)", "WAT"),
            (b"package a:b;", "WIT"),
            (b"<!doctype html>", "HTML"),
            (b"{\"a\": 1}", "begins with '{\"a\": 1}'"),
            (b"\x00\x01\x02\xff", "00 01 02 ff"),
            (b"   \n", "white space"),
        ] {
            let said = describe(bytes);
            assert!(said.contains(word), "{said}");
        }
    }

    #[test]
    fn text_that_is_cut_in_a_character_is_text() {
        let text = format!("{}é", "x".repeat(511));
        assert!(describe(text.as_bytes()).starts_with("it is text"));
    }
}
